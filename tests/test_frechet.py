"""Measures of generated pictures: closed forms, brute force, invariances, and what each failure looks like."""
import hashlib
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from augment_lib import frechet
from augment_lib.core import DataUnavailableError, InputError
from augment_lib.extractor import random_extractor
from augment_lib.frechet import (ImageJudges, copied_share, features, fid_inception, frechet_distance, image_report, inception_features, kernel_distance,
                                 neighbour_report, predict_labels, purity)


def exact_cloud(mean, covariance, n, rng):
    "n rows whose sample mean and sample covariance are exactly these."
    Z = rng.normal(size=(n, len(mean)))
    Z -= Z.mean(0)
    Z = Z @ np.linalg.inv(np.linalg.cholesky(np.cov(Z.T))).T
    return Z @ np.linalg.cholesky(covariance).T + mean


@pytest.fixture(scope="module")
def pictures():
    from sklearn.datasets import load_digits
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    return (bunch.images[order] / 16).astype(np.float32), bunch.target[order]


# ---- the Frechet distance

@pytest.mark.parametrize("d", [1, 2, 7, 40])
def test_frechet_distance_of_gaussians_is_the_closed_form(d):
    rng = np.random.default_rng(d)
    if d == 1:
        means, covariances = [np.zeros(1), np.full(1, 3.0)], [np.eye(1), np.full((1, 1), 4.0)]
        A, B = (rng.normal(size=(50, 1)) for _ in range(2))
        A, B = ((X - X.mean()) / X.std(ddof=1) * np.sqrt(C[0, 0]) + m for X, C, m in zip((A, B), covariances, means))
        assert frechet_distance(A, B) == pytest.approx(3**2 + (2 - 1) ** 2)
        return
    roots = [rng.normal(size=(d, d)) for _ in range(2)]
    S, T = (R @ R.T + 0.1 * np.eye(d) for R in roots)
    m = rng.normal(size=d)
    A, B = exact_cloud(np.zeros(d), S, 5 * d, rng), exact_cloud(m, T, 3 * d, rng)
    root = sqrtm(S)
    expected = m @ m + np.trace(S + T - 2 * sqrtm(root @ T @ root).real)
    assert frechet_distance(A, B) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_commuting_covariances_is_the_distance_of_their_roots():
    rng, s, t = np.random.default_rng(0), np.array([1.0, 4, 9]), np.array([4.0, 4, 1])
    A, B = exact_cloud(np.zeros(3), np.diag(s), 20, rng), exact_cloud(np.array([0, 0, 2.0]), np.diag(t), 20, rng)
    assert frechet_distance(A, B) == pytest.approx(4 + ((np.sqrt(s) - np.sqrt(t)) ** 2).sum())


@given(st.integers(0, 10**6), st.integers(2, 6), st.floats(0.1, 10))
@settings(max_examples=20, deadline=None)
def test_frechet_distance_behaves_like_a_squared_distance(seed, d, scale):
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(40, d)), 1 + 2 * rng.normal(size=(30, d))
    Q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    value = frechet_distance(A, B)
    assert value >= 0 and frechet_distance(A, A) < 1e-8
    assert frechet_distance(B, A) == pytest.approx(value, rel=1e-6)
    assert frechet_distance(scale * A @ Q + 5, scale * B @ Q + 5) == pytest.approx(scale**2 * value, rel=1e-5), "rotations keep it, scales square it"
    assert frechet_distance(rng.permutation(A), B) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name, A, B", [("columns", (5, 3), (5, 2)), ("too few", (1, 3), (5, 3)), ("one axis", (5,), (5,))])
def test_tables_that_do_not_fit_are_refused(name, A, B):
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(InputError, match="expected two tables"):
            distance(np.zeros(A), np.zeros(B))


def test_nan_features_are_refused():
    with pytest.raises(InputError, match="second features hold NaN"):
        frechet_distance(np.eye(3), np.full((3, 3), np.nan))


# ---- the kernel distance

def test_kernel_distance_is_the_double_sum():
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(7, 3)), rng.normal(1, 1, size=(5, 3))

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    within = [np.mean([kernel(x, y) for x, y in itertools.permutations(X, 2)]) for X in (A, B)]
    assert kernel_distance(A, B) == pytest.approx(sum(within) - 2 * np.mean([kernel(x, y) for x in A for y in B]))


def test_kernel_distance_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(47, 3)), rng.normal(size=(31, 3))
    whole = kernel_distance(A, B)
    monkeypatch.setattr(frechet._mean_similarity, "__defaults__", (10,))
    assert kernel_distance(A, B) == pytest.approx(whole)


# ---- precision, recall, density, coverage

