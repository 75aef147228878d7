"""weighting: densities against scipy, laws of the weights, bad input."""
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import gaussian_kde
from sklearn.base import clone
from sklearn.utils.class_weight import compute_sample_weight

from augment_lib.core import InputError
from augment_lib.weighting import (DensityWeighting, FrequencyWeighting, UniformWeighting, Weighting, check_target, density_weights,
                                   effective_sample_size, kernel_width, resolve_weighting, target_density)

SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal_0.8": lambda rng, n: rng.lognormal(0, 0.8, n),
    "lognormal_2": lambda rng, n: rng.lognormal(0, 2, n),
    "pareto_1.5": lambda rng, n: rng.pareto(1.5, n),
    "pareto_1": lambda rng, n: rng.pareto(1, n),
    "pareto_0.5": lambda rng, n: rng.pareto(0.5, n),
    "zeros_exponential": lambda rng, n: np.where(rng.random(n) < 0.9, 0, rng.exponential(1, n)),
    "integers": lambda rng, n: rng.poisson(3, n).astype(float),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bandwidth", ["scott", "silverman", 0.02])
def test_binned_equals_scipy_in_relative_terms(shape, bandwidth):
    y = SHAPES[shape](np.random.default_rng(1), 3000)
    exact = gaussian_kde(y, bw_method=bandwidth)(y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        binned = target_density(y, bandwidth=bandwidth, method="binned")
    assert np.abs(binned / exact - 1).max() < 5e-5
    rare = np.argsort(exact)[:50]
    assert np.abs(binned[rare] / exact[rare] - 1).max() < 5e-5
    assert np.allclose(target_density(y, bandwidth=bandwidth, method="exact"), exact, rtol=1e-9)


def test_coarse_grid_would_fail():
    y = SHAPES["lognormal_2"](np.random.default_rng(1), 3000)
    error = np.abs(target_density(y, method="binned", bins_per_bandwidth=4) / gaussian_kde(y)(y) - 1).max()
    assert error > 1e-3


def test_gaps_are_closed_when_the_grid_would_be_too_long():
    rng = np.random.default_rng(2)
    y = np.r_[rng.normal(size=2000), 1e9, 1e9 + 1, -4e8]
    h = 0.3 / y.std(ddof=1)                                  # range over bandwidth of 5e9: no plain grid could hold it
    exact = gaussian_kde(y, bw_method=h)(y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.abs(target_density(y, bandwidth=h, method="binned") / exact - 1).max() < 1e-4
    between = np.r_[5.0, 1e5, 1e9 - 2, 1e9 + 0.5, -4e8 - 1, 2e9, -1e10]
    binned = target_density(y, at=between, bandwidth=h, method="binned")
    assert np.allclose(binned, gaussian_kde(y, bw_method=h)(between), rtol=1e-4, atol=0)


def test_warning_when_even_the_closed_grid_is_coarse():
    y = np.random.default_rng(3).random(3000)
    with pytest.warns(UserWarning, match="bins per bandwidth"):
        target_density(y, bandwidth=1e-4, bins_per_bandwidth=1000, method="binned")


def test_void_points_are_exact_not_noise():
    y = np.random.default_rng(4).normal(size=3000)
    at = np.array([-9.0, 8.0, 12.0, 40.0])
    assert np.allclose(target_density(y, at=at, method="binned"), gaussian_kde(y)(at), rtol=1e-4, atol=0)


def test_auto_switches_and_agrees():
    y = np.random.default_rng(5).lognormal(0, 1, 2100)       # 2100^2 pairs: above the limit, binned
    exact = target_density(y, method="exact")
    auto = target_density(y)
    assert 0 < np.abs(auto / exact - 1).max() < 5e-5
    assert (target_density(y[:100]) == target_density(y[:100], method="exact")).all()


@pytest.mark.parametrize("method", ["exact", "binned"])
def test_sample_weight_equals_scipy(method):
    rng = np.random.default_rng(6)
    y, w = rng.lognormal(0, 0.5, 800), rng.random(800)
    ours = target_density(y, sample_weight=7 * w, method=method)
    assert np.allclose(ours, gaussian_kde(y, weights=w)(y), rtol=1e-4)
    w[100:] = 0                                              # rows of weight 0 are as good as absent
    assert np.allclose(target_density(y, sample_weight=w, method=method), gaussian_kde(y[:100], weights=w[:100])(y), rtol=1e-4)
    w[:99] = 0
    with pytest.raises(InputError):
        target_density(y, sample_weight=w)


@pytest.mark.parametrize("scale", [1e-150, 1e-9, 1e12, 1e150])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_units_and_offset_do_not_matter(scale, offset):
    y = np.random.default_rng(7).lognormal(0, 0.8, 300)
    assert np.allclose(density_weights(scale * (y + offset), 1), density_weights(y, 1), rtol=1e-8)


def test_integral_is_one():
    y = np.random.default_rng(8).lognormal(0, 0.5, 5000)
    grid = np.linspace(-3, 15, 20001)
    assert np.isclose(np.trapezoid(target_density(y, at=grid, method="binned"), grid), 1, atol=1e-6)


def test_golden_values():
    # by hand: two rows at 0 and 1, s.d. sqrt(1/2), h = 2^-0.2 sqrt(1/2)
    h = 2**-0.2 * np.sqrt(0.5)
    hand = (1 + np.exp(-0.5 / h**2)) / (2 * h * np.sqrt(2 * np.pi))
    assert np.allclose(target_density([0.0, 1.0]), hand, rtol=1e-12)
    assert np.isclose(kernel_width(np.array([0.0, 1.0]), np.array([0.5, 0.5]))[1], h)
    w = density_weights([0, 0, 0, 0, 1], 1, bandwidth=1e-3)      # far apart: densities 4 : 1
    assert np.allclose(w, np.array([1, 1, 1, 1, 4]) / 1.6)


@settings(max_examples=60, deadline=None)
@given(arrays(float, st.integers(3, 60), elements=st.floats(-1e6, 1e6)), st.floats(0, 100))
def test_weights_are_finite_positive_mean_one(y, alpha):
    if np.ptp(y) < 1e-6:
        return
    w = density_weights(y, alpha)
    assert w.shape == y.shape and np.isfinite(w).all() and (w >= 0).all()
    assert np.isclose(w.mean(), 1)
    order = np.argsort(target_density(y))
    assert (np.diff(w[order]) <= 1e-12 * w.max()).all()      # denser never weighs more
    assert 1 - 1e-9 <= effective_sample_size(w) <= len(y) * (1 + 1e-9)


def test_permutation_moves_weights_along():
    rng = np.random.default_rng(9)
    y, order = rng.lognormal(0, 1, 3000), rng.permutation(3000)
    assert np.allclose(density_weights(y)[order], density_weights(y[order]), rtol=1e-8)


def test_alpha_limits():
    y = np.random.default_rng(10).normal(size=200)
    assert (density_weights(y, 0) == np.ones(200)).all()
    assert np.allclose(density_weights(y, 1e-9), 1, atol=1e-6)
    extreme = density_weights(y, 1e300)
    assert np.isclose(extreme.max(), 200) and np.isclose(extreme.sum(), 200)
    f = target_density(y)
    assert np.allclose(density_weights(y, 0.5), f**-0.5 / np.mean(f**-0.5))


def test_clip():
    y = np.random.default_rng(11).lognormal(0, 1, 500)
    raw, cut = density_weights(y, 1), density_weights(y, 1, clip=0.95)
    assert np.isclose(cut.mean(), 1) and np.isclose(cut.max() / cut.min(), np.quantile(raw, 0.95) / raw.min())
    assert np.allclose(density_weights(y, 1, clip=1.0), raw)


@pytest.mark.parametrize("y, words", [
    ([2.0, 2.0, 2.0], "class"),
    ([], "class"),
    ([5.0], "class"),
    ([1.0, np.nan, 2.0], "row 1"),
    ([1.0, np.inf], "missing or infinite"),
    (["1", "2"], "expected numbers"), (np.array(["a", 1.0], dtype=object), "not numbers"), ([[1.0], [2.0]], "shape"),
    (np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[D]"), "expected numbers"),
    (np.array([1 + 2j, 3]), "expected numbers"),
])
@pytest.mark.parametrize("call", [check_target, density_weights, target_density])
def test_bad_targets(y, words, call):
    with pytest.raises(InputError, match=words):
        call(y)


def test_missing_value_in_nullable_series():
    with pytest.raises(InputError, match="y has"):
        density_weights(pd.Series([1, None, 3], dtype="Int64"))


@pytest.mark.parametrize("alpha", [-0.5, np.nan, np.inf, "1", None, True])
def test_bad_alpha(alpha):
    with pytest.raises(InputError, match="alpha"):
        density_weights([1.0, 2.0, 3.0], alpha)
    with pytest.raises(InputError, match="alpha"):
        FrequencyWeighting(alpha).weights(None, [0, 1])


@pytest.mark.parametrize("options, words", [
    ({"bandwidth": "wide"}, "bandwidth"),
    ({"bandwidth": 0}, "bandwidth"),
    ({"bandwidth": -1.0}, "bandwidth"),
    ({"method": "fast"}, "method"),
    ({"bins_per_bandwidth": 0}, "bins_per_bandwidth"),
    ({"sample_weight": [1, 2]}, "sample_weight"),
    ({"sample_weight": [1, -1, 1]}, "sample_weight"),
])
def test_bad_options(options, words):
    with pytest.raises(InputError, match=words):
        target_density([1.0, 2.0, 4.0], **options)


def test_caller_is_not_changed():
    y = np.random.default_rng(12).normal(size=50)
    before = y.copy()
    density_weights(y)
    assert (y == before).all()


def test_frequency_weighting_equals_scikit_learn():
    for labels in ([0, 0, 1, 2, 2, 2], np.array(["a", "b", "b"]), pd.Series(["x", "y", "y"], dtype="category"), [True, False, True]):
        assert np.allclose(FrequencyWeighting().weights(None, labels), compute_sample_weight("balanced", labels))
    half = FrequencyWeighting(0.5).weights(None, [0] * 16 + [1] * 4)
    assert np.isclose(half[-1] / half[0], 2) and np.isclose(half.mean(), 1)
    with pytest.raises(InputError, match="class"):
        FrequencyWeighting().weights(None, ["a", "a"])
    with pytest.raises(InputError, match="row 1"):
        FrequencyWeighting().weights(None, np.array(["a", None, "b"], dtype=object))


def test_protocol_and_resolution():
    for made in (DensityWeighting(0.3), FrequencyWeighting(), UniformWeighting()):
        assert isinstance(made, Weighting) and resolve_weighting(made) is made
        assert clone(made).get_params() == made.get_params()
    assert resolve_weighting("density", alpha=2).alpha == 2
    assert isinstance(resolve_weighting(None), UniformWeighting)

    class Mine:
        def weights(self, X, y):
            return np.ones(len(y))

    assert isinstance(resolve_weighting(Mine()), Mine)
    for wrong in ("dense", 3, Mine, object()):
        with pytest.raises(InputError, match="weighting"):
            resolve_weighting(wrong)


def test_a_million_rows_stay_accurate():
    y = np.random.default_rng(13).pareto(1, 1_000_000)
    density = target_density(y)
    rare = np.argsort(density)[:40]
    assert np.abs(density[rare] / gaussian_kde(y)(y[rare]) - 1).max() < 1e-4
