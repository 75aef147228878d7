"""bootstrap: limit cases, moments, golden bandwidths, degenerate clouds, state."""
import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import chisquare, gaussian_kde, ks_2samp, kstest, multivariate_normal
from sklearn.base import clone

from augment_lib.bootstrap import BLOCK, SmoothedBootstrap, covariance_root, draw_seeds, fast_normals, kernel_factor
from augment_lib.core import InputError


@pytest.fixture(scope="module")
def Z():
    return np.random.default_rng(0).normal(size=(300, 4)) @ np.random.default_rng(1).normal(size=(4, 4)) + 3


@pytest.mark.parametrize("n, d", [(2, 1), (300, 4), (1671, 4), (5000, 5), (50, 12)])
def test_factors_equal_scipy(n, d):
    data = np.random.default_rng(2).normal(size=(d, n))
    for rule in ("scott", "silverman"):
        assert np.isclose(kernel_factor(n, d, rule), gaussian_kde(data, bw_method=rule).factor)


def test_golden_paper_bandwidth():
    # NO2 of the paper: 300 rows, 4 codes. A plain Silverman factor is 46.6 %, what the authors' code uses is 6.9 %
    assert np.isclose(kernel_factor(300, 4, "silverman"), 0.466, atol=5e-4)
    assert np.isclose(kernel_factor(300, 4, "paper"), 0.069, atol=5e-4)


def test_paper_kernel_is_factor_to_the_fourth_times_cov_times_a_tenth(Z):
    weights = np.random.default_rng(3).random(300) ** 8                     # few effective rows
    law = SmoothedBootstrap("paper").fit(Z, weights)
    silverman = (300 * 6 / 4) ** (-1 / 8)
    assert np.allclose(law.covariance_, silverman**4 * np.cov(Z.T) * 0.1)   # n, not the effective n
    assert SmoothedBootstrap("silverman").fit(Z, weights).factor_ > silverman


def test_weighted_rules_use_the_effective_n_and_unweighted_cov(Z):
    weights = np.r_[np.ones(30), np.zeros(270)]
    law = SmoothedBootstrap("scott").fit(Z, weights)
    assert np.isclose(law.factor_, 30 ** (-1 / 8))
    assert np.allclose(law.covariance_, 30 ** (-2 / 8) * np.cov(Z.T))
    assert law.sample(500, 0)[1].max() < 30


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernel", ["global", "local"])
def test_bandwidth_zero_is_the_plain_bootstrap(Z, dtype, kernel):
    codes = Z.astype(dtype)
    draws, seeds = SmoothedBootstrap(0, kernel=kernel).fit(codes).sample(1000, 0)
    assert draws.dtype == dtype and draws.tobytes() == codes[seeds].tobytes()


@pytest.mark.parametrize("h", [0.3, 1.0, 10.0])
def test_covariance_of_draws(Z, h):
    draws, seeds = SmoothedBootstrap(h).fit(Z).sample(200_000, 0)
    expected = np.cov(Z.T, bias=True) + h**2 * np.cov(Z.T)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.abs((np.cov(draws.T) - expected) / scale).max() < 0.02
    noise = draws - Z[seeds]
    assert np.abs(noise.mean(axis=0) / noise.std(axis=0)).max() < 0.02
    assert np.abs(np.cov(noise.T) / h**2 - np.cov(Z.T)).max() < 0.02 * np.diag(np.cov(Z.T)).max()


def test_noise_is_independent_of_the_seed(Z):
    draws, seeds = SmoothedBootstrap(1.0).fit(Z).sample(100_000, 0)
    noise = draws - Z[seeds]
    assert np.abs([np.corrcoef(noise[:, i], Z[seeds, i])[0, 1] for i in range(4)]).max() < 0.015


def test_same_distribution_as_scipy(Z):
    ours = SmoothedBootstrap("silverman").fit(Z).sample(4000, 0)[0]
    theirs = gaussian_kde(Z.T, bw_method="silverman").resample(4000, 1).T
    directions = np.random.default_rng(4).normal(size=(4, 5))
    assert min(ks_2samp(a, b).pvalue for a, b in zip((ours @ directions).T, (theirs @ directions).T)) > 1e-3


def test_seeds_follow_the_weights():
    p = np.array([0.5, 0.3, 0.15, 0.05, 0.0])
    counts = np.bincount(draw_seeds(p, 50_000, np.random.default_rng(0)), minlength=5)
    assert counts[4] == 0 and chisquare(counts[:4], 50_000 * p[:4]).pvalue > 1e-3


