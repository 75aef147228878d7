"""One sampler for every autoencoder: sampling, laws, components, banks of subsets, saving, Ctrl-C."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from augment_lib.bootstrap import SmoothedBootstrap
from augment_lib.core import InputError, ModelFileError
from augment_lib.generative import GenerativeAutoencoder, with_law
from augment_lib.generative_model import Autoencoder, AutoencoderModel
from augment_lib.latent import Prior
from augment_lib.mixture import Mixture
from augment_lib.sampler import take_rows
from augment_lib.weighting import DensityWeighting

pytestmark = pytest.mark.filterwarnings("ignore:.*reconstructs the rows:UserWarning", "ignore:.*mixture components are flat:UserWarning")


def small(**options):
    return GenerativeAutoencoder(**{"hidden_dims": (8,), "latent_dim": 2, "n_epochs": 2, "n_components": 3, "random_state": 0, **options})


def table(n=60):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"a": rng.normal(5, 2, n), "word": rng.choice(["x", "y", "z"], n), "Int": pd.array(rng.integers(0, 9, n), dtype="Int64"), "flag": rng.random(n) < 0.5})


rng = np.random.default_rng(0)
IMAGES = rng.random((60, 5, 4)).astype("float32")
WORDS = pd.Series(np.resize(["common"] * 4 + ["rare"] * 2, 60), name="kind", dtype=object)
NUMBERS = pd.Series(rng.gamma(2, size=60), name="cost")
DATA = {
    "table": (table(), None),
    "table, classes": (table(), WORDS),
    "table, numbers": (table(), NUMBERS),
    "images": (IMAGES, None),
    "images, classes": (IMAGES, WORDS),
    "images, numbers": (IMAGES, NUMBERS),
}


def parts(result):
    return result if isinstance(result, tuple) else (result,)


def assert_same(a, b, atol=0.0):
    for one, other in zip(parts(a), parts(b), strict=True):
        assert type(one) is type(other) and len(one) == len(other)
        if isinstance(one, pd.DataFrame):
            pd.testing.assert_frame_equal(one, other, check_exact=not atol, **({"atol": atol} if atol else {}))
        elif isinstance(one, pd.Series):
            pd.testing.assert_series_equal(one, other, check_exact=not atol, **({"atol": atol} if atol else {}))
        else:
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, atol=atol, rtol=0)


# ---- drawing


@pytest.mark.parametrize("kind", DATA)
def test_streams_and_chunks(kind):
    sampler = small().fit(*DATA[kind])
    assert_same(sampler.sample(9, random_state=4), sampler.sample(9, random_state=4))
    with pytest.raises(AssertionError):
        assert_same(sampler.sample(9), sampler.sample(9))                                  # None goes on
    assert [len(parts(chunk)[0]) for chunk in sampler.sample_iter(25, 10, random_state=0)] == [10, 10, 5]
    empty = parts(sampler.sample(0))
    assert all(len(part) == 0 for part in empty) and len(empty) == 1 + (DATA[kind][1] is not None)
    assert (empty[0].dtypes.equals(DATA[kind][0].dtypes) if "table" in kind else empty[0].shape == (0, 5, 4))
    assert len(parts(sampler.sample())[0]) == 1


@pytest.mark.parametrize("kind", DATA)
def test_same_seed_same_bits_and_no_global_state(kind):
    before = np.random.get_state()[1].copy()
    results = [small().fit_resample(*DATA[kind]) for _ in range(2)]
    assert_same(*results)
    assert (np.random.get_state()[1] == before).all()
    with pytest.raises(AssertionError):
        assert_same(results[0], small(random_state=1).fit_resample(*DATA[kind]))
    assert_same(*(small(random_state=np.random.RandomState(5)).fit_resample(*DATA[kind]) for _ in range(2)))


@pytest.mark.parametrize("kind", ["table, classes", "images, classes"])
def test_classes_can_be_asked_for(kind):
    sampler = small().fit(*DATA[kind])
    assert (sampler.sample(5, y="rare")[1] == "rare").all()
    asked = ["rare", "common", "rare"]
    assert sampler.sample(3, y=asked)[1].tolist() == asked
    share = (sampler.sample(3000, random_state=0)[1] == "rare").mean()
    assert share == pytest.approx(1 / 3, abs=0.04)
    with pytest.raises(InputError, match="'never'.*'common'"):
        sampler.sample(3, y="never")
    with pytest.raises(InputError, match="2 labels"):
        sampler.sample(3, y=["rare", "rare"])


def test_a_class_is_drawn_from_its_own_codes():
    X, y = np.r_[rng.normal(0, 1, (40, 3)), rng.normal(30, 1, (10, 3))], np.r_[np.zeros(40, int), np.ones(10, int)]
    sampler = small(n_epochs=200, learning_rate=1e-2).fit(X, y)
    assert sampler.sample(50, y=1)[0].min() > 15 > sampler.sample(50, y=0)[0].max()
    assert [len(law.weights_) for _, law in sampler.laws_[0].values()] == [3, 1]             # ten rows of two columns: one bell


# ---- components


@pytest.mark.parametrize("kind", ["table", "table, numbers", "images", "images, numbers"])
@pytest.mark.parametrize("n_replicates", [1, 2])
def test_components(kind, n_replicates):
    X, y = DATA[kind]
    sampler = small(n_replicates=n_replicates).fit(X, y)
    asked = np.array([0, 1, 2, 2, 1, 0, 0])
    new = sampler.sample(7, component=asked, random_state=0)
    assert len(parts(new)) == 1 + (y is not None) and len(parts(new)[0]) == 7 and len(parts(sampler.sample(5, component=1))[0]) == 5
    for bad, words in ((3, "0 to 2"), (-1, "0 to 2"), (0.5, "0 to 2"), ([0, 1], r"\(2,\)"), ("a", "0 to 2")):
        with pytest.raises(InputError, match=f"component.*{words}"):
            sampler.sample(7, component=bad)


def test_rows_of_a_component_lie_where_its_bell_stands():
    X = np.concatenate([rng.normal(centre, 0.3, (30, 2)) for centre in ([0, 0], [10, 0], [0, 10])])
    for n_replicates in (1, 3):
        sampler = small(n_epochs=300, learning_rate=1e-2, n_replicates=n_replicates, hidden_dims=(32,)).fit(X)
        for k in range(n_replicates):
            law = sampler.laws_[k][None][1]
            for c in range(3):
                asked = np.where(np.arange(60) % n_replicates == k, c, (c + 1) % 3)
                new = sampler.sample(60, component=asked, random_state=0)[k::n_replicates]
                centre = sampler.decode(law.means_[[c]], replicate=k)
                assert np.abs(new - centre).mean() < 2


def test_components_need_a_mixture_and_no_classes():
    for sampler in (small(law="smoothed_bootstrap").fit(IMAGES), small().fit(IMAGES, WORDS)):
        with pytest.raises(InputError, match="component= asks for one bell of a mixture"):
            sampler.sample(3, component=0)


# ---- encode, decode, reconstruct


@pytest.mark.parametrize("kind", DATA)
def test_encode_decode_reconstruct(kind):
    X, y = DATA[kind]
    sampler = small(n_replicates=2).fit(X, y)
    target = (y,) if "numbers" in kind else ()
    codes = sampler.encode(X, *target)
    assert codes.shape == (60, 2) and codes.dtype == np.float32
    back, twin = sampler.decode(codes, replicate=1, random_state=0), sampler.reconstruct(X, *target, replicate=0)
    assert len(parts(back)) == 1 + bool(target)
    assert_same(sampler.decode(codes, random_state=0), twin)
    assert (parts(twin)[0].dtypes.equals(X.dtypes) if "table" in kind else parts(twin)[0].shape == X.shape)
    for call, words in (
        (lambda: sampler.encode(X, *target, replicate=2), "replicate=2"),
        (lambda: sampler.decode(codes[:, :1]), r"\(60, 1\).*\(n_samples, 2\)"),
        (lambda: sampler.decode(codes, replicate=2), "replicate=2"),
        (lambda: sampler.encode(X[:, :3] if "images" in kind else X[["word"]], *target), "expected|missing"),
    ):
        with pytest.raises(InputError, match=words):
            call()
    if target:
        with pytest.raises(InputError, match="pass y"):
            sampler.encode(X)
        with pytest.raises(InputError, match="60 rows, y 5 values"):
            sampler.encode(X, y[:5])


# ---- laws


@pytest.mark.parametrize("kind", DATA)
def test_another_law_without_training(kind):
    fitted = small().fit(*DATA[kind])
    before = fitted.sample(6, random_state=0)
    for law, options in (("normal", {}), ("smoothed_bootstrap", {"bandwidth": 0.1}), ("gmm", {"n_components": 2, "covariance_type": "diag"}), (Mixture(2), {}), (SmoothedBootstrap(), {})):
        twin = with_law(fitted, law, **options)
        assert len(parts(twin.sample(6))[0]) == 6 and twin._nets is fitted._nets and fitted.law is None
        alone = small(law=law, **options).fit(*DATA[kind])
        (_, mine), (_, theirs) = next(iter(twin.laws_[0].values())), next(iter(alone.laws_[0].values()))
        assert type(mine) is type(theirs)
        key = "means_" if isinstance(mine, Mixture) and mine.n_components == 1 else "covariance_" if hasattr(mine, "covariance_") else None
        if key:
            np.testing.assert_allclose(getattr(mine, key), getattr(theirs, key))
    assert_same(fitted.sample(6, random_state=0), before)
    assert_same(with_law(fitted, "normal", random_state=3).sample(4), with_law(fitted, "normal", random_state=3).sample(4))


def test_another_law_refuses():
    fitted = small().fit(IMAGES)
    for law, options, words in (("gauss", {}, "law='gauss'"), ("posterior", {}, "learns none"), ("own", {}, "no prior"), ("gmm", {"n_components": 61}, "61.*60 rows"), ("gmm", {"n_components": 0}, "n_components=0")):
        with pytest.raises(InputError, match=words):
            with_law(fitted, law, **options)
    with pytest.raises(InputError, match="knows no classes"):
        with_law(small().fit(IMAGES, WORDS), "prior")
    with pytest.raises(NotFittedError):
        with_law(small(), "gmm")


def test_a_law_object_is_copied_and_a_zero_bandwidth_repeats_the_rows():
    law = SmoothedBootstrap(bandwidth=0.0)
    sampler = small(law=law).fit(IMAGES)
    assert not hasattr(law, "codes_")
    sampler = small(law=law)
    new = sampler.fit_resample(IMAGES)[60:]
    np.testing.assert_allclose(new, sampler.reconstruct(IMAGES)[sampler.seed_indices_[60:]], atol=1e-5)
    assert (small(law=Prior(scale=0.0)).fit(IMAGES).sample(3).std(axis=0) < 1e-6).all()


# ---- rows in, rows out


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("mode", ["add", "mix", "replace"])
@pytest.mark.parametrize("law", ["gmm", "smoothed_bootstrap"])
def test_modes(kind, mode, law):
    X, y = DATA[kind]
    sampler = small(mode=mode, law=law, n_synthetic=0.5)
    result = parts(sampler.fit_resample(X, y))
    n = {"add": 90, "mix": 60, "replace": 30}[mode]
    real, seeds = ~sampler.is_synthetic_, sampler.seed_indices_
    assert len(result) == 1 + (y is not None) and all(len(part) == n for part in result) and len(real) == len(seeds) == n
    assert (np.diff(seeds[real]) > 0).all() and (np.diff(real.astype(int)) <= 0).all() and ((seeds[~real] == -1).all() if law == "gmm" else (seeds >= 0).all())
    assert real.sum() == {"add": 60, "replace": 0}.get(mode, real.sum()) and (mode != "mix" or (0 < real.sum() < 60) == (law != "gmm"))
    kept = [np.asarray(part)[real] for part in result]
    for cells, original in zip(kept, (X, y)):
        assert (cells == np.asarray(original)[seeds[real]]).all()


@pytest.mark.parametrize("n_synthetic, rows", [(None, 60), (0, 0), (7, 7), (1.5, 90), (0.0, 0), (np.int64(3), 3)])
@pytest.mark.parametrize("kind", ["table", "images", "images, numbers"])
def test_n_synthetic(n_synthetic, rows, kind):
    result = parts(small(n_synthetic=n_synthetic).fit_resample(*DATA[kind]))
    assert all(len(part) == 60 + rows for part in result)


def test_n_synthetic_of_classes_keeps_their_shares_and_the_strategy():
    sampler = small(n_synthetic=300)
    y = sampler.fit_resample(IMAGES, WORDS)[1][60:]
    assert len(y) == 300 and (y == "rare").mean() == pytest.approx(1 / 3, abs=0.1) and sampler.sampling_strategy_ == {"rare": 20}


# ---- many subsets


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("options", [{}, {"n_replicates": 2}, {"law": "smoothed_bootstrap", "mode": "mix", "n_synthetic": 1.0}, {"batch_size": 100}], ids=str)
def test_a_bank_of_subsets_equals_fits_alone(kind, options):
    X, y = DATA[kind]
    options = {"law": "normal", **options}                       # k-means would enlarge the last digits
    rows = [np.arange(0, 40), np.arange(20, 60), np.arange(60) % 2 == 0]
    many = small(**options)
    results = many.fit_resample_many(X, y, rows, [3, 4, 5])
    assert len(results) == len(many.samplers_) == len(many.diagnostics_) == 3
    for result, subset, seed, sampler in zip(results, rows, [3, 4, 5], many.samplers_):
        subset = np.flatnonzero(subset) if subset.dtype == bool else subset
        alone = small(**options).set_params(random_state=seed)
        expected = alone.fit_resample(*(None if part is None else take_rows(part, subset) for part in (X, y)))
        assert (sampler.seed_indices_ == alone.seed_indices_).all() and sampler.task_ == alone.task_
        np.testing.assert_allclose(sampler.history_["x"], alone.history_["x"], rtol=1e-3)
        for one, other in zip(parts(result), parts(expected)):
            for a, b in ((one[c], other[c]) for c in one) if isinstance(one, pd.DataFrame) else [(one, other)]:
                a, b = np.asarray(a), np.asarray(b)
                assert a.shape == b.shape
                if a.dtype.kind == "f":
                    np.testing.assert_allclose(a, b, atol=2e-2 if a.ndim == 1 else 5e-3)
                else:
                    assert (a == b).mean() > 0.95                # a level may tip over on the last digit


@pytest.mark.parametrize("X", [np.random.default_rng(0).random((60, 4)), IMAGES], ids=["table", "images"])
def test_nothing_leaks_from_rows_outside_the_subset(X):
    y = np.asarray(NUMBERS)
    X2, y2 = X.copy(), y.copy()
    X2[40:], y2[40:] = X[40:] * 0.5, y[40:] * 50
    first, second = (small(law="normal").fit_resample_many(a, b, [np.arange(40)], [0])[0] for a, b in ((X, y), (X2, y2)))
    for one, other in zip(first, second):
        np.testing.assert_allclose(one, other, atol=5e-3)


def test_a_subset_is_of_the_whole_tables_task_and_may_lack_a_class():
    y = np.arange(60) % 30                                            # 30 whole numbers: a continuous target; a subset has 15 of them
    many = small()
    many.fit_resample_many(IMAGES, y, [np.flatnonzero(y < 15), np.arange(60)], [0, 1])
    assert [s.task_ for s in many.samplers_] == ["regression"] * 2
    three = np.resize(["a", "b", "c"], 60)
    many.fit_resample_many(IMAGES, three, [np.flatnonzero(three != "c"), np.arange(60)], [0, 1])
    assert many.samplers_[0].classes_.tolist() == ["a", "b"] and len(many.samplers_[1].classes_) == 3
    with pytest.raises(InputError, match="2 entries and random_states 1"):
        small().fit_resample_many(IMAGES, None, [np.arange(9)] * 2, [0])


# ---- saving

SAVED = {
    "default": {},
    "replicates": {"n_replicates": 2},
    "normal": {"law": "normal"},
    "bootstrap": {"law": "smoothed_bootstrap"},
    "law object": {"law": Mixture(2, "diag")},
    "model": {"model": Autoencoder(), "preset": "paper", "hidden_dims": (8,)},
    "float64": {"precision": "float64"},
    "n_synthetic": {"n_synthetic": 7},
}


@pytest.mark.parametrize("case", SAVED)
@pytest.mark.parametrize("kind", DATA)
def test_a_saved_sampler_goes_on_where_it_was(tmp_path, case, kind):
    X, y = DATA[kind]
    sampler = small(**SAVED[case])
    sampler.fit_resample(X, y)
    sampler.save(tmp_path / "m")
    again = GenerativeAutoencoder.load(tmp_path / "m")
    for n in (5, 4):
        assert_same(sampler.sample(n), again.sample(n))                                 # the stream goes on where it stopped
    assert_same(sampler.sample(5, random_state=1), again.sample(5, random_state=1))
    assert repr(again.get_params()) == repr(sampler.get_params()) and again.task_ == sampler.task_
    assert {k: v for k, v in again.settings_.items() if k != "law"} == {k: v for k, v in sampler.settings_.items() if k != "law"} and repr(again.settings_["law"]) == repr(sampler.settings_["law"])
    pd.testing.assert_frame_equal(again.history_, sampler.history_)
    assert again.diagnostics_ == pytest.approx(sampler.diagnostics_, nan_ok=True) if case != "replicates" else again.diagnostics_["stopped"] == ["epochs"] * 2
    target = (y,) if "numbers" in kind else ()
    np.testing.assert_array_equal(again.encode(X, *target), sampler.encode(X, *target))
    assert_same(with_law(again, "normal", random_state=0).sample(4), with_law(sampler, "normal", random_state=0).sample(4))
    if "classes" in kind:
        assert_same(again.sample(3, y="rare", random_state=0), sampler.sample(3, y="rare", random_state=0))
        assert again.sampling_strategy_ == sampler.sampling_strategy_
    elif case == "default":
        assert_same(again.sample(3, component=1, random_state=0), sampler.sample(3, component=1, random_state=0))
    assert again.n_features_in_ == sampler.n_features_in_
    assert len(parts(again.fit_resample(X, y))[0]) > 60                                    # still an estimator
    assert not list(tmp_path.rglob("*.pkl"))


def test_what_a_folder_cannot_hold_is_said(tmp_path):
    class Mine(AutoencoderModel):
        def objective(self, likelihood):
            return Autoencoder().objective(likelihood)

        training = {"variational": False}

    for options, words in (({"labels": Ridge()}, "labels is a .*pickle"), ({"model": Mine()}, "model.*Mine")):
        with pytest.raises(InputError, match=words):
            small(law="prior", **options).fit(table(), NUMBERS).save(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    with pytest.raises(NotFittedError):
        small().save(tmp_path / "m")
    sampler = small(weighting=DensityWeighting(alpha=1.0)).fit(table(), NUMBERS)
    sampler.save(tmp_path / "m")
    with pytest.raises(InputError, match="overwrite=True"):
        sampler.save(tmp_path / "m")
    sampler.save(tmp_path / "m", overwrite=True)
    (tmp_path / "m" / "arrays.safetensors").write_bytes(b"short")
    with pytest.raises(ModelFileError, match="altered"):
        GenerativeAutoencoder.load(tmp_path / "m")
    with pytest.raises(ModelFileError, match="missing"):
        GenerativeAutoencoder.load(tmp_path / "nowhere")


# ---- divergence and delta


def test_divergence_is_said_and_the_last_good_weights_are_used(tmp_path):
    for kind in ("table", "images", "table, numbers"):
        sampler = small(learning_rate=1e30, n_epochs=20)
        with pytest.warns(UserWarning, match=r"NaN or infinite in epoch \d+: .*last good weights.*smaller learning_rate"):
            sampler.fit(*DATA[kind])
        assert sampler.diagnostics_["stopped"] == "diverged" and len(sampler.history_) == sampler.diagnostics_["epochs"] < 20
        new = parts(sampler.sample(10, random_state=0))[0]
        assert np.isfinite(np.asarray(new["a"] if hasattr(new, "iloc") else new)).all()
        sampler.save(tmp_path / kind)
        assert_same(GenerativeAutoencoder.load(tmp_path / kind).sample(10, random_state=0), sampler.sample(10, random_state=0))


def test_delta_reached_and_not_reached():
    with pytest.warns(UserWarning, match=r"did not fall below delta=1e-05 within 2 epochs; it is .* per element, of which 0 is the floor"):
        assert small(delta=1e-5).fit(table()).diagnostics_["stopped"] == "epochs"
    sampler = small(delta=0.68, n_epochs=500, learning_rate=1e-2).fit(IMAGES)
    assert sampler.diagnostics_["stopped"] == "delta" and sampler.diagnostics_["epochs"] < 500
    assert sampler.history_["x"].iloc[-1] / 20 < 0.68 <= sampler.history_["x"].iloc[:-1].min() / 20


# ---- Ctrl-C

def test_ctrl_c_leaves_a_usable_model(press_ctrl_c):
    out, folder = press_ctrl_c("augment_lib.generative.GenerativeAutoencoder", "(rng.random((200, 4, 3)),)", options=", hidden_dims=(8,)", draw="sampler.sample(50)")
    assert out == "interrupted True interrupted (50, 4, 3) True True\n"
    assert GenerativeAutoencoder.load(folder).interrupted_


# ---- scikit-learn's conventions


def test_refit_with_other_data_forgets_the_old():
    sampler = small()
    for kind in ("table, classes", "images, numbers", "table", "images, classes", "images"):
        X, y = DATA[kind]
        new = parts(sampler.fit(X, y).sample(4))
        assert len(new) == 1 + (y is not None) and type(new[0]) is type(X) and new[0].shape[1:] == X.shape[1:]
        assert sampler.n_features_in_ == int(np.prod(X.shape[1:])) and hasattr(sampler, "feature_names_in_") == hasattr(X, "columns")
        assert sampler.task_ == {"table": None, "images": None}.get(kind, "classification" if "classes" in kind else "regression")


def test_clone_params_and_pickle():
    sampler = small(model=Autoencoder(), law=Mixture(2))
    assert repr(clone(sampler).get_params()) == repr(sampler.get_params()) and repr(GenerativeAutoencoder()) == "GenerativeAutoencoder()"
    with pytest.raises(ValueError, match="alpha"):
        sampler.set_params(alpha=1)
    with pytest.raises(NotFittedError):
        sampler.sample(3)
    sampler.fit(IMAGES)
    assert_same(pickle.loads(pickle.dumps(sampler)).sample(9, random_state=0), sampler.sample(9, random_state=0))


@pytest.mark.parametrize("task, y, kind", [(None, WORDS, None), ("regression", np.arange(60) % 3, "regression"), ("classification", np.arange(60) % 30, "classification")], ids=["none", "regression", "classification"])
def test_the_task_can_be_told(task, y, kind):
    sampler = small(task=task).fit(IMAGES, y)
    assert sampler.task_ == kind and isinstance(sampler.sample(2), tuple) == (kind is not None)


def test_the_task_that_was_told_needs_its_target():
    for task in ("classification", "regression"):
        with pytest.raises(InputError, match="y is None"):
            small(task=task).fit(IMAGES)
    with pytest.raises(InputError, match="task_ is None"):
        small().fit(IMAGES).sample(2, y=1)
    with pytest.raises(InputError, match="task='rank'"):
        small(task="rank").fit(IMAGES)
