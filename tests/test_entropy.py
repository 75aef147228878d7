"""entropy: neighbours against brute force in exact arithmetic, ties and duplicates, labels of any kind, engines that agree, bad input."""
import importlib.util
import sys
import tracemalloc
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from scipy import sparse
from sklearn.datasets import make_moons
from sklearn.neighbors import NearestNeighbors

from augment_lib import entropy as module
from augment_lib.core import InputError
from augment_lib.entropy import (EntropyWeighting, distinct_rows, entropy_bits, entropy_terciles, entropy_weights, in_threads, local_entropy,
                                 neighbour_counts, neighbourhoods, rows_at_once, shares_of_places)
from augment_lib.weighting import resolve_weighting

faiss_is_here = pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="the optional package faiss is not installed")


def exact_counts(X, y, k, at=None):
    "Neighbours per class of whole-number rows in exact arithmetic, unscaled; ties at the border share the places left."
    rows, labels = [tuple(map(int, row)) for row in X], np.unique(y)
    result = []
    for i, place in enumerate(rows if at is None else [tuple(map(int, row)) for row in at]):
        others = [(sum((a - b) ** 2 for a, b in zip(place, row)), label) for j, (row, label) in enumerate(zip(rows, y)) if at is not None or j != i]
        border = sorted(square for square, _ in others)[k - 1]
        inside = [label for square, label in others if square < border]
        on = [label for square, label in others if square == border]
        share = Fraction(k - len(inside), len(on))
        result.append([float(inside.count(label) + share * on.count(label)) for label in labels])
    return np.array(result)


def plain_counts(X, y, k, standardize=True):
    "Neighbours per class from the full distance matrix, without ties."
    spread = X.std(axis=0)
    Z = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1) if standardize else X
    square = np.square(Z[:, None] - Z).sum(axis=2)
    np.fill_diagonal(square, np.inf)
    near = np.argsort(square, axis=1)[:, :k]
    return np.stack([(y[near] == label).sum(axis=1) for label in np.unique(y)], axis=1)


