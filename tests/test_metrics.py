"""metrics: hand-made cases, agreement with scikit-learn and scipy, laws of the errors, checks of synthetic rows."""
import pickle
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from augment_lib import metrics as m
from augment_lib.core import InputError
from augment_lib.weighting import density_weights, effective_sample_size, target_density

KEYS = {"weighted_mse", "mse", "rare_error", "common_error", "mae", "median_absolute_error", "sera", "mape", "mdape",
        "effective_rows", "n_rare"}
SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(0, 1.2, n),
    "pareto": lambda rng, n: rng.pareto(1, n),
    "counts": lambda rng, n: rng.poisson(3, n).astype(float),
    "zeros": lambda rng, n: np.where(rng.random(n) < 0.9, 0, rng.exponential(1, n)),
    "huge": lambda rng, n: 1e100 * rng.normal(size=n),
    "far_from_zero": lambda rng, n: 1e6 + rng.normal(size=n),
}
numbers = st.floats(-1e3, 1e3)
pairs = st.integers(1, 30).flatmap(lambda n: st.tuples(*[arrays(float, n, elements=numbers)] * 2))


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_simple_errors_agree_with_sklearn(pair):
    truth, guess = pair
    assert np.isclose(m.mse(truth, guess), sk.mean_squared_error(truth, guess))
    assert np.isclose(m.mae(truth, guess), sk.mean_absolute_error(truth, guess))
    assert np.isclose(m.median_absolute_error(truth, guess), sk.median_absolute_error(truth, guess))


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(0, 100))
def test_weighted_mse_agrees_with_sklearn(pair, seed):
    truth, guess = pair
    weights = np.random.default_rng(seed).random(len(truth)) + 0.01
    assert np.isclose(m.weighted_mse(truth, guess, weights), sk.mean_squared_error(truth, guess, sample_weight=weights))
    assert np.isclose(m.weighted_mse(truth, guess), m.mse(truth, guess))


def test_percentages_divide_by_the_truth():
    truth, guess = np.array([10.0, 20.0, 40.0]), np.array([11.0, 10.0, 40.0])
    assert np.isclose(m.mape(truth, guess), (0.1 + 0.5 + 0) / 3)
    assert np.isclose(m.mape(truth, guess), sk.mean_absolute_percentage_error(truth, guess))
    assert np.isclose(m.mdape(truth, guess), 0.1)


@pytest.mark.parametrize("smallest,defined", [(0.0, False), (0.49, False), (0.51, True), (-0.49, False), (-0.51, True)])
def test_mape_is_defined_above_five_per_cent_of_the_median(smallest, defined):
    truth = np.array([smallest, 10.0, 10.0, 10.0])
    assert np.isfinite(m.mape(truth, truth + 1)) == defined


def test_mape_follows_the_reference():
    truth = np.array([10.0, 20.0])
    assert np.isfinite(m.mape(truth, truth)) and np.isnan(m.mape(truth, truth, reference=[0.001, 10.0, 20.0]))


def test_paper_metrics_are_the_slips():
    rng = np.random.default_rng(0)
    truth, guess, w = rng.lognormal(size=50), rng.lognormal(size=50), rng.dirichlet(np.ones(50))
    found = m.paper_metrics(truth, guess)
    assert np.isclose(found["wmse_is_mse_over_n"], np.mean(w * ((truth - guess) ** 2).reshape(-1, 1)))
    assert np.isclose(found["mape_over_prediction"], sk.mean_absolute_percentage_error(guess, truth))
    assert found["mae_is_median"] == sk.median_absolute_error(truth, guess)
    assert np.isfinite(m.paper_metrics([1.0, 2.0], [0.0, 0.0])["mape_over_prediction"])


@pytest.mark.parametrize("function", [m.mse, m.mae, m.median_absolute_error, m.weighted_mse, m.mape, m.mdape, m.paper_metrics,
                                      m.regression_report])
@pytest.mark.parametrize("truth,guess,words", [
    ([1.0, 2.0], [[1.0], [2.0]], r"y_pred has shape \(2, 1\)"), ([1.0, 2.0], [1.0], "same number"), ([], [], r"shape \(0,\)"),
    ([1.0, np.nan], [1.0, 2.0], "y_true has 1 missing"), ([1.0, 2.0], [1.0, np.inf], "y_pred has 1 missing"),
    (["a", "b"], [1.0, 2.0], "y_true holds entries"), (1.0, 1.0, "y_true has shape")])
def test_bad_pairs_are_named(function, truth, guess, words):
    with pytest.raises(InputError, match=words):
        function(truth, guess)


# relevance and SERA

