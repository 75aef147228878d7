"""Registry, readers, fetching, loading, simulators, command line: all without data or network, except the mirror tests."""

import gzip
import hashlib
import io
import lzma
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from augment_lib import data, files, readers
from augment_lib.core import ChecksumError, DataUnavailableError, InputError
from augment_lib.simulators import simulate_complexity, simulate_david

ROOT = Path(__file__).parents[1]
MIRROR = os.environ.get("AUGMENT_LIB_DATA", "")
needs_mirror = pytest.mark.skipif(not Path(MIRROR or "/nonexistent").is_dir(), reason="AUGMENT_LIB_DATA names no folder of data sets")


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """An empty cache, no mirror, no network."""
    monkeypatch.setenv("AUGMENT_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AUGMENT_LIB_DATA", raising=False)
    monkeypatch.setenv("AUGMENT_LIB_OFFLINE", "1")
    return tmp_path


# ---- registry ----


def test_registry_is_complete_and_consistent():
    table = files.registry()
    assert table.index.is_unique
    absent = table.note.str.contains("public origin only")
    assert table[~absent].file.nunique() == 234 and len(table[~absent]) == 234
    assert (table[~absent].url == "").sum() == 5
    assert table.sha256.str.fullmatch("[0-9a-f]{64}").all()
    assert table.url[table.url != ""].str.match("https?://").all()
    assert set(table.reader) <= {
        "table",
        "arff",
        "rdata",
        "mat",
        "idx",
        "lines",
        "image_tar",
        "image_sheet",
        "svhn",
        "cifar_train",
        "cifar_test",
    }
    assert table.missing[table.task.isin(["regression", "classification"])].notna().all()
    assert (table.target[table.task.isin(["regression", "classification"])] != "").all()
    labels = table.target[table.target.str.startswith("@")].str[1:]
    assert len(labels) == 5 and set(labels) <= set(table.index)
    delimited = table[table.reader == "table"]
    assert set(delimited.sep) <= set(readers.SEPARATORS) and set(delimited.header) == {"yes", "no"}


def test_a_family_has_one_task_halves_and_known_members():
    table = files.registry()
    assert table.family[[f"branco_a{k}" for k in range(1, 8)]].nunique() == 1
    assert table.family["NO2"] == table.family["pmlb_547_no2"]
    assert (table.family != "").all()
    known = set(table.family)
    assert files.SHIPPED["digits"][1] in known and files.SHIPPED["wine"][1] in known


@pytest.mark.parametrize(
    "typo, right",
    [
        ("branco_bosten", "branco_boston"),
        ("no2", "NO2"),
        ("uci_yahct", "uci_yacht"),
        ("diabetis", "diabetes"),
        ("mnist_trian", "mnist_train"),
        ("pmlb_adlut", "pmlb_adult"),
    ],
)
def test_a_typo_gets_the_nearest_name(typo, right):
    with pytest.raises(InputError, match=f"Did you mean '{right}'"):
        data.load_dataset(typo)


def test_nonsense_gets_no_suggestion():
    with pytest.raises(InputError, match="is unknown") as caught:
        data.fetch("§§§§")
    assert "Did you mean" not in str(caught.value)


def test_names_select():
    assert set(data.names()) == set(files.registry().name) | set(files.SHIPPED)
    assert len(data.names("regression", folder="imbalanced_regression")) == 25
    assert len(data.names("classification", folder="pmlb")) == 50
    assert set(data.names(complete=True)).isdisjoint(data.names(complete=False))
    assert {"ames", "arff_autohorse", "arff_pbc"} <= set(data.names("regression", complete=False))
    assert "diabetes" in data.regression_sets(complete=True)
    for bad in ({"task": "ranking"}, {"folder": "attic"}):
        with pytest.raises(InputError, match=next(iter(bad.values()))):
            data.names(**bad)