def table(n=300, d=8, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    return rng.normal(size=(n, d)) + y[:, None] * 0.5, y


@st.composite
def whole_numbers(draw):
    "Small tables of small whole numbers, full of ties and equal rows, with at least two rows and two classes."
    n, d, levels = draw(st.integers(4, 30)), draw(st.integers(1, 9)), draw(st.integers(1, 4))
    cells = st.integers(0, levels)
    X = np.array(draw(st.lists(st.lists(cells, min_size=d, max_size=d), min_size=n, max_size=n)))
    y = np.array(draw(st.lists(st.integers(0, draw(st.integers(1, 4))), min_size=n, max_size=n)))
    X[0], y[:2] = X[1] + 1, (0, 1)                                        # rows differ, classes differ
    return X, y, draw(st.integers(1, n - 1))


# ---- the count

@settings(max_examples=100, deadline=None)
@given(whole_numbers())
def test_counts_equal_exact_arithmetic_with_all_ties_and_duplicates(case):
    X, y, k = case
    counts, labels = neighbour_counts(X, y, k, standardize=False)
    expected = exact_counts(X, y, k)
    assert np.allclose(counts, expected, atol=1e-9) and labels.tolist() == np.unique(y).tolist()
    assert np.allclose(counts.sum(axis=1), k)
    assert np.allclose(local_entropy(X, y, k, standardize=False), entropy_bits(expected), atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(whole_numbers(), st.integers(0, 2**31))
def test_order_of_rows_and_chunks_do_not_matter(case, seed):
    X, y, k = case
    order = np.random.default_rng(seed).permutation(len(X))
    counts = neighbour_counts(X, y, k)[0]
    assert np.allclose(neighbour_counts(X[order], y[order], k)[0], counts[order], atol=1e-9)
    assert np.allclose(neighbour_counts(X, y, k, chunk_rows=1 + seed % 5)[0], counts, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(whole_numbers(), st.integers(0, 2**31))
def test_counts_at_other_places_leave_nobody_out(case, seed):
    X, y, k = case
    at = np.random.default_rng(seed).integers(-1, 5, (5, X.shape[1]))
    assert np.allclose(neighbour_counts(X, y, k, standardize=False, at=at)[0], exact_counts(X, y, k, at), atol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 7, 8, 60])
@pytest.mark.parametrize("k", [1, 5, 15])
def test_counts_of_measured_columns_equal_brute_force(d, k):
    X, y = table(d=d)
    X = X * 10.0 ** np.arange(-3, d - 3).clip(-3, 3) + 100
    assert (neighbour_counts(X, y, k)[0] == plain_counts(X, y, k)).all()


def test_the_largest_neighbourhood_is_everybody_else():
    X, y = table(n=60)
    counts = neighbour_counts(X, y, 59)[0]
    assert (counts == np.bincount(y) - np.eye(3)[y]).all()


def test_a_far_row_does_not_spoil_the_digits_of_the_others():
    X, y = table(n=200, d=20)
    X[0] = 1e9
    assert (neighbour_counts(X, y, 15, standardize=False)[0][1:] == plain_counts(X[1:], y[1:], 15, standardize=False)).all()


# ---- duplicates

def test_a_row_is_left_out_by_identity_not_by_place():
    X = np.r_[np.zeros((3, 10)), np.full((3, 10), 9.0)]
    y = np.array([0, 1, 1, 0, 0, 1])
    counts = neighbour_counts(X, y, 2)[0]
    assert counts.tolist() == [[0, 2], [1, 1], [1, 1], [1, 1], [1, 1], [2, 0]]      # the two twins of each row, never itself


@pytest.mark.parametrize("d", [3, 12])
def test_more_twins_than_neighbours_still_gives_k_others(d):
    rng = np.random.default_rng(0)
    X = np.r_[np.zeros((40, d)), rng.normal(5, 1, (40, d))]
    y = np.r_[np.repeat([0, 1], [30, 10]), rng.integers(0, 2, 40)]
    counts = neighbour_counts(X, y, 15)[0]
    assert np.allclose(counts.sum(axis=1), 15)
    assert np.allclose(counts[:30], [15 * 29 / 39, 15 * 10 / 39]) and np.allclose(counts[30:40], [15 * 30 / 39, 15 * 9 / 39])


def test_plain_recipe_depends_on_the_order_where_ours_does_not():
    X, (a, b) = np.repeat([[0.0] * 9, [1.0] * 9], 20, axis=0), ([0] * 10 + [1] * 10, [0, 1] * 10)
    plain = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(X).kneighbors(X, return_distance=False)[:, 1:]
    shares = [np.array(2 * labels)[plain][:20].mean() for labels in (a, b)]
    ours = [local_entropy(X, 2 * labels, 5)[:20] for labels in (a, b)]
    assert abs(shares[0] - shares[1]) > 0.2 and np.allclose(*ours)


def test_doubling_the_table_doubles_the_neighbourhood():
    X, y = table()
    twice = neighbour_counts(np.r_[X, X], np.r_[y, y], 31)[0]                # the twin, and 15 others twice
    assert (twice[:300] == 2 * plain_counts(X, y, 15) + np.eye(3)[y]).all()


def test_minus_zero_is_zero_and_points_do_not_know_the_order():
    points, group, size = distinct_rows(np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, 3.0]]))
    assert len(points) == 2 and group[0] == group[1] and size[group[0]] == 2
    X = np.random.default_rng(0).integers(0, 3, (50, 2)).astype(float)
    points, group, size = distinct_rows(X)
    again, _, sizes = distinct_rows(X[::-1])
    assert (points == again).all() and (size == sizes).all() and (points[group] == X).all()


# ---- ties

def test_places_given_out_are_k():
    rng = np.random.default_rng(1)
    square, size = rng.integers(0, 6, (200, 12)).astype(float), rng.integers(1, 4, (200, 12))
    need = rng.integers(0, 12, 200)
    share, border = shares_of_places(square, size, need)
    assert np.allclose((share * size).sum(axis=1), need) and (share >= 0).all() and (share <= 1).all()
    assert (share[square > border[:, None]] == 0).all()
    assert np.isinf(shares_of_places(square, size, np.full(200, 99))[1]).all()


def test_a_shell_longer_than_the_candidate_list_is_found_whole():
    X = np.r_[np.zeros((1, 40)), np.eye(40)]                                 # 40 rows equally far from the first, and from each other
    y = np.r_[0, np.repeat([0, 1], [10, 30])]
    counts = neighbour_counts(X, y, 3, standardize=False)[0]
    assert np.allclose(counts[0], [3 * 10 / 40, 3 * 30 / 40])
    assert np.allclose(counts[1], [1 + 2 * 9 / 39, 2 * 30 / 39])             # the centre, then all the others tie


# ---- entropy

@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 20), min_size=3, max_size=3), min_size=1, max_size=10))
def test_entropy_is_bounded_and_knows_no_names(rows):
    counts = np.array(rows)
    H = entropy_bits(counts)
    assert (H >= 0).all() and (H <= np.log2(np.maximum((counts > 0).sum(axis=1), 1)) + 1e-12).all()
    assert np.allclose(entropy_bits(counts[:, ::-1]), H) and np.allclose(entropy_bits(3 * counts), H)
    assert np.allclose(entropy_bits(sparse.csr_array(counts)), H)
    assert (H[(counts > 0).sum(axis=1) <= 1] == 0).all()