def brute_force(real, new, k):
    "The four numbers, by loops."
    def distance(a, b):
        return float(np.sqrt(((a - b) ** 2).sum()))

    def radius(X, i):
        return sorted(distance(X[i], X[j]) for j in range(len(X)) if j != i)[k - 1]

    r, s = [radius(real, i) for i in range(len(real))], [radius(new, j) for j in range(len(new))]
    inside = [[distance(x, y) <= r[i] for y in new] for i, x in enumerate(real)]
    return {"precision": np.mean([any(row[j] for row in inside) for j in range(len(new))]),
            "recall": np.mean([any(distance(x, y) <= s[j] for j, y in enumerate(new)) for x in real]),
            "density": sum(map(sum, inside)) / (k * len(new)), "coverage": np.mean([any(row) for row in inside])}


@pytest.mark.parametrize("n, m, d, k, spread", [(12, 9, 2, 1, 1.0), (20, 25, 3, 3, 0.5), (30, 30, 5, 5, 2.0), (9, 30, 1, 4, 1.0)])
@pytest.mark.parametrize("block", [4, 1000])
def test_neighbour_report_is_the_brute_force_count(n, m, d, k, spread, block):
    rng = np.random.default_rng(n)
    real, new = rng.normal(size=(n, d)), spread * rng.normal(size=(m, d)) + 0.3
    assert neighbour_report(real, new, k=k, block=block) == pytest.approx(brute_force(real, new, k))


def test_neighbour_report_of_the_same_rows_is_perfect():
    X = np.random.default_rng(0).normal(size=(60, 4))
    told = neighbour_report(X, X)
    assert told["precision"] == told["recall"] == told["coverage"] == 1
    assert told["density"] == pytest.approx((5 + 1) / 5), "every ball holds its centre and k more"


def test_neighbour_report_with_repeated_rows():
    X = np.repeat(np.arange(4.0)[:, None], 5, axis=0)
    assert neighbour_report(X, X[::5].repeat(5, axis=0), k=3)["precision"] == 1, "balls of radius 0 hold their own centre"


def test_an_outlier_helps_precision_more_than_density():
    rng = np.random.default_rng(1)
    real = np.concatenate([rng.normal(size=(100, 2)), [[60.0, 0]]])
    told = neighbour_report(real, rng.uniform(20, 40, size=(100, 2)))
    assert told["precision"] > 0.9 and told["density"] < 0.3


# ---- copies

def test_copied_share():
    rng = np.random.default_rng(0)
    train, held, new = rng.normal(size=(400, 5)), rng.normal(size=(1000, 5)), rng.normal(size=(1000, 5))
    assert copied_share(train, held, train[:50]) == 1
    assert copied_share(train, held, held) == pytest.approx(0.05, abs=0.002), "by definition"
    assert copied_share(train, held, new) == pytest.approx(0.05, abs=0.03)
    assert copied_share(train, held, new, share=0.5) == pytest.approx(0.5, abs=0.06)
    by_hand = np.quantile([min(np.linalg.norm(train - x, axis=1)) for x in held], 0.05)
    assert copied_share(train, held, new) == np.mean([min(np.linalg.norm(train - x, axis=1)) <= by_hand for x in new])


# ---- labels and purity

class Fixed(torch.nn.Module):
    "A judge that reads the class from the first pixel of the canvas's middle."

    widths, n_classes = (30,), 30

    def features(self, x):
        return torch.eye(30)[(x[:, 0, 16, 16] * 30).long().clamp(max=29)] * 5

    def head(self, f):
        return f


def pictures_of(classes):
    return np.repeat(np.repeat(((np.asarray(classes) + 0.5) / 30)[:, None, None], 32, 1), 32, 2)


def test_labels_and_confidence():
    labels, sure = predict_labels(pictures_of([0, 12, 29]), extractor=Fixed())
    assert labels.tolist() == [0, 12, 29] and np.allclose(sure, np.exp(5) / (np.exp(5) + 29))
    labels, sure = predict_labels(pictures_of([12, 19]), "fashion_mnist", extractor=Fixed())
    assert labels.tolist() == [2, 9] and np.allclose(sure, np.exp(5) / (np.exp(5) + 9))
    assert np.allclose(predict_labels(pictures_of([3]), "cifar10", extractor=Fixed())[1], 0.1), "not one of its classes"


@pytest.mark.parametrize("classes, groups, expected", [([1, 1, 2, 2], [0, 0, 1, 1], 1), ([1, 2, 1, 2], [0, 0, 1, 1], 0.5), ([1, 1, 2, 3, 3, 3], ["a"] * 3 + ["b"] * 3, (2 / 3 + 1) / 2)])
def test_purity_by_count(classes, groups, expected):
    assert purity(pictures_of(classes), groups, extractor=Fixed()) == pytest.approx(expected)


