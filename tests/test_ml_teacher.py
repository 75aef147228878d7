"""The ML teacher: estimator checks, the three containers, modes, labels, limits, warnings, interrupts."""
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from imblearn.utils.estimator_checks import parametrize_with_checks as imblearn_checks
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_friedman1
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks as sklearn_checks

from augment_lib.core import InputError
from augment_lib.david import DAVID
from augment_lib.gae import GAE
from augment_lib.ml_teacher import MLTeacher
from augment_lib.teacher import Teacher

# A quick teacher: the suites fit 43 times. The method adds rows labelled by a model; it does not balance classes, and a continuous target is welcome.
BY_DESIGN = {
    "check_target_type": "demands an error for a continuous target, which this sampler is for",
    "check_samplers_multiclass_ova": "demands that one-hot labels give the same rows as plain ones",
}


def quick(**settings):
    return MLTeacher("knn", **({"student": None, "random_state": 0} | settings))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::sklearn.exceptions.SkipTestWarning")
@sklearn_checks([quick(), quick(task="regression")])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::UserWarning")
@imblearn_checks([quick(task="regression")], expected_failed_checks=lambda estimator: BY_DESIGN)
def test_imbalanced_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::UserWarning")
@imblearn_checks([quick()], expected_failed_checks=lambda estimator: BY_DESIGN)
def test_imbalanced_learn_checks_of_classes(estimator, check):
    check(estimator)


# ---- containers and modes

def table(n=60, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"a": rng.normal(size=n), "b": rng.integers(0, 9, n), "c": pd.Categorical(rng.choice(["x", "y"], n)), "d": pd.array(rng.integers(0, 5, n), dtype="Int64")})
    return X, pd.Series(X.a * 2 + X.b + rng.normal(0, 0.1, n), name="price")


@pytest.mark.parametrize("mode", ["add", "mix", "replace"])
def test_modes_keep_containers(mode):
    X, y = table()
    sampler = quick(mode=mode, n_synthetic=1.5)
    X_res, y_res = sampler.fit_resample(X, y)
    n = {"add": 150, "mix": 60, "replace": 90}[mode]
    assert len(X_res) == len(y_res) == n and (X_res.dtypes == X.dtypes).all() and y_res.name == "price"
    originals = ~sampler.is_synthetic_
    assert X_res[originals].equals(X.iloc[sampler.seed_indices_[originals]]) and sampler.is_synthetic_.any()
    if mode == "add":
        assert X_res.iloc[:60].equals(X) and y_res.iloc[:60].equals(y)
        assert (np.bincount(sampler.seed_indices_[60:], minlength=60) >= 1).all()


@pytest.mark.parametrize("wrap", [np.asarray, pd.DataFrame, sparse.csr_matrix, sparse.coo_array, list])
def test_array_like_features(wrap):
    X, y = make_friedman1(40, random_state=0)
    X_res, y_res = quick(n_synthetic=7).fit_resample(wrap(X) if wrap is not list else X.tolist(), y.tolist() if wrap is list else y)
    assert np.shape(X_res) == (47, 10) and len(y_res) == 47 and isinstance(X_res, type(wrap(X[:2])))


def test_the_stream_and_chunks():
    X, y = table()
    sampler = quick().fit(X, y)
    one, two = sampler.sample(20, random_state=1), sampler.sample(20, random_state=1)
    assert one[0].equals(two[0]) and one[1].equals(two[1])
    assert not sampler.sample(20)[0].equals(sampler.sample(20)[0])
    assert sum(len(part) for part, _ in sampler.sample_iter(25, 10)) == 25
    again = pickle.loads(pickle.dumps(sampler)).sample(20, random_state=1)
    assert again[0].equals(one[0])


# ---- labels

def test_labels_are_the_teachers_clipped():
    X, y = make_friedman1(80, random_state=0)
    sampler = quick(noise_scale=0.3).fit(X, y)
    new, labels = sampler.sample(500)
    assert np.allclose(labels, sampler.teacher_.predict(new).clip(y.min(), y.max()))
    steep = MLTeacher(LinearRegression(), clip=False, noise_scale=3.0, student=None, random_state=0).fit(X, y).sample(500)[1]
    assert steep.min() == y.min() and steep.max() == y.max()


