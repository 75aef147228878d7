"""The ML teacher: estimator checks, the three containers, modes, labels, limits, warnings, interrupts."""
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from imblearn.utils.estimator_checks import parametrize_with_checks as imblearn_checks
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_friedman1
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks as sklearn_checks

from augment_lib.core import InputError, ModelFileError
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


# ---- saved and loaded

class Odd(Ridge):
    "A teacher of no library."


FEATURES = {"noise": "noise", "copula": "copula", "interpolation": "interpolation", "david": DAVID(n_epochs=3, weighting="uniform"), "gae": GAE(n_epochs=3, task=None, delta=0),
            "weighted": "noise"}
CHILD = """
import sys, pandas as pd
from pathlib import Path
from augment_lib.ml_teacher import MLTeacher
for folder in sorted(Path(sys.argv[1]).iterdir()):
    sampler = MLTeacher.load(folder)
    new, labels = sampler.sample(25, random_state=3)
    later, _ = sampler.sample(5)
    pd.to_pickle((new, labels, later), folder.parent.parent / f"{folder.name}.said")
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    "Folders of many samplers, what each draws here, and what a new process draws from the folder."
    place, drawn = tmp_path_factory.mktemp("saved"), {}
    X, y = table(40)
    classes = pd.Series(np.where(y > y.median(), "dear", "cheap"), name="kind", dtype="category")
    plans = {f"{task}-{name}": (quick(features=features, cross_fit=True, weighting="density" if name == "weighted" and task == "number" else "uniform"), X, target)
             for name, features in FEATURES.items() for task, target in (("number", y), ("class", classes)) if (task == "class") == (name in ("gae", "interpolation"))}
    plans["class-noise"] = quick(features="noise", cross_fit=True), X, classes
    plans["boosting"] = MLTeacher("boosting", student=None, cv=3, random_state=0), X, y
    plans["own"] = MLTeacher(Teacher(Ridge(), cv=3, cross_fit=True), student=Ridge(), random_state=np.random.RandomState(0)), X[["a", "b"]].to_numpy(float), y.to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, (sampler, X, y) in plans.items():
            sampler.fit(X, y).save(place / "models" / name)
            drawn[name] = sampler, *sampler.sample(25, random_state=3), sampler.sample(5)[0]
    subprocess.run([sys.executable, "-W", "ignore", "-c", CHILD, str(place / "models")], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return place, drawn


def test_a_new_process_draws_the_same_rows(saved):
    place, drawn = saved
    assert len(drawn) == 9
    for name, (sampler, *rows) in drawn.items():
        for here, there in zip(rows, pd.read_pickle(place / f"{name}.said")):
            assert type(here) is type(there) and np.array_equal(np.asarray(here), np.asarray(there)), name
            assert not hasattr(here, "dtypes") or np.array_equal(here.dtypes, there.dtypes)


def test_what_is_restored(saved):
    place, drawn = saved
    for name in ("number-noise", "class-noise", "own", "boosting"):
        sampler, again = drawn[name][0], MLTeacher.load(place / "models" / name)
        assert again.teacher_.code_ == sampler.teacher_.code_ and again.teacher_.error_ == sampler.teacher_.error_ and again.diagnostics_.items() <= sampler.diagnostics_.items()
        assert np.array_equal(again.teacher_.out_of_fold_, sampler.teacher_.out_of_fold_) and (again.teacher_.summary_.candidate == sampler.teacher_.summary_.candidate).all()
        assert str(again.get_params()["teacher"]) == str(sampler.get_params()["teacher"]) and again.task_ == sampler.task_
        if again.teacher_.cross_fit:
            X = again.sample(6, random_state=0)[0]
            assert np.array_equal(again.teacher_.label(X, np.arange(6)), sampler.teacher_.label(X, np.arange(6)))
    X, y = table(40)
    again = MLTeacher.load(place / "models" / "number-noise")
    assert again.fit_resample(X, y)[0].equals(quick(cross_fit=True).fit_resample(X, y)[0]), "a loaded sampler is as good as a new one"
    again.save(place / "second")
    assert MLTeacher.load(place / "second").sample(9, random_state=2)[0].equals(again.sample(9, random_state=2)[0])


def test_damaged_folders_are_named(saved, tmp_path):
    _, drawn = saved
    sampler = drawn["number-noise"][0]
    for number, (file, harm) in enumerate([("config.json", lambda f: f.unlink()), ("config.json", lambda f: f.write_text(f.read_text().replace('"noise_scale": 0.05', '"noise_scale": 0.5'))),
                                           ("arrays.safetensors", lambda f: f.unlink()), ("arrays.safetensors", lambda f: f.write_bytes(f.read_bytes()[:-9] + bytes(9)))]):
        sampler.save(tmp_path / str(number))
        harm(tmp_path / str(number) / file)
        with pytest.raises(ModelFileError, match=f"{number}.{file}"):
            MLTeacher.load(tmp_path / str(number))
    with pytest.raises(InputError, match="exists"):
        sampler.save(tmp_path / "0")
    sampler.save(tmp_path / "0", overwrite=True)
    with pytest.raises(ModelFileError, match="MLTeacher"):
        DAVID.load(tmp_path / "0")


def test_types_of_others_need_trust(tmp_path):
    X, y = make_friedman1(40, random_state=0)
    sampler = MLTeacher(Odd(), student=None, random_state=0).fit(X, y)
    sampler.save(tmp_path / "model")
    kind = f"{Odd.__module__}.Odd"
    with pytest.raises(ModelFileError, match=f"arrays.safetensors.*{kind}"):
        MLTeacher.load(tmp_path / "model")
    assert np.array_equal(MLTeacher.load(tmp_path / "model", trusted=[kind]).sample(5, random_state=0)[1], sampler.sample(5, random_state=0)[1])


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch):
    sampler = quick().fit(*table())
    monkeypatch.setattr("augment_lib.storage.os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        sampler.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
    with pytest.raises(Exception, match="not fitted"):
        quick().save(tmp_path / "model")


def test_without_skops_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    monkeypatch.setitem(sys.modules, "skops", None)
    with pytest.raises(InputError, match="pip install skops"):
        quick().fit(*table()).save(tmp_path / "model")


# ---- teachers that cannot teach

class Broken(Ridge):
    "Fails, or says NaN, always or on rows it has not seen."

    def __init__(self, how="fit"):
        super().__init__()
        self.how = how

    def fit(self, X, y):
        if self.how == "fit":
            raise ValueError("no tools")
        return super().fit(X, y)

    def predict(self, X):
        found = super().predict(X)
        return np.full(len(found), np.nan) if self.how == "nan" else np.where(np.asarray(X)[:, 0] > 100, np.nan, found)


def test_teachers_that_fail_say_so():
    X, y = make_friedman1(60, random_state=0)
    with pytest.raises(InputError, match="no teacher could be fitted: estimator: ValueError: no tools"):
        MLTeacher(Broken("fit")).fit(X, y)
    with pytest.raises(InputError, match="predicts NaN or infinity for .* rows"):
        MLTeacher(Broken("nan")).fit(X, y)
    for dummy, words in ((DummyRegressor(strategy="constant", constant=1.0), "predicts a constant: its labels carry no information"), (DummyRegressor(), "a constant by .*: its labels carry no")):
        with pytest.warns(UserWarning, match=words):
            MLTeacher(dummy, student=None, random_state=0).fit(X, y)
    late = MLTeacher(Broken("late"), student=None, features=Far(), random_state=0).fit(X, y)
    with pytest.raises(InputError, match="predicts NaN or infinity for 3 of 3 rows"):
        late.sample(3)


class Far:
    "Rows from where nobody has been."

    def get_params(self, deep=False):
        return {}

    def fit(self, X, y, rng):
        self.row = X.iloc[:1] + 1000
        return self

    def draw(self, n, rng):
        return pd.concat([self.row] * n, ignore_index=True), np.full(n, -1)


def test_unseen_categories_get_a_label():
    X, y = table()
    teacher = quick(cross_fit=True).fit(X, y).teacher_
    other = X.assign(c="never")
    assert np.isfinite(teacher.predict(other)).all() and np.isfinite(teacher.label(other, np.arange(len(other)))).all()
    rare = pd.concat([X, X.iloc[:1].assign(c="once")], ignore_index=True).assign(c=lambda t: t.c.astype(object))     # in no training part of its own fold
    X_res, y_res = quick(cross_fit=True, noise_scale=0.5, n_synthetic=3.0).fit_resample(rare, np.r_[y, 0.0])
    assert set(X_res.c) <= {"x", "y", "once"} and np.isfinite(y_res).all()


def test_a_draw_that_is_too_large_says_what_it_would_take(monkeypatch):
    import psutil

    X, y = make_friedman1(60, random_state=0)
    sampler = quick(n_synthetic=1000).fit(X, y)
    drawn = []
    monkeypatch.setattr(type(sampler.features_), "draw", lambda self, n, rng: drawn.append(n))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 100_000})())
    with pytest.raises(InputError, match=r"1,000 rows, which would take 0.0 GB; 0.0 GB are free"):
        sampler.sample(1000)
    assert not drawn, "nothing was drawn before it was said"
    with pytest.raises(InputError, match=r"100,000,000,000,000 rows, which would take 24,000,000.0 GB"):
        quick(n_synthetic=10**14).fit_resample(X, y)