# ---- readers ----


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gzip", "xz"])
@pytest.mark.parametrize(
    "sep, decimal, text",
    [
        ("comma", ".", "a,b,c\n1,0.5,x\n2,,y\n"),
        ("tab", ".", "a\tb\tc\n1\t0.5\tx\n2\tNA\ty\n"),
        ("semicolon", ",", "a;b;c\n1;0,5;x\n2;;y\n"),
        ("space", ".", " a  b c\n 1  0.5 x \n 2 \tNaN y\n"),
    ],
)
def test_tables(tmp_path, pack, sep, decimal, text):
    (tmp_path / "t").write_bytes(pack(text.encode()))
    frame = readers.read_table(tmp_path / "t", sep, decimal)
    assert list(frame) == ["a", "b", "c"]
    assert frame.a.dtype == "int64" and frame.b.dtype == "float64" and frame.c.tolist() == ["x", "y"]
    assert frame.b[0] == 0.5 and np.isnan(frame.b[1])


def test_table_keeps_none_bom_and_crlf(tmp_path):
    (tmp_path / "t").write_bytes("\ufeffname,n\r\nNone,1\r\nNULL,2\r\n".encode())
    frame = readers.read_table(tmp_path / "t")
    assert frame.name.tolist() == ["None", "NULL"] and frame.n.tolist() == [1, 2]


