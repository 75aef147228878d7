"""plots: nothing overlaps or is cut off, styles are stable, files are deterministic and traceable, small input is drawn."""
import re
import subprocess
import sys

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from augment_lib import plots as p
from augment_lib.axes import COLUMN, PAGE
from augment_lib.core import InputError
from layout import check_layout

NAMES = ["none", "sample_weight", "weighted_oversampling_cv", "david", "smoter", "smogn", "kernel_pca_bootstrap", "tvae", "ctgan", "rose"]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def long_table(names, seeds, folds=2):
    rng = np.random.default_rng(0)
    return pd.DataFrame([(name, seed, fold, rng.lognormal(0, 0.3)) for name in names for seed in range(seeds) for fold in range(folds)],
                        columns=["method", "seed", "fold", "value"])


def ratios(names):
    centre = np.linspace(0.8, 1.3, len(names))
    return pd.DataFrame({"method": names, "ratio": centre, "low": centre * 0.93, "high": centre * 1.08, "n_families": 12,
                         "comparator": "best of sample_weight and oversampling", "metric": "weighted_mse"})


def draw(kind, names=NAMES, seeds=10, n=200, ax=None):
    "One figure of each kind, at a chosen size."
    rng = np.random.default_rng(1)
    codes = rng.normal(size=(n, 5)) * [3, 2, 1, 1, 1]
    return {
        "density": lambda: p.target_density_plot(codes[:, 0], np.r_[codes[:, 0], 3 + codes[:, 1]], ax, "concentration", "µg/m³", title="The tail"),
        "latent": lambda: p.latent_plot(codes, codes[: n // 2] + 0.1, codes[:, 0], ax, "price", "1,000 $", title="Codes of large targets"),
        "box": lambda: p.seed_boxplot(long_table(names, seeds), ax, reference=names[0], label="weighted mean squared error on the rows that judge", title="Methods over seeds"),
        "boxlog": lambda: p.seed_boxplot(long_table(names, seeds), ax, log=True, title="Methods over seeds"),
        "rank": lambda: p.rank_diagram(dict(zip(names, np.linspace(1.5, len(names), len(names)))), cd=2.1, n=12, ax=ax, title="Ranks of methods"),
        "curve": lambda: p.curve_with_spread(np.geomspace(0.01, 2, 7), {name: rng.random((seeds, 7)) + i for i, name in enumerate(names[:4])}, ax,
                                             reference=2.0, log=True, xlabel="bandwidth h", title="A curve"),
        "curvelog": lambda: p.curve_with_spread(np.geomspace(0.01, 2, 7), {name: np.exp(rng.random((seeds, 7)) + i) for i, name in enumerate(names[:4])}, ax,
                                                log=True, log_y=True, spread="range", title="A curve of ratios"),
        "forest": lambda: p.ratio_forest(ratios(names), ax, title="Ratios to the best weighting"),
    }[kind]()


KINDS = ["density", "latent", "box", "boxlog", "rank", "curve", "curvelog", "forest"]


@pytest.mark.parametrize("kind", KINDS)
def test_layout_of_one_column(kind):
    ax = draw(kind)
    check_layout(ax.figure)
    assert ax.figure.get_figwidth() == COLUMN


@pytest.mark.parametrize("kind", KINDS)
def test_layout_of_small_input(kind):
    check_layout(draw(kind, names=["none", "david"], seeds=1, n=3).figure)


@pytest.mark.parametrize("kind", ["box", "rank", "forest"])
def test_layout_of_long_names(kind):
    names = ["none", "uci_protein-tertiary-structure", "ml_teacher middle mean tuned", *(f"weighted_oversampling_with_{i}" for i in range(20))]
    check_layout(draw(kind, names).figure)


def test_layout_of_a_page():
    with p.theme():
        fig, axes = plt.subplots(2, 2, figsize=(PAGE, 5))
    for ax, kind in zip(axes.ravel(), ["density", "box", "curve", "forest"]):
        assert draw(kind, names=NAMES[:5], ax=ax) is ax
    check_layout(fig)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_global_changes(kind):
    settings, state = dict(matplotlib.rcParams), np.random.get_state()[1].copy()
    draw(kind)
    assert dict(matplotlib.rcParams) == settings and np.array_equal(state, np.random.get_state()[1])


def test_import_changes_nothing():
    code = ("import matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot as plt; before = dict(matplotlib.rcParams)\n"
            "import augment_lib.plots; assert dict(matplotlib.rcParams) == before")
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_deterministic(kind, tmp_path):
    first = p.save_figure(draw(kind).figure, tmp_path / "a", ["run-1"])
    plt.close("all")
    figure = draw(kind).figure
    second, third = p.save_figure(figure, tmp_path / "b", ["run-1"]), p.save_figure(figure, tmp_path / "c", ["run-1"])
    for one, two, three in zip(first, second, third):
        a, b, c = (open(path, "rb").read() for path in (one, two, three))
        assert a == b
        if one.endswith("svg"):
            assert re.sub(rb"[\d.-]+", b"", b) == re.sub(rb"[\d.-]+", b"", c)       # drawn again: at most a layout moved


def test_saved_files_carry_their_origin(tmp_path):
    svg, png = p.save_figure(draw("box").figure, tmp_path / "deep" / "x.y", ["30_david-aaa", "30_david-bbb"], "David wins & <loses>.")
    text = open(svg, encoding="utf-8").read()
    assert svg.endswith("x.y.svg") and "30_david-aaa" in text and "30_david-bbb" in text and "David wins &amp; &lt;loses&gt;." in text
    assert "sample_weight</text>" in text and "dc:date" not in text                 # text stays text
    clips = re.findall(r'clipPath id="(\w+)"', text)
    assert clips and set(re.findall(r"url\(#(\w+)\)", text)) <= set(clips)          # renamed consistently
    with Image.open(png) as image:
        assert image.size[0] == round(200 * COLUMN) and image.info["Runs"] == "30_david-aaa 30_david-bbb"
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["x.y.png", "x.y.svg"]


def test_one_run_id_is_one_word(tmp_path):
    svg, _ = p.save_figure(plt.figure(), tmp_path / "a", "run-1")
    assert "run-1" in open(svg).read()


def test_a_failed_drawing_keeps_the_old_files(tmp_path):
    p.save_figure(draw("box").figure, tmp_path / "a")
    old = (tmp_path / "a.svg").read_bytes()
    broken = plt.figure()
    broken.text(0, 0, r"$\broken{$")
    with pytest.raises(ValueError):
        p.save_figure(broken, tmp_path / "a")
    assert (tmp_path / "a.svg").read_bytes() == old and len(list(tmp_path.iterdir())) == 2


def test_styles_are_golden():
    assert p.method_style("david") == {"color": "#D55E00", "marker": "o"}
    code = "from augment_lib.plots import method_style; print(method_style('smoter'))"
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert other == str(p.method_style("smoter"))                                   # another process, another hash seed
    free = p.method_styles([f"m{i}" for i in range(60)])
    assert len({tuple(style.values()) for style in free.values()}) == 60
    assert p.method_styles(["zzz", "david"])["david"] == p.method_style("david")    # fixed faces are never moved
    assert len(p.method_styles([f"m{i}" for i in range(100)])) == 100               # more names than faces


def test_density_has_mass_one_and_a_common_kernel():
    y = np.random.default_rng(0).normal(size=400)
    ax = p.target_density_plot(y, y)
    grid, new = ax.lines[0].get_xydata().T
    fill = ax.collections[0].get_paths()[0].vertices[:, 1].max()
    assert np.isclose(np.trapezoid(new, grid), 1, atol=0.02) and np.isclose(fill, new.max(), rtol=1e-6)


def test_boxplot_averages_folds_and_counts_losses():
    long = pd.DataFrame({"method": "a", "seed": [0, 0, 1, 1], "fold": [0, 1, 0, 1], "value": [1.0, 3.0, 5.0, np.nan]})
    ax = p.seed_boxplot(long)
    assert sorted(ax.collections[0].get_offsets()[:, 0]) == [2, 5]
    assert "1 value lost" in " ".join(ax.get_title(loc="left").split())
    ragged = pd.concat([long, pd.DataFrame({"method": ["b"], "seed": [0], "fold": [0], "value": [1.0]})])
    assert "1 to 2 seeds" in p.seed_boxplot(ragged, order=["b", "a"]).get_title(loc="left")
    for bad, words in ((dict(order=["c"]), r"\['c'\]"), (dict(reference="c"), r"\['c'\]")):
        with pytest.raises(InputError, match=words):
            p.seed_boxplot(long, **bad)
    with pytest.raises(InputError, match="no finite value"):
        p.seed_boxplot(long.assign(value=np.nan))
    with pytest.raises(InputError, match="0 row"):
        p.seed_boxplot(long.iloc[:0])


@pytest.mark.parametrize("seed", range(5))
def test_rank_groups_are_the_maximal_ones(seed):
    rng = np.random.default_rng(seed)
    ranks, cd = np.sort(rng.uniform(1, 8, 8)), rng.uniform(0.2, 5)
    runs = [(i, j) for i in range(8) for j in range(i + 1, 8) if ranks[j] - ranks[i] <= cd]
    assert p.rank_groups(ranks, cd) == [(i, j) for i, j in runs if not any((a, b) != (i, j) and a <= i and j <= b for a, b in runs)]


def test_rank_diagram_takes_groups_by_name():
    ax = p.rank_diagram({"a": 1.0, "b": 2.0, "c": 3.0}, groups=[["c", "b"]])
    bar = ax.lines[-1].get_ydata()
    assert bar[0] < 1 < 2 < bar[1] and bar[0] > 0


def test_curve_draws_mean_and_spread():
    values = np.array([[1.0, 2.0], [3.0, 6.0]])
    ax = p.curve_with_spread([0, 1], values, spread="range")
    band = ax.collections[0].get_paths()[0].vertices
    assert ax.lines[0].get_ydata().tolist() == [2, 4] and band[:, 1].min() == 1 and band[:, 1].max() == 6
    with pytest.raises(InputError, match="spread='iqr'"):
        p.curve_with_spread([0, 1], values, spread="iqr")


def test_forest_with_missing_and_touching_intervals():
    table = pd.DataFrame({"method": ["a", "b", "c"], "ratio": [0.9, np.nan, 1.1], "low": [0.8, np.nan, 1.0], "high": [1.0, np.nan, 1.2]})
    ax = p.ratio_forest(table)
    assert "no result" in ax.texts[0].get_text() and [t.get_text() for t in ax.get_yticklabels()] == ["a", "c", "b"]
    faces = [line.get_markerfacecolor() for line in ax.lines if line.get_marker() not in ("None", "")]
    assert faces == ["white", "white"]                                              # an interval that touches 1 does not exclude it
    with pytest.raises(InputError, match="no ratio"):
        p.ratio_forest(table.assign(ratio=np.nan))


@pytest.mark.parametrize("d", [1, 2, 3, 6])
@pytest.mark.parametrize("n", [1, 2, 30])
def test_latent_plot_in_any_dimension(d, n):
    rng = np.random.default_rng(0)
    ax = p.latent_plot(rng.normal(size=(n, d)), rng.normal(size=(2, d)))
    assert len(ax.collections[0].get_offsets()) == n
    check_layout(ax.figure)


def test_latent_view_is_the_same_for_flipped_axes():
    codes = np.random.default_rng(0).normal(size=(50, 3)) * [3, 2, 1]
    first, second = p._plane(codes, codes[:5])[0], p._plane(codes[::-1], codes[:5])[0][::-1]
    assert np.allclose(first, second)


@pytest.mark.parametrize("call,words", [
    (lambda: p.latent_plot(np.zeros((3, 2)), np.zeros((3, 3))), "new_codes has 3 columns"),
    (lambda: p.latent_plot(np.zeros(3), np.zeros(3)), "codes has shape"),
    (lambda: p.latent_plot([[np.nan, 1.0]], [[1.0, 1.0]]), "1 missing"),
    (lambda: p.target_density_plot([1.0, 1.0], [1.0, 2.0]), "one value"),
    (lambda: p.curve_with_spread([1, 2], np.ones((3, 3))), r"expected \(seeds, 2\)"),
    (lambda: p.curve_with_spread([0, 1], np.ones((3, 2)), log=True), "x holds 0.*positive"),
    (lambda: p.curve_with_spread([1, 2], -np.ones((3, 2)), log_y=True), "values holds -1.*positive"),
    (lambda: p.ratio_forest(pd.DataFrame({"method": ["a"]})), "ratio"),
    (lambda: p.rank_diagram({}), "empty")])
def test_bad_input_is_named(call, words):
    with pytest.raises(InputError, match=words):
        call()
