"""class_plots: every row is drawn, lines stand where the numbers are, nothing leaks, bad input is named."""
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from augment_lib import class_plots as c
from augment_lib.core import InputError
from augment_lib.plots import save_figure
from augment_lib.simulators import ClassLaw


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def data():
    X, y = ClassLaw("rings", 0.1, (0.6, 0.3, 0.1)).sample(200, random_state=0)
    return X, y, np.random.default_rng(0).uniform(0, np.log2(3), 200)


def test_entropy_map_draws_all_classes_on_one_scale(data):
    X, y, H = data
    ax = c.entropy_map(X, y.map({0: "a", 1: "b", 2: "c"}), H, X[:30] + 0.1)
    dots = ax.collections[:3]
    assert [len(d.get_offsets()) for d in ax.collections[:4]] == [120, 60, 20, 30]
    assert {d.norm.vmax for d in dots} == {np.log2(3)} and {d.norm.vmin for d in dots} == {0}
    assert np.allclose(np.sort(np.concatenate([d.get_array() for d in dots])), np.sort(H))
    assert c.entropy_map(X, y, H, top=1.0, colorbar=False).collections[0].norm.vmax == 1


@pytest.mark.parametrize("new", [None, np.empty((0, 2))])
def test_entropy_map_without_new_rows(data, new):
    X, y, H = data
    ax = c.entropy_map(X.to_numpy(), y, H, new)
    assert ax.get_xlabel() == "column 1" and len([d for d in ax.collections if len(d.get_offsets()) in (120, 60, 20)]) == 3


@pytest.mark.parametrize("wrong", [np.ones((200, 3)), np.full((200, 2), np.nan), np.empty((0, 2))])
def test_maps_need_a_plane(data, wrong):
    _, y, H = data
    with pytest.raises(InputError, match="a map is a plane"):
        c.entropy_map(wrong, y, H)
    with pytest.raises(InputError, match="a map is a plane"):
        c.boundary_map({}, wrong, y, 1)


def test_boundary_lies_where_the_model_is_undecided():
    X = pd.DataFrame(np.random.default_rng(0).uniform(-1, 1, (400, 2)), columns=["u", "v"])
    y = (X.u > 0.2).astype(int)
    model = LogisticRegression(C=100).fit(X, y)
    ax = c.boundary_map({"m": model}, X, y, rare=1)
    line = next(path for item in ax.collections for path in getattr(item, "get_paths", list)() if hasattr(item, "levels") or type(item).__name__.endswith("ContourSet"))
    chance = model.predict_proba(pd.DataFrame(line.vertices, columns=["u", "v"]))[:, 1]
    assert np.abs(chance - 0.5).max() < 0.05


def test_boundary_map_says_never_and_always():
    X, y = np.random.default_rng(0).normal(size=(50, 2)), np.r_[np.ones(25), np.zeros(25)]

    class Sure:
        classes_ = np.array([0.0, 1.0])
        def __init__(self, share): self.share = share
        def predict_proba(self, places): return np.tile([1 - self.share, self.share], (len(places), 1))

    ax = c.boundary_map({"shy": Sure(0.1), "bold": Sure(0.9)}, X, y, 1, new=X[:3])
    assert [t.get_text() for t in ax.get_legend().get_texts()][-2:] == ["shy (never)", "bold (always)"]
    with pytest.raises(InputError, match="'shy' knows the classes"):
        c.boundary_map({"shy": Sure(0.1)}, X, y, 5)


def test_tercile_bars_show_the_shares():
    shares = pd.DataFrame([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], index=["a", "b"])
    ax = c.tercile_bars(shares)
    ends = sorted(round(bar.get_x() + bar.get_width(), 9) for bar in ax.patches)
    assert ends == [0.1, 0.2, 0.5, 0.8, 1.0, 1.0]
    assert sorted(line.get_xdata()[0] for line in ax.lines) == [1 / 3, 2 / 3]


@pytest.mark.parametrize("wrong", [[[0.5, 0.5]], [[0.5, 0.5, 0.5]], [[-0.5, 1.0, 0.5]], np.empty((0, 3))])
def test_tercile_bars_refuse_what_is_no_share(wrong):
    with pytest.raises(InputError, match="expected three shares"):
        c.tercile_bars(pd.DataFrame(wrong))


def test_difference_forest_fills_only_what_excludes_zero():
    table = pd.DataFrame({"method": list("abcd"), "difference": [1, -1, 0.1, 0.3], "low": [0.5, -2, -0.1, np.nan], "high": [2, -0.5, 0.2, np.nan]})
    ax = c.difference_forest(table)
    dots = [line for line in ax.lines if line.get_linestyle() == "None"]
    assert [d.get_markerfacecolor() == "white" for d in dots] == [False, False, True, True]
    assert [t.get_text() for t in ax.get_yticklabels()] == list("abcd") and ax.get_ylim() == (3.5, -0.5)
    with pytest.raises(InputError, match=r"no column \['high'\]"):
        c.difference_forest(table.drop(columns="high"))
    with pytest.raises(InputError, match="0 row"):
        c.difference_forest(table[:0])


def test_figures_are_the_same_bytes_twice(tmp_path, data):
    X, y, H = data
    found = []
    for name in "ab":
        save_figure(c.entropy_map(X, y, H, X[:9]).figure, tmp_path / name)
        found.append((tmp_path / f"{name}.svg").read_bytes())
    assert found[0] == found[1]


def test_the_look_stays_inside(data):
    before = dict(plt.rcParams)
    c.entropy_map(*data), c.tercile_bars(pd.DataFrame([[0.2, 0.3, 0.5]]))
    assert dict(plt.rcParams) == before
