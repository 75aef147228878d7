"""Build the site from the notebooks as they are stored: `make docs`, or python docs/build.py. Nothing is executed or fetched.

Cells marked `#| hide` and nbdev's `#|` lines are left out of a page; warnings are errors.
"""
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
NOTEBOOKS, PAGES, SITE = DOCS.parent / "nbs", DOCS / "_pages", DOCS / "_build" / "html"
CHAPTERS = {
    "Lessons": "tutorials/*.ipynb", "Ground": "0*.ipynb", "Engine": "1*.ipynb", "Blocks": "2*.ipynb", "Systems": "3*.ipynb",
    "Batch": "4*.ipynb", "Apps": "5*.ipynb", "Experiments": "experiments/*.ipynb", "Reports": "reports/*.ipynb",
}
DIRECTIVE = re.compile(r"^#\|.*\n?", re.MULTILINE)


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


def write_page(path):
    "Put a notebook among the pages, at the same place as in nbs/."
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"] = [shown for cell in notebook["cells"] if (shown := page_cell(cell))]
    page = PAGES / path.relative_to(NOTEBOOKS)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(json.dumps(notebook), encoding="utf-8")


def write_index():
    "The first page: what the README says it is, then every notebook by floor."
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    parts = [readme.split("\n## ")[0].strip()]
    for title, pattern in CHAPTERS.items():
        stems = [path.relative_to(PAGES).with_suffix("").as_posix() for path in sorted(PAGES.glob(pattern))]
        if stems:
            parts.append("\n".join([f"```{{toctree}}\n:caption: {title}\n:maxdepth: 1\n", *stems, "```"]))
    (PAGES / "index.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main():
    shutil.rmtree(PAGES, ignore_errors=True)
    for path in sorted(NOTEBOOKS.rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            write_page(path)
    write_index()
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-c", DOCS, "-d", DOCS / "_build" / "doctrees", "-q", "-W", "--keep-going", PAGES, SITE]
    status = subprocess.run(command, check=False).returncode
    print(f"the site: {SITE / 'index.html'}" if status == 0 else "no site: see the warnings above")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
