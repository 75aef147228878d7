"""Teachers, the search for one, and the features they label: folds, blends, code, leaks, interrupts; the real TPOT where it is installed."""
import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from augment_lib.core import InputError
from augment_lib.data import duplicate_groups
from augment_lib.mixing import even_seeds
from augment_lib.row_features import CopulaFeatures, NoisyFeatures, SamplerFeatures, interpolated_features
from augment_lib.synthesis import DataSpaceBootstrap
from augment_lib.table import Container
from augment_lib.teacher import Teacher, as_code, blend_weights, choose, fold_numbers, portfolio, prediction_error, teacher_code
from augment_lib.tpot_search import tpot_available, tpot_search

needs_tpot = pytest.mark.skipif(not tpot_available(), reason="TPOT is an extra: pip install 'augment_lib[automl]'")


def mixed_table(n=80, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"a": rng.normal(size=n), "b": rng.integers(0, 9, n), "c": rng.choice(["x", "y", "z"], n), "d": rng.random(n) < 0.3})
    return X, X.a.to_numpy() * 2 + X.b.to_numpy() + 3.0 * (X.c == "x").to_numpy() + rng.normal(0, 0.1, n)


# ---- blending

@given(st.integers(1, 5), st.integers(6, 40), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_blend_is_never_worse_than_its_members_where_it_was_chosen(m, n, seed):
    rng = np.random.default_rng(seed)
    y, P = rng.normal(size=n), rng.normal(size=(m, n, 1))
    w = blend_weights(P, y, False)
    assert np.isclose(w.sum(), 1) and (w >= 0).all()
    assert prediction_error(np.tensordot(w, P, 1), y, False) <= min(prediction_error(p, y, False) for p in P) + 1e-9


def test_blend_weights_agree_with_a_grid():
    rng = np.random.default_rng(3)
    y, P = rng.normal(size=60), rng.normal(size=(2, 60, 1))
    P[0, :, 0] += 0.7 * y
    grid = np.linspace(0, 1, 2001)
    losses = [prediction_error(a * P[0] + (1 - a) * P[1], y, False) for a in grid]
    assert abs(blend_weights(P, y, False)[0] - grid[int(np.argmin(losses))]) < 1e-3
    codes, Q = rng.integers(0, 3, 60), rng.dirichlet(np.ones(3), (2, 60))
    losses = [prediction_error(a * Q[0] + (1 - a) * Q[1], codes, True) for a in grid]
    w = blend_weights(Q, codes, True)
    assert prediction_error(np.tensordot(w, Q, 1), codes, True) <= min(losses) + 1e-4


def test_an_exact_candidate_gets_everything():
    y = np.arange(20.0)
    P = np.stack([y + 1, y, y[::-1]])[:, :, None]
    w, found = choose(P, y, np.arange(20) % 5, False)
    assert w[1] > 1 - 1e-9 and np.allclose(found[:, 0], y)


# ---- folds

@given(st.integers(2, 7), st.integers(2, 30), st.integers(1, 4), st.booleans())
@settings(max_examples=40, deadline=None)
def test_folds_keep_equal_rows_together(cv, n_groups, copies, classes):
    X = pd.DataFrame({"x": np.repeat(np.arange(n_groups), copies), "w": "same"})
    y = np.repeat(np.arange(n_groups) % 2, copies)
    folds = fold_numbers(X, y, cv, classes, 0)
    assert (folds.reshape(n_groups, copies) == folds.reshape(n_groups, copies)[:, :1]).all()
    assert len(set(folds)) == min(cv, n_groups)


@given(st.integers(0, 10**6), st.integers(4, 60), st.integers(2, 20))
@settings(max_examples=40, deadline=None)
def test_folds_are_those_of_hashed_rows(seed, n, values):
    "Equal rows were once found by their hashes; folds, and with them all stored results, must not move."
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"k": rng.integers(0, values, n), "w": rng.choice(["u", "v"], n), "r": rng.choice([0.1, -2.0, 1e300], n), "f": rng.random(n) < 0.5})
    X = X[list(rng.permutation(list(X)))[:rng.integers(1, 5)]]
    groups = pd.util.hash_pandas_object(X, index=False).factorize()[0]
    assert np.array_equal(pd.factorize(duplicate_groups(X))[0], groups)
    if 3 <= groups.max() + 1 < n:
        hashed = np.empty(n, int)
        for number, (_, rows) in enumerate(GroupKFold(3, shuffle=True, random_state=0).split(X, None, groups)):
            hashed[rows] = number
        assert np.array_equal(fold_numbers(X, np.zeros(n), 3, False, 0), hashed)


