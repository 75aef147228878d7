"""Pictures and tables as one matrix, and back."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from augment_lib.core import InputError
from augment_lib.joint import JointTable
from augment_lib.likelihoods import Bernoulli, Table
from augment_lib.rows import FeatureTable, PixelContainer, PixelTable, likelihood_of, table_from_state, table_state


def pictures(*shape, dtype="float32"):
    return np.random.default_rng(0).random(shape).astype(dtype)


def frame(n=30):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"a": rng.normal(5, 2, n), "word": rng.choice(["x", "y", "z"], n), "n": rng.integers(0, 9, n)})


# ---- containers of pictures


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5), (6, 4, 5, 3), (6, 4, 5, 1)])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_pictures_come_back_in_shape_and_dtype(shape, dtype):
    X = pictures(*shape, dtype=dtype)
    container = PixelContainer.of(X)
    cells = container.to_frame(X)
    assert cells.shape == (6, np.prod(shape[1:])) and cells.dtype == np.float32
    back = container.restore(cells)
    assert back.shape == X.shape and back.dtype == X.dtype
    np.testing.assert_allclose(back, X, rtol=1e-6)
    assert container.restore(cells[:0]).shape == (0, *shape[1:])


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_black_and_white_stays_black_and_white(dtype):
    X = (pictures(6, 4, 5) > 0.5).astype(dtype)
    container = PixelContainer.of(X)
    back = container.restore(np.full((2, 20), 0.7, np.float32))
    assert back.dtype == X.dtype and (back == 1).all() and (container.restore(container.to_frame(X)) == X).all()
    assert not container.restore(np.full((2, 20), 0.3, np.float32)).any()


def test_a_frame_of_pixels_of_every_kind():
    X = pd.DataFrame(
        {
            "double": pictures(6),
            "half": pictures(6).astype("float16"),
            "flag": [True, False] * 3,
            "Int": pd.array([0, 1] * 3, dtype="Int64"),
            "Bool": pd.array([False, True] * 3, dtype="boolean"),
            "Float": pd.array(pictures(6), dtype="Float64"),
            "sparse": pd.arrays.SparseArray([0.0, 0.5, 0, 0, 0, 1]),
        }
    )
    container = PixelContainer.of(X)
    cells = container.to_frame(X)
    back = container.restore(cells)
    assert cells.dtype == np.float32 and back.dtypes.equals(X.dtypes)
    pd.testing.assert_frame_equal(back, X, rtol=1e-3, check_exact=False)
    grey = container.restore(np.full((2, 7), 0.3, np.float32), pd.Index(["p", "q"]))
    assert not grey["flag"].any() and not grey["Bool"].any() and (grey["Int"] == 0).all() and grey.index.tolist() == ["p", "q"]
    assert container.to_frame(X[list(X)[::-1]]).tolist() == cells.tolist()                     # matched by name


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_array", "coo_array"])
def test_sparse_pixels(kind):
    X = getattr(sparse, kind)(sparse.random(6, 5, density=0.4, random_state=0, dtype="float32"))
    container = PixelContainer.of(X)
    back = container.restore(container.to_frame(X))
    assert type(back) is type(X) and back.dtype == X.dtype and (back.toarray() == X.toarray()).all()


@pytest.mark.parametrize(
    "X, words",
    [
        (np.empty((0, 4, 5)), r"shape \(0, 4, 5\)"),
        (np.empty((6, 0, 5)), r"shape \(6, 0, 5\)"),
        (np.zeros(6), r"shape \(6,\).*\(n, h, w\)"),
        (np.where(pictures(6, 4, 5) > 0.9, np.nan, 0.5), "NaN"),
        (pd.DataFrame({"a": [0.1, 0.2], "word": ["x", "y"]}), "'word'.*likelihood='table'"),
    ],
    ids=["no rows", "no pixels", "one dimension", "NaN", "words"],
)
def test_what_is_no_picture_is_named(X, words):
    with pytest.raises(InputError, match=words):
        PixelContainer.of(X).to_frame(X)


def test_other_shapes_than_fitted_are_refused():
    container = PixelContainer.of(pictures(6, 4, 5))
    for wrong in (pictures(6, 5, 4), pictures(6, 20), pictures(6, 4, 5, 1)):
        with pytest.raises(InputError, match=r"expected \(4, 5\), as fitted"):
            container.to_frame(wrong)


@pytest.mark.parametrize("X", [pictures(6, 4, 5), (pictures(6, 4) > 0.5).astype("uint8"), pd.DataFrame(pictures(6, 4))], ids=["pictures", "flat", "frame"])
def test_a_container_survives_json(X):
    container = PixelContainer.of(X)
    again = PixelContainer.from_dict(json.loads(json.dumps(container.to_dict())))
    cells = container.to_frame(X)
    a, b = container.restore(cells), again.restore(again.to_frame(X))
    assert type(a) is type(b) and (np.asarray(a) == np.asarray(b)).all() and np.shape(a) == np.shape(X)


# ---- tables of pictures


def test_pixels_without_a_target():
    cells = pictures(8, 5)
    table = PixelTable.of(cells)
    assert table.width == 5 and table.y is None and table.cells is table.matrix and likelihood_of(table) == Bernoulli()
    back, y = table.to_table(cells)
    assert y is None and (back == cells).all() and (table.encode(cells) == cells).all()
    shift, scale = table.scaling
    assert (shift == 0).all() and (scale == 1).all() and len(table.take([1, 3]).matrix) == 2


def test_pixels_with_a_target():
    cells, y = pictures(8, 5), np.linspace(-3, 11, 8)
    table = PixelTable.of(cells, y)
    assert table.width == 6 and table.matrix.min() >= 0 and table.matrix.max() <= 1 and table.matrix.dtype == np.float32
    np.testing.assert_allclose(table.y, y, atol=1e-5)
    back, target = table.to_table(table.matrix)
    assert (back == cells).all() and (table.cells == cells).all()
    np.testing.assert_allclose(target, y, atol=1e-5)
    np.testing.assert_allclose(table.encode(cells[:2], y[:2, None]), table.matrix[:2])


def test_some_pictures_know_their_own_targets_range_alone():
    cells, y = pictures(8, 5), np.linspace(-3, 11, 8)
    part, own = PixelTable.of(cells, y).take(np.arange(2, 6)), PixelTable.of(cells[2:6], y[2:6])
    shift, scale = part.scaling
    np.testing.assert_allclose((part.matrix - shift) * scale, own.matrix, atol=1e-6)
    empty = part.take(slice(0, 0))
    assert [v.tolist() for v in empty.scaling] == [v.tolist() for v in part.scaling]


# ---- tables


def test_features_there_and_back():
    X = frame()
    table = FeatureTable.of(X)
    assert table.width == 5 and likelihood_of(table) == Table(2, ((2, 5),))
    back, y = table.to_table(table.matrix.astype(float))
    assert y is None
    pd.testing.assert_frame_equal(back, X, rtol=1e-6)
    assert (table.encode(X.iloc[:4]) == table.matrix[:4]).all()


def test_some_rows_give_only_what_they_contain():
    X = frame()
    rows = np.flatnonzero(X["word"] != "z")[:10]
    part = FeatureTable.of(X).take(rows)
    wild = np.random.default_rng(1).normal(size=(200, 5)) * 3
    wild[:, 2:] = np.abs(wild[:, 2:])
    new, _ = part.to_table(wild, np.random.default_rng(0))
    assert set(new["word"]) <= {"x", "y"} and new["a"].between(X["a"][rows].min(), X["a"][rows].max()).all() and new["n"].between(X["n"][rows].min(), X["n"][rows].max()).all()
    shift, scale = part.scaling
    scaled = (part.matrix - shift) * scale
    np.testing.assert_allclose([scaled.min(0)[:2], scaled.max(0)[:2]], [[0, 0], [1, 1]], atol=1e-6)


def test_levels_are_drawn_with_a_generator():
    table = FeatureTable.of(frame())
    even = np.tile([0.5, 0.5, 1 / 3, 1 / 3, 1 / 3], (300, 1))
    assert table.to_table(even)[0]["word"].nunique() == 1 and table.to_table(even, np.random.default_rng(0))[0]["word"].value_counts().min() > 70


def test_bounds_go_through():
    table = FeatureTable.of(frame(), bounds={"a": (4, 5)})
    assert table.to_table(np.random.default_rng(0).random((50, 5)))[0]["a"].between(4, 5).all()


TABLES = {
    "pixels": lambda: PixelTable.of(pictures(30, 5)),
    "pixels and target": lambda: PixelTable.of(pictures(30, 5), np.linspace(1, 9, 30)).take(np.arange(4, 20)),
    "features": lambda: FeatureTable.of(frame(), {"a": (0, None)}),
    "some features": lambda: FeatureTable.of(frame()).take(np.arange(5)),
    "joint": lambda: JointTable.of(frame(), np.linspace(1, 9, 30)),
}


@pytest.mark.parametrize("kind", TABLES)
def test_state_round_trip(kind):
    table = TABLES[kind]()
    state, arrays = table_state(table)
    again = table_from_state(json.loads(json.dumps(state)), arrays)
    assert type(again) is type(table) and again.width == table.width and likelihood_of(again) == likelihood_of(table)
    assert all((a == b).all() for a, b in zip(again.scaling, table.scaling))
    values = np.random.default_rng(0).random((40, table.width))
    (X, y), (X_again, y_again) = (t.to_table(values, np.random.default_rng(1)) for t in (table, again))
    assert X_again.equals(X) if hasattr(X, "equals") else (X_again == X).all()
    assert (y is None and y_again is None) or (y == y_again).all()
