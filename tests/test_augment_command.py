"""The commands for one's own table: every method end to end, nothing half-written whatever happens, and the same rows from the same seed."""
import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from augment_lib import augment_command, candidates, cli, sample_command
from augment_lib.augment_command import augment, joined, make_method, share_out
from augment_lib.core import InputError
from augment_lib.own_table import check_own, read_own
from augment_lib.sample_command import CHUNK, read_model, row_chunks, sample, staged, table_writer

pytestmark = pytest.mark.filterwarnings("ignore")
QUIET = {"say": str, "progress": False}


def table(task, n=48, gaps=False):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.gamma(4.0, 20.0, n).round(1), "rooms": rng.integers(1, 7, n), "street": rng.choice(["A", "B", "C"], n)})
    frame["price"] = (3 * frame["size"] + rng.normal(0, 9, n)).round(2)
    if task == "classification":
        frame["price"] = np.where(frame["price"] > frame["price"].quantile(0.7), "high", "low")
    if gaps:
        frame.loc[::5, "size"], frame.loc[1::6, "street"], frame.loc[::7, "rooms"] = None, None, None
    return frame


def put(folder, task, **options):
    table(task, **options).to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def left(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("method, task, ending", [("david", "regression", ".parquet"), ("leo", "classification", ".csv"), ("gae", "classification", ".parquet"), ("lra", "regression", ".tsv"), ("teacher", "regression", ".csv")])
def test_every_method_end_to_end(tmp_path, method, task, ending):
    source, out = put(tmp_path, task, gaps=True), tmp_path / f"o{ending}"
    done = augment(source, "price", out, method, rows=20, impute=True, epochs=2, report=tmp_path / "r.html" if method == "david" else None, **QUIET)
    whole, before = read_own(out).frame, table(task)
    assert list(whole) == [*before, "synthetic"] and len(whole) == len(before) + 20 == len(before) + done["new_rows"]
    real, new = whole[~whole["synthetic"].astype(bool)], whole[whole["synthetic"].astype(bool)]
    assert not whole.isna().any().any() and whole["rooms"].dtype.kind == "i"
    assert real["price"].tolist() == before["price"].tolist()                                       # the real rows come first, as they were
    assert set(new["street"]) <= {"A", "B", "C"} and new["size"].between(real["size"].min(), real["size"].max()).all()
    kept = tmp_path / "o.model"
    if kept.exists():
        sample(kept, 30, tmp_path / "s.parquet", seed=1, **QUIET)
        drawn = pd.read_parquet(tmp_path / "s.parquet")
        assert list(drawn) == list(before) and len(drawn) == 30 and not drawn.isna().any().any()
    else:
        assert any("model folder" in sentence for sentence in done["warnings"])                     # never in silence
    assert not [name for name in left(tmp_path) if name.startswith(".")]


def test_auto_says_so_and_fills_inside_the_folds(tmp_path, monkeypatch):
    source, seen = put(tmp_path, "regression", gaps=True), []
    fit, found = augment_command.FillMissing.fit, candidates.default_augmenters("regression")
    monkeypatch.setattr(candidates, "default_augmenters", lambda task: {name: found[name] for name in ("oversampling", "david")})
    monkeypatch.setattr(augment_command.FillMissing, "fit", lambda self, X, y=None: (seen.append(len(X)), fit(self, X, y))[1])
    done = augment(source, "price", tmp_path / "o.csv", model="linear", impute=True, epochs=1, n_repeats=1, cv=3, report=tmp_path / "r.html", **QUIET)
    assert {32} & set(seen) and done["best"] in ("david", "oversampling")      # two thirds of 48 rows: the training part of a fold
    assert (tmp_path / "o.csv").exists() == bool(done["new_rows"]) == done["adopted"]
    page = (tmp_path / "r.html").read_text()
    assert done["headline"].split(":")[0] in page and "What was compared" in page and "data:image/svg+xml" in page
    if not done["adopted"]:
        assert left(tmp_path) == ["r.html", "t.csv"]


def test_auto_anyway_writes_the_best_attempt(tmp_path, monkeypatch):
    frame = table("regression")

    class Search:
        leader_, adopted_, best_augmenter_, task_, level_ = "david", False, None, "regression", 0.9
        candidates_ = {"none": None, "david": make_method("david", frame["price"], "regression", 9, epochs=1)}

        def report(self):
            return type("Report", (), {"headline": "No augmentation.", "warnings": ["few rows"], "table": frame.head(2), "figure": lambda self, name: None})()

        def synthetic_table(self):
            return frame.drop(columns="price").head(9), frame["price"].head(9), np.arange(9)

    monkeypatch.setattr(augment_command, "compare_methods", lambda *a, **k: Search())
    source = put(tmp_path, "regression")
    done = augment(source, "price", tmp_path / "o.csv", **QUIET)
    assert done["new_rows"] == 0 and left(tmp_path) == ["t.csv"] and done["warnings"] == ["few rows"]
    assert cli.main(["augment", str(source), "--target", "price", "--out", str(tmp_path / "o.csv"), "--json"]) == 1
    done = augment(source, "price", tmp_path / "o.csv", anyway=True, **QUIET)
    assert done["new_rows"] == 9 and left(tmp_path) == ["o.csv", "o.model", "t.csv"]


@pytest.mark.parametrize("where, error, kind", [("sampling", KeyboardInterrupt(), KeyboardInterrupt), ("writing", OSError(errno.ENOSPC, "No space left on device"), InputError),
                                                ("page", RuntimeError("drawing failed"), RuntimeError), ("model", KeyboardInterrupt(), KeyboardInterrupt)])
def test_nothing_is_left_half_written(tmp_path, monkeypatch, where, error, kind):
    def fail(*args, **kwargs):
        raise error

    source = put(tmp_path, "regression")
    (tmp_path / "o.csv").write_text("old")
    (tmp_path / "o.model").mkdir()
    (tmp_path / "o.model" / "old").write_text("old")
    name = {"sampling": "_direct", "writing": "table_writer", "page": "write_page", "model": "write_model"}[where]
    monkeypatch.setattr(augment_command, name, fail)
    with pytest.raises(kind):
        augment(source, "price", tmp_path / "o.csv", "david", epochs=1, force=True, report=tmp_path / "r.html", **QUIET)
    assert left(tmp_path) == ["o.csv", "o.model", "t.csv"] and (tmp_path / "o.csv").read_text() == "old" and (tmp_path / "o.model" / "old").exists()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    augment(put(folder, "regression"), "price", folder / "o.csv", "david", epochs=2, **QUIET)
    return folder / "o.model"


def test_rows_depend_on_the_seed_and_on_nothing_else(model, tmp_path):
    sampler, recipe = read_model(model)
    n = 2 * CHUNK + 7
    first, threads = (pd.concat(row_chunks(sampler, recipe, n, 5, jobs=jobs)) for jobs in (1, 3))
    assert len(first) == n and first.equals(threads) and not first.iloc[:100].equals(first.iloc[CHUNK:CHUNK + 100])
    sample(model, 50, tmp_path / "a.csv", seed=5, **QUIET)
    sample(model, 50, tmp_path / "b.parquet", seed=5, **QUIET)
    assert np.allclose(read_own(tmp_path / "a.csv").frame["price"], pd.read_parquet(tmp_path / "b.parquet")["price"], rtol=1e-12)
    sampler.sample(99)                                                                              # the stream of the sampler is another one
    assert next(row_chunks(sampler, recipe, 50, 5)).to_dict("list") == pd.read_parquet(tmp_path / "b.parquet").to_dict("list")


def test_disk_is_looked_at_before_it_is_full(model, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=3000)
    monkeypatch.setattr(sample_command.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(InputError, match="fewer rows"):
        sample(model, 200_000, tmp_path / "a.csv", **QUIET)
    with pytest.raises(InputError, match="GB are free"):
        augment(put(tmp_path, "regression"), "price", tmp_path / "b.csv", "david", rows="1e6", **QUIET)
    assert left(tmp_path) == ["t.csv"]


@pytest.mark.parametrize("words, why", [
    (["--target", "prise"], "Did you mean 'price'"), (["--target", "price", "--method", "smote"], "'teacher'"), (["--target", "price", "--method", "leo"], "made for classification"), (["--target", "price", "--rows", "x"], "1e7"),
    (["--target", "price", "--delimiter", ";"], "separated by commas"), (["--target", "price", "--model", "tree"], "'forest'"), (["--target", "price", "--task", "guess"], "'regression'"), (["--target", "price", "--seed", "-1"], "seed"),
    (["--target", "price", "--report", "none/r.html"], "make it first"), ([], "--target")])
def test_wrong_calls_end_with_two_and_leave_nothing(tmp_path, capsys, monkeypatch, words, why):
    monkeypatch.chdir(tmp_path)
    source = put(tmp_path, "regression")
    assert cli.main(["augment", str(source), "--out", "o.csv", "--json", *words]) == 2
    assert why.lower() in capsys.readouterr().err.lower() and left(tmp_path) == ["t.csv"]


@pytest.mark.parametrize("damage, why", [(lambda m: (m / "recipe.json").unlink(), "no model folder"), (lambda m: (m / "recipe.json").write_text("{"), "cannot be loaded"),
                                         (lambda m: (m / "sampler" / "arrays.safetensors").write_bytes(b"x"), "altered"), (lambda m: (m / "recipe.json").write_text(json.dumps({"class": "Popen"})), "unknown class")])
def test_damaged_model_is_refused(model, tmp_path, capsys, damage, why):
    copy = shutil.copytree(model, tmp_path / "m.model")
    damage(copy)
    assert cli.main(["sample", str(copy), "--rows", "5", "--out", str(tmp_path / "s.csv")]) == 2
    assert why in capsys.readouterr().err and not (tmp_path / "s.csv").exists()


def test_interrupted_command_says_that_nothing_was_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(augment_command, "augment", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt()))
    assert cli.main(["augment", "t.csv", "--target", "y", "--out", str(tmp_path / "o.csv")]) == 130
    told = capsys.readouterr().err
    assert "nothing was written" in told and "goes on" not in told


@pytest.mark.parametrize("sizes, n", [([10, 4, 1], 6), ([10, 4, 1], 15), ([5, 5], 3), ([100, 1], 7), ([3, 3, 3, 2], 50)])
def test_shares_level_the_smallest_classes(sizes, n):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    after = {c: share_out(labels, n).get(c, size) for c, size in enumerate(sizes)}
    assert sum(after.values()) == sum(sizes) + n and all(after[c] >= size for c, size in enumerate(sizes))
    grown = [after[c] for c, size in enumerate(sizes) if after[c] > size]
    assert max(grown) - min(grown) <= 1 and all(size >= min(grown) - 1 for c, size in enumerate(sizes) if after[c] == size)


def test_the_mark_never_hides_a_column(tmp_path):
    frame = table("regression").rename(columns={"street": "synthetic"})
    frame.to_csv(tmp_path / "t.csv", index=False)
    augment(tmp_path / "t.csv", "price", tmp_path / "o.csv", "david", rows=5, epochs=1, **QUIET)
    whole = read_own(tmp_path / "o.csv").frame
    assert list(whole) == ["size", "rooms", "synthetic", "price", "synthetic_1"] and whole["synthetic_1"].sum() == 5


def test_joined_keeps_types():
    frame = table("regression").assign(street=lambda f: f["street"].astype("category"), rooms=lambda f: f["rooms"].astype("Int16"))
    checked = check_own(frame, "price")
    whole = joined(checked, checked.X, checked.X.head(3), checked.y.head(3), "new")
    assert whole.dtypes[list(frame)].equals(frame.dtypes) and whole["new"].sum() == 3


def test_writer_and_staging_work_for_words_that_need_quotes(tmp_path):
    frame = pd.DataFrame({"w": ['a "quoted" one', "b, c", "d\ne"], "n": [1, 2, 3]})
    with staged([tmp_path / "o.csv"]) as rooms, table_writer(rooms[tmp_path / "o.csv"]) as write:
        write(frame)
    assert pd.read_csv(tmp_path / "o.csv").equals(frame.astype({"w": pd.read_csv(tmp_path / "o.csv")["w"].dtype})) and Path(tmp_path / "o.csv").stat().st_mode & 0o044


def test_help_names_both_commands_without_loading_anything(capsys):
    assert cli.main(["--help"]) == 0
    told = capsys.readouterr().out
    assert " augment " in told and " sample " in told
