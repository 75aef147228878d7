"""The report page: it stands alone, tells no lies about missing numbers, and lets no file write code into it."""
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from augment_lib.choice_page import CHECKS, cell_text, choice_page, column_table, quality_html, svg_image, table_html
from augment_lib.pages import external_loads

EVIL = '<script src="http://x.org/a.js"></script><img src=http://x.org/b.png>"\'&'


def sources_of(page):
    "What the tags of a page would load, and which tags there are, as a browser reads them."
    found, tags = [], set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.add(tag)
            found.extend(value for name, value in attributes if name in ("src", "href", "data", "srcset"))

    Reader().feed(page)
    return found, tags


@pytest.fixture(scope="module")
def figure():
    drawn, ax = plt.subplots(figsize=(2, 2))
    ax.plot([0, 1], label=EVIL)
    ax.set_title("a & b < c")
    plt.close(drawn)
    return drawn


def test_page_stands_alone_whatever_stands_in_the_file(figure):
    results = pd.DataFrame({"candidate": [EVIL, "none"], "gain": [np.nan, 0.0], "status": ["chosen", ""], "error": [EVIL, ""]})
    page = choice_page(EVIL, EVIL, facts={EVIL: EVIL, "list": [EVIL], "n": 3}, warnings=[EVIL], notes=[EVIL], results=results, figures={"gains": (figure, EVIL), "other": (figure, EVIL)},
                       quality={"copies": 0.2, "two_sample_auc": np.nan}, columns=column_table(pd.DataFrame({EVIL: [EVIL, "b"]}), pd.DataFrame({EVIL: ["b", "b"]})))
    assert "<script" not in page
    sources, tags = sources_of(page)
    assert len(sources) == 2 and all(source.startswith("data:image/svg+xml") for source in sources) and "script" not in tags
    assert page.count("<tr class=chosen>") == 1 and page.count("data:image/svg+xml") == 2
    assert page.count("<table") == page.count("</table>") and page.count("<ul") == page.count("</ul>")


@pytest.mark.parametrize("given, headings", [({}, []), ({"quality": {"copies": 0.0}}, ["The new rows"]), ({"notes": ["x"]}, ["What was noticed in the table"]), ({"facts": {"seed": 0}}, ["What was done"]),
                                             ({"results": pd.DataFrame({"candidate": ["none"]})}, ["What was compared"]), ({"quality": {"copies": np.nan}}, [])])
def test_empty_sections_are_left_out(given, headings):
    assert re.findall(r"<h2>(.*?)</h2>", choice_page("t", "h", **given)) == headings


def test_drawing_is_the_same_every_time(figure):
    assert external_loads(choice_page("t", "h", figures={"target": (figure, "densities")})) == []
    assert svg_image(figure, "x") == svg_image(figure, "x")


@pytest.mark.parametrize("name", list(CHECKS))
def test_judgements_know_three_words(name):
    found = {re.search(r'badge (\w+)"', quality_html({name: value}))[1] for value in (0.0, 0.02, 0.2, 0.6, 0.8, 1.0, 9.0)}
    assert found <= {"good", "fair", "poor"} and len(found) >= 2


def test_nothing_is_claimed_where_nothing_is():
    assert cell_text(np.nan) == cell_text(None) == cell_text(pd.NA) == cell_text(np.inf) == ""
    assert table_html(pd.DataFrame({"a": [np.nan, 1.23456]})).count("1.235") == 1
    empty = column_table(pd.DataFrame({"a": [np.nan]}), pd.DataFrame({"a": [1.0]}))
    assert empty["real"].tolist() == [""] and empty["synthetic"].tolist() == ["1 (1 to 1)"]
