"""records, results, figures: proofs of completion, identities, folding, comparison, promotion."""
import hashlib
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import augment_lib.records as records
from augment_lib import claims, figures, results
from augment_lib.core import InputError
from augment_lib.records import Record, key_columns, read_record, run_id, start_run, tidy_table

ROOT = Path(__file__).resolve().parents[1]


def small_run(path, table=None, params=None, **finish):
    run = start_run(str(path), "30_toy", {"profile": "small", **(params or {})})
    run.finish(table=table, **finish)
    return results.Finished(run.path, read_record(run.path))


TABLE = pd.DataFrame({"method": ["a", "a", "b", "b"], "seed": [0, 1, 0, 1], "error": [1.0, 1.2, 2.0, 2.4], "fit_seconds": 1.0})


# ---- records

def test_record_is_the_last_file_to_be_written(tmp_path, monkeypatch, capsys):
    order, real = [], records.write_atomic
    monkeypatch.setattr(records, "write_atomic", lambda path, data: (order.append(Path(path).name), real(path, data)))
    small_run(tmp_path / "run", TABLE)
    assert order == ["table.parquet", "table.csv", "record.json"]


def test_crash_while_writing_leaves_no_record(tmp_path, monkeypatch, capsys):
    run = start_run(str(tmp_path), "30_toy", {"profile": "small"})

    def full_disk(path, data):
        raise OSError("no space left")

    monkeypatch.setattr(records, "write_atomic", full_disk)
    with pytest.raises(OSError):
        run.finish(table=TABLE)
    assert read_record(tmp_path) is None and not list(tmp_path.glob("*.json"))


def test_record_holds_what_the_schema_promises(tmp_path, capsys):
    claims = [{"claim": "c1", "value": np.float64(0.5)}]
    done = small_run(tmp_path / "run", TABLE, metrics={"nan": float("nan"), "n": 4}, data={"set": "f" * 64}, claims=claims)
    told = json.loads((done.folder / "record.json").read_text())
    assert told["schema_version"] == 1 and told["status"] == "ok" and told["metrics"] == {"nan": None, "n": 4}
    assert told["seeds"] == [0, 1] and told["key"] == ["method", "seed"] and told["claims"][0]["value"] == 0.5
    assert told["peak_rss_bytes"] > 1e7 and told["seconds"] >= 0 and re.match(r"\d{4}-\d\d-\d\dT", told["started"])
    assert {"python", "numpy", "torch"} <= set(told["versions"]) and {"device_name", "cpu"} <= set(told["machine"])
    for name, artefact in told["artefacts"].items():
        data = (done.folder / name).read_bytes()
        assert artefact == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    assert str(tmp_path) not in json.dumps(told)


@pytest.mark.parametrize("change", [{"schema_version": 2}, {"unknown": 1}, {"status": "failed"}, {"profile": "huge"}])
def test_foreign_record_is_refused(tmp_path, change, capsys):
    done = small_run(tmp_path / "run", TABLE)
    path = done.folder / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match="record.json is not a record of schema 1"):
        read_record(done.folder)


def test_every_file_of_a_run_is_below_its_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = start_run("here", "30_toy", {"profile": "small"})
    monkeypatch.chdir("/")      # a notebook may change its directory
    run.finish(table=TABLE)
    assert {path.name for path in tmp_path.iterdir()} == {"here"} and (tmp_path / "here" / "record.json").is_file()


