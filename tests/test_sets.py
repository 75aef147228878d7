"""Three sets of the mirror through DAVID (`make sets` does them all), and the list of claims."""

import os
import re
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import sets  # noqa: E402  (tests/sets.py)

ROOT = Path(__file__).parents[1]
EXPERIMENTS = {"30_david_simulation", "30_david_benchmark", "30_david_ablation", "30_david_mixed", "30_david_classification"}
needs_mirror = pytest.mark.skipif(
    not Path(os.environ.get("AUGMENT_LIB_DATA") or "/nonexistent").is_dir(), reason="AUGMENT_LIB_DATA names no folder of data sets"
)


@pytest.mark.parametrize(
    "name", ["diabetes", "linnerud", *(pytest.param(name, marks=needs_mirror) for name in ("branco_servo", "arff_socmob", "NO2", "ames"))]
)
def test_small_sets(name):
    line = sets.run_set(name, rows=300, epochs=2)
    assert line["wrong"] == "" and line["outcome"] == "resampled" and line["rows"] <= 300


@needs_mirror
@pytest.mark.parametrize("name", ["akmand_fb_metrics", "arff_autohorse"])
def test_missing_cells_are_refused_by_name(name):
    line = sets.run_set(name, epochs=2)
    assert line["wrong"] == "" and line["outcome"] == "refused"


def test_the_script_notices_damage():
    X, y = pd.DataFrame({"a": [1.0, 2.0], "c": ["u", "v"]}), pd.Series([1.0, 3.0])
    good, y_good = pd.concat([X, X], ignore_index=True), pd.concat([y, y], ignore_index=True)
    assert sets.check_result(X, y, good, y_good) == []
    swapped = good.iloc[[1, 0, 2, 3]]
    assert sets.check_result(X, y, swapped, y_good) == ["the first rows are not the originals"]
    assert sets.check_result(X, y, good.assign(a=[1.0, 2.0, 2.5, 1.0]), y_good) == ["column 'a': 1 cells out of range"]
    assert sets.check_result(X, y, good.assign(c=["u", "v", "w", "v"]), y_good) == ["column 'c': 1 cells out of range"]
    assert "dtypes changed" in sets.check_result(X, y, good.astype({"a": "float32"}), y_good)
    assert sets.check_result(X, y, good, pd.Series([1.0, 3.0, 3.1, 2.0])) == ["the target leaves its range"]
    assert sets.check_result(X, y, good.iloc[:3], y_good.iloc[:3])[0].startswith("3 rows")
    assert "missing cells" in sets.check_result(X, y, good.where(good["a"] < 2), y_good)


def test_the_exit_code_tells(capsys):
    line = dict(name="x", rows=10, columns=1, text=0, outcome="resampled", seconds=1.0, r2_x=1.0, r2_y=1.0)
    assert sets.report([line | {"wrong": ""}, dict(name="z", skipped="not here", wrong="")]) == 0
    assert sets.report([line | {"wrong": "dtypes changed"}]) == 1
    assert "skipped z: not here" in capsys.readouterr().out
    assert sets.main(["diabetes", "--rows", "60", "--epochs", "1", "--jobs", "1"]) == 0


# ---- claims ----


@pytest.fixture(scope="module")
def claims():
    return pd.read_csv(ROOT / "claims" / "claims.csv", dtype=str, keep_default_na=False)


def test_claims_are_complete(claims):
    assert list(claims.columns) == ["id", "paper", "statement", "paper_value", "experiment", "rule", "data", "seeds", "meaning"]
    empty = claims.drop(columns="meaning").map(str.strip) == ""
    assert not empty.any(axis=None), claims[empty.any(axis=1)].id.tolist()
    assert claims.id.is_unique and claims.id.str.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+").all()


def test_every_rule_is_a_comparison(claims):
    comparison = r"[<>]|at least|below|above|at most|includes \d"
    assert claims.rule.str.contains(comparison).all(), claims.id[~claims.rule.str.contains(comparison)].tolist()


def test_claims_of_david_point_to_its_experiments(claims):
    david = claims[claims.id.str.startswith("david-")]
    assert set(david.experiment) == EXPERIMENTS and len(david) >= 30
    for part in (
        "key-1",
        "key-2",
        "key-3",
        "mech-1",
        "mech-2",
        "mech-3",
        "trade-",
        "fail-",
        "first-1",
        "first-2",
        "first-3",
        "next-1",
        "next-2",
        "next-3",
        "open-1",
        "open-2",
        "open-3",
    ):
        assert david.id.str.startswith(f"david-{part}").any(), part


def test_experiments_of_claims_exist(claims):
    named = set(claims.experiment[claims.id.str.startswith("david-")])
    present = {path.stem for path in (ROOT / "nbs" / "experiments").glob("*.ipynb")}
    assert named <= present, f"claims name experiments that are not there: {sorted(named - present)}"


def test_claims_name_sets_that_exist(claims):
    from augment_lib.data import names

    known = set(names())
    named = {word for text in claims.data for word in re.findall(r"\bbranco_\w+|\bNO2\b", text)}
    assert named <= known and len(named) > 3
