"""sweep, survey: what a file asks for, what is refused before anything runs, and what is known about every run."""
import fcntl
import json
import os
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from augment_lib import records
from augment_lib.core import InputError
from augment_lib.records import surroundings, versions, work_out_request
from augment_lib.survey import is_locked, question, set_aside, survey
from augment_lib.sweep import EXPERIMENTS, Section, check_arguments, check_paths, expand, find_notebook, load_sweep, plan, plan_one, signature

PARAMETERS = """profile: str = "smoke"    # smoke | small | paper
seed: int = 0
noise: float = 0.1
fast: bool = False
method: str = "ours"
device: str = "cpu"
n_jobs: int = 1
run_dir: str = ""
"""


def write_notebook(path, parameters=PARAMETERS, code="print(seed)", tags=("parameters",)):
    cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": list(tags)}), nbformat.v4.new_code_cell(code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


class Lab:
    "A project with one toy notebook and, if asked for, one sweep file."

    def __init__(self, folder):
        self.root, self.folder, self.runs = folder, folder / "experiments", folder / "runs"
        (self.folder / "sweeps").mkdir(parents=True)
        self.toy = write_notebook(self.folder / "30_toy.ipynb")

    def file(self, section="{}", text=None, stem="30_toy"):
        path = self.folder / "sweeps" / f"{stem}.yaml"
        path.write_text(f"notebook: {stem}\nprofiles: {{small: {section}}}\n" if text is None else text)
        return path

    def plan(self, section=None, experiments="all", profile="small", **more):
        if section is not None:
            self.file(section)
        return plan(experiments, profile, self.folder, **more)


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


# ---- expansion

LETTERS = st.sampled_from("abcdef")
GRIDS = st.dictionaries(LETTERS, st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True), max_size=3)
LISTS = st.none() | st.lists(st.fixed_dictionaries({"x": st.integers(0, 99)}), min_size=1, max_size=4, unique_by=lambda entry: entry["x"])
SEEDS = st.none() | st.integers(1, 4) | st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True)


@given(GRIDS, LISTS, SEEDS)
def test_number_of_runs_is_the_product(grid, entries, seeds):
    calls = expand(Section(fixed={"z": 1}, grid=grid, list=entries, seeds=seeds))
    expected = len(entries or [1]) * (1 if seeds is None else seeds if isinstance(seeds, int) else len(seeds))
    for values in grid.values():
        expected *= len(values)
    assert len(calls) == expected == len({json.dumps(call, sort_keys=True) for call in calls})
    assert all(call["z"] == 1 and ("seed" in call) == (seeds is not None) for call in calls)
    for name, values in grid.items():      # each value as often as any other
        assert {value: sum(call[name] == value for call in calls) for value in values} == dict.fromkeys(values, expected / len(values))


@given(GRIDS, LISTS, SEEDS)
def test_order_is_that_of_the_file(grid, entries, seeds):
    calls = expand(Section(grid=grid, list=entries, seeds=seeds))
    places = [[entry["x"] for entry in entries]] if entries else []
    places += [list(values) for values in grid.values()]
    places += [] if seeds is None else [list(range(seeds)) if isinstance(seeds, int) else seeds]
    names = (["x"] if entries else []) + list(grid) + ([] if seeds is None else ["seed"])
    ranks = [tuple(place.index(call[name]) for name, place in zip(names, places)) for call in calls]
    assert ranks == sorted(ranks)      # list, then grid, then seeds; the last varies fastest


def test_a_section_that_says_nothing_is_one_run(lab):
    assert expand(Section()) == [{}]
    assert [job.arguments for job in lab.plan()] == [{"profile": "small"}]                   # no file at all
    assert [job.arguments for job in lab.plan("{}")] == [{"profile": "small"}]


