"""Somebody's own file: what is found out about it, what is refused, and that filling gaps never looks at other rows."""
import gzip
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from augment_lib.core import InputError
from augment_lib.generative_model import guess_task
from augment_lib.own_table import FilledSampler, FillMissing, check_own, find_delimiter, guess_kind, read_own, settle_column

N = 12
ROWS = [(f"{i}.5", str(i * 3), "ABC"[i % 3], str(100 + 7 * i)) for i in range(N)]
NAMES = ("size", "rooms", "street", "price")


def write(path, rows, names=NAMES, delimiter=",", decimal=".", encoding="utf-8", pack=None, end="\n"):
    lines = [delimiter.join(row) for row in ([names] if names else []) + [tuple(cell.replace(".", decimal) for cell in row) for row in rows]]
    data = (end.join(lines) + end).encode(encoding)
    path.write_bytes(gzip.compress(data) if pack else data)
    return path


@pytest.mark.parametrize("delimiter, decimal, encoding, names, pack, end", [
    (",", ".", "utf-8", NAMES, None, "\n"), (";", ",", "cp1252", NAMES, None, "\r\n"), ("\t", ".", "utf-16", NAMES, None, "\n"), ("|", ",", "utf-8-sig", NAMES, "gz", "\n"),
    (" ", ".", "utf-8", None, None, "\n"), (";", ",", "utf-8", None, "gz", "\r\n"), ("\t", ",", "utf-8", ("größe", "räume", "straße", "preis"), None, "\n")])
def test_same_table_from_every_format(tmp_path, delimiter, decimal, encoding, names, pack, end):
    found = read_own(write(tmp_path / "t.csv", ROWS, names, delimiter, decimal, encoding, pack, end))
    assert list(found.frame) == list(names or ["x0", "x1", "x2", "x3"])
    assert found.frame.iloc[:, 0].tolist() == [i + 0.5 for i in range(N)]
    assert found.frame.iloc[:, 2].tolist() == [row[2] for row in ROWS] and found.frame.iloc[:, 1].dtype == np.int64
    parquet = tmp_path / "t.bin"                                                   # told by its bytes, not by its name
    found.frame.to_parquet(parquet)
    assert read_own(parquet).frame.equals(found.frame)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_table_of_numbers_and_words_comes_back(tmp_path, data):
    d, delimiter = data.draw(st.integers(2, 5)), data.draw(st.sampled_from(",;\t|"))
    numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 3))
    words = st.text(st.characters(codec="ascii", categories=("Lu", "Ll")), min_size=1, max_size=6).filter(lambda w: w not in ("NA", "NaN", "nan", "null", "NULL"))
    columns = {f"c{j}": data.draw(st.lists(numbers if j != 1 else words, min_size=4, max_size=4)) for j in range(d)}
    frame = pd.DataFrame(columns)
    frame.to_csv(tmp_path / "t.csv", sep=delimiter, index=False)
    found = read_own(tmp_path / "t.csv").frame
    assert found.shape == frame.shape and np.allclose(found["c0"].astype(float), frame["c0"])
    assert found["c1"].astype(str).str.lower().tolist() == frame["c1"].str.lower().tolist() or set(frame["c1"].str.lower()) <= {"true", "false"}


@pytest.mark.parametrize("content, why", [
    (b"", "is empty"), (b"\n \n", "is empty"), (b"a,b\n", "no row"), (b"a\n1\n", "no delimiter"), (b"PK\x03\x04\x00\x00", "Excel"), (b"a,b\n\x00\x00,1\n", "zero bytes"), (b"PAR1\x00", "Parquet"),
    (b"a,b\n1,2\n3,4\n5,6,7\n", "line 4"), (b"a,a\n1,2\n", "more than once"), (b"\x1f\x8b\x08\x00cut", "cannot be read"), (b"a,b\n1,2,3\n1,2,3\n", "no delimiter")])
def test_files_that_are_no_tables(tmp_path, content, why):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=why):
        read_own(tmp_path / "t.csv")


