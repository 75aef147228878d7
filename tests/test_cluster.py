"""cluster: who is tried again, when a sweep stops, and that a dead worker, scheduler or sweep costs nothing but time."""
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

import nbformat
import psutil
import pytest
from faults.storm import Cluster, events_of, family, kill, marked, words

from augment_lib import cluster
from augment_lib.child import RETRYABLE, Outcome
from augment_lib.child import marked as child_marked
from augment_lib.cluster import Batch, Options, Slot, check_options, execute, make_slots, run_jobs, slot_environment, to_spec, visible_gpus
from augment_lib.core import InputError
from augment_lib.sweep import Job, Limits

STATUSES = ["ok", "already", "exception", "dead kernel", "out of memory", "deadline", "too much output", "disk full", "no record", "lost"]
CODE = """import json, os, pathlib, time
assert os.environ.get("MALLOC_TRIM_THRESHOLD_") != "65536", "Dask's allocator setting reached the notebook: training is 1.5 times slower"
here = pathlib.Path(run_dir)
time.sleep(seconds)
told = json.loads((here / "request.json").read_text())
(here / "record.json").write_text(json.dumps({"id": told["id"], "artefacts": {}, "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "threads": os.environ["OMP_NUM_THREADS"]}))"""


def toys(folder, n, seconds=0.5, gpu=False):
    "Jobs of one notebook, as `plan` would give them."
    path = Path(folder) / "30_toy.ipynb"
    cells = [nbformat.v4.new_code_cell('number: int = 0\nseconds: float = 0.0\nrun_dir: str = ""', metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(CODE)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"display_name": "python3", "language": "python", "name": "python3"}
    nbformat.write(notebook, path)
    told = [{"number": number, "seconds": seconds} for number in range(n)]
    return [Job("30_toy", path, call, call, f"30_toy-{i}", {"id": f"30_toy-{i}", "notebook": "", "library": ""}, Limits(120.0), gpu) for i, call in enumerate(told)]


def outcome_of(job, status="ok"):
    return Outcome(job.id, job.experiment, status, "why", 1.0, 0, "", 0, "")


def wait_for(condition, seconds=60):
    "Is it true within that time?"
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return bool(condition())


# ---- a batch without a cluster

class FakeFuture:
    def __init__(self, key, status, result):
        self.key, self.status, self._result = key, status, result

    def done(self):
        return self.status != "pending"

    def result(self):
        return self._result

    def exception(self):
        return self._result


class KilledWorker(Exception):
    "By this name Dask tells that a worker died."


class FakeClient:
    "Answers every submission with the next status of a script: a status of an outcome, or an exception."
    status, dashboard_link = "running", "http://127.0.0.1:0/status"

    def __init__(self, script=(), threads=1, gpus=0, hold=False):
        self.script, self.threads, self.gpus, self.hold, self.asked, self.most = iter(script), threads, gpus, hold, [], 0

    def scheduler_info(self, n_workers=5):
        return {"workers": {f"w{i}": {"nthreads": 1, "resources": {"GPU": 1} if i < self.gpus else {}} for i in range(self.threads)}}

    def submit(self, function, spec, key, resources=None, **known):
        assert function is execute and known == {"pure": False, "retries": 0}
        json.dumps(spec)      # plain data, no code
        self.asked.append((spec["id"], key, resources))
        told = next(self.script, "ok")
        if told == "cancelled":
            return FakeFuture(key, "cancelled", None)
        if isinstance(told, Exception):
            return FakeFuture(key, "error", told)
        return FakeFuture(key, "finished", Outcome(spec["id"], spec["experiment"], told, "why", 1.0, 0, "", 0, ""))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def play(monkeypatch, tmp_path, script, n=1, clients=None, **options):
    "Run toy jobs against a script; (outcomes, client, events)."
    client = FakeClient(script)
    waiting = iter(clients or [client])
    monkeypatch.setattr(cluster, "_connect", lambda options, slots: next(waiting))
    outcomes = run_jobs(toys(tmp_path, n), tmp_path / "runs", Options(**options))
    return outcomes, client, events_of(tmp_path / "runs")


@pytest.mark.parametrize("status", STATUSES)
def test_only_what_the_machine_did_is_tried_again(monkeypatch, tmp_path, status):
    outcomes, client, events = play(monkeypatch, tmp_path, [status] * 99, retries=2)
    times = 3 if status in ("dead kernel", "out of memory", "lost") else 1
    assert len(client.asked) == times and len({key for _, key, _ in client.asked}) == times
    assert outcomes["30_toy-0"].status == status
    assert [event["event"] for event in events] == ["retried"] * (times - 1) + ["finished" if status in ("ok", "already") else "failed", "sweep-ended"]
    assert (status in RETRYABLE) == (times > 1)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_second_try_may_go_better(monkeypatch, tmp_path, retries):
    outcomes, client, _ = play(monkeypatch, tmp_path, ["lost", "ok"], retries=retries)
    assert outcomes["30_toy-0"].status == ("ok" if retries else "lost") and len(client.asked) == (2 if retries else 1)


def test_tries_are_counted_for_each_run(monkeypatch, tmp_path):
    outcomes, client, _ = play(monkeypatch, tmp_path, ["lost"] * 99, n=3, retries=1, keep_going=True)
    assert Counter(name for name, _, _ in client.asked) == {f"30_toy-{i}": 2 for i in range(3)} and len(outcomes) == 3


def test_worker_that_died_is_lost_and_tried_again(monkeypatch, tmp_path):
    outcomes, client, events = play(monkeypatch, tmp_path, [KilledWorker("w"), "ok"])
    assert outcomes["30_toy-0"].status == "ok" and len(client.asked) == 2
    assert events[0]["event"] == "retried" and "worker died" in events[0]["message"]
    outcomes, client, _ = play(monkeypatch, tmp_path, [KeyError("of ours"), "ok"])
    assert outcomes["30_toy-0"].status == "exception" and "of ours" in outcomes["30_toy-0"].message and len(client.asked) == 1


@pytest.mark.parametrize("options, script, executed, left", [
    ({}, ["ok", "exception"], 2, 3), ({"keep_going": True}, ["exception"] * 9, 5, 0), ({"max_failures": 2}, ["exception", "ok", "exception"], 3, 2),
    ({"max_failures": 2, "keep_going": True}, ["exception"] * 9, 2, 3), ({"keep_going": True}, ["ok", "disk full"], 2, 3), ({"max_failures": 9}, ["disk full"], 1, 4),
    ({}, ["already", "ok"], 5, 0), ({"retries": 1}, ["lost", "ok"], 6, 0)])
def test_when_a_batch_stops(monkeypatch, tmp_path, options, script, executed, left):
    outcomes, client, events = play(monkeypatch, tmp_path, script, n=5, scheduler=None, **options)
    assert len(client.asked) == executed and len(outcomes) == 5 - left
    assert events[-1]["event"] == "sweep-ended" and events[-1]["left"] == left
    assert events[-1]["failed"] == sum(outcome.status not in ("ok", "already") for outcome in outcomes.values())


def test_lost_scheduler_costs_no_try_and_nothing_is_lost(monkeypatch, tmp_path):
    first, second = FakeClient(["ok", "cancelled"]), FakeClient([])
    outcomes, _, _ = play(monkeypatch, tmp_path, [], n=4, clients=[first, second], retries=0)
    assert {outcome.status for outcome in outcomes.values()} == {"ok"} and len(outcomes) == 4
    assert first.asked[1][0] == second.asked[0][0], "what was out comes first"
    gone = FakeClient([])
    gone.submit = lambda function, spec, key, **known: FakeFuture(key, "pending", None)
    gone.status = "closed"
    outcomes, _, _ = play(monkeypatch, tmp_path, [], n=3, clients=[gone, FakeClient([])], retries=0)
    assert len(outcomes) == 3


@pytest.mark.parametrize("threads, options, window", [(1, {}, 1), (3, {}, 3), (0, {"scheduler": "tcp://x"}, 8), (2, {"scheduler": "tcp://x"}, 8), (30, {"scheduler": "tcp://x"}, 60)])
def test_no_more_is_out_than_there_is_room_for(tmp_path, threads, options, window):
    client, most = FakeClient(threads=threads), []
    held = []
    real = client.submit

    def submit(*a, **k):
        future = real(*a, **k)
        future.status = "pending"
        held.append(future)
        return future

    def tell(event, batch=None, **known):
        if event == "waiting":
            most.append(len(batch.out))
            for future in held:
                future.status = "finished"

    client.submit = submit
    batch = Batch(toys(tmp_path, 70), tmp_path / "runs", Options(**options), tell)
    cluster._turn(client, batch)
    assert len(batch.outcomes) == 70 and max(most) == window and not batch.waiting and not batch.out


def test_a_scheduler_without_workers_is_told_once_each_time(tmp_path, monkeypatch):
    client, events, clock = FakeClient(threads=0), [], iter(range(0, 9999, 3))
    real, held = client.submit, []

    def submit(*a, **k):
        held.append(real(*a, **k))
        held[-1].status = "pending"
        return held[-1]

    def tell(event, batch=None, **known):
        events.append(event)
        client.threads = 1 if events.count("waiting") in (4, 5) else 0
        for future in held:
            future.status = "finished" if events.count("waiting") > 8 else "pending"

    client.submit = submit
    monkeypatch.setattr(cluster.time, "monotonic", lambda: next(clock))
    batch = Batch(toys(tmp_path, 1), tmp_path / "runs", Options(scheduler="tcp://x"), tell)
    cluster._turn(client, batch)
    assert events.count("no-workers") == 2 and len(batch.outcomes) == 1


def test_a_gpu_is_asked_for_only_where_there_is_one(tmp_path):
    for gpus, wanted, resources in ((0, True, None), (1, True, {"GPU": 1}), (1, False, None)):
        client = FakeClient(threads=2, gpus=gpus)
        cluster._turn(client, Batch(toys(tmp_path, 2, gpu=wanted), tmp_path / "runs"))
        assert [asked for _, _, asked in client.asked] == [resources] * 2


def test_interrupt_ends_the_batch_and_says_what_is_left(monkeypatch, tmp_path):
    def tell(event, **known):
        if event == "finished":
            raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "_connect", lambda options, slots: FakeClient())
    with pytest.raises(KeyboardInterrupt):
        run_jobs(toys(tmp_path, 3), tmp_path / "runs", tell=tell)
    assert events_of(tmp_path / "runs")[-1]["event"] == "sweep-ended" and events_of(tmp_path / "runs")[-1]["left"] == 2