def test_values_arrive_as_they_were_written(lab):
    jobs = lab.plan("{fixed: {method: theirs}, grid: {fast: [true, false], noise: [1, 0.5]}, seeds: [3, 1]}")
    assert [(j.parameters["fast"], j.parameters["noise"], j.parameters["seed"]) for j in jobs] == [
        (fast, noise, seed) for fast in (True, False) for noise in (1.0, 0.5) for seed in (3, 1)]
    assert {type(job.parameters["noise"]) for job in jobs} == {float} and {job.parameters["method"] for job in jobs} == {"theirs"}
    assert all(set(job.arguments) == {"profile", "method", "fast", "noise", "seed"} for job in jobs)


# ---- refusals: each names the file, what was found, and what to do

@pytest.mark.parametrize("section, why", [
    ("{sedes: 3}", "'profiles.small.sedes' is unknown; did you mean 'seeds'"),
    ("{grid: {noize: [1]}}", "no parameter 'noize'; did you mean 'noise'"),
    ("{list: [{methd: a}]}", "no parameter 'methd'; did you mean 'method'"),
    ("{grid: {noise: 1}}", "profiles.small.grid.noise: .*list"),
    ("{grid: {noise: []}}", "grid.noise is empty"),
    ("{list: []}", "list is empty"),
    ("{seeds: 0}", "seeds=0 asks for no run"),
    ("{seeds: -1}", "seeds=-1 asks for no run"),
    ("{seeds: []}", r"seeds=\[\] asks for no run"),
    ("{seeds: true}", "profiles.small.seeds"),
    ("{seeds: 2.5}", "profiles.small.seeds"),
    ("{fixed: {noise: [0.1]}}", "noise=.* is a list; expected float"),
    ("{fixed: {noise: '0.1'}}", "noise='0.1' is a str; expected float"),
    ("{fixed: {noise: true}}", "noise=True is a bool; expected float"),
    ("{fixed: {noise: .nan}}", "noise is nan"),
    ("{fixed: {noise: .inf}}", "noise is inf"),
    ("{fixed: {seed: 1.0}}", "seed=1.0 is a float; expected int"),
    ("{fixed: {seed: true}}", "seed=True is a bool; expected int"),
    ("{fixed: {seed: null}}", "seed=None is a NoneType; expected int"),
    ("{fixed: {fast: 1}}", "fast=1 is a int; expected bool"),
    ("{fixed: {method: 3}}", "method=3 is a int; expected str"),
    ("{fixed: {method: 2026-01-01}}", "is a date; expected str"),
    ("{fixed: {n_jobs: 0}}", "n_jobs=0"),
    ("{fixed: {run_dir: here}}", "run_dir is chosen by the runner"),
    ("{fixed: {profile: paper}}", "profile is chosen by the command"),
    ("{grid: {noise: [0.2, 0.2]}}", "1 of 2 runs are asked for twice"),
    ("{grid: {noise: [1, 1.0]}}", "are the same run"),
    ("{grid: {n_jobs: [1, 2]}}", "are the same run"),
    ("{list: [{}, {noise: 0.1}]}", "are the same run"),
    ("{fixed: {noise: 1.0}, grid: {noise: [2.0]}}", "'noise' is given by fixed and by grid"),
    ("{list: [{noise: 1.0}], grid: {noise: [2.0]}}", "'noise' is given by grid and by list"),
    ("{grid: {seed: [7]}, seeds: 2}", "'seed' is given by grid and by seeds"),
    ("{seeds: 1000000000000}", "1,000,000,000,000 runs are asked for"),
    ("{deadline: soon}", "deadline='soon' cannot be read"),
    ("{deadline: 0}", "deadline=0 cannot be read"),
    ("{deadline: .inf}", "deadline=inf cannot be read"),
    ("{deadline: 3 fortnights}", "deadline='3 fortnights' cannot be read"),
    ("{memory: 8 gb}", "memory='8 gb' cannot be read"),
    ("{memory: 0}", "memory=0 cannot be read"),
    ("[1]", "profiles.small"),
])
def test_refused_before_anything_runs(lab, section, why):
    with pytest.raises(InputError, match=why) as told:
        lab.plan(section)
    assert "30_toy.yaml" in str(told.value), "which file?"
    assert not lab.runs.exists()