def test_relevance_by_hand():
    y = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 30])     # quartiles 3.25, 5.5, 7.75; fence 14.5; the upper whisker ends at 9
    phi = m.extreme_relevance(y)
    assert np.allclose(phi.points, [[5.5, 0], [9, 1]])
    s = (7 - 5.5) / 3.5
    assert np.allclose(phi([0, 5.5, 7, 9, 30]), [0, 0, 3 * s**2 - 2 * s**3, 1, 1])


def test_relevance_on_both_sides_is_symmetric():
    y = np.r_[-30.0, np.arange(-9.0, 10), 30.0]
    phi = m.extreme_relevance(y)
    grid = np.linspace(-40, 40, 401)
    assert np.allclose(phi(grid), phi(-grid)) and phi(0.0) == 0 and phi(30.0) == phi(-30.0) == 1
    assert np.all(np.diff(phi(grid[grid >= 0])) >= 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_relevance_stays_in_bounds(shape):
    y = SHAPES[shape](np.random.default_rng(1), 300)
    phi = m.extreme_relevance(y)
    values = phi(np.linspace(y.min() - np.ptp(y), y.max() + np.ptp(y), 1000))
    assert values.min() >= 0 and values.max() <= 1 and np.isclose(phi(np.median(y)), 0)
    if len(phi.points) == 3:
        assert phi(y.min()) == phi(y.max()) == 1


@pytest.mark.parametrize("points,words", [([(1, 0), (0, 1)], "increasing"), ([(0, 0), (1, 2)], "from 0 to 1"), ([(0, 1)], "at least two"),
                                          ([(0, 0), (np.inf, 1)], "finite"), ([0, 1], "rows")])
def test_bad_points(points, words):
    with pytest.raises(InputError, match=words):
        m.Relevance(points)


@settings(max_examples=40, deadline=None)
@given(pairs, st.integers(0, 1000))
def test_sera_is_the_area_and_falls_with_t(pair, seed):
    truth, guess = pair
    phi = np.random.default_rng(seed).integers(0, 101, len(truth)) / 100      # steps of the curve lie on the grid below
    t = np.arange(0, 100) / 100 + 0.005
    curve = m.ser_curve(truth, guess, phi, t)
    assert np.all(np.diff(curve) <= 1e-9 * (1 + curve[:-1]))
    assert np.isclose(m.sera(truth, guess, phi), curve.mean())               # midpoints are exact for a step function
    direct = [np.sum((truth - guess)[phi >= at] ** 2) for at in t]
    assert np.allclose(curve, direct)
    assert np.isclose(m.sera(truth, guess, np.ones(len(truth))), np.sum((truth - guess) ** 2))
    assert m.sera(truth, truth, phi) == 0


def test_ser_curve_includes_equality():
    assert m.ser_curve([0.0, 0.0], [1.0, 2.0], [0.5, 1.0], [0.0, 0.5, 0.51, 1.0]).tolist() == [5, 5, 4, 4]


@pytest.mark.parametrize("phi", [[0.5], [0.5, 1.1], [-0.1, 0.5], [np.nan, 0.5]])
def test_bad_relevances(phi):
    with pytest.raises(InputError, match="relevances from 0 to 1"):
        m.sera([1.0, 2.0], [1.0, 2.0], phi)


# rarity

@pytest.mark.parametrize("shape", SHAPES)
def test_reference_reads_off_the_density(shape):
    y = SHAPES[shape](np.random.default_rng(2), 400)
    rarity = m.rarity_reference(y)
    exact = target_density(y)
    assert np.allclose(rarity(y), exact, rtol=1e-3)
    if shape not in ("counts", "zeros"):
        assert abs(np.mean(rarity(y) <= rarity.rare_below) - 0.1) <= 0.005
    weights, expected = rarity.weights(y), density_weights(y, clip=0.95)
    assert np.allclose(weights / weights.mean(), expected, rtol=1e-2) and weights.max() <= 1


def test_reference_between_the_rows():
    y = np.random.default_rng(3).lognormal(0, 0.7, 500)
    at = np.linspace(y.min(), np.quantile(y, 0.99), 300)
    assert np.allclose(m.rarity_reference(y)(at), target_density(y, at=at), rtol=0.02)


def test_reference_sees_gaps():
    y = np.r_[np.random.default_rng(0).normal(size=200), 1000 + np.random.default_rng(1).normal(size=200)]
    y = np.r_[y, 1e5]
    rarity = m.rarity_reference(y)
    assert rarity([5e4])[0] < rarity([1e5])[0] < rarity([0.0])[0]      # the void between is emptier than a single row


def test_reference_pickles_and_is_frozen_to_its_sample():
    y = np.random.default_rng(0).gamma(2, size=300)
    rarity = m.rarity_reference(y)
    again = pickle.loads(pickle.dumps(rarity))
    y_test = np.random.default_rng(1).gamma(2, size=50)
    assert m.regression_report(y_test, y_test + 1, rarity=rarity) == pytest.approx(
        m.regression_report(y_test, y_test + 1, rarity=again), nan_ok=True)


def test_rare_and_common_by_hand():
    truth, guess = np.zeros(10), np.arange(10.0)
    density = np.arange(10, 0, -1)                                       # row 9 is the rarest
    assert m.rare_error(truth, guess, density) == 81
    assert m.rare_error(truth, guess, density, share=0.2) == (64 + 81) / 2
    assert m.common_error(truth, guess, density) == np.mean(np.arange(5.0) ** 2)
    assert m.rare_error(truth, guess, lambda y: density) == 81


def test_a_flat_test_part_keeps_the_border_of_the_reference():
    y = np.random.default_rng(0).lognormal(0, 1, 2000)
    rarity, flat = m.rarity_reference(y), np.linspace(0.01, y.max(), 200)
    share = m.regression_report(flat, flat, rarity=rarity)["n_rare"] / 200
    assert share > 0.5                                                    # most of a flat sample is rare in the reference


# the report

@pytest.mark.parametrize("shape", SHAPES)
def test_report_equals_its_parts(shape):
    rng = np.random.default_rng(4)
    y = SHAPES[shape](rng, 200)
    guess, rarity = y + np.std(y / np.abs(y).max()) * np.abs(y).max() * rng.normal(size=200), m.rarity_reference(y)
    weights = rng.random(200)
    report = m.regression_report(y, guess, weights=weights, rarity=rarity)
    assert set(report) == KEYS and all(isinstance(value, float) for value in report.values())
    expected = {"mse": m.mse(y, guess), "weighted_mse": m.weighted_mse(y, guess, weights), "mae": m.mae(y, guess),
                "rare_error": m.rare_error(y, guess, rarity), "common_error": m.common_error(y, guess, rarity),
                "mape": m.mape(y, guess), "mdape": m.mdape(y, guess), "median_absolute_error": m.median_absolute_error(y, guess),
                "effective_rows": effective_sample_size(weights)}
    assert {key: report[key] for key in expected} == pytest.approx(expected, nan_ok=True)
    if np.isfinite(report["sera"]):
        assert np.isclose(report["sera"], m.sera(y, guess, rarity.relevance))
    assert report["sera"] <= 200 * report["mse"] * (1 + 1e-12) or np.isnan(report["sera"])


def test_report_names_are_there_when_numbers_are_not():
    flat = m.rarity_reference(np.arange(50.0))
    report = m.regression_report(np.full(3, 25.0), np.zeros(3), rarity=flat)
    assert set(report) == KEYS and np.isnan([report["sera"], report["rare_error"], report["mape"]]).all() and report["n_rare"] == 0


def test_report_defaults():
    y = np.random.default_rng(0).gamma(2, size=100)
    alone = m.regression_report(y, y * 1.1)
    rarity = m.rarity_reference(y)
    assert alone == pytest.approx(m.regression_report(y, y * 1.1, weights=rarity.weights(y), rarity=rarity), nan_ok=True)
    with pytest.raises(InputError, match="rarity_reference"):
        m.regression_report(y, y, rarity=np.ones(100))
    with pytest.raises(InputError, match="weights"):
        m.regression_report(y, y, weights=np.ones(3))


def test_report_is_fast():
    y = np.random.default_rng(0).lognormal(size=1000)
    rarity, weights, guess = m.rarity_reference(y), density_weights(y), y + 1
    best = np.inf
    for _ in range(50):
        start = perf_counter()
        m.regression_report(y, guess, weights=weights, rarity=rarity)
        best = min(best, perf_counter() - start)
    assert best < 1e-3


# checks of synthetic rows

def cloud(seed, n=200, d=3, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, (n, d))


def test_auc_of_equal_laws_and_of_far_ones():
    model = LogisticRegression()
    assert abs(m.two_sample_auc(cloud(0), cloud(1), model=model) - 0.5) < 0.1
    assert m.two_sample_auc(cloud(0), cloud(1, shift=5.0), model=model) > 0.99
    assert m.two_sample_auc(cloud(0), cloud(1, shift=5.0)) > 0.99


def test_auc_keeps_a_seed_and_its_children_together():
    seen = []

    class Spy(LogisticRegression):
        def fit(self, X, y):
            seen.append(set(X[:, 0].astype(int)))
            return super().fit(X, y)

        def predict_proba(self, X):
            assert not set(X[:, 0].astype(int)) & seen[-1]               # no family on both sides
            return super().predict_proba(X)

    real = np.column_stack([np.arange(60), np.random.default_rng(0).normal(size=60)])
    seeds = np.random.default_rng(1).integers(0, 60, 90)
    auc = m.two_sample_auc(real, real[seeds], seeds, model=Spy())
    assert len(seen) == 5 and 0 <= auc <= 1
    with pytest.raises(AssertionError):
        m.two_sample_auc(real, real[seeds], model=Spy())                 # without seeds the families are torn apart


def test_auc_is_reproducible_and_leaves_global_state():
    state = np.random.get_state()[1].copy()
    assert m.two_sample_auc(cloud(0), cloud(1), random_state=3) == m.two_sample_auc(cloud(0), cloud(1), random_state=3)
    assert np.array_equal(state, np.random.get_state()[1])


@pytest.mark.parametrize("seeds", [np.zeros(3, int), np.full(200, 200), np.full(200, -2), np.zeros(200)])
def test_auc_refuses_bad_seeds(seeds):
    with pytest.raises(InputError, match="seeds"):
        m.two_sample_auc(cloud(0), cloud(1), seeds)


def test_auc_needs_rows():
    with pytest.raises(InputError, match="n_splits=5"):
        m.two_sample_auc(cloud(0), cloud(1, n=4))


@pytest.mark.parametrize("seed", range(3))
def test_energy_distance_in_one_dimension_is_scipys(seed):
    a, b = cloud(seed, 150, 1), cloud(seed + 9, 80, 1, 0.5)
    assert np.isclose(m.energy_distance(a, b), stats.energy_distance(a[:, 0], b[:, 0]) ** 2)


def test_energy_distance_laws():
    a, b = cloud(0, 2500, 2), cloud(1, 300, 2, 1.0)                      # more rows than one chunk
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    d = m.energy_distance(a, b)
    assert d > 0 and np.isclose(d, m.energy_distance(b, a)) and m.energy_distance(b, b[::-1]) < 1e-12
    assert np.isclose(d, m.energy_distance(a @ turn, b @ turn)) and np.isclose(3 * d, m.energy_distance(3 * a, 3 * b))
    by_hand = m.energy_distance(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]))
    assert by_hand == 10                                                 # twice the distance of two points


