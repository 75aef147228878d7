"""AugmentCV: scikit-learn's contract, no leaks, failures as rows, and arithmetic against a slow, obvious version."""
import pickle

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_diabetes, make_classification
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from augment_lib.baselines import SMOGN, WeightedOversampler
from augment_lib.candidates import RareClassScore, resolve_scoring
from augment_lib.choose import AugmentCV
from augment_lib.class_baselines import ClassOversampler
from augment_lib.core import InputError
from augment_lib.methods import Reweight
from augment_lib.models import table_preprocessing
from augment_lib.outer import arrange, corrected_interval, decide, make_folds, nested_gains, partitions


class Twice(BaseEstimator):
    "Every row twice; remembers what it has seen, and can be told to fail."

    seen = []

    def __init__(self, fail_at=None, random_state=None):
        self.fail_at, self.random_state = fail_at, random_state

    def fit_resample(self, X, y):
        if self.fail_at is not None and len(y) >= self.fail_at:
            raise RuntimeError(f"{len(y)} rows are too many for me")
        Twice.seen.append(np.asarray(X)[:, 0].copy())
        return (pd.concat([X, X], ignore_index=True) if hasattr(X, "iloc") else np.concatenate([X, X])), np.concatenate([y, y])


@pytest.fixture(scope="module")
def table():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    return X.iloc[:120].reset_index(drop=True), y.iloc[:120].reset_index(drop=True)


@parametrize_with_checks([AugmentCV(Ridge(), {"twice": Twice()}, cv=2, n_repeats=1, random_state=0),
                          AugmentCV(LogisticRegression(), {"copies": RandomOverSampler()}, cv=2, n_repeats=1, random_state=0)])
def test_scikit_learn(estimator, check):
    check(estimator)


def test_nested_gains_equal_nested_cross_validation_done_by_hand():
    rng = np.random.default_rng(0)
    C, R, K, n_outer = 4, 3, 5, 2
    S, P = rng.normal(size=(C, R, K)), np.full((C, n_outer, K, K), np.nan)
    for r in range(n_outer):
        for j in range(K):
            for k in set(range(K)) - {j}:
                P[:, r, j, k] = rng.normal(size=C)
    chosen, gains = nested_gains(S, P)
    for r in range(n_outer):
        for k in range(K):
            inner = [np.mean([P[c, r, j, k] for j in range(K) if j != k]) for c in range(C)]
            best = 1 + int(np.argmax(inner[1:]))
            assert chosen[r, k] == best and gains[r, k] == S[best, r, k] - S[0, r, k]


def test_pairs_of_folds_serve_both_ways():
    X = pd.DataFrame({"a": np.arange(50)})
    parts = partitions(X, X.a.to_numpy(), 5, 3)
    folds = make_folds(parts, 2)
    assert [sum(f.repeat == r for f in folds) for r in range(3)] == [15, 15, 5]
    for fold in folds:
        left_out = np.concatenate([parts[fold.repeat][k][1] for k in fold.out])
        assert sorted([*fold.train, *left_out]) == list(range(50))
    found = {(f.repeat, f.out, k): (f.repeat, f.out, k) for f in folds for k in f.out}
    numbers = {key: float(i) for i, key in enumerate(found)}
    S, P = arrange(numbers, 3, 5, 2)
    assert np.isfinite(S).all() and S[1, 2] == numbers[1, (2,), 2]
    for r in range(2):
        for j in range(5):
            for k in set(range(5)) - {j}:
                assert P[r, j, k] == numbers[r, (min(j, k), max(j, k)), j]


def test_corrected_interval_by_hand():
    d = np.array([[0.1, 0.3, 0.2, 0.0, 0.4], [0.0, 0.2, 0.2, 0.2, 0.4]])
    mean, error, low, high = corrected_interval(d, 0.25)
    assert np.isclose(mean, 0.2) and np.isclose(error, np.sqrt(0.2 * 1.25 * (0.025 + 0.02) / 2)) and np.isclose(high - mean, 1.8595480 * error) and np.isclose(mean - low, high - mean)      # t with 8 degrees of freedom
    assert corrected_interval(np.c_[d, [np.nan, np.nan]], 0.25) == corrected_interval(d, 0.25)
    assert corrected_interval(np.r_[d, [[np.nan, np.nan, np.nan, np.nan, 9.0]]], 0.25) == corrected_interval(d, 0.25), "a partition with one value has no spread"


@pytest.mark.parametrize("true_gain, adopted", [(-0.5, False), (0.0, False), (0.5, True)])
def test_decision(true_gain, adopted):
    rng = np.random.default_rng(1)
    S = np.stack([np.zeros((10, 5)), true_gain + 0.1 * rng.permutation(np.linspace(-1, 1, 50)).reshape(10, 5)])
    d = decide(S, np.full((2, 10, 5, 5), np.nan))
    assert d.adopted is adopted and d.leader == 1 and np.isclose(d.gain, true_gain, atol=1e-9)
    assert not decide(S, np.full((2, 10, 5, 5), np.nan), n_errors=1e6).adopted