def test_seeds_need_a_parameter_for_them(lab):
    write_notebook(lab.toy, PARAMETERS.replace("seed: int = 0", "sead: int = 0"), "print(sead)")
    with pytest.raises(InputError, match="has no parameter 'seed'; did you mean 'sead'"):
        lab.plan("{seeds: 2}")


@pytest.mark.parametrize("text, why", [
    ("", "holds a NoneType"), ("- a\n", "holds a list"), ("profiles: {}\n", "notebook"), ("notebook: 3\n", "notebook"),
    ("notebook: 30_toy\nprofiles: {smal: {}}\n", "did you mean 'small'"), ("notebook: 30_toy\nprofile: {}\n", "did you mean 'profiles'"),
    ("notebook: 30_toy\nprofiles: {paper: {}}\n", "has paper, but 'small' was asked for"),
    ("notebook: 30_tox\n", "did you mean '30_toy'"), ("notebook: 31_other\n", "named after its notebook"),
    ("notebook: [1\n", "not plain YAML"), ("notebook: 30_toy\nprofiles: {small: {fixed: {method: 2026-13-45}}}\n", "not plain YAML"),
    ("notebook: 30_toy\nnotebook: 30_toy\n", "'notebook' stands here twice"),
    ("notebook: 30_toy\nprofiles: {small: {grid: {noise: [1.0], noise: [2.0]}}}\n", "'noise' stands here twice"),
    ('notebook: "30\\0toy"\n', "outside the project"),
])
def test_file_that_cannot_be_meant(lab, text, why):
    write_notebook(lab.folder / "31_other.ipynb")
    lab.file(text=text)
    with pytest.raises(InputError, match=why) as told:
        lab.plan(experiments="30_toy")
    assert "30_toy.yaml" in str(told.value)


def test_misnamed_sweep_file_is_not_passed_over(lab):
    lab.file(stem="30_tyo")
    for experiments in ("all", "headline"):
        with pytest.raises(InputError, match="belongs to no notebook.*did you mean '30_toy'"):
            lab.plan(experiments=experiments)
    (lab.folder / "sweeps" / "30_tyo.yaml").rename(lab.folder / "sweeps" / "30_toy.yml")
    with pytest.raises(InputError, match="named <notebook>.yaml"):
        lab.plan()


@pytest.mark.parametrize("arguments, why", [
    (("all", "huge"), "profile='huge' is unknown"), (("30_tox", "small"), "did you mean '30_toy'"), (("", "small"), "no experiment"),
    (("nowhere.yaml", "small"), "nowhere.yaml cannot be read")])
def test_wrong_call(lab, arguments, why):
    with pytest.raises(InputError, match=why):
        plan(*arguments, lab.folder)
    with pytest.raises(InputError, match="is not there"):
        plan("all", "small", lab.root / "nowhere")


def test_override_that_makes_runs_equal_is_refused(lab):
    assert len(lab.plan("{seeds: 3}", more={"noise": 0.5})) == 3
    with pytest.raises(InputError, match="are the same run"):
        lab.plan("{seeds: 3}", more={"seed": 5})


def test_naming_an_experiment_twice_runs_it_once(lab):
    assert len(lab.plan("{seeds: 3}", experiments="30_toy, 30_toy")) == 3


# ---- the notebook's side

@pytest.mark.parametrize("notebook, why", [
    ({"tags": ()}, "0 cells tagged"), ({"parameters": "seed: int = int('3')\n"}, "expected literals only"),
    ({"parameters": "seed = [\n"}, "expected literals only")])
def test_notebook_without_a_signature_is_refused(lab, notebook, why):
    write_notebook(lab.toy, **notebook)
    with pytest.raises(InputError, match=why):
        lab.plan("{}")