def test_column_distances():
    real = np.column_stack([cloud(0, 100, 1)[:, 0] * 10, np.repeat([1, 0], 50), np.repeat([0, 1], 50)])
    synthetic = real.copy()
    synthetic[:, 0] += real[:, 0].std()
    synthetic[:20, 1:] = [0, 1]
    table = m.column_distances(real, synthetic, SimpleNamespace(n_numeric=1, blocks=((1, 3),)))
    assert table.kind.tolist() == ["wasserstein", "total_variation"] and np.allclose(table.distance, [1, 0.2])
    assert len(m.column_distances(real, synthetic)) == 3
    assert np.allclose(m.column_distances(np.ones((5, 1)), np.full((5, 1), 3.0)).distance, 2)      # a constant column: own units


def test_nearest_neighbours_by_hand():
    train, held_out = np.array([[0.0], [10.0]]), np.array([[1.0], [20.0]])
    found = m.nearest_neighbour_report(np.array([[0.0], [0.2], [9.0], [19.0]]), train, held_out)
    assert found == pytest.approx({"copies": 0.25, "distance_train": 0.6, "distance_ratio": 0.6 / 1, "closer_to_train": 0.75})


def test_copying_is_seen_and_honesty_is_not_accused():
    honest = [m.nearest_neighbour_report(cloud(s, 500), cloud(s + 50, 400), cloud(s + 90, 150))["closer_to_train"] for s in range(5)]
    assert abs(np.mean(honest) - 0.5) < 0.05
    train = cloud(0)
    report = m.nearest_neighbour_report(train, train, cloud(1))
    assert report["copies"] == report["closer_to_train"] == 1 and report["distance_ratio"] == 0
    assert set(m.nearest_neighbour_report(train, train)) == {"copies", "distance_train"}


@pytest.mark.parametrize("bad,words", [(np.zeros(3), "shape"), (np.full((3, 3), np.nan), "9 missing"), (np.array([["a"] * 3]), "dtype"),
                                       (np.zeros((0, 3)), "shape"), (np.zeros((3, 2)), "2 columns")])
@pytest.mark.parametrize("check", [lambda bad: m.two_sample_auc(cloud(0), bad), lambda bad: m.energy_distance(cloud(0), bad),
                                   lambda bad: m.nearest_neighbour_report(cloud(0), bad), lambda bad: m.column_distances(cloud(0), bad)])
def test_bad_matrices_are_named(check, bad, words):
    with pytest.raises(InputError, match=words):
        check(bad)
