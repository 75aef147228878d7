"""The README is written by hand, so it is executed: its Python runs, its commands exist, its links lead somewhere."""
import re
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S)
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "THIRD_PARTY.md"]


@pytest.mark.parametrize("block", BLOCKS, ids=range(1, len(BLOCKS) + 1))
def test_python_block_runs(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # few epochs: DAVID rightly warns about its reconstruction
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out.strip(), "an example shows something"
    assert not list(tmp_path.iterdir()), "an example leaves no files behind"


def test_first_example_has_ten_lines_beside_its_imports():
    assert len(BLOCKS) == 7, "AugmentCV, DAVID, a pipeline, LEO-CVAE, GAE, ML teacher, LRA-VAE"
    assert sum(bool(line) and "import" not in line for line in BLOCKS[0].split("\n")) <= 10


@pytest.mark.parametrize("page", PAGES[:2])
def test_make_commands_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]+)", (ROOT / page).read_text(encoding="utf-8"), re.M))
    assert named <= targets, f"{page} names {sorted(named - targets)}, which the Makefile does not have"
    assert {"figures", "test"} <= named


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)", (ROOT / page).read_text(encoding="utf-8"))
    missing = [link for link in links if not link.startswith("http") and not (ROOT / link).exists()]
    assert not missing, f"{page} links to {missing}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/batch.md"])
def test_command_lines_exist(page):
    "Every `augment-lib` line of a page: its command, its options."
    import typer
    from augment_lib.cli import app

    commands = typer.main.get_command(app).commands
    lines = re.findall(r"augment-lib ([a-z]+)([^\n`#]*)", (ROOT / page).read_text(encoding="utf-8"))
    for name, rest in lines:
        assert name in commands, f"{page}: augment-lib {name}"
        known = {option for parameter in commands[name].params for option in [*parameter.opts, *parameter.secondary_opts]}
        named = re.findall(r"(?<!\S)(--?[a-z][a-z-]*)", rest)
        assert name == "data" or set(named) <= known, f"{page}: augment-lib {name} has no {sorted(set(named) - known)}"
    assert lines or page == "CONTRIBUTING.md"


def test_the_map_shows_every_notebook():
    missing = [path.stem for path in sorted((ROOT / "nbs").glob("*.ipynb")) if f"(nbs/{path.name})" not in TEXT]
    assert not missing, f"the map of README.md lacks {missing}"


def test_results_block_can_be_filled():
    assert TEXT.index("<!-- results:begin -->") < TEXT.index("<!-- results:end -->")
