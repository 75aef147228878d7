"""Pictures: bit by bit those that trained networks are found by, whatever happens around them."""
import numpy as np
import pytest

from augment_lib.core import DataUnavailableError, InputError
from augment_lib.data import load_dataset, load_images
from augment_lib.files import find_set
from augment_lib.pictures import FILES, load_pictures
from augment_lib.storage import sha256_of

GOLDEN = ["a9d8399854fe", "6025ff6f9cf1", "77d4b9956278", "142f964e2e88"]      # training pictures, their labels, test pictures, their labels


def test_digits_are_the_bytes_that_models_were_stored_under():
    found = load_pictures("digits")
    hashes = [sha256_of(np.ascontiguousarray(part).tobytes())[:12] for part in found[:4]]
    assert hashes == GOLDEN, "other bytes: every network trained on digits would be trained again"
    assert [part.dtype for part in found[:4]] == [np.float32, np.int64, np.float32, np.int64]
    assert found.sha256 == {"digits": load_dataset("digits").sha256}


def test_files_are_scaled_and_nothing_else(name="fashion_mnist"):
    try:
        found = load_pictures(name)
    except DataUnavailableError as error:
        pytest.skip(str(error).splitlines()[0])
    raw, labels = load_images(f"{name}_test")
    assert found.train.shape == (60_000, 28, 28) and found.train.dtype == np.float32 and found.train.max() == 1
    assert np.array_equal(found.test, raw.astype(np.float32) / 255) and np.array_equal(found.y_test, labels)
    assert found.sha256 == {f"{name}_{half}": find_set(f"{name}_{half}").sha256 for half in ("train", "test")}


@pytest.mark.parametrize("name", list(FILES))
def test_a_missing_file_is_named_with_the_cure(monkeypatch, tmp_path, name):
    monkeypatch.setenv("AUGMENT_LIB_DATA", str(tmp_path))
    monkeypatch.setenv("AUGMENT_LIB_CACHE", str(tmp_path))
    monkeypatch.setenv("AUGMENT_LIB_OFFLINE", "1")
    with pytest.raises(DataUnavailableError, match=FILES[name].format("train")) as error:
        load_pictures(name)
    assert "set AUGMENT_LIB_DATA" in str(error.value)


def test_words_become_numbers_in_both_halves(monkeypatch):
    from augment_lib import pictures

    monkeypatch.setattr(pictures, "load_images", lambda file: (np.arange(8, dtype=np.uint8).reshape(2, 2, 2) * 36, np.array(["ship", "cat"])))
    found = load_pictures("cifar10")
    assert found.y_train.tolist() == found.y_test.tolist() == [1, 0] and found.train.max() == np.float32(252) / 255


@pytest.mark.parametrize("name", ["cifar10_jpeg", "MNIST", "", "yale"])
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match="digits, mnist|name="):
        load_pictures(name)