def test_no_row_that_judges_is_seen(table):
    X, y = table
    Twice.seen.clear()
    marked = X.assign(age=np.arange(len(X)) + 0.0)[["age", *X.columns[1:]]]
    search = AugmentCV(Ridge(), {"a": Twice(), "b": Twice()}, cv=4, n_repeats=2, n_outer=1, random_state=0).fit(marked, y)
    parts = partitions(marked, y.to_numpy(), 4, 2, False, search._data[2])
    tests = [{int(i) for i in test} for splits in parts for _, test in splits]
    seen = [{int(v) for v in rows} for rows in Twice.seen]
    whole = [rows for rows in seen if len(rows) < len(X)]
    assert len(whole) == 2 * (2 * 4 + 6), "two candidates: eight training sets and six pairs of folds"
    for rows in whole:
        missing = set(range(len(X))) - rows
        assert sum(test <= missing for test in tests[:4]) in (1, 2) or sum(test <= missing for test in tests[4:]) == 1, "exactly one or two whole folds of a partition are left out"


def test_equal_rows_stay_on_one_side(table):
    X, y = table
    doubled = pd.concat([X, X], ignore_index=True)
    for train, test in partitions(doubled, np.r_[y, y], 5, 1)[0]:
        assert not {i % len(X) for i in train} & {i % len(X) for i in test}


@pytest.mark.parametrize("fail_at, told", [(1, "rows are too many"), (110, "on all rows")])
def test_a_failure_is_a_row(table, fail_at, told):
    X, y = table
    search = AugmentCV(Ridge(alpha=10.0), {"fails": Twice(fail_at)}, cv=3, n_repeats=2, random_state=0, n_errors=0).fit(X, y)      # so strong a penalty that copies help
    row = search.results_.set_index("candidate").loc["fails"]
    assert row.status == "failed" and told in row.error and not search.adopted_ and search.best_name_ == "none" and search.best_augmenter_ is None
    assert search.results_.set_index("candidate").loc["none"].status == "chosen"
    assert np.allclose(search.predict(X), Ridge(alpha=10.0).fit(X, y).predict(X))
    assert any("fails could not be tried" in words for words in search.warnings_)


class Picky(LinearRegression):
    def fit(self, X, y, sample_weight=None):
        if len(y) > 100:
            raise ValueError("no more than 100 rows")
        return super().fit(X, y, sample_weight)


def test_a_model_that_fails_on_augmented_rows(table):
    X, y = table[0].iloc[:90], table[1].iloc[:90]
    search = AugmentCV(Picky(), {"twice": Twice(), "weights": Reweight("density")}, cv=3, n_repeats=1, random_state=0).fit(X, y)
    told = search.results_.set_index("candidate")
    assert told.status["twice"] == "failed" and "100 rows" in told.error["twice"] and search.leader_ == "weights"


def test_weights_can_win_and_reach_the_last_fit(table):
    X, y = table
    weights = np.linspace(1, 3, len(y))

    class Fixed(BaseEstimator):
        def weights(self, X, y):
            return weights[:len(y)]

    search = AugmentCV(LinearRegression(), {"w": Reweight(Fixed())}, cv=3, n_repeats=1, n_errors=-0.0, random_state=0).fit(X, y)
    search.adopted_, search.best_name_ = True, "w"
    search._refit()
    assert np.allclose(search.predict(X), LinearRegression().fit(X, y, weights).predict(X))
    assert len(search.synthetic_table()[1]) == 0, "weights make no rows"


def test_mixed_columns_and_containers(table):
    X, y = table
    mixed = X.assign(sex=np.where(X.sex > 0, "f", "m"), kind=pd.Categorical(np.where(X.bmi > 0, "u", "v")), whole=np.arange(len(X)))
    mixed.index = [f"r{i}" for i in range(len(X))]
    model = make_pipeline(table_preprocessing(), Ridge(alpha=100.0))
    search = AugmentCV(model, [SMOGN(), WeightedOversampler()], cv=3, n_repeats=1, random_state=0).fit(mixed, y)
    assert (search.results_.error == "").all(), search.results_.error.tolist()
    new = search.synthetic_table()[0]
    assert list(new.columns) == list(mixed.columns) and (new.dtypes == mixed.dtypes).all()
    assert search.predict(mixed).shape == (120,)
    array = AugmentCV(Ridge(), [SMOGN()], cv=3, n_repeats=1, random_state=0).fit(X.to_numpy(np.float32), y.tolist())
    assert isinstance(array.synthetic_table()[0], np.ndarray) and array.synthetic_table()[0].dtype == np.float32