def test_counts_given_in_two_parts_are_added():
    parts = sparse.csr_array((np.ones(4), np.array([0, 0, 1, 1]), np.array([0, 4])), shape=(1, 2))
    assert entropy_bits(parts)[0] == 1 and parts.nnz == 4                     # and the caller's matrix is left as it was


@pytest.mark.parametrize("classes", [2, 3, 5, 16])
def test_limits(classes):
    rng = np.random.default_rng(0)
    far = np.repeat(1000 * np.arange(classes)[:, None], 20, axis=0) + rng.normal(size=(20 * classes, 1))
    own = np.repeat(np.arange(classes), 20)
    assert (local_entropy(far, own) == 0).all()                              # one class around
    mixed = np.tile(np.arange(classes + 1), 20)
    even = local_entropy(np.repeat(1000 * np.arange(20)[:, None], classes + 1, axis=0) + rng.normal(size=(20 * (classes + 1), 1)), mixed, classes)
    assert np.allclose(even, np.log2(classes))                               # one of each of the other classes
    at = local_entropy(np.c_[far[:, 0] % 7, far[:, 0] % 11], own, n_neighbors=20 * classes - 1, at=np.zeros((1, 2)), normalize=True)
    assert 0.99 < at[0] <= 1


def test_gravel_of_classes_smaller_than_k():
    X, y = table(n=100)
    y = np.arange(100) // 2                                                  # fifty classes of two
    H = local_entropy(X, y)
    assert (H > np.log2(7)).all() and (H <= np.log2(15) + 1e-12).all()
    y = np.r_[np.zeros(99), 1]                                               # a class of one row
    assert local_entropy(X, y)[99] == 0                                      # sees only the others
    assert np.allclose(local_entropy(X, y, normalize=True), local_entropy(X, y))


def test_standardisation():
    X, y = table()
    H = local_entropy(X, y)
    assert np.allclose(local_entropy(X * 10.0 ** np.arange(8) - 3, y), H)
    assert np.allclose(local_entropy(np.c_[X, np.full(300, 0.1)], y), H)      # constant columns drop out
    assert np.allclose(local_entropy(X * 1e200, y), H) and np.allclose(local_entropy(X * 1e-250, y), H)
    assert np.allclose(local_entropy(X * 1e200, y, standardize=False), entropy_bits(plain_counts(X, y, 15, standardize=False)))
    assert not np.allclose(local_entropy(X * 10.0 ** np.arange(8), y, standardize=False), H)


def test_entropy_is_high_where_moons_meet():
    X, y = make_moons(600, noise=0.2, random_state=0)
    H = local_entropy(X, y)
    wrong = NearestNeighbors(n_neighbors=31).fit(X).kneighbors(X, return_distance=False)[:, 1:]
    danger = (y[wrong] != y[:, None]).mean(axis=1)
    assert H[(danger > 0.3) & (danger < 0.7)].mean() > 0.7 > 0.1 > H[danger == 0].mean()


# ---- labels and tables of every kind

def test_kinds_of_label_agree():
    X, codes = table()
    names = np.array(["b", "a", "c"])[codes]
    H = local_entropy(X, codes)
    for y in (names, names.astype(object), names.tolist(), pd.Series(names, index=range(5, 305)), pd.Series(names, dtype="string"),
              pd.Series(pd.Categorical(names, categories=["c", "unused", "a", "b"], ordered=True)), codes.astype(float), codes.astype(np.uint8),
              pd.Series(codes, dtype="Int64"), codes[:, None].ravel() - 7, np.eye(3, dtype=int)[codes]):
        assert np.allclose(local_entropy(X, y), H)
    two = codes > 0
    assert np.allclose(local_entropy(X, two), local_entropy(X, two.astype(int)))
    assert neighbour_counts(X, two)[1].tolist() == [False, True]
    assert neighbour_counts(X, names)[1].tolist() == ["a", "b", "c"]


def test_kinds_of_table_agree():
    X, y = table()
    X[:, 0] = X[:, 0] > 0
    H = local_entropy(X, y)
    frame = pd.DataFrame(X, columns=list("abcdefgh"), index=range(300, 600))
    for same in (frame, frame.astype({"a": bool}), frame.astype({"a": "Int64", "b": "Float64"}), frame.astype(pd.SparseDtype("float", 0.0)),
                 sparse.csr_array(X), sparse.csc_matrix(X), X.tolist(), np.asfortranarray(X), X.astype(object)):
        assert np.allclose(local_entropy(same, y), H)
    assert (local_entropy(X, y) == H).all()


