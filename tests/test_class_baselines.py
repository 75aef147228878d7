"""Baselines for classes: every sampler on every kind of table and class size, laws of the new rows, selection of genes."""
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.utils.estimator_checks import parametrize_with_checks as imblearn_checks
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.feature_selection import SelectKBest, mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks as sklearn_checks
from tables import homes

from augment_lib.class_baselines import KINDS, ClassOversampler, GaussianSMOTE, SelectGenes, class_methods
from augment_lib.classifiers import class_models
from augment_lib.core import InputError
from augment_lib.models import seeded

every = pytest.mark.parametrize("name", list(class_methods()))


def get(name, seed=0, **options):
    return class_methods()[name].set_params(random_state=seed, **options)


def samplers():
    return [ClassOversampler(random_state=0), ClassOversampler("ROSE", random_state=0), ClassOversampler("adasyn", random_state=0), GaussianSMOTE(random_state=0)]


@pytest.mark.filterwarnings("ignore")
@sklearn_checks([*samplers(), SelectGenes(3, "f")])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore")
@imblearn_checks(samplers())
def test_imbalanced_learn_checks(estimator, check):
    check(estimator)


@every
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_mixed_frame_comes_back_as_it_was(name):
    X, y = homes(80, target="classes")
    sampler = get(name)
    X_res, y_res = sampler.fit_resample(X, y)
    assert y_res.value_counts().to_dict() == {"common": 55, "few": 55, "rare": 55}
    pd.testing.assert_frame_equal(X_res.iloc[:80], X)
    pd.testing.assert_series_equal(y_res.iloc[:80], y)
    new = X_res[sampler.is_synthetic_]
    assert X_res.dtypes.equals(X.dtypes) and not X_res.isna().any(axis=None) and len(new) == 85
    assert set(new.town) <= {"a", "b"} and set(new.kind) <= {"flat", "house"}
    for column in ("area", "rooms", "floor", "small", "same"):
        assert new[column].between(X[column].min(), X[column].max()).all(), column


@every
@settings(max_examples=12)
@given(counts=st.lists(st.integers(1, 12), min_size=1, max_size=3), extra=st.integers(0, 8), seed=st.integers(0, 3))
def test_any_class_sizes_end_even(name, counts, extra, seed):
    sizes = [13 + extra, *counts]
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    X = rng.normal(size=(len(y), 3)) + y[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X_res, y_res = get(name, seed).fit_resample(X, y)
        again = get(name, seed).fit_resample(X, y)[0]
    assert np.bincount(y_res).tolist() == [max(sizes)] * len(sizes)
    assert (X_res[:len(X)] == X).all() and np.isfinite(X_res).all() and (X_res == again).all()


@every
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_copies_and_seeds_are_rows_of_the_class(name):
    X, y = homes(80, target="classes")
    sampler = get(name)
    X_res, y_res = sampler.fit_resample(X, y)
    seeds, new = sampler.seed_indices_[80:], np.flatnonzero(sampler.is_synthetic_)
    told = seeds >= 0
    assert (y.to_numpy()[seeds[told]] == y_res.to_numpy()[new[told]]).all()
    assert told.all() == (name in ("ROS", "ROSE", "mvg_smote"))
    if name == "ROS":
        pd.testing.assert_frame_equal(X_res.iloc[new].reset_index(drop=True), X.iloc[seeds].reset_index(drop=True))
    if name == "ROSE":
        assert X_res.iloc[new][["town", "kind", "lift"]].reset_index(drop=True).equals(X.iloc[seeds][["town", "kind", "lift"]].reset_index(drop=True))
        assert (X_res.iloc[new].area.to_numpy() != X.iloc[seeds].area.to_numpy()).mean() > 0.9


@every
def test_sampling_strategy_and_containers(name):
    X, y = make_classification(120, 5, weights=[0.8], random_state=0)
    assert np.bincount(get(name, sampling_strategy=0.5).fit_resample(X, y)[1])[1] == (y == 0).sum() // 2
    assert np.bincount(get(name, sampling_strategy={1: 60}).fit_resample(X, y)[1])[1] == 60
    packed = get(name).fit_resample(sparse.csr_matrix(X), y)[0]
    assert packed.format == "csr" and np.allclose(packed.toarray(), get(name).fit_resample(X, y)[0])
    sampler = get(name).fit(X, y)
    rows, labels = sampler.sample(7, y=0, random_state=1)
    assert rows.shape == (7, 5) and (labels == 0).all()
    with pytest.raises(InputError, match="one class only"):
        get(name).fit_resample(X, np.zeros(120))
    with pytest.raises(InputError, match="NaN"):
        get(name).fit_resample(np.where(X > 2, np.nan, X), y)


def test_smote_is_the_package_on_standardised_columns():
    X, y = make_classification(150, 6, weights=[0.85], random_state=1)
    scaler = StandardScaler().fit(X)
    ours = ClassOversampler("SMOTE", random_state=0).fit_resample(X, y)[0][150:]
    theirs = scaler.inverse_transform(SMOTE(random_state=5).fit_resample(scaler.transform(X), y)[0][150:])
    rare = scaler.transform(X[y == 1])
    for rows in (ours, theirs):                                      # every new row lies on a segment between two rows of the class
        z = scaler.transform(rows)
        a, b = rare[:, None], rare[None]
        length = ((b - a) ** 2).sum(2)
        t = np.einsum("nijk,ijk->nij", z[:, None, None] - a, b - a) / np.where(length, length, 1)
        off = np.linalg.norm(z[:, None, None] - a - np.clip(t, 0, 1)[..., None] * (b - a), axis=3).min(axis=(1, 2))
        assert off.max() < 1e-5
    assert np.allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=0.35)


