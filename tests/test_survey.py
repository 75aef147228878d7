"""survey: no damage, however strange, is taken for a finished run or ends in an exception, and looking costs little."""
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment_lib.records import SCHEMA_VERSION
from augment_lib.survey import look, set_aside, survey
from augment_lib.sweep import Job, Limits

REQUEST = {"notebook": "n" * 64, "library": "l" * 64}


def job_of(number=0, **parameters):
    told = {"profile": "small", "seed": number, "device": "cpu", "n_jobs": 1, **parameters}
    return Job("30_toy", Path("30_toy.ipynb"), told, told, f"30_toy-{number:010x}", {"id": f"30_toy-{number:010x}", **REQUEST}, Limits(60.0))


def record_of(job, **changes):
    return {"schema_version": SCHEMA_VERSION, "id": job.id, "experiment": "30_toy", "status": "ok", "started": "2026-01-01T00:00:00+00:00", "parameters": job.parameters,
            "artefacts": {"table.csv": {"sha256": "0", "bytes": 4}}, "notebook_sha256": REQUEST["notebook"], "library_sha256": REQUEST["library"], "metrics": {"é": 1.0}, **changes}


def write_run(home, job, record=None, folder=None):
    place = Path(home) / "30_toy" / (folder or job.id)
    place.mkdir(parents=True, exist_ok=True)
    (place / "table.csv").write_text("a\n1\n")
    (place / "record.json").write_text(json.dumps(record_of(job) if record is None else record), encoding="utf-8")
    return place


def state_of(job, home):
    return survey([job], home)[0].state


def test_record_cut_anywhere_is_damaged(tmp_path):
    job = job_of()
    path = write_run(tmp_path, job) / "record.json"
    whole = path.read_bytes()
    assert state_of(job, tmp_path) == "finished"
    for end in [*range(0, len(whole), 10), len(whole) - 1]:
        path.write_bytes(whole[:end])
        seen = survey([job], tmp_path)[0]
        assert seen.state == "damaged" and seen.detail and seen.record is None, end
    for start in range(1, len(whole), 10):
        path.write_bytes(bytes(start) + whole[start:])      # a block that never reached the disk
        assert state_of(job, tmp_path) == "damaged", start


JSON = st.recursive(st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2), max_leaves=4)


@given(st.sampled_from(["schema_version", "id", "status", "started", "parameters", "artefacts", "versions", "notebook_sha256"]), JSON, st.booleans())
def test_strange_values_are_never_an_exception(tmp_path_factory, name, value, stranger):
    home = tmp_path_factory.mktemp("strange")
    job, other = job_of(), job_of(1)
    write_run(home, job, record_of(job, **{name: value}), "30_toy-stranger" if stranger else None)
    write_run(home, other)
    seen = survey([job, other], home)
    assert seen[1].state == "finished"
    if name in ("id", "status", "schema_version") and not stranger and value not in (job.id, "ok", SCHEMA_VERSION):
        assert seen[0].state == "damaged" and seen[0].detail
    if stranger:
        assert seen[0].state in ("new", "stale")


@given(JSON)
def test_any_json_is_no_record(tmp_path_factory, value):
    home = tmp_path_factory.mktemp("json")
    assert look(write_run(home, job_of(), record=[value]))[0] is None
    assert state_of(job_of(), home) == "damaged"


@pytest.mark.parametrize("spoil", [
    lambda place: (place / "record.json").unlink() or (place / "record.json").mkdir(), lambda place: (place / "record.json").unlink() or (place / "record.json").symlink_to("nowhere"),
    lambda place: (place / "table.csv").unlink() or (place / "table.csv").symlink_to("table.csv"), lambda place: (place / "record.json").write_text("[" * 100_000),
    lambda place: (place / "record.json").write_text(
        '{"artefacts": {"a\\u0000b": {"bytes": 1}}, "parameters": {}, "schema_version": 1, "id": "x", "started": "x", "status": "ok"}')],
    ids=["folder", "dangling", "circle", "deep", "nul"])
def test_strange_files_are_damage(tmp_path, spoil):
    spoil(write_run(tmp_path, job_of()))
    assert state_of(job_of(), tmp_path) == "damaged"


@pytest.mark.parametrize("notes", ["", '{"status": "exc', '{"status": 3}', "\x00", "[]", "3", "null"])
def test_strange_notes_of_a_failure(tmp_path, notes):
    place = tmp_path / "30_toy" / "failed" / job_of().id
    place.mkdir(parents=True)
    (place / "failure.json").write_text(notes)
    assert state_of(job_of(), tmp_path) in ("failed", "new")


@pytest.mark.parametrize("versions", [None, {}, [], "x", {"numpy": 3}, 3, ["numpy"], "numpy"])
def test_strange_versions_of_a_stale_run(tmp_path, versions):
    write_run(tmp_path, job_of(), record_of(job_of(), versions=versions, id="30_toy-old"), "30_toy-old")
    assert state_of(job_of(), tmp_path) == "stale"


def test_every_damaged_folder_is_kept(tmp_path):
    job = job_of()
    for number in range(1, 4):
        (write_run(tmp_path, job) / "record.json").write_text(f"damage {number}")
        moved = set_aside(survey([job], tmp_path)[0], tmp_path)
        assert moved.name == f"{job.id}.damaged-{number}" and (moved / "record.json").read_text() == f"damage {number}"
    write_run(tmp_path, job)
    assert set_aside(survey([job], tmp_path)[0], tmp_path).name == f"{job.id}.replaced-1" and state_of(job, tmp_path) == "new"


def test_looking_costs_a_read_and_a_look_for_each_run(tmp_path, monkeypatch):
    jobs = [job_of(number) for number in range(2000)]
    for job in jobs:
        write_run(tmp_path, job)
    counts = {"scandir": 0, "stat": 0, "read": 0}

    def counted(name, real):
        def call(*a, **k):
            counts[name] += 1
            return real(*a, **k)
        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", counted("scandir", os.scandir))
        patch.setattr(os, "stat", counted("stat", os.stat))
        patch.setattr(Path, "read_text", counted("read", Path.read_text))
        seen = survey(jobs, tmp_path)
    assert {state.state for state in seen} == {"finished"}
    assert counts["scandir"] == 1 and counts["read"] == 2000 and counts["stat"] <= 2010, "in proportion to the runs, not to their square"
