"""axes: names, titles, legends and logarithmic ticks find room at any size, and refuse what they cannot show."""
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest

from augment_lib import axes as a
from augment_lib.core import InputError
from augment_lib.plots import theme
from layout import check_layout


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("span", [(0.99, 1.01), (0.93, 1.04), (0.8, 1.3), (0.5, 2.2), (0.1, 9), (1e-3, 1e3), (1e-6, 1e6), (1.0, 1.0), (340.0, 420.0)])
def test_log_axis_has_two_to_six_round_ticks(span, axis):
    with theme():
        fig, ax = plt.subplots(figsize=(2.4, 1) if axis == "x" else (1.6, 2.0))
    ax.plot(*((span, [0, 1]) if axis == "x" else ([0, 1], span)))
    if axis == "y":
        ax.set_xticks([])
    a.log_axis(ax, axis)
    ticks, (low, high) = getattr(ax, f"get_{axis}ticks")(), getattr(ax, f"get_{axis}lim")()
    assert low < span[0] and span[1] < high, "all that is drawn is seen"
    assert 1 <= len(ticks) <= 6 and all(low <= tick <= high for tick in ticks)
    if span[0] < 1 < span[1]:
        assert np.isclose(ticks, 1).any()
    fig.canvas.draw()
    told = [label.get_text() for label in getattr(ax, f"get_{axis}ticklabels")()]
    assert not any("e" in text for text in told) and all(len(text) <= 6 for text in told if "$" not in text), "read at a glance"
    check_layout(fig)


@pytest.mark.parametrize("draw", [
    lambda ax: ax.plot([2, 50], [0, 1]), lambda ax: ax.scatter([2, 50], [0, 1]), lambda ax: ax.fill_between([2, 50], 0, 1), lambda ax: ax.hlines([0], 2, 50),
    lambda ax: ax.boxplot([2, 3, 50], positions=[0], orientation="horizontal", manage_ticks=False), lambda ax: (ax.plot(10, 0, "o"), ax.axvline(2), ax.axvline(50))])
def test_log_axis_spans_whatever_is_drawn(draw):
    ax = plt.figure().add_subplot()
    draw(ax)
    a.log_axis(ax)
    low, high = ax.get_xlim()
    assert 1.5 < low < 2 and 50 < high < 70


@pytest.mark.parametrize("drawn", [[], [-1.0, 0.0], [np.nan, np.nan]])
def test_log_axis_of_nothing_is_refused_and_changes_nothing(drawn):
    ax = plt.figure().add_subplot()
    ax.plot(drawn, drawn)
    with pytest.raises(InputError, match="nothing positive is drawn along the y axis"):
        a.log_axis(ax, "y")
    assert ax.get_yscale() == "linear"
    with pytest.raises(InputError, match="axis='both'"):
        a.log_axis(ax, "both")


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_legend_above_hides_no_data(n, scale):
    with theme():
        fig, ax = plt.subplots(figsize=(a.COLUMN, 2.4))
    for i in range(n):
        ax.plot([1, 2, 3], [1, 10, 100 + i], label=f"method {i}")
    ax.set_yscale(scale)
    a.legend_above(ax)
    fig.draw_without_rendering()
    box, top = ax.get_legend().get_window_extent(), ax.transData.transform((3, 100 + n - 1))[1]
    assert box.y0 >= top - 1
    assert len(ax.get_legend().get_texts()) == n


def test_words_find_room():
    with theme():
        ax = a.axes_for(None, 1.5, ["a name of a method that is longer than a column would have"])
        a.set_message(ax, "word " * 30, "3 seeds")
    told = ax.get_title(loc="left")
    assert ax.figure.get_figwidth() > a.COLUMN and a.axes_for(ax, 9, ["x" * 99]) is ax
    assert told.split("\n")[-1] == "3 seeds" and told.split().count("word") == 30
    check_layout(ax.figure)
    assert a.wrap_text(ax, "", 10) == "" and a.wrap_text(ax, "x" * 200, 10).replace("\n", "") == "x" * 200
