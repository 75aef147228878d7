"""store: names made of everything that decides the weights, one training for many callers, nothing half-written."""
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import augment_lib.store as store
from augment_lib.core import InputError
from augment_lib.david import DAVID
from augment_lib.generative import GenerativeAutoencoder
from augment_lib.store import code_sha256, data_sha256, fit_or_load, fit_or_load_many, model_id, model_identity, models_home, stored_models
from augment_lib.vae_zoo import VAE

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.filterwarnings("ignore:.*(reconstructs|effective rows)")
rng = np.random.default_rng(0)
X = pd.DataFrame(rng.standard_normal((60, 3)), columns=["a", "b", "c"])
y = X["a"] ** 2 + 0.1 * rng.standard_normal(60)
SAMPLER = DAVID(n_epochs=2, random_state=3)


# ---- hashes of tables

@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=8), st.integers(0, 7))
def test_one_changed_cell_changes_the_hash(values, place):
    a = np.array(values)
    b = a.copy()
    b[place % len(b)] = b[place % len(b)] * 2 + 1
    assert (data_sha256(a) == data_sha256(b)) == (a.tobytes() == b.tobytes())
    frames = [pd.DataFrame({"v": v}) for v in (a, b)]
    assert (data_sha256(frames[0]) == data_sha256(frames[1])) == np.array_equal(a, b)


@pytest.mark.parametrize("one, other", [
    (np.zeros(4), np.zeros((2, 2))), (np.zeros(2), np.zeros(4, np.float32)), (np.arange(3), np.arange(3.0)),
    (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1.0]})), (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})),
    (pd.DataFrame({"a": [1], "b": [2]}), pd.DataFrame({"b": [2], "a": [1]})), (pd.Series(["x", "y"]), pd.Series(["x", "z"])),
    (pd.DataFrame({"a": pd.Categorical(["x"], ["x", "y"])}), pd.DataFrame({"a": pd.Categorical(["x"], ["x"])})),
    (None, []), (np.array(["a", "b"], dtype=object), np.array(["a", "c"], dtype=object))])
def test_different_tables_have_different_hashes(one, other):
    assert data_sha256(one) != data_sha256(other)


def test_hash_does_not_depend_on_the_layout_in_memory():
    a = rng.random((5, 4))
    assert data_sha256(a) == data_sha256(np.asfortranarray(a)) == data_sha256(a[:, ::-1][:, ::-1])
    assert data_sha256(X) == data_sha256(X.copy()) == data_sha256(X.set_axis(range(7, 67)))
    assert data_sha256(a.astype(object)) == data_sha256(a.astype(object).copy()) != data_sha256(a)


# ---- names

def test_every_argument_but_the_unheard_ones_is_in_the_name():
    changed = {"alpha": 0.7, "beta": 0.3, "n_epochs": 3, "mode": "add", "law": "posterior", "random_state": 4}
    plain = model_id(model_identity(SAMPLER, X, y))
    names = {model_id(model_identity(DAVID(**{"n_epochs": 2, "random_state": 3, key: value}), X, y)) for key, value in changed.items()}
    same = DAVID().get_params()["mode"] == "add"
    assert len(names | {plain}) == len(changed) + 1 - same
    assert plain == model_id(model_identity(DAVID(n_epochs=2, random_state=3, verbose=True, device="cpu"), X, y))


def test_a_model_object_counts_with_its_arguments_and_its_code():
    one, other = (GenerativeAutoencoder(model=VAE(beta=beta), random_state=0) for beta in (1.0, 0.5))
    first, second = model_identity(one, X), model_identity(other, X)
    assert model_id(first) != model_id(second) and first["code"] == second["code"]
    assert first["code"] not in (code_sha256(["generative"]), code_sha256(["vae_zoo"]))      # both are in it
    assert first["code"] == code_sha256(["generative", "vae_zoo"])