# ---- engines, blocks, threads

@faiss_is_here
@pytest.mark.parametrize("d", [2, 9, 60])
def test_faiss_equals_sklearn(d):
    X, y = table(n=1500, d=d)
    X[200:260] = X[100]                                                       # equal rows
    X[300:400] = X[100] + 1e-9 * np.arange(100)[:, None]                      # and rows that single precision cannot tell apart
    X[500] += 1e4                                                             # and one far away
    assert (neighbour_counts(X, y, method="faiss")[0] == neighbour_counts(X, y, method="sklearn")[0]).all()
    assert (neighbour_counts(X, y, method="faiss", at=X[:50] + 0.1)[0] == neighbour_counts(X, y, method="sklearn", at=X[:50] + 0.1)[0]).all()


@faiss_is_here
@settings(max_examples=30, deadline=None)
@given(whole_numbers())
def test_faiss_equals_exact_arithmetic(case):
    X, y, k = case
    assert np.allclose(neighbour_counts(X, y, k, standardize=False, method="faiss")[0], exact_counts(X, y, k), atol=1e-9)


@pytest.mark.parametrize("there", [True, False])
def test_auto_takes_faiss_for_many_rows_only_if_it_is_there(monkeypatch, there):
    asked = []

    class Index:                                                               # counts as faiss
        def __init__(self, d):
            asked.append(d)

        def add(self, rows):
            self.model = NearestNeighbors(algorithm="brute").fit(rows)

        def search(self, rows, m):
            return self.model.kneighbors(rows, m)

    monkeypatch.setattr(module, "FAISS_ROWS", 200)
    monkeypatch.setattr(module, "installed", lambda name: there)
    monkeypatch.setattr(module, "optional_module", lambda name, *words, **options: type("faiss", (), {"IndexFlatL2": Index}))
    X, y = table()
    H = local_entropy(X, y)
    assert asked == [module.FAISS_WIDTH] * there and np.allclose(H, entropy_bits(plain_counts(X, y, 15)))
    local_entropy(X[:150], y[:150])                                            # few rows
    local_entropy(X[:, :3], y)                                                 # few columns: the tree
    assert asked == [module.FAISS_WIDTH] * there


def test_faiss_absent_is_said_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match="pip install faiss-cpu"):
        local_entropy(*table(), method="faiss")


@pytest.mark.parametrize("n_jobs", [1, 2, -1])
@pytest.mark.parametrize("d", [3, 12])
def test_threads_and_chunks_do_not_change_anything(n_jobs, d):
    X, y = table(d=d)
    counts = neighbour_counts(X, y)[0]
    for chunk_rows in (None, 7, 1000):
        assert (neighbour_counts(X, y, n_jobs=n_jobs, chunk_rows=chunk_rows)[0] == counts).all()
    assert in_threads(lambda block: block * 2, list(range(9)), n_jobs) == list(range(0, 18, 2))


def test_memory_is_bounded_by_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 2**20)
    points = np.random.default_rng(0).normal(size=(6000, 100))
    whole = 6000 * 19 * 100 * 8
    tracemalloc.start()
    neighbourhoods(points, np.ones(6000, int), 15, n_jobs=None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < whole / 4, f"{peak:,} bytes for blocks of 1 MB"
    assert rows_at_once(10, 1, n_jobs=2) == 5 and rows_at_once(10**9, 2**19) == 2


# ---- weights and thirds

@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=20), st.floats(0, 20))
def test_weights_are_the_formula(H, gamma):
    w = entropy_weights(H, gamma)
    assert np.allclose(w, [(1 + h) ** gamma for h in H]) and (w >= 1).all()
    assert (entropy_weights(H, 0) == 1).all() and (entropy_weights(np.zeros(3), gamma) == 1).all()
    assert (np.diff(entropy_weights(np.sort(H), gamma)) >= 0).all()