def test_file_that_is_no_notebook(lab):
    for text in ('{"cel', "[]", "{}"):
        lab.toy.write_text(text)
        with pytest.raises(InputError, match="30_toy.ipynb is no notebook"):
            lab.plan("{}")


def test_signature_sees_a_changed_notebook(lab):
    assert "late" not in signature(lab.toy)
    write_notebook(lab.toy, PARAMETERS + "late: int = 3\n")
    os.utime(lab.toy, ns=(1, 1))      # even on a file system with coarse times
    assert signature(lab.toy)["late"] == ("int", 3)


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_signature_is_what_papermill_sees(path):
    from papermill import inspect_notebook

    theirs = {name: (told["inferred_type_name"], told["default"]) for name, told in inspect_notebook(str(path)).items()}
    ours = signature(path)
    assert list(ours) == list(theirs)
    for name, (annotation, default) in ours.items():
        assert annotation == theirs[name][0] and yaml.safe_load(theirs[name][1]) == default or repr(default) == theirs[name][1]


@given(st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.none() | st.lists(st.integers(), max_size=2))
def test_every_value_is_taken_as_declared_or_refused(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "typed.ipynb"
    if not path.is_file():
        write_notebook(path)
    fits = {"seed": type(value) is int, "fast": type(value) is bool, "method": type(value) is str, "noise": type(value) in (int, float)}
    for name, fit in fits.items():
        fit = fit and (not isinstance(value, (int, float)) or abs(value) < 2**63)
        try:
            got = check_arguments(path, {name: value})[name]
        except InputError as error:
            assert not fit and name in str(error)
        else:
            assert fit and type(got) is type(signature(path)[name][1]) and got == (float(value) if name == "noise" else value)


# ---- foreign files

@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['touch {}']", "!!python/name:os.system", "!mine {}", "!!python/tuple [1]"])
def test_tags_are_never_obeyed(lab, tag):
    proof = lab.root / "obeyed"
    lab.file(text=f"notebook: 30_toy\nprofiles: {{small: {{fixed: {{method: {tag.replace('{}', str(proof))}}}}}}}\n")
    with pytest.raises(InputError, match="not plain YAML"):
        lab.plan()
    assert not proof.exists()


@pytest.mark.parametrize("lines", [
    [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 9)}]" for i in range(12)],      # 9 ** 12 values
    ["a0: &a0 [*a0]"], ["a0: &a0 {<<: *a0}"]], ids=["laughs", "itself", "merge"])
def test_aliases_are_not_unfolded(lab, lines):
    path = lab.file(text="notebook: 30_toy\nprofiles:\n  small:\n    fixed:\n" + "".join(f"      {line}\n" for line in lines))
    began = time.perf_counter()
    with pytest.raises(InputError, match="an alias"):
        load_sweep(path)
    assert time.perf_counter() - began < 5


