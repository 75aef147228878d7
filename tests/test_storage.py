"""A saved folder comes back whole or not at all."""
import json
import os

import numpy as np
import pytest

from augment_lib import storage
from augment_lib.core import InputError, ModelFileError
from augment_lib.storage import load_folder, save_folder, sha256_of, to_json, write_atomic


def arrays():
    return {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, 2], dtype=np.int64), "empty": np.zeros((0, 3)),
            "flag": np.array([True, False]), "byte": np.arange(3, dtype=np.uint8)}


def test_round_trip_keeps_bits_shapes_and_dtypes(tmp_path):
    save_folder(tmp_path / "m", {"name": "x", "numbers": (1, 2.5, None)}, {**arrays(), "view": np.arange(12.0).reshape(3, 4).T})
    config, back = load_folder(tmp_path / "m")
    assert config["name"] == "x" and config["numbers"] == [1, 2.5, None] and config["format_version"] == storage.FORMAT_VERSION
    for name, array in {**arrays(), "view": np.arange(12.0).reshape(3, 4).T}.items():
        assert back[name].dtype == array.dtype and np.array_equal(back[name], array), name


def test_same_content_same_bytes(tmp_path):
    for name in "ab":
        save_folder(tmp_path / name, {"z": 1, "a": 2}, arrays())
    for file in ("config.json", "arrays.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("file", ["config.json", "arrays.safetensors"])
def test_missing_file_is_named(tmp_path, file):
    save_folder(tmp_path / "m", {}, arrays())
    (tmp_path / "m" / file).unlink()
    with pytest.raises(ModelFileError, match=file):
        load_folder(tmp_path / "m")


@pytest.mark.parametrize("position", [0, 9, 100, -1])
def test_one_flipped_bit_is_refused(tmp_path, position):
    save_folder(tmp_path / "m", {}, arrays())
    path = tmp_path / "m" / "arrays.safetensors"
    blob = bytearray(path.read_bytes()); blob[position] ^= 1
    path.write_bytes(blob)
    with pytest.raises(ModelFileError, match="altered"):
        load_folder(tmp_path / "m")


def test_truncated_arrays_and_broken_json(tmp_path):
    save_folder(tmp_path / "m", {}, arrays())
    path = tmp_path / "m" / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ModelFileError, match="altered"):
        load_folder(tmp_path / "m")
    (tmp_path / "m" / "config.json").write_text("{")
    with pytest.raises(ModelFileError, match="not valid JSON"):
        load_folder(tmp_path / "m")


def test_other_format_version(tmp_path):
    save_folder(tmp_path / "m", {}, arrays())
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    with pytest.raises(ModelFileError, match="format version 99"):
        load_folder(tmp_path / "m")


def test_existing_folder_needs_overwrite(tmp_path):
    save_folder(tmp_path / "m", {"v": 1}, arrays())
    with pytest.raises(InputError, match="overwrite"):
        save_folder(tmp_path / "m", {"v": 2}, arrays())
    assert load_folder(tmp_path / "m")[0]["v"] == 1
    save_folder(tmp_path / "m", {"v": 2}, {"a": np.zeros(1)}, overwrite=True)
    config, back = load_folder(tmp_path / "m")
    assert config["v"] == 2 and list(back) == ["a"]


def test_failed_save_leaves_nothing_and_keeps_the_old(tmp_path, monkeypatch):
    save_folder(tmp_path / "m", {"v": 1}, arrays())
    with pytest.raises(InputError, match=r"config\['f'\]"):
        save_folder(tmp_path / "m", {"f": print}, arrays(), overwrite=True)
    monkeypatch.setattr(storage.json, "dumps", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_folder(tmp_path / "m", {"v": 2}, arrays(), overwrite=True)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["m"] and load_folder(tmp_path / "m")[0]["v"] == 1


def test_write_atomic_replaces_or_keeps(tmp_path, monkeypatch):
    write_atomic(tmp_path / "deep" / "f.txt", "one")
    write_atomic(tmp_path / "deep" / "f.txt", b"two")
    monkeypatch.setattr(storage.os, "replace", lambda *a: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError):
        write_atomic(tmp_path / "deep" / "f.txt", "three")
    assert os.listdir(tmp_path / "deep") == ["f.txt"] and (tmp_path / "deep" / "f.txt").read_text() == "two"


def test_sha256_golden(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256_of(b"abc") == sha256_of(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_to_json():
    assert to_json({1: np.float64(0.5), "t": (np.int8(3), None), "a": np.eye(2)}) == {"1": 0.5, "t": [3, None], "a": [[1.0, 0.0], [0.0, 1.0]]}
    with pytest.raises(InputError, match=r"value\['a'\]\[1\] is a set"):
        to_json({"a": [1, {2}]})
