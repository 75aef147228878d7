"""The report pages: complete, honest about what is missing, readable without the internet, and without dead links."""
import ast
import csv
import hashlib
import importlib.util
import json
import re
import shlex
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from augment_lib import pages, reports
from augment_lib.core import InputError

ROOT = Path(__file__).resolve().parents[1]
RESULTS, NOTEBOOKS = ROOT / "results", sorted((ROOT / "nbs" / "reports").glob("*.ipynb"))
NAMES = ("00_gallery", "01_papers_and_measured")


def judged(path, target):
    "A verdict on every claim, as the claims report writes it; no number here is a result."
    with open(path, encoding="utf-8") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    words = ["reproduced", "partly", "not reproduced", "not run"]
    rows = [{"id": name, "verdict": words[i % 4], "effect": 0.5 + i / 20, "low": 0.4 + i / 20, "high": 0.6 + i / 20, "n_units": 3,
             "unit": "family", "profile": "small", "runs": "", "why": f"reason {i} <b>", "one column more": "x"} for i, name in enumerate(ids)]
    table = pd.DataFrame(rows)
    table.loc[table["verdict"] == "not run", ["effect", "low", "high"]] = float("nan")
    table.to_csv(target, index=False)


def digest(folder):
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


class Links(HTMLParser):
    "What a page names, and the names it has."

    def __init__(self, text):
        super().__init__()
        self.targets, self.ids, self.tags, self.pictures, self.text = [], set(), [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.tags.append(tag)
        self.targets += [known[name] for name in ("href", "src") if known.get(name)]
        self.pictures += [known["src"]] if tag == "img" else []
        self.ids |= {known["id"]} if "id" in known else set()

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    "Results (without tables: no report reads them) and claims in a folder of their own."
    home = tmp_path_factory.mktemp("reports")
    for name in ("figures", "records"):
        shutil.copytree(RESULTS / name, home / "results" / name)
    shutil.copy(RESULTS / "manifest.json", home / "results")
    shutil.copytree(ROOT / "claims", home / "claims")
    judged(home / "claims" / "claims.csv", home / "results" / "claims.csv")
    return home


@pytest.fixture(scope="module")
def built(copy):
    "The pages, with one finished run on this machine and one that was killed; and the results before and after."
    runs = sorted(reports.run_records(copy / "results"))[:2]
    for run in runs:
        folder = copy / "runs" / run.rsplit("-", 1)[0] / run
        folder.mkdir(parents=True)
        shutil.copy(ROOT / "nbs" / "experiments" / f"{run.rsplit('-', 1)[0]}.ipynb", folder / "notebook.ipynb")
    (copy / "runs" / runs[0].rsplit("-", 1)[0] / runs[0] / "record.json").write_text("{}")
    before = digest(copy / "results")
    found = reports.build_reports(copy / "results", copy / "out", copy / "runs")
    return {"pages": found, "runs": runs, "same": before == digest(copy / "results")}


def test_the_pages_are_there_and_results_are_untouched(built):
    assert [path.stem for path in built["pages"]] == list(NAMES) and built["same"]
    for path in built["pages"]:
        text = path.read_text(encoding="utf-8")
        assert text.startswith("<!doctype html>") and "skip_exec" not in text
        assert "import augment_lib" not in text        # a report shows results, not code


def test_nothing_is_loaded_from_elsewhere(built):
    for path in built["pages"][0].parent.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert pages.external_loads(text) == []
        assert "script" not in Links(text).tags or "Content-Security-Policy" in text
    assert all("script" not in Links(path.read_text(encoding="utf-8")).tags for path in built["pages"])


def test_every_committed_figure_is_shown(built, copy):
    text = built["pages"][0].read_text(encoding="utf-8")
    stems = {path.stem for path in (copy / "results" / "figures").iterdir()}
    assert stems == {path.stem for path in (RESULTS / "figures").iterdir()}
    found = Links(text)
    assert {Path(name).stem for name in found.pictures} == stems <= found.ids
    assert all((built["pages"][0].parent / name).is_file() for name in found.pictures)
    for run in set(reports.figure_rows(copy / "results")["run"]):
        assert run and run in text


def test_every_claim_has_a_row(built, copy):
    text, claims = built["pages"][1].read_text(encoding="utf-8"), reports.claim_rows(copy / "results")
    found = Links(text)
    assert set(claims["id"]) <= found.ids
    for row in claims.itertuples():
        assert row.statement in found.text and row.rule in found.text
        assert row.why in found.text                                         # `<b>` of a reason is text, not markup
    assert [name[:22] for name in found.pictures] == ["data:image/png;base64,"]     # the forest
    counts = claims["verdict"].value_counts()
    for word, count in counts.items():
        assert f"<b>{count}</b> {reports.badge(word)}" in text


def test_links_resolve(built):
    for path in built["pages"]:
        found = Links(path.read_text(encoding="utf-8"))
        for target in found.targets:
            if target.startswith(("data:", "https:", "http:")):
                continue
            file, _, fragment = target.partition("#")
            assert not file or (path.parent / file).resolve().is_file(), target
            if fragment and not file:
                assert fragment in found.ids, target


def test_only_a_finished_run_has_an_executed_notebook(built):
    finished, killed = built["runs"]
    folder, text = built["pages"][0].parent, built["pages"][0].read_text(encoding="utf-8")
    assert [path.stem for path in (folder / "executed").iterdir()] == [finished]
    assert f'href="executed/{finished}.html"' in text and f"executed/{killed}.html" not in text
    assert f"experiments/{killed.rsplit('-', 1)[0]}.ipynb" in text
    page = (folder / "executed" / f"{finished}.html").read_text(encoding="utf-8")
    assert "Content-Security-Policy" in page and str(folder.parents[1]) not in page


# ---- what is missing is said

def test_missing_results(tmp_path, copy):
    with pytest.raises(InputError, match="manifest.json is not there.*make results"):
        reports.build_reports(tmp_path, tmp_path / "out")
    shutil.copy(copy / "results" / "manifest.json", tmp_path)
    with pytest.raises(InputError, match="claims.csv is not there"):
        reports.build_reports(tmp_path, tmp_path / "out", claims=tmp_path / "claims.csv")
    (tmp_path / "manifest.json").write_text('{"figures": ')
    with pytest.raises(InputError, match="damaged.*make results"):
        reports.figure_rows(tmp_path)
    assert not (tmp_path / "out").exists()


def test_missing_nbconvert(tmp_path, copy, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbconvert", None)
    with pytest.raises(InputError, match=r"nbconvert, which is not installed.*augment_lib\[dev\]"):
        reports.build_reports(copy / "results", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_claims_that_nobody_judged(tmp_path, copy):
    rows = reports.claim_rows(tmp_path, copy / "claims" / "claims.csv")
    assert set(rows["verdict"]) == {"not judged"} and rows["effect"].isna().all()
    assert "not judged" in reports.claim_tables(rows)


@pytest.mark.parametrize("text, what", [("id,effect\na,1\n", "columns"), ("id,verdict\nnobody,partly\n", "nobody")])
def test_a_file_of_verdicts_that_does_not_fit(tmp_path, copy, text, what):
    (tmp_path / "claims.csv").write_text(text)
    with pytest.raises(InputError, match=f"{what}.*augment-lib claims --write"):
        reports.claim_rows(tmp_path, copy / "claims" / "claims.csv")


def test_statements_are_text(copy):
    claims = reports.claim_rows(copy / "results").head(1).assign(statement="<script>alert(1)</script>", id='"><i>', rule="a < b", why="<u>")
    tags = Links(reports.claim_tables(claims)).tags
    assert "table" in tags and not {"script", "i", "u"} & set(tags)


# ---- the notebooks

@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_report_notebook_only_reads(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(cells) <= 25 and "- skip_exec: true" in "".join(cells[0]["source"])
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    assert [i for i, cell in enumerate(code) if "parameters" in cell["metadata"].get("tags", ())] == [0]
    tree = ast.parse("\n".join("".join(cell["source"]) for cell in code))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= {"pathlib", "augment_lib.pages", "augment_lib.reports"}


# ---- the site

@pytest.fixture(scope="module")
def site():
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "docs" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_site_shows_what_the_reports_show(site, copy, path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = site.evaluated(notebook, results=str(copy / "results"), figures="../figures", notebooks="../experiments")
    shown = "".join(cell["outputs"][0]["data"]["text/html"] for cell in cells if cell["cell_type"] == "code")
    assert ".ipynb" not in shown and "../experiments/" in shown and pages.external_loads(shown) == []
    assert "is not there" not in shown
    bare = copy / f"bare-{path.stem}"
    bare.mkdir()
    shutil.copy(copy / "results" / "manifest.json", bare)
    cells = site.evaluated(notebook, results=str(bare), claims=str(copy / "claims" / "claims.csv"))
    shown = "".join(cell["outputs"][0]["data"]["text/html"] for cell in cells if cell["cell_type"] == "code")
    assert "augment-lib claims --write" in shown            # what is missing, and how it is made


def test_the_guide_names_only_options_that_exist(site):
    text = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
    assert "batch.md" in site.GUIDES and re.match(r"# .+\n\n> .+\?\n", text)
    cli = pytest.importorskip("augment_lib.cli")
    typer = pytest.importorskip("typer")
    commands = typer.main.get_command(cli.app).commands
    lines = [line.split("#")[0] for line in re.findall(r"augment-lib (?:sweep|status)[^\n\"`]*", text)]
    assert len(lines) >= 5
    for line in lines:
        _, command, *words = shlex.split(line)
        known = {option for parameter in commands[command].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line
