"""Build the site from the notebooks as they are stored: `make docs`, or python docs/build.py. Nothing is trained or fetched.

Cells marked `#| hide` and nbdev's `#|` lines are left out of a page. An experiment's page ends with what is committed of it in
`results/`; a report's cells, which only read `results/`, are evaluated here. The pages in GUIDES are written by hand. Formulas become
MathML, so the site needs no internet. Warnings are errors.
"""
import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
NOTEBOOKS, RESULTS, PAGES, SITE = DOCS.parent / "nbs", DOCS.parent / "results", DOCS / "_pages", DOCS / "_build" / "html"
CHAPTERS = {      # title -> which notebooks, and what they are
    "Guides": ("*.md", "How a task is done, step by step."),
    "Tutorials": ("tutorials/*.ipynb", "How the package is used, from a table to a conclusion."),
    "Ground": ("0*.ipynb", "Floor 0: random numbers and errors, tables to matrices and back, data sets, what all samplers share."),
    "Engine": ("1*.ipynb", "Floor 1: networks trained side by side, losses per row, the one training loop."),
    "Blocks": ("2*.ipynb", "Floor 2: the pieces that methods are made of, and the simple rivals they have to beat."),
    "Systems": ("3*.ipynb", "Floor 3: the papers' methods, as short compositions of blocks."),
    "Batch": ("4*.ipynb", "Floor 4: plots, the one evaluation protocol, statistics, records, and what `make figures` does."),
    "Apps": ("5*.ipynb", "Floor 5: programs that use the systems."),
    "Experiments": ("experiments/*.ipynb", "One claim each, put to the test by `make figures`; the rule for the verdict comes first."),
    "Reports": ("reports/*.ipynb", "What the committed results say together."),
}
GUIDES = ("batch.md",)
FRONT = ("Ten lines", "What came out")     # sections of the README that the first page repeats
DIRECTIVE = re.compile(r"^#\|.*\n?", re.MULTILINE)
PICTURE, LINK = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)\n*"), re.compile(r"(?<!!)\[([^\]]+)\]\((?!http)([^)]+)\)")


def page_cell(cell):
    "The cell as a reader should see it, or None."
    source = "".join(cell["source"])
    if cell["cell_type"] == "code":
        if re.search(r"^#\|\s*hide\b", source, re.MULTILINE):
            return None
        source = DIRECTIVE.sub("", source).strip("\n")
    elif cell["cell_type"] == "markdown":
        source = re.sub(r"^- skip_exec: true\n?", "", source, flags=re.MULTILINE)
    return {**cell, "source": source} if source.strip() else None


def committed(experiment):
    "What results/ holds of an experiment, as Markdown: verdicts, then figures."
    lines = ["## What came out", ""]
    for path in sorted(RESULTS.glob(f"records/{experiment}.*.jsonl")):
        for record in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            part = " (headline rows)" if record["parameters"].get("headline") else ""
            lines.append(f"- Profile {record['profile']}{part}, {len(record['seeds'])} seeds: {record['verdict']}")
    for path in sorted(RESULTS.glob(f"figures/{experiment}--*.png")):
        lines += ["", f"![{path.stem.split('--')[1]}](../figures/{path.name})", "", f"`{path.name}`"]
    told = "From the records in `results/`; this page executes nothing." if len(lines) > 2 else "No results are committed yet."
    return "\n".join([*lines[:2], told, "", *lines[2:]])