@pytest.mark.parametrize("wrong, name", [({"workers": 0}, "workers"), ({"workers": 1.5}, "workers"), ({"retries": -1}, "retries"), ({"max_failures": 0}, "max_failures"), ({"patience": -1}, "patience")])
def test_options_that_make_no_sense(wrong, name):
    with pytest.raises(InputError, match=name):
        check_options(Options(**wrong))
    assert check_options(Options()) == Options()


def test_scheduler_that_does_not_answer(tmp_path):
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(InputError, match="does not answer.*dask scheduler"):
            run_jobs(toys(tmp_path, 1), tmp_path / "runs", Options(scheduler=address, patience=0.5))
    assert not list((tmp_path / "runs").glob("30_toy"))


# ---- slots

def test_slots_share_gpus_and_memory(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-ab,-1")
    assert visible_gpus() == ["3", "GPU-ab"]
    slots = make_slots(3)
    assert [slot.gpu for slot in slots] == ["3", "GPU-ab", None] and [slot.number for slot in slots] == [0, 1, 2]
    assert sum(slot.memory for slot in slots) <= 0.9 * psutil.virtual_memory().total
    assert [slot_environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["3", "GPU-ab", ""]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == [] and len(make_slots(None, 1)) == 1 and len(make_slots(7, 1)) == 7
    with pytest.raises(InputError, match="workers"):
        make_slots(0)


def test_spec_is_absolute_plain_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = toys(tmp_path, 1)[0]._replace(notebook=Path("30_toy.ipynb"), limits=Limits(7.0, None, 9))
    told = to_spec(job, "runs", 5)
    assert told["notebook"] == str(tmp_path / "30_toy.ipynb") and told["home"] == str(tmp_path / "runs") and json.loads(json.dumps(told)) == told
    assert (told["deadline"], told["memory"], told["output"]) == (7.0, 5, 9) and told["checkpoint"].startswith(told["home"])
    assert to_spec(job._replace(limits=Limits(7.0, 3)), "runs", 5)["memory"] == 3


def test_slot_gives_threads_and_memory(tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr(cluster, "run_supervised", heard.append)
    monkeypatch.setenv("AUGMENT_LIB_SLOT_THREADS", "4")
    monkeypatch.setenv("AUGMENT_LIB_SLOT_MEMORY", "1000")
    spec = to_spec(toys(tmp_path, 1)[0], tmp_path)
    execute(spec)
    execute({**spec, "memory": 7, "environment": {"OMP_NUM_THREADS": "2"}})
    assert heard[0].memory == 1000 and heard[0].environment["OMP_NUM_THREADS"] == "4" == heard[0].environment["MKL_NUM_THREADS"]
    assert heard[1].memory == 7 and heard[1].environment["OMP_NUM_THREADS"] == "2"


# ---- real ones

def check(home, n, statuses=("ok", "already")):
    "Every run is there, once, with a record of its own, and nobody works on it."
    assert sorted(path.parent.name for path in (home / "30_toy").glob("*/record.json")) == sorted(f"30_toy-{i}" for i in range(n))
    assert not list((home / "30_toy" / "attempts").glob("*")) and not marked(home)
    return Counter(event["run"] for event in events_of(home) if event["event"] == "started")


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    "A scheduler and two workers in processes of their own, as someone else would have started them."
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "5"}
    found = Cluster(2, tmp_path_factory.mktemp("cluster"), environment)
    found.mend()
    yield found
    found.close()
    for process in [found.scheduler, *found.workers]:
        process.wait()


class Sweep(threading.Thread):
    "A batch on its way."

    def __init__(self, jobs, home, address, **options):
        super().__init__(daemon=True)
        self.jobs, self.home, self.options, self.outcomes, self.error = jobs, home, Options(scheduler=address, patience=90, **options), None, None

    def run(self):
        try:
            self.outcomes = run_jobs(self.jobs, self.home, self.options)
        except BaseException as error:
            self.error = error

    def result(self, seconds=240, meanwhile=lambda: None):
        end = time.monotonic() + seconds
        while self.is_alive() and time.monotonic() < end:
            meanwhile()
            self.join(0.3)
        assert not self.is_alive(), "it does not end"
        assert self.error is None, "".join(traceback.format_exception(self.error))
        return {name: outcome.status for name, outcome in self.outcomes.items()}


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_machine_that_stood_still_gets_a_second_chance(outside, monkeypatch, tmp_path, where):
    "distributed asserts that the thread of its event loop ran within ten seconds."
    from distributed.utils import LoopRunner
    begin, stalls = LoopRunner._start_unlocked, [True, False]

    def start(runner):
        assert not (stalls and stalls.pop(0))
        begin(runner)

    monkeypatch.setattr(LoopRunner, "_start_unlocked", start)
    outside.mend()
    outcomes = run_jobs(toys(tmp_path, 1), tmp_path / "runs", Options(workers=1) if where == "here" else Options(scheduler=outside.address))
    assert not stalls and [outcome.status for outcome in outcomes.values()] == ["ok"]


def test_two_sweeps_on_one_folder_at_once(outside, tmp_path):
    home, jobs = tmp_path / "runs", toys(tmp_path, 3, seconds=1.0)
    sweeps = [Sweep(jobs, home, outside.address), Sweep(jobs[::-1], home, outside.address)]
    for sweep in sweeps:
        sweep.start()
    statuses = [sweep.result(meanwhile=outside.mend) for sweep in sweeps]
    assert all(set(told) == {job.id for job in jobs} and set(told.values()) <= {"ok", "already"} for told in statuses)
    assert sum(list(told.values()).count("ok") for told in statuses) == 3, "each one was executed by one of the two"
    assert check(home, 3) == {job.id: 1 for job in jobs}
    assert {json.loads(path.read_text())["gpu"] for path in home.glob("*/*/record.json")} == {"5"}, "what the worker sees, its notebooks see"


def test_killed_worker_costs_no_run(outside, tmp_path):
    home, jobs = tmp_path / "runs", toys(tmp_path, 4, seconds=3.0)
    sweep = Sweep(jobs, home, outside.address)
    sweep.start()
    assert wait_for(lambda: any("ipykernel" in words(process) for process in marked(home)), 90), "nothing runs"
    keeper = next(process for process in marked(home) if "papermill" in words(process)).parent()
    worker = keeper.parent()      # not the nanny above it, which starts another
    assert any(worker.pid == process.pid for started in outside.workers for process in family(started))
    kill(worker)
    told = sweep.result(meanwhile=outside.mend)
    assert set(told) == {job.id for job in jobs} and set(told.values()) <= {"ok", "already"}
    started, events = check(home, 4), events_of(home)
    assert sum(started.values()) > 4, "it was in the middle"      # Dask itself hands it out again, or the batch does: depends on how its scheduler was started
    assert Counter(event["run"] for event in events if event["event"] == "finished") == {job.id: 1 for job in jobs}


HELPER = """import json, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
from test_cluster import toys
from augment_lib.cluster import Options, run_jobs
place = Path(sys.argv[2])
run_jobs(toys(place, 2, seconds=float(sys.argv[4])), place / "runs", Options(scheduler=sys.argv[3] or None, workers=None if sys.argv[3] else 1))"""


def test_interrupted_sweep_goes_on(outside, tmp_path):
    home, here = tmp_path / "runs", Path(__file__).parent
    helper = subprocess.Popen([sys.executable, "-c", HELPER, json.dumps([str(here)]), str(tmp_path), outside.address, "2"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert wait_for(lambda: marked(home), 90), "nothing runs"
        helper.send_signal(signal.SIGINT)
        said, _ = helper.communicate(timeout=60)
    finally:
        helper.kill()
    assert helper.returncode != 0 and "KeyboardInterrupt" in said
    assert any(event["event"] == "sweep-ended" for event in events_of(home))
    told = Sweep(toys(tmp_path, 2, seconds=2.0), home, outside.address)
    told.start()
    assert set(told.result(meanwhile=outside.mend).values()) <= {"ok", "already"}
    assert set(check(home, 2).values()) == {1}, "what was under way was waited for, not repeated"


def test_scheduler_that_comes_back(outside, tmp_path):
    home, jobs = tmp_path / "runs", toys(tmp_path, 2, seconds=2.0)
    sweep = Sweep(jobs, home, outside.address, retries=3)
    sweep.start()
    assert wait_for(lambda: marked(home), 90), "nothing runs"
    kill(psutil.Process(outside.scheduler.pid))
    outside.scheduler.wait()
    told = sweep.result(meanwhile=outside.mend)
    assert set(told) == {job.id for job in jobs} and set(told.values()) <= {"ok", "already"}
    check(home, 2)


def test_one_gpu_is_used_by_one_run_at_a_time(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    home, jobs, seen, over = tmp_path / "runs", toys(tmp_path, 2, seconds=0.5, gpu=True), [], threading.Event()

    def look():
        while not over.wait(0.2):
            seen.append({job.id for job in jobs if child_marked(home.resolve() / "30_toy" / job.id)})

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    outcomes = run_jobs(jobs, home, Options(workers=2))
    over.set()
    watcher.join()
    assert {outcome.status for outcome in outcomes.values()} == {"ok"} and len(outcomes) == 2
    records = {path.parent.name: json.loads(path.read_text()) for path in home.glob("*/*/record.json")}
    assert records["30_toy-0"]["gpu"] == records["30_toy-1"]["gpu"] == "4"
    assert {record["threads"] for record in records.values()} == {"1"}
    assert any(seen) and max(map(len, seen)) == 1, "two at once on one GPU"
    assert not marked(home)
    slot = Slot(0, None, 1, 10**9)
    assert slot_environment(slot)["CUDA_VISIBLE_DEVICES"] == "", "without a GPU of its own it sees none"