def test_code_counts_by_meaning(tmp_path, monkeypatch):
    for name, text in {"top": "from .low import f\n", "low": "def f():\n    'Says.'\n    return 1\n", "aside": "x = 1\n"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(store.augment_lib, "__file__", str(tmp_path / "__init__.py"))
    before = code_sha256(["top"])
    (tmp_path / "aside.py").write_text("x = 2\n")                                       # not imported
    (tmp_path / "low.py").write_text("# why\ndef f():\n    'Says more.'\n    return 1\n")     # the same, in other words
    assert code_sha256(["top"]) == before
    (tmp_path / "low.py").write_text("def f():\n    'Says.'\n    return 2\n")
    assert code_sha256(["top"]) != before


def test_name_hangs_on_versions_and_device(monkeypatch):
    plain = model_id(model_identity(SAMPLER, X, y))
    monkeypatch.setattr(store, "versions", lambda: {"torch": "0.0"})
    other = model_id(model_identity(SAMPLER, X, y))
    monkeypatch.setattr(store, "machine", lambda device: {"device_name": "another"})
    assert len({plain, other, model_id(model_identity(SAMPLER, X, y))}) == 3


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0), "1"])
def test_unknown_seed_is_refused(random_state, tmp_path):
    with pytest.raises(InputError, match="pass an integer"):
        fit_or_load(DAVID(random_state=random_state), X, y, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_models_lie_beside_the_runs(tmp_path, monkeypatch):
    monkeypatch.delenv("AUGMENT_LIB_MODELS", raising=False)
    monkeypatch.setenv("AUGMENT_LIB_RUNS", str(tmp_path / "runs"))
    assert models_home() == tmp_path / "models"
    monkeypatch.setenv("AUGMENT_LIB_MODELS", str(tmp_path / "kept"))
    assert models_home() == tmp_path / "kept"


# ---- one training

def test_loaded_twin_cannot_be_told_from_the_fitted_one(tmp_path):
    first, second = (fit_or_load(SAMPLER, X, y, folder=tmp_path) for _ in range(2))
    alone = DAVID(n_epochs=2, random_state=3).fit(X, y)
    assert (first.loaded_, second.loaded_) == (False, True) and first.stored_ == second.stored_
    assert first.fit_seconds_ == second.fit_seconds_ > 0
    for a, b, c in zip(first.sample(5), second.sample(5), alone.sample(5)):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    pd.testing.assert_frame_equal(first.history_, second.history_)


def test_unheard_arguments_are_those_asked_for(tmp_path):
    fit_or_load(SAMPLER, X, y, folder=tmp_path)
    again = fit_or_load(DAVID(n_epochs=2, random_state=3, verbose=True, device="cpu"), X, y, folder=tmp_path)
    assert again.loaded_ and again.verbose and again.device == "cpu"


def test_note_is_written_last_and_old_notes_do_not_vouch(tmp_path, monkeypatch):
    fitted = fit_or_load(SAMPLER, X, y, folder=tmp_path)
    note = tmp_path / f"{fitted.stored_.name}.json"
    (fitted.stored_ / "arrays.safetensors").write_bytes(b"rubbish")

    def full_disk(self, path, overwrite=False):
        assert not note.exists()
        raise OSError("no space left")

    monkeypatch.setattr(DAVID, "save", full_disk)
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(OSError):
        fit_or_load(SAMPLER, X, y, folder=tmp_path)
    assert not note.exists()
    monkeypatch.undo()
    assert not fit_or_load(SAMPLER, X, y, folder=tmp_path).loaded_
    assert fit_or_load(SAMPLER, X, y, folder=tmp_path).loaded_


def test_failed_training_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(DAVID, "fit", lambda self, X, y: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit_or_load(SAMPLER, X, y, folder=tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"} and len(stored_models(tmp_path)) == 0


def test_many_trains_the_missing_ones_together_and_keeps_each(tmp_path):
    seeds, came = [DAVID(n_epochs=2, random_state=seed) for seed in (0, 1, 2)], []

    def bank(samplers, X, y):
        came.append([sampler.random_state for sampler in samplers])
        return [sampler.fit(X, y) for sampler in samplers]

    fit_or_load(seeds[1], X, y, folder=tmp_path)
    fitted = fit_or_load_many(seeds, X, y, folder=tmp_path, fit_many=bank)
    assert came == [[0, 2]] and [one.loaded_ for one in fitted] == [False, True, False] and [one.random_state for one in fitted] == [0, 1, 2]
    assert all(one.loaded_ for one in fit_or_load_many(seeds[::-1], X, y, folder=tmp_path, fit_many=bank)) and len(came) == 1
    assert not hasattr(seeds[0], "history_") and len(stored_models(tmp_path)) == 3


CHILD = """
import sys, time
from pathlib import Path
import numpy as np, pandas as pd
from augment_lib.david import DAVID
from augment_lib.store import fit_or_load
folder, wait = Path(sys.argv[1]), float(sys.argv[2])
X = pd.DataFrame(np.arange(60.0).reshape(20, 3) ** 1.5, columns=list("abc")); y = X["a"] ** 2
plain = DAVID.fit
def slow(self, X, y):
    (folder / f"training-{time.time_ns()}").touch()
    time.sleep(wait)
    return plain(self, X, y)
DAVID.fit = slow
fitted = fit_or_load(DAVID(n_epochs=1, random_state=0), X, y, folder=folder)
print(fitted.loaded_, float(np.sum(fitted.sample(3)[1])))
"""


def child(folder, wait):
    words = [sys.executable, "-c", textwrap.dedent(CHILD), str(folder), str(wait)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})


def wait_for_training(folder, process):
    for _ in range(600):
        if list(folder.glob("training-*")):
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    raise AssertionError("training never began")


def test_two_processes_train_once_and_a_killed_one_leaves_the_way_free(tmp_path):
    killed = child(tmp_path, 60)
    wait_for_training(tmp_path, killed)
    two = [child(tmp_path, 0.5) for _ in range(2)]          # both wait for the first
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    said = sorted(process.communicate(timeout=60)[0].split() for process in two)
    assert [words[0] for words in said] == ["False", "True"] and said[0][1] == said[1][1]
    assert len(list(tmp_path.glob("training-*"))) == 2      # the killed one and one more
    assert len(stored_models(tmp_path)) == 1


def test_listing_tells_what_may_be_deleted(tmp_path):
    fitted = fit_or_load(SAMPLER, X, y, folder=tmp_path)
    listed = stored_models(tmp_path).iloc[0]
    assert listed.id == fitted.stored_.name and listed["rows"] == 60 and listed["bytes"] > 1000
    assert json.loads(listed.arguments)["n_epochs"] == 2
