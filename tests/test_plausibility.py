"""plausibility: measures of new rows against what they must be for rows whose nature is known."""
import numpy as np
import pandas as pd
import pytest

from augment_lib import plausibility as p
from augment_lib.core import InputError
from augment_lib.simulators import ClassLaw

LAW = ClassLaw("moons", 0.15, (0.8, 0.2))


@pytest.fixture(scope="module")
def data():
    return *LAW.sample(300, random_state=0), *LAW.sample(300, random_state=1)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_every_seed_once_fills_thirds_alike(n_classes):
    X, y = ClassLaw("gaussians", 0.6, (1.0,) * n_classes).sample(120, random_state=0)
    A, = p.encoded(X)
    shares = p.entropy_shares(A, y, A, y, seeds=np.arange(len(A)))
    assert np.allclose(list(shares.values()), 1 / 3)


def test_thirds_count_by_hand():
    line = np.arange(12.0)[:, None]
    y = np.r_[np.zeros(6), np.ones(6)].astype(int)       # entropies rise towards the border between 5 and 6
    border = p.entropy_shares(line, y, line[[6]], [1], n_neighbors=3, seeds=[6])
    safe = p.entropy_shares(line, y, line[[11]], [1], n_neighbors=3, seeds=[11])
    assert border["share_high_entropy"] == 1 and safe["share_high_entropy"] == 0
    assert p.entropy_shares(line, y, line[[6, 11]], [1, 1], n_neighbors=3, seeds=[6, 11])["share_high_entropy"] == 0.5


def test_weighted_seeds_beat_even_seeds(data):
    X, y, *_ = data
    A, = p.encoded(X)
    from augment_lib.entropy import entropy_weights, local_entropy
    rare = np.flatnonzero(y == 1)
    w = entropy_weights(local_entropy(A, y, standardize=False), 2.5)[rare]
    seeds = np.random.default_rng(0).choice(rare, 500, p=w / w.sum())
    assert p.entropy_shares(A, y, A[seeds], y.to_numpy()[seeds], seeds=seeds)["share_high_entropy"] > 0.4


def test_encoding_uses_the_training_rows_only(data):
    X, _, X_held, _ = data
    alone, together = p.encoded(X)[0], p.encoded(X, X_held * 100)
    assert np.array_equal(alone, together[0]) and np.abs(together[1]).max() > 50
    mixed = pd.DataFrame({"a": [0.5, 1, 2], "b": ["u", "v", "u"]})
    assert p.encoded(mixed, mixed.iloc[:0])[1].shape == (0, 3)
    assert np.array_equal(p.encoded(X.to_numpy())[0], alone)
    with pytest.raises(InputError, match="expected the same"):
        p.encoded(X, X.iloc[:, :1])


def test_nearer_other_class_limits():
    law = ClassLaw("moons", 0.4, (0.8, 0.2))
    (X, y), (X_held, y_held) = law.sample(300, random_state=0), law.sample(300, random_state=1)
    A, held = p.encoded(X, X_held)
    assert p.nearer_other_class(A, y, A, y, itself=False) < p.nearer_other_class(A, 1 - y, A, y) == pytest.approx(1 - p.nearer_other_class(A, y, A, y))
    assert np.isnan(p.nearer_other_class(A[:0], [], held, y_held))
    first = p.nearer_other_class(A[y == 1], y[y == 1], held, y_held, random_state=3)
    assert first == p.nearer_other_class(A[y == 1], y[y == 1], held, y_held, random_state=3) and 0 < first < 0.5


def test_nearer_other_class_knows_its_own_row():
    line, y = np.array([[0.0], [1.0], [1.1], [5.0]]), np.array(list("abab"))
    assert p.nearer_other_class(line, y, line, y) == 0                      # every row is its own nearest
    assert p.nearer_other_class(line, y, line, y, itself=True) == 1         # the next one is of the other class


def test_majority_does_not_win_by_number():
    rng = np.random.default_rng(0)
    held, y_held = rng.normal(size=(2000, 2)), np.r_[np.zeros(1900), np.ones(100)].astype(int)   # no difference between the classes
    new = rng.normal(size=(500, 2))
    assert abs(p.nearer_other_class(new, np.ones(500), held, y_held) - 0.5) < 0.08


def test_report_on_rows_of_known_nature(data):
    X, y, X_held, y_held = data
    fresh = LAW.sample(300, random_state=5)
    honest = p.plausibility_report(X, y, fresh[0][fresh[1] == 1], fresh[1][fresh[1] == 1], X_held, y_held)
    copies = p.plausibility_report(X, y, X[y == 1], y[y == 1], X_held, y_held, seeds=np.flatnonzero(y == 1))
    absurd = p.plausibility_report(X, y, X[y == 1] + 9, y[y == 1], X_held, y_held)
    assert copies["copied"] == 1 and honest["copied"] == 0 and copies["n_new"] == (y == 1).sum()
    assert copies["share_high_entropy_seeds"] == pytest.approx(1 / 3)
    assert absurd["two_sample_auc"] > 0.95 and abs(honest["two_sample_auc"] - 0.5) < 0.2
    assert honest == p.plausibility_report(X, y, fresh[0][fresh[1] == 1], fresh[1][fresh[1] == 1], X_held, y_held)


def test_report_says_nan_rather_than_guess(data):
    X, y, X_held, y_held = data
    empty = p.plausibility_report(X, y, X[:0], y[:0], X_held, y_held)
    assert empty["n_new"] == 0 and np.isnan(empty["share_high_entropy"]) and np.isnan(empty["copied"]) and np.isnan(empty["two_sample_auc"])
    few = p.plausibility_report(X, y, X[y == 1][:4], y[y == 1][:4], X_held, y_held)
    assert np.isnan(few["two_sample_auc"]) and np.isfinite(few["nearer_other_class"])
    text = y.map({0: "no", 1: "yes"})
    assert p.plausibility_report(X, text, X[y == 1], text[y == 1])["share_high_entropy"] == p.plausibility_report(X, y, X[y == 1], y[y == 1])["share_high_entropy"]


def test_spearman_prefers_standardised_columns():
    X, y = ClassLaw("moons", 0.2, (0.6, 0.4), extra=2).sample(500, random_state=0)
    truth = ClassLaw("moons", 0.2, (0.6, 0.4)).bayes_entropy(X)
    uneven = X * [1, 1, 100, 100]
    assert p.bayes_spearman(uneven, y, truth) > p.bayes_spearman(uneven, y, truth, standardize=False) + 0.1
    with pytest.raises(InputError, match="one value per row"):
        p.bayes_spearman(X, y, truth[:-1])


class _Says:
    "A classifier that gives the rare class the first share of the places."
    def __init__(self, share):
        self.share, self.classes_ = share, np.array(["common", "rare"])

    def predict(self, X):
        return np.where(np.arange(len(X)) < self.share * len(X), "rare", "common")


@pytest.mark.parametrize("a, b", [(0.1, 0.4), (0.5, 0.5), (1.0, 0.0)])
def test_boundary_shift_is_a_difference_of_shares(a, b):
    places = np.zeros((100, 2))
    assert p.boundary_shift(_Says(a), _Says(b), places, "rare") == pytest.approx(b - a)
    assert p.boundary_shift(_Says(a), _Says(b), places, "common") == pytest.approx(a - b)
    with pytest.raises(InputError, match="expected 'x' among them"):
        p.boundary_shift(_Says(a), _Says(b), places, "x")
