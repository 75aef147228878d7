"""GAE from the outside: containers, strategies, paper settings, pictures, small classes, bad input, pipelines."""

import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import StandardScaler
from tables import assert_good, mixed

from augment_lib.core import InputError
from augment_lib.gae import GAE
from augment_lib.generative import GenerativeAutoencoder, with_law
from augment_lib.latent import Prior
from augment_lib.mixture import Mixture

pytestmark = pytest.mark.filterwarnings("ignore:.*reconstructs the rows:UserWarning", "ignore:.*mixture components are flat:UserWarning", "ignore:the reconstruction did not fall:UserWarning", "ignore:The number of unique classes:UserWarning")
FEW = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


def gae(*args, **options):
    """A GAE that takes milliseconds to train."""
    return GAE(*args, **{"hidden_dims": (8,), "n_epochs": 2, "n_components": 3, "random_state": 0, **options})


def numbers(n=60, d=4, rare=12):
    rng = np.random.default_rng(0)
    y = (np.arange(n) < rare).astype(int)
    return rng.normal(size=(n, d)) + y[:, None], y


def pictures(n=40, shape=(5, 4), dtype="float32"):
    return np.random.default_rng(0).random((n, *shape)).astype(dtype)


# ---- tables in every container


TARGETS = {
    "none": lambda y: None,
    "words": lambda y: y,
    "categories": lambda y: y.astype(pd.CategoricalDtype(["odd", "rare", "common", "never"], ordered=True)),
    "string": lambda y: y.astype("string"),
    "int8": lambda y: y.map({"common": 3, "rare": 1, "odd": -1}).astype("int8"),
    "Int64": lambda y: y.map({"common": 3, "rare": 1, "odd": -1}).astype("Int64"),
    "bool": lambda y: y == "rare",
    "boolean": lambda y: (y == "rare").astype("boolean"),
    "float64": lambda y: pd.Series(np.random.default_rng(1).gamma(2, size=len(y)), name="kind"),
    "float32": lambda y: pd.Series(np.random.default_rng(1).gamma(2, size=len(y)), name="kind").astype("float32"),
    "Float64": lambda y: pd.Series(np.random.default_rng(1).gamma(2, size=len(y)), name="kind").astype("Float64"),
    "many whole": lambda y: pd.Series(np.arange(len(y)) * 3, name="kind"),
}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("law", ["gmm", "normal", "smoothed_bootstrap"])
def test_every_dtype_comes_back(kind, law):
    X, words = mixed(63)
    y, before = TARGETS[kind](words), X.copy(deep=True)
    sampler = gae(law=law)
    result = sampler.fit_resample(X, y)
    pd.testing.assert_frame_equal(X, before)
    X_res = result if y is None else result[0]
    assert_good(X, X_res)
    if y is None:
        assert sampler.task_ is None and len(X_res) == 126
        return
    y_res = result[1]
    pd.testing.assert_series_equal(y_res.iloc[:63], y)
    assert y_res.dtype == y.dtype and y_res.name == y.name and X_res.index.equals(y_res.index) and not y_res.isna().any()
    if sampler.task_ == "classification":
        assert len(set(Counter(y_res).values())) == 1
        assert law != "smoothed_bootstrap" or (y.to_numpy()[sampler.seed_indices_[63:]] == y_res.to_numpy()[63:]).all()
    else:
        assert len(y_res) == 126 and y_res.between(y.min(), y.max()).all()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "object"])
def test_arrays_keep_their_dtype(dtype):
    X, y = numbers()
    X = (X * 10 + 90).astype(dtype)
    for X_res in (gae().fit_resample(X), gae().fit_resample(X, y)[0], gae().fit_resample(X, y + np.linspace(0, 1, 60))[0]):
        assert type(X_res) is np.ndarray and X_res.dtype == X.dtype and X_res.shape[1] == 4 and (X_res[:60] == X).all() and len(X_res) in (96, 120)
        assert (X_res[60:].min(0) >= X.min(0)).all() and (X_res[60:].max(0) <= X.max(0)).all()


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_array", "coo_array"])
@pytest.mark.parametrize("likelihood", ["auto", "bernoulli"])
def test_sparse_matrices_keep_their_format(kind, likelihood):
    _, y = numbers()
    X = getattr(sparse, kind)(sparse.random(60, 5, density=0.3, random_state=0, dtype="float32"))
    for X_res in (gae(likelihood=likelihood).fit_resample(X), gae(likelihood=likelihood).fit_resample(X, y)[0]):
        assert type(X_res) is type(X) and X_res.dtype == "float32" and (X_res.toarray()[:60] == X.toarray()).all()


