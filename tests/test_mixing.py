"""The rivals of a teacher: contracts of samplers, the formulas of the papers, honest labels."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.utils.estimator_checks import parametrize_with_checks as imblearn_checks
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks as sklearn_checks
from tables import homes

from augment_lib.core import InputError
from augment_lib.mixing import ADA, CMixup, Distill, NoisyCopies, draw_partners, even_seeds, pull

ALL = [CMixup, ADA, NoisyCopies, Distill]
every = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
# as for the other regression samplers
BY_DESIGN = dict.fromkeys(("check_target_type", "check_samplers_multiclass_ova"), "demands class labels, which a continuous target has not")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::sklearn.exceptions.SkipTestWarning", "ignore::sklearn.exceptions.ConvergenceWarning")
@sklearn_checks([kind(random_state=0) for kind in ALL[:3]] + [Distill(model=LinearRegression(), random_state=0)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::sklearn.exceptions.ConvergenceWarning")
@imblearn_checks([kind(random_state=0) for kind in ALL[:3]], expected_failed_checks=lambda estimator: BY_DESIGN)
def test_imbalanced_learn_checks(estimator, check):
    check(estimator)


@every
def test_mixed_frame_comes_back_as_it_was(kind):
    X, y = homes(80)
    sampler = kind(n_synthetic=2.5, random_state=0)
    X_res, y_res = sampler.fit_resample(X, y)
    assert len(X_res) == 80 + 200 and X_res.dtypes.equals(X.dtypes)
    pd.testing.assert_frame_equal(X_res.iloc[:80], X)
    pd.testing.assert_series_equal(y_res.iloc[:80], y)
    new, origin = X_res[sampler.is_synthetic_], sampler.seed_indices_[80:]
    assert np.ptp(np.bincount(origin, minlength=80)) == 1, "every row is a seed equally often"
    for name in ("area", "rooms", "same"):
        assert X[name].min() <= new[name].min() and new[name].max() <= X[name].max()
    assert set(new.town) <= {"a", "b"} and y.min() <= y_res.min() and y_res.max() <= y.max()
    again = kind(n_synthetic=2.5, random_state=0).fit_resample(X, y)
    pd.testing.assert_frame_equal(again[0], X_res)


@every
def test_refuses_what_is_no_number(kind):
    X, y = homes(80)
    with pytest.raises(InputError):
        kind().fit(X, np.full(80, "word"))
    with pytest.raises(InputError):
        kind().fit(X, np.ones(80))


# ---- C-Mixup

@settings(max_examples=20, deadline=None)
@given(st.integers(2, 30), st.floats(0.05, 5), st.integers(0, 10**6))
def test_partners_follow_the_kernel(n, width, seed):
    rng = np.random.default_rng(seed)
    y, i = rng.normal(size=n), int(rng.integers(n))
    wanted = np.exp(-0.5 * ((y - y[i]) / width) ** 2)
    found = np.bincount(draw_partners(y, np.full(4000, i), width, rng, chunk=700), minlength=n) / 4000
    assert np.abs(found - wanted / wanted.sum()).max() < 0.06


def test_chunks_do_not_matter():
    y = np.random.default_rng(0).normal(size=50)
    seeds = np.arange(50).repeat(3)
    one, other = (draw_partners(y, seeds, 0.3, np.random.default_rng(1), chunk=chunk) for chunk in (7, 10_000))
    assert np.array_equal(one, other)


def test_a_mixture_lies_between_two_rows_and_its_label_too():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = X @ [1.0, -2.0, 0.5]
    new, label = CMixup(bandwidth=1.0, random_state=0).fit(X, y).sample(500)
    assert np.allclose(label, new @ [1.0, -2.0, 0.5]), "on a linear truth mixing is exact"


def test_distances_of_targets_shrink_with_the_kernel():
    X, y = homes(200)
    jumps = []
    for width in (0.05, 0.5, 20.0):
        sampler = CMixup(bandwidth=width, random_state=0)
        _, y_res = sampler.fit_resample(X, y)
        jumps.append(np.abs(y_res.to_numpy()[200:] - y.to_numpy()[sampler.seed_indices_[200:]]).mean())
    assert jumps[0] < jumps[1] < jumps[2]


# ---- ADA

@settings(max_examples=25, deadline=None)
@given(st.integers(3, 25), st.integers(1, 4), st.floats(0.1, 10), st.integers(0, 10**6))
def test_pull_is_the_papers_matrix(n, q, gamma, seed):
    rng = np.random.default_rng(seed)
    rows, A = rng.normal(size=(n, 2)), np.eye(q)[np.r_[np.arange(q), rng.integers(0, q, n)][:n]]
    A = A[:, A.any(axis=0)]
    P, mean = A @ np.linalg.inv(A.T @ A) @ A.T, rows.mean(axis=0)
    factor = np.sqrt(gamma) - 1
    theirs = (rows - mean + factor * P @ (rows - mean)) / (1 + factor * P @ np.ones(n))[:, None] + mean
    assert np.allclose(theirs, pull(rows, P @ rows, np.full(n, gamma)))


def test_ada_moves_features_and_target_alike():
    X = np.random.default_rng(0).normal(size=(100, 2))
    y = X @ [3.0, 1.0]
    sampler = ADA(n_clusters=1, random_state=0).fit(X, y)
    new, label, seeds = sampler._draw_table(100, np.random.default_rng(0))
    inside = ((new.to_numpy() < X.max(axis=0)) & (new.to_numpy() > X.min(axis=0))).all(axis=1) & (label < y.max()) & (label > y.min())
    assert np.allclose(label[inside], (new.to_numpy() @ [3.0, 1.0])[inside], atol=1e-9) and inside.sum() > 50
    ratio = np.linalg.norm(new - X.mean(axis=0), axis=1)[inside] / np.linalg.norm(X[seeds] - X.mean(axis=0), axis=1)[inside]
    assert 0.5 - 1e-9 <= ratio.min() and ratio.max() <= 2 + 1e-9


# ---- copies and distillation

def test_noisy_copies_keep_label_and_seed():
    X, y = homes(500)
    sampler = NoisyCopies(noise=0.2, random_state=0)
    X_res, y_res = sampler.fit_resample(X, y)
    origin = sampler.seed_indices_[500:]
    assert np.array_equal(y_res.to_numpy()[500:], y.to_numpy()[origin])
    step = (X_res.area.to_numpy()[500:] - X.area.to_numpy()[origin]) / X.area.std(ddof=0)
    assert 0.15 < step.std() < 0.21 and abs(step.mean()) < 0.03
    assert 0.05 < np.mean(X_res.town.to_numpy()[500:] != X.town.to_numpy()[origin]) < 0.15, "half of a fifth"


def test_distilled_labels_have_not_seen_their_row():
    X, y = homes(80)
    numbers, model = X[["area", "rooms"]], KNeighborsRegressor(1)
    honest, seen = (Distill(model=model, labels=labels, random_state=0).fit(numbers, y) for labels in ("out_of_fold", "seen"))
    assert np.allclose(seen.out_of_fold_, y) and not np.isclose(honest.out_of_fold_, y).any()
    assert not hasattr(model, "_fit_X"), "the caller's model stays as it was"
    X_res, y_res = Distill(model=model, random_state=0).fit_resample(numbers, y)
    assert set(X_res.area[80:]) == set(X.area), "the rows themselves"


@pytest.mark.parametrize("sampler, said", [(CMixup(bandwidth=0), "bandwidth=0"), (CMixup(concentration=-1), "concentration"), (ADA(strength=0.9), "strength"),
                                           (ADA(n_clusters=0), "n_clusters"), (NoisyCopies(noise=-1), "noise"), (Distill(cv=1), "cv=1"), (Distill(labels="x"), "labels")])
def test_wrong_arguments_say_so(sampler, said):
    with pytest.raises(InputError, match=said):
        sampler.fit(*homes(80))


def test_even_seeds():
    assert sorted(even_seeds(4, 4, np.random.default_rng(0))) == [0, 1, 2, 3]
    assert len(even_seeds(4, 0, np.random.default_rng(0))) == 0 and len(even_seeds(4, 9, np.random.default_rng(0))) == 9