@pytest.mark.parametrize("n", [1, 3, 9])
def test_too_few_rows_leave_the_plain_model(table, n):
    X, y = table[0].iloc[:n], table[1].iloc[:n]
    search = AugmentCV(Ridge(), [SMOGN(), WeightedOversampler()], n_repeats=2, random_state=0).fit(X, y)      # samplers need ten rows
    assert search.leader_ is None and not search.adopted_ and (search.results_.error != "").sum() >= 2 and np.isnan(search.gain_)
    assert np.allclose(search.predict(X), Ridge().fit(X, y).predict(X)) and "Nothing could be compared" in search.report().headline


def test_missing_values_leave_the_plain_model(table):
    X, y = table[0].copy(), table[1]
    X.iloc[3, 2] = np.nan
    search = AugmentCV(HistGradientBoostingRegressor(max_iter=3), [WeightedOversampler()], cv=2, n_repeats=1, random_state=0).fit(X, y)
    assert search.results_.set_index("candidate").status.to_dict() == {"none": "chosen", "weightedoversampler": "failed"} and np.isfinite(search.predict(X)).all()


def test_classes(table):
    X, y = make_classification(90, 4, n_informative=3, n_redundant=0, n_classes=3, weights=[0.6, 0.3], random_state=0)
    names = np.array(["low", "mid", "high"])[y]
    search = AugmentCV(LogisticRegression(), {"ros": ClassOversampler("ROS"), "smote": ClassOversampler()}, cv=3, n_repeats=2, random_state=0).fit(X, names)
    assert list(search.classes_) == ["high", "low", "mid"] and set(search.predict(X)) <= set(names) and search.scoring_ == "average_precision"
    report = search.report()
    report._quality = {"copies": 0.0}                       # the forest of the check is asked in the lesson
    assert set(report.figures) == {"gains", "target"} and str(report).startswith(report.headline)
    scorer, proba = RareClassScore(names), search.predict_proba(X)
    assert np.isclose(scorer(search, X, names), np.mean([average_precision_score(names == label, proba[:, i]) for i, label in enumerate(search.classes_)]))


def test_scoring_reaches_the_table(table):
    X, y = table
    for scoring, error_like in (("r2", False), ("neg_mean_absolute_error", True), ("sera", True), (lambda model, X, y: -1.0, False)):
        search = AugmentCV(LinearRegression(), [Twice()], scoring, cv=2, n_repeats=1, random_state=0).fit(X, np.exp(y / 60))
        assert search.error_like_ is error_like and np.isfinite(search.results_.score).all()
    assert search.gain_ == 0 and search.gain_interval_ == (0, 0) and not search.adopted_, "a score that never differs adopts nobody"
    with pytest.raises(InputError, match="is for numbers"):
        resolve_scoring("weighted_mse", "classification", y, LogisticRegression())


def test_splitters_and_groups(table):
    X, y = table
    groups = np.arange(len(X)) // 10
    search = AugmentCV(Ridge(), [Twice()], cv=list(GroupKFold(4).split(X, y, groups)), n_repeats=5, random_state=0).fit(X, y)
    assert len(search.outer_) == 4 and search.fold_scores_.repeat.nunique() == 1
    again = AugmentCV(Ridge(), [Twice()], cv=KFold(3, shuffle=True), n_repeats=4, random_state=0).fit(X, y)
    assert again.fold_scores_.groupby("candidate").size().tolist() == [12, 12]
    with pytest.raises(InputError, match="overlap"):
        AugmentCV(Ridge(), [Twice()], cv=[(np.arange(50), np.arange(40, 90)), (np.arange(50, 120), np.arange(30, 60))]).fit(X, y)


def test_saved_without_the_rows(table):
    X, y = table
    search = AugmentCV(Ridge(), [SMOGN()], cv=2, n_repeats=1, random_state=0).fit(X, y)
    back = pickle.loads(pickle.dumps(search))
    assert np.array_equal(back.predict(X), search.predict(X)) and back.report().headline == search.report().headline and search._data is not None
    assert back.report().quality == {} and back.report().figure("target") is None and len(pickle.dumps(search)) < 200_000
    with pytest.raises(InputError, match="not kept"):
        back.synthetic_table()


def test_inside_other_tools(table):
    X, y = table
    search = AugmentCV(make_pipeline(StandardScaler(), Ridge()), [Twice()], cv=2, n_repeats=1, random_state=0)
    assert len(cross_val_score(search, X, y, cv=2, scoring="r2")) == 2
    assert clone(search).set_params(estimator__ridge__alpha=3.0).estimator[-1].alpha == 3.0
    warned = AugmentCV(RidgeCV(), [Twice()], cv=2, n_repeats=1, random_state=0).fit(X, y).warnings_
    assert any("RidgeCV validates inside" in words for words in warned)
