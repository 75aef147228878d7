"""child: a notebook that does its worst, killed keepers and callers, a full disk, two attempts at once."""
import base64
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from augment_lib import child
from augment_lib.child import MARKER, RETRYABLE, Outcome, Spec, Stopped, append_event, as_yaml, end_run, flaw, marked, publish, run_supervised
from augment_lib.child import take_lock, taken, tidy, verify

LINUX = sys.platform == "linux"
PARAMETERS = 'run_dir: str = ""\nrate: float = 0.0\nname: str = ""'
FINISH = '''import json, pathlib
place = pathlib.Path(run_dir)
told = json.loads((place / "request.json").read_text())
(place / "table.csv").write_text("1234567")
(place / "record.json").write_text(json.dumps({"id": told["id"], "artefacts": {"table.csv": {"bytes": 7}}, "seen": [repr(rate), name]}))'''
DAEMON = '''import subprocess, sys
code = """import os, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
open(NAME, 'w').write(str(os.getpid()))
WORK
"""
def daemon(name, work="time.sleep(99)", **known):
    subprocess.run([sys.executable, "-c", code.replace("NAME", repr(run_dir + "/../../" + name)).replace("WORK", work)], **known)
'''
GROW = "hoard = []\nfor _ in range(20):\n    hoard.append(b'x' * 10**8); time.sleep(0.1)\ntime.sleep(60)"
TELL = "open(run_dir + '/../../HERE', 'w').write(str(os.getpid()))"


def toy(lab, name, code="", finish=FINISH, **known):
    "The specification of a tiny notebook."
    cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell("import os, signal, time\n" + code)]
    notebook = nbformat.v4.new_notebook(cells=cells + [nbformat.v4.new_code_cell(finish)])
    notebook.metadata["kernelspec"] = {"display_name": "python3", "language": "python", "name": "python3"}
    path = Path(lab) / f"{name}.ipynb"
    nbformat.write(notebook, path)
    known = {"arguments": {}, "request": {"id": f"toy-{name}"}, "deadline": 60, "memory": 3 * 10**9, **known}
    return Spec(experiment="toy", id=f"toy-{name}", notebook=str(path), home=str(Path(lab).resolve() / "runs"), **known)


def together(*jobs):
    "Call all at once; their results."
    results = [None] * len(jobs)

    def work(i):
        results[i] = jobs[i]()
    crowd = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    return results


def wait_for(condition, seconds):
    "Until it holds; the last answer."
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def leftovers(spec):
    "Attempts of a run, and processes that belong to it."
    return [*(spec.folder / "attempts").glob(f"{spec.id}.*"), *marked(spec.final)]


def keeper_of(caller=None):
    "The keeper that a process has started."
    while True:
        for process in psutil.Process(caller).children():
            with suppress(psutil.Error):
                if "augment_lib.child" in process.cmdline():
                    return process
        time.sleep(0.01)


def here(spec, name="here"):
    "Wait until the notebook says where it is: a process id."
    path = spec.folder / name
    assert wait_for(lambda: path.is_file() and path.read_text(), 30), f"{name}: the notebook did not get that far"
    return int(path.read_text())


# ---- the misbehaving: all of them at once, each in its own way

BAD = {
    "good": (DAEMON + "daemon('orphan')\nif sys.platform == 'linux': daemon('hidden', env={})\ntime.sleep(0.3)",
             {"arguments": {"rate": 1e-05, "name": "\U0001f600: 1e-05"}}),
    "endless": ("while True: pass", {"deadline": 4}),
    "talker": ("raise ValueError('No space left on device ' + 'x' * 50_000 + '\\nDeadKernelError? No.\\nnoise')", {}),
    "hungry": (DAEMON + f"import time\ndaemon('hog', {GROW!r})\ntime.sleep(60)" if LINUX else GROW, {"memory": 600_000_000}),
    "loud": ("while True: print('x' * 1000)", {"output": 5_000_000}),
    "suicide": ("os.kill(os.getpid(), signal.SIGKILL)", {}),
    "patricide": ("os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)", {}),
    "full": ("open('/dev/full', 'w').write('x' * 10**6)", {}),
    "forger": ("", {"finish": FINISH + '\n(place / "table.csv").unlink()'}),
    "vandal": ("import shutil\nshutil.rmtree(run_dir)\nraise ValueError('gone')", {}),
}
EXPECTED = {"good": "ok", "endless": "deadline", "talker": "exception", "hungry": "out of memory", "loud": "too much output", "suicide": "dead kernel",
            "patricide": "dead kernel", "full": "disk full", "forger": "no record", "vandal": "exception"}
