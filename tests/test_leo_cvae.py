"""LEO-CVAE from the outside: check suites in full, containers, strategies, presets, small classes, saving, bad input, Ctrl-C, pipelines."""

import pickle
import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.utils.estimator_checks import parametrize_with_checks as imblearn_checks
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks as sklearn_checks
from tables import assert_good

from augment_lib.conditional import ConditionalTable, hold_out
from augment_lib.core import InputError, ModelFileError
from augment_lib.entropy import EntropyWeighting
from augment_lib.latent import PosteriorDraw
from augment_lib.leo_cvae import DEFAULTS, LEOCVAE, PAPER, PRESETS

pytestmark = pytest.mark.filterwarnings("ignore:LEOCVAE reconstructs:UserWarning", "ignore:classes with at most:UserWarning", "ignore:The number of unique classes:UserWarning")
FEW = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


def leo(**options):
    """A LEOCVAE that takes milliseconds to train."""
    return LEOCVAE(**{"n_epochs": 2, "random_state": 0, "hidden_dims": (8,), "latent_dim": 3, "n_neighbors": 5, **options})


def mixed(n=60, seed=0):
    """A table of nearly every kind of column, and three classes of words: with the others, too, the paper's preset diverges."""
    return tables.mixed(n, seed, without=("half", "object", "code", "Float", "sparse_int"))


def numbers(n=60, d=4, seed=0, rare=12):
    """A plain matrix and two overlapping classes."""
    rng = np.random.default_rng(seed)
    y = (np.arange(n) < rare).astype(int)
    return rng.normal(size=(n, d)) + y[:, None], y


def entropy_by_hand(X, y, k):
    """Entropy of the labels of the k nearest other rows, row by row, in bits."""
    H = []
    for i in range(len(X)):
        distance = np.square(X - X[i]).sum(1)
        distance[i] = np.inf
        shares = np.array(list(Counter(y[np.argsort(distance)[:k]]).values())) / k
        H.append(-(shares * np.log2(shares)).sum())
    return np.array(H)


