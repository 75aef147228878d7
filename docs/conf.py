"""Sphinx configuration; `docs/build.py` makes the pages from the notebooks, which are never executed here."""
import sys
from configparser import ConfigParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))     # for mathml.py
_config = ConfigParser(delimiters=["="])
_config.read(Path(__file__).resolve().parents[1] / "settings.ini", encoding="utf-8")

project = _config["DEFAULT"]["lib_name"]
author = _config["DEFAULT"]["author"]
release = version = _config["DEFAULT"]["version"]
copyright = author
extensions = ["myst_nb", "mathml"]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
html_theme = "sphinx_book_theme"
html_title = project
html_theme_options = {"show_navbar_depth": 1, "use_download_button": False, "navbar_persistent": []}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
templates_path = []