def test_lists_in_lists_out():
    X, y = numbers()
    X_res, y_res = gae().fit_resample(X.tolist(), y.tolist())
    assert isinstance(X_res, list) and isinstance(y_res, list) and X_res[:60] == X.tolist() and y_res[:60] == y.tolist() and len(X_res) == len(y_res) == 96
    alone, images = gae().fit_resample(X.tolist()), gae().fit_resample(pictures().tolist())
    assert isinstance(alone, list) and len(alone) == 120 and isinstance(images, list) and np.shape(images) == (80, 5, 4)


def test_targets_as_column_frame_and_onehot():
    X, y = numbers()
    with pytest.warns(UserWarning, match="column-vector"):
        assert gae().fit_resample(X, y[:, None])[1].shape == (96, 1)
    frame = gae().fit_resample(pd.DataFrame(X), pd.DataFrame({"t": y}))[1]
    assert isinstance(frame, pd.DataFrame) and list(frame.columns) == ["t"] and frame["t"][:60].tolist() == y.tolist()
    three = np.arange(60) % 5 // 2
    onehot = gae().fit_resample(X, np.eye(3, dtype=int)[three])[1]
    assert onehot.shape[1] == 3 and (onehot.argmax(1) == gae().fit_resample(X, three)[1]).all()


@pytest.mark.parametrize("index", [pd.RangeIndex(5, 65), pd.Index([f"p{i}" for i in range(60)], name="patient"), pd.MultiIndex.from_arrays([np.arange(60) // 2, np.arange(60) % 2], names=["a", "b"])], ids=["numbers", "names", "multi"])
@pytest.mark.parametrize("target", ["none", "words", "float64"])
def test_the_index_survives(index, target):
    X, y = mixed()
    y = TARGETS[target](y)
    result = gae().fit_resample(X.set_axis(index), None if y is None else y.set_axis(index))
    X_res = result if y is None else result[0]
    assert X_res.index[:60].equals(index) and X_res.index.is_unique and X_res.index.names == index.names and (y is None or X_res.index.equals(result[1].index))


@FEW
@given(
    st.integers(10, 40),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["none", "words", "float64"]),
    st.sampled_from(["gmm", "normal", "smoothed_bootstrap", "prior"]),
    st.one_of(st.floats(0, 2), st.integers(0, 50)),
    st.lists(st.sampled_from(list(mixed(10)[0].columns)), min_size=1, max_size=5, unique=True),
)
def test_rows_dtypes_and_order(n, seed, target, law, n_synthetic, columns):
    X, y = mixed(n, seed % 1000)
    X, y = X[columns], TARGETS[target](y)
    if target == "words" and law == "prior":
        return
    sampler = gae(law=law, n_epochs=1, n_synthetic=n_synthetic, random_state=seed)
    result = sampler.fit_resample(X, y)
    X_res = result if y is None else result[0]
    assert len(X_res) == n + (n_synthetic if isinstance(n_synthetic, int) else round(n * n_synthetic))
    assert_good(X, X_res)
    assert (sampler.seed_indices_[:n] == np.arange(n)).all() and (sampler.is_synthetic_ == (np.arange(len(X_res)) >= n)).all()


# ---- pictures


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3)])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_pictures_with_and_without_channels(shape, dtype):
    X = pictures(40, shape, dtype)
    before = X.copy()
    X_res = gae().fit_resample(X)
    X_bal, y_bal = gae().fit_resample(X, np.arange(40) < 10)
    X_num, y_num = gae().fit_resample(X, np.linspace(-3, 9, 40))
    for new, n in ((X_res, 80), (X_bal, 60), (X_num, 80)):
        assert new.shape == (n, *shape) and new.dtype == X.dtype and (new[:40] == X).all() and 0 <= new.min() and new.max() <= 1
    assert (X == before).all() and y_bal.sum() == 30 and y_num[40:].min() >= -3 and y_num[40:].max() <= 9


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_black_and_white_pictures_stay_black_and_white(dtype):
    X = (pictures() > 0.5).astype(dtype)
    new = gae(n_epochs=30).fit(X).sample(50)
    assert new.dtype == X.dtype and set(np.unique(new)) == {0, 1}