def test_out_of_fold_predictions_have_not_seen_their_row():
    class Memory(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            self.rows_, self.mean_ = dict(zip(map(tuple, np.asarray(X)), y)), np.mean(y)
            return self

        def predict(self, X):
            return np.array([self.rows_.get(tuple(row), self.mean_ + 1e-6 * row[0]) for row in np.asarray(X)])

    X, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40.0)
    teacher = Teacher(Memory(), cross_fit=True, random_state=0)
    teacher.fit(X, y)
    assert np.allclose(teacher.predict(X), y)                                        # it knows them all
    assert not np.isclose(teacher.out_of_fold_, y).any()                             # and none of those it was judged on
    assert np.allclose(teacher.label(X, np.arange(40)), teacher.out_of_fold_)
    assert np.isclose(teacher.error_, teacher.baseline_error_)                       # of the others it knows the mean


# ---- the teacher

def test_portfolio_on_mixed_columns_and_every_container():
    X, y = mixed_table()
    teacher = Teacher(random_state=0).fit(X, y)
    assert teacher.error_ < 0.5 * teacher.baseline_error_ and set(teacher.summary_.candidate) == {"ridge", "knn", "svr", "forest", "extra_trees", "boosting"}
    assert np.isfinite(teacher.predict(X.assign(c="never seen"))).all()
    with pytest.raises(InputError, match="columns differ"):
        teacher.predict(X.drop(columns="a"))
    assert Teacher("ridge", random_state=0).fit(X[["a", "b"]].to_numpy(), y.tolist()).predict(X[["a", "b"]].to_numpy()).shape == (80,)


def test_code_makes_the_same_teacher_again():
    X, y = mixed_table()
    teacher = Teacher(random_state=0).fit(X, y)
    space = {}
    exec(teacher.code_, space)
    again = sum(w * space["models"][name].fit(X, y).predict(X) for name, w in space["weights"].items())
    assert np.allclose(again, teacher.predict(X))
    many = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 60))).rename(columns=str)
    exec(teacher_code(portfolio(many, "regression", 0), {}), space)                  # nothing is cut short
    assert all(repr(space["models"][k]) == repr(v) for k, v in portfolio(many, "regression", 0).items())
    assert as_code(make_pipeline(StandardScaler(), Ridge(alpha=3)), set()) == "Pipeline(steps=[('standardscaler', StandardScaler()), ('ridge', Ridge(alpha=3))])"


def test_parallel_is_the_same_as_serial():
    X, y = make_friedman1(60, random_state=0)                                          # most of the time is the start of the second process
    one, two = (Teacher(random_state=0, n_jobs=n).fit(X, y) for n in (1, 2))
    assert np.allclose(one.predict(X), two.predict(X)) and np.isclose(one.error_, two.error_)


