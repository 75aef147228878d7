"""Round trips, refusals and limits of the table encoder and its container."""
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from scipy import sparse

from augment_lib.columns import CellTypeError, check_shape, into_range
from augment_lib.core import InputError
from augment_lib.table import Container, Layout, TableEncoder, fit_scale, levels_present, make_layout, pick_levels, row_scaling

QUICK = settings(max_examples=40, deadline=None, derandomize=True)
N_DTYPES = ["int8", "uint8", "int16", "int32", "int64", "uint64", "float16", "float32", "float64", "Int8", "Int64", "UInt16",
            "Float32", "Float64"]
OTHERS = ["bool", "boolean", "str", "object", "string", "category", "ordered", "category of int", "category of bool", "sparse float",
          "sparse int", "sparse bool"]


def make_column(kind, n, rng):
    words = np.array(["Aix", "Bonn", "", "Über", "1", "nan "], dtype=object)
    if kind in ("bool", "boolean"):
        return pd.Series(rng.random(n) < 0.5).astype(kind)
    if kind in ("str", "object", "string"):
        return pd.Series(words[rng.integers(0, len(words), n)], dtype=object).astype(kind)
    if kind in ("category", "ordered"):
        return pd.Series(pd.Categorical.from_codes(rng.integers(0, 3, n), ["z", "b", "a", "unused"], ordered=kind == "ordered"))
    if kind == "category of int":
        return pd.Series(pd.Categorical(rng.choice([30, 7, -1], n), categories=[30, 7, -1, 99]))
    if kind == "category of bool":
        return pd.Series(pd.Categorical(rng.random(n) < 0.5, categories=[True, False]))
    if kind.startswith("sparse"):
        cells = {"float": rng.choice([0.0, 1.5], n), "int": rng.choice([0, 3], n), "bool": rng.random(n) < 0.3}[kind.split()[1]]
        return pd.Series(pd.arrays.SparseArray(cells, fill_value=cells.dtype.type(0)))
    low, high = (0, 100) if kind.lower().startswith("u") else (-100, 100)
    cells = rng.integers(low, high, n)
    return pd.Series(cells if "int" in kind.lower() else cells / 8).astype(kind)


@st.composite
def frames(draw, kinds=tuple(N_DTYPES + OTHERS), max_rows=12):
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=6))
    n, rng = draw(st.integers(1, max_rows)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = draw(st.permutations([f"c{i}" for i in range(len(chosen))]))
    labels = pd.Index(rng.permutation(n) + 100)
    return pd.concat([make_column(kind, n, rng) for kind in chosen], axis=1, keys=names).set_axis(labels)


@QUICK
@given(frames())
def test_container_round_trip(frame):
    box = Container.of(frame)
    inside = box.to_frame(frame)
    assert all(d.kind in "biufO" for d in inside.dtypes if isinstance(d, np.dtype))
    pd.testing.assert_frame_equal(box.restore(inside, frame.index), frame)


@pytest.mark.parametrize("scaling", ["minmax", "standard"])
@QUICK
@given(frame=frames())
def test_encoder_round_trip(scaling, frame):
    encoder = TableEncoder(scaling).fit(frame)
    matrix = encoder.transform(frame)
    assert matrix.dtype == np.float32 and matrix.shape == (len(frame), encoder.layout_.width) and np.isfinite(matrix).all()
    back = encoder.inverse_transform(matrix)
    expected = frame.reset_index(drop=True)
    assert back.dtypes.equals(frame.dtypes) and list(back) == list(frame)
    for name in frame:
        if pd.api.types.is_float_dtype(getattr(frame[name].dtype, "subtype", frame[name].dtype)):
            assert np.abs(back[name].to_numpy(float) - expected[name].to_numpy(float)).max() <= 1e-4
        else:
            pd.testing.assert_series_equal(back[name], expected[name])


@QUICK
@given(frames(), st.integers(0, 2**32 - 1), st.booleans())
def test_any_matrix_decodes_to_a_possible_table(frame, seed, draw_levels):
    rng = np.random.default_rng(seed)
    encoder = TableEncoder().fit(frame)
    back = encoder.inverse_transform(rng.normal(0, 10, (30, encoder.layout_.width)), rng=rng if draw_levels else None)
    assert back.dtypes.equals(frame.dtypes) and not back.isna().any().any()
    inside, seen = Container.of(back).to_frame(back), Container.of(frame).to_frame(frame)
    for name in encoder.numeric_:
        assert seen[name].min() <= inside[name].min() and inside[name].max() <= seen[name].max()
    for name in encoder.categorical_:
        assert set(back[name]) <= set(frame[name])


@QUICK
@given(frames(), st.sampled_from(["minmax", "standard"]))
def test_state_is_json_and_complete(frame, scaling):
    encoder = TableEncoder(scaling, bounds=None).fit(frame)
    twin = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict(), allow_nan=False)))
    matrix = encoder.transform(frame)
    assert (twin.transform(frame) == matrix).all() and twin.layout_ == encoder.layout_ and twin.ranges_ == encoder.ranges_
    kinds = [{c: [type(v) for v in levels] for c, levels in e.levels_.items()} for e in (encoder, twin)]
    assert kinds[0] == kinds[1]
    noise = np.random.default_rng(0).normal(size=(9, encoder.layout_.width))
    pd.testing.assert_frame_equal(twin.inverse_transform(noise), encoder.inverse_transform(noise))


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_array, sparse.coo_array, sparse.csr_matrix, sparse.csc_matrix,
                                  sparse.lil_array, sparse.bsr_array, sparse.dok_matrix, sparse.dia_array, np.asarray])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool"])