ARFF = """% a remark
@RELATION 'toy set'
@attribute size integer
@ATTRIBUTE 'wheel base' REAL
@attribute make {'alfa romeo', bmw, 70}
@attribute note string
@data

1, 2, 'alfa romeo', good
% another
?, 2.5, 70, ?
3,1e-3,bmw,'so, so'
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_arff(tmp_path, newline, encoding):
    (tmp_path / "t.arff").write_bytes(ARFF.replace("good", "grün").replace("\n", newline).encode(encoding))
    frame = readers.read_arff(tmp_path / "t.arff")
    assert list(frame) == ["size", "wheel base", "make", "note"]
    assert frame["size"].isna().tolist() == [False, True, False] and frame["wheel base"].tolist() == [2, 2.5, 0.001]
    assert frame.make.cat.categories.tolist() == ["alfa romeo", "bmw", "70"] and frame.make.tolist() == ["alfa romeo", "70", "bmw"]
    assert frame.note[0] == "grün" and pd.isna(frame.note[1]) and frame.note[2] == "so, so"


def test_keel(tmp_path):
    (tmp_path / "t.dat").write_text(
        "@relation k\n@attribute Sex {M, F}\n@attribute A real[0.5, 1.0]\n@attribute N integer [1, 9]\n"
        "@attribute Class {positive, negative}\n@inputs Sex, A, N\n@outputs Class\n@data\nM, 0.5, 1,negative\nF, 1.0, 9, positive\n"
    )
    frame = readers.read_arff(tmp_path / "t.dat")
    assert frame.dtypes.astype(str).tolist() == ["category", "float64", "int64", "category"]
    assert frame.Class.tolist() == ["negative", "positive"]


@pytest.mark.parametrize(
    "change, expected",
    [
        (("bmw, 70}", "audi, 70}"), "'bmw'"),
        (("@data", ""), "@data"),
        (("integer", "complex"), "'complex'"),
        (("'wheel base'", "size"), "twice"),
        (("@attribute note string\n", ""), "3 columns"),
    ],
)
def test_arff_faults_are_named(tmp_path, change, expected):
    (tmp_path / "t.arff").write_text(ARFF.replace(*change))
    with pytest.raises(InputError, match=expected) as caught:
        readers.read_arff(tmp_path / "t.arff")
    assert "t.arff" in str(caught.value)


@pytest.mark.parametrize("code, dtype", [(8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")])
def test_idx(tmp_path, code, dtype):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    raw = struct.pack(">HBB3I", 0, code, 3, 2, 3, 4) + values.tobytes()
    (tmp_path / "t.gz").write_bytes(gzip.compress(raw))
    found = readers.read_idx(tmp_path / "t.gz")
    assert np.array_equal(found, values) and found.dtype.isnative
    (tmp_path / "t.gz").write_bytes(gzip.compress(raw + b"x"))
    with pytest.raises(InputError, match="needs"):
        readers.read_idx(tmp_path / "t.gz")


def test_mat_and_svhn_layouts(tmp_path):
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (12, 32, 32, 3), dtype="u1")
    savemat(tmp_path / "svhn.mat", {"X": photos.transpose(1, 2, 3, 0), "y": np.r_[1:11, 10, 3][:, None].astype("u1")})
    images, labels = readers.read_svhn(tmp_path / "svhn.mat")
    assert np.array_equal(images, photos) and labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 3]
    savemat(tmp_path / "genes.mat", {"X": rng.normal(size=(4, 3)), "Y": np.array([[1], [-1], [1], [-1]], "i2")})
    X, y = readers.read_mat(tmp_path / "genes.mat")
    assert X.shape == (4, 3) and y.tolist() == [1, -1, 1, -1]
    with pytest.raises(InputError, match="'Z'"):
        readers.read_mat(tmp_path / "genes.mat", "Z")
    (tmp_path / "html.mat").write_text("<html>")
    with pytest.raises(InputError, match="html.mat"):
        readers.read_svhn(tmp_path / "html.mat")


def _tar(path, mode, members):
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_cifar_binary_layout(tmp_path):
    photos = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype="u1")
    record = [bytes([k]) + photo.transpose(2, 0, 1).tobytes() for k, photo in enumerate(photos)]
    _tar(
        tmp_path / "c.tar.gz",
        "w:gz",
        [
            ("cifar-10-batches-bin/test_batch.bin", record[5]),
            ("cifar-10-batches-bin/data_batch_2.bin", b"".join(record[3:5])),
            ("cifar-10-batches-bin/batches.meta.txt", b"airplane\n"),
            ("cifar-10-batches-bin/data_batch_1.bin", b"".join(record[:3])),
        ],
    )
    images, labels = readers.read_cifar(tmp_path / "c.tar.gz")
    assert np.array_equal(images, photos[:5]) and labels.tolist() == [0, 1, 2, 3, 4]
    images, labels = readers.read_cifar(tmp_path / "c.tar.gz", "test")
    assert np.array_equal(images, photos[5:]) and labels.tolist() == [5]
    _tar(tmp_path / "e.tar.gz", "w:gz", [("readme.html", b"x")])
    with pytest.raises(InputError, match="data_batch"):
        readers.read_cifar(tmp_path / "e.tar.gz")


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:xz"])
def test_image_tar_and_sheet(tmp_path, mode):
    from PIL import Image

    tiles = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype="u1")

    def png(tile):
        buffer = io.BytesIO()
        Image.fromarray(tile).save(buffer, "png")
        return buffer.getvalue()

    _tar(
        tmp_path / "t.tar",
        mode,
        [("test/ship/0000.png", png(tiles[0])), ("test/cat/0001.png", png(tiles[1])), ("test/cat/0000.png", png(tiles[2]))],
    )
    images, labels = readers.read_image_tar(tmp_path / "t.tar")
    assert np.array_equal(images, tiles[[2, 1, 0]]) and labels.tolist() == ["cat", "cat", "ship"]
    Image.fromarray(np.vstack([np.hstack(list(tiles[:2])), np.hstack(list(tiles[2:]))])).save(tmp_path / "s.webp", lossless=True)
    assert np.array_equal(readers.read_image_sheet(tmp_path / "s.webp", 16), tiles)


def test_rdata(tmp_path):
    """An R workspace written by hand: a serialised list with the matrix x and the factor y."""

    def integer(value):
        return struct.pack(">i", value)

    def text(value):
        return integer(0x00040009) + integer(len(value)) + value.encode()

    def strings(*values):
        return integer(16) + integer(len(values)) + b"".join(map(text, values))

    def pairs(*items):
        return b"".join(integer(0x402) + integer(1) + text(key) + value for key, value in items) + integer(254)

    x = (
        integer(0x20E)
        + integer(6)
        + struct.pack(">6d", 1, 2, 3, 4, 5, 6)
        + pairs(("dim", integer(13) + integer(2) + integer(3) + integer(2)))
    )
    y = (
        integer(0x30D)
        + integer(3)
        + integer(1)
        + integer(2)
        + integer(1)
        + pairs(("levels", strings("n", "t")), ("class", strings("factor")))
    )
    listed = integer(0x213) + integer(2) + x + y + pairs(("names", strings("x", "y")))
    body = (
        b"RDX2\nX\n" + integer(2) + integer(0x30400) + integer(0x20300) + integer(0x402) + integer(1) + text("toy") + listed + integer(254)
    )
    (tmp_path / "t.RData").write_bytes(gzip.compress(body))
    X, labels = readers.read_rdata(tmp_path / "t.RData")
    assert X.to_numpy().tolist() == [[1, 4], [2, 5], [3, 6]]  # R stores matrices column by column
    assert list(labels) == ["n", "t", "n"]


# ---- fetching ----


@pytest.fixture
def toy(alone, monkeypatch):
    """A registered file of our own, its right bytes, and an origin that can be told what to serve."""
    entry = files.find_set("NO2")
    right = b"Y;X1\n3,5;7\n4,5;8\n"
    entry["name"], entry["file"], entry["url"], entry["sha256"] = (
        "toy",
        "toys/toy.csv",
        "https://origin.example/toy.csv",
        hashlib.sha256(right).hexdigest(),
    )
    monkeypatch.setattr(files, "find_set", lambda name: entry.copy())
    monkeypatch.setattr(data, "find_set", lambda name: entry.copy())
    origin = {"bytes": right, "asked": 0}

    class Downloader:
        def __init__(self, **options):
            pass

        def __call__(self, url, target, pooch):
            origin["asked"] += 1
            assert url == entry["url"]
            if isinstance(origin["bytes"], Exception):
                Path(target).write_bytes(b"half a fi")
                raise origin["bytes"]
            Path(target).write_bytes(origin["bytes"])

    monkeypatch.setattr("pooch.HTTPDownloader", Downloader)
    monkeypatch.setenv("AUGMENT_LIB_OFFLINE", "0")
    return entry, right, origin, alone / "cache" / "toys" / "toy.csv"


def test_download_then_cache(toy):
    entry, right, origin, final = toy
    assert data.fetch("toy") == final and final.read_bytes() == right
    assert data.fetch("toy") == final and origin["asked"] == 1
    assert os.listdir(final.parent) == ["toy.csv"]
    loaded = data.load_dataset("toy")
    assert loaded.y.tolist() == [3.5, 4.5] and loaded.sha256 == entry.sha256 and loaded.source == "toys/toy.csv"


def test_wrong_download_is_rejected_and_kept(toy):
    entry, right, origin, final = toy
    origin["bytes"] = b"<html>log in</html>"
    with pytest.raises(ChecksumError) as caught:
        data.load_dataset("toy")
    for part in (str(final), entry.sha256, hashlib.sha256(origin["bytes"]).hexdigest(), "toy.csv.rejected"):
        assert part in str(caught.value)
    assert sorted(os.listdir(final.parent)) == ["toy.csv.rejected"]
    assert final.with_name("toy.csv.rejected").read_bytes() == origin["bytes"]
    origin["bytes"] = right
    assert data.fetch("toy").read_bytes() == right


def test_spoilt_cache_is_rejected(toy):
    _, right, origin, final = toy
    data.fetch("toy")
    final.write_bytes(b"spoilt after the check")
    with pytest.raises(ChecksumError, match="rejected"):
        data.fetch("toy")
    assert not final.exists() and final.with_name("toy.csv.rejected").exists() and origin["asked"] == 1


def test_mirror_comes_first_and_is_left_alone(toy, tmp_path, monkeypatch):
    _, right, origin, final = toy
    mirrored = tmp_path / "mirror" / "toys" / "toy.csv"
    mirrored.parent.mkdir(parents=True)
    mirrored.write_bytes(right)
    monkeypatch.setenv("AUGMENT_LIB_DATA", str(tmp_path / "mirror"))
    assert data.fetch("toy") == mirrored and origin["asked"] == 0
    mirrored.write_bytes(b"wrong")
    with pytest.raises(ChecksumError, match="read-only"):
        data.fetch("toy")
    assert os.listdir(mirrored.parent) == ["toy.csv"] and mirrored.read_bytes() == b"wrong" and not final.exists()
    mirrored.unlink()  # not in the mirror: the origin is asked
    assert data.fetch("toy") == final and origin["asked"] == 1


def test_a_mirror_that_is_no_folder_warns(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("AUGMENT_LIB_DATA", str(tmp_path / "gone"))
    with pytest.warns(UserWarning, match="gone"):
        data.fetch("toy")


def test_offline_and_no_url_say_what_to_do(toy, monkeypatch):
    entry, _, origin, final = toy
    monkeypatch.setenv("AUGMENT_LIB_OFFLINE", "1")
    with pytest.raises(DataUnavailableError) as caught:
        data.fetch("toy")
    for part in ("toys/toy.csv", entry.url, entry.sha256, str(final), "AUGMENT_LIB_DATA", "AUGMENT_LIB_OFFLINE"):
        assert part in str(caught.value)
    assert origin["asked"] == 0
    monkeypatch.setenv("AUGMENT_LIB_OFFLINE", "0")
    entry["url"] = ""
    with pytest.raises(DataUnavailableError, match="no public URL: mirror only"):
        data.fetch("toy")


def test_broken_download_leaves_nothing(toy):
    _, _, origin, final = toy
    origin["bytes"] = ConnectionError("the line went dead")
    with pytest.raises(DataUnavailableError, match="the line went dead"):
        data.fetch("toy")
    assert os.listdir(final.parent) == []


def test_a_file_is_hashed_once_per_state(toy, monkeypatch):
    _, right, _, final = toy
    counted = []
    real = files.sha256_of
    monkeypatch.setattr(files, "sha256_of", lambda path: counted.append(path) or real(path))
    data.fetch("toy")
    assert len(counted) == 1  # under its temporary name
    for _ in range(3):
        data.fetch("toy")
    assert len(counted) == 2  # once under its own
    os.utime(final, ns=(1, 1))
    data.fetch("toy")
    assert len(counted) == 3  # its time has changed: look again


# ---- loading ----


@pytest.mark.parametrize(
    "name, shape, target",
    [
        ("diabetes", (442, 10), "target"),
        ("linnerud", (20, 3), "Weight"),
        ("breast_cancer", (569, 30), "target"),
        ("wine", (178, 13), "target"),
        ("iris", (150, 4), "target"),
        ("digits", (1797, 64), "target"),
    ],
)
def test_shipped_sets_need_no_file(alone, name, shape, target):
    loaded = data.load_dataset(name)
    assert loaded.X.shape == shape and loaded.target == loaded.y.name == target and len(loaded.y) == shape[0]
    assert loaded.missing.empty and loaded.source == "scikit-learn"
    assert not (alone / "cache").exists()


def test_duplicate_groups_agree_with_pandas():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a": rng.integers(0, 4, 500),
            "b": rng.choice(["x", "y", None], 500),
            "c": rng.choice([0.5, np.nan], 500),
            "d": pd.Categorical(rng.choice(list("pq"), 500)),
            "e": pd.array(rng.choice([1, None], 500), dtype="Int64"),
        }
    )
    groups = data.duplicate_groups(frame)
    assert (pd.Series(groups).duplicated() == frame.duplicated()).all()
    assert groups[0] == 0 and groups.max() + 1 == len(frame.drop_duplicates())
    ranks = np.column_stack([pd.factorize(frame[c], use_na_sentinel=False)[0] for c in frame])
    assert (groups == np.unique(ranks, axis=0, return_inverse=True)[1]).all()  # in the order of the cells' first appearance


# ---- simulators ----


def test_david_simulation_recomputed():
    X, y = simulate_david(5000, random_state=3)
    t = {name: (X[name] - X[name].min()) / (X[name].max() - X[name].min()) for name in ("X5", "X8", "X9")}
    q8, q9 = t["X8"].quantile(0.95), t["X9"].quantile(0.95)

    def predictor(cut):
        return 5 * t["X5"] + 4 * t["X8"] + 2 * t["X8"] * (t["X8"] > q8) + 5 * t["X9"] + 3 * t["X9"] * (t["X9"] > cut) + 10

    noise = y - predictor(q8) ** 2
    assert abs(noise.mean()) < 0.6 and abs(noise.std() - 10) < 0.4
    meant = simulate_david(5000, random_state=3, own_threshold=True)[1]
    assert abs((meant - predictor(q9) ** 2).std() - 10) < 0.4 and not meant.equals(y)
    for column, mean, std in (("X0", 0, 2), ("X3", 10, 2), ("X4", 0, 5)):
        assert abs(X[column].mean() - mean) < 0.25 and abs(X[column].std() - std) < 0.2
    for residual in (X.X5 - X.X0**3, X.X8 - (X.X3 - 10) ** 2, X.X9 - X.X4**2):
        assert abs(residual.mean()) < 0.06 and abs(residual.std() - 1) < 0.05


@pytest.mark.parametrize("complexity", [1, 2, 3, 4, 5])
def test_complexity_simulation_recomputed(complexity):
    X, y = simulate_complexity(10_000, complexity, random_state=complexity)
    t = [X[f"X{j}"] for j in range(10)]
    predictor = [
        t[0] + t[1] + t[2] + t[3] + t[4],
        t[5] + t[1] + t[2] + t[3] + t[4],
        t[5] + t[6] + t[7] + t[3] + t[4],
        t[5] + t[6] + t[7] + 2 * t[8] + 2 * t[9],
        t[5] + t[6] * t[7] + t[8] * t[9],
    ][complexity - 1]
    assert abs((y - predictor).std() - 0.1) < 0.004 and abs((y - predictor).mean()) < 0.005
    assert (X.min() == 0).all() and (X.max() == 1).all()


def test_dependents_of_the_complexity_simulator():
    X, _ = simulate_complexity(10_000, 1, random_state=0)
    # min-max scaling is affine, so a correlation with the noise-free function tells the noise: sd(f) / sqrt(sd(f)^2 + s^2)
    z = {j: (X[f"X{j}"] - X[f"X{j}"].mean()) / X[f"X{j}"].std() for j in range(10)}
    for j, function, noise in (
        (5, 1 / (1 + np.exp(-2 * z[0])), 0.01),
        (6, np.sin(2 * z[1]), 0.1),
        (7, np.cos(2 * z[2]), 0.1),
        (8, z[3] ** 2, 0.5),
        (9, z[4] ** 2, 0.5),
    ):
        expected = function.std() / np.hypot(function.std(), noise)
        assert abs(np.corrcoef(function, z[j])[0, 1] - expected) < 0.003


def test_imbalance_dial():
    flat, plain, steep = (simulate_complexity(3000, 1, a, random_state=1)[1] for a in (1.0, 0.0, -1.0))
    assert flat.std() > plain.std() > steep.std()
    again = simulate_complexity(3000, 1, -1.0, random_state=1)[0]
    assert len(again) == 3000 and not again.duplicated().any()
    for bad in ({"complexity": 0}, {"complexity": 2.5}, {"imbalance": "much"}, {"n_samples": 1}):
        with pytest.raises(InputError, match=next(iter(bad))):
            simulate_complexity(**bad)


# ---- command line ----


def _command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "augment_lib.data", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "AUGMENT_LIB_OFFLINE": "1", "AUGMENT_LIB_DATA": "", **environment},
    )


def test_module_runs_from_the_shell(tmp_path):
    done = _command("fetch", "branco_bosten", AUGMENT_LIB_CACHE=str(tmp_path))
    assert done.returncode == 2 and "'branco_boston'" in done.stderr


@pytest.mark.parametrize(
    "arguments, code",
    [
        (["list"], 0),
        (["list", "--task", "images"], 0),
        (["list", "--task", "ranking"], 2),
        (["fetch", "NO2"], 1),
        (["fetch", "wine"], 0),
        (["verify"], 0),
        (["verify", "NO2"], 1),
        (["verify", "NO3"], 2),
        (["verify", "wine"], 0),
    ],
)
def test_exit_codes(alone, capsys, arguments, code):
    assert data.main(arguments) == code


def test_argparse_refuses_an_unknown_command(capsys):
    with pytest.raises(SystemExit) as caught:
        data.main(["frobnicate"])
    assert caught.value.code == 2


def test_list_shows_every_set(alone, capsys):
    data.main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == data.names()


# ---- the wheel ----


@pytest.mark.slow
def test_an_installed_wheel_finds_the_registry(tmp_path):
    """Built from a copy, so that the work tree stays clean; installed into a folder of its own and used from elsewhere."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "settings.ini", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    (source / "README.md").touch()
    shutil.copytree(ROOT / "augment_lib", source / "augment_lib", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "data").mkdir()
    shutil.copy(ROOT / "data" / "registry.csv", source / "data")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / "wheel", source], check=True, capture_output=True, text=True
    )
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("augment_lib/registry.csv") == (ROOT / "data" / "registry.csv").read_bytes()
        assert "augment_lib/py.typed" in archive.namelist()
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel], check=True, capture_output=True, text=True
    )
    code = "import augment_lib.data as d; print(d.__file__); print(len(d.registry()))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )
    where, count = found.stdout.split()
    assert Path(where).is_relative_to(tmp_path / "site") and int(count) == len(files.registry())


