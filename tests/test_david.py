"""DAVID from the outside: containers, modes, presets, banks, saving, bad input, Ctrl-C, pipelines."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from imblearn.pipeline import Pipeline, make_pipeline
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tables import assert_good

from augment_lib.core import InputError, ModelFileError
from augment_lib.david import DAVID, PAPER, PRESETS, architecture, epochs_for
from augment_lib.weighting import DensityWeighting

pytestmark = pytest.mark.filterwarnings("ignore:DAVID reconstructs:UserWarning", "ignore:The weights leave:UserWarning")
FEW = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


def david(**options):
    """A DAVID that takes milliseconds to train."""
    return DAVID(**{"n_epochs": 2, "random_state": 0, "hidden_dims": (8,), **options})


def mixed(n=40, seed=0):
    """A table of every kind of column that a data frame can hold, and a skewed target."""
    return tables.mixed(n, seed, target="skewed")


def numbers(n=40, d=4, seed=0):
    """A plain matrix and a target that depends on it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, np.exp(X[:, 0]) + 0.1 * rng.random(n)


# ---- containers ----


@pytest.mark.parametrize(
    "options", [{}, {"transport": True}, {"n_replicates": 2}, {"law": "prior"}, {"law": "posterior"}, {"categories": "squared"}]
)
def test_every_dtype_comes_back(options):
    X, y = mixed()
    before = X.copy(deep=True)
    X_res, y_res = david(**options).fit_resample(X, y)
    pd.testing.assert_frame_equal(X, before)
    assert len(X_res) == 2 * len(X)
    assert_good(X, X_res, y, y_res)
    assert list(X_res["level"].cat.categories) == ["low", "mid", "high", "never"] and X_res["level"].cat.ordered
    assert (X_res["level"] != "never").all() and (X_res["constant"] == 7).all()