def test_standardising_makes_units_irrelevant():
    X, y = make_classification(150, 6, weights=[0.85], random_state=1)
    units = np.array([1, 1000, 1, 0.001, 1, 1])
    for name in class_methods():
        plain, scaled = get(name).fit_resample(X, y)[0], get(name).fit_resample(X * units, y)[0]
        assert np.allclose(plain, scaled / units, atol=1e-4), name


def test_rose_is_the_package():
    X, y = make_classification(3000, 3, n_informative=3, n_redundant=0, weights=[0.9], random_state=1)
    ours = ClassOversampler("ROSE", random_state=0).fit_resample(X, y)[0][3000:]
    theirs = RandomOverSampler(shrinkage=1.0, random_state=1).fit_resample(X, y)[0][3000:]
    assert np.allclose(ours.std(axis=0), theirs.std(axis=0), rtol=0.05) and np.allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=0.08)


@pytest.mark.parametrize("kind", ["SMOTE", "borderline_smote", "adasyn"])
def test_small_classes_warn_and_name_the_class(kind):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), np.repeat(["many", "three", "one"], [26, 3, 1])
    with pytest.warns(UserWarning) as caught:
        ClassOversampler(kind, random_state=0).fit_resample(X, y)
    told = [str(w.message) for w in caught if "too few for n_neighbors=5" in str(w.message)]
    assert any("'three' has 3 row(s)" in t and "2 are used" in t for t in told) and any("'one'" in t and "copied" in t for t in told)


@pytest.mark.parametrize("kind", KINDS)
def test_only_categories(kind):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.choice(["a", "b", "c"], (60, 3)), columns=list("pqr"))
    y = np.repeat([0, 1], [48, 12])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X_res, y_res = ClassOversampler(kind, random_state=0).fit_resample(X, y)
    assert np.bincount(y_res).tolist() == [48, 48] and set(np.unique(X_res)) <= {"a", "b", "c"}


def test_gaussian_has_the_moments_of_the_neighbourhood():
    rng = np.random.default_rng(0)
    rare = rng.multivariate_normal([1, 2, 3], [[2, 1, 0], [1, 2, 0.5], [0, 0.5, 1]], 12)
    X, y = np.r_[rare, rng.normal(0, 20, (8012, 3))], np.repeat([1, 0], [12, 8012])
    new = GaussianSMOTE(n_neighbors=11, random_state=0).fit_resample(X, y)[0][len(X):]
    assert np.allclose(new.mean(axis=0), rare.mean(axis=0), atol=0.08) and np.allclose(np.cov(new.T), np.cov(rare.T, ddof=0), atol=0.12)
    near = GaussianSMOTE(n_neighbors=1, random_state=0).fit_resample(X, y)[0][len(X):]
    middles = (rare[:, None] + rare) / 2                              # with one neighbour, rows lie on lines through pairs
    assert np.abs(near[:, None] - rare).min(axis=1).mean() < np.abs(new[:, None] - rare).min(axis=1).mean()
    assert middles.shape == (12, 12, 3)


