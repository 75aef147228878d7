"""The ten models of Table 3 and four more: every one trains, samples, saves and loads, on pictures and on a table with categories."""
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

from augment_lib.core import InputError
from augment_lib.gae import GAE
from augment_lib.generative import GenerativeAutoencoder, with_law
from augment_lib.generator import fit_generators
from augment_lib.paper_models import TEN, VARIANTS, model_objects, paper_models

ALL = TEN + VARIANTS
every_model = pytest.mark.parametrize("name", ALL)
pytestmark = pytest.mark.filterwarnings("ignore:.*reconstructs the rows with R2", "ignore:.*mixture components are flat")


def small(name, **options):
    return paper_models(name, **dict(latent_dim=2, n_epochs=2, n_components=3, hidden_dims=(12,), batch_size=20, device="cpu") | options)[name]


def pictures(n=60):
    return (load_digits().images[:n] / 16).astype(np.float32)


def frame(n=60):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"age": rng.integers(20, 70, n), "income": rng.lognormal(size=n), "town": pd.Categorical(rng.choice(["north", "south", "east"], n)), "old": rng.random(n) < 0.3})


def test_names():
    assert TEN == ("vae", "beta_vae", "info_vae", "wae", "vae_gan", "vade", "gmvae", "vamp_vae", "rae_l2", "gae")       # the columns of Table 3
    assert tuple(paper_models()) == TEN and list(paper_models(ALL)) == list(ALL) and list(paper_models("wae")) == ["wae"]
    assert set(model_objects(3)) == set(ALL) - {"gae"}
    with pytest.raises(InputError, match="'vq'.*expected some of vae, beta_vae"):
        paper_models(["vae", "vq"])
    with pytest.raises(InputError, match="n_epochs"):
        paper_models(n_epochs=0)
    with pytest.raises(TypeError, match="learning_speed"):
        paper_models("vae", learning_speed=1)


def test_defaults_are_the_papers():
    made = paper_models()
    assert all(s.latent_dim == 10 and s.n_epochs == 30 and s.n_components == 10 and s.random_state == 0 for s in made.values())
    assert isinstance(made["gae"], GAE) and made["gae"].delta == 0
    assert all(type(s) is GenerativeAutoencoder for name, s in made.items() if name != "gae")
    fitted = paper_models("gae", n_epochs=1)["gae"].fit(pictures(30))
    assert fitted.settings_["hidden_dims"] == (500, 500, 2000) and fitted.settings_["batch_size"] == 100 and fitted.settings_["learning_rate"] == 1e-3


def test_settings_of_the_models():
    found = {name: model.get_params() for name, model in model_objects(30).items()}
    assert found["vae"]["beta"] == 1 and found["vae"]["reduction"] == "sum" and found["beta_vae"]["beta"] < 1
    assert (found["info_vae published"]["alpha"], found["info_vae published"]["lam"]) == (0, 1000) and found["info_vae"]["lam"] < 1000      # facts: published
    assert found["wae"]["lam"] == 10 and (found["rae_l2"]["code_weight"], found["rae_l2"]["decoder_weight"]) == (1e-2, 1e-4)
    assert found["gmvae published"]["w_dim"] == 150 and found["gmvae published"]["beta"] == 1 and found["gmvae"]["beta"] < 1
    assert all(found[name]["n_components"] == 10 for name in ("vade", "gmvae", "vamp_vae"))
    assert found["vade"]["pretrain_epochs"] == 30 and found["vamp_vae"]["warm_up"] == 10
    assert paper_models("vae_gan")["vae_gan"].learning_rate == 3e-4 and paper_models("vae")["vae"].learning_rate is None
    assert (found["vae_gan"]["equilibrium"], found["vae_gan"]["margin"]) == (0.68, 0.35)
    assert all(paper_models(name, n_components=4)[name]._model().n_components == 4 for name in ("vade", "gmvae", "vamp_vae"))


def test_calls_share_nothing():
    a, b = paper_models("vae"), paper_models("vae")
    a["vae"].model.beta = 9.0
    assert b["vae"].model.beta == 1.0 and paper_models("vae")["vae"].model.beta == 1.0