def test_weighting_object():
    X, y = table()
    w = EntropyWeighting(gamma=2, n_neighbors=7).weights(X, y)
    expected = (1 + local_entropy(X, y, 7)) ** 2
    assert np.allclose(w, expected / expected.mean()) and np.isclose(w.mean(), 1)
    assert (EntropyWeighting(gamma=0).weights(X, y) == 1).all()
    assert resolve_weighting(EntropyWeighting()).get_params()["gamma"] == 2.5


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_each_third_weighs_a_third(values):
    H = np.array(values) / 5
    thirds = entropy_terciles(H)
    assert np.allclose(thirds.sum(axis=1), 1) and np.allclose(thirds.mean(axis=0), 1 / 3) and (thirds >= 0).all()
    assert np.allclose(entropy_terciles(H, at=H), thirds)
    for value in np.unique(H):
        assert np.ptp(thirds[H == value], axis=0).max() == 0                  # equal entropies, equal membership
    assert np.allclose(entropy_terciles(H[::-1]), thirds[::-1])
    mean = (thirds * [0, 1, 2]).sum(axis=1)
    assert (np.diff(mean[np.argsort(H, kind="stable")]) >= -1e-12).all()


def test_new_entropies_are_placed_among_the_old():
    H = np.arange(9) / 9
    assert entropy_terciles(H, at=[-1, 0.01, 0.5, 0.95, 7]).argmax(axis=1).tolist() == [0, 0, 1, 2, 2]
    assert np.allclose(entropy_terciles(H, at=[-1, 0.01, 0.5, 0.95, 7]).sum(axis=1), 1)
    assert entropy_terciles(H, at=[]).shape == (0, 3)


# ---- bad input

X, y = table()
BAD = {
    "missing value": (lambda: local_entropy(pd.DataFrame(X, columns=list("abcdefgh")).mask(X > 3), y), r"column '[a-h]' has \d+ missing"),
    "infinite value": (lambda: local_entropy(np.where(X == X[0, 2], np.inf, X), y), "'x2' has 1 infinite"),
    "text column": (lambda: local_entropy(pd.DataFrame({"a": X[:, 0], "town": "Oslo"}), y), "column 'town' holds 'Oslo'"),
    "category": (lambda: local_entropy(pd.DataFrame({"a": X[:, 0], "c": pd.Categorical(["u", "v", "w"] * 100)}), y), "column 'c'.*TableEncoder"),
    "dates": (lambda: local_entropy(pd.DataFrame({"a": X[:, 0], "day": pd.Timestamp("2020-01-01")}), y), "column 'day' holds dates"),
    "one dimension": (lambda: local_entropy(X[:, 0], y), "2D"),
    "no columns": (lambda: local_entropy(X[:, :0], y), "0 feature"),
    "one class": (lambda: local_entropy(X, np.ones(300)), "one class only"),
    "continuous y": (lambda: local_entropy(X, X[:, 0]), "continuous.*DAVID.*pandas.cut"),
    "missing label": (lambda: local_entropy(X, np.where(y == 0, np.nan, y)), "labels are missing"),
    "no y": (lambda: local_entropy(X, None), "requires y"),
    "fewer labels": (lambda: local_entropy(X, y[:299]), "300 rows, y has 299"),
    "several targets": (lambda: local_entropy(X, np.c_[y, y]), "one label per row"),
    "k = n": (lambda: local_entropy(X[:15], y[:15]), "n_neighbors=15 needs at least 16 rows.*X has 15.*n_neighbors=14"),
    "k > n": (lambda: neighbour_counts(X, y, 999), "n_neighbors=999.*n_neighbors=299"),
    "k = 0": (lambda: local_entropy(X, y, 0), "n_neighbors=0"),
    "k not whole": (lambda: local_entropy(X, y, 2.0), "whole number"),
    "k is text": (lambda: local_entropy(X, y, "five"), "n_neighbors='five'"),
    "identical rows": (lambda: local_entropy(np.ones((300, 2)), y), "all 300 rows of X are identical"),
    "unknown engine": (lambda: local_entropy(X, y, method="annoy"), "'auto', 'sklearn', 'faiss'"),
    "no chunk": (lambda: local_entropy(X, y, chunk_rows=0), "chunk_rows=0"),
    "other columns": (lambda: local_entropy(X, y, at=X[:, :3]), "at has 3.*X has 8"),
    "gamma < 0": (lambda: entropy_weights([0.5], -1), "gamma=-1"),
    "gamma nan": (lambda: entropy_weights([0.5], np.nan), "gamma"),
    "gamma too large": (lambda: entropy_weights([0.0, 1.0], 2000), "smaller gamma"),
    "H < 0": (lambda: entropy_weights([0.5, -0.1]), "place 1"),
    "H nan": (lambda: entropy_weights([np.nan]), "place 0"),
    "no entropies": (lambda: entropy_terciles([]), "found 0"),
    "entropies nan": (lambda: entropy_terciles([0.5, np.nan]), "finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_the_cure(case):
    call, message = BAD[case]
    with pytest.raises(InputError, match=message):
        call()