def test_frames_of_pixels_need_to_be_told():
    X = pd.DataFrame(pictures().reshape(40, -1), columns=[f"p{i}" for i in range(20)])
    X["flag"], X["whole"] = X["p0"] > 0.5, pd.array((X["p1"] > 0.5).astype(int), dtype="Int64")
    table, pixels = gae().fit(X), gae(likelihood="bernoulli").fit(X)
    new = pixels.sample(30)
    assert new.dtypes.equals(X.dtypes) and set(new["whole"]) <= {0, 1} and new["p0"].between(0, 1).all()
    assert table.settings_["hidden_dims"] == (8,) and table.diagnostics_["floor"] == 0 < pixels.diagnostics_["floor"]
    assert gae(likelihood="table").fit(X.to_numpy(float) * 255).sample(2).shape == (2, 22)


def test_digits_are_learnt():
    X, y = load_digits(return_X_y=True)
    X = X[:600].reshape(-1, 8, 8) / 16
    sampler = GAE(hidden_dims=(64,), n_epochs=60, n_components=5, random_state=0, delta=0, learning_rate=3e-3).fit(X, y[:600])
    assert sampler.diagnostics_["r2_x"] > 0.7 and sampler.diagnostics_["stopped"] == "epochs"
    reader = LogisticRegression(max_iter=2000).fit(X.reshape(600, -1), y[:600])
    asked = np.repeat(np.arange(10), 20)
    new, _ = sampler.sample(200, y=asked)
    assert (reader.predict(new.reshape(200, -1)) == asked).mean() > 0.8


# ---- the paper's settings


def settled(data, **options):
    """The settings in force for these rows, without training."""
    sampler = GAE(**options)
    return sampler._resolve(sampler._begin(data, None))


def test_the_papers_settings():
    published = {"hidden_dims": (500, 500, 2000), "latent_dim": 10, "n_epochs": 30, "batch_size": 100, "learning_rate": 1e-3, "activation": "relu", "law": "gmm"}
    used = settled(pictures())
    assert {name: used[name] for name in published} == published and used["delta"] == 0.1
    assert GAE().n_components == 10 and GAE().covariance_type == "full"
    table = settled(np.random.default_rng(0).random((60, 12)))
    assert table["hidden_dims"] == (128, 64) and table["delta"] == 0 and table["latent_dim"] == 10
    paper = settled(np.random.default_rng(0).random((60, 4)), preset="paper")
    assert paper["hidden_dims"] == (500, 500, 2000) and paper["latent_dim"] == 4 and paper["delta"] == 0
    assert settled(pictures(), latent_dim=3, delta=0.5)["delta"] == 0.5 and GAE(7).latent_dim == 7
    assert [settled(data, preset="paper", hidden_dims=(4,))["delta"] for data in (pictures(), pictures().reshape(40, -1))] == [0.1, 0]


def test_it_is_the_frame_with_the_plain_autoencoder():
    X, y = numbers()
    a, b = (cls(hidden_dims=(8,), n_epochs=2, n_components=3, random_state=0).fit_resample(X, y) for cls in (GAE, GenerativeAutoencoder))
    assert (a[0] == b[0]).all() and (a[1] == b[1]).all() and "model" not in GAE().get_params()
    assert set(GAE().get_params()) == set(GenerativeAutoencoder().get_params()) - {"model"}


