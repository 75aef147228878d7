"""The command line: what it answers, with which code, and that nothing it starts outlives it."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from augment_lib import cli
from augment_lib.sweep import KINDS, plan, signature
from augment_lib.records import work_out_request

ROOT = Path(__file__).resolve().parents[1]
PARAMETERS = """profile: str = "smoke"    # smoke | small | paper
n_seeds: int = 2
noise: float = 0.1
what: str = "run"         # run | sleep | late | silent
run_dir: str = ""
"""
BODY = """import pathlib, time
import numpy as np, pandas as pd
from augment_lib.records import start_run
run = start_run(run_dir, "30_toy", dict(profile=profile, n_seeds=n_seeds, noise=noise, what=what, run_dir=run_dir))
if what == "sleep": time.sleep(120)
rows = [("mean", s, np.random.default_rng(s).normal(scale=noise)) for s in range(n_seeds)]
table = pd.DataFrame(rows, columns=["method", "seed", "error"])
if what != "silent": run.finish(table=table, metrics={"spread": float(table["error"].std())}, verdict="partly")
if what == "late": raise ValueError("after the record")
"""


class Lab:
    "A project of one toy notebook; `call` gives exit code, standard output and error stream."

    def __init__(self, folder):
        self.folder, self.experiments = folder, folder / "experiments"
        (self.experiments / "sweeps").mkdir(parents=True)
        cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(BODY)]
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata["kernelspec"] = {"display_name": "python3", "language": "python", "name": "python3"}
        nbformat.write(notebook, self.experiments / "30_toy.ipynb")
        self.sweep_file("headline: {n_seeds: 3}\nprofiles:\n  small: {grid: {noise: [0.1, 0.2]}}\n")
        self.runs = folder / "runs"

    def sweep_file(self, text):
        (self.experiments / "sweeps" / "30_toy.yaml").write_text(f"notebook: 30_toy\nsystem: toy\n{text}")

    def words(self, command, *more):
        "The command with the folders it takes."
        folders = {"folder": self.experiments, "runs": self.runs, "out": self.folder / "out", "results": self.folder / "results"}
        if command == "status":
            folders = {name: folders[name] for name in ("folder", "runs")}
        elif command == "tables":
            folders.pop("results")
        return [command, *(word for name, path in folders.items() for word in (f"--{name}", str(path))), *more]


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def call(lab, capsys, *words):
    capsys.readouterr()
    code = cli.main(lab.words(*words))
    return code, *capsys.readouterr()


def test_run_resume_promote_compare(lab, capsys):
    (lab.folder / "README.md").write_text("top\n<!-- results:begin -->\nold\n<!-- results:end -->\nend\n")
    code, told, heard = call(lab, capsys, "sweep", "--workers", "1")             # the headline
    assert code == 0 and "1 new; 1 to run" in told and "[1/1] 30_toy-" in heard
    code, told, _ = call(lab, capsys, "sweep")
    assert code == 0 and "1 finished; 0 to run" in told and "nothing is committed" in told
    assert call(lab, capsys, "results", "--dry-run")[0] == 0
    assert not (lab.folder / "results").exists() and "old" in (lab.folder / "README.md").read_text()
    assert call(lab, capsys, "results")[0] == 0
    assert "3 equal, 0 within the spread over seeds, 0 different, 0 new" in call(lab, capsys, "sweep")[1]
    assert "[30_toy](" in (lab.folder / "README.md").read_text() and "old" not in (lab.folder / "README.md").read_text()
    assert json.loads((lab.folder / "results" / "manifest.json").read_text())["tables"]["30_toy.small"]["runs"]
    assert "30_toy.small.parquet" in call(lab, capsys, "tables")[1]
    assert "3 equal" in call(lab, capsys, "figures")[1]
    code, told, _ = call(lab, capsys, "status", "headline", "--json")
    assert code == 0 and json.loads(told)["experiments"] == {"30_toy": {"finished": 1}}


def test_failures_are_told_and_only_they_run_again(lab, capsys):
    lab.sweep_file("profiles:\n  small: {grid: {what: [late, run, silent]}}\n")
    code, told, _ = call(lab, capsys, "sweep", "all", "--keep-going", "--workers", "2", "--json")
    found = json.loads(told)
    assert code == 1 and (found["finished"], found["failed"], found["executed"]) == (1, 2, 1)
    why = {failure["status"]: failure["message"] for failure in found["failures"]}
    assert "after the record" in why["exception"] and set(why) == {"exception", "no record"}
    assert len(list(lab.runs.glob("*/*/record.json"))) == 1 and not list((lab.runs / "30_toy" / "attempts").glob("*"))
    code, told, _ = call(lab, capsys, "status", "all", "--failures")
    assert "after the record" in told and told.count("[failed]") == 2
    notebook = lab.experiments / "30_toy.ipynb"                                   # mended: another identity, so both are new
    code, told, _ = call(lab, capsys, "sweep", "all", "--only", "failed", "--dry-run")
    assert code == 0 and "2 to run" in told and notebook.exists()


def test_stops_at_the_first_failure_unless_told_otherwise(lab, capsys):
    lab.sweep_file("profiles:\n  small: {grid: {what: [late], n_seeds: [1, 2, 3, 4]}}\n")
    code, told, _ = call(lab, capsys, "sweep", "all", "--workers", "1", "--json")
    assert code == 1 and json.loads(told)["failed"] == 1 and json.loads(told)["left"] == 3
    code, told, _ = call(lab, capsys, "sweep", "all", "--workers", "1", "--keep-going", "--max-failures", "2", "--json")
    assert code == 1 and json.loads(told)["failed"] == 2 and json.loads(told)["left"] == 2


def test_stale_runs_are_told_never_silently_reused(lab, capsys):
    lab.sweep_file("profiles:\n  small: {}\n")
    first = json.loads(call(lab, capsys, "sweep", "all", "--json")[1])["ids"]
    path = lab.experiments / "30_toy.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells[-1].source += "\n# edited"
    nbformat.write(notebook, path)
    code, told, _ = call(lab, capsys, "sweep", "all", "--dry-run")
    assert code == 0 and "1 stale; 1 to run" in told and "notebook" in told and first[0] in told
    code, told, _ = call(lab, capsys, "sweep", "all", "--stale", "keep", "--json")
    assert code == 0 and json.loads(told)["ids"] == first and json.loads(told)["executed"] == 0
    code, told, _ = call(lab, capsys, "sweep", "all", "--json")
    assert code == 0 and json.loads(told)["executed"] == 1 and json.loads(told)["ids"] != first
    assert len(list(lab.runs.glob("*/*/record.json"))) == 2                        # the old answer is kept


def test_force_runs_again_and_keeps_the_old_run_aside(lab, capsys):
    lab.sweep_file("profiles:\n  small: {}\n")
    first = json.loads(call(lab, capsys, "sweep", "all", "--json")[1])["ids"]
    again = json.loads(call(lab, capsys, "sweep", "all", "--force", "--json")[1])
    assert again["executed"] == 1 and again["ids"] == first
    assert len(list(lab.runs.glob("*/*/record.json"))) == 1 and len(list(lab.runs.rglob("record.json"))) == 2


def test_cut_record_is_set_aside(lab, capsys):
    lab.sweep_file("profiles:\n  small: {}\n")
    call(lab, capsys, "sweep", "all")
    record = next(lab.runs.glob("*/*/record.json"))
    record.write_text(record.read_text()[: 100])
    code, told, _ = call(lab, capsys, "sweep", "all")
    assert code == 0 and "damaged" in told and json.loads(record.read_text())["status"] == "ok"


@pytest.mark.parametrize("words, why", [
    (["sweep", "30_tox"], "30_toy"), (["sweep", "all", "-p", "n_seed=3"], "n_seeds"), (["sweep", "all", "-p", "n_seeds=x"], "expected int"),
    (["sweep", "all", "--profile", "huge"], "smoke"), (["sweep", "all", "--only", "new"], "failed"), (["sweep", "all", "--workers", "0"], "workers"),
    (["sweep", "all", "--deadline", "soon"], "deadline"), (["sweep", "all", "--memory", "lots"], "memory"), (["sweep", "all", "--stale", "ignore"], "keep"),
    (["sweep", "all", "--no-such-option"], "no-such-option"), (["run", "all"], "one notebook"), (["sweep", "all", "-p", "run_dir=x"], "run_dir"),
    (["sweep", "all", "-p", "n_seeds"], "name=value")])
def test_wrong_call_ends_with_two_and_says_why(lab, capsys, words, why):
    code, told, heard = call(lab, capsys, *words)
    assert code == 2 and why in heard and not lab.runs.exists()


def test_unreachable_scheduler(lab, capsys, monkeypatch):
    import augment_lib.cluster as cluster
    monkeypatch.setattr(cluster.Options.__new__, "__defaults__", (*cluster.Options.__new__.__defaults__[:-1], 1.0))
    code, _, heard = call(lab, capsys, "sweep", "all", "--scheduler", "tcp://127.0.0.1:9")
    assert code == 2 and "does not answer" in heard


def test_folder_that_cannot_be_written(lab, capsys):
    lab.runs.write_text("a file in the way")
    code, _, heard = call(lab, capsys, "sweep", "all")
    assert code == 2 and str(lab.runs) in heard and "Traceback" not in heard


def test_results_that_cannot_be_written(lab, capsys):
    lab.sweep_file("profiles:\n  small: {}\n")
    assert call(lab, capsys, "sweep", "all")[0] == 0
    (lab.folder / "results").write_text("a file in the way")
    code, _, heard = call(lab, capsys, "results", "all")
    assert code == 2 and "results" in heard and "Finished runs are kept" in heard
    assert (lab.folder / "results").read_text() == "a file in the way" and len(list(lab.runs.glob("*/*/record.json"))) == 1
    (lab.folder / "results").unlink()
    assert call(lab, capsys, "results", "all")[0] == 0                             # mended: the same command goes on


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def words_of(process):
    "The command line of a process that may end while it is asked."
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_sweep_ends_its_children_and_goes_on(lab, capsys, how):
    lab.sweep_file("profiles:\n  small: {list: [{what: run}, {what: sleep}]}\n")
    command = [sys.executable, "-m", "augment_lib.cli", *lab.words("sweep", "all", "--workers", "1")]
    sweep = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    children = []

    def second_kernel_is_up():
        with_me = psutil.Process(sweep.pid).children(recursive=True)
        children.extend(child for child in with_me if child not in children)
        return list(lab.runs.glob("*/*/record.json")) and any("ipykernel" in words_of(child) for child in with_me)

    try:
        assert wait_for(second_kernel_is_up)
        sweep.send_signal(how)
        assert sweep.wait(timeout=40) == {signal.SIGINT: 130, signal.SIGTERM: 130, signal.SIGKILL: -9}[how]
        assert wait_for(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children), 20)
        if how != signal.SIGKILL:
            assert "interrupted" in sweep.stdout.read().decode()
        assert len(list(lab.runs.glob("*/*/record.json"))) == 1                    # what had finished is kept
        code, told, _ = call(lab, capsys, "sweep", "all", "--dry-run")
        assert "1 finished" in told and "1 to run" in told
    finally:
        for process in [sweep, *children]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass
        sweep.wait()


def test_nothing_listens_beyond_loopback(lab):
    lab.sweep_file("profiles:\n  small: {what: sleep}\n".replace("{what: sleep}", "{fixed: {what: sleep}}"))
    command = [sys.executable, "-m", "augment_lib.cli", *lab.words("sweep", "all", "--workers", "1")]
    sweep = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        top = psutil.Process(sweep.pid)
        assert wait_for(lambda: any("ipykernel" in words_of(child) for child in top.children(recursive=True)))
        time.sleep(1)
        heard = {connection.laddr.ip for process in [top, *top.children(recursive=True)] for connection in process.net_connections("inet") if connection.status == "LISTEN"}
        assert heard and heard <= {"127.0.0.1", "::1"}
    finally:
        sweep.send_signal(signal.SIGTERM)
        sweep.wait(timeout=40)


def test_help_is_quick_and_lists_the_commands():
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "augment_lib.cli", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert all(f" {name} " in done.stdout for name in ("run", "sweep", "status", "tables", "figures", "claims", "data", "results", "reports", "augment", "sample"))
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"torch", "pandas", "distributed", "papermill", "sklearn", "matplotlib"}


def test_data_command_passes_its_words_on(capsys):
    assert cli.main(["data", "list", "--task", "regression"]) == 0
    assert "diabetes" in capsys.readouterr().out


# ---- the repository's own

def test_headline_calls_fit_their_notebooks():
    jobs = plan("headline", "small")
    assert jobs and all(job.parameters["profile"] == "small" for job in jobs)


@pytest.mark.parametrize("profile", ["smoke", "small", "paper"])
def test_every_experiment_has_runs_in_every_profile(profile):
    there = {path.stem for path in (ROOT / "nbs" / "experiments").glob("*.ipynb")}
    assert {job.experiment for job in plan("all", profile)} == there


@pytest.mark.parametrize("notebook", sorted((ROOT / "nbs" / "experiments").glob("*.ipynb")), ids=lambda path: path.stem)
def test_experiments_declare_what_the_driver_passes(notebook):
    declared = signature(notebook)
    assert {"profile", "run_dir"} <= set(declared) and declared["run_dir"][1] == "" and declared["profile"] == ("str", "smoke")
    assert all(kind in KINDS for kind, _ in declared.values()), "every parameter is annotated"
    assert work_out_request(notebook.stem, {"profile": "smoke"}, notebook)["id"].startswith(notebook.stem)