def test_deeply_nested_and_unreadable_files(lab):
    lab.file(text="notebook: " + "[" * 5000)
    with pytest.raises(InputError, match="not plain YAML"):
        lab.plan()
    (lab.folder / "sweeps" / "30_toy.yaml").write_bytes(b"notebook: \xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        lab.plan()


@pytest.mark.parametrize("name", ["../outside", "/{root}/outside.ipynb", "link", "linked/outside", "sub/../../outside", "circle"])
def test_notebook_outside_the_project_is_refused(lab, name):
    outside = write_notebook(lab.root / "outside.ipynb")
    (lab.folder / "link.ipynb").symlink_to(outside)
    (lab.folder / "linked").symlink_to(lab.root, target_is_directory=True)
    (lab.folder / "circle.ipynb").symlink_to(lab.folder / "circle.ipynb")
    (lab.folder / "sub").mkdir()
    name = name.replace("/{root}", str(lab.root))
    with pytest.raises(InputError, match="outside the project|is no notebook"):
        find_notebook(name, lab.folder)
    lab.root.joinpath("mine.yaml").write_text(yaml.safe_dump({"notebook": name}))
    with pytest.raises(InputError, match="outside the project|is no notebook") as told:
        plan(str(lab.root / "mine.yaml"), "smoke", lab.folder)
    assert "mine.yaml" in str(told.value)
    if name != "circle":
        assert plan(str(lab.root / "mine.yaml"), "smoke", lab.folder, allow_outside=True)[0].notebook.resolve() == outside.resolve()


def test_link_inside_the_project_is_followed(lab):
    (lab.folder / "31_same.ipynb").symlink_to(lab.toy)
    assert find_notebook("31_same", lab.folder).is_file()


@pytest.mark.parametrize("value", ["/etc/passwd", "..", "../x", "a/../../b", "~/x", "~root/x", "/"])
def test_path_out_of_the_project_is_no_value(lab, value):
    with pytest.raises(InputError, match="30_toy.yaml.*is a path out of the project"):
        lab.plan(json.dumps({"fixed": {"method": value}}))
    with pytest.raises(InputError, match="is a path out of the project"):
        check_paths({"method": ["fine", value]})
    assert lab.plan(json.dumps({"fixed": {"method": value}}), allow_outside=True)[0].arguments["method"] == value


@pytest.mark.parametrize("value", ["", "NO2,branco_boston", "data/mine.csv", "a..b", "...", "ratio 1/2", "-", "x~y", "<script>", "$(reboot)"])
def test_plain_text_is_a_value(lab, value):
    assert lab.plan(json.dumps({"fixed": {"method": value}}))[0].arguments["method"] == value


# ---- identity

def test_where_and_how_does_not_change_what(lab):
    base = lab.plan("{seeds: 2}")
    assert [job.id for job in lab.plan(more={"n_jobs": 4})] == [job.id for job in base]
    assert all("run_dir" not in job.arguments for job in base)
    elsewhere = [work_out_request(job.experiment, {**job.parameters, "run_dir": "/elsewhere"}, job.notebook)["id"] for job in base]
    assert elsewhere == [job.id for job in base] == [job.request["id"] for job in base]
    assert plan_one("30_toy", {"profile": "small", "seed": 1}, lab.folder).id == base[1].id


@pytest.mark.parametrize("change", [{"seed": 1}, {"noise": 0.2}, {"method": "theirs"}, {"fast": True}, {"profile": "smoke"}])
def test_every_other_parameter_changes_the_identity(lab, change):
    base = plan_one("30_toy", {"profile": "small"}, lab.folder)
    assert plan_one("30_toy", {"profile": "small", **change}, lab.folder).id != base.id


def test_code_counts_and_prose_does_not(lab):
    base = lab.plan()[0].id
    notebook = nbformat.read(lab.toy, 4)
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("# prose"))
    nbformat.write(notebook, lab.toy)
    assert lab.plan()[0].id == base
    write_notebook(lab.toy, code="print(seed + 1)")
    assert lab.plan()[0].id != base


def test_common_notes_give_the_same_identity_and_are_taken_once(lab, monkeypatch):
    told = []
    real = records.data_state
    monkeypatch.setattr(records, "data_state", lambda: told.append(1) or real())
    jobs = lab.plan("{seeds: 20}")
    assert len(told) == 1
    assert [job.id for job in jobs] == [work_out_request(job.experiment, job.parameters, job.notebook)["id"] for job in jobs]


def test_device_is_the_notebooks_unless_given(lab, monkeypatch):
    asked = []
    monkeypatch.setattr("augment_lib.sweep.surroundings", lambda device: asked.append(device) or surroundings("cpu"))
    assert not lab.plan()[0].gpu and asked == ["cpu"]
    monkeypatch.setattr("augment_lib.sweep.gpu_possible", lambda: True)
    assert lab.plan(more={"device": "auto"})[0].gpu and lab.plan(more={"device": "cuda:1"})[0].gpu
    assert asked[1:] == ["auto", "cuda:1"]