# ---- the mirror ----


def _check_loaded(loaded, entry):
    """Rows, columns, target and types of one set against its line in the registry."""
    X, y = loaded.X, loaded.y
    assert len(X) == entry.rows and X.columns.is_unique
    assert all(isinstance(name, str) for name in X.columns)
    assert not any(X[name].dtype == object for name in (X.columns if X.shape[1] < 1000 else X.columns[::50]))
    assert int(loaded.missing.sum()) == entry.missing
    columns = int(np.prod([int(part) for part in entry.cols.split("x")]))
    has_target_inside = entry.reader in ("table", "arff")
    assert X.shape[1] + len(loaded.dropped) + has_target_inside == columns
    if y is not None:
        assert len(y) == len(X) and y.name not in X.columns
    if entry.task == "regression":
        assert y.dtype.kind in "fi" and y.nunique() > 3
        assert not any(X[name].equals(y) for name in X.columns)
    if entry.task == "classification":
        assert 2 <= y.nunique() <= 30 and y.notna().all()


@needs_mirror
def test_sets_of_the_mirror_load():
    "The smallest file of every kind; every file there is with AUGMENT_LIB_ALL_SETS=1 (`make sets`)."
    table = files.registry()
    table = table[~table.note.str.contains("public origin only")]
    if not os.environ.get("AUGMENT_LIB_ALL_SETS"):
        table = table.sort_values("bytes").drop_duplicates(["reader", "sep", "decimal", "header", "task"])
        assert len(table) >= 15
    else:
        assert len(table) == 234
    faults = []
    for entry in table.itertuples():
        try:
            _check_loaded(data.load_dataset(entry.name), entry)
        except Exception as error:  # all faults in one report
            faults.append(f"{entry.name}: {type(error).__name__}: {error}")
    assert not faults, "\n".join(faults)