def test_algorithm_1_by_hand():
    X = pictures()
    sampler = gae(n_epochs=20, law="normal").fit(X)
    codes, law = sampler.encode(X), sampler.laws_[0][None][1]
    np.testing.assert_allclose(law.means_[0], codes.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(law.covariances_[0], np.cov(codes.T, bias=True), rtol=1e-2, atol=1e-5)
    z, _ = law.sample(5, np.random.default_rng(3))
    np.testing.assert_allclose(sampler.sample(5, random_state=np.random.default_rng(3)), sampler.decode(z), atol=1e-6)
    with torch.no_grad():
        np.testing.assert_allclose(sampler.decode(z).reshape(5, -1), torch.sigmoid(sampler._nets[0].decode(torch.as_tensor(z)[None]))[0], atol=1e-6)


def test_one_component_is_normal_and_with_law_equals_training_anew():
    X = pictures()
    one, normal = gae(n_components=1).fit(X), gae(law="normal").fit(X)
    twin = with_law(one, "normal")
    for law in (normal, twin):
        np.testing.assert_allclose(one.laws_[0][None][1].covariances_, law.laws_[0][None][1].covariances_)
    assert twin.law == "normal" and one.law == "gmm" and type(twin) is GAE
    np.testing.assert_allclose(with_law(one, "smoothed_bootstrap", bandwidth=0.2).laws_[0][None][1].factor_, 0.2)


# ---- when to stop


def test_delta():
    X = (pictures() > 0.5).astype("float32")
    with pytest.warns(UserWarning, match=r"did not fall below delta=0\.1 within 3 epochs; it is .* per element, of which .* is the floor.*usable.*n_epochs"):
        sampler = gae(n_epochs=3).fit(X)
    assert sampler.diagnostics_["stopped"] == "epochs" and sampler.diagnostics_["epochs"] == 3 and len(sampler.sample(4)) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*flat.*")
        sampler = gae(n_epochs=3000, hidden_dims=(64,), learning_rate=1e-2).fit(X)
        zero = gae(hidden_dims=(64,), n_epochs=200, learning_rate=1e-2, delta=0).fit(X)
    loss = sampler.history_["x"] / 20
    assert sampler.diagnostics_["stopped"] == "delta" and loss.iloc[-1] < 0.1 <= loss.iloc[:-1].min() and sampler.diagnostics_["epochs"] == len(loss)
    assert zero.diagnostics_["stopped"] == "epochs" and zero.diagnostics_["epochs"] == 200


@pytest.mark.filterwarnings("default")
def test_poor_reconstruction_warns():
    with pytest.warns(UserWarning, match=r"GAE reconstructs the rows with R2 = .*below 0\.3.*latent_dim"):
        gae(n_epochs=1).fit(numbers()[0])


# ---- balancing


STRATEGIES = ["auto", "minority", "not minority", "not majority", "all", {"rare": 33}, {"rare": 13, "odd": 30}, {"common": 50}, lambda y: {"odd": 9}]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=["auto", "minority", "not minority", "not majority", "all", "one", "two", "majority", "function"])
@pytest.mark.parametrize("images", [False, True])
def test_sampling_strategy_means_what_it_means_in_imbalanced_learn(strategy, images):
    X, y = mixed()
    expected = RandomOverSampler(sampling_strategy=strategy, random_state=0).fit(X[["double"]], y).sampling_strategy_
    sampler = gae(sampling_strategy=strategy)
    X_res, y_res = sampler.fit_resample(pictures(60) if images else X, y)
    assert sampler.sampling_strategy_ == dict(expected) and Counter(y_res) == Counter(y) + Counter(dict(expected)) and len(X_res) == len(y_res)


@pytest.mark.parametrize("ratio, rows", [(0.5, 24), (1.0, 48), (0.3, 14)])
def test_a_ratio_for_two_classes(ratio, rows):
    X, y = numbers()
    assert (gae(sampling_strategy=ratio).fit_resample(X, y)[1] == 1).sum() == rows


def test_nothing_to_do_is_done():
    X, _ = mixed(20)
    sampler = gae()
    X_res, _ = sampler.fit_resample(X, pd.Series(["a", "b"] * 10))
    assert X_res.equals(X) and not sampler.is_synthetic_.any()


@pytest.mark.parametrize("rare", [1, 2, 3])
@pytest.mark.parametrize("law", ["gmm", "normal", "smoothed_bootstrap"])
def test_classes_of_a_few_rows(rare, law):
    for X in (numbers()[0], pictures(60)):
        y = (np.arange(60) < rare).astype(int)
        sampler = gae(law=law, n_components=10, latent_dim=2)
        X_res, y_res = sampler.fit_resample(X, y)
        assert (y_res == 1).sum() == 60 - rare and np.isfinite(X_res).all()
        if rare == 1:                                             # one row: its image, again and again
            assert np.abs(X_res[60:] - sampler.reconstruct(X[:1])).max() < 0.1


def test_constant_columns_and_identical_rows():
    X = np.c_[numbers()[0], np.full(60, 3.0)]
    assert (gae().fit(X).sample(50)[:, 4] == 3).all()
    assert (gae().fit(np.full((20, 3), 2.5)).sample(5) == 2.5).all()
    assert gae().fit(np.zeros((20, 4, 3))).sample(5).shape == (5, 4, 3)
    blank = pictures()
    blank[:, 0] = 0                                               # pixels that are black in every picture
    assert gae(n_epochs=200, learning_rate=1e-2, delta=0).fit(blank).sample(20)[:, 0].max() < 0.1


