"""compare, regimes and models: one protocol, the same numbers however it is run."""
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from augment_lib.compare import ChooseByCV, Judge, Reweight, compare, make_units, unit_file
from augment_lib.core import InputError
from augment_lib.models import default_regressors, derive_seed, seeded
from augment_lib.regimes import RegimeA, RegimeB, RegimeC, duplicate_groups


def report(y_true, y_pred, *, weights, rarity):
    square = (y_true - y_pred) ** 2
    return {"mse": square.mean(), "weighted_mse": np.average(square, weights=weights)}


class Jitter(BaseEstimator):
    def __init__(self, noise=0.1, random_state=None):
        self.noise, self.random_state = noise, random_state

    def fit_resample(self, X, y):
        new = X + self.noise * np.random.default_rng(self.random_state).normal(size=X.shape)
        self.diagnostics_ = {"r2_x": 0.5}
        return pd.concat([X, new], ignore_index=True), np.concatenate([y, y])


class BankJitter(Jitter):
    def fit_resample_many(self, X, y, rows, random_states):
        return [seeded(Jitter(self.noise), s).fit_resample(X.iloc[r], y[r]) for r, s in zip(rows, random_states, strict=True)]


class BadBank(Jitter):
    def fit_resample_many(self, X, y, rows, random_states):
        raise RuntimeError("no bank today")


class Unlucky(Jitter):
    def fit_resample(self, X, y):
        raise RuntimeError("out of luck")


class Recorder(Jitter):
    seen = []

    def fit_resample(self, X, y):
        Recorder.seen.append(frozenset(X["id"]))
        return X, y


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(80, 3)), columns=list("abc"))
    return ("toy", X, np.exp(X.a.to_numpy()) + 0.1 * rng.normal(size=80))


MODELS = {"ridge": Ridge(), "knn": KNeighborsRegressor(3)}
OPTIONS = dict(regime=RegimeB(3), metrics=report, seeds=[0, 1])


def numbers(long):
    return long[~long.metric.str.contains("seconds|bank_size")].drop(columns="method").reset_index(drop=True)


def test_processes_change_nothing(table):
    methods = {"none": None, "jitter": Jitter(), "choice": ChooseByCV({"a": Jitter(9.0), "b": None}, metric="mse")}
    one, two = (compare([table], methods, MODELS, n_jobs=n, **OPTIONS) for n in (1, 2))
    pd.testing.assert_frame_equal(numbers(one), numbers(two), check_exact=True)


def test_order_and_neighbours_change_nothing(table):
    other = ("other", table[1], table[2] + 1)
    alone = compare([table], {"jitter": Jitter()}, MODELS, **OPTIONS)
    crowd = compare([other, table], {"none": None, "jitter": Jitter()}, MODELS, **OPTIONS)
    crowd = crowd[(crowd.dataset == "toy") & (crowd.method == "jitter")]
    pd.testing.assert_frame_equal(numbers(alone), numbers(crowd), check_exact=True)


def test_bank_equals_one_by_one_and_a_failed_bank_falls_back(table):
    plain, *banks = (compare([table], {"m": m}, MODELS, **OPTIONS) for m in (Jitter(), BankJitter(), BadBank()))
    for bank in banks:
        for metric in ("mse", "weighted_mse", "n_out"):
            assert np.array_equal(plain[plain.metric == metric].value, bank[bank.metric == metric].value)
    assert (banks[0][banks[0].metric == "bank_size"].value == 6).all()