ONLY_LINUX = {"full"}


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    "name -> (specification, outcome) of all the bad ones, run three at a time."
    lab, found = tmp_path_factory.mktemp("ward"), {}
    names = [name for name in BAD if LINUX or name not in ONLY_LINUX]
    specs = {name: toy(lab, name, BAD[name][0], **BAD[name][1]) for name in names}
    good = specs["good"]
    (good.folder / "failed" / good.id).mkdir(parents=True)                                     # it failed before
    (good.folder / "attempts" / f"{good.id}.here.1").mkdir(parents=True)                       # and its keeper was killed once
    old = subprocess.Popen(["sleep", "99"], env={**os.environ, MARKER: str(good.final)}, start_new_session=True)
    queue = iter(names)

    def slot():
        for name in queue:
            found[name] = (specs[name], run_supervised(specs[name]))
    together(slot, slot, slot)
    found["old"] = old.wait(5)
    return found


@pytest.mark.parametrize("name", BAD)
def test_each_ends_as_what_it_is(ward, name):
    if name not in ward:
        pytest.skip("needs Linux")
    spec, outcome = ward[name]
    assert outcome.status == EXPECTED[name], outcome
    assert leftovers(spec) == []
    assert len(pickle.dumps(outcome)) < 10_000
    assert spec.final.exists() == (outcome.status == "ok")
    if outcome.status == "ok":
        assert not (spec.folder / "failed" / spec.id).exists() and outcome.folder == str(spec.final)
        assert sorted(os.listdir(spec.final)) == ["notebook.ipynb", "record.json", "request.json", "stdout.log", "table.csv"]
    else:
        notes = json.loads((Path(outcome.folder) / "failure.json").read_text())
        assert (notes["status"], notes["message"], notes["pid"]) == (outcome.status, outcome.message, outcome.pid)
        assert set(os.listdir(outcome.folder)) <= {"failure.json", "stdout.log", "notebook.ipynb"}


def test_arguments_arrive_as_they_were_sent(ward):
    record = json.loads((ward["good"][0].final / "record.json").read_text())
    assert record["seen"] == ["1e-05", "\U0001f600: 1e-05"]      # a float and a text, although both look alike


def test_what_a_killed_keeper_left_is_ended_first(ward):
    assert ward["old"] == -signal.SIGKILL


def test_a_failed_notebook_can_be_read(ward):
    told = nbformat.read(Path(ward["talker"][1].folder) / "notebook.ipynb", 4)
    assert [output.ename for cell in told.cells for output in cell.get("outputs", []) if output.output_type == "error"] == ["ValueError"]
    assert ward["talker"][1].message.endswith("noise")


def test_daemons_do_not_outlive_their_run(ward):
    for name in ("orphan", "hidden", "hog"):
        path = ward["good"][0].folder / name
        assert not LINUX and name != "orphan" or gone(int(path.read_text())), name


def test_limits_are_kept_closely(ward):
    assert ward["endless"][1].seconds < 12
    assert 600_000_000 < ward["hungry"][1].peak_rss_bytes < 1_500_000_000
    assert (Path(ward["loud"][1].folder) / "stdout.log").stat().st_size == 1_000_000


def test_every_attempt_is_told(ward):
    lines = [json.loads(line) for line in (Path(ward["good"][0].home) / "events.jsonl").read_text().splitlines()]
    assert sorted(line["run"] for line in lines if line["event"] == "started") == sorted(ward[name][0].id for name in ward if name != "old")


# ---- killing

CALLER = '''import json, sys
from augment_lib.child import Spec, run_supervised
print(run_supervised(Spec.from_dict(json.loads(sys.argv[1]))).status)'''


