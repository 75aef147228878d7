"""A mixture of bells: its numbers, its draws, and what it does with codes that are flat, few or weighted."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.mixture import GaussianMixture

from augment_lib.core import InputError
from augment_lib.latent import law_from_state, resolve_law
from augment_lib.mixture import Mixture, fit_mixture, flat_components


def clouds(n=300, seed=0, dtype=np.float32):
    """Three clouds of two columns, in shares 1 : 2 : 3."""
    rng = np.random.default_rng(seed)
    cloud = np.repeat([0, 1, 2], [n // 6, n // 3, n - n // 6 - n // 3])
    return (np.array([[0, 0], [10, 0], [0, 20]])[cloud] + rng.normal(size=(n, 2))).astype(dtype)


def two():
    return Mixture.from_parameters([1, 3], [[0.0, 0.0], [5.0, 1.0]], [[[1.0, 0.5], [0.5, 2.0]], [[0.1, 0.0], [0.0, 0.3]]])


# ---- fitting


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_it_is_scikit_learns_mixture(covariance_type):
    Z = clouds()
    law = Mixture(3, covariance_type).fit(Z)
    peer = GaussianMixture(3, covariance_type=covariance_type, reg_covar=1e-6 * Z.var(axis=0, dtype=np.float64).mean(), max_iter=500, random_state=0).fit(Z.astype(float))
    np.testing.assert_allclose(law.weights_, peer.weights_)
    np.testing.assert_allclose(law.means_, peer.means_)
    wanted = peer.covariances_ if covariance_type == "full" else np.stack([np.diag(v) for v in peer.covariances_])
    np.testing.assert_allclose(law.covariances_, wanted)
    np.testing.assert_allclose(law.log_density(Z), peer.score_samples(Z.astype(float)), rtol=1e-8, atol=1e-8)
    assert law.converged_ and len(law.flat_) == 0
    np.testing.assert_allclose(np.sort(law.weights_), [1 / 6, 1 / 3, 1 / 2], atol=0.01)


def test_one_component_is_the_mean_and_the_covariance():
    Z = clouds(dtype=np.float64)
    law = resolve_law("normal").fit(Z)
    np.testing.assert_allclose(law.means_[0], Z.mean(0))
    np.testing.assert_allclose(law.covariances_[0], np.cov(Z.T, bias=True), rtol=1e-5)
    assert law.weights_.tolist() == [1]


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1e4])
def test_the_unit_of_the_codes_does_not_matter(unit):
    Z = clouds(dtype=np.float64)
    one, other = Mixture(3).fit(Z), Mixture(3).fit(Z * unit)
    np.testing.assert_allclose(other.means_, one.means_ * unit, rtol=1e-5, atol=1e-5 * unit)
    np.testing.assert_allclose(other.covariances_, one.covariances_ * unit**2, rtol=1e-4, atol=1e-5 * unit**2)


def test_same_seed_same_bits_and_no_global_state():
    Z, before = clouds(), np.random.get_state()[1].copy()
    a, b = Mixture(4, random_state=3).fit(Z), Mixture(4, random_state=3).fit(Z)
    assert (a.means_ == b.means_).all() and (a.sample(50, 1)[0] == b.sample(50, 1)[0]).all()
    assert (np.random.get_state()[1] == before).all()


def test_weights_make_rows_frequent():
    Z = clouds(600)
    weights = np.where(Z[:, 0] > 5, 0.0, 1.0)                                    # the second cloud does not count
    law = Mixture(2).fit(Z, weights=weights)
    assert (law.means_[:, 0] < 3).all() and np.sort(law.weights_)[0] == pytest.approx(1 / 4, abs=0.06)
    same = Mixture(2).fit(Z, weights=np.full(600, 7.0))
    assert len(same.means_) == 2
    with pytest.raises(InputError, match="weights"):
        Mixture(2).fit(Z, weights=np.ones(5))


# ---- flat codes


def test_a_plane_is_regularised_and_said():
    Z = np.c_[clouds(), np.zeros(300)]
    with pytest.warns(UserWarning, match=r"3 of 3 mixture components are flat.*n_components.*latent_dim"):
        law = Mixture(3).fit(Z)
    drawn = law.sample(500, 0)[0]
    assert law.flat_.tolist() == [0, 1, 2] and np.isfinite(drawn).all() and np.abs(drawn[:, 2]).max() < 0.1


@pytest.mark.parametrize("Z", [np.ones((20, 3)), np.repeat([[0.0, 1.0], [5.0, 5.0]], 10, axis=0), np.full((15, 2), 1e8)], ids=["one point", "two points", "far"])
def test_copies_end_in_a_usable_law(Z):
    with pytest.warns(UserWarning, match="flat"):
        law = Mixture(5).fit(Z)
    drawn = law.sample(100, 0)[0]
    gap = np.abs(drawn[:, None] - np.unique(Z, axis=0)).max(-1).min(1)
    assert np.isfinite(drawn).all() and gap.max() < 0.1 * max(1, Z.std())


def test_one_row_is_a_spike():
    with pytest.warns(UserWarning, match="flat"):
        law = Mixture(1).fit([[3.0, -2.0]])
    np.testing.assert_allclose(law.sample(50, 0)[0], np.tile([3, -2], (50, 1)), atol=0.01)


def test_a_component_that_collapses_for_good_is_refused():
    with pytest.raises(InputError, match=r"no mixture of 3 components fits these 20 codes.*reg_covar=0.*diag"):
        Mixture(3, reg_covar=0).fit(np.ones((20, 2)))


def test_regularisation_is_raised_only_where_it_must():
    found, reg, raised = fit_mixture(clouds(), 3)
    assert reg == 1e-6 and not raised
    assert flat_components(np.array([np.eye(2), np.diag([1, 1e-9])]), 1e-9).tolist() == [1]


def test_healthy_codes_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Mixture(3).fit(clouds())


# ---- drawing


def test_draws_have_the_laws_moments():
    drawn, component = two().sample_components(40_000, 0)
    assert drawn.dtype == np.float32 and np.mean(component == 1) == pytest.approx(0.75, abs=0.01)
    for c, law in enumerate([([0, 0], [[1, 0.5], [0.5, 2]]), ([5, 1], [[0.1, 0], [0, 0.3]])]):
        rows = drawn[component == c]
        np.testing.assert_allclose(rows.mean(0), law[0], atol=0.05)
        np.testing.assert_allclose(np.cov(rows.T), law[1], atol=0.06)


def test_density_is_that_of_scipy():
    Z, law = np.random.default_rng(1).normal(size=(40, 2)) * 3, two()
    wanted = 0.25 * multivariate_normal(law.means_[0], law.covariances_[0]).pdf(Z) + 0.75 * multivariate_normal(law.means_[1], law.covariances_[1]).pdf(Z)
    np.testing.assert_allclose(law.log_density(Z), np.log(wanted), rtol=1e-9)


def test_a_component_can_be_asked_for():
    law = two()
    assert law.sample(500, 0, component=1)[0][:, 0].min() > 3
    asked = np.array([0, 1, 1, 0, 1])
    drawn, component = law.sample_components(5, 0, asked)
    assert (component == asked).all() and (drawn[asked == 1, 0] > 3).all()
    assert law.sample(0, 0, component=1)[0].shape == (0, 2)
    for bad in (2, -1, 0.5, "a", [0, 1], [0, 1, 0, 1, 2], True):
        with pytest.raises(InputError, match="the components 0 to 1"):
            law.sample(5, 0, component=bad)


def test_seeds_are_unknown_and_the_stream_goes_on():
    law, stream = two(), np.random.default_rng(0)
    a, seeds = law.sample(5, stream)
    assert (seeds == -1).all() and not (law.sample(5, stream)[0] == a).any()
    assert (law.sample(5, 3)[0] == law.sample(5, 3)[0]).all()


def test_diagonal_variances_and_weights_that_do_not_sum_to_one():
    law = Mixture.from_parameters([2, 2], [[0.0, 0], [1, 1]], [[1.0, 4], [9, 16]])
    assert law.weights_.tolist() == [0.5, 0.5] and law.covariances_[1].tolist() == [[9, 0], [0, 16]] and law.n_components == 2


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 6), st.sampled_from(["full", "diag"]), st.integers(0, 99), st.integers(0, 3))
def test_any_codes_give_finite_draws(n, d, C, covariance_type, seed, decimals):
    Z = np.round(np.random.default_rng(seed).normal(size=(n, d)), decimals)            # rounding makes copies
    law = Mixture(C, covariance_type, random_state=seed)
    if n < C:
        with pytest.raises(InputError, match=f"n_components={C}, but there are {n} codes"):
            law.fit(Z)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        law.fit(Z)
    assert law.weights_.sum() == pytest.approx(1) and np.linalg.eigvalsh(law.covariances_).min() > 0
    assert np.isfinite(law.sample(30, seed)[0]).all() and np.isfinite(law.log_density(Z)).all()


# ---- state and arguments


def test_state_round_trip_and_clone():
    law = Mixture(3, "diag", 1e-5, np.int64(4)).fit(clouds())
    config, arrays = law.get_state()
    again = law_from_state(json.loads(json.dumps(config)), arrays)
    assert (again.sample(20, 0)[0] == law.sample(20, 0)[0]).all() and again.get_params() == law.get_params()
    assert again.converged_ == law.converged_ and again.flat_.tolist() == law.flat_.tolist()
    assert clone(law).get_params() == law.get_params() and not hasattr(clone(law), "means_")


@pytest.mark.parametrize(
    "options, words",
    [({"n_components": 0}, "n_components=0"), ({"n_components": 2.5}, "n_components=2.5"), ({"covariance_type": "tied"}, "covariance_type='tied'.*'diag'"), ({"reg_covar": -1}, "reg_covar=-1"), ({"n_components": 301}, "n_components=301.*300 codes")],
)
def test_bad_arguments_are_named(options, words):
    with pytest.raises(InputError, match=words):
        Mixture(**options).fit(clouds())


def test_bad_codes_are_named():
    for Z, words in ((np.full((3, 2), np.nan), "row 0, column 0"), (np.zeros(3), r"shape \(3,\)"), (np.empty((0, 2)), r"shape \(0, 2\)")):
        with pytest.raises(InputError, match=words):
            Mixture(1).fit(Z)