@needs_mirror
@pytest.mark.parametrize(
    "name, target, first, features",
    [
        ("NO2", "Y", 3.71844, 7),
        ("branco_boston", "HousValue", 24, 13),
        ("branco_servo", "class", 0.28125095, 4),
        ("uci_yacht", "x6", 0.11, 6),
        ("uci_naval-propulsion-plant", "x16", 0.95, 16),
        ("parkinsons", "total_UPDRS", 34.398, 19),
        ("bike_sharing", "count", 16, 12),
        ("insurance", "charges", 16884.924, 6),
        ("ames", "SalePrice", 208500, 79),
        ("college", "Grad.Rate", 60, 17),
        ("diamonds", "price", 326, 9),
        ("arff_autompg", "class", 18, 7),
        ("evans_wine", "x11", 1.677, 11),
        ("akmand_fb_metrics", "total_interactions", 100, 15),
        ("pmlb_547_no2", "target", 3.718440055847168, 7),
        ("branco_abalone", "Rings", 15, 8),
    ],
)
def test_targets_by_eye(name, target, first, features):
    loaded = data.load_dataset(name)
    assert loaded.target == target and loaded.y.iloc[0] == first and loaded.X.shape[1] == features


@needs_mirror
def test_leaks_are_dropped_because_they_leak():
    path = data.fetch("bike_sharing")
    raw = readers.read_table(path)
    assert (raw.casual + raw.registered == raw["count"]).all()
    raw = readers.read_table(data.fetch("akmand_fb_metrics"))
    assert (raw[["comment", "like", "share"]].sum(axis=1) - raw.total_interactions).abs().mean() < 1


@needs_mirror
def test_duplicated_rows_of_the_car_tables():
    share = {}
    for name in ("available_power", "maximal_torque", "acceleration"):
        loaded = data.load_dataset(f"branco_{name}")
        groups = pd.Series(data.duplicate_groups(loaded.X.assign(target=loaded.y)))
        share[name] = round(100 * groups.duplicated(keep=False).mean())
    assert share == {"available_power": 91, "maximal_torque": 24, "acceleration": 11}


@needs_mirror
def test_images_and_categories():
    images, labels = data.load_images("mnist_test")
    assert images.shape == (10_000, 28, 28) and labels[:5].tolist() == [7, 2, 1, 0, 4]
    images, labels = data.load_images("cifar10_first4000")
    assert images.shape == (4000, 32, 32, 3) and labels[:5].tolist() == [6, 9, 9, 4, 1]
    servo = data.load_dataset("branco_servo").X
    assert servo.motor.iloc[0] == "E" and servo.pgain.dtype == "int64"
