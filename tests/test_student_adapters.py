"""Students of other frameworks: on a fake environment that obeys the folder's rules, and on the real ones where they are there."""
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from augment_lib.core import InputError
from augment_lib.student_adapters import FRAMEWORKS, FrameworkStudent, StudentError, plain_table, student_paths, why_not

STUB = """#!{python}
import json, pathlib, sys, time
import numpy as np, pandas as pd
if sys.argv[1] == "-c": sys.exit({missing})
folder = pathlib.Path(sys.argv[2])
job = json.loads((folder / "job.json").read_text())
train, test = pd.read_parquet(folder / "train.parquet"), pd.read_parquet(folder / "test.parquet")
do = job["options"].get("do")
if do == "sleep": time.sleep(30)
if do == "fail": sys.exit("first line\\nout of ideas")
if do == "silent": sys.exit(0)
assert list(train) == [*test, "target"] and set(job["discrete"]) <= set(test)
numbers = [c for c in test if c not in job["discrete"]]
A = np.c_[np.ones(len(train)), train[numbers]]
beta = np.linalg.lstsq(A, train.target, rcond=None)[0]
found = np.c_[np.ones(len(test)), test[numbers]] @ beta
if do == "nan": found[0] = np.nan
if do == "short": found = found[:-1]
pd.DataFrame({{"prediction": found}}).to_parquet(folder / "prediction.parquet")
(folder / "done.json").write_text(json.dumps({{"seconds": 1.5, "job": job}}))
"""


@pytest.fixture(params=list(FRAMEWORKS))
def framework(request):
    return request.param


@pytest.fixture
def make_root(fake_environment):
    return lambda folder, framework, missing=0: fake_environment(folder, student_paths(framework, folder), STUB, missing)


@pytest.fixture
def root(tmp_path, framework, make_root):
    return make_root(tmp_path, framework)


def table(n=50, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"a": rng.normal(size=n), "k": pd.array(rng.integers(0, 9, n), dtype="Int64"), "flag": rng.random(n) < 0.5,
                      "target": pd.Categorical(rng.choice(["u", "v"], n)), "same": 7})
    return X, pd.Series(3 * X.a + X.k.astype(float), name="price")


def test_files_travel(root, framework):
    X, y = table()
    student = FrameworkStudent(framework=framework, n_epochs=7, minutes=2, options={"x": 1}, root=root, random_state=3).fit(X[:40], y[:40])
    assert np.allclose(student.predict(X[40:]), y[40:])
    job = student.diagnostics_["job"]
    assert job["framework"] == framework and job["n_epochs"] == 7 and job["minutes"] == 2 and job["options"] == {"x": 1} and job["discrete"] == ["c2", "c3"]
    assert job["seed"] == clone(student).fit(X, y)._job["seed"], "an int decides the seed"


@pytest.mark.parametrize("do, said", [("fail", "out of ideas"), ("silent", "no message"), ("nan", "1 of them not finite"), ("short", "9 predictions")])
def test_failures_name_the_framework_and_the_cause(tmp_path, do, said, make_root):
    X, y = table()
    student = FrameworkStudent(framework="h2o", options={"do": do}, root=make_root(tmp_path, "h2o")).fit(X[:40], y[:40])
    with pytest.raises(StudentError, match=said) as error:
        student.predict(X[40:])
    assert "h2o" in str(error.value)


def test_a_student_that_takes_too_long_is_stopped(tmp_path, make_root):
    X, y = table()
    student = FrameworkStudent(framework="autokeras", options={"do": "sleep"}, timeout=1, root=make_root(tmp_path, "autokeras")).fit(X, y)
    with pytest.raises(StudentError, match="timeout=1"):
        student.predict(X)


def test_what_is_missing_is_said(tmp_path, framework, make_root):
    assert "make students" in why_not(framework, tmp_path)
    X, y = table()
    student = FrameworkStudent(framework=framework, root=tmp_path).fit(X, y)
    with pytest.raises(StudentError, match="make students"):
        student.predict(X)
    assert "cannot import" in why_not(framework, make_root(tmp_path, framework, missing=1))


def test_bad_input_is_refused():
    X, y = table()
    with pytest.raises(NotFittedError):
        FrameworkStudent().predict(X)
    for bad, said in ((dict(framework="x"), "framework"), (dict(minutes=-1), "minutes"), (dict(threads=0), "threads")):
        with pytest.raises(InputError, match=said):
            FrameworkStudent(**bad).fit(X, y)
    with pytest.raises(InputError):
        FrameworkStudent().fit(X, ["word"] * 50)


def test_plain_tables_agree_between_training_and_test():
    X, _ = table()
    train, discrete = plain_table(X[["a", "flag"]])
    test, _ = plain_table(X[["a", "flag"]].iloc[:1])
    assert list(train) == list(test) == ["c0", "c1"] and discrete == ["c1"] and test.c1[0] in set(train.c1)
    assert json.loads(json.dumps(discrete)) == ["c1"]


@pytest.mark.parametrize("framework, needed", [("h2o", {"h2o"}), ("autokeras", {"autokeras", "tensorflow-cpu"}), ("autogluon", {"autogluon.tabular", "torch"})])
def test_the_environment_has_what_the_script_imports(framework, needed):
    lines = (Path(__file__).parent.parent / "students" / f"requirements-{framework}.txt").read_text().splitlines()
    named = {re.split(r"[=<>\[]", line)[0].strip() for line in lines if line and not line.startswith("#")}
    brought = {"pandas"} if framework == "autogluon" else set()          # by the framework itself, in a range of its own
    assert needed | {"pandas", "pyarrow"} <= named | brought


def test_the_real_framework(framework):
    reason = why_not(framework)
    if reason:
        pytest.skip(reason)
    X, y = table(200)
    student = FrameworkStudent(framework=framework, n_epochs=20, minutes=0.5, random_state=0).fit(X[:150], y[:150])
    error = np.sqrt(np.mean((student.predict(X[150:]) - y[150:]) ** 2))
    assert error < y.std()