def call(spec):
    return subprocess.Popen([sys.executable, "-c", CALLER, json.dumps(spec.to_dict())], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_a_killed_caller(tmp_path, number):
    spec = toy(tmp_path, "toy", DAEMON + "daemon('orphan')\n" + TELL.replace("HERE", "here") + "\ntime.sleep(60)")
    caller = call(spec)
    kernel, orphan, keeper = here(spec), here(spec, "orphan"), keeper_of(caller.pid)
    caller.send_signal(number)
    caller.wait(10)
    assert wait_for(lambda: all(map(gone, (kernel, orphan, keeper.pid))) and not leftovers(spec), 3), leftovers(spec)
    assert not spec.final.exists()


def test_a_caller_killed_while_its_keeper_starts_is_missed(tmp_path):
    spec = toy(tmp_path, "toy", "time.sleep(60)")
    caller = call(spec)
    keeper = keeper_of(caller.pid)
    caller.kill()
    caller.wait()
    assert wait_for(lambda: gone(keeper.pid), 5)
    assert leftovers(spec) == [] and not spec.final.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_killed_keeper(tmp_path, number):
    spec = toy(tmp_path, "toy", DAEMON + "daemon('orphan')\n" + TELL.replace("HERE", "here") + "\ntime.sleep(60)")

    def kill():
        kernel, orphan = here(spec), here(spec, "orphan")
        keeper_of().send_signal(number)
        return kernel, orphan
    outcome, pids = together(lambda: run_supervised(spec), kill)
    assert outcome.status == "lost" and outcome.status in RETRYABLE
    assert leftovers(spec) == [] and all(map(gone, pids))
    assert not spec.final.exists()


def test_two_attempts_of_one_run(tmp_path):
    spec, broken, over = toy(tmp_path, "toy", "time.sleep(0.3)"), [], threading.Event()

    def look():
        seen = 0
        while not over.is_set():
            if spec.final.exists():
                seen += 1
                if flaw(spec.final, spec.id) or not (spec.final / "notebook.ipynb").is_file() or list(spec.final.glob("*.tmp")):
                    broken.append(os.listdir(spec.final))
        return seen

    def both():
        found = together(*[lambda: run_supervised(spec)] * 2)
        over.set()
        return found
    (first, second), seen = together(both, look)
    assert sorted([first.status, second.status]) == ["already", "ok"]
    assert first.folder == second.folder == str(spec.final)
    assert seen and not broken and leftovers(spec) == []
    assert len((Path(spec.home) / "events.jsonl").read_text().splitlines()) == 1      # only one of them started anything


# ---- a full disk

FULL_DISK = '''import json, os, pathlib, sys
from augment_lib.child import Spec, run_supervised
spec = Spec.from_dict(json.loads(sys.argv[1]))
outcome = run_supervised(spec)
files = sorted(str(path.relative_to(spec.home)) for path in pathlib.Path(spec.home).rglob("*") if path.is_file())
print(json.dumps([outcome._asdict(), files]))'''


@pytest.mark.parametrize("code", ["open(run_dir + '/big', 'wb').write(b'x' * 10**7)", "while True: print('x' * 1000)"], ids=["file", "log"])
def test_full_disk(tmp_path, code):
    spec = toy(tmp_path, "toy", code, memory=3_000_000_000)
    Path(spec.home).mkdir()
    mount = f"mount -t tmpfs -o size=4m none {spec.home}"
    if not LINUX or not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("a small disk cannot be made here")
    command = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$0" -c "$1" "$2"', sys.executable, FULL_DISK, json.dumps(spec.to_dict())]
    outcome, files = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60).stdout)
    assert outcome["status"] == "disk full" and spec.home in outcome["message"]
    assert [name for name in files if name.startswith("toy/failed")] in ([], ["toy/failed/toy-toy/failure.json", "toy/failed/toy-toy/stdout.log"],
                                                                       [f"toy/failed/toy-toy/{name}" for name in ("failure.json", "notebook.ipynb", "stdout.log")])
    assert not [name for name in files if not name.startswith(("toy/failed", "toy/locks", "events.jsonl"))]