# ---- the check suites, in full


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::sklearn.exceptions.SkipTestWarning")
@sklearn_checks([LEOCVAE(n_epochs=5, random_state=0)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::UserWarning")
@imblearn_checks([LEOCVAE(n_epochs=5, random_state=0)])
def test_imbalanced_learn_checks(estimator, check):
    check(estimator)


# ---- containers


OPTIONS = [{}, {"transport": True}, {"n_replicates": 2}, {"law": "prior"}, {"law": "posterior"}, {"categories": "squared"}, {"standardize": False}, {"preset": "paper", "sampling_strategy": {"rare": 42, "odd": 42}}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_dtype_comes_back(options):
    X, y = mixed(63)
    before = X.copy(deep=True)
    X_res, y_res = leo(**options).fit_resample(X, y)
    pd.testing.assert_frame_equal(X, before)
    assert_good(X, X_res, y, y_res, balanced=True)
    assert list(X_res["level"].cat.categories) == ["low", "mid", "high", "never"] and (X_res["constant"] == 7).all()


LABELS = {
    "words": lambda y: y,
    "categories": lambda y: y.astype(pd.CategoricalDtype(["odd", "rare", "common", "never"], ordered=True)),
    "string": lambda y: y.astype("string"),
    "int8": lambda y: y.map({"common": 3, "rare": 1, "odd": -1}).astype("int8"),
    "Int64": lambda y: y.map({"common": 3, "rare": 1, "odd": -1}).astype("Int64"),
    "whole floats": lambda y: y.map({"common": 3.0, "rare": 1.0, "odd": -1.0}),
    "bool": lambda y: y == "rare",
    "boolean": lambda y: (y == "rare").astype("boolean"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_keep_their_dtype(kind):
    X, y = mixed()
    y = LABELS[kind](y)
    X_res, y_res = leo().fit_resample(X, y)
    assert_good(X, X_res, y, y_res, balanced=True)
    as_list = leo().fit_resample(X.to_numpy(object)[:, :1].astype(float), y.tolist())[1]
    assert isinstance(as_list, list) and as_list == y_res.tolist()


def test_labels_as_column_frame_and_onehot():
    X, y = numbers()
    with pytest.warns(UserWarning, match="column-vector"):
        assert leo().fit_resample(X, y[:, None])[1].shape == (96, 1)
    frame = leo().fit_resample(pd.DataFrame(X), pd.DataFrame({"t": y}))[1]
    assert isinstance(frame, pd.DataFrame) and list(frame.columns) == ["t"] and frame["t"][:60].tolist() == y.tolist()
    three = np.arange(60) % 5 // 2
    onehot = leo().fit_resample(X, np.eye(3, dtype=int)[three])[1]
    assert onehot.shape[1] == 3 and (onehot.sum(1) == 1).all() and (onehot.argmax(1) == leo().fit_resample(X, three)[1]).all()


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "uint8", "object"])
def test_arrays_keep_their_dtype(dtype):
    X, y = numbers()
    X = (X * 10 + 90).astype(dtype)
    X_res, y_res = leo().fit_resample(X, y)
    assert type(X_res) is np.ndarray and X_res.dtype == X.dtype and X_res.shape == (96, 4) and (X_res[:60] == X).all()
    assert (X_res[60:].min(0) >= X.min(0)).all() and (X_res[60:].max(0) <= X.max(0)).all() and (y_res[60:] == 1).all()


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_matrix", "csr_array", "coo_array"])
def test_sparse_matrices_keep_their_format(kind):
    _, y = numbers()
    X = getattr(sparse, kind)(sparse.random(60, 5, density=0.3, random_state=0, dtype="float32"))
    X_res, _ = leo().fit_resample(X, y)
    assert type(X_res) is type(X) and X_res.dtype == "float32" and (X_res.toarray()[:60] == X.toarray()).all()
    np.testing.assert_allclose(X_res.toarray(), leo().fit_resample(X.toarray(), y)[0], rtol=1e-6)


@pytest.mark.parametrize("index", [pd.RangeIndex(5, 65), pd.Index([f"p{i}" for i in range(60)], name="patient"), pd.MultiIndex.from_arrays([np.arange(60) // 2, np.arange(60) % 2], names=["a", "b"])], ids=["numbers", "names", "multi"])
def test_the_index_survives(index):
    X, y = mixed()
    X_res, y_res = leo().fit_resample(X.set_axis(index), y.set_axis(index))
    assert X_res.index[:60].equals(index) and X_res.index.is_unique and X_res.index.equals(y_res.index) and X_res.index.names == index.names


# ---- how many of which


STRATEGIES = ["auto", "minority", "not minority", "not majority", "all", {"rare": 33}, {"rare": 13, "odd": 30}, {"common": 50}, lambda y: {"odd": 9}]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=["auto", "minority", "not minority", "not majority", "all", "one", "two", "majority", "function"])
def test_sampling_strategy_means_what_it_means_in_imbalanced_learn(strategy):
    X, y = mixed()
    expected = RandomOverSampler(sampling_strategy=strategy, random_state=0).fit(X[["double"]], y).sampling_strategy_
    sampler = leo(sampling_strategy=strategy)
    _, y_res = sampler.fit_resample(X, y)
    assert sampler.sampling_strategy_ == dict(expected)
    assert Counter(y_res) == Counter(y) + Counter(dict(expected))


@pytest.mark.parametrize("ratio, rows", [(0.5, 24), (1.0, 48), (0.3, 14)])
def test_a_ratio_for_two_classes(ratio, rows):
    X, y = numbers()
    assert (leo(sampling_strategy=ratio).fit_resample(X, y)[1] == 1).sum() == rows


def test_nothing_to_do_is_done():
    X, y = mixed()
    sampler = leo()
    X_res, y_res = sampler.fit_resample(X.iloc[:20], pd.Series(["a", "b"] * 10))
    assert len(X_res) == 20 and X_res.equals(X.iloc[:20]) and not sampler.is_synthetic_.any()


@FEW
@given(
    st.integers(20, 50),
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from(list(mixed(20)[0].columns[:-1])), min_size=1, max_size=5, unique=True),
    st.sampled_from(["smoothed_bootstrap", "posterior", "prior"]),
    st.booleans(),
)
def test_rows_dtypes_and_order(n, seed, columns, law, transport):
    X, y = mixed(n, seed % 1000)
    X = X[columns]
    if all(X[c].nunique() == 1 for c in columns):
        return
    sampler = leo(n_epochs=1, random_state=seed, law=law, transport=transport)
    X_res, y_res = sampler.fit_resample(X, y)
    assert_good(X, X_res, y, y_res, balanced=True)
    seeds, new = sampler.seed_indices_, sampler.is_synthetic_
    assert (seeds[:n] == np.arange(n)).all() and not new[:n].any() and new[n:].all()
    assert (seeds[n:] == -1).all() if law == "prior" else (y.to_numpy()[seeds[n:]] == y_res.to_numpy()[n:]).all()


# ---- the weights and the loss, by hand


def test_entropy_weights_and_loss_by_hand():
    X, y = numbers(50, rare=10)
    sampler = LEOCVAE(gamma=2.0, n_neighbors=7, beta=0, dropout=0.0, n_epochs=1, batch_size=50, learning_rate=1e-12, random_state=0).fit(X, y)
    Z = (X - X.mean(0)) / X.std(0)
    H = entropy_by_hand(Z, y, 7)
    np.testing.assert_allclose(sampler.entropy_, H, atol=1e-12)
    np.testing.assert_allclose(sampler.weights_, (1 + H) ** 2, atol=1e-12)
    codes = sampler.encode(X, y)[0]                                             # a step of 1e-12 has changed nothing
    rows = sampler._decoded(0, codes, y)
    low, unit = np.array([sampler._table.encoder.scales_[c] for c in sampler._table.encoder.numeric_]).T
    error = np.square((rows * unit + low - X) / X.std(0)).sum(1)
    class_weight = np.where(y == 1, 50 / (2 * 10), 50 / (2 * 40))
    np.testing.assert_allclose(sampler.history_["x"].iloc[0], np.mean(class_weight * (1 + H) ** 2 * error), rtol=1e-4)


@pytest.mark.parametrize("gamma", [0, 1, 2.5])
def test_seeds_are_drawn_by_their_weights(gamma):
    X, y = numbers(100, rare=20)
    sampler = leo(gamma=gamma, sampling_strategy={1: 20020})
    sampler.fit_resample(X, y)
    drawn = np.bincount(sampler.seed_indices_[100:], minlength=100)[:20] / 20000
    expected = sampler.weights_[:20] / sampler.weights_[:20].sum()
    assert np.abs(drawn - expected).max() < 5 * np.sqrt(expected.max() / 20000)
    assert gamma == 0 or expected.max() > 1.1 * expected.min()


def test_raw_columns_decide_who_is_a_neighbour_unless_standardised():
    X, y = numbers(60)
    X[:, 0] *= 1000
    np.testing.assert_allclose(leo(standardize=False).fit(X, y).entropy_, entropy_by_hand(X, y, 5), atol=1e-9)
    np.testing.assert_allclose(leo().fit(X, y).entropy_, entropy_by_hand((X - X.mean(0)) / X.std(0), y, 5), atol=1e-9)


def test_loss_and_seeds_can_be_weighted_apart():
    X, y = numbers()
    both, loss, seeds, none = (leo(**o).fit(X, y) for o in ({}, {"weighting": "uniform", "loss_weighting": "entropy"}, {"loss_weighting": "uniform"}, {"gamma": 0}))
    assert loss.history_.equals(both.history_) and seeds.history_.equals(none.history_) and not both.history_.equals(none.history_)
    assert (loss.weights_ == 1).all() and (seeds.weights_ == both.weights_).all()
    plain = leo(gamma=0, class_weighting="uniform").fit(X, y)
    assert not plain.history_.equals(none.history_)


class Inverse:
    """Rows of low first coordinate are seeds."""

    def weights(self, X, y):
        assert isinstance(X, pd.DataFrame) and len(X) == len(y)
        return np.exp(-5 * X.iloc[:, 0].to_numpy())


def test_a_weighting_of_ones_own():
    X, y = numbers(200, rare=40)
    sampler = leo(weighting=Inverse(), loss_weighting="uniform", sampling_strategy={1: 2000})
    sampler.fit_resample(X, y)
    assert X[sampler.seed_indices_[200:], 0].mean() < X[:40, 0].mean() - 0.5


def test_the_entropy_as_an_object_is_the_entropy_by_name():
    X, y = numbers(100, rare=20)
    named, given = leo(gamma=2.0).fit(X, y), leo(weighting=EntropyWeighting(gamma=2.0, n_neighbors=5)).fit(X, y)
    np.testing.assert_allclose(given.weights_, named.weights_ / named.weights_.mean(), rtol=1e-5)      # the object's have mean 1


# ---- limit cases


def test_limits():
    X, y = numbers()
    flat, uniform = leo(gamma=0).fit(X, y), leo(weighting="uniform").fit(X, y)
    assert flat.history_.equals(uniform.history_) and (flat.sample(20)[0] == uniform.sample(20)[0]).all()
    assert "kl" not in leo(beta=0, law="smoothed_bootstrap").fit(X, y).history_ and "kl" in leo(beta=0, variational=True).fit(X, y).history_
    copies = leo(bandwidth=0, transport=True, law="smoothed_bootstrap")
    new = copies.fit_resample(X, y)[0][60:]
    assert (new == X[copies.seed_indices_[60:]]).all()
    images = leo(bandwidth=0, transport=False, law="smoothed_bootstrap")
    new = images.fit_resample(X, y)[0][60:]
    np.testing.assert_allclose(new, images.decode(images.encode(X, y)[0], y)[images.seed_indices_[60:]], atol=1e-5)


def test_replicates_share_the_rows_and_the_first_is_the_only_one_of_one():
    X, y = numbers()
    three, one = leo(n_replicates=3).fit(X, y), leo().fit(X, y)
    np.testing.assert_allclose(three.encode(X, y)[0], one.encode(X, y)[0], atol=1e-4)
    assert not np.allclose(three.encode(X, y)[1], one.encode(X, y)[0], atol=1e-2)
    assert sorted(three.history_["replicate"].unique()) == [0, 1, 2] and len(three.sample(7, y=1)[0]) == 7


GOLDEN = dict(gamma=2.0, beta=0.5, kl_floor=0.1, n_neighbors=5, standardize=True, law="posterior", transport=False, hidden_dims=(8,), latent_dim=3, activation="leaky_relu", dropout=0.0, n_epochs=10,
              batch_size=16, learning_rate=1e-2, validation_fraction=0.25, patience=4, random_state=3)


def test_golden_numbers():
    X, y = numbers(40, 3, rare=10)
    sampler = LEOCVAE(**GOLDEN)
    X_res, _ = sampler.fit_resample(X, y)
    found = [sampler.entropy_.sum(), sampler.weights_.sum(), sampler.history_["total"].iloc[0], sampler.history_["validation"].iloc[-1], X_res[40:].mean(), X_res[40:].std()]
    np.testing.assert_allclose(found, GOLD, rtol=2e-3)
    assert sampler.seed_indices_[40:48].tolist() == SEEDS


GOLD, SEEDS = [20.56357, 99.1158, 7.4099, 8.57493, 0.9336, 0.21819], [0, 9, 7, 2, 8, 6, 1, 9]


# ---- presets


def test_the_papers_settings():
    expected = dict(gamma=2.5, beta=4, kl_floor=0.1, n_neighbors=15, standardize=False, law="posterior", transport=False, hidden_dims=(64, 32), latent_dim=16, activation="leaky_relu", dropout=0.1, n_epochs=500,
                    batch_size=32, learning_rate=1e-3, optimizer="adam", weight_decay=1e-5, clip_norm=1, variational=True, validation_fraction=0.2, patience=25, min_delta=1e-4, keep="last", inner=True, shrink=False)
    assert {name: PAPER[name] for name in expected} == expected and set(PRESETS[None]) == set(PAPER)
    assert DEFAULTS["standardize"] and DEFAULTS["keep"] == "best" and not DEFAULTS["inner"]                      # the slips, mended
    assert set(PAPER) - {"optimizer", "weight_decay", "clip_norm", "min_delta", "keep", "inner", "shrink"} <= set(LEOCVAE().get_params())


def test_the_papers_preset_counts_and_seeds_on_the_inner_split():
    X, y = numbers(200, rare=40)
    sampler = LEOCVAE(preset="paper", n_epochs=2, random_state=0)
    _, y_res = sampler.fit_resample(X, y)
    assert sampler.sampling_strategy_ == {1: 128 - 32} and (y_res == 1).sum() == 40 + 96
    held = ~sampler._seeds
    assert held.sum() == 40 and held[:40].sum() == 8 and not set(np.flatnonzero(held)) & set(sampler.seed_indices_[200:])
    np.testing.assert_allclose(sampler._table.scaled(sampler._table.matrix), X, atol=1e-5)
    np.testing.assert_allclose(sampler.entropy_, entropy_by_hand(X, y, 15), atol=1e-9)                            # over all rows, before the split
    explicit = LEOCVAE(preset="paper", sampling_strategy={1: 100}, n_epochs=1, random_state=0).fit_resample(X, y)[1]
    assert (explicit == 1).sum() == 100                                                                          # a total that is asked for is given
    ours = leo(validation_fraction=0.2).fit_resample(X, y)[1]
    assert (ours == 1).sum() == 160


def stopping_epoch(losses, patience, min_delta):
    "Number of epochs after which a patient observer has stopped."
    best, since = np.inf, 0
    for epoch, loss in enumerate(losses, start=1):
        best, since = (loss, 0) if loss < best - min_delta else (best, since + 1)
        if since >= patience:
            return epoch
    return len(losses)


def test_the_papers_preset_keeps_the_last_epoch_and_stops_where_the_code_stops():
    X, y = numbers(80, rare=20)
    options = dict(preset="paper", standardize=True, n_epochs=80, learning_rate=0.02, patience=3, random_state=0)
    sampler = LEOCVAE(**options).fit(X, y)
    history = sampler.history_
    assert len(history) < 80 and stopping_epoch(history["validation"], 3, 1e-4) == len(history)
    fixed = LEOCVAE(**{**options, "n_epochs": len(history), "patience": 1000}).fit(X, y)
    assert (fixed.encode(X, y) == sampler.encode(X, y)).all()                                                    # the weights of the last epoch
    assert history["validation"].iloc[-1] > history["validation"].min()


def test_the_default_goes_back_to_the_best_epoch():
    X, y = numbers(80, rare=20)
    options = dict(validation_fraction=0.25, n_epochs=80, learning_rate=0.02, patience=3, random_state=0)
    history = LEOCVAE(**options).fit(X, y).history_
    best = int(history["validation"].argmin()) + 1
    assert best < len(history) < 80
    short, full = LEOCVAE(**{**options, "n_epochs": best}).fit(X, y), LEOCVAE(**options).fit(X, y)
    np.testing.assert_allclose(full.encode(X, y), short.encode(X, y), atol=1e-6)


def test_the_held_out_loss_is_the_weighted_loss():
    X, y = numbers(60)
    s = LEOCVAE(gamma=2, beta=0, law="smoothed_bootstrap", n_neighbors=5, validation_fraction=0.25, n_epochs=1, learning_rate=1e-12, random_state=0).fit(X, y)
    held = hold_out(y, 0.25, np.random.default_rng(0))                                                           # the fitted stream's first draw
    low, unit = np.array([s._table.encoder.scales_[c] for c in s._table.encoder.numeric_]).T
    rows = s._decoded(0, s.encode(X, y)[0], y) * unit + low
    loss = np.square((rows - X) / X.std(0)).sum(1) * s.weights_ * np.where(y == 1, 60 / 24, 60 / 96)
    np.testing.assert_allclose(s.history_["validation"].iloc[0], loss[held].mean(), rtol=1e-4)


# ---- small classes


def test_small_classes_look_at_fewer_neighbours():
    X, _ = numbers(60)
    y = np.r_[np.zeros(50), np.ones(7), [2, 2], [3]].astype(int)
    with pytest.warns(UserWarning, match=r"n_neighbors=10 rows: \{'1': 7, '2': 2, '3': 1\}"):
        sampler = leo(n_neighbors=10).fit(X, y)
    Z = (X - X.mean(0)) / X.std(0)
    for c, k in ((0, 10), (1, 6), (2, 1), (3, 1)):
        np.testing.assert_allclose(sampler.entropy_[y == c], entropy_by_hand(Z, y, k)[y == c], atol=1e-9)


def test_a_class_of_one_row_has_its_posterior_sampled():
    X, _ = numbers(60)
    y = np.r_[np.zeros(45), np.ones(14), [2]].astype(int)
    sampler = leo(law="smoothed_bootstrap", n_epochs=5)
    with pytest.warns(UserWarning, match="class 2 has a single row"):
        X_res, y_res = sampler.fit_resample(X, y)
    new = X_res[60:][y_res[60:] == 2]
    assert len(new) == 44 and (sampler.seed_indices_[60:][y_res[60:] == 2] == 59).all() and len(np.unique(new.round(9), axis=0)) > 20
    assert isinstance(sampler._laws[0][2][1], PosteriorDraw) and not isinstance(sampler._laws[0][1][1], PosteriorDraw)
    with pytest.warns(UserWarning, match="single row"):
        still = leo(beta=0, law="smoothed_bootstrap").fit_resample(X, y)[0][60:][y_res[60:] == 2]
    assert np.ptp(still, axis=0).max() < 1e-5                                     # an autoencoder has no posterior: copies


def test_k_of_n_or_more_is_refused_when_asked_for():
    X, y = numbers(12, rare=4)
    assert len(LEOCVAE(n_epochs=1, random_state=0).fit_resample(X, y)[0]) == 16   # the preset's 15 shrinks
    for options in ({"n_neighbors": 12}, {"preset": "paper"}):
        with pytest.raises(InputError, match=r"n_neighbors=1[25].*n_samples=12.*at most 11"):
            LEOCVAE(n_epochs=1, **options).fit(X, y)


def test_duplicated_rows_are_neighbours_of_each_other():
    X, y = numbers(40)
    twice, labels = np.r_[X, X], np.r_[y, 1 - y]                                  # every row again, with the other label
    H = leo(n_neighbors=1).fit(twice, labels).entropy_
    assert (H == 0).all()
    assert leo(n_neighbors=2).fit(np.r_[X, X, X], np.r_[y, 1 - y, y]).entropy_[40:80].max() == 0   # both copies have the other label


# ---- sampling


def test_sample():
    X, y = mixed()
    sampler = leo().fit(X, y)
    assert (sampler.sample(9, y="odd")[1] == "odd").all()
    assert sampler.sample(y=["odd", "common", "odd"])[1].tolist() == ["odd", "common", "odd"]
    assert sampler.sample(2, y=pd.Series(["odd", "rare"]))[1].tolist() == ["odd", "rare"]
    shares = sampler.sample(3000, random_state=1)[1].value_counts(normalize=True)
    assert abs(shares["common"] - 42 / 60) < 0.05 and abs(shares["odd"] - 6 / 60) < 0.03
    a, b = sampler.sample(20), sampler.sample(20)
    assert not a[0].equals(b[0])                                                  # None goes on
    pd.testing.assert_frame_equal(sampler.sample(20, y="rare", random_state=9)[0], sampler.sample(20, y="rare", random_state=9)[0])
    assert [len(part[0]) for part in sampler.sample_iter(25, 10, random_state=0)] == [10, 10, 5]
    assert len(sampler.sample(0)[0]) == 0 and sampler.sample(0)[0].dtypes.equals(X.dtypes)


def test_sample_refuses():
    X, y = mixed()
    with pytest.raises(NotFittedError):
        leo().sample(3)
    sampler = leo().fit(X, y)
    for call, words in (
        (lambda: sampler.sample(3, y="never"), "'never'.*'common'"),
        (lambda: sampler.sample(3, y=["odd", "rare"]), "2 labels"),
        (lambda: sampler.sample(-1), "n_samples=-1"),
        (lambda: sampler.encode(X.assign(word="w"), y), "'word'.*'w'"),
        (lambda: sampler.encode(X, y.replace("odd", "even")), "'even'"),
        (lambda: sampler.encode(X[["word"]], y), "missing"),
        (lambda: sampler.decode(np.zeros((2, 4)), "odd"), r"\(n_samples, 3\)"),
        (lambda: sampler.decode(np.zeros((2, 3)), ["odd"] * 3), "3 labels"),
    ):
        with pytest.raises(InputError, match=words):
            call()


def test_encode_and_decode():
    X, y = mixed()
    sampler = leo(n_replicates=2).fit(X, y)
    codes = sampler.encode(X, y)
    assert codes.shape == (2, 60, 3)
    back = sampler.decode(codes[1], y, replicate=1)
    assert back.dtypes.equals(X.dtypes) and len(back) == 60
    assert len(sampler.decode(codes[0][:4], "odd")) == 4
    assert not np.allclose(sampler.encode(X, ["odd"] * 60), codes)                 # the encoder sees the class


def test_a_labeller_of_ones_own():
    X, y = numbers(80, rare=20)
    sampler = leo(labels=DecisionTreeClassifier(random_state=0), sampling_strategy={1: 200})
    X_res, y_res = sampler.fit_resample(X, y)
    assert len(y_res) == 80 + 180 and set(y_res) == {0, 1} and 0 in y_res[80:]


def test_same_seed_same_bits_and_no_global_state():
    X, y = mixed()
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    first, second = leo(validation_fraction=0.2, dropout=0.2).fit_resample(X, y), leo(validation_fraction=0.2, dropout=0.2).fit_resample(X, y)
    pd.testing.assert_frame_equal(first[0], second[0])
    assert (np.random.get_state()[1] == before).all()
    assert not leo(random_state=1).fit_resample(X, y)[0].equals(leo().fit_resample(X, y)[0])
    pd.testing.assert_frame_equal(*(leo(random_state=np.random.RandomState(5)).fit_resample(X, y)[0] for _ in range(2)))


def test_user_bounds():
    X, y = numbers()
    frame = pd.DataFrame(X, columns=list("abcd"))
    new = leo(bounds={"a": (0, 0.5)}, bandwidth=3).fit_resample(frame, y)[0][60:]
    assert new["a"].between(0, 0.5).all() and not new["b"].between(0, 0.5).all()


# ---- many subsets in one bank


@pytest.mark.parametrize("options", [{}, {"preset": "paper", "hidden_dims": (8,), "n_epochs": 6, "patience": 2}, {"validation_fraction": 0.25, "patience": 2, "n_epochs": 6, "n_replicates": 2}], ids=["default", "paper", "stopping"])
def test_a_bank_of_folds_equals_fits_alone(options):
    X, y = numbers(90, rare=25)
    folds = [np.arange(90) % 3 != 0, np.flatnonzero(np.arange(90) % 4 != 1)]
    sampler = leo(**options)
    results = sampler.fit_resample_many(X, y, folds, [7, 8])
    for fold, seed, (X_res, y_res), fitted in zip(folds, [7, 8], results, sampler.samplers_):
        alone = clone(sampler).set_params(random_state=seed)
        X_one, y_one = alone.fit_resample(X[fold], y[fold])
        np.testing.assert_allclose(X_res, X_one, atol=2e-3)
        assert (y_res == y_one).all() and (fitted.seed_indices_ == alone.seed_indices_).all()
    assert len(sampler.diagnostics_) == 2


def test_a_fold_without_one_of_the_classes():
    X, y = mixed()
    fold = np.flatnonzero(y != "odd")
    sampler = leo()
    (X_res, y_res), _ = sampler.fit_resample_many(X, y, [fold, np.arange(60)], [0, 1])
    assert set(y_res) == {"common", "rare"} and y_res.value_counts().nunique() == 1
    with pytest.raises(InputError, match="'odd' has no rows"):
        sampler.samplers_[0].sample(2, y="odd")
    with pytest.raises(InputError, match="2 entries and random_states 1"):
        leo().fit_resample_many(X, y, [fold, fold], [0])


def test_the_scaling_of_a_fold_is_its_own():
    X, y = numbers()
    table = ConditionalTable.of(pd.DataFrame(X, columns=list("abcd")), y, 2)
    half = table.take(np.arange(30))
    np.testing.assert_allclose(half.scaled(half.matrix), (X[:30] - X[:30].mean(0)) / X[:30].std(0), atol=1e-5)


# ---- saving

SAVED = {
    "default": {},
    "posterior": {"law": "posterior"},
    "prior": {"law": "prior"},
    "replicates": {"n_replicates": 2},
    "moved": {"transport": True},
    "paper": {"preset": "paper", "n_epochs": 2, "n_neighbors": 3},
    "dict": {"sampling_strategy": {"odd": 22}},
}


@pytest.mark.parametrize("case", SAVED)
@pytest.mark.parametrize("labels", ["words", "categories", "Int64", "bool"])
def test_a_saved_sampler_goes_on_where_it_was(tmp_path, case, labels):
    X, y = mixed()
    if case == "dict" and labels != "words":
        return
    y = LABELS[labels](y)
    sampler = leo(**SAVED[case]).fit(X, y)
    sampler.save(tmp_path / "m")
    again = LEOCVAE.load(tmp_path / "m")
    for n in (5, 4):
        (X_a, y_a), (X_b, y_b) = sampler.sample(n), again.sample(n)
        pd.testing.assert_frame_equal(X_a, X_b)
        pd.testing.assert_series_equal(y_a, y_b)
    wanted = sampler.classes_[0]
    pd.testing.assert_frame_equal(sampler.sample(5, y=wanted, random_state=1)[0], again.sample(5, y=wanted, random_state=1)[0])
    assert again.get_params() == sampler.get_params() and again.sampling_strategy_ == sampler.sampling_strategy_ and again.settings_ == sampler.settings_
    pd.testing.assert_frame_equal(again.history_, sampler.history_)
    assert again.diagnostics_ == pytest.approx(sampler.diagnostics_, nan_ok=True) and (again.entropy_ == sampler.entropy_).all()
    np.testing.assert_allclose(again.encode(X, y), sampler.encode(X, y))
    assert not list(tmp_path.rglob("*.pkl"))


def test_what_a_folder_cannot_hold_is_said(tmp_path):
    X, y = numbers()
    for options, words in (({"labels": DecisionTreeClassifier()}, "labels"), ({"sampling_strategy": lambda y: {1: 30}}, "sampling_strategy")):
        with pytest.raises(InputError, match=f"{words} is a .*pickle"):
            leo(**options).fit(X, y).save(tmp_path / "m")
    sampler = leo().fit(X, y)
    sampler.save(tmp_path / "m")
    with pytest.raises(InputError, match="overwrite"):
        sampler.save(tmp_path / "m")
    sampler.save(tmp_path / "m", overwrite=True)
    (tmp_path / "m" / "arrays.safetensors").write_bytes(b"short")
    with pytest.raises(ModelFileError, match="altered"):
        LEOCVAE.load(tmp_path / "m")
    with pytest.raises(ModelFileError, match="missing"):
        LEOCVAE.load(tmp_path / "nowhere")


# ---- bad input


def _with(column, value):
    X, y = mixed()
    X[column] = X[column].astype(object) if isinstance(value, str) else X[column]
    X.loc[3, column] = value
    return X, y


def _label(value):
    X, y = mixed()
    y[5] = value
    return X, y


BAD_TABLES = {
    "NaN in X": (lambda: _with("double", np.nan), ["'double'", "NaN", "row 3"]),
    "infinity in X": (lambda: _with("single", np.inf), ["'single'", "infinity"]),
    "missing text": (lambda: _with("word", None), ["'word'", "missing"]),
    "mixed object": (lambda: _with("long", "many"), ["'long'", "int", "str"]),
    "missing label": (lambda: _label(None), ["y", "row 5"]),
    "NaN label": (lambda: (mixed()[0], np.where(np.arange(60) == 5, np.nan, np.arange(60) % 2)), ["y", "NaN", "row 5"]),
    "one class": (lambda: (mixed()[0], np.ones(60)), ["one class", "at least two"]),
    "continuous y": (lambda: (mixed()[0], np.linspace(0, 1, 60)), ["continuous", "DAVID", "pandas.cut"]),
    "two targets": (lambda: (mixed()[0], np.random.default_rng(0).integers(0, 9, (60, 2))), ["2 columns", "multioutput"]),
    "two labels per row": (lambda: (mixed()[0], np.ones((60, 2), int)), ["Multilabel"]),
    "no y": (lambda: (mixed()[0], None), ["y", "None"]),
    "lengths": (lambda: (mixed(40)[0], mixed(30)[1]), ["40", "30", "inconsistent"]),
    "identical rows": (lambda: (np.ones((60, 3)), mixed()[1]), ["60 rows", "identical"]),
    "identical words": (lambda: (pd.DataFrame({"a": ["x"] * 60}), mixed()[1]), ["identical"]),
    "sparse labels": (lambda: (mixed()[0], sparse.csr_array(np.eye(60, 3, dtype=int))), ["sparse", "toarray"]),
    "dates": (lambda: (mixed()[0].assign(when=pd.date_range("2020", periods=60)), mixed()[1]), ["'when'", "dates"]),
    "one dimension": (lambda: (mixed()[1], mixed()[1]), ["2D", "Reshape"]),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables_are_refused_by_name_before_any_training(case):
    make, words = BAD_TABLES[case]
    X, y = make()
    with pytest.raises(ValueError) as caught:
        LEOCVAE(n_epochs=10**9, random_state=0).fit_resample(X, y)             # would never end
    assert isinstance(caught.value, InputError) and all(word in str(caught.value) for word in words), caught.value


BAD_ARGUMENTS = [
    ({"gamma": -0.1}, "gamma=-0.1"),
    ({"gamma": "much"}, "gamma='much'"),
    ({"gamma": np.nan}, "gamma=nan"),
    ({"beta": -1}, "beta=-1"),
    ({"beta": 0, "law": "posterior"}, "has none"),
    ({"kl_floor": -1}, "kl_floor=-1"),
    ({"n_neighbors": 0}, "n_neighbors=0"),
    ({"n_neighbors": 2.5}, "n_neighbors=2.5"),
    ({"n_neighbors": 60}, "n_neighbors=60.*n_samples=60"),
    ({"standardize": "yes"}, "standardize='yes'"),
    ({"preset": "papre"}, "preset='papre'.*'paper'"),
    ({"sampling_strategy": {"common": 5}}, "sampling_strategy=.*42 samples and 5 samples are asked"),
    ({"sampling_strategy": {"never": 5}}, "sampling_strategy=.*never"),
    ({"sampling_strategy": "majority"}, "sampling_strategy='majority'"),
    ({"sampling_strategy": 0.5}, "sampling_strategy=0.5"),
    ({"sampling_strategy": None}, "sampling_strategy=None"),
    ({"sampling_strategy": ["odd"]}, "sampling_strategy=.*odd"),
    ({"weighting": "rare"}, "weighting='rare'.*'entropy'"),
    ({"loss_weighting": 3}, "loss_weighting=3"),
    ({"class_weighting": "entropy"}, "class_weighting='entropy'"),
    ({"law": "cauchy"}, "law='cauchy'"),
    ({"labels": "guessed"}, "labels='guessed'"),
    ({"bandwidth": -1}, "bandwidth=-1"),
    ({"bandwidth": "wide"}, "bandwidth='wide'"),
    ({"n_replicates": 0}, "n_replicates=0"),
    ({"n_epochs": 0}, "n_epochs=0"),
    ({"batch_size": 0}, "batch_size=0"),
    ({"learning_rate": 0}, "learning_rate=0"),
    ({"dropout": 1}, "dropout=1"),
    ({"hidden_dims": ()}, "hidden_dims=()"),
    ({"hidden_dims": (8, 0)}, "hidden_dims="),
    ({"validation_fraction": 1}, "validation_fraction=1"),
    ({"patience": 0}, "patience=0"),
    ({"activation": "sine"}, "activation='sine'"),
    ({"categories": "words"}, "categories='words'"),
    ({"bounds": {"nowhere": (0, 1)}}, "'nowhere'"),
    ({"bounds": 3}, "bounds=3"),
    ({"random_state": -1}, "random_state=-1"),
    ({"device": "cuda:99"}, "device='cuda:99'"),
]


@pytest.mark.parametrize("arguments, words", BAD_ARGUMENTS, ids=str)
def test_bad_arguments_are_named(arguments, words):
    X, y = mixed()
    with pytest.raises(InputError, match=words):
        leo(**arguments).fit_resample(X, y)


def test_poor_reconstruction_and_divergence_warn():
    X, y = numbers(80, rare=20)
    with pytest.warns(UserWarning, match=r"LEOCVAE reconstructs R2 = .*smaller beta"):
        LEOCVAE(beta=100, n_epochs=30, random_state=0).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert LEOCVAE(beta=0.01, n_epochs=200, n_neighbors=5, random_state=0).fit(X, y).diagnostics_["r2_within"] > 0.5


# ---- Ctrl-C

def test_ctrl_c_leaves_a_usable_model(press_ctrl_c):
    out, folder = press_ctrl_c("augment_lib.leo_cvae.LEOCVAE", "rng.normal(size=(200, 4)), (np.arange(200) < 30).astype(int)", draw="sampler.sample(50, y=1)[0]")
    assert out == "interrupted True None (50, 4) True True\n"
    assert LEOCVAE.load(folder).interrupted_


# ---- scikit-learn's conventions


def test_clone_params_and_pickle():
    X, y = mixed()
    sampler = leo(gamma=1)
    assert clone(sampler).get_params() == sampler.get_params() and repr(LEOCVAE()) == "LEOCVAE()"
    with pytest.raises(ValueError, match="alpha"):
        sampler.set_params(alpha=1)
    sampler.fit(X, y)
    again = pickle.loads(pickle.dumps(sampler))
    pd.testing.assert_frame_equal(sampler.sample(9, random_state=0)[0], again.sample(9, random_state=0)[0])


def test_pipeline_resamples_training_rows_only():
    X, y = mixed(90)
    seen = []

    class Counting(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            seen.append(("fit", len(X), max(Counter(y).values()) == min(Counter(y).values())))
            return super().fit(X, y)

        def predict(self, X):
            seen.append(("predict", len(X)))
            return super().predict(X)

    table = make_column_transformer((StandardScaler(), ["double", "single", "long", "Int"]), (OneHotEncoder(handle_unknown="ignore"), ["word", "level", "String"]))
    scores = cross_val_score(make_pipeline(leo(), table, Counting(max_iter=500)), X, y, cv=3)
    assert scores.shape == (3,) and np.isfinite(scores).all()
    assert seen == [("fit", 120, True), ("predict", 30)] * 3


def test_parameters_can_be_searched():
    X, y = numbers()
    search = GridSearchCV(make_pipeline(leo(), LogisticRegression()), {"leocvae__gamma": [0, 2], "leocvae__sampling_strategy": [0.5, 1.0]}, cv=2, scoring="average_precision").fit(X, y)
    assert set(search.best_params_) == {"leocvae__gamma", "leocvae__sampling_strategy"} and np.isfinite(search.cv_results_["mean_test_score"]).all()
