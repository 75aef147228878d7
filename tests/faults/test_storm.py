"""Fourteen runs and five kills of the storm; `make faults` runs it at full size."""
from pathlib import Path

import pytest
from storm import check, storm


@pytest.mark.timeout(1000)      # the storm gives up by itself after 900 s, and says more
def test_storm(tmp_path):
    found = storm(tmp_path, n_runs=14, n_kills=5, n_sweep_kills=1, n_workers=3, seconds=1.0, limit=900)
    try:
        check(found, 5, 1)
    except AssertionError:
        print((Path(tmp_path) / "sweep.log").read_text(errors="replace")[-4000:])
        raise