def test_shuffle():
    law = SmoothedBootstrap(0.1).fit(np.arange(50.0)[:, None])
    mixed = law.sample(1000, 0)[1]
    grouped = clone(law).set_params(shuffle=False).fit(np.arange(50.0)[:, None]).sample(1000, 0)[1]
    assert (np.diff(grouped) >= 0).all() and not (np.diff(mixed) >= 0).all()
    assert abs(np.corrcoef(np.arange(1000), mixed)[0, 1]) < 0.15


def test_same_seed_same_draws_and_streams_continue(Z):
    law = SmoothedBootstrap().fit(Z)
    assert (law.sample(100, 5)[0] == law.sample(100, 5)[0]).all()
    assert (law.sample(100, 5)[0] != law.sample(100, 6)[0]).any()
    rng = np.random.default_rng(5)
    first, second = law.sample(10, rng)[0], law.sample(10, rng)[0]
    assert (first != second).any()
    state = np.random.get_state()[1].copy()
    law.sample(10)
    assert (np.random.get_state()[1] == state).all()            # global state is left alone


@pytest.mark.parametrize("n", [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1])
def test_block_borders(Z, n):
    draws, seeds = SmoothedBootstrap(0.5).fit(Z).sample(n, 0)
    assert draws.shape == (n, 4) and seeds.shape == (n,) and np.isfinite(draws).all()
    assert n == 0 or (draws != Z[seeds]).any(axis=1).all()      # every row got noise


def test_fast_normals():
    pooled = []
    for seed in range(20):
        g = fast_normals((250, 40), np.random.default_rng(seed)).astype(float)
        assert g.shape == (250, 40)
        assert np.abs(np.corrcoef(g.T) - np.eye(40)).max() < 0.35
        pooled.append(g.ravel())
    g = np.concatenate(pooled)
    assert kstest(g, "norm").pvalue > 1e-3
    assert abs(g.mean()) < 4 / np.sqrt(len(g)) and abs(g.var() - 1) < 4 * np.sqrt(2 / len(g))
    assert np.isclose((np.abs(g) > 3).mean(), 0.0027, rtol=0.15)


class Zeros:
    "The extreme bits that a generator can give."

    def __init__(self, value):
        self.value = value

    def integers(self, low, high, size, dtype):
        return np.full(size, self.value, dtype)


@pytest.mark.parametrize("bits", [0, 2**64 - 1])
def test_fast_normals_at_the_extremes(bits):
    assert np.isfinite(fast_normals(6, Zeros(bits))).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 10**6))
def test_roots_of_any_rank(n, d, seed):
    X = np.random.default_rng(seed).normal(size=(n, d))
    C = X.T @ X / n
    R = covariance_root(C)
    assert np.allclose(R.T @ R, C, atol=1e-10)
    assert np.linalg.matrix_rank(R) <= min(n, d)


def test_singular_clouds_stay_in_their_plane():
    line = np.linspace(0, 1, 100)
    codes = np.c_[line, 3 * line, np.full(100, 7.0)]
    draws, _ = SmoothedBootstrap(0.5).fit(codes).sample(1000, 0)
    assert np.allclose(draws[:, 1], 3 * draws[:, 0], atol=1e-5) and (draws[:, 2] == 7).all()
    assert draws[:, 0].std() > 1.05 * line.std()


def test_one_row_and_equal_rows():
    draws, seeds = SmoothedBootstrap().fit([[1.0, 2.0]]).sample(5, 0)
    assert (draws == [1, 2]).all() and (seeds == 0).all()
    draws, _ = SmoothedBootstrap(kernel="local").fit(np.ones((20, 3))).sample(5, 0)
    assert (draws == 1).all()


def test_local_kernel_follows_the_ring():
    angle = np.random.default_rng(6).uniform(0, 2 * np.pi, 600)
    ring = np.c_[np.cos(angle), np.sin(angle)]
    off, energy = {}, {}
    for kernel in ("global", "local"):
        draws, seeds = SmoothedBootstrap(0.2, kernel=kernel, n_neighbors=15).fit(ring).sample(40_000, 0)
        off[kernel] = np.abs(np.hypot(*draws.T) - 1).mean()
        energy[kernel] = ((draws - ring[seeds]) ** 2).sum(axis=1).mean()
    assert off["local"] < 0.4 * off["global"]
    assert np.isclose(energy["local"], energy["global"], rtol=0.03)