def evaluated(notebook, **given):
    "A report as a reader should see it: its prose, and what its cells show; `given` replaces values of its parameters cell."
    from augment_lib.core import InputError
    known, cells = {}, []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            cells.append(cell)
            continue
        *before, last = ast.parse("".join(cell["source"])).body
        shown = isinstance(last, ast.Expr)
        try:
            exec(compile(ast.Module(before if shown else [*before, last], []), "report", "exec"), known)
            value = eval(compile(ast.Expression(last.value), "report", "eval"), known) if shown else None
        except InputError as error:      # no results yet: the page says so
            return [*cells, {"cell_type": "markdown", "id": "nothing-yet", "metadata": {}, "source": str(error)}]
        if "parameters" in cell["metadata"].get("tags", ()):
            known.update(given)
        if hasattr(value, "_repr_html_") and value:
            text = re.sub(r'(href="\.\./experiments/[^"]+)\.ipynb"', r'\1.html"', value._repr_html_())
            output = {"output_type": "display_data", "metadata": {}, "data": {"text/html": text}}
            cells.append({**cell, "metadata": {"tags": ["remove-input"]}, "outputs": [output]})
    return cells


def write_page(path):
    "Put a notebook among the pages, at the same place as in nbs/."
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"] = [shown for cell in notebook["cells"] if (shown := page_cell(cell))]
    if path.parent.name == "experiments":
        notebook["cells"].append({"cell_type": "markdown", "id": "what-came-out", "metadata": {}, "source": committed(path.stem)})
    if path.parent.name == "reports":
        notebook["cells"] = evaluated(notebook, figures="../figures", notebooks="../experiments")
    page = PAGES / path.relative_to(NOTEBOOKS)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(json.dumps(notebook), encoding="utf-8")


def front():
    "What the README says about the whole; pictures that are there, and of its links only those to pages."
    def picture(found):
        there = DOCS.parent / found[2]
        return f"![{found[1]}](figures/{there.name})\n\n" if there.is_file() else ""

    def link(found):
        page = re.sub("^(nbs|docs)/", "", found[2])
        return f"[{found[1]}]({page})" if (PAGES / page).is_file() else found[1]

    first, *sections = (DOCS.parent / "README.md").read_text(encoding="utf-8").split("\n## ")
    kept = [first, *(f"## {text}" for text in sections if text.split("\n")[0] in FRONT)]
    return [LINK.sub(link, PICTURE.sub(picture, text)).strip() for text in kept]


def entry(page):
    "A page's line on the first page: its title and its question or claim."
    text = page.read_text(encoding="utf-8")
    text = text if page.suffix == ".md" else "".join(json.loads(text)["cells"][0]["source"])
    title, question = re.match(r"# (.+)\n+((?:>.*\n?)*)", text + "\n").groups()
    return f"- [{title}]({page.relative_to(PAGES).as_posix()}): {re.sub(r'^> ?', '', question, flags=re.MULTILINE).strip()}"


def write_index():
    "The first page: what the README says, then every notebook by floor."
    parts = front()
    for title, (pattern, what) in CHAPTERS.items():
        pages = sorted(PAGES.glob(pattern))
        if pages:
            stems = [page.relative_to(PAGES).with_suffix("").as_posix() for page in pages]
            parts += [f"## {title}", what, "\n".join(map(entry, pages))]
            parts.append("\n".join(["```{toctree}", f":caption: {title}", ":maxdepth: 1", ":hidden:", "", *stems, "```"]))
    (PAGES / "index.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main():
    for folder in (PAGES, SITE):      # no page of a notebook that is gone
        shutil.rmtree(folder, ignore_errors=True)
    if (RESULTS / "figures").is_dir():
        shutil.copytree(RESULTS / "figures", PAGES / "figures")
    for path in sorted(NOTEBOOKS.rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            write_page(path)
    for name in GUIDES:
        shutil.copy(DOCS / name, PAGES / name)
    write_index()
    options = ["-b", "html", "-c", DOCS, "-d", DOCS / "_build" / "doctrees", "-q", "-W", "--keep-going"]
    status = subprocess.run([sys.executable, "-m", "sphinx", *options, PAGES, SITE], check=False).returncode
    if (RESULTS / "figures").is_dir() and status == 0:      # a report names its figures in HTML, which Sphinx does not follow
        shutil.copytree(RESULTS / "figures", SITE / "figures", ignore=shutil.ignore_patterns("*.svg"))
    print(f"the site: {SITE / 'index.html'}" if status == 0 else "no site: see the warnings above")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
