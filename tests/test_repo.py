"""Rules of the repository that no single module can check: one truth for everything, notebooks that stay lessons, floors that hold."""
import ast
import json
import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, NOTEBOOKS = ROOT / "augment_lib", ROOT / "nbs"
COMPONENTS = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
EXPERIMENTS = sorted((NOTEBOOKS / "experiments").glob("*.ipynb"))
ALL_NOTEBOOKS = sorted(p for p in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
HAND_WRITTEN = {"__init__.py"}      # every other module is exported from a notebook
GENERATED = {"_modidx.py"}          # nbdev's index
EXPORT = re.compile(r"^#\|\s*exporti?\b", re.M)


def by_name(path):
    return str(path.relative_to(ROOT))


def cells_of(path, kind=None):
    "The cells of a notebook, each with its source as one string."
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    cells = [dict(c, source="".join(c["source"])) for c in cells]
    return [c for c in cells if kind in (None, c["cell_type"])]


def filled_lines(text):
    return sum(bool(line.strip()) for line in text.split("\n"))


def module_of(path):
    "The module that a notebook exports, or None."
    found = re.search(r"^#\|\s*default_exp (\S+)", "\n".join(c["source"] for c in cells_of(path, "code")), re.M)
    return found and found[1]


def settings():
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def files_of_project():
    "What git tracks or would track."
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    paths = (ROOT / os.fsdecode(name) for name in set(listed.stdout.split(b"\0")) if name)
    return sorted(p for p in paths if p.is_file())


def nbdev(tmp_path, command):
    "Run an nbdev command in a copy of what it reads, and return the copy."
    for name in ("settings.ini", "setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    shutil.copytree(NOTEBOOKS, tmp_path / "nbs", ignore=ignore)
    (tmp_path / "augment_lib").mkdir()
    for name in HAND_WRITTEN:
        shutil.copy(PACKAGE / name, tmp_path / "augment_lib")
    subprocess.run([Path(sys.executable).parent / command], cwd=tmp_path, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return tmp_path


# ---- notebooks and modules are one truth

def test_modules_are_what_the_notebooks_export(tmp_path):
    fresh = nbdev(tmp_path, "nbdev-export") / "augment_lib"
    exported, committed = ({p.name: p.read_bytes() for p in folder.glob("*.py")} for folder in (fresh, PACKAGE))
    assert sorted(exported) == sorted(committed)
    changed = [name for name in committed if exported[name] != committed[name]]
    assert not changed, f"{changed} differ from their notebooks: run `make export`; if you edited a .py by hand, `nbdev-update` first"


def test_notebooks_are_clean(tmp_path):
    copy = nbdev(tmp_path, "nbdev-clean")
    dirty = [by_name(p) for p in ALL_NOTEBOOKS if (copy / p.relative_to(ROOT)).read_bytes() != p.read_bytes()]
    assert not dirty, f"{dirty}: run `make clean-nbs`"


def test_every_module_has_a_source():
    sources = {f"{module_of(p)}.py" for p in COMPONENTS}
    orphans = {p.name for p in PACKAGE.glob("*.py")} - sources - HAND_WRITTEN - GENERATED
    assert not orphans, f"{sorted(orphans)} come from no notebook; a hand-written module must say so and be listed in HAND_WRITTEN"
    for name in HAND_WRITTEN:
        assert "Hand-written" in (PACKAGE / name).read_text(encoding="utf-8"), f"{name} does not say that it is hand-written"


# ---- component notebooks are lessons

@pytest.mark.parametrize("path", COMPONENTS, ids=lambda p: p.stem)
def test_component_notebook_teaches(path):
    code, prose = cells_of(path, "code"), cells_of(path, "markdown")
    exported = sum(filled_lines(c["source"]) for c in code if EXPORT.search(c["source"]))
    shown = "\n".join(c["source"] for c in code if not EXPORT.search(c["source"]))
    assertions = len(re.findall(r"\bassert|\btest_\w+\(|\bexpect_fail\(", shown))
    words = sum(len(c["source"].split()) for c in prose)
    assert module_of(path) == re.sub(r"^\d\d[a-z]?_", "", path.stem), "the module is named as the notebook is"
    assert exported <= 350, f"{exported} exported lines: is it two ideas?"
    assert assertions * 8 >= exported, f"{assertions} assertions for {exported} exported lines, expected one per 8 at least"
    assert words >= exported, f"{words} words of prose for {exported} exported lines: does it teach?"
    last = cells_of(path)[-1]["source"]
    assert "#| hide" in last and "nbdev_export()" in last, "the last cell exports"


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda p: p.stem)
def test_component_outputs_are_small(path):
    sizes = [len(json.dumps(c["outputs"])) for c in cells_of(path, "code")]
    assert max(sizes) < 150_000, "an output is over 100 kB: a smaller figure, or fewer rows"


@pytest.mark.parametrize("path", ALL_NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs_elsewhere(path):
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    assert metadata["kernelspec"]["language"] == "python" and metadata["kernelspec"]["name"] == "python3"


# ---- experiments

@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_experiment_follows_the_template(path):
    code = cells_of(path, "code")
    tagged = [i for i, c in enumerate(code) if "parameters" in c["metadata"].get("tags", [])]
    assert tagged == [0], f"code cells {tagged} are tagged parameters: papermill needs exactly the first, or it silently runs the defaults"
    assert re.match(r"^\s*(- skip_exec: true)\s*$", _front_matter(path), re.M), "no `- skip_exec: true` under the title"
    assert not any(c["outputs"] or c["execution_count"] for c in code), "experiments are committed without outputs"


def _front_matter(path):
    return "\n".join(line for line in cells_of(path)[0]["source"].split("\n") if "skip_exec" in line)


@pytest.mark.parametrize("folder", ["experiments", "reports"])
def test_nbdev_passes_the_heavy_notebooks_over(folder):
    assert (NOTEBOOKS / folder / ".notest").exists()


# ---- the tree

def test_no_path_of_one_machine():
    homes = rb"(?<![\w.~])/(" + b"|".join([b"work", b"root", b"home", b"Users"]) + rb")/\w|/tmp/" + rb"plan\b"
    found = [by_name(p) for p in files_of_project() if re.search(homes, p.read_bytes())]
    assert not found, f"{found} name a folder of one machine"


def test_no_large_file():
    large = [f"{by_name(p)}: {p.stat().st_size:,} bytes" for p in files_of_project() if p.stat().st_size > 1_000_000]
    assert not large


# ---- versions and requirements

def test_versions_agree():
    wanted = settings()["version"]
    changelog = re.search(r"^## \[?(\d\S*?)\]?(?:\s|$)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)[1]
    citation = re.search(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)[1].strip("\"'")
    assert {"installed": version("augment_lib"), "changelog": changelog, "citation": citation} == dict.fromkeys(
        ("installed", "changelog", "citation"), wanted)


def requirement_names(*extras):
    keys = ["requirements", *(f"{e}_requirements" for e in extras)]
    return {re.split(r"[<>=!~\[]", word)[0].lower() for key in keys for word in settings()[key].split()}


def imported_packages(path):
    "Top-level names of every import, also of those inside functions."
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def test_modules_import_only_what_is_required():
    names = {"sklearn": "scikit-learn", "imblearn": "imbalanced-learn", "PIL": "pillow", "yaml": "pyyaml"}
    for path in sorted(PACKAGE.glob("*.py")):
        outside = set(imported_packages(path)) - set(sys.stdlib_module_names) - {"augment_lib"}
        unknown = {names.get(name, name).lower() for name in outside} - requirement_names()
        assert not unknown, f"{path.name} imports {sorted(unknown)}, which settings.ini does not require"


def test_every_requirement_is_pinned():
    pins = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split("\n") if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line) for line in pins), "a pin is name==version, without a build label"
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in pins}
    assert requirement_names("dev", "docs") <= pinned


# ---- floors

def number_of(path):
    "41 for 41b_regimes.ipynb; letters share a number."
    return int(path.name[:2])


def imported_modules(path):
    "Modules of this package that a module imports, anywhere in it."
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("augment_lib."))
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".")
            if not node.level and parts[0] != "augment_lib":
                continue
            inner = [part for part in parts if part and part != "augment_lib"]
            yield from ([inner[0]] if inner else (a.name for a in node.names))


def test_imports_point_down():
    numbers = {module_of(p): number_of(p) for p in COMPONENTS}
    imports = {name: set(imported_modules(PACKAGE / f"{name}.py")) & set(numbers) for name in numbers}
    upward = [f"{a} ({numbers[a]}) imports {b} ({numbers[b]})" for a in imports for b in imports[a] if numbers[b] > numbers[a]]
    assert not upward, "a module may import only modules of its own or a lower number"
    settled = set()     # whoever shares a number may import each other, but not in a circle
    while ready := {a for a in imports if a not in settled and imports[a] - {a} <= settled}:
        settled |= ready
    assert settled == set(imports), f"circular imports among {sorted(set(imports) - settled)}"


def test_importing_the_package_is_cheap():
    heavy = ("torch", "sklearn", "imblearn", "pandas", "matplotlib")
    code = f"import sys, augment_lib; dir(augment_lib); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