def test_runs_home_is_the_users(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AUGMENT_LIB_RUNS", str(tmp_path / "mine"))
    run = start_run("", "30_toy", {"profile": "small"})
    assert run.path == (tmp_path / "mine" / "manual" / run.id)
    monkeypatch.delenv("AUGMENT_LIB_RUNS")
    assert ROOT not in records.runs_home().parents      # cleaning the checkout must not lose runs


@pytest.mark.parametrize("name, value", [("profile", "big"), ("profile", None), ("n_jobs", 0), ("n_jobs", "2"), ("device", 3),
                                         ("own", {"a": 1})])
def test_wrong_parameter_is_named(name, value):
    with pytest.raises(InputError, match=f"{name}="):
        records.check_parameters({"profile": "small", name: value})


def test_identity_depends_on_versions_and_data(monkeypatch):
    def identity():
        return run_id("30_toy", {"profile": "small"}, "n", "l")
    base = identity()
    monkeypatch.setattr(records, "versions", lambda: {"numpy": "0.0"})
    assert identity() != base
    monkeypatch.undo()
    assert identity() == base
    monkeypatch.setattr(records, "data_state", lambda: "other")
    assert identity() != base


def test_data_state_knows_what_a_mirror_has(tmp_path, monkeypatch):
    monkeypatch.delenv("AUGMENT_LIB_DATA", raising=False)
    without = records.data_state()
    monkeypatch.setenv("AUGMENT_LIB_DATA", str(tmp_path))
    assert records.data_state() == without      # an empty mirror has nothing
    file = tmp_path / records.registry()["file"].iloc[0]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("here")
    assert records.data_state() != without


def test_library_hash_follows_imports_only(tmp_path, monkeypatch):
    for name, text in {"a": "from .b import x\n", "b": "x = 1\n", "c": "x = 2\n"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(records.augment_lib, "__file__", str(tmp_path / "__init__.py"))
    before = records.library_sha256(["a"])
    (tmp_path / "c.py").write_text("x = 3\n")
    assert records.library_sha256(["a"]) == before
    (tmp_path / "b.py").write_text("x = 4\n")
    assert records.library_sha256(["a"]) != before


@pytest.mark.parametrize("source, expected", [
    ("from augment_lib.core import A, B", {"core"}), ("import augment_lib.table as t", {"table"}),
    ("from augment_lib import DAVID, compare", {"david", "compare"}),
    ("    from .latent import x", {"latent"}), ("from numpy import core", set()), ("# from augment_lib.core import A", set())])
def test_imported_modules(source, expected):
    assert records.imported_modules(source) == expected


def test_repeated_or_missing_names_are_refused():
    with pytest.raises(InputError, match="not unique"):
        tidy_table(pd.concat([TABLE, TABLE]))
    with pytest.raises(InputError, match="expected rows"):
        tidy_table(TABLE.iloc[:0])
    sized = pd.concat([TABLE.assign(size=1), TABLE.assign(size=2)])
    assert key_columns(tidy_table(sized, key=["size"]), ["size"]) == ["method", "seed", "size"]


def test_table_keeps_its_values_through_parquet_and_csv(tmp_path, capsys):
    awkward = pd.DataFrame({"name": pd.Categorical(["x", None]), "flag": [True, False], "value": [np.nan, 1e-300], "count": [2**60, 1]})
    done = small_run(tmp_path / "run", awkward)
    back = pd.read_parquet(done.folder / "table.parquet")
    assert list(back["name"]) == ["x", ""] and back["count"][0] == 2**60
    assert back["value"].dtype == "float64" and np.isnan(back["value"][0])
    assert done.record.key == ["name", "flag"]


# ---- results

@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=2, max_size=8), st.floats(-1e-7, 1e-7))
@settings(max_examples=40, deadline=None)
def test_rounding_is_equal_and_timings_never_count(values, shift):
    old = pd.DataFrame({"method": "a", "seed": range(len(values)), "error": values, "fit_seconds": 1.0})
    now = old.assign(error=old["error"] * (1 + shift), fit_seconds=2.0)
    assert set(results.compare_tables(now, old, ["method", "seed"])["class"]) == {"equal"}


@given(st.permutations(range(4)))
@settings(max_examples=10, deadline=None)
def test_rows_are_compared_by_name(order):
    assert set(results.compare_tables(TABLE.iloc[list(order)], TABLE, ["method", "seed"])["class"]) == {"equal"}


@pytest.mark.parametrize("value, grade", [(1.0, "equal"), (1.0 + 5e-7, "equal"), (1.0 + 5e-6, "within the spread over seeds"),
                                          (1.2, "within the spread over seeds"), (0.99, "different"), (1.3, "different"),
                                          (np.nan, "different")])
def test_grades(value, grade):
    now = TABLE.copy()
    now.loc[0, "error"] = value
    report = results.compare_tables(now, TABLE, ["method", "seed"])
    assert list(report["class"]) == [grade, "equal", "equal", "equal"]


def test_range_is_that_of_the_same_row_over_seeds():
    now = TABLE.copy()
    now.loc[0, "error"] = 2.2       # inside the range of b, outside that of a
    assert results.compare_tables(now, TABLE, ["method", "seed"])["class"][0] == "different"


def test_worst_column_decides_and_is_shown():
    old = TABLE.assign(other=[1.0, 2.0, 3.0, 4.0])
    report = results.compare_tables(old.assign(error=[1.1, 1.2, 2.0, 2.4], other=[9.0, 2.0, 3.0, 4.0]), old, ["method", "seed"])
    assert report.loc[0, ["class", "column", "committed", "now"]].tolist() == ["different", "other", 1.0, 9.0]


def test_new_rows_and_unknown_tables_are_new():
    assert list(results.compare_tables(TABLE.assign(method="c"), TABLE, ["method", "seed"])["class"]) == ["new"] * 4
    assert list(results.compare_tables(TABLE, TABLE.drop(columns="method"), ["method", "seed"])["class"]) == ["new"] * 4