def test_test_rows_never_reach_a_method_even_inside_a_choice(table):
    Recorder.seen.clear()
    X = table[1].assign(id=np.arange(80))
    regime = RegimeB(4)
    compare([("t", X, table[2])], {"c": ChooseByCV({"r": Recorder()}, metric="mse")}, {"ridge": Ridge()},
            regime=regime, metrics=report, seeds=[0])
    folds = [frozenset(s.test) for s in regime.split(X, table[2], [0])]
    per_fold = len(Recorder.seen) // 4
    assert per_fold == 3 + 1                               # three inner parts and the refit
    for i, seen in enumerate(Recorder.seen):
        assert not seen & folds[i // per_fold]
    assert len(Recorder.seen[3]) == 60 and len(Recorder.seen[0]) == 40


def test_failures_are_rows(table):
    with pytest.warns(UserWarning, match="candidate"):
        long = compare([table], {"none": None, "bad": Unlucky(), "w": Reweight()}, MODELS, **OPTIONS)
    bad = long[(long.method == "bad") & (long.model != "-")]
    assert bad.value.isna().all() and bad.error.str.contains("out of luck").all() and set(bad.metric) == {"mse", "weighted_mse"}
    knn = long[(long.method == "w") & (long.model == "knn")]
    assert knn.value.isna().all() and knn.error.str.contains("no sample_weight").all()
    assert long[(long.method == "w") & (long.model == "ridge")].value.notna().all()


def test_interrupt_keeps_what_is_finished(table, tmp_path):
    class Stop(Jitter):
        def fit_resample(self, X, y):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        compare([table], {"none": None, "stop": Stop()}, MODELS, checkpoint=tmp_path, **OPTIONS)
    assert set(caught.value.partial_.method) == {"none"} and len(list(tmp_path.glob("*.parquet"))) == 2


def test_killed_run_resumes_without_repeating(tmp_path):
    (tmp_path / "job.py").write_text(textwrap.dedent('''
        import sys, time
        from pathlib import Path
        import numpy as np, pandas as pd
        from sklearn.base import BaseEstimator
        from sklearn.linear_model import Ridge
        from augment_lib.compare import compare
        from augment_lib.regimes import RegimeB
        folder = Path(sys.argv[1])
        class Slow(BaseEstimator):
            def fit_resample(self, X, y):
                with open(folder / "calls", "a") as f: f.write("x")
                if (folder / "slow").exists() and len((folder / "calls").read_text()) > 5: time.sleep(60)
                return X, y
        def report(y_true, y_pred, *, weights, rarity): return {"mse": float(np.mean((y_true - y_pred) ** 2))}
        X = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)))
        out = compare([("t", X, X[0].to_numpy())], {"slow": Slow()}, {"r": Ridge()}, regime=RegimeB(2), metrics=report,
                      seeds=range(4), checkpoint=folder / "units")
        print(len(out[out.metric == "mse"]))
    '''))
    (tmp_path / "slow").touch()
    command = [sys.executable, str(tmp_path / "job.py"), str(tmp_path)]
    job = subprocess.Popen(command)
    deadline = time.time() + 40
    while time.time() < deadline and not ((tmp_path / "calls").exists() and len((tmp_path / "calls").read_text()) > 5):
        time.sleep(0.05)
    job.kill()
    job.wait()
    assert len(list((tmp_path / "units").glob("*.parquet"))) == 2        # two seeds of two folds were finished
    (tmp_path / "slow").unlink()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.strip() == "8", done.stderr
    assert len((tmp_path / "calls").read_text()) == 6 + 4                # only the two unfinished seeds ran again


def test_checkpoint_key_follows_what_decides(table):
    def key(method=None, models=MODELS, metrics=report, regime=None, y=table[2]):
        return unit_file(make_units([("toy", table[1], y)], {"m": method}, models, regime or RegimeB(3), metrics, [0])[0])
    keys = [key(), key(Jitter()), key(Jitter(0.2)), key(models={"ridge": Ridge(2.0)}), key(regime=RegimeB(4)), key(y=table[2] * 2),
            key(metrics=lambda y_true, y_pred, *, weights, rarity: {"mse": 0.0}), key(Reweight("uniform")), key(Reweight("density"))]
    assert len(set(keys)) == len(keys)
    assert key() == key() and key(Jitter()) == key(Jitter())


@pytest.mark.parametrize("seed", range(5))
def test_folds_cover_and_keep_groups(seed):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"a": rng.integers(0, 12, 90), "b": rng.choice(["x", None], 90)})
    groups = duplicate_groups(X)
    home = RegimeB(4).folds(X, seed)
    assert pd.Series(home).groupby(groups).nunique().max() == 1 and set(home) == set(range(4))
    sizes = np.bincount(home)
    assert sizes.max() - sizes.min() <= np.bincount(groups).max()


def test_paper_regime_counts_and_preference():
    y = np.random.default_rng(0).gamma(2, size=506)
    split = next(RegimeA(1.0, 0.4, 0.6).split(None, y, [860]))
    assert (len(split.test), len(split.train)) == (202, 304)             # boston's counts
    assert y[split.test].mean() > y[split.train].mean()


def test_regime_c_excludes_copies():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 4000, size=(6000, 1))
    split = next(RegimeC((300,), 200).split(X, rng.normal(size=6000), [0]))
    assert not set(X[split.train, 0]) & set(X[split.test, 0])
    with pytest.raises(InputError, match="RegimeB"):
        next(RegimeC().split(X[:100], np.arange(100.0), [0]))


def test_default_models_fit_mixed_frames_with_weights(table):
    from augment_lib.models import fit_model
    X = table[1].assign(k=pd.Categorical(np.where(table[1].a > 0, "p", "q")), flag=table[1].b > 0)
    for name, model in default_regressors(1).items():
        if name != "mlp":
            assert np.isfinite(fit_model(model, X, table[2], np.ones(80)).predict(X)).all(), name


def test_seeds_are_stable():
    assert derive_seed("method", "boston", 0, 0, "B") == int.from_bytes(
        __import__("hashlib").sha256("method\x1fboston\x1f0\x1f0\x1fB".encode()).digest()[:4], "big") >> 1


def test_library_report_fits(table):
    pytest.importorskip("augment_lib.metrics")
    found = Judge(table[2])(np.arange(40), table[2][:40], table[2][:40] + 0.1)
    assert {"weighted_mse", "mse", "rare_error", "common_error"} <= set(found) and np.isclose(found["mse"], 0.01)


