"""The search with a stand-in for TPOT that finds nothing, breaks or is interrupted; and its own cluster where that is hardest to start."""
import contextlib
import multiprocessing
import signal
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
from joblib import Parallel, delayed
from sklearn.linear_model import Ridge

import augment_lib.tpot_search as module
from augment_lib.core import InputError
from augment_lib.tpot_search import loopback_client, tpot_search


def sum_of_a_client():
    "(a sum that a worker of a client in this process has found, how this process started out, children and ports that are left)."
    before = multiprocessing.get_start_method(allow_none=True)
    with loopback_client() as client:
        found = client.submit(sum, [1, 2]).result()
    me = psutil.Process()
    left = [p for p in me.children(recursive=True) if p.status() != "zombie" and "resource_tracker" not in " ".join(p.cmdline())]
    return found, before, len(left), sum(c.status == "LISTEN" for c in me.net_connections())


def test_a_client_starts_in_a_process_of_joblib():
    (found, before, left, ports), = Parallel(n_jobs=2, backend="loky")(delayed(sum_of_a_client)() for _ in range(1))
    assert found == 3 and left == 0 and ports == 0
    assert before not in multiprocessing.get_all_start_methods(), "else this test tests nothing: joblib starts its processes as everybody does"


# ---- a stand-in for TPOT

@pytest.fixture
def stand_in(monkeypatch):
    "Puts a class in TPOT's place whose `fit` is the given function."
    def put(fit):
        estimator = type("TPOTEstimator", (), {"__init__": lambda self, **settings: vars(self).update(settings, evaluated_individuals=None, objective_names=["mse"]), "fit": fit})
        monkeypatch.setattr(module, "_tpot", lambda name="": SimpleNamespace(TPOTEstimator=estimator, get_template_search_spaces=lambda *args, **settings: "space"))
        monkeypatch.setattr(module, "loopback_client", lambda n: contextlib.nullcontext())

    return put


def tried(*scores):
    "TPOT's table: one ridge per score."
    return pd.DataFrame({"Individual": [SimpleNamespace(export_pipeline=lambda memory=None, a=a: Ridge(a)) for a in range(1, 1 + len(scores))], "mse": scores})


X, Y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30.0)


def test_nothing_found_in_time_is_said(stand_in):
    def fit(self, X, y):
        raise Exception("No individuals could be evaluated in the initial population as the max_eval_mins time limit was reached.")

    stand_in(fit)
    with pytest.raises(InputError, match=r"found no pipeline .*0 had a score.*max_minutes"):
        tpot_search(X, Y, generations=None, max_minutes=0.05)


def test_other_errors_are_not_swallowed(stand_in):
    def fit(self, X, y):
        raise ValueError("a bug of somebody's")

    stand_in(fit)
    with pytest.raises(ValueError, match="a bug"):
        tpot_search(X, Y)


def test_an_interrupt_keeps_the_best(stand_in):
    def fit(self, X, y):
        self._evolver_instance = SimpleNamespace(population=SimpleNamespace(evaluated_individuals=tried(-3.0, -1.0, np.nan)))
        signal.raise_signal(signal.SIGINT)

    stand_in(fit)
    before = signal.getsignal(signal.SIGINT)
    found = tpot_search(X, Y)
    assert found.interrupted and found.score == -1.0 and found.pipeline.alpha == 2 and found.n_tried == 2 and np.isfinite(found.pipeline.predict(X)).all()
    assert signal.getsignal(signal.SIGINT) is before
    stand_in(lambda self, X, y: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="no pipeline has a score yet"):
        tpot_search(X, Y)


def test_lateness_is_told(stand_in):
    def fit(self, X, y):
        self.evaluated_individuals = tried(-1.0)

    stand_in(fit)
    assert np.isnan(tpot_search(X, Y).overshoot) and tpot_search(X, Y, max_minutes=10).overshoot == 0


@pytest.mark.parametrize("settings, words", [({"generations": None}, "never end"), ({"generations": 0}, "generations=0"), ({"population_size": 1}, "population_size=1"),
                                             ({"max_minutes": -1}, "max_minutes=-1"), ({"search_space": "all"}, "search_space='all'")])
def test_bad_arguments(settings, words):
    with pytest.raises(InputError, match=words):
        tpot_search(X, Y, **settings)
