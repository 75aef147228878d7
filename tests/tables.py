"""Tables that many tests resample, and what must hold for the rows that come back."""
from collections import Counter

import numpy as np
import pandas as pd

LEVELS = ["low", "mid", "high", "never"]
KINDS = {       # column -> its cells, in the order in which they are drawn; "constant" stays last
    "double": lambda rng, n: rng.normal(100, 3, n),
    "single": lambda rng, n: rng.random(n).astype("float32"),
    "half": lambda rng, n: rng.random(n).astype("float16"),
    "long": lambda rng, n: rng.integers(-5, 900, n),
    "byte": lambda rng, n: rng.integers(0, 200, n).astype("uint8"),
    "flag": lambda rng, n: rng.random(n) < 0.3,
    "word": lambda rng, n: rng.choice(["x", "y", "z"], n),
    "object": lambda rng, n: pd.Series(rng.choice(["red", "blue"], n), dtype=object),
    "level": lambda rng, n: pd.Categorical(rng.choice(LEVELS[:3], n), LEVELS, ordered=True),
    "code": lambda rng, n: pd.Categorical(rng.integers(3, 6, n)),
    "Int": lambda rng, n: pd.array(rng.integers(0, 9, n), dtype="Int64"),
    "Float": lambda rng, n: pd.array(rng.random(n), dtype="Float64"),
    "Bool": lambda rng, n: pd.array(rng.random(n) < 0.5, dtype="boolean"),
    "String": lambda rng, n: pd.array(rng.choice(["u", "v"], n), dtype="string"),
    "sparse": lambda rng, n: pd.arrays.SparseArray(np.where(rng.random(n) < 0.7, 0.0, rng.random(n))),
    "sparse_int": lambda rng, n: pd.arrays.SparseArray(rng.integers(0, 2, n), fill_value=0),
    "constant": lambda rng, n: np.full(n, 7),
}


def mixed(n=60, seed=0, target="classes", without=()):
    "A table of every kind of column that a data frame can hold, with three classes of words or a skewed number."
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({name: cells(rng, n) for name, cells in KINDS.items() if name not in without})
    if target == "classes":
        return X, pd.Series(np.resize(["common"] * 6 + ["rare"] * 2 + ["odd"], n), name="kind", dtype=object)
    return X, pd.Series(rng.gamma(1.5, 3, n), name="cost")


def homes(n=60, seed=0, target="price"):
    "A small table with an index of names, and a price or three classes of very different size."
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({
        "area": rng.gamma(3, 20, n),
        "rooms": rng.integers(1, 9, n),
        "floor": pd.array(rng.integers(0, 5, n), dtype="Int64"),
        "small": rng.normal(size=n).astype(np.float32),
        "town": pd.Categorical(rng.choice(["b", "a"], n), categories=["a", "b", "never"]),
        "kind": rng.choice(["flat", "house"], n),
        "lift": rng.random(n) < 0.5,
        "same": 3.0,
    }, index=[f"row{i}" for i in range(n)])
    if target == "classes":
        return X, pd.Series(np.repeat(["common", "few", "rare"], [n - 25, 20, 5])[rng.permutation(n)], index=X.index, name="label")
    return X, pd.Series(X.area.to_numpy() * 2 + rng.exponential(30, n), index=X.index, name="price")


def assert_inside(old, new):
    "Cells of one column or target: numbers within the range, anything else among the levels."
    if not len(new):
        return
    old, new = old.infer_objects(), new.infer_objects()       # numbers may stand in a column of objects
    if pd.api.types.is_numeric_dtype(old.dtype) and not pd.api.types.is_bool_dtype(old.dtype):
        assert new.min() >= old.min() and new.max() <= old.max(), old.name
    else:
        assert set(new) <= set(old), old.name


def assert_good(X, X_res, y=None, y_res=None, balanced=False):
    "Originals first and untouched, dtypes kept, nothing missing, nothing out of range; classes balanced, if they should be."
    n = len(X)
    pd.testing.assert_frame_equal(X_res.iloc[:n], X)
    assert X_res.dtypes.equals(X.dtypes) and X_res.columns.equals(X.columns) and X_res.index.is_unique and not X_res.isna().any(axis=None)
    for i in range(X.shape[1]):
        assert_inside(X.iloc[:, i], X_res.iloc[n:, i])
    if y is None:
        return
    pd.testing.assert_series_equal(y_res.iloc[:n], y)
    assert y_res.dtype == y.dtype and y_res.name == y.name and X_res.index.equals(y_res.index) and not y_res.isna().any()
    assert_inside(y, y_res)
    assert not balanced or len(set(Counter(y_res).values())) == 1