@pytest.mark.parametrize("features", ["noise", "copula", "interpolation", DAVID(n_epochs=3, weighting="uniform"), GAE(n_epochs=3, task=None, delta=0)], ids=str)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_features_of_other_systems(features):
    X, y = table()
    sampler = quick(features=features, cross_fit=True)
    X_res, y_res = sampler.fit_resample(X, y)
    assert len(X_res) == 120 and np.isfinite(y_res).all() and (X_res.dtypes == X.dtypes).all()
    assert sampler.get_params()["features"] is features                                    # the caller's object is not fitted


def test_classes_in_every_container():
    X, y = load_iris(return_X_y=True)
    names = np.array(["set", "ver", "vir"])[y]
    for target in (names, pd.Series(names, name="kind"), pd.Series(names, dtype="category"), y, names.tolist()):
        sampler = quick(noise_scale=0.3)
        X_res, y_res = sampler.fit_resample(X, target)
        assert len(X_res) == 300 and type(y_res) is type(target) and set(y_res) == set(target)
        assert sampler.soft_labels_.shape == (300, 3)
    mixed = quick(mode="mix", noise_scale=0.3)
    y_res = mixed.fit_resample(X, names)[1]
    assert len(mixed.soft_labels_) == 150 and (mixed.classes_[mixed.soft_labels_.argmax(axis=1)] == y_res).all()
    onehot = quick().fit_resample(X, np.eye(3, dtype=int)[y])[1]
    assert onehot.shape == (300, 3) and (onehot.sum(axis=1) == 1).all()


def test_cross_fitted_labels_have_not_seen_the_original():
    X, y = load_diabetes(return_X_y=True)
    plain, fair = (MLTeacher("forest", cross_fit=c, noise_scale=0.01, mode="replace", student=None, random_state=0) for c in (False, True))
    errors = [np.sqrt(np.mean((s.fit_resample(X, y)[1] - y[s.seed_indices_]) ** 2)) for s in (plain, fair)]
    assert errors[0] < 0.7 * errors[1]
    assert abs(errors[1] / fair.teacher_.error_ - 1) < 0.1


# ---- bad input

@pytest.mark.parametrize("settings, words", [({"noise_scale": -1}, "noise_scale=-1"), ({"noise_scale": float("nan")}, "noise_scale=nan"), ({"n_synthetic": -1}, "n_synthetic=-1"),
                                             ({"n_synthetic": 10**14}, "GB are free"), ({"features": "tree"}, "features='tree'"), ({"mode": "all"}, "mode='all'"),
                                             ({"task": "ranking"}, "task='ranking'"), ({"teacher": Ridge}, "no estimator"), ({"cv": 1}, "cv=1")])
def test_bad_arguments(settings, words):
    X, y = make_friedman1(40, random_state=0)
    with pytest.raises(InputError, match=words):
        quick(**settings).fit_resample(X, y) if "teacher" not in settings else MLTeacher(**settings).fit(X, y)


def test_a_better_student_is_a_warning():
    X, y = make_friedman1(200, noise=0, random_state=0)
    with pytest.warns(UserWarning, match="rather harm"):
        sampler = MLTeacher(Ridge(alpha=1e5), student=LinearRegression(), random_state=0).fit(X, y)
    assert sampler.diagnostics_["student_error"] < sampler.diagnostics_["teacher_error"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLTeacher("boosting", student=LinearRegression(), random_state=0).fit(*make_friedman1(400, random_state=0))


def test_no_rows_wanted():
    X, y = table()
    X_res, y_res = quick(n_synthetic=0).fit_resample(X, y)
    assert X_res.equals(X) and y_res.equals(y)


def test_interrupt_keeps_the_teacher(monkeypatch):
    def cut(self, X, y):
        self.models_ = {"half": None}
        raise KeyboardInterrupt

    monkeypatch.setattr(Teacher, "fit", cut)
    sampler = quick()
    with pytest.raises(KeyboardInterrupt):
        sampler.fit(*table())
    assert sampler.interrupted_ and sampler.teacher_.models_


def test_a_teacher_object_is_cloned():
    X, y = table()
    given = Teacher("ridge", cv=3)
    sampler = MLTeacher(given, student=None, random_state=0).fit(X, y)
    assert not hasattr(given, "models_") and len(set(sampler.teacher_.folds_)) == 3
    assert clone(sampler).get_params()["teacher"].cv == 3
