"""Stratified folds for class labels: every row judged once, no group of equal rows divided, classes spread evenly, the same whatever the labels are called."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augment_lib.core import InputError
from augment_lib.regimes import StratifiedFolds, duplicate_groups


def column(n):
    return pd.DataFrame({"a": np.arange(float(n))})


def folds_of(splits, n):
    "(n,) fold in which each row is judged."
    home = np.full(n, -1)
    for split in splits:
        assert (home[split.test] == -1).all(), "judged twice"
        home[split.test] = split.fold
    return home


@st.composite
def tables(draw):
    "(groups of equal rows, labels, folds): a class has at least two different rows, and one class enough for all folds."
    k, n_classes = draw(st.integers(2, 5)), draw(st.integers(2, 4))
    per_class = [draw(st.integers(k, 12)), *(draw(st.integers(2, 9)) for _ in range(n_classes - 1))]      # groups
    labels = np.repeat(np.arange(n_classes), per_class)
    copies = np.array(draw(st.lists(st.sampled_from([1, 1, 1, 2, 4]), min_size=len(labels), max_size=len(labels))))
    order = np.random.default_rng(draw(st.integers(0, 999))).permutation(copies.sum())
    return np.repeat(np.arange(len(labels)), copies)[order], np.repeat(labels, copies)[order], k


@settings(max_examples=60)
@given(tables(), st.integers(0, 99))
def test_every_row_is_judged_once_and_no_copy_of_it_trains(table, seed):
    groups, y, k = table
    splits = list(StratifiedFolds(k).split(pd.DataFrame({"a": groups, "b": -groups}), y, [seed]))
    assert [s.fold for s in splits] == list(range(k)) and all(s.seed == seed and s.regime == "S" for s in splits)
    assert (folds_of(splits, len(y)) >= 0).all()
    for split in splits:
        assert not set(groups[split.train]) & set(groups[split.test])
        assert sorted([*split.train, *split.test]) == list(range(len(y))) and len(split.test) > 0
        assert set(y[split.train]) == set(y), "every class trains in every fold"


@pytest.mark.parametrize("counts", [(50, 10), (37, 13, 5), (90, 2), (20, 20, 20, 20)])
@pytest.mark.parametrize("k", [2, 5])
def test_classes_are_spread_as_evenly_as_they_go(counts, k):
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    home = folds_of(StratifiedFolds(k).split(column(len(y)), y, [3]), len(y))
    for label, count in enumerate(counts):
        per_fold = np.bincount(home[y == label], minlength=k)
        assert per_fold.max() - per_fold.min() <= 1 and per_fold.sum() == count
    assert np.ptp(np.bincount(home)) <= len(counts)


@pytest.mark.parametrize("names", [["n", "y"], [False, True], [0, 7], pd.Categorical(["n", "y"])], ids=["text", "bool", "far", "categorical"])
def test_names_do_not_matter(names):
    codes = np.random.default_rng(1).permutation(np.repeat([0, 1], [40, 12]))
    labels = pd.Series(names)[codes].reset_index(drop=True) if isinstance(names, pd.Categorical) else np.array(names)[codes]
    plain, other = (list(StratifiedFolds(4).split(column(52), y, [0, 1])) for y in (codes, labels))
    assert len(plain) == len(other) == 8 and all(np.array_equal(a.test, b.test) and np.array_equal(a.train, b.train) for a, b in zip(plain, other))


def test_columns_in_another_order_or_container_give_the_same_folds():
    rng = np.random.default_rng(0)
    X, y = pd.DataFrame(rng.integers(0, 3, (60, 3)), columns=list("abc")), np.repeat([0, 1], 30)
    plain, turned, array = (list(StratifiedFolds(3).split(t, y, [0])) for t in (X, X[["c", "a", "b"]], X.to_numpy()))
    groups = duplicate_groups(X)
    assert len(np.unique(groups)) < 30, "the table does have copies"
    for other in (turned, array):
        for a, b in zip(plain, other):
            assert not set(groups[b.train]) & set(groups[b.test])
    assert all(np.array_equal(a.test, b.test) for a, b in zip(plain, array))


def test_seeds_are_partitions_of_their_own_and_repeat():
    y, regime = np.repeat([0, 1], [40, 20]), StratifiedFolds(4, n_repeats=3)
    many = list(regime.split(column(60), y, range(9)))
    assert sorted({s.seed for s in many}) == [0, 1, 2], "n_repeats is the most that are used"
    alone = list(regime.split(column(60), y, [2]))
    assert all(np.array_equal(a.test, b.test) for a, b in zip(alone, many[8:])), "a seed is the same in any company"
    assert not np.array_equal(folds_of(many[:4], 60), folds_of(many[4:8], 60))


def test_copies_with_different_labels_stay_together():
    X, y = pd.DataFrame({"a": np.repeat(np.arange(20), 2)}), np.tile([0, 1], 20)
    for split in StratifiedFolds(5).split(X, y, [0]):
        assert not set(X.a[split.train]) & set(X.a[split.test]) and np.bincount(y[split.test]).tolist() == [4, 4]


# ---- thinning

def test_large_tables_are_thinned_once_for_all_seeds():
    y = np.random.default_rng(0).permutation(np.repeat(["a", "b", "c"], [900, 95, 5]))
    regime = StratifiedFolds(5, max_rows=200)
    rows = regime.rows(y)
    assert np.array_equal(rows, np.unique(rows)) and dict(zip(*np.unique(y[rows], return_counts=True))) == {"a": 180, "b": 19, "c": 5}, "a class keeps a row per fold, if it has them"
    used = [np.sort(np.concatenate([s.test for s in regime.split(column(1000), y, [seed])])) for seed in (0, 7)]
    assert all(np.array_equal(one, rows) for one in used)
    for split in regime.split(column(1000), y, [0]):
        assert set(split.train) | set(split.test) == set(rows) and not set(split.train) & set(split.test)


@pytest.mark.parametrize("most", [None, 60, 61])
def test_small_tables_are_not_thinned(most):
    assert StratifiedFolds(max_rows=most).rows(np.repeat([0, 1], 30)).tolist() == list(range(60))


def test_thinning_keeps_copies_apart_from_their_twins():
    X, y = pd.DataFrame({"a": np.repeat(np.arange(100), 4)}), np.repeat([0, 1], [300, 100])
    for split in StratifiedFolds(4, max_rows=150).split(X, y, [0]):
        assert not set(X.a[split.train]) & set(X.a[split.test])


# ---- bad input

@pytest.mark.parametrize("regime, y, words", [
    (StratifiedFolds(1), [0, 1] * 6, "n_splits"), (StratifiedFolds(2.5), [0, 1] * 6, "n_splits"), (StratifiedFolds(2, n_repeats=0), [0, 1] * 6, "n_repeats"),
    (StratifiedFolds(2, max_rows=3), [0, 1] * 6, "max_rows"), (StratifiedFolds(2), ["lone"] + ["many"] * 11, "class 'lone' has 1 different row(s)")])
def test_bad_input_is_named(regime, y, words):
    with pytest.raises(InputError) as caught:
        list(regime.split(column(12), np.array(y), [0]))
    assert words in str(caught.value)


def test_what_cannot_be_divided_is_refused():
    twins = pd.DataFrame({"a": [0, 0, 0, 1, 2, 3, 4, 5]})
    with pytest.raises(InputError, match="class 'r' has 1 different"):
        list(StratifiedFolds(2).split(twins, np.array(list("rrrmmmmm")), [0]))      # three rows, all copies of one
    with pytest.raises(InputError, match="n_splits=5"):
        list(StratifiedFolds(5).split(pd.DataFrame({"a": [0, 1, 2, 3] * 3}), np.array([0, 0, 1, 1] * 3), [0]))
    with pytest.raises(ValueError, match="n_splits=5"):
        list(StratifiedFolds(5).split(column(6), np.array([0, 0, 0, 1, 1, 1]), [0]))      # no class has five rows


def test_it_says_what_it_is_for():
    assert StratifiedFolds().task == "classification" and "task" not in repr(StratifiedFolds()) and StratifiedFolds() == StratifiedFolds(5, 10, None)
