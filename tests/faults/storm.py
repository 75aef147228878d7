"""A storm: a sweep of toy notebooks while workers, kernels, their keepers, the scheduler and the sweep itself are killed at random.

Used by test_storm.py (small, part of `make test`) and by `make faults` (python tests/faults/storm.py, the full size). The kills are SIGKILL: nobody gets a chance
to tidy up. Afterwards every run must be finished exactly once, nothing half-written may lie at a final path, and no process may be left.
"""
import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import augment_lib
import nbformat
import psutil

PARAMETERS = '''profile: str = "smoke"    # smoke | small | paper
number: int = 0           # which of the runs
run_dir: str = ""         # all files go below'''
BODY = '''import time
from augment_lib.records import start_run
run = start_run(run_dir, "30_storm", dict(profile=profile, number=number, run_dir=run_dir))
time.sleep({seconds})
run.finish(metrics={{"number": number}}, verdict="reproduced")'''


def make_lab(folder, n_runs, seconds):
    "A project of one notebook and a sweep of n_runs."
    experiments = Path(folder) / "experiments"
    (experiments / "sweeps").mkdir(parents=True)
    cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(BODY.format(seconds=seconds))]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"display_name": "python3", "language": "python", "name": "python3"}
    nbformat.write(notebook, experiments / "30_storm.ipynb")
    (experiments / "sweeps" / "30_storm.yaml").write_text(f"notebook: 30_storm\nprofiles:\n  small:\n    grid: {{number: {list(range(n_runs))}}}\n    deadline: 120s\n")
    return experiments


def copy_library(place):
    "The package and its registry of data sets, away from the hands of who edits them."
    package = Path(augment_lib.__file__).parent
    shutil.copytree(package, place / "augment_lib", ignore=shutil.ignore_patterns("__pycache__"))
    if (package.parent / "data").is_dir():
        shutil.copytree(package.parent / "data", place / "data")
    return place