def test_local_kernel_equals_global_on_duplicates_only():
    codes = np.repeat([[0.0, 0.0], [4.0, 1.0]], 30, axis=0)
    law = SmoothedBootstrap(0.5, kernel="local", n_neighbors=10).fit(codes)
    draws, seeds = law.sample(50_000, 0)
    noise = draws - codes[seeds]
    assert np.allclose(np.cov(noise.T), law.covariance_, rtol=0.05, atol=0.01)


def test_local_with_all_neighbours_is_the_global_kernel(Z):
    law = SmoothedBootstrap(0.5, kernel="local", n_neighbors=300).fit(Z)
    covariances = np.einsum("nji,njk->nik", law.roots_, law.roots_)
    assert np.allclose(covariances, law.covariance_, rtol=1e-3, atol=1e-4 * np.trace(law.covariance_))


def test_log_density_equals_scipy_and_uses_weights(Z):
    at = Z[:40] + 0.3
    assert np.allclose(SmoothedBootstrap("scott").fit(Z).log_density(at), gaussian_kde(Z.T).logpdf(at.T))
    only = np.zeros(300)
    only[3] = 1
    law = SmoothedBootstrap(0.5).fit(Z, only)
    assert np.allclose(law.log_density(at), multivariate_normal(Z[3], law.covariance_).logpdf(at))
    for flat in (SmoothedBootstrap(0).fit(Z), SmoothedBootstrap().fit(Z[:3])):
        with pytest.raises(InputError, match="rank"):
            flat.log_density(at)


@pytest.mark.parametrize("options", [
    {}, {"bandwidth": np.float64(0.2)}, {"kernel": "local", "n_neighbors": np.int64(9)}, {"shuffle": False},
])
def test_state_round_trip(Z, options):
    law = SmoothedBootstrap(**options).fit(Z.astype(np.float32), np.arange(300))
    config, arrays = law.get_state()
    twin = SmoothedBootstrap.from_state(json.loads(json.dumps(config)), arrays)
    assert all((a == b).all() for a, b in zip(law.sample(500, 3), twin.sample(500, 3)))
    assert twin.get_params() == law.get_params() and twin.factor_ == law.factor_
    assert all(isinstance(value, np.ndarray) and value.dtype != object for value in arrays.values())


def test_codes_are_copied():
    codes = np.random.default_rng(7).normal(size=(20, 2))
    law, before = SmoothedBootstrap().fit(codes), codes.copy()
    draws, _ = law.sample(50, 0)
    draws[:] = 0
    assert (codes == before).all() and (law.codes_ == before).all()
    codes[:] = 99
    assert (law.codes_ == before).all()


@pytest.mark.parametrize("options, call, words", [
    ({"bandwidth": "wide"}, {"Z": np.eye(3)}, "bandwidth"), ({"bandwidth": -1}, {"Z": np.eye(3)}, "bandwidth"),
    ({"bandwidth": np.nan}, {"Z": np.eye(3)}, "bandwidth"), ({"kernel": "round"}, {"Z": np.eye(3)}, "kernel"),
    ({"kernel": "local", "n_neighbors": 1}, {"Z": np.eye(3)}, "n_neighbors"),
    ({}, {"Z": np.ones(3)}, "matrix"),
    ({}, {"Z": np.ones((0, 3))}, "matrix"),
    ({}, {"Z": [[np.nan, 1.0]]}, "row 0, column 0"),
    ({}, {"Z": [["a", "b"]]}, "numbers"),
    ({}, {"Z": np.eye(3), "weights": [1, 2]}, "weights"),
    ({}, {"Z": np.eye(3), "weights": [0, 0, 0]}, "weights"), ({}, {"Z": np.eye(3), "weights": [1, -1, 1]}, "weights"),
    ({}, {"Z": np.eye(3), "weights": [1, np.inf, 1]}, "weights"),
])
def test_bad_input(options, call, words):
    with pytest.raises(InputError, match=words):
        SmoothedBootstrap(**options).fit(**call)


@pytest.mark.parametrize("n", [-1, 2.5, "3", None])
def test_bad_number_of_draws(n):
    with pytest.raises(InputError, match="n_samples"):
        SmoothedBootstrap().fit(np.eye(3)).sample(n)


def test_docstring_example():
    import doctest

    import augment_lib.bootstrap as module
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