@pytest.mark.filterwarnings("default")
def test_flat_codes_are_regularised_and_said():
    line = np.linspace(0, 1, 50)[:, None] * [1.0, 2.0, -1.0]
    with pytest.warns(UserWarning, match=r"mixture components are flat.*reg_covar"):
        new = gae(3, n_epochs=200, activation="tanh", n_components=2).fit(np.repeat(line[:2], 25, axis=0)).sample(50)
    assert np.isfinite(new).all()


# ---- bad input


def _with(column, value):
    X, y = mixed()
    X[column] = X[column].astype(object) if isinstance(value, str) else X[column]
    X.loc[3, column] = value
    return X, y


BAD_ROWS = {
    "NaN in X": (lambda: _with("double", np.nan), ["'double'", "NaN", "row 3"]),
    "infinity in X": (lambda: _with("single", np.inf), ["'single'", "infinity"]),
    "missing text": (lambda: _with("word", None), ["'word'", "missing"]),
    "mixed object": (lambda: _with("long", "many"), ["'long'", "int", "str"]),
    "missing label": (lambda: (mixed()[0], mixed()[1].where(np.arange(60) != 5)), ["y", "row 5"]),
    "NaN in y": (lambda: (mixed()[0], np.where(np.arange(60) == 5, np.nan, np.arange(60) / 7)), ["y", "NaN", "row 5"]),
    "one class": (lambda: (mixed()[0], np.ones(60, int)), ["one class", "at least two"]),
    "constant y": (lambda: (mixed()[0], np.ones(60)), ["y is constant"]),
    "two targets": (lambda: (mixed()[0], np.random.default_rng(0).integers(0, 9, (60, 2))), ["2 columns", "multioutput"]),
    "lengths": (lambda: (mixed(40)[0], mixed(30)[1]), ["40", "30", "inconsistent"]),
    "lengths of pictures": (lambda: (pictures(), mixed(30)[1]), ["40", "30", "inconsistent"]),
    "one row": (lambda: (mixed(1)[0], None), ["n_samples=1"]),
    "dates": (lambda: (mixed()[0].assign(when=pd.date_range("2020", periods=60)), None), ["'when'", "dates"]),
    "one dimension": (lambda: (mixed()[1], None), ["2D", "Reshape"]),
    "bytes": (lambda: (pictures() * 255, None), ["255", "[0, 1]", "divide by 255", "likelihood='table'"]),
    "grey levels": (lambda: ((pictures() * 16.9).astype(int), None), ["from 0 to 16", "divide by 16"]),
    "centred": (lambda: (pictures() - 0.5, None), ["-0.4", "[0, 1]", "X.min()"]),
    "NaN in a picture": (lambda: (np.where(pictures() > 0.99, np.nan, pictures()), None), ["NaN"]),
    "no pictures": (lambda: (pictures()[:0], None), ["(0, 5, 4)"]),
    "pictures of words": (lambda: (np.full((30, 2, 2), "x"), None), ["likelihood='table'"]),
    "fewer rows than components": (lambda: (mixed(8)[0], None), ["n_components=10", "8 rows", "smaller n_components"]),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_refused_by_name_before_any_training(case):
    make, words = BAD_ROWS[case]
    X, y = make()
    with pytest.raises(ValueError) as caught:
        GAE(n_epochs=10**9, random_state=0).fit_resample(X, y)                     # would never end
    assert isinstance(caught.value, InputError) and all(word in str(caught.value) for word in words), caught.value


BAD_ARGUMENTS = [
    ({"latent_dim": 0}, "latent_dim=0"),
    ({"latent_dim": 2.5}, "latent_dim=2.5"),
    ({"latent_dim": 99}, "latent_dim=99 is above the .* encoded columns"),
    ({"hidden_dims": ()}, "hidden_dims=()"),
    ({"hidden_dims": (8, 0)}, "hidden_dims="),
    ({"hidden_dims": 8}, "hidden_dims=8"),
    ({"delta": -0.1}, "delta=-0.1"),
    ({"delta": np.nan}, "delta=nan"),
    ({"n_epochs": 0}, "n_epochs=0"),
    ({"n_epochs": 1.5}, "n_epochs=1.5"),
    ({"batch_size": 0}, "batch_size=0"),
    ({"learning_rate": 0}, "learning_rate=0"),
    ({"law": "cauchy"}, "law='cauchy'.*'gmm'"),
    ({"law": "own"}, "Autoencoder learns no prior"),
    ({"law": "posterior"}, "learns none"),
    ({"law": "prior"}, "knows no classes.*'gmm'"),
    ({"law": Prior()}, "knows no classes"),
    ({"law": Mixture(20)}, "smallest class"),
    ({"n_components": 0}, "n_components=0"),
    ({"covariance_type": "tied"}, "covariance_type='tied'"),
    ({"law": "smoothed_bootstrap", "bandwidth": -1}, "bandwidth=-1"),
    ({"law": "smoothed_bootstrap", "bandwidth": "wide"}, "bandwidth='wide'"),
    ({"activation": "sine"}, "activation='sine'"),
    ({"likelihood": "gauss"}, "likelihood='gauss'.*'bernoulli'"),
    ({"likelihood": "bernoulli"}, "'word'.*likelihood='table'"),
    ({"task": "rank"}, "task='rank'"),
    ({"task": "regression"}, "y holds str"),
    ({"n_synthetic": -1}, "n_synthetic=-1"),
    ({"n_synthetic": "all"}, "n_synthetic='all'"),
    ({"sampling_strategy": {"common": 5}}, "sampling_strategy="),
    ({"sampling_strategy": {"never": 5}}, "sampling_strategy=.*never"),
    ({"sampling_strategy": 0.5}, "sampling_strategy=0.5"),
    ({"mode": "append"}, "mode='append'.*'add'"),
    ({"mode": "mix"}, "mode='mix'.*n_synthetic"),
    ({"weighting": "rare"}, "weighting='rare'"),
    ({"labels": "guessed"}, "labels='guessed'"),
    ({"n_replicates": 0}, "n_replicates=0"),
    ({"preset": "papre"}, "preset='papre'.*'paper'"),
    ({"bounds": {"nowhere": (0, 1)}}, "'nowhere'"),
    ({"precision": "float8"}, "precision='float8'"),
    ({"random_state": -1}, "random_state=-1"),
    ({"device": "cuda:99"}, "device='cuda:99'"),
]


@pytest.mark.parametrize("arguments, words", BAD_ARGUMENTS, ids=str)
def test_bad_arguments_are_named(arguments, words):
    X, y = mixed()
    with pytest.raises(InputError, match=words):
        gae(**arguments).fit_resample(X, y)


def test_a_refused_fit_leaves_the_fitted_sampler_alone():
    X, y = numbers()
    sampler = gae().fit(X, y)
    before = sampler.sample(5, random_state=0)
    for bad in ((X, np.ones(60)), (X[:, :2], np.r_[np.nan, np.arange(59) / 7]), (pictures() * 255, None), (X[:1], None)):
        with pytest.raises(InputError):
            sampler.fit(*bad)
        after = sampler.sample(5, random_state=0)
        assert (after[0] == before[0]).all() and (after[1] == before[1]).all() and sampler.n_features_in_ == 4


# ---- use


def test_pipelines_and_searches():
    X, y = numbers()
    assert np.isfinite(cross_val_score(make_pipeline(StandardScaler(), gae(), LogisticRegression()), X, y, cv=3)).all()
    target = X[:, 0] + np.random.default_rng(1).random(60)
    assert np.isfinite(cross_val_score(make_pipeline(gae(), Ridge()), X, target, cv=3)).all()
    search = GridSearchCV(make_pipeline(gae(), LogisticRegression()), {"gae__law": ["gmm", "normal"], "gae__sampling_strategy": [0.5, 1.0]}, cv=2).fit(X, y)
    assert set(search.best_params_) == {"gae__law", "gae__sampling_strategy"}
    plain = make_pipeline(gae(n_synthetic=0), Ridge())
    np.testing.assert_allclose(cross_val_score(plain, X, target, cv=3), cross_val_score(Ridge(), X, target, cv=3))


def test_save_and_load(tmp_path):
    for i, data in enumerate((numbers(), (pictures(), None), (pictures(), np.linspace(0, 1, 40)), mixed(), (mixed()[0], None))):
        sampler = gae().fit(*data)
        sampler.save(tmp_path / str(i))
        again = GAE.load(tmp_path / str(i))
        a, b = sampler.sample(9), again.sample(9)
        for one, other in zip(a if isinstance(a, tuple) else (a,), b if isinstance(b, tuple) else (b,)):
            assert type(one) is type(other) and (np.asarray(one) == np.asarray(other)).all()
        assert again.get_params() == sampler.get_params() == clone(sampler).get_params()


def test_repr_and_public_name():
    import augment_lib

    assert repr(GAE()) == "GAE()" and augment_lib.GAE is GAE
