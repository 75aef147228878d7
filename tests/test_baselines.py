"""Baselines of data space and whole-table synthesis: contracts over all of them, limit cases, golden laws."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.pipeline import make_pipeline
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler
from tables import homes

from augment_lib.baselines import (GaussianNoise, JointRows, ROSE, SMOGN, SMOTER, WeightedOversampler, distance_matrix, feature_codes,
                                   half_median_distance, nearest_rows, rows_between)
from augment_lib.core import InputError
from augment_lib.synthesis import CARTSynthesis, DataSpaceBootstrap, KernelPCABootstrap, PCABootstrap, leaf_donors

ALL = [WeightedOversampler, GaussianNoise, ROSE, SMOTER, SMOGN, DataSpaceBootstrap, PCABootstrap, KernelPCABootstrap, CARTSynthesis]
every = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


def numbers(n=80, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    return X, np.exp(0.7 * X[:, 0] / X[:, 0].std()) + 0.1 * rng.normal(size=n)


@every
def test_mixed_frame_comes_back_as_it_was(kind):
    X, y = homes()
    sampler = kind(n_synthetic=3.0, random_state=0)
    X_res, y_res = sampler.fit_resample(X, y)
    assert len(X_res) == len(y_res) == 4 * len(X)
    pd.testing.assert_frame_equal(X_res.iloc[:len(X)], X)
    pd.testing.assert_series_equal(y_res.iloc[:len(X)], y)
    assert X_res.dtypes.equals(X.dtypes)
    assert not X_res.isna().any().any() and not y_res.isna().any()
    new = X_res[sampler.is_synthetic_]
    for name in ("area", "rooms", "floor", "small", "same"):
        assert X[name].min() <= new[name].min() and new[name].max() <= X[name].max(), name
    assert set(new.town) <= {"a", "b"} and set(new.kind) <= {"flat", "house"} and set(new.lift) <= {True, False}
    assert y.min() <= y_res.min() and y_res.max() <= y.max()


@every
def test_array_comes_back_as_array(kind):
    X, y = numbers()
    X_res, y_res = kind(random_state=0).fit_resample(X.astype(np.float32), y)
    assert isinstance(X_res, np.ndarray) and X_res.dtype == np.float32 and X_res.shape == (160, 4)
    assert np.array_equal(X_res[:80], X.astype(np.float32)) and np.array_equal(y_res[:80], y)
    assert np.isfinite(X_res).all() and np.isfinite(y_res).all()


@every
def test_same_seed_same_rows_other_seed_other_rows(kind):
    X, y = numbers()
    first, second, third = (kind(random_state=seed).fit_resample(X, y) for seed in (0, 0, 1))
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], third[0])


@every
def test_global_random_state_is_not_touched(kind):
    X, y = numbers()
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    kind(random_state=0).fit_resample(X, y)
    assert np.array_equal(before, np.random.get_state()[1])


@every
def test_clone_and_pipeline(kind):
    X, y = numbers()
    sampler = kind(alpha=0.7, random_state=0)
    assert clone(sampler).get_params() == sampler.get_params()
    scores = cross_val_score(make_pipeline(StandardScaler(), sampler, LinearRegression()), X, y, cv=3, error_score="raise")
    assert np.isfinite(scores).all()


@every
@pytest.mark.parametrize("mode, size", [("add", 160), ("mix", 80), ("replace", 80)])
def test_modes(kind, mode, size):
    X, y = numbers()
    sampler = kind(mode=mode, random_state=0)
    X_res, y_res = sampler.fit_resample(X, y)
    assert len(X_res) == len(y_res) == len(sampler.is_synthetic_) == size
    kept = sampler.seed_indices_[~sampler.is_synthetic_]
    assert np.array_equal(X_res[~sampler.is_synthetic_], X[kept])


@every
def test_weights_favour_the_rare_end(kind):
    X, y = numbers(400)
    even, tilted = (kind(alpha=alpha, mode="replace", n_synthetic=2000, random_state=0).fit_resample(X, y)[1] for alpha in (0, 1))
    edge = np.quantile(y, 0.95)
    assert np.mean(tilted > edge) > 1.3 * np.mean(even > edge)


@every
def test_weighting_object_and_name(kind):
    class Last:
        def weights(self, X, y):
            w = np.zeros(len(y))
            w[-12:] = len(y) / 12
            return w

    X, y = numbers()
    sampler = kind(weighting=Last(), random_state=0).fit(X, y)
    sampler.fit_resample(X, y)
    assert (sampler.seed_indices_[80:] >= 68).all()
    assert (kind(weighting="uniform").fit(X, y).weights_ == 1).all()


@every
def test_bad_arguments_are_named(kind):
    X, y = numbers()
    with pytest.raises(InputError, match="alpha"):
        kind(alpha=-1).fit(X, y)
    with pytest.raises(InputError, match="weighting"):
        kind(weighting="rarity").fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        kind().fit_resample(X, np.r_[np.nan, y[1:]])


@every
def test_zero_rows_and_categories_only(kind):
    X, y = homes()
    assert len(kind(n_synthetic=0, random_state=0).fit_resample(X, y)[0]) == len(X)
    only = X[["town", "kind", "lift"]]
    X_res, y_res = kind(random_state=0).fit_resample(only, y)
    assert X_res.dtypes.equals(only.dtypes) and len(y_res) == 120


# Limit cases, bit for bit

@pytest.mark.parametrize("kind, option", [(GaussianNoise, "noise"), (ROSE, "shrinkage"), (DataSpaceBootstrap, "bandwidth")])
def test_no_noise_is_weighted_oversampling(kind, option):
    X, y = numbers()
    still = kind(**{option: 0}, random_state=4)
    X_res, y_res = still.fit_resample(X, y)
    assert np.array_equal(X_res, X[still.seed_indices_]) and np.array_equal(y_res, y[still.seed_indices_])
    if kind is not DataSpaceBootstrap:            # these two draw their seeds with the same random numbers, too
        assert np.array_equal(X_res, WeightedOversampler(random_state=4).fit_resample(X, y)[0])


def test_alpha_zero_draws_rows_alike():
    X, y = numbers(50)
    sampler = WeightedOversampler(alpha=0, n_synthetic=20_000, random_state=0)
    sampler.fit_resample(X, y)
    assert stats.chisquare(np.bincount(sampler.seed_indices_[50:], minlength=50)).pvalue > 1e-3


def test_draws_follow_the_weights():
    X, y = numbers(50)
    sampler = WeightedOversampler(alpha=1, n_synthetic=50_000, random_state=0)
    sampler.fit_resample(X, y)
    counts = np.bincount(sampler.seed_indices_[50:], minlength=50)
    assert stats.chisquare(counts, 50_000 * sampler.weights_ / 50).pvalue > 1e-3


def test_noise_has_the_asked_spread_and_no_ties():
    X, y = numbers(400)
    sampler = GaussianNoise(noise=0.05, alpha=0, n_synthetic=20_000, random_state=0)
    X_res, _ = sampler.fit_resample(X, y)
    moved = (X_res - X[sampler.seed_indices_])[400:]
    assert np.allclose(moved.std(axis=0) / X.std(axis=0), 0.05, rtol=0.03)
    assert abs(np.corrcoef(moved.T) - np.eye(4)).max() < 0.05


def test_rose_width_is_silverman_on_effective_rows():
    X, y = numbers(100, d=3)
    sampler = ROSE(alpha=1, shrinkage=0.5).fit(X, y)
    n = sampler.diagnostics_["effective_sample_size"]
    assert n == pytest.approx(sampler.weights_.sum() ** 2 / (sampler.weights_**2).sum()) and n < 100
    assert np.allclose(sampler.noise_, 0.5 * (4 / (6 * n)) ** (1 / 8) * np.column_stack([X, y]).std(axis=0))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), part=st.floats(0, 1))
def test_smoter_row_is_on_the_segment(seed, part):
    X, y = numbers(20, d=3, seed=seed)
    joint = JointRows(pd.DataFrame(X, columns=list("abc")), y)
    scaled, codes = feature_codes(joint)
    first, second = np.array([0, 5]), np.array([7, 5])
    values, rows = rows_between(joint, scaled, codes, first, second, np.array([part, part]))
    a, b = joint.values[first], joint.values[second]
    assert np.allclose(values, a + part * (b - a))          # numbers only: the inverse-distance mean is the straight line
    assert rows[0] == (0 if part <= 0.5 else 7)


def test_smoter_target_by_hand_with_a_category():
    X = pd.DataFrame({"x": [0.0, 1.0], "c": ["u", "v"]})
    joint = JointRows(X, [10.0, 20.0])
    values, rows = rows_between(joint, *feature_codes(joint), np.array([0]), np.array([1]), np.array([0.25]))
    near, far = 0.25, np.sqrt(0.75**2 + 1)                   # nearer parent lends "u"; the other differs in it
    assert rows.tolist() == [0] and values[0, 0] == 0.25
    assert values[0, 1] == pytest.approx((10 / near + 20 / far) / (1 / near + 1 / far))


def test_smoter_equal_parents_take_the_mean_target():
    joint = JointRows(pd.DataFrame({"x": [1.0, 1.0, 2.0]}), [0.0, 4.0, 9.0])
    values, _ = rows_between(joint, *feature_codes(joint), np.array([0]), np.array([1]), np.array([0.9]))
    assert values[0].tolist() == [1.0, 2.0]


def test_smoter_keeps_the_ends_apart_and_seeds_rare():
    rng = np.random.default_rng(0)
    y = rng.normal(size=300)
    X = rng.normal(size=(300, 2))
    sampler = SMOTER(alpha=1, n_synthetic=3000, random_state=0)
    _, y_res = sampler.fit_resample(X, y)
    rare = sampler.weights_ >= 1
    assert rare[sampler.seed_indices_[300:]].all()
    low, high = y[rare & (y <= np.median(y))].max(), y[rare & (y > np.median(y))].min()
    assert low < high and not ((y_res[300:] > low + 1e-9) & (y_res[300:] < high - 1e-9)).any()   # nothing made between the ends


def test_smogn_near_and_far():
    sampler = SMOGN(noise=0.0, alpha=0, n_synthetic=500, random_state=0)
    X, y = numbers(60)
    X_res, y_res = sampler.fit_resample(X, y)
    share = np.mean((X_res[60:] == X[sampler.seed_indices_[60:]]).all(axis=1))       # far and no noise: copies
    assert share == pytest.approx(1 - sampler.diagnostics_["share_between"], abs=0.06)
    assert 0 < sampler.diagnostics_["share_between"] < 1


def test_neighbours_and_medians_against_brute_force():
    X, _ = numbers(40)
    gaps = np.linalg.norm(X[:, None] - X[None], axis=2)
    assert np.allclose(half_median_distance(X), np.median(gaps, axis=1) / 2)
    np.fill_diagonal(gaps, np.inf)
    assert np.array_equal(nearest_rows(X, 3), np.argsort(gaps, axis=1)[:, :3])
    X, y = homes()
    place = distance_matrix(*feature_codes(JointRows(X, y)))
    differs = (X[["town", "kind", "lift"]].iloc[0].astype(str) != X[["town", "kind", "lift"]].iloc[1].astype(str)).sum()
    parts = [((X[c].iloc[0] - X[c].iloc[1]) / (X[c].max() - X[c].min())) ** 2 for c in ("area", "rooms", "floor", "small")]
    assert ((place[0] - place[1]) ** 2).sum() == pytest.approx(sum(parts) + differs, rel=1e-4)


# Whole-table methods

def test_pca_with_all_components_has_the_law_of_data_space():
    X, y = numbers(200)
    data, pca = DataSpaceBootstrap(random_state=0).fit(X, y), PCABootstrap(random_state=0).fit(X, y)
    back = pca.projection_.components_.T * pca.scaler_.scale_[:, None]
    assert np.allclose(back @ pca.bootstrap_.covariance_ @ back.T, data.bootstrap_.covariance_)
    assert pca.diagnostics_["r2_x"] == pytest.approx(1) and pca.diagnostics_["r2_y"] == pytest.approx(1)


def test_kernel_pca_reconstructs_and_limits_its_training_rows():
    X, y = numbers(120, d=3)
    few, many = (KernelPCABootstrap(n_components=k, ridge=1e-3, random_state=0).fit(X, y).diagnostics_["r2_y"] for k in (1, 15))
    assert few < many and many > 0.99
    assert len(KernelPCABootstrap(max_rows=30, random_state=0).fit(X, y).projection_.projection.X_fit_) == 30


def test_cart_keeps_a_tie_that_independent_columns_lose():
    rng = np.random.default_rng(0)
    a = rng.choice(["u", "v", "w"], 300)
    X = pd.DataFrame({"a": a, "b": np.char.add(a.astype(str), "!")})
    y = rng.normal(size=300)
    X_res, _ = CARTSynthesis(alpha=0, n_synthetic=1000, random_state=0).fit_resample(X, y)
    assert (X_res.b == X_res.a + "!").all()


def test_cart_draws_only_values_of_the_leaf():
    rng = np.random.default_rng(0)
    known, asked = rng.integers(0, 6, 100), rng.integers(0, 6, 1000)
    donors = leaf_donors(known, asked, rng)
    assert np.array_equal(known[donors], asked)
    assert len(set(donors)) > 95


@pytest.mark.parametrize("sampler", [SMOTER, SMOGN])
def test_rare_at_one_end_only_with_a_category(sampler):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=120), "level": rng.choice(["u", "v"], 120)})
    y = np.exp(rng.normal(size=120) * 1.5)                      # rare values are large; none are small
    X_res, y_res = sampler(random_state=0).fit_resample(X, y)
    assert len(X_res) == 240 and set(X_res["level"]) <= {"u", "v"} and y_res[120:].min() >= y.min()