def test_arrays_keep_class_and_dtype(make, dtype):
    cells = np.array([[0, 1, 0], [2, 0, 3], [1, 1, 0]]).astype(dtype)
    X = make(cells)
    box = Container.of(X)
    back = box.restore(box.to_frame(X))
    assert type(back) is type(X) and back.dtype == X.dtype
    assert (np.asarray(back.todense() if sparse.issparse(back) else back) == cells).all()
    twin = Container.from_dict(json.loads(json.dumps(box.to_dict())))
    assert type(twin.restore(box.to_frame(X))) is type(X) and twin.restore(box.to_frame(X)).dtype == X.dtype


def test_object_and_text_arrays():
    mixed = np.array([["a", 1, True], ["b", 2, False]], dtype=object)
    box = Container.of(mixed)
    assert [str(d) for d in box.to_frame(mixed).dtypes] == ["object", "int64", "bool"]
    back = box.restore(box.to_frame(mixed))
    assert back.dtype == object and back.tolist() == mixed.tolist() and [type(c) for c in back[0]] == [str, int, bool]
    text = np.array([["ab", "c"], ["d", "e"]])
    back = Container.of(text).restore(Container.of(text).to_frame(text))
    assert (back == text).all() and back.dtype == text.dtype


def test_labels_of_any_type():
    frame = pd.DataFrame([[1.0, 2.0, 3.0]], columns=pd.Index([1, "1", ("a", 2)], tupleize_cols=False))
    box = Container.of(frame)
    assert box.names == ["1", "1_", "('a', 2)"] and box.restore(box.to_frame(frame)).equals(frame)
    multi = pd.DataFrame(np.ones((2, 2)), columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")]))
    assert Container.of(multi).restore(Container.of(multi).to_frame(multi)).columns.equals(multi.columns)


def test_the_caller_s_table_is_not_touched():
    X = np.arange(12.0).reshape(4, 3)
    frame = Container.of(X).to_frame(X)
    frame.iloc[0, 0] = 99
    assert X[0, 0] == 0


def nan_frame(value):
    return pd.DataFrame({"ok": [1.0, 2.0, 3.0], "x3": [1.0, value, value]})


REFUSED = {
    "NaN": (nan_frame(np.nan), ["NaN", "'x3'", "2 missing values", "SimpleImputer"]),
    "infinity": (nan_frame(-np.inf), ["infinity", "'x3'", "2 infinite"]),
    "NaN array": (np.array([[1, np.nan]]), ["NaN", "'x1'"]),
    "NaN sparse": (sparse.csr_array(np.array([[1, np.nan]])), ["NaN", "'x1'"]),
    "nullable": (pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}), ["NaN", "'a'", "1 missing"]),
    "missing boolean": (pd.DataFrame({"a": pd.array([True, None], dtype="boolean")}), ["'a'", "1 missing"]),
    "missing text": (pd.DataFrame({"a": ["x", None]}), ["'a'", "1 missing"]),
    "missing object": (pd.DataFrame({"a": pd.Series([1, None, "x"], dtype=object)}), ["'a'", "1 missing"]),
    "missing level": (pd.DataFrame({"a": pd.Categorical(["x", None])}), ["'a'", "1 missing"]),
    "object infinity": (pd.DataFrame({"a": pd.Series([1.0, np.inf], dtype=object)}), ["infinity", "'a'"]),
    "duplicates": (pd.DataFrame([[1, 2]], columns=["a", "a"]), ["'a'", "more than once"]),
    "mixed": (pd.DataFrame({"a": pd.Series([1, "b"], dtype=object)}), ["'a'", "int", "str"]),
    "bool and int": (pd.DataFrame({"a": pd.Series([1, True], dtype=object)}), ["'a'", "int", "bool"]),
    "dates": (pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}), ["'a'", ".dt.days"]),
    "zoned dates": (pd.DataFrame({"a": pd.to_datetime(["2020-01-01"]).tz_localize("UTC")}), ["'a'", ".dt.days"]),
    "date array": (np.array([["2020-01-01"]], dtype="datetime64[D]"), ["'x0'", ".dt.days"]),
    "durations": (pd.DataFrame({"a": pd.to_timedelta([1], unit="h")}), ["'a'", "total_seconds"]),
    "periods": (pd.DataFrame({"a": pd.period_range("2020", periods=2)}), ["'a'", "dates"]),
    "complex": (np.ones((2, 2)) * 1j, ["Complex data not supported"]),
    "bytes": (pd.DataFrame({"a": [b"x"]}), ["'a'", "bytes"]),
    "dicts": (pd.DataFrame({"a": pd.Series([{}, 1.0], dtype=object)}), ["'a'", "dict", "must be a string or a number"]),
    "one dimension": (np.arange(3.0), ["Reshape your data"]),
    "series": (pd.Series([1.0]), ["Reshape your data", "to_frame"]),
    "three dimensions": (np.ones((2, 2, 2)), ["Reshape your data"]),
    "no rows": (np.empty((0, 3)), ["0 sample(s)"]),
    "no columns": (np.empty((3, 0)), ["0 feature(s) (shape=(3, 0)) while a minimum of 1 is required."]),
    "span": (np.array([[-1.7e308], [1.7e308]]), ["'x0'", "spans"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_column_and_the_cure(case):
    X, words = REFUSED[case]
    with pytest.raises(InputError) as caught, warnings.catch_warnings():
        warnings.simplefilter("error")
        TableEncoder().fit(X)
    assert all(word in str(caught.value) for word in words), caught.value


def test_cells_that_are_objects_raise_what_scikit_learn_expects():
    with pytest.raises(TypeError, match="argument must be .* string.* number"):
        Container.of(np.array([[{"foo": "bar"}, 1.0]], dtype=object)).to_frame(np.array([[{"foo": "bar"}, 1.0]], dtype=object))
    assert issubclass(CellTypeError, ValueError)


def test_too_many_levels():
    frame = pd.DataFrame({"id": [f"i{i}" for i in range(5000)]})
    with pytest.raises(InputError, match=r"'id' has 5,000 levels.*100\.0 MB"):
        TableEncoder().fit(frame)
    assert TableEncoder(max_levels=5000).fit(frame).layout_.width == 5000


@pytest.mark.parametrize("arguments, words", [
    ({"scaling": "log"}, "scaling='log'"), ({"max_levels": 0}, "max_levels=0"),
    ({"bounds": {"z": (0, 1)}}, "'z', which is no numeric column"),
    ({"bounds": {"a": (3, 1)}}, "is no range"), ({"bounds": {"a": ("low", 1)}}, "is no range"), ({"bounds": {"a": 5}}, "is no range")])
def test_bad_arguments(arguments, words):
    with pytest.raises(InputError, match=words):
        TableEncoder(**arguments).fit(pd.DataFrame({"a": [1.0, 2.0]}))


def test_transform_of_another_table():
    encoder = TableEncoder().fit(pd.DataFrame({"n": [1, 5], "c": ["u", "v"]}))
    with pytest.raises(InputError, match="'c' has the value 'w'"):
        encoder.transform(pd.DataFrame({"n": [1], "c": ["w"]}))
    with pytest.raises(InputError, match="'n' was numeric when fitted"):
        encoder.transform(pd.DataFrame({"n": ["five"], "c": ["u"]}))
    with pytest.raises(InputError, match=r"missing \['c'\]"):
        encoder.transform(pd.DataFrame({"n": [1]}))
    swapped = pd.DataFrame({"c": ["v"], "n": [3]})
    assert encoder.transform(swapped).tolist() == [[0.5, 0.0, 1.0]]                     # matched by name, not by place
    assert encoder.transform(pd.DataFrame({"n": [9.0], "c": ["u"]}))[0, 0] == 2        # outside the range is no error
    with pytest.raises(InputError, match="expected \\(rows, 3\\)"):
        encoder.inverse_transform(np.ones((2, 4)))


@QUICK
@given(st.sampled_from(["float16", "float32", "float64"]), st.lists(st.floats(-6e4, 6e4), min_size=2, max_size=2),
       st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_no_float_leaves_its_range_by_rounding(dtype, ends, values):
    low, high = sorted(ends)
    out = into_range(np.array(values), low, high, np.dtype(dtype))
    if float(np.dtype(dtype).type(low)) >= low and float(np.dtype(dtype).type(high)) <= high:      # there is a number of this dtype inside
        assert out.dtype == dtype and (out.astype(float) >= low).all() and (out.astype(float) <= high).all()


def test_extreme_integers():
    limits = np.iinfo("int64")
    X = pd.DataFrame({"wide": [limits.min // 4, limits.max // 4],
                      "top": np.array([2**64 - 1, 2**64 - 11], "uint64"), "id": [10**15, 10**15 + 50]})
    with pytest.warns(UserWarning, match=r"\['wide', 'top'\].*2\*\*24"):
        encoder = TableEncoder().fit(X)
    back = encoder.inverse_transform(np.array([[-9, -9, -9], [9, 9, 9]]))
    assert back.dtypes.equals(X.dtypes)
    assert back["wide"].tolist() == X["wide"].tolist()
    assert all(2**64 - 11 <= v <= 2**64 - 1 for v in back["top"]) and back["id"].tolist() == X["id"].tolist()
    assert encoder.ranges_["top"] == (2**64 - 11, 2**64 - 1)
    assert encoder.inverse_transform(encoder.transform(X))["id"].tolist() == X["id"].tolist()      # large but narrow: exact


def test_a_span_of_2_to_24_survives_and_one_more_warns():
    good = pd.DataFrame({"a": np.r_[0, 2**24, np.arange(2**24 - 1000, 2**24)]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = TableEncoder().fit(good)
    assert (encoder.inverse_transform(encoder.transform(good))["a"] == good["a"]).all()
    with pytest.warns(UserWarning, match="do.* not hold them exactly"):
        TableEncoder().fit(pd.DataFrame({"a": [0, 2**24 + 1]}))


def test_bounds_override_and_None_keeps_the_learnt_side():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": np.array([1, 2], "int8")})
    wild = np.array([[-99.0, -999.0], [99.0, 999.0]])
    half = TableEncoder(bounds={"a": (0, None), "b": (-1e9, 1e9)}).fit(frame)
    assert half.inverse_transform(wild).to_numpy().tolist() == [[0, -128], [2, 127]]
    encoder = TableEncoder(bounds={"a": (0, 5)}).fit(frame)
    assert encoder.inverse_transform(wild, ranges=[(1.5, 1.6), (1, 1)]).to_numpy().tolist() == [[0, 1], [5, 1]]      # user, then job
    free = TableEncoder(bounds={"a": (-np.inf, np.inf), "b": (None, np.int64(9))}).fit(frame)
    assert free.inverse_transform(wild).to_numpy().tolist() == [[-98, 1], [100, 9]]
    twin = TableEncoder.from_dict(json.loads(json.dumps(free.to_dict(), allow_nan=False)))
    assert twin.inverse_transform(wild).equals(free.inverse_transform(wild))


def test_constant_columns_survive():
    frame = pd.DataFrame({"a": [0.1] * 3, "b": [7] * 3, "c": [True] * 3, "d": ["only"] * 3})
    for scaling in ("minmax", "standard"):
        encoder = TableEncoder(scaling).fit(frame)
        pd.testing.assert_frame_equal(encoder.inverse_transform(encoder.transform(frame)), frame)
        assert encoder.inverse_transform(np.full((2, 4), 5.0)).equals(encoder.inverse_transform(np.zeros((2, 4))))


@QUICK
@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=60), st.sampled_from(["minmax", "standard"]))
def test_scales_are_finite_and_invertible(values, scaling):
    values = np.array(values)
    shift, scale = fit_scale(values, scaling)
    assert np.isfinite([shift, scale]).all() and scale > 0
    codes = (values - shift) / scale
    assert np.isfinite(codes).all() and np.allclose(codes * scale + shift, values, rtol=0, atol=1e-9 * np.abs(values).max())


@QUICK
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 4))
def test_row_scaling(seed, k, d):
    rng = np.random.default_rng(seed)
    layout = make_layout(d, [2, 3])
    M = rng.random((10, layout.width)).astype(np.float32)
    rows = rng.choice(10, k, replace=False)
    shift, scale = row_scaling(M, rows, layout)
    scaled = ((M - shift) * scale)[rows]
    assert shift.dtype == scale.dtype == np.float32 and shift.shape == scale.shape == (layout.width,)
    assert np.allclose(scaled[:, :d].min(0), 0) and np.allclose(scaled[:, :d].max(0), 1 if k > 1 else 0, atol=1e-6)
    assert (scaled[:, d:] == M[rows][:, d:]).all()


def test_layout_by_hand():
    assert make_layout(2, [3, 2]) == Layout(2, ((2, 5), (5, 7)), 7) and make_layout(0, [2]) == Layout(0, ((0, 2),), 2)


@QUICK
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_masked_levels_never_come(seed, n_levels):
    rng = np.random.default_rng(seed)
    block = np.where(rng.random((50, n_levels)) < 0.5, 0, rng.random((50, n_levels)))
    allowed = rng.random(n_levels) < 0.5
    allowed[rng.integers(n_levels)] = True
    assert allowed[pick_levels(block, allowed)].all() and allowed[pick_levels(block, allowed, rng)].all()


def test_every_level_masked_is_refused():
    with pytest.raises(InputError, match="masks every level"):
        pick_levels(np.ones((2, 2)), [False, False])


def test_drawn_levels_keep_their_shares_and_their_seed():
    block = np.tile([0.1, 0.0, 0.9], (30_000, 1))
    picked = pick_levels(block, rng=np.random.default_rng(3))
    assert abs((picked == 0).mean() - 0.1) < 0.006 and not (picked == 1).any()
    assert (picked == pick_levels(block, rng=np.random.default_rng(3))).all()
    M = np.eye(3, dtype=np.float32)
    assert levels_present(M, [0, 2], make_layout(0, [3]))[0].tolist() == [True, False, True]


def test_interval_levels_work_but_are_not_saved():
    frame = pd.DataFrame({"bin": pd.cut(pd.Series([1.0, 2.0, 3.0, 1.5]), 3)})
    encoder = TableEncoder().fit(frame)
    pd.testing.assert_frame_equal(encoder.inverse_transform(encoder.transform(frame)), frame)
    with pytest.raises(InputError, match="cannot be saved"):
        encoder.to_dict()


def test_check_shape_accepts_lists_of_lists():
    check_shape([[1, 2], [3, 4]])
    assert Container.of([[1, 2], [3, 4]]).to_frame([[1, 2], [3, 4]]).to_numpy().tolist() == [[1, 2], [3, 4]]