def test_damaged_and_manual_runs_are_not_found(tmp_path, capsys):
    small_run(tmp_path / "30_toy" / "good", TABLE)
    small_run(tmp_path / "manual" / "by-hand", TABLE)
    bad = small_run(tmp_path / "30_toy" / "bad", TABLE, {"alpha": 1.0})
    assert len(results.finished_runs(tmp_path)) == 2
    (bad.folder / "table.parquet").write_bytes(b"altered")
    assert [run.folder.name for run in results.finished_runs(tmp_path)] == ["good"]


def test_promotion_replaces_its_own_rows_and_keeps_the_rest(tmp_path, capsys):
    first = small_run(tmp_path / "runs" / "30_toy" / "one", TABLE, {"part": "one"})
    other = small_run(tmp_path / "runs" / "30_toy" / "two", TABLE.assign(method=["c", "c", "d", "d"]), {"part": "two"})
    results.promote([first, other], tmp_path / "results")
    assert len(results.committed_table(tmp_path / "results", "30_toy", "small")) == 8
    again = small_run(tmp_path / "runs" / "30_toy" / "one", TABLE.iloc[:2].assign(error=7.0), {"part": "one", "n_jobs": 2})
    results.promote([again], tmp_path / "results")
    table = results.committed_table(tmp_path / "results", "30_toy", "small")
    assert sorted(table["method"]) == ["a", "a", "c", "c", "d", "d"] and set(table.loc[table["method"] == "a", "error"]) == {7.0}
    lines = results.read_lines(tmp_path / "results" / "records" / "30_toy.small.jsonl")
    manifest = json.loads((tmp_path / "results" / "manifest.json").read_text())
    assert {record.id for record in lines} == set(table["run_id"]) == set(manifest["runs"])


def test_oversized_table_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "PARQUET_LIMIT", 100)
    with pytest.raises(InputError, match="expected at most 100"):
        results.promote([small_run(tmp_path / "run", TABLE)], tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_an_oversized_figure_is_left_out_and_named(tmp_path, monkeypatch, capsys):
    figure = plt.figure(figsize=(2, 1.5))
    run, said = small_run(tmp_path / "runs" / "30_toy" / "one", TABLE, figures={"errors": figure}), []
    plt.close(figure)
    sizes = {path.suffix: path.stat().st_size for path in (run.folder / "figures").iterdir()}
    assert sizes[".png"] != sizes[".svg"]
    small, large = sorted(sizes, key=sizes.get)
    monkeypatch.setattr(results, "FIGURE_LIMIT", sizes[small])
    figures.promote_runs(tmp_path / "runs", tmp_path / "results", tmp_path / "out", say=said.append)
    assert [path.suffix for path in (tmp_path / "results" / "figures").iterdir()] == [small]
    assert [path.suffix for path in sorted((tmp_path / "out" / "figures").iterdir())] == [".png", ".svg"], "what is only looked at has no limit"
    manifest = json.loads((tmp_path / "results" / "manifest.json").read_text())
    assert [Path(name).suffix for name in manifest["figures"]] == [small]
    told = [line for line in said if "left out" in line]
    assert len(told) == 1 and f"{large} has {sizes[large]:,} bytes" in told[0] and "Draw fewer points" in told[0]


# ---- the repository's own

def test_committed_results_trace_back_to_records():
    folder = ROOT / "results"
    files = {path.name: path for path in folder.glob("[ft]*/*") if path.suffix in (".svg", ".png", ".parquet", ".csv")}
    if not files:
        pytest.skip("no results are committed yet")
    manifest = json.loads((folder / "manifest.json").read_text())
    known = {name: told["sha256"] for name, told in manifest["figures"].items()}
    for table in manifest["tables"].values():
        known |= table["sha256"]
    assert set(files) == set(known), "results/ holds files that no record vouches for, or the other way round"
    assert not [name for name, digest in known.items() if hashlib.sha256(files[name].read_bytes()).hexdigest() != digest]
    lines = [Record.model_validate_json(line) for path in (folder / "records").glob("*.jsonl") for line in path.read_text().splitlines()]
    assert {record.id for record in lines} == set(manifest["runs"])
    assert all({"parameters", "data", "machine", "notebook_sha256", "library_sha256"} <= set(told) for told in manifest["runs"].values())
    assert {told["run"] for told in manifest["figures"].values()} <= set(manifest["runs"])


def test_readme_shows_the_committed_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if not list((ROOT / "results" / "records").glob("*.jsonl")):
        pytest.skip("no results are committed yet")
    assert figures.with_block(text, figures.results_block(ROOT / "results")) == text, "run `make results`"
    found = pd.read_csv(ROOT / "results" / "claims.csv")
    block = claims.claims_block(claims.load_claims(ROOT / "claims" / "claims.csv"), found)
    assert figures.with_block(text, block, "claims") == text, "run `augment-lib claims --write`"