def test_gaussian_keeps_its_memory_small():
    X, y = make_classification(2500, 200, n_informative=20, weights=[0.9], random_state=0)
    import tracemalloc
    tracemalloc.start()
    GaussianSMOTE(random_state=0).fit_resample(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400e6


# ---- selection

def test_selection_is_scikit_learns():
    X, y = make_classification(80, 60, n_informative=6, random_state=0)
    ours = SelectGenes(10, "f").fit(X, y)
    assert (ours.get_support() == SelectKBest(k=10).fit(X, y).get_support()).all()
    whole = SelectGenes(10, prefilter=None, random_state=0).fit(X, y)
    scores = mutual_info_classif(X, y, random_state=0)
    assert np.allclose(whole.scores_, scores) and set(np.flatnonzero(whole.get_support())) == set(np.argsort(-scores, kind="stable")[:10])
    assert (SelectGenes(10, prefilter=60, random_state=0).fit(X, y).get_support() == whole.get_support()).all()


def test_prefilter_holds_the_candidates():
    X, y = make_classification(80, 60, n_informative=6, random_state=0)
    chosen = SelectGenes(10, prefilter=15, random_state=0).fit(X, y).get_support()
    assert chosen.sum() == 10 and (SelectGenes(15, "f").fit(X, y).get_support() >= chosen).all()
    assert SelectGenes(20, prefilter=5).fit(X, y).get_support().sum() == 20       # never fewer candidates than wanted


@pytest.mark.filterwarnings("error")
def test_selection_survives_constant_and_copied_columns():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(40, 6)), columns=list("abcdef"))
    y = np.repeat(["u", "v"], 20)
    X["c"], X["d"], X["e"] = 1.0, X.a, np.where(y == "u", 0.0, 1.0)               # constant, copy, perfect (F infinite)
    for criterion in ("f", "mutual_info"):
        found = SelectGenes(1, criterion, random_state=0).fit_transform(X, y)
        assert list(found) == ["e"] and isinstance(found, pd.DataFrame)
    assert SelectGenes(4, "f").fit(X, y).get_support().sum() == 4


def test_selection_in_a_pipeline_is_made_inside_the_fold():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(60, 3000)), np.tile([0, 1], 30)
    inside = cross_val_score(make_pipeline(SelectGenes(10, "f"), ClassOversampler(random_state=0), LogisticRegression()), X, y, scoring="roc_auc").mean()
    outside = cross_val_score(LogisticRegression(), SelectGenes(10, "f").fit_transform(X, y), y, scoring="roc_auc").mean()
    assert outside > 0.9 > 0.75 > inside


# ---- by name

def test_names_and_seeds():
    assert list(class_methods()) == ["ROS", "ROSE", "SMOTE", "borderline_smote", "adasyn", "mvg_smote"] and list(class_models()) == ["balanced_forest", "easy_ensemble"]
    assert class_methods(3)["SMOTE"].n_neighbors == 3 and clone(class_methods()["adasyn"]).kind == "adasyn"
    assert not any(hasattr(model, "fit_resample") for model in class_models().values())
    assert seeded(class_methods()["SMOTE"], 7).random_state == 7


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["balanced_forest", "easy_ensemble"])
def test_models_find_the_rare_class(name):
    X, y = homes(300, target="classes")
    X["area"] += 200 * (y == "rare")
    model = seeded(class_models(20)[name], 0)
    p = model.fit(X, y).predict_proba(X)
    assert p.shape == (300, 3) and (p[(y == "rare").to_numpy(), 2] > p[(y != "rare").to_numpy(), 2].max() - 0.2).mean() > 0.5
    assert np.allclose(p, seeded(class_models(20)[name], 0).fit(X, y).predict_proba(X))
