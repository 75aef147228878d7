"""The judge of pictures: its canvas, its training, and a file that cannot change unnoticed."""
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augment_lib import extractor
from augment_lib.core import ChecksumError, DataUnavailableError, InputError, ModelFileError
from augment_lib.extractor import (CLASS_NAMES, FID_CNN_SHA256, SETS, WEIGHTS, ExtractorNet, Stack, judge, load_extractor, random_extractor, save_extractor,
                                   to_canvas, train_extractor)
from augment_lib.storage import sha256_of


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits
    bunch = load_digits()
    return (bunch.images / 16).astype(np.float32), bunch.target


# ---- the canvas

@given(st.integers(1, 50), st.integers(1, 50), st.sampled_from([None, 1, 3]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_size_fits_the_canvas(height, width, channels, as_bytes):
    rng = np.random.default_rng(height * 100 + width)
    X = rng.random((2, height, width) + (() if channels is None else (channels,)))
    X = (X * 255).astype(np.uint8) if as_bytes else X
    canvas = to_canvas(X)
    assert canvas.shape == (2, 3, 32, 32) and canvas.dtype == torch.float32
    assert canvas.min() >= 0 and canvas.max() <= 1 + 1e-6
    if channels != 3:
        assert torch.equal(canvas[:, 0], canvas[:, 1]) and torch.equal(canvas[:, 0], canvas[:, 2])


@pytest.mark.parametrize("side", [15, 20, 28, 31, 32])
def test_pictures_are_centred_and_unchanged(side):
    X = np.random.default_rng(side).random((3, side, side)).astype(np.float32)
    left = (32 - side) // 2
    canvas = to_canvas(X)
    assert torch.equal(canvas[:, 0, left:left + side, left:left + side], torch.from_numpy(X))
    assert canvas[:, 0].sum() == pytest.approx(X.sum(), rel=1e-5)


def test_small_pictures_are_enlarged_by_a_whole_factor():
    canvas = to_canvas(np.ones((1, 8, 8)))
    assert canvas[0, 0].sum() == 24 * 24 and (canvas[0, 0, 4:28, 4:28] == 1).all()


def test_orientation_and_channels_are_kept():
    X = np.zeros((1, 32, 32, 3))
    X[0, 2, 30, 1] = 1
    canvas = to_canvas(X)
    assert canvas[0, 1, 2, 30] == 1 and canvas.sum() == 1


@pytest.mark.parametrize("X, told", [(np.zeros((4, 64)), "expected .n, height, width"), (np.zeros((4, 8, 8, 2)), "1 or 3 channels"), (np.full((1, 8, 8), 1.1), "expected floats"),
                                     (np.full((1, 8, 8), -0.1), "expected floats"), (np.full((1, 8, 8), np.nan), "expected floats"), (np.full((1, 8, 8), 200), "expected floats")])
def test_what_is_no_picture_is_refused(X, told):
    with pytest.raises(InputError, match=told):
        to_canvas(X)


def test_stack_keeps_bytes():
    X = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    stack = Stack([X, X[:2] / 255])
    assert len(stack) == 7 and stack.canvas.dtype == np.uint8
    assert np.array_equal(stack.canvas[:5, 2:30, 2:30, 2], X) and np.array_equal(stack.canvas[5], stack.canvas[0])


# ---- the network and its training

def test_random_judges_hang_on_their_seed_only():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    nets = [random_extractor(seed) for seed in (0, 0, 1)]
    assert torch.equal(before, torch.get_rng_state())
    x = torch.rand(4, 3, 32, 32)
    a, b, c = (net.features(x) for net in nets)
    assert torch.equal(a, b) and not torch.equal(a, c) and a.shape == (4, 96)


def test_training_learns_and_is_repeatable(digits):
    X, y = digits
    held = np.arange(len(y)) % 4 == 0
    losses = []
    net = train_extractor([X[~held]], y[~held], n_epochs=5, widths=(8, 16, 24, 32), n_classes=10, batch_size=64, learning_rate=1e-2, report=lambda e, loss: losses.append(loss))
    assert not net.training and len(losses) == 5 and losses[-1] < losses[0] / 3
    assert (judge(X[held], net)[1].argmax(1) == y[held]).mean() > 0.8
    twins = [train_extractor([X[:100]], y[:100], n_epochs=1, widths=(4, 8), n_classes=10, random_state=s) for s in (3, 3, 4)]
    first, same, other = (judge(X[:5], twin)[0] for twin in twins)
    assert np.array_equal(first, same) and not np.array_equal(first, other)


def test_bfloat16_training_keeps_float32_weights(digits):
    X, y = digits
    net = train_extractor([X[:60]], y[:60], n_epochs=1, widths=(4, 8), n_classes=10, precision="bfloat16")
    assert {p.dtype for p in net.parameters()} == {torch.float32} and np.isfinite(judge(X[:5], net)[1]).all()


@pytest.mark.parametrize("labels, told", [([0, 1], "one label per picture"), ([0, 1, 10], "expected 0 to 9"), ([-1, 0, 1], "expected 0 to 9")])
def test_labels_that_do_not_fit_are_refused(digits, labels, told):
    with pytest.raises(InputError, match=told):
        train_extractor([digits[0][:3]], labels, n_classes=10, n_epochs=1)


def test_a_picture_is_judged_alike_alone_and_in_company(digits):
    net, X = load_extractor(), digits[0][:20]
    together, alone = judge(X, net), [judge(X[i:i + 1], net) for i in range(20)]
    for part in (0, 1):
        np.testing.assert_allclose(together[part], np.concatenate([one[part] for one in alone]), rtol=1e-4, atol=1e-4)


# ---- files

def test_the_shipped_judge():
    net = load_extractor()
    path = Path(str(resources.files("augment_lib").joinpath(WEIGHTS)))
    assert sha256_of(path) == FID_CNN_SHA256 == net.sha256 and path.stat().st_size < 500_000
    assert net.n_classes == len(CLASS_NAMES) == 30 and list(SETS) == ["mnist", "fashion_mnist", "cifar10"]
    assert net.notes["accuracy"]["mnist"] > 0.98 and net.notes["accuracy"]["fashion_mnist"] > 0.88 and net.notes["accuracy"]["cifar10"] > 0.65
    assert {"seconds_of_processor", "precision", "n_epochs"} <= set(net.notes["recipe"])


@pytest.mark.parametrize("family, half", [("mnist", "mnist_test"), ("fashion_mnist", "fashion_mnist_test"), ("cifar10", "cifar10_jpeg_test")])
def test_stated_accuracies(family, half):
    from augment_lib.data import load_images
    try:
        X, y = load_images(half)
    except DataUnavailableError as error:
        pytest.skip(str(error)[:80])
    if y.dtype.kind in "UO":
        y = np.array([SETS[family].index(name) for name in y])
    net, few = load_extractor(), np.random.default_rng(0).permutation(len(X))[:1500]
    found = (judge(X[few], net)[1].argmax(1) == y[few] + 10 * list(SETS).index(family)).mean()
    assert found == pytest.approx(net.notes["accuracy"][family], abs=0.04)


def test_round_trip(tmp_path):
    net = ExtractorNet((4, 8), 5)
    net(torch.rand(16, 3, 32, 32))          # batch statistics move
    written = save_extractor(net.eval(), tmp_path / "a.safetensors", {"accuracy": {"x": 0.5}})
    back = load_extractor(tmp_path / "a.safetensors")
    assert back.sha256 == written == save_extractor(back, tmp_path / "b.safetensors", {"accuracy": {"x": 0.5}})
    assert back.notes == {"widths": [4, 8], "n_classes": 5, "accuracy": {"x": 0.5}}
    x = torch.rand(3, 3, 32, 32)
    assert torch.equal(net(x), back(x))


def test_damaged_files_are_refused(tmp_path, monkeypatch):
    good = Path(str(resources.files("augment_lib").joinpath(WEIGHTS))).read_bytes()
    path = tmp_path / WEIGHTS
    with pytest.raises(ModelFileError, match="is missing"):
        load_extractor(path)
    path.write_bytes(good[:-100])
    with pytest.raises(ModelFileError, match="not a judge"):
        load_extractor(path)
    from safetensors.torch import save
    path.write_bytes(save({"a": torch.zeros(2)}))
    with pytest.raises(ModelFileError, match="not a judge"):
        load_extractor(path)
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    monkeypatch.setattr(extractor.resources, "files", lambda package: tmp_path)
    with pytest.raises(ChecksumError, match="distances would not be comparable"):
        load_extractor()
    path.unlink()
    with pytest.raises(ModelFileError, match="installation is not complete"):
        load_extractor()


def test_notes_are_plain_json():
    json.dumps(load_extractor().notes)