# ---- the survey

def write_run(home, job, started="2026-01-01T00:00:00+00:00", name=None, **changes):
    "A finished run as its notebook would leave it."
    folder = Path(home) / job.experiment / (name or job.id)
    folder.mkdir(parents=True)
    (folder / "table.csv").write_text("a\n1\n")
    record = {"schema_version": 1, "id": name or job.id, "experiment": job.experiment, "status": "ok", "started": started,
              "parameters": {key: value for key, value in job.parameters.items() if key != "run_dir"},
              "artefacts": {"table.csv": {"sha256": "0" * 64, "bytes": 4}}, "notebook_sha256": job.request["notebook"],
              "library_sha256": job.request["library"], "versions": versions(), **changes}
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def states_of(jobs, home):
    return [state.state for state in survey(jobs, home)]


def test_one_of_each_state(lab):
    jobs = lab.plan("{seeds: 6}")
    place = lab.runs / "30_toy"
    write_run(lab.runs, jobs[0])
    write_run(lab.runs, jobs[1], name="30_toy-old", library_sha256="older")
    (place / "failed" / jobs[2].id).mkdir(parents=True)
    (place / "failed" / jobs[2].id / "failure.json").write_text(json.dumps({"status": "deadline", "message": "ended after 5 s"}))
    (write_run(lab.runs, jobs[3]) / "table.csv").unlink()
    (place / "locks").mkdir()
    (place / "locks" / jobs[4].id).write_text("{}")
    with open(place / "locks" / jobs[4].id) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        seen = survey(jobs, lab.runs)
    assert [state.state for state in seen] == ["finished", "stale", "failed", "damaged", "running", "new"]
    assert [state.job for state in seen] == jobs
    assert seen[0].record["id"] == jobs[0].id and seen[1].record["id"] == "30_toy-old" and seen[5].record is None
    assert "library" in seen[1].detail and "notebook" not in seen[1].detail
    assert "deadline: ended after 5 s" in seen[2].detail and "table.csv is missing" in seen[3].detail
    assert states_of(jobs, lab.runs)[4] == "new"      # the lock went with its holder


@pytest.mark.parametrize("spoil", [
    lambda f: (f / "record.json").unlink(), lambda f: (f / "record.json").write_text((f / "record.json").read_text()[:80]),
    lambda f: (f / "record.json").write_text(""), lambda f: (f / "record.json").write_text("[]"),
    lambda f: (f / "record.json").write_bytes(b"\xff\xfe"), lambda f: (f / "table.csv").write_text("longer than it was"),
    lambda f: (f / "table.csv").write_text("")], ids=["none", "cut", "empty", "list", "binary", "longer", "emptied"])
def test_damage_is_seen_and_moved_never_deleted(lab, spoil):
    job = lab.plan()[0]
    folder = write_run(lab.runs, job)
    spoil(folder)
    state = survey([job], lab.runs)[0]
    assert state.state == "damaged" and state.detail and state.record is None
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    moved = set_aside(state, lab.runs)
    assert not folder.exists() and moved.parent == lab.runs / "30_toy" / "failed"
    assert sorted((path.name, path.read_bytes()) for path in moved.iterdir()) == before
    assert set_aside(state, lab.runs) is None and states_of([job], lab.runs) == ["new"]
    spoil(write_run(lab.runs, job))
    assert set_aside(survey([job], lab.runs)[0], lab.runs) != moved      # the first one is still there


@pytest.mark.parametrize("change", [{"schema_version": 2}, {"status": "failed"}, {"id": None}, {"id": "30_toy-other"}, {"started": None},
                                    {"started": 3}, {"artefacts": []}, {"artefacts": {"table.csv": {}}}, {"parameters": None}])