def test_a_candidate_that_fails_is_left_out(monkeypatch):
    from augment_lib import teacher as module

    class Fails(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            raise ValueError("out of order")

        def predict(self, X):
            return np.zeros(len(X))

    monkeypatch.setattr(module, "portfolio", lambda X, task, seed, only=None: {"bad": Fails(), "good": LinearRegression()})
    X, y = make_friedman1(60, random_state=0)
    teacher = Teacher(random_state=0).fit(X, y)
    assert list(teacher.models_) == ["good"] and "out of order" in teacher.summary_.set_index("candidate").problem["bad"]
    with pytest.raises(InputError, match="out of order"):
        Teacher(Fails()).fit(X, y)


@pytest.mark.parametrize("kind, y, words", [(LogisticRegression(), "numbers", "is a classifier"), (Ridge(), "words", "is a regressor"), ("svr", "words", "no teacher for classification"),
                                            ("best", "numbers", "kind='best'"), (3, "numbers", "no estimator")])
def test_a_teacher_of_the_wrong_kind_is_refused(kind, y, words):
    X, numbers = make_friedman1(40, random_state=0)
    with pytest.raises(InputError, match=words):
        Teacher(kind).fit(X, numbers if y == "numbers" else np.where(numbers > 14, "high", "low"))


def test_constant_teacher_warns():
    X, y = make_friedman1(60, random_state=0)
    with pytest.warns(UserWarning, match="no information"):
        Teacher("knn", random_state=0).fit(np.random.default_rng(0).normal(size=(60, 1)) * 0 + np.arange(60)[:, None] % 2, y)


def test_classes_with_few_rows():
    X, _ = make_friedman1(40, random_state=0)
    y = np.array(["a"] * 37 + ["b"] * 2 + ["c"])
    teacher = Teacher(random_state=0, cross_fit=True).fit(X, y)
    assert np.allclose(teacher.predict_proba(X).sum(axis=1), 1) and teacher.out_of_fold_.shape == (40, 3)
    assert teacher.label(X, np.arange(40)).shape == (40, 3)


# ---- features

@given(st.integers(1, 30), st.integers(0, 100), st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_even_seeds_are_even(n_rows, n, seed):
    counts = np.bincount(even_seeds(n_rows, n, np.random.default_rng(seed)), minlength=n_rows)
    assert counts.sum() == n and np.ptp(counts) <= 1


@pytest.mark.parametrize("maker", [NoisyFeatures(0.2), NoisyFeatures(2.0), NoisyFeatures(0.2, per_column=False), NoisyFeatures(0.2, weighting="density"), CopulaFeatures(),
                                   interpolated_features(), SamplerFeatures(DataSpaceBootstrap())], ids=str)
def test_makers_keep_columns_dtypes_and_ranges(maker):
    X, y = mixed_table()
    X["d"], X["small"] = X.d, X.b.astype(np.uint8)
    X["kind"] = pd.Categorical(X.c)
    X = Container.of(X).to_frame(X)                                                    # plain, as a sampler hands it on
    frame, seeds = maker.fit(X, y, np.random.default_rng(0)).draw(50, np.random.default_rng(1))
    assert frame.shape == (50, X.shape[1]) and (frame.dtypes == X.dtypes).all() and list(frame) == list(X)
    assert seeds.shape == (50,) and seeds.max() < len(X)
    for name in ("a", "b", "small"):
        assert frame[name].between(X[name].min(), X[name].max()).all()
    assert set(frame.c) <= set(X.c) and set(frame.kind) <= set(X.kind)
    assert maker.draw(0, np.random.default_rng(1))[0].shape == (0, X.shape[1])


def test_noise_without_clipping_stays_in_the_dtype():
    X = pd.DataFrame({"u": np.array([0, 255] * 20, dtype=np.uint8), "f": np.linspace(0, 1, 40)})
    frame, _ = NoisyFeatures(3.0, clip=False).fit(X).draw(200, np.random.default_rng(0))
    assert frame.u.dtype == np.uint8 and set(frame.u) & {0, 255} and frame.f.min() < 0
    corner = frame.u[np.arange(200)]
    assert (corner == 0).sum() + (corner == 255).sum() > 50                           # nothing wraps around


# ---- TPOT

def test_without_tpot_the_message_names_the_extra():
    if tpot_available():
        pytest.skip("TPOT is installed")
    X, y = make_friedman1(40, random_state=0)
    with pytest.raises(InputError, match=r"augment_lib\[automl\]"):
        Teacher("tpot").fit(X, y)


def test_interrupted_search_keeps_the_best_and_raises(monkeypatch):
    from augment_lib import teacher as module
    from augment_lib.tpot_search import Found

    monkeypatch.setattr(module, "tpot_search", lambda X, y, *rest: Found(Ridge().fit(X, y), -4.0, 3, 1.0, np.nan, True))
    X, y = make_friedman1(40, random_state=0)
    teacher = Teacher("tpot", random_state=0)
    with pytest.raises(KeyboardInterrupt):
        teacher.fit(X, y)
    assert teacher.interrupted_ and np.isclose(teacher.error_, 2.0) and teacher.predict(X).shape == (40,) and "Ridge" in teacher.code_


@needs_tpot
def test_real_tpot_twice_and_nothing_left():
    me = psutil.Process()
    before = {p.pid for p in me.children(recursive=True)}
    X, y = load_diabetes(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        teachers = [Teacher("tpot", generations=2, population_size=4, random_state=0).fit(X, y) for _ in range(2)]
    assert teachers[0].error_ == teachers[1].error_ and teachers[0].code_ == teachers[1].code_
    assert teachers[0].error_ < teachers[0].baseline_error_
    left = [p for p in me.children(recursive=True) if p.pid not in before and "resource_tracker" not in " ".join(p.cmdline())]
    assert not left and not [c for c in me.net_connections() if c.status == "LISTEN"]


@needs_tpot
def test_real_tpot_interrupted(tmp_path):
    script = tmp_path / "search.py"
    script.write_text("""
import psutil
from sklearn.datasets import load_diabetes
from augment_lib.teacher import Teacher
if __name__ == "__main__":
    teacher = Teacher("tpot", generations=50, population_size=4, random_state=0)
    print("started", flush=True)
    try:
        teacher.fit(*load_diabetes(return_X_y=True))
    except KeyboardInterrupt:
        left = [p for p in psutil.Process().children(recursive=True) if "resource_tracker" not in " ".join(p.cmdline())]
        print("interrupted", getattr(teacher, "interrupted_", None), hasattr(teacher, "models_"), len(left), flush=True)
""")
    child = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    assert child.stdout.readline() == "started\n"
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(25)
    os.kill(child.pid, signal.SIGINT)
    out, _ = child.communicate(timeout=60)
    assert out.split() == ["interrupted", "True", "True", "0"]


@needs_tpot
def test_real_tpot_within_minutes():
    X, y = load_diabetes(return_X_y=True)
    found = tpot_search(X, y, generations=None, population_size=4, max_minutes=0.5)          # a busy machine needs a while to start a worker
    assert found.pipeline is not None and 0 <= found.overshoot < 60
