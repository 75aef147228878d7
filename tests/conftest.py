"""What all tests share: one thread a process, no windows, Ctrl-C that works, the same random examples on every machine, GPU tests only on a GPU.

Fixtures: `press_ctrl_c` interrupts a training in another process; `fake_environment` makes an environment whose python is a script.
"""
import os
import signal
import stat
import subprocess
import sys
import time

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")    # before numpy and torch are imported
os.environ.setdefault("MPLBACKEND", "Agg")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:      # a shell that starts tests in the background hands this on, and the tests of Ctrl-C would wait for ever
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from hypothesis import settings

settings.register_profile("house", derandomize=True, deadline=None, database=None)
settings.load_profile("house")


def pytest_collection_modifyitems(items):
    "Skip what needs a GPU where there is none; torch is imported only if such a test was collected."
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


CHILD = """
import sys, warnings
import numpy as np
from {module} import {name}
from augment_lib.weighting import resolve_weighting
warnings.simplefilter("ignore")

class Told(type(resolve_weighting({weighting!r}))):
    def weights(self, X, y):
        print("training starts", flush=True)
        return super().weights(X, y)

rng = np.random.default_rng(0)
data = {data}
{name}(n_epochs=1, random_state=0{options}).fit(*data)          # what torch imports late is imported now
sampler = {name}(n_epochs=10**7, random_state=0, weighting=Told(){options})
try:
    sampler.fit_resample(*data)
except KeyboardInterrupt:
    new = {draw}
    print("interrupted", sampler.interrupted_, sampler.diagnostics_.get("stopped"), new.shape, bool(np.isfinite(new).all()), len(sampler.history_) > 0, flush=True)
    sampler.set_params(weighting={weighting!r}).save(sys.argv[1])       # Told is a class of this script, which a folder cannot hold
    sys.exit(7)
"""


@pytest.fixture
def press_ctrl_c(tmp_path):
    "A function: train a sampler without end in a child process, interrupt it; returns what it printed and the folder it saved itself in."
    if sys.platform == "win32":
        pytest.skip("SIGINT to a child needs POSIX")

    def press(sampler, data, draw, weighting="uniform", options=""):
        module, name = sampler.rsplit(".", 1)
        code = CHILD.format(module=module, name=name, data=data, draw=draw, weighting=weighting, options=options)
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "saved")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            if child.stdout.readline() != "training starts\n":
                pytest.fail(child.communicate(timeout=60)[1])
            time.sleep(2)
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=60)
        finally:
            child.kill()
        assert child.returncode == 7, err
        return out, tmp_path / "saved"

    return press


@pytest.fixture
def fake_environment():
    "A function: write an environment whose python is the script `stub`, and an empty file for the script that it is called with; returns the root."
    def make(root, paths, stub, missing=0):
        python, script = paths
        for path, text in ((python, stub.format(python=sys.executable, missing=missing)), (script, "")):
            path.parent.mkdir(parents=True)
            path.write_text(text)
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        return root

    return make
