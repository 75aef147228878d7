"""What all tests share: one thread a process, no windows, Ctrl-C that works, the same random examples on every machine, GPU tests only on a GPU."""
import os
import signal

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