class Cluster:
    "A scheduler and workers in processes of their own, each started again when it is gone."

    def __init__(self, n_workers, folder, environment):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address, self.folder, self.environment, self.n_workers = f"tcp://127.0.0.1:{self.port}", Path(folder), environment, n_workers
        self.scheduler, self.workers = None, [None] * n_workers

    def start(self, words):
        return subprocess.Popen([sys.executable, "-m", "dask", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                                env=self.environment, cwd=self.folder)

    def mend(self):
        "Start what is not there."
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.scheduler = self.start(["scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"])
        for i, worker in enumerate(self.workers):
            if worker is None or worker.poll() is not None:
                self.workers[i] = self.start(["worker", self.address, "--nthreads", "1", "--nworkers", "1", "--no-dashboard", "--host", "127.0.0.1",
                                              "--memory-limit", "0", "--local-directory", str(self.folder), "--death-timeout", "30"])

    def close(self):
        for process in [*self.workers, self.scheduler]:
            for member in family(process):
                kill(member)


def family(process):
    "A process and its descendants."
    try:
        top = psutil.Process(process.pid)
        return [*top.children(recursive=True), top]
    except (psutil.NoSuchProcess, AttributeError):
        return []


def kill(process):
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        pass


def marked(home):
    "Living processes that belong to a run of this folder."
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and str(process.environ().get("AUGMENT_LIB_RUN", "")).startswith(str(home)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def victims(kind, cluster, home):
    "Processes of a kind."
    if kind == "scheduler":
        return family(cluster.scheduler)[-1:]
    if kind == "worker":        # the nanny or the worker process below it
        return [process for worker in cluster.workers for process in family(worker) if "spawn_main" in words(process) or "-m dask worker" in words(process)]
    if kind == "keeper":        # it owns the run's processes and is none of them
        return [process for worker in cluster.workers for process in family(worker) if "augment_lib.child" in words(process)]
    return [process for process in marked(home) if {"kernel": "ipykernel", "papermill": "-m papermill"}[kind] in words(process)]


def words(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class Watch(threading.Thread):
    "Looks at the final folders all the time: whatever is there must be complete."

    def __init__(self, home):
        super().__init__(daemon=True)
        self.home, self.seen, self.broken, self.ended = Path(home), set(), [], threading.Event()

    def look(self):
        for folder in (self.home / "30_storm").glob("30_storm-*"):
            names = {path.name for path in folder.iterdir()}
            self.seen.add(folder.name)
            if not {"record.json", "notebook.ipynb"} <= names or any(name.endswith(".tmp") for name in names):
                self.broken.append((folder.name, sorted(names)))
            else:
                json.loads((folder / "record.json").read_text())

    def run(self):
        while not self.ended.wait(0.2):
            self.look()


def storm(folder, n_runs=40, n_kills=10, n_sweep_kills=1, n_workers=3, seconds=2.0, seed=0, limit=1500, say=print):
    "Run it; a dict of what was seen."
    rng, folder = random.Random(seed), Path(folder).resolve()
    experiments, home = make_lab(folder, n_runs, seconds), folder / "runs"
    library = copy_library(folder / "library")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "AUGMENT_LIB_RUNS": str(home), "PYTHONPATH": str(library)}      # who edits the library meanwhile makes no run stale
    cluster, watch = Cluster(n_workers, folder, environment), Watch(home)
    command = [sys.executable, "-m", "augment_lib.cli", "sweep", "30_storm", "--folder", str(experiments), "--scheduler", cluster.address, "--keep-going", "--retries", "50",
               "--out", str(folder / "out"), "--results", str(folder / "results"), "--stale", "keep"]
    kinds = ["worker", "kernel", "papermill", "keeper", "scheduler"]
    deck = [kinds[i % len(kinds)] for i in range(n_kills)]      # every kind gets its share
    rng.shuffle(deck)
    killed, starts, sweep, begun = Counter(), 0, None, time.monotonic()
    marks = sorted(rng.uniform(0.03, 0.8) for _ in range(n_kills))               # at which share of finished runs each kill comes
    sweep_marks = sorted(rng.uniform(0.1, 0.8) for _ in range(n_sweep_kills))
    cluster.mend(); watch.start()
    log = open(folder / "sweep.log", "ab")
    try:
        while True:
            if time.monotonic() - begun > limit:
                raise TimeoutError(f"the storm did not end within {limit} s: {len(watch.seen)} of {n_runs} finished, killed {dict(killed)}")
            cluster.mend()
            if sweep is None or sweep.poll() is not None:
                if sweep is not None and sweep.returncode == 0:
                    break
                sweep, starts = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=folder), starts + 1
            share = len(watch.seen) / n_runs
            if marks and share >= marks[0]:
                found = victims(deck[0], cluster, home)
                if found:
                    kill(rng.choice(found))
                    killed[deck.pop(0)] += 1
                    marks.pop(0)
            if sweep_marks and share >= sweep_marks[0]:
                sweep.kill(); sweep.wait()
                killed["sweep"] += 1
                sweep_marks.pop(0)
            time.sleep(0.1)
    finally:
        log.close()
        if sweep is not None and sweep.poll() is None:
            sweep.kill()
        cluster.close()
        watch.ended.set()
    seconds_taken = time.monotonic() - begun
    end = time.monotonic() + 15
    while marked(home) and time.monotonic() < end:
        time.sleep(0.2)
    left = [(process.pid, words(process)) for process in marked(home)]
    watch.look()
    numbers = sorted(json.loads(path.read_text())["metrics"]["number"] for path in (home / "30_storm").glob("30_storm-*/record.json"))
    won = Counter(event["run"] for event in events_of(home) if event["event"] == "finished" and event.get("status") == "ok")
    found = {"runs": n_runs, "numbers": numbers, "killed": dict(killed), "starts": starts, "broken": watch.broken, "left": left, "seconds": seconds_taken,
             "twice": [run for run, n in won.items() if n > 1], "attempts": sorted(path.name for path in (home / "30_storm" / "attempts").glob("*"))}
    say({**found, "numbers": f"{len(set(numbers))} different of {len(numbers)}"})
    return found


def events_of(home):
    "The event log; every line must be whole."
    return [json.loads(line) for line in (Path(home) / "events.jsonl").read_text().splitlines()]


def check(found, n_kills, n_sweep_kills):
    "What the storm must not have touched, and that there was a storm."
    assert sum(found["killed"].values()) == n_kills + n_sweep_kills and found["killed"].get("sweep", 0) == n_sweep_kills, f"only {found['killed']} were killed"
    assert found["numbers"] == list(range(found["runs"])), "a run was lost, or finished twice"
    assert not found["broken"], f"half-written at a final path: {found['broken'][:3]}"
    assert not found["twice"], f"told as finished twice: {found['twice'][:3]}"
    assert not found["left"], f"processes left behind: {found['left'][:3]}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--restarts", type=int, default=5, help="kills of the sweep itself")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long a notebook sleeps")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="augment_lib-storm-") as place:
        try:
            found = storm(place, options.runs, options.kills, options.restarts, options.workers, options.seconds, options.seed)
            check(found, options.kills, options.restarts)
        except (AssertionError, TimeoutError):
            print((Path(place) / "sweep.log").read_text(errors="replace")[-6000:])
            raise
