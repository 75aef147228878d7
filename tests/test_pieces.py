"""Pieces of a long run: nothing half done is taken for finished, nothing finished is done again, the same tables however they came about."""
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augment_lib.core import InputError
from augment_lib.pieces import as_finished, kept_table, piece_paths, run_pieces

CELLS = {"whole": st.integers(-2**53, 2**53), "real": st.floats(allow_nan=True), "word": st.text(max_size=5), "flag": st.booleans()}


def wide(seed, n=3):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"seed": seed, "value": rng.normal(size=n), "single": rng.random(n).astype("float32"), "word": [f"w{seed}"] * n})


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(st.fixed_dictionaries({name: st.lists(cells, min_size=3, max_size=3) for name, cells in CELLS.items()}))
def test_a_table_comes_back_to_the_bit(tmp_path, columns):
    table, path = pd.DataFrame(columns, index=list("xyz")), tmp_path / "one.parquet"
    path.unlink(missing_ok=True)
    made = kept_table(path, lambda: table)
    pd.testing.assert_frame_equal(made, table.reset_index(drop=True), check_exact=True)
    pd.testing.assert_frame_equal(kept_table(path, None), made, check_exact=True)


def test_made_and_read_are_equal_in_one_process_and_in_two(tmp_path):
    pieces = {f"piece {seed}": (wide, seed) for seed in range(4)}
    runs = [run_pieces(pieces), run_pieces(pieces, tmp_path / "a"), run_pieces(pieces, tmp_path / "a"), run_pieces(pieces, tmp_path / "b", n_jobs=2)]
    assert all(list(found) == list(pieces) for found in runs)
    for name in pieces:
        for found in runs[1:]:
            pd.testing.assert_frame_equal(found[name], runs[0][name], check_exact=True)
    assert {path.name for path in (tmp_path / "b").iterdir()} == {f"piece_{seed}.parquet" for seed in range(4)}, "and nothing else is left in the folder"


def test_a_failure_keeps_what_was_finished_and_is_tried_again(tmp_path):
    calls = []

    def piece(name):
        calls.append(name)
        if name == "b" and len(calls) == 2:
            raise OSError("no space")
        return pd.DataFrame({"name": [name]})

    pieces = {name: (piece, name) for name in "abc"}
    with pytest.raises(OSError, match="no space"):
        run_pieces(pieces, tmp_path)
    assert [table.name[0] for table in run_pieces(pieces, tmp_path).values()] == ["a", "b", "c"] and calls == ["a", "b", "b", "c"]


@pytest.mark.parametrize("names", [("a b", "a_b"), ("a/b", "a\\b"), ("VAE", "vae"), (1, "1")])
def test_two_names_of_one_file_are_refused_before_anything_is_made(tmp_path, names):
    with pytest.raises(InputError, match="would share the file"):
        run_pieces({name: (wide, 0) for name in names}, tmp_path)
    assert not list(tmp_path.iterdir()) and len(run_pieces({name: (wide, 0) for name in names})) == 2, "without files there is nothing to share"


def test_names_stay_in_the_folder(tmp_path):
    assert all(path.parent == tmp_path for path in piece_paths(["../up", "/root", "..", "c:\\d", "uci_power-plant", "ü"], tmp_path).values())
    assert piece_paths(["uci_power-plant"], tmp_path)["uci_power-plant"].name == "uci_power-plant.parquet"


@pytest.mark.parametrize("made, said", [(lambda: [1], "a list; expected a DataFrame"), (lambda: None, "a NoneType")])
def test_only_tables_are_kept(tmp_path, made, said):
    with pytest.raises(InputError, match=said):
        run_pieces({"odd": (made,)}, tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n"], ids=["empty", "cut", "text"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet cannot be read.*delete it"):
        run_pieces({"a": (wide, 0)}, tmp_path)


def test_one_thread_here_and_there():
    def threads():
        from threadpoolctl import threadpool_info
        return max((pool["num_threads"] for pool in threadpool_info()), default=1)

    assert set(dict(as_finished({i: (threads,) for i in range(2)}, n_jobs=1)).values()) == {1}
    assert set(dict(as_finished({i: (threads,) for i in range(2)}, n_jobs=2)).values()) == {1}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT to a child needs POSIX")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ctrl_c_and_on_again(tmp_path, n_jobs):
    (tmp_path / "job.py").write_text(textwrap.dedent("""
        import sys, time
        from pathlib import Path
        import pandas as pd
        from augment_lib.pieces import run_pieces
        folder, n_jobs, slow = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
        def piece(name):
            with open(folder / "calls", "a") as file: file.write(name)
            if name == "c": time.sleep(slow)
            return pd.DataFrame({"name": [name]})
        print("".join(table.name[0] for table in run_pieces({name: (piece, name) for name in "abcd"}, folder / "kept", n_jobs).values()))
        """))

    def start(slow):
        return subprocess.Popen([sys.executable, tmp_path / "job.py", tmp_path, str(n_jobs), str(slow)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    child = start(60)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "calls").exists() or "c" not in (tmp_path / "calls").read_text() or not all((tmp_path / "kept" / f"{name}.parquet").exists() for name in "ab"):
            assert child.poll() is None and time.monotonic() < deadline, child.communicate()
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGINT)      # as the terminal does: to the children, too
        _, err = child.communicate(timeout=60)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode != 0 and "pieces were finished" in err
    kept = {path.stem for path in (tmp_path / "kept").glob("*.parquet")}
    assert {"a", "b"} <= kept and "c" not in kept
    out, err = start(0).communicate(timeout=60)
    assert out == "abcd\n", err
    calls = (tmp_path / "calls").read_text()
    assert calls.count("a") == calls.count("b") == 1 and calls.count("c") == 2, "only what was not finished is made again"