def test_record_that_proves_nothing(lab, change):
    job, other = lab.plan("{seeds: 2}")
    write_run(lab.runs, job, **change)
    write_run(lab.runs, other)
    assert states_of([job, other], lab.runs) == ["damaged", "finished"]


def test_leftovers_are_no_runs(lab):
    job = lab.plan()[0]
    for name in ("attempts", "locks", "failed", "checkpoint"):
        write_run(lab.runs / "30_toy" / name, job)      # one level too deep
    (lab.runs / "30_toy" / "30_toy-file").write_text("not a folder")
    assert states_of([job], lab.runs) == ["new"]


def test_stale_is_the_same_question_and_the_newest_answer(lab):
    job, other = lab.plan("{seeds: 2}")
    write_run(lab.runs, job, "2026-01-02T00:00:00+00:00", "30_toy-a-later", notebook_sha256="older")
    write_run(lab.runs, job, "2026-01-01T00:00:00+00:00", "30_toy-b-earlier", library_sha256="older")
    state, unasked = survey([job, other], lab.runs)
    assert (state.state, state.record["id"], unasked.state) == ("stale", "30_toy-a-later", "new")
    assert "another version of the notebook" in state.detail
    parameters = {**job.parameters, "n_jobs": 8, "device": "cuda"}
    write_run(lab.runs, job, "2026-01-03T00:00:00+00:00", "30_toy-third", parameters=parameters, versions={**versions(), "numpy": "1.0"})
    assert question(parameters) == question(job.parameters)
    assert "package numpy (1.0, now " in survey([job], lab.runs)[0].detail


def test_finished_run_beats_everything_else(lab):
    job = lab.plan()[0]
    write_run(lab.runs, job)
    (lab.runs / "30_toy" / "failed" / job.id).mkdir(parents=True)
    (lab.runs / "30_toy" / "failed" / job.id / "failure.json").write_text(json.dumps({"status": "exception", "message": "before"}))
    (lab.runs / "30_toy" / "locks").mkdir()
    with open(lab.runs / "30_toy" / "locks" / job.id, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert states_of([job], lab.runs) == ["finished"]


def test_two_surveys_do_not_take_each_other_for_a_run(tmp_path):
    (tmp_path / "lock").write_text("")
    with open(tmp_path / "lock") as held:
        fcntl.flock(held, fcntl.LOCK_SH)      # what a survey holds for a moment
        assert not is_locked(tmp_path / "lock")
        fcntl.flock(held, fcntl.LOCK_EX)
        assert is_locked(tmp_path / "lock")
    assert not is_locked(tmp_path / "lock") and not is_locked(tmp_path / "none")


def test_two_thousand_finished_runs(lab, monkeypatch):
    jobs = lab.plan("{seeds: 2000}")
    for job in jobs:
        write_run(lab.runs, job)
    opened = []
    real = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self, *a, **k: opened.append(self.name) or real(self, *a, **k))
    began = time.perf_counter()
    jobs = lab.plan()
    seen = survey(jobs, lab.runs)
    seconds = time.perf_counter() - began
    assert {state.state for state in seen} == {"finished"} and len(seen) == 2000
    assert opened.count("record.json") == 2000 and len(opened) < 2200, "each record once, the notebook and the modules not once per job"
    assert seconds < 20, "generous: it takes about one on a quiet machine"


# ---- the repository's own

@pytest.mark.parametrize("profile", ["smoke", "small", "paper"])
def test_sweep_files_of_the_repository(profile):
    jobs = plan("all", profile)
    assert {job.experiment for job in jobs} == {path.stem for path in EXPERIMENTS.glob("*.ipynb")}
    assert len({job.id for job in jobs}) == len(jobs) and {job.parameters["profile"] for job in jobs} == {profile}


def test_import_stays_light():
    import subprocess

    code = "import sys, augment_lib.survey; print([m for m in ('torch', 'scipy', 'distributed', 'papermill', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
