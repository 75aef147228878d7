"""Every tutorial runs from top to bottom without data or network, in time, and its stored outputs are small."""

import os
import re
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

TUTORIALS = sorted((Path(__file__).parents[1] / "nbs" / "tutorials").glob("*.ipynb"))
MINUTE = 60


def test_there_is_a_tutorial():
    assert TUTORIALS


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("AUGMENT_LIB_OFFLINE", "1")
    monkeypatch.setenv("AUGMENT_LIB_CACHE", str(tmp_path))
    monkeypatch.delenv("AUGMENT_LIB_DATA", raising=False)
    notebook = nbformat.read(path, 4)
    cpu = sum(os.times()[2:4])  # of finished children
    started = time.perf_counter()
    NotebookClient(notebook, timeout=10 * MINUTE, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    spent = sum(os.times()[2:4]) - cpu
    assert 0 < spent < 1.5 * MINUTE, (
        f"{path.stem} took {spent:.0f} s of CPU, {time.perf_counter() - started:.0f} s in all; a tutorial should stay below a minute"
    )
    errors = [output for cell in notebook.cells for output in cell.get("outputs", ()) if output.output_type == "error"]
    assert not errors


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_is_a_lesson(path):
    notebook = nbformat.read(path, 4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = [line for cell in notebook.cells if cell.cell_type == "code" for line in cell.source.splitlines() if line.strip()]
    assert notebook.cells[0].source.startswith("# ") and "\n> " in notebook.cells[0].source and "## Exercises" in text
    assert len(text.split()) > 2 * len(code) and len(notebook.cells) <= 30
    assert path.stat().st_size < 200_000
    stored = [str(output) for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any(stored), "a tutorial keeps its outputs"
    assert not re.search(r"(/home/|/work/|/tmp/|site-packages|Traceback)", " ".join(stored))
    assert notebook.metadata["kernelspec"]["language"] == "python"