def homes(n=30, **cells):
    return pd.DataFrame({"id": range(n), "size": np.linspace(3, 9, n), "street": ["A", "B", "C"] * (n // 3), "price": np.linspace(1, 2, n)}).assign(**cells)


DAY = ["2024-01-31", "31.01.2024", "1/31/2024", "2024-01-31 12:30:01", "2024-01-31T12:30", "7:30", "3 Jan 2024", "Jan 3, 2024"]


@pytest.mark.parametrize("cells, options, why", [
    *[({"when": day}, {}, r"1 column.*dates: 'when'.*--drop \"when\"") for day in DAY], ({"when": pd.Timestamp(0)}, {}, "dates"),
    ({"size": ["?!"] + list("12345678901234567890123456789")}, {}, "first '\\?!' in row 1"), ({"size": [[1]] * 30}, {}, "another kind"), ({"size": None}, {}, "nothing: 'size'"),
    ({"size": [np.inf] + [1.0] * 29}, {}, "infinity"), ({"price": 3}, {}, "one value"), ({"price": [None] * 25 + [1, 2, 3, 4, 5]}, {"impute": True}, "5 row"),
    ({}, {"drop": ["size", "street", "id"]}, "no column is left"), ({}, {"drop": ["strete"]}, "'street'"), ({}, {"text": ["sizes"]}, "'size'"), ({}, {"task": "classify"}, "regression"),
    ({"size": [None] * 7 + [1.0] * 23, "street": [None] + ["A"] * 29}, {}, "'size' 7, 'street' 1.*--impute")])
def test_refused_by_name(cells, options, why):
    with pytest.raises(InputError, match=why):
        check_own(homes(**cells), "price", **options)


def test_all_of_one_kind_are_named_at_once():
    with pytest.raises(InputError, match="2 column.*'a'.*'b'"):
        check_own(homes(a="2024-01-01", b="2024-01-02"), "price")


def test_identifiers_and_constants_are_noted_never_dropped():
    checked = check_own(homes(name=[f"n{i}" for i in range(30)], same=1), "price")
    assert list(checked.X) == ["id", "size", "street", "name", "same"]
    assert sum("identifier" in note for note in checked.notes) == 2 and any("never vary: 'same'" in note for note in checked.notes)
    assert not any("'size'" in note for note in checked.notes)                     # decimals differ in every row without being identifiers


@pytest.mark.parametrize("y", [[1, 2] * 15, list(range(30)), [0.5, 1.5, 2.5] * 10, ["a", "b"] * 15, [True, False] * 15, [1.0, 0.0] * 15])
def test_task_as_the_samplers_guess_it(y):
    y = pd.Series(y)
    two_floats = y.dtype == float and y.nunique() == 2                             # 0.0 and 1.0 in a CSV are classes; a sampler is given the task
    assert guess_kind(y)[0] == ("classification" if two_floats else guess_task(y))
    assert guess_kind(y, "regression")[0] == "regression"


def test_thousands_of_columns_in_seconds():
    wide, start = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 3_001)), columns=[f"g{j}" for j in range(3_001)]), time.process_time()
    assert check_own(wide, "g3").X.shape == (20, 3_000)
    assert time.process_time() - start < 10


def test_text_keeps_codes_as_words():
    kind, cells, _ = settle_column(pd.Series([80331, 10115, None]), as_text=True)
    assert kind == "words" and cells.dropna().map(type).eq(str).all() and cells.isna().sum() == 1


def gappy(n=60):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=n), "k": rng.integers(0, 9, n).astype(float), "w": pd.Series(rng.choice(list("xyz"), n), dtype=object)})
    for j, name in enumerate(frame):
        frame.loc[rng.random(n) < 0.3, name] = None
    return frame


def test_filling_learns_from_the_fitted_rows_alone():
    frame = gappy()
    train, test = frame.iloc[:40], frame.iloc[40:]
    filled = FillMissing().fit(train).transform(test)
    assert np.isclose(filled.loc[test["a"].isna(), "a"], train["a"].median()).all()
    assert filled["k"].dtype == np.int64 and set(filled.loc[test["w"].isna(), "w"]) == {train["w"].mode()[0]}
    assert frame.isna().sum().sum() > 0 and not filled.isna().any().any()
    other = FillMissing().fit(train).transform(test.assign(a=test["a"] * 1000))
    assert other.loc[test["a"].isna(), "a"].equals(filled.loc[test["a"].isna(), "a"])


def test_whole_numbers_come_back_and_decimals_stay():
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0] * 10, "b": [4.0, None, 6.0] * 10, "y": [7.0, 8.0, None] * 10, "z": [1.0, 2.0] * 15})
    checked = check_own(frame, "y", impute=True, task="regression")
    assert checked.y.dtype == np.int64 and len(checked.y) == 20
    assert FillMissing().fit_transform(checked.X).dtypes.astype(str).tolist() == ["float64", "int64", "float64"]
    assert check_own(frame.drop(columns=["y", "b"]), "z").y.dtype == float


class Copies:
    "Every row again."

    def __init__(self, random_state=None):
        self.random_state = random_state

    def get_params(self, deep=True):
        return {"random_state": self.random_state}

    def set_params(self, **values):
        vars(self).update(values)
        return self

    def fit_resample(self, X, y):
        assert not X.isna().any().any()
        self.is_synthetic_, self.seed_indices_ = np.arange(2 * len(X)) >= len(X), np.r_[np.arange(len(X)), np.arange(len(X))]
        return pd.concat([X, X]), np.r_[y, y]


def test_a_sampler_never_sees_a_gap_and_its_seed_can_be_set():
    sampler = clone(FilledSampler(Copies())).set_params(sampler__random_state=3)
    X, y = sampler.fit_resample(gappy(), np.arange(60))
    assert len(X) == len(y) == 120 and sampler.is_synthetic_.sum() == 60 and sampler.sampler_.random_state == 3


def test_delimiter_is_not_fooled_by_words():
    assert find_delimiter('a;b\n"x, y";1\n"u, v, w";2\n') == ";"
    assert find_delimiter("name\tnote\nA\tone, two\nB\tthree, four\n") == "\t"
