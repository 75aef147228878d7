"""Layouts of pictures: every one in its place, on one grey scale."""
import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augment_lib.core import InputError
from augment_lib.image_plots import image_grid, image_rows, mosaic
from augment_lib.plots import save_figure


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@given(st.integers(1, 13), st.integers(1, 6), st.integers(1, 7), st.integers(1, 5), st.sampled_from([1, 3]), st.integers(0, 2))
@settings(max_examples=50, deadline=None)
def test_every_picture_is_in_its_place(n, n_cols, height, width, channels, gap):
    images = np.random.default_rng(n).random((n, height, width, channels))
    sheet = mosaic(images, n_cols, gap=gap)
    rows = -(-n // n_cols)
    assert sheet.shape == (rows * (height + gap) - gap, n_cols * (width + gap) - gap, channels)
    covered = np.zeros(sheet.shape[:2], bool)
    for i, picture in enumerate(images):
        place = slice(i // n_cols * (height + gap), i // n_cols * (height + gap) + height), slice(i % n_cols * (width + gap), i % n_cols * (width + gap) + width)
        assert np.array_equal(sheet[place], picture)
        covered[place] = True
    assert (sheet[~covered] == 1).all()


def test_bytes_and_grey_axis():
    X = np.random.default_rng(0).integers(0, 256, (4, 3, 3), dtype=np.uint8)
    assert np.array_equal(mosaic(X), mosaic(X[..., None] / 255))


@pytest.mark.parametrize("images, told", [(np.zeros((3, 3)), "expected .n, height"), (np.zeros((0, 3, 3)), "at least one"), (np.zeros((1, 3, 3, 4)), "1 or 3"),
                                          (np.full((1, 2, 2), 1.01), "one grey scale"), (np.full((1, 2, 2), np.nan), "one grey scale")])
def test_what_is_no_picture_is_refused(images, told):
    for draw in (mosaic, image_grid, lambda X: image_rows({"a": X})):
        with pytest.raises(InputError, match=told):
            draw(images)


def test_grid_draws_into_given_axes_and_keeps_the_scale():
    fig, ax = plt.subplots()
    dim = 0.2 + 0.1 * np.random.default_rng(0).random((6, 4, 4))
    assert image_grid(dim, n_cols=3, ax=ax, title="six", row_names=["a", "b"]) is ax
    shown = ax.images[0]
    assert shown.get_clim() == (0, 1) and shown.get_array().shape == (9, 14) and ax.get_title(loc="left") == "six"
    assert np.allclose(np.asarray(shown.get_array())[:4, :4], dim[0]), "no contrast of its own"
    assert list(ax.get_yticks()) == [1.75, 6.25]
    with pytest.raises(InputError, match="3 row_names for 2 rows"):
        image_grid(dim, n_cols=3, row_names="abc")


def test_rows_may_differ_in_size_length_and_colour(tmp_path):
    rng = np.random.default_rng(0)
    fig = image_rows({"grey": rng.random((5, 8, 8)), "colour": rng.random((3, 16, 16, 3)), "bytes": rng.integers(0, 255, (7, 4, 4), dtype=np.uint8)}, title="three")
    assert [ax.get_ylabel() for ax in fig.axes] == ["grey", "colour", "bytes"]
    assert [ax.images[0].get_array().shape for ax in fig.axes] == [(8, 62), (16, 118, 3), (4, 34)]
    svg, png = save_figure(fig, tmp_path / "rows")
    assert (tmp_path / "rows.png").stat().st_size < 100_000
    pixels = plt.imread(png)
    assert (pixels[0] == 1).all() and pixels.std() > 0.1


def test_rows_are_not_cut_off_and_do_not_overlap():
    fig = image_rows({name: np.zeros((10, 28, 28)) for name in ("test", "GMVAE, 10 COMPONENTS", "vamp_vae published", "a rather long name of a model")})
    fig.draw_without_rendering()
    boxes = [ax.get_tightbbox() for ax in fig.axes]
    assert min(box.x0 for box in boxes) >= 0 and max(box.x1 for box in boxes) <= fig.bbox.width
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in zip(boxes, boxes[1:]))


def test_n_cols_cuts_rows():
    fig = image_rows({"a": np.zeros((10, 4, 4))}, n_cols=3)
    assert fig.axes[0].images[0].get_array().shape == (4, 14)
    with pytest.raises(InputError, match="rows is empty"):
        image_rows({})