INDEXES = {
    "range": lambda n: pd.RangeIndex(n),
    "offset": lambda n: pd.RangeIndex(50, 50 + n),
    "shuffled": lambda n: pd.Index(np.random.default_rng(0).permutation(n)),
    "named": lambda n: pd.RangeIndex(3, 3 + n, name="row"),
    "text": lambda n: pd.Index([f"patient {i}" for i in range(n)], name="patient"),
    "dates": lambda n: pd.date_range("2020-01-01", periods=n, name="day"),
    "multi": lambda n: pd.MultiIndex.from_arrays([np.arange(n) // 2, np.arange(n) % 2], names=["site", "visit"]),
    "floats": lambda n: pd.Index(np.arange(n) / 2),
}


@pytest.mark.parametrize("kind", INDEXES)
@pytest.mark.parametrize("mode", ["add", "mix"])
def test_the_index_of_the_originals_survives(kind, mode):
    X, y = mixed()
    index = INDEXES[kind](len(X))
    X, y = X.set_axis(index), y.set_axis(index)
    sampler = david(mode=mode, alpha=1)
    X_res, y_res = sampler.fit_resample(X, y)
    real = ~sampler.is_synthetic_
    assert list(X_res.index[real]) == list(index[sampler.seed_indices_[real]]) and X_res.index.is_unique
    assert X_res.index.equals(y_res.index) and X_res.index.names == index.names
    pd.testing.assert_frame_equal(X_res[real].reset_index(drop=True), X.iloc[sampler.seed_indices_[real]].reset_index(drop=True))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int8", "uint8", "object"])
def test_arrays_keep_their_dtype(dtype):
    X, y = numbers()
    X = (X * 10).astype(dtype)
    X_res, y_res = david().fit_resample(X, y)
    assert type(X_res) is np.ndarray and X_res.dtype == X.dtype and X_res.shape == (80, 4) and (X_res[:40] == X).all()
    assert (X_res[40:].min(0) >= X.min(0)).all() and (X_res[40:].max(0) <= X.max(0)).all() and (y_res[:40] == y).all()


def test_object_array_of_words_and_numbers():
    rng = np.random.default_rng(0)
    X = np.empty((30, 2), dtype=object)
    X[:, 0], X[:, 1] = rng.choice(["a", "b"], 30), rng.random(30)
    X_res, _ = david().fit_resample(X, rng.random(30))
    assert X_res.dtype == object and set(X_res[:, 0]) <= {"a", "b"} and all(isinstance(v, float) for v in X_res[:, 1])


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_matrix", "csr_array", "csc_array", "coo_array"])
@pytest.mark.parametrize("mode", ["add", "mix"])
def test_sparse_matrices_keep_their_format(kind, mode):
    _, y = numbers()
    X = getattr(sparse, kind)(sparse.random(40, 5, density=0.3, random_state=0, dtype="float32"))
    sampler = david(mode=mode)
    X_res, _ = sampler.fit_resample(X, y)
    kept = sampler.seed_indices_[~sampler.is_synthetic_]
    assert type(X_res) is type(X) and X_res.dtype == "float32" and (X_res.toarray()[: len(kept)] == X.toarray()[kept]).all()


def test_lists_in_lists_out():
    X, y = numbers()
    X_res, y_res = david().fit_resample(X.tolist(), y.tolist())
    assert isinstance(X_res, list) and isinstance(X_res[0], list) and isinstance(y_res, list)
    assert X_res[:40] == X.tolist() and y_res[:40] == y.tolist() and len(X_res) == len(y_res) == 80


@pytest.mark.parametrize("target", ["int64", "int8", "float32", "Int64", "Float64", "object"])
def test_the_target_keeps_its_dtype_and_integers_stay_whole(target):
    X, _ = mixed()
    y = pd.Series(np.random.default_rng(1).integers(1, 30, len(X)), name="rings").astype(target)
    X_res, y_res = david().fit_resample(X, y)
    assert_good(X, X_res, y, y_res)
    if "nt" in target:
        assert (y_res % 1 == 0).all()


def test_target_as_column_and_as_frame():
    X, y = numbers()
    with pytest.warns(UserWarning, match="column-vector"):
        assert david().fit_resample(X, y[:, None])[1].shape == (80, 1)
    frame = pd.DataFrame({"t": y})
    y_res = david().fit_resample(pd.DataFrame(X), frame)[1]
    assert isinstance(y_res, pd.DataFrame) and list(y_res.columns) == ["t"] and y_res.iloc[:40].equals(frame)


def test_column_labels_that_are_not_text():
    X, y = numbers()
    for labels in ([10, 20, 30, 40], pd.MultiIndex.from_product([["a", "b"], [1, 2]])):
        frame = pd.DataFrame(X, columns=labels)
        X_res, _ = david().fit_resample(frame, y)
        assert X_res.columns.equals(frame.columns) and X_res.iloc[:40].equals(frame)


@FEW
@given(
    st.integers(10, 40),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["add", "mix", "replace"]),
    st.one_of(st.floats(0, 2), st.integers(0, 50)),
    st.lists(st.sampled_from(list(mixed(10)[0].columns)), min_size=1, max_size=5, unique=True),
)
def test_rows_dtypes_and_order(n, seed, mode, n_synthetic, columns):
    X, y = mixed(n, seed % 1000)
    X = X[columns]
    sampler = david(mode=mode, n_synthetic=n_synthetic, n_epochs=1, random_state=seed)
    X_res, y_res = sampler.fit_resample(X, y)
    count = n_synthetic if isinstance(n_synthetic, int) else round(n * n_synthetic)
    assert len(X_res) == len(y_res) == {"add": n + count, "mix": n, "replace": count}[mode]
    assert X_res.dtypes.equals(X.dtypes) and list(X_res.columns) == columns
    synthetic, seeds = sampler.is_synthetic_, sampler.seed_indices_
    assert (np.diff(synthetic.astype(int)) >= 0).all() and (np.diff(seeds[~synthetic]) > 0).all()  # originals first, in their order
    assert ((seeds >= 0) & (seeds < n)).all()
    pd.testing.assert_frame_equal(X_res[~synthetic].reset_index(drop=True), X.iloc[seeds[~synthetic]].reset_index(drop=True))
    assert y_res.between(y.min(), y.max()).all()


# ---- modes, presets, arguments ----


def test_mix_keeps_each_drawn_row_once_and_says_what_it_drops():
    X, y = mixed(60)
    sampler = david(mode="mix", alpha=1)
    X_res, _ = sampler.fit_resample(X, y)
    kept = sampler.seed_indices_[~sampler.is_synthetic_]
    assert len(X_res) == 60 and len(set(kept)) == len(kept) and sampler.n_dropped_ == 60 - len(kept) > 0
    assert set(sampler.seed_indices_[sampler.is_synthetic_]) <= set(kept)  # a duplicate of a row that was kept
    assert david(mode="replace").fit_resample(X, y)[0].shape[0] == 60


def test_alpha_decides_how_rare_the_seeds_are():
    X, y = numbers(400)
    drawn = []
    for alpha in (0, 0.5, 1):
        sampler = david(alpha=alpha, n_synthetic=4000)
        sampler.fit_resample(X, y)
        drawn.append(y[sampler.seed_indices_[sampler.is_synthetic_]].mean())
        assert sampler.weights_.mean() == pytest.approx(1)
    assert abs(drawn[0] - y.mean()) < 4 * y.std() / np.sqrt(4000) and drawn[0] < drawn[1] < drawn[2]


@pytest.mark.parametrize(
    "p, widths, latent",
    [(7, (15, 6, 5), 4), (8, (17, 7, 6), 5), (13, (27, 11, 9), 7), (6, (13, 5, 4), 3), (1, (3, 2, 2), 2), (3, (7, 2, 2), 2)],
    ids=["NO2 and Abalone", "bank8FM", "boston", "simulation", "one feature", "three features"],
)
def test_the_papers_architecture(p, widths, latent):
    assert architecture(p, PAPER, "paper") == (widths, latent)


def test_the_papers_settings():
    expected = dict(
        alpha=0.5,
        beta=1e-6,
        bandwidth="paper",
        mode="mix",
        activation="tanh",
        n_epochs=2000,
        batch_size=64,
        learning_rate=1e-3,
        optimizer="adamw",
        weight_decay=1e-4,
        y_weight=10,
        reduction="sum",
        drop_last=True,
        variational=True,
        categories="squared",
    )
    assert {name: PAPER[name] for name in expected} == expected and PAPER["n_synthetic"] == 1
    X, y = numbers(130, 7)
    sampler = DAVID(preset="paper", n_epochs=3, random_state=0)
    X_res, _ = sampler.fit_resample(X, y)
    used = sampler.settings_
    assert {name: used[name] for name in expected if name != "n_epochs"} == {
        name: expected[name] for name in expected if name != "n_epochs"
    }
    assert used["n_epochs"] == 3 and sampler.diagnostics_["latent_dim"] == 4 and len(X_res) == 130 and sampler.n_dropped_ > 0
    assert sampler.get_params()["alpha"] is None  # the argument itself stays what it was
    assert (
        DAVID(preset="paper", mode="add", n_epochs=2, alpha=0, random_state=0).fit_resample(X, y)[0].shape[0] == 260
    )  # an explicit value wins


def test_every_preset_governs_the_same_settings():
    assert set(PRESETS[None]) == set(PRESETS["paper"])
    assert set(PRESETS[None]) - {"optimizer", "weight_decay", "reduction", "drop_last"} <= set(DAVID().get_params())


@pytest.mark.parametrize("n, batch, epochs", [(10, 64, 400), (64 * 20, 64, 400), (64 * 100, 64, 80), (10**6, 64, 20)])
def test_epochs_follow_the_step_budget(n, batch, epochs):
    assert epochs_for(n, batch) == epochs


def test_user_bounds():
    X, y = numbers(60)
    frame = pd.DataFrame(X, columns=list("abcd"))
    X_res, _ = david(bounds={"a": (0, 0.5)}, bandwidth=3).fit_resample(frame, y)
    assert X_res["a"][60:].between(0, 0.5).all() and not X_res["b"][60:].between(0, 0.5).all()
    wide = david(bounds={"a": (-100, 100)}, bandwidth=30, n_epochs=20).fit_resample(frame, y)[0]
    assert wide["a"][60:].abs().max() > np.abs(X[:, 0]).max() and wide["b"].between(X[:, 1].min(), X[:, 1].max()).all()


def test_replicates_share_the_new_rows_and_the_history_names_them():
    X, y = numbers()
    sampler = david(n_replicates=3).fit(X, y)
    assert sorted(sampler.history_["replicate"].unique()) == [0, 1, 2] and len(sampler.history_) == 6
    assert sampler.encode(X, y).shape[:2] == (3, 40) and len(sampler.sample(10)[0]) == 10
    codes = sampler.encode(X, y)
    assert not np.allclose(codes[0], codes[1])
    one = david(n_replicates=1).fit(X, y)
    np.testing.assert_allclose(one.encode(X, y)[0], codes[0], atol=1e-4)  # replicate 0 is the network alone


def test_same_seed_same_bits_and_no_global_state():
    X, y = mixed()
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    first, second = david().fit_resample(X, y), david().fit_resample(X, y)
    pd.testing.assert_frame_equal(first[0], second[0])
    assert (np.random.get_state()[1] == before).all()
    assert not david(random_state=1).fit_resample(X, y)[0].equals(first[0])
    streams = [david(random_state=np.random.RandomState(5)).fit_resample(X, y)[0] for _ in range(2)]
    pd.testing.assert_frame_equal(*streams)


def test_sample_streams():
    X, y = mixed()
    sampler = david().fit(X, y)
    a, b = sampler.sample(20), sampler.sample(20)
    assert not a[0].equals(b[0])  # None goes on
    pd.testing.assert_frame_equal(sampler.sample(20, random_state=9)[0], sampler.sample(20, random_state=9)[0])
    assert [len(part[0]) for part in sampler.sample_iter(25, 10, random_state=0)] == [10, 10, 5]
    assert len(sampler.sample(0)[0]) == 0 and sampler.sample(0)[0].dtypes.equals(X.dtypes)


def test_encode_and_decode():
    X, y = mixed()
    sampler = david(hidden_dims=(64,), n_epochs=150, learning_rate=5e-3).fit(X, y)
    codes = sampler.encode(X, y)[0]
    X_back, y_back = sampler.decode(codes, random_state=0)
    assert X_back.dtypes.equals(X.dtypes) and codes.shape == (40, sampler.diagnostics_["latent_dim"])
    assert np.corrcoef(X_back["double"], X["double"])[0, 1] > 0.5 and np.corrcoef(y_back, y)[0, 1] > 0.5


def test_labels_by_a_regressor_and_a_weighting_object():
    X, y = numbers(80)
    X_res, y_res = david(labels=Ridge(), weighting=DensityWeighting(alpha=1.0)).fit_resample(X, y)
    rows = np.c_[X_res[80:], np.ones(80)][(inside := (y_res[80:] > y.min()) & (y_res[80:] < y.max()))]
    line = np.linalg.lstsq(rows, y_res[80:][inside], rcond=None)[0]
    assert inside.sum() > 10 and np.abs(rows @ line - y_res[80:][inside]).max() < 1e-3  # linear, as the teacher is


# ---- many subsets in one bank ----


@pytest.mark.parametrize("options", [{}, {"mode": "mix"}, {"n_replicates": 2}, {"transport": True}])
def test_many_equal_alone(options):
    X, y = numbers(90, 5)
    frame, y = pd.DataFrame(X, columns=list("abcde")), pd.Series(y)
    rows = [np.arange(0, 60), np.arange(30, 90), np.arange(0, 90, 2)]
    many = david(**options)
    results = many.fit_resample_many(frame, y, rows, [0, 1, 2])
    assert len(results) == len(many.samplers_) == len(many.diagnostics_) == 3
    for (X_many, y_many), subset, seed, sampler in zip(results, rows, [0, 1, 2], many.samplers_):
        alone = david(**options).set_params(random_state=seed)
        X_alone, y_alone = alone.fit_resample(frame.iloc[subset], y.iloc[subset])
        assert (alone.seed_indices_ == sampler.seed_indices_).all()
        np.testing.assert_allclose(X_many.to_numpy(), X_alone.to_numpy(), atol=2e-3)
        np.testing.assert_allclose(y_many, y_alone, atol=2e-3)


def test_nothing_leaks_from_rows_outside_the_subset():
    X, y = numbers(60)
    rows = [np.arange(40)]
    X2, y2 = X.copy(), y.copy()
    X2[40:], y2[40:] = X[40:] * 3 + 1, y[40:] * 5
    first, second = david().fit_resample_many(X, y, rows, [0])[0], david().fit_resample_many(X2, y2, rows, [0])[0]
    np.testing.assert_allclose(first[0], second[0], atol=2e-3)
    np.testing.assert_allclose(first[1], second[1], atol=2e-3)


# ---- diagnostics and warnings ----


def test_diagnostics_and_history():
    X, y = numbers(100)
    sampler = david(hidden_dims=(64,), n_epochs=300, learning_rate=5e-3).fit(X, y)
    found = sampler.diagnostics_
    assert {"r2_x", "r2_y", "r2_x_rare", "r2_y_rare", "effective_rows", "diverged", "latent_dim"} <= set(found)
    assert 0.8 < found["r2_x"] <= 1 and 0.8 < found["r2_y"] <= 1 and not found["diverged"]
    assert 0 < found["effective_rows"] <= 100 and len(sampler.history_) == 300 and not sampler.interrupted_


@pytest.mark.filterwarnings("default")
def test_the_papers_failure_signatures_warn():
    X, y = numbers(100)
    with pytest.warns(UserWarning, match=r"reconstructs .* with R2 = .*below 0\.5"):
        david(n_epochs=1).fit(X, y)
    with pytest.warns(UserWarning, match=r"effective rows \(below 30\)"):
        david(alpha=5).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        david(hidden_dims=(64,), n_epochs=300, learning_rate=5e-3, alpha=0).fit(X, y)


# ---- saving ----


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"transport": True},
        {"n_replicates": 2},
        {"law": "posterior"},
        {"law": "prior"},
        {"preset": "paper"},
        {"weighting": DensityWeighting(alpha=1.0)},
        {"bandwidth": "silverman", "mode": "mix"},
    ],
    ids=str,
)
def test_save_and_load(tmp_path, options):
    X, y = mixed()
    y = (y * 10).round().astype("Int64")
    saved = david(**options).fit(X, y)
    saved.save(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["arrays.safetensors", "config.json"]
    loaded = DAVID.load(tmp_path / "model")
    for a, b in zip(saved.sample(50, random_state=4), loaded.sample(50, random_state=4)):
        (pd.testing.assert_frame_equal if a.ndim == 2 else pd.testing.assert_series_equal)(a, b)
    pd.testing.assert_frame_equal(saved.sample(5)[0], loaded.sample(5)[0])  # the stream goes on where it stopped
    assert saved.settings_ == loaded.settings_ and saved.n_features_in_ == loaded.n_features_in_
    assert list(saved.feature_names_in_) == list(loaded.feature_names_in_) and len(loaded.history_) == len(saved.history_)
    assert saved.diagnostics_ == pytest.approx(loaded.diagnostics_, nan_ok=True)
    np.testing.assert_array_equal(saved.encode(X, y), loaded.encode(X, y))
    X_res, y_res = loaded.fit_resample(X, y)  # still an estimator
    assert X_res.dtypes.equals(X.dtypes) and y_res.dtype == y.dtype


def test_save_and_load_arrays(tmp_path):
    X, y = numbers()
    for i, table in enumerate((X.astype("float32"), sparse.csr_array(X))):
        saved = david().fit(table, y)
        saved.save(tmp_path / str(i))
        a, b = saved.sample(9, random_state=1)[0], DAVID.load(tmp_path / str(i)).sample(9, random_state=1)[0]
        assert type(a) is type(b) and a.dtype == b.dtype and (abs(a - b)).sum() == 0


def test_saving_does_not_overwrite_unless_told(tmp_path):
    X, y = numbers()
    sampler = david().fit(X, y)
    sampler.save(tmp_path / "m")
    with pytest.raises(InputError, match="overwrite=True"):
        sampler.save(tmp_path / "m")
    sampler.save(tmp_path / "m", overwrite=True)
    with pytest.raises(InputError, match="labels is a fitted regressor"):
        david(labels=Ridge()).fit(X, y).save(tmp_path / "teacher")
    with pytest.raises(NotFittedError):
        david().save(tmp_path / "unfitted")
    assert not (tmp_path / "teacher").exists() and not (tmp_path / "unfitted").exists()


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "no arrays": (lambda folder: (folder / "arrays.safetensors").unlink(), "arrays.safetensors is missing"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "one bit": (lambda folder: _flip(folder / "arrays.safetensors"), "altered"),
    "cut": (lambda folder: (folder / "config.json").write_text((folder / "config.json").read_text()[:100]), "not valid JSON"),
    "future": (
        lambda folder: (folder / "config.json").write_text(
            (folder / "config.json").read_text().replace('"format_version": ', '"format_version": 9')
        ),
        "format version",
    ),
    "altered config": (
        lambda folder: (folder / "config.json").write_text(
            (folder / "config.json").read_text().replace('"n_features_in": 4', '"n_features_in": 3')
        ),
        "altered",
    ),
    "other class": (
        lambda folder: (folder / "config.json").write_text(
            (folder / "config.json").read_text().replace('"class": "DAVID"', '"class": "GAE"')
        ),
        ".",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_folder_is_refused(tmp_path, case):
    X, y = numbers()
    david().fit(X, y).save(tmp_path / "m")
    damage, words = DAMAGE[case]
    damage(tmp_path / "m")
    with pytest.raises(ModelFileError, match=words):
        DAVID.load(tmp_path / "m")


def test_no_such_folder():
    with pytest.raises(ModelFileError, match="missing"):
        DAVID.load("no/such/folder")


# ---- bad input ----


def _with(column, value, row=3):
    X, y = mixed()
    X[column] = X[column].astype(object) if isinstance(value, str) else X[column]
    X.loc[row, column] = value
    return X, y


def _target(value):
    X, y = mixed()
    y[5] = value
    return X, y


BAD_TABLES = {
    "NaN in X": (lambda: _with("double", np.nan), ["'double'", "NaN", "row 3"]),
    "missing Int64": (lambda: _with("Int", pd.NA), ["'Int'", "missing"]),
    "missing text": (lambda: _with("word", None), ["'word'", "missing"]),
    "infinity in X": (lambda: _with("single", np.inf), ["'single'", "infinity"]),
    "mixed object": (lambda: _with("long", "many"), ["'long'", "int", "str"]),
    "NaN in y": (lambda: _target(np.nan), ["y", "NaN", "row 5"]),
    "infinity in y": (lambda: _target(-np.inf), ["y", "infinity"]),
    "constant y": (lambda: (mixed()[0], pd.Series(np.ones(40))), ["y", "constant", "class"]),
    "text y": (lambda: (mixed()[0], pd.Series(["1.5"] * 40)), ["y", "str", "pandas.to_numeric"]),
    "boolean y": (lambda: (mixed()[0], pd.Series(np.arange(40) > 3)), ["y", "bool"]),
    "two targets": (lambda: (mixed()[0], np.random.rand(40, 2)), ["y", "2 columns"]),
    "no y": (lambda: (mixed()[0], None), ["y", "None"]),
    "nine rows": (lambda: (mixed(9)[0], mixed(9)[1]), ["n_samples=9", "10"]),
    "lengths": (lambda: (mixed(40)[0], mixed(30)[1]), ["40", "30", "inconsistent"]),
    "duplicate names": (lambda: (pd.concat([mixed()[0], mixed()[0][["double"]]], axis=1), mixed()[1]), ["'double'", "more than once"]),
    "dates": (lambda: (mixed()[0].assign(when=pd.date_range("2020", periods=40)), mixed()[1]), ["'when'", "dates"]),
    "no columns": (lambda: (mixed()[0][[]], mixed()[1]), ["0 feature"]),
    "one dimension": (lambda: (mixed()[1], mixed()[1]), ["2D", "Reshape"]),
    "5,000 strings": (
        lambda: (pd.DataFrame({"id": [f"customer {i}" for i in range(5000)], "a": 1.0}), np.arange(5000.0)),
        ["'id'", "5,000", "100.0 MB"],
    ),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables_are_refused_by_name_before_any_training(case):
    make, words = BAD_TABLES[case]
    X, y = make()
    sampler = DAVID(n_epochs=10**9, random_state=0)  # would never end
    with pytest.raises(ValueError) as caught, warnings.catch_warnings():
        warnings.simplefilter("error")
        sampler.fit_resample(X, y)
    assert isinstance(caught.value, InputError) and all(word in str(caught.value) for word in words), caught.value


BAD_ARGUMENTS = [
    ({"alpha": -0.1}, "alpha=-0.1"),
    ({"alpha": "rare"}, "alpha='rare'"),
    ({"alpha": np.nan}, "alpha=nan"),
    ({"beta": -1}, "beta=-1"),
    ({"y_weight": -1}, "y_weight=-1"),
    ({"preset": "papre"}, "preset='papre'.*'paper'"),
    ({"mode": "append"}, "mode='append'.*'add'"),
    ({"device": "cuda:99"}, "device='cuda:99'"),
    ({"device": "tpu"}, "device='tpu'"),
    ({"n_synthetic": -1}, "n_synthetic=-1"),
    ({"n_synthetic": "all"}, "n_synthetic='all'"),
    ({"n_replicates": 0}, "n_replicates=0"),
    ({"n_epochs": 0}, "n_epochs=0"),
    ({"n_epochs": 1.5}, "n_epochs=1.5"),
    ({"batch_size": 0}, "batch_size=0"),
    ({"learning_rate": -1}, "learning_rate=-1"),
    ({"activation": "sine"}, "activation='sine'"),
    ({"categories": "words"}, "categories='words'"),
    ({"weighting": "rare"}, "weighting='rare'"),
    ({"law": "cauchy"}, "law='cauchy'"),
    ({"labels": "guessed"}, "labels='guessed'"),
    ({"bandwidth": -1}, "bandwidth=-1"),
    ({"bandwidth": "wide"}, "bandwidth='wide'"),
    ({"random_state": -1}, "random_state=-1"),
    ({"random_state": "x"}, "random_state='x'"),
    ({"bounds": {"nowhere": (0, 1)}}, "'nowhere'"),
    ({"bounds": {"double": (3, 1)}}, "'double'"),
]


@pytest.mark.parametrize("arguments, words", BAD_ARGUMENTS, ids=str)
def test_bad_arguments_are_named(arguments, words):
    X, y = mixed()
    with pytest.raises(InputError, match=words):
        david(**arguments).fit_resample(X, y)


def test_sampling_with_a_given_target_or_before_fit():
    X, y = numbers()
    with pytest.raises(NotFittedError):
        david().sample(3)
    with pytest.raises(InputError, match="class sampler"):
        david().fit(X, y).sample(3, y=[1, 2, 3])
    with pytest.raises(InputError, match="n_samples=-1"):
        david().fit(X, y).sample(-1)


# ---- Ctrl-C ----

def test_ctrl_c_leaves_a_usable_model(press_ctrl_c):
    out, folder = press_ctrl_c("augment_lib.david.DAVID", "rng.normal(size=(200, 4)), rng.gamma(2, size=200)", weighting="density", draw="sampler.sample(50)[0]")
    assert out == "interrupted True None (50, 4) True True\n"
    assert DAVID.load(folder).interrupted_


# ---- scikit-learn's conventions ----


def test_clone_params_and_pickle():
    X, y = mixed()
    sampler = david(alpha=1, mode="mix")
    twin = clone(sampler)
    assert twin.get_params() == sampler.get_params() and twin is not sampler
    assert twin.set_params(alpha=0.25).alpha == 0.25 and sampler.alpha == 1
    with pytest.raises(ValueError, match="gamma"):
        sampler.set_params(gamma=1)
    sampler.fit(X, y)
    again = pickle.loads(pickle.dumps(sampler))
    pd.testing.assert_frame_equal(sampler.sample(9, random_state=0)[0], again.sample(9, random_state=0)[0])
    assert repr(DAVID()) == "DAVID()"


def test_pipeline_resamples_training_rows_only():
    X, y = mixed(60)
    seen = []

    class Counting(Ridge):
        def fit(self, X, y):
            seen.append(("fit", len(X)))
            return super().fit(X, y)

        def predict(self, X):
            seen.append(("predict", len(X)))
            return super().predict(X)

    numeric, words = ["double", "single", "long", "Int", "Float"], ["word", "object", "level", "String"]
    table = make_column_transformer((StandardScaler(), numeric), (OneHotEncoder(handle_unknown="ignore"), words))
    scores = cross_val_score(make_pipeline(david(), table, Counting()), X, y, cv=3, scoring="neg_mean_squared_error")
    assert scores.shape == (3,) and np.isfinite(scores).all()
    assert seen == [("fit", 80), ("predict", 20)] * 3


def test_pipeline_params_reach_the_sampler():
    X, y = numbers(60)
    pipe = Pipeline([("scale", StandardScaler()), ("david", david()), ("model", Ridge())])
    pipe.set_params(david__n_synthetic=0)
    plain = Pipeline([("scale", StandardScaler()), ("model", Ridge())])
    np.testing.assert_allclose(cross_val_score(pipe, X, y, cv=3), cross_val_score(plain, X, y, cv=3))  # no synthetic rows: no effect