def test_purity_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="one component per picture"):
        purity(pictures_of([1, 2]), [0])
    with pytest.raises(InputError, match="at least one"):
        purity(pictures_of([]), [])


# ---- reports

def test_report_of_good_and_bad_pictures(pictures):
    X, _ = pictures
    train, test, more = X[:600], X[600:1100], X[1100:1600]
    noise = np.random.default_rng(0).random(more.shape)
    good, copies, bad = (image_report(test, new, train) for new in (more, train[:500], noise))
    assert set(good) == {"fid_cnn", "fid_random", "fid_pca", "kid", "precision", "recall", "density", "coverage", "copied", "confidence", "floor_fid_cnn"}
    assert all(isinstance(value, float) and np.isfinite(value) for value in good.values())
    for name in ("fid_cnn", "fid_random", "fid_pca", "kid"):
        assert good[name] < bad[name]
    assert copies["copied"] == 1 and good["copied"] < 0.15
    assert good["precision"] > 0.8 > bad["precision"] and good["coverage"] > 0.8 > bad["coverage"]
    assert good["fid_cnn"] == pytest.approx(good["floor_fid_cnn"], rel=1)


def test_report_is_the_sum_of_its_parts(pictures):
    X, _ = pictures
    train, test, new = X[:300], X[300:500], X[500:700]
    told = image_report(test, new, train)
    A, B, T = (features(part) for part in (test, new, train))
    assert told["fid_cnn"] == pytest.approx(frechet_distance(A, B)) and told["kid"] == pytest.approx(kernel_distance(A, B))
    assert {name: told[name] for name in ("precision", "recall", "density", "coverage")} == neighbour_report(A, B)
    assert told["copied"] == copied_share(T, A, B)
    assert told["fid_random"] == pytest.approx(frechet_distance(*(features(part, random_extractor(0)) for part in (test, new))))
    assert told["confidence"] == pytest.approx(predict_labels(new)[1].mean(), rel=1e-5)


def test_remembered_judges_are_those_of_the_pictures(pictures):
    X, _ = pictures
    first = image_report(X[:100], X[200:300], X[300:400])
    changed = X[:100].copy()
    changed[0, 0, 0] = 1
    assert image_report(changed, X[200:300], X[300:400])["fid_cnn"] != first["fid_cnn"]
    assert image_report(X[:100], X[200:300], X[300:400], k=3)["density"] != first["density"]
    assert image_report(X[:100].copy(), X[200:300], X[300:400]) == first


def test_colour_pictures(pictures):
    rng = np.random.default_rng(0)
    stacks = [rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8) for _ in range(3)]
    judges = ImageJudges(*stacks[:2])
    assert judges.pca.n_components_ == 50 and np.isfinite(list(judges.report(stacks[2]).values())).all()


def test_pictures_on_another_scale_are_refused(pictures):
    X, _ = pictures
    with pytest.raises(InputError, match=r"expected floats in \[0, 1\]"):
        image_report(X[:100], 255 * X[100:200], X[200:300])


# ---- the published judge

def test_inception_says_what_is_missing(tmp_path, pictures):
    X, _ = pictures
    with pytest.raises(DataUnavailableError, match="no such file"):
        fid_inception(X[:5], X[5:10], tmp_path / "none.pth")
    pytest.importorskip("torchmetrics")
    try:
        import torch_fidelity  # noqa: F401
    except ImportError:
        (tmp_path / "some.pth").write_bytes(b"weights")
        with pytest.raises(InputError, match=r"augment_lib\[fid\]"):
            inception_features(X[:5], tmp_path / "some.pth")


def test_inception_is_fed_with_bytes_and_tells_its_hash(tmp_path, pictures, monkeypatch, capsys):
    import torchmetrics.image.fid as fid
    X, _ = pictures

    class Net(torch.nn.Module):
        def __init__(self, name, features_list, feature_extractor_weights_path):
            super().__init__()
            assert features_list == ["2048"]

        def forward(self, x):
            assert x.dtype == torch.uint8 and x.shape[1:] == (3, 32, 32) and 200 < x.max() <= 255
            return x[:, 0].float().flatten(1)

    monkeypatch.setattr(fid, "NoTrainInceptionV3", Net)
    (tmp_path / "some.pth").write_bytes(b"weights")
    assert inception_features(X[:7], tmp_path / "some.pth", batch_size=3).shape == (7, 1024)
    assert hashlib.sha256(b"weights").hexdigest() in capsys.readouterr().out