def test_a_line_that_was_cut_is_an_error(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(child.os, "write", lambda handle, data: real(handle, data[:10]))
    with pytest.raises(OSError, match="No space left"):
        append_event(tmp_path, "toy")


# ---- without a notebook

def fast(tmp_path, **known):
    known = {"notebook": "none.ipynb", "arguments": {}, "request": {}, "deadline": 0.5, **known}
    return Spec(experiment="toy", id="toy-1", home=str(tmp_path / "runs"), **known)


def place(spec, **files):
    spec.final.mkdir(parents=True)
    for name, text in files.items():
        (spec.final / name.replace("_", ".")).write_text(text)


@pytest.mark.parametrize("files, status", [({"record_json": '{"id": "toy-1", "artefacts": {}}'}, "already"),
                                           ({"record_json": '{"id": "toy-1", "arte'}, "exception"),
                                           ({"record_json": '{"id": "toy-2", "artefacts": {}}'}, "exception"),
                                           ({"letter_txt": "mine"}, "exception")])
def test_final_folder_that_exists(tmp_path, files, status):
    spec = fast(tmp_path)
    place(spec, **files)
    outcome = run_supervised(spec)
    assert outcome.status == status and ("in the way" in outcome.message) == (status == "exception")
    assert [path.name for path in spec.final.iterdir()] == [name.replace("_", ".") for name in files]
    assert not (Path(spec.home) / "events.jsonl").exists()      # nothing was started


def test_lock_of_another_process(tmp_path):
    spec = fast(tmp_path)
    handle = take_lock(spec.folder / "locks" / spec.id, 0, lambda: False)
    (spec.folder / "attempts" / f"{spec.id}.there.1").mkdir(parents=True)
    outcome = run_supervised(spec)
    tidy(spec)
    assert outcome.status == "deadline" and str(os.getpid()) in outcome.message
    assert leftovers(spec) and not (spec.folder / "failed").exists()      # whose run goes on is left alone
    os.close(handle)
    tidy(spec)
    assert not leftovers(spec)


def test_home_that_cannot_be_written(tmp_path):
    (tmp_path / "runs").write_text("a file")
    outcome = run_supervised(fast(tmp_path))
    assert outcome.status == "exception" and str(tmp_path / "runs") in outcome.message


def test_fault_of_the_keeper_is_not_a_lost_machine(tmp_path):
    outcome = run_supervised(fast(tmp_path, environment={"NAME": 3}, deadline=5))
    assert outcome.status == "exception" and "TypeError" in outcome.message and outcome.status not in RETRYABLE


def test_keeper_that_cannot_start(tmp_path, monkeypatch):
    monkeypatch.setattr(child.sys, "executable", shutil.which("false"))
    outcome = run_supervised(fast(tmp_path))
    assert outcome.status == "lost" and "code 1" in outcome.message


def test_notebook_that_is_not_there(tmp_path):
    outcome = run_supervised(fast(tmp_path, deadline=30))
    assert outcome.status == "exception" and "none.ipynb" in outcome.message + (Path(outcome.folder) / "stdout.log").read_text()


def test_name_taken_at_the_last_moment(tmp_path):
    spec = fast(tmp_path)
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("notebook.ipynb.tmp", "record.json"):
        (mine / name).write_text('{"id": "toy-1", "artefacts": {}}')
    place(spec, record_json='{"id": "toy-1", "artefacts": {}}')
    assert publish(spec, mine) is False and mine.is_dir()
    shutil.rmtree(spec.final)
    spec.final.write_text("a file")
    with pytest.raises(Stopped, match="in the way"):
        taken(spec)
    assert spec.final.read_text() == "a file"


def test_only_the_marked_are_ended(tmp_path):
    marks = [tmp_path / "a", tmp_path / "ab"]
    crowd = [subprocess.Popen(["sleep", "60"], env={**os.environ, MARKER: str(mark)}) for mark in marks]
    end_run(marks[0])
    assert gone(crowd[0].pid) and crowd[1].poll() is None
    crowd[1].kill()
    crowd[1].wait()


def test_a_chain_that_forks_all_the_time_is_caught(tmp_path):
    chain = "import os, time\nend = time.time() + 20\nwhile time.time() < end:\n    time.sleep(0.1)\n    if os.fork(): os._exit(0)"
    process = subprocess.Popen([sys.executable, "-c", chain], env={**os.environ, MARKER: str(tmp_path)})
    process.wait(5)
    assert wait_for(lambda: marked(tmp_path), 5)
    end_run(tmp_path)
    assert wait_for(lambda: not marked(tmp_path), 0.3)


@pytest.mark.parametrize("log", ["Disk quota exceeded", "OSError: [Errno 28] No space left on device: 'a'"])
def test_full_disk_is_read_from_the_last_line_of_the_log(tmp_path, log):
    spec = fast(tmp_path)
    Path(spec.home).mkdir()
    for text, status in ((log, "disk full"), (log + "\nValueError: x", "exception")):
        (tmp_path / "stdout.log").write_text(text)
        with pytest.raises(Stopped) as stopped:
            verify(spec, tmp_path, 1)
        assert stopped.value.args[0] == status


PLAIN = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"])),
                     lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), PLAIN, max_size=3))
def test_arguments_survive_the_way(arguments):
    found = yaml.safe_load(base64.b64decode(as_yaml(arguments)))
    assert found == arguments and repr(found) == repr(arguments)


def test_specification_and_outcome_are_plain(tmp_path):
    spec = fast(tmp_path)
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    outcome = Outcome("a", "b", "ok", "", 1.0, 2, "c", 3, "d")
    assert pickle.loads(pickle.dumps(outcome)) == outcome == Outcome(**json.loads(json.dumps(outcome._asdict())))


def test_keeper_is_light():
    heavy = "import sys, augment_lib.child\nprint(sorted({'numpy', 'pandas', 'torch', 'pydantic', 'yaml', 'papermill', 'asyncio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True).stdout.strip() == "[]"