@every_model
def test_pictures(name, tmp_path):
    X = pictures()
    fitted = small(name).fit(X)
    new = fitted.sample(11, random_state=0)
    assert new.shape == (11, 8, 8) and new.dtype == np.float32 and np.isfinite(new).all() and 0 <= new.min() <= new.max() <= 1
    assert fitted.reconstruct(X[:4]).shape == (4, 8, 8)
    fitted.save(tmp_path / "model")
    back = type(fitted).load(tmp_path / "model")
    np.testing.assert_array_equal(back.sample(11, random_state=0), new)
    np.testing.assert_allclose(back.encode(X[:5]), fitted.encode(X[:5]), atol=1e-6)
    assert repr(back.get_params()) == repr(fitted.get_params())
    assert len(fitted.fit_resample(X)) == 120


@every_model
def test_tables_with_categories(name, tmp_path):
    X = frame()
    fitted = small(name).fit(X)
    new = fitted.sample(25, random_state=0)
    assert list(new) == list(X) and (new.dtypes == X.dtypes).all() and new.notna().all().all()
    assert set(new["town"]) <= set(X["town"]) and new["age"].between(X["age"].min(), X["age"].max()).all()
    fitted.save(tmp_path / "model")
    pd.testing.assert_frame_equal(type(fitted).load(tmp_path / "model").sample(25, random_state=0), new)
    y = (X["income"] * 2).to_numpy()
    X_new, y_new = small(name).fit(X, y).sample(7, random_state=0)
    assert len(X_new) == len(y_new) == 7 and np.isfinite(y_new).all()


@every_model
def test_the_seed_decides(name):
    X = pictures()
    a, b, c = (small(name, random_state=s).fit(X).sample(9, random_state=0) for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize("name", TEN)
def test_seeds_side_by_side_equal_one_by_one(name):
    X = pictures()
    together = fit_generators([small(name, random_state=s) for s in (0, 1)], X)
    for s, f in enumerate(together):
        alone = small(name, random_state=s).fit(X)
        np.testing.assert_allclose(f.encode(X), alone.encode(X), atol=1e-3)
        np.testing.assert_allclose(f.history_["x"], alone.history_["x"], rtol=1e-4)


@pytest.mark.parametrize("name", TEN)
def test_every_model_takes_a_mixture_afterwards(name):
    X = pictures()
    fitted = small(name).fit(X)
    mixed = with_law(fitted, "gmm", n_components=2)
    assert mixed.sample(5, random_state=0).shape == (5, 8, 8)
    np.testing.assert_array_equal(mixed.encode(X[:3]), fitted.encode(X[:3]))


@every_model
def test_clones_and_classes(name):
    X, y = pictures(), np.repeat(["few", "many"], [15, 45])
    sampler = clone(small(name, law="gmm", n_components=2))
    X_res, y_res = sampler.fit_resample(X, y)
    assert (pd.Series(y_res).value_counts() == 45).all() and X_res.shape == (90, 8, 8)


def test_mixtures_draw_from_one_component():
    X = pictures()
    for name in ("vade", "gmvae", "vamp_vae", "rae_l2", "gae", "pca_mixture"):
        assert small(name).fit(X).sample(4, component=1, random_state=0).shape == (4, 8, 8), name
    with pytest.raises(InputError, match="component"):
        small("vae").fit(X).sample(4, component=1)


def test_reconstruction_of_the_unregularised_is_best():
    "The paper's premise, on digits: what presses on the code costs reconstruction."
    X = (load_digits().images / 16).astype(np.float32)
    options = dict(latent_dim=6, n_epochs=15, hidden_dims=(64,), batch_size=50, learning_rate=3e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        excess = {name: small(name, **options).fit(X).diagnostics_["excess"] for name in ("gae", "beta_vae", "vae", "info_vae published")}
    assert excess["gae"] < excess["beta_vae"] < excess["vae"] <= 1.2 * excess["info_vae published"]
