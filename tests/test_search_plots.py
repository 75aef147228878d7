"Curves of searches: one colour per method, one height, legends that hide nothing."
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from augment_lib.black_box import best_curves
from augment_lib.core import InputError
from augment_lib.search_plots import best_so_far_plot

NAMES = ["lra_vae", "vae", "lsbo", "turbo", "inversion", "weighted_retraining", "random_search", "screening"]


def staircases(names, seeds=3, queries=20):
    rng = np.random.default_rng(0)
    return {name: np.maximum.accumulate(rng.random((seeds, queries)), axis=1) for name in names}


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


def style_of(ax):
    return {line.get_label(): (line.get_color(), line.get_marker()) for line in ax.get_lines()}


@pytest.mark.parametrize("titles", [["one"], ["one", "two"], ["one", "two", "three"]])
def test_one_panel_per_title_with_its_curves(titles):
    figure = best_so_far_plot({title: staircases(NAMES[:3]) for title in titles}, "largest area")
    assert [ax.get_title(loc="left").split("\n")[0] for ax in figure.axes] == titles
    assert [ax.get_ylabel() for ax in figure.axes] == ["largest area"] + [""] * (len(titles) - 1)
    for ax in figure.axes:
        assert list(style_of(ax)) == NAMES[:3]
        np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), staircases(NAMES[:3])["lra_vae"].mean(0))


def test_a_method_looks_alike_in_every_panel_and_unlike_its_neighbours():
    first, second, third = best_so_far_plot({"a": staircases(NAMES), "b": staircases(["log_ei", "ucb", "thompson", "mes"]), "c": staircases(["random_search", "lra_vae"], 10, 50)}).axes
    for ax in (first, second, third):
        looks = style_of(ax)
        assert len(set(looks.values())) == len(looks)
    assert all(style_of(first)[name] == look for name, look in style_of(third).items())
    assert first.get_ylim() == second.get_ylim() == third.get_ylim()


@pytest.mark.parametrize("panels", [{"": NAMES}, {"a": NAMES, "b": NAMES[:2]}, {"a": NAMES, "b": NAMES[:2], "c": NAMES[:1]}])
def test_legends_stand_below_and_inside_the_figure(panels):
    figure = best_so_far_plot({title: staircases(names) for title, names in panels.items()}, reference=0.5)
    figure.draw_without_rendering()
    for ax in figure.axes:
        legend = ax.get_legend().get_window_extent()
        assert legend.y1 <= ax.xaxis.label.get_window_extent().y0 + 1, "below the label of the axis"
        assert legend.y0 >= 0 and legend.x0 >= -1 and legend.x1 <= figure.bbox.x1 + 1, "and not cut off"
        assert ax.get_window_extent().height > 0.4 * figure.bbox.height, "the curves keep their room"
        assert ax.get_ylim()[1] < 1.3, "none of it is empty for the sake of a legend"


def test_no_reference_no_line():
    figure = best_so_far_plot({"": staircases(["vae"])})
    assert len(figure.axes[0].get_lines()) == 1
    figure = best_so_far_plot({"": staircases(["vae"])}, reference=0.3, reference_label="best of 9 rows")
    assert figure.axes[0].get_lines()[1].get_ydata()[0] == 0.3 and figure.axes[0].get_legend().get_texts()[-1].get_text() == "best of 9 rows"


def test_from_the_histories_of_searches():
    history = pd.concat([pd.DataFrame({"query": [0, 1, 2], "best_so_far": [0.0, 1.0, 1.0 + seed], "method": "vae", "seed": seed}) for seed in range(4)])
    ax = best_so_far_plot({"found": best_curves(history, ["vae"])}).axes[0]
    assert ax.get_lines()[0].get_ydata().tolist() == [1.0, 2.5] and "4 seeds" in ax.get_title(loc="left")


@pytest.mark.parametrize("panels, why", [({}, "a curve in every panel"), ({"a": {}}, "a curve in every panel"), ({"a": {"x": np.ones((2, 3)), "y": np.ones((2, 4))}}, "for each method"),
                                         ({"a": {"x": np.ones((0, 3))}}, "for each method")])
def test_what_is_refused(panels, why):
    with pytest.raises(InputError, match=why):
        best_so_far_plot(panels)
