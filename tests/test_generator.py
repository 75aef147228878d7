"""The stations between a caller's rows and a trained network: settings, laws, several samplers in one bank, networks in chunks."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from augment_lib.core import InputError, torch_generator
from augment_lib.generative import GenerativeAutoencoder
from augment_lib.generative_model import Autoencoder, AutoencoderModel
from augment_lib.generator import PIXELS, SMALL, fit_generators, run_net
from augment_lib.mixture import Mixture
from augment_lib.nets import AENet, VAENet, initialise
from augment_lib.objectives import kl_standard_normal
from augment_lib.weighting import UniformWeighting

pytestmark = pytest.mark.filterwarnings("ignore:.*reconstructs the rows:UserWarning", "ignore:.*mixture components are flat:UserWarning")
rng = np.random.default_rng(0)
X, IMAGES = rng.normal(size=(60, 4)), rng.random((40, 5, 4)).astype("float32")
CLASSES, NUMBERS = np.arange(60) % 3, rng.random(60)


def small(**options):
    return GenerativeAutoencoder(**{"hidden_dims": (8,), "latent_dim": 2, "n_epochs": 2, "n_components": 3, "random_state": 0, **options})


class Variational(AutoencoderModel):
    """A plain VAE, for what the plain autoencoder has not."""

    def objective(self, likelihood):
        class ELBO:
            coefficients, weighted, floors = {"kl": 0.1}, ("x",), {}

            def terms(self, net, x, noise=None, condition=None):
                output, mu, logvar, _ = net(x, noise)
                return {"x": likelihood.nll(output, x), "kl": kl_standard_normal(mu, logvar)}

        return ELBO()


# ---- settings


def settled(data, **options):
    """The settings in force for these rows, without training."""
    sampler = GenerativeAutoencoder(**options)
    return sampler._resolve(sampler._begin(data, None))


def test_settings_of_the_kind_of_data():
    for data, wanted, width in ((X, SMALL, 4), (IMAGES, PIXELS, 20)):
        used = settled(data)
        assert used["hidden_dims"] == wanted["hidden_dims"] and used["latent_dim"] == min(10, width) and used["batch_size"] == wanted["batch_size"]
    assert settled(IMAGES)["n_epochs"] == 30 and settled(X)["n_epochs"] == 400 and settled(X, batch_size=1)["n_epochs"] == 133
    paper = settled(X, preset="paper")
    assert paper["hidden_dims"] == (500, 500, 2000) and paper["batch_size"] == 100 and paper["n_epochs"] == 30
    assert settled(X, preset="paper", hidden_dims=[7], latent_dim=1)["hidden_dims"] == (7,)
    sampler = small(n_epochs=None, hidden_dims=(2,)).fit(X)
    assert sampler.settings_["n_epochs"] == 400 == len(sampler.history_) and sampler.get_params()["n_epochs"] is None          # the argument stays what it was


def test_the_models_law_unless_told_otherwise():
    assert small().fit(X).settings_["law"] == "gmm" and small(model=Variational()).fit(X).settings_["law"] == "prior"
    assert small(model=Variational(), law="normal").fit(X).settings_["law"] == "normal"


BAD = [
    ({"model": 3}, "model=3.*AutoencoderModel"),
    ({"model": Autoencoder}, "model=.*Autoencoder.*is a type"),
    ({"law": "posterior"}, "law='posterior'.*Autoencoder learns none"),
    ({"law": "own"}, "learns no prior"),
    ({"labels": Ridge()}, "labels=Ridge.*need a target"),
    ({"weighting": "density"}, "weighting='density' need a target"),
    ({"law": Mixture(70)}, "n_components=70.*60 row"),
    ({"law": Mixture}, "law="),
]


@pytest.mark.parametrize("options, words", BAD, ids=str)
def test_what_cannot_work_is_refused_before_training(options, words):
    with pytest.raises(InputError, match=words):
        small(n_epochs=10**9, **options).fit(X)                                            # would never end


@pytest.mark.parametrize("options, words", [({"law": "prior"}, "knows no classes"), ({"law": Mixture(15)}, "smallest class"), ({"mode": "replace"}, "mode='replace'.*n_synthetic"), ({"sampling_strategy": {0: 3}}, "sampling_strategy=")], ids=str)
def test_what_cannot_work_with_classes_is_refused_before_training(options, words):
    with pytest.raises(InputError, match=words):
        small(n_epochs=10**9, **options).fit(X, np.r_[np.zeros(10, int), np.ones(50, int)])


# ---- networks


@pytest.mark.parametrize("net", [AENet(1, 6, (5,), 2), VAENet(1, 6, (5,), 2), VAENet(1, 6, (5,), 2).double()], ids=["AENet", "VAENet", "double"])
def test_chunks_change_nothing(net):
    initialise(net, [torch_generator(0)])
    rows = rng.random((25, 6)).astype("float32")
    whole, parts = run_net(net, "encode", rows), run_net(net, "encode", rows, chunk=7)
    assert [part is None for part in whole] == [part is None for part in parts]
    for a, b in zip(whole, parts):
        assert a is None or (a.shape == (25, 2) and a.dtype == torch.float32 and torch.allclose(a, b, atol=1e-6))
    assert run_net(net, "decode", np.empty((0, 2), np.float32))[0].shape == (0, 6) and not whole[0].requires_grad


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("model", [None, Variational()], ids=["AE", "VAE"])
def test_every_precision_trains_and_draws(precision, model):
    for data in ((X,), (IMAGES,), (X, NUMBERS)):
        sampler = small(precision=precision, model=model).fit(*data)
        new = sampler.sample(7)
        assert np.isfinite(new if len(data) == 1 else new[0]).all() and np.isfinite(sampler.history_["x"]).all()


def test_precisions_agree():
    losses = [small(precision=p, n_epochs=20).fit(X).history_["x"].iloc[-1] for p in ("float32", "float64", "bfloat16")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and losses[2] == pytest.approx(losses[1], rel=0.1) and len(set(losses)) == 3


# ---- several at once


@pytest.mark.parametrize("data", [(X, None), (IMAGES, None), (X, CLASSES), (X, NUMBERS), (IMAGES, NUMBERS[:40])], ids=["table", "images", "classes", "numbers", "images and numbers"])
@pytest.mark.parametrize("model", [None, Variational()], ids=["AE", "VAE"])
def test_seeds_side_by_side_equal_seeds_alone(data, model):
    for sampler in fit_generators([small(model=model, law="normal", random_state=k) for k in range(3)], *data)[1:]:
        alone = small(model=model, law="normal", random_state=sampler.random_state).fit(*data)
        np.testing.assert_allclose(sampler.history_["total"], alone.history_["total"], rtol=1e-4)
        a, b = (s.sample(20, random_state=1) for s in (sampler, alone))
        for one, other in zip(a if isinstance(a, tuple) else (a,), b if isinstance(b, tuple) else (b,)):
            np.testing.assert_allclose(one, other, atol=5e-3)


def test_replicate_zero_is_the_network_alone_and_rows_are_shared_out():
    three, one = small(n_replicates=3, law="smoothed_bootstrap").fit(X), small(law="smoothed_bootstrap").fit(X)
    np.testing.assert_allclose(three.encode(X), one.encode(X), atol=1e-4)
    assert not np.allclose(three.encode(X, replicate=1), one.encode(X), atol=1e-2)
    assert sorted(three.history_["replicate"].unique()) == [0, 1, 2] and len(three.laws_) == 3 and len(three.sample(7)) == 7
    assert three.diagnostics_["stopped"] == ["epochs"] * 3 and one.diagnostics_["stopped"] == "epochs" and one.diagnostics_["epochs"] == 2


# ---- weights and labels


def test_weights_reach_the_loss_and_the_law():
    class Left:
        def weights(self, X, y):
            assert isinstance(X, pd.DataFrame)
            return np.where(X.iloc[:, 0] < 0, 2.0, 1e-9)

    plain, left = small(law="smoothed_bootstrap").fit(X), small(law="smoothed_bootstrap", weighting=Left()).fit(X)
    assert not left.history_["x"].equals(plain.history_["x"]) and (plain.weights_ == 1).all()
    left.fit_resample(X)
    assert (X[left.seed_indices_[60:], 0] < 0).all()
    rare = small(law="smoothed_bootstrap", weighting="density", n_synthetic=2000)
    y = np.exp(3 * NUMBERS)
    y_res = rare.fit_resample(X, y)[1]
    assert y[rare.seed_indices_[60:]].mean() > y.mean() and rare.weights_.mean() == pytest.approx(1) and len(y_res) == 2060


def test_weights_of_pictures_see_pixels_and_the_target():
    class Seen:
        def weights(self, X, y):
            self.shape, self.y = X.shape, y
            return np.ones(len(X)) * 1.5

    seen = Seen()
    assert (small(weighting=UniformWeighting()).fit(IMAGES).weights_ == 1).all()
    small(weighting=seen).fit(IMAGES, NUMBERS[:40])
    assert seen.shape == (40, 20) and np.allclose(seen.y, NUMBERS[:40], atol=1e-6)
    small(weighting=seen).fit(IMAGES, CLASSES[:40])
    assert seen.shape == (40, 20) and (seen.y == CLASSES[:40]).all()
    assert small(weighting="density").fit(IMAGES, NUMBERS[:40]).weights_.std() > 0


def test_labels_by_a_regressor():
    new, y = small(labels=Ridge(alpha=1e-9)).fit(X, X @ [1, -2, 3, 0]).sample(50)
    inside = (y > (X @ [1, -2, 3, 0]).min()) & (y < (X @ [1, -2, 3, 0]).max())
    np.testing.assert_allclose(y[inside], (new @ [1, -2, 3, 0])[inside], atol=1e-3)
    assert small(labels=Ridge()).fit(IMAGES, NUMBERS[:40]).sample(5)[1].shape == (5,)


@pytest.mark.parametrize("data", [X, IMAGES], ids=["table", "images"])
def test_labels_by_a_classifier(data):
    y = np.array(["no", "yes"])[(data.reshape(len(data), -1)[:, 0] > np.median(data.reshape(len(data), -1)[:, 0])).astype(int)]
    sampler = small(labels=LogisticRegression(), n_synthetic=30)
    _, y_res = sampler.fit_resample(data, y)
    assert len(y_res) == len(data) + 30 and set(y_res) <= {"no", "yes"} and len(sampler.sample(0)[1]) == 0
    balanced = small(labels=LogisticRegression()).fit_resample(data, y)[1]                  # nothing to add: nothing to label
    assert len(balanced) == len(data)


# ---- diagnostics


def test_diagnostics_by_hand():
    sampler = small(n_epochs=60, hidden_dims=(32,), learning_rate=1e-2).fit(IMAGES)
    found, flat = sampler.diagnostics_, IMAGES.reshape(40, -1).astype(float)
    again = sampler.reconstruct(IMAGES).reshape(40, -1).astype(float)
    nats = -(flat * np.log(again) + (1 - flat) * np.log(1 - again)).mean()
    floor = -(flat * np.log(flat) + (1 - flat) * np.log(1 - flat)).mean()
    assert found["reconstruction"] == pytest.approx(nats, rel=1e-4) and found["floor"] == pytest.approx(floor, rel=1e-4) and found["excess"] == pytest.approx(nats - floor, abs=1e-4)
    assert found["r2_x"] == pytest.approx(1 - ((flat - again) ** 2).sum() / ((flat - flat.mean(0)) ** 2).sum(), rel=1e-4)
    assert found["seconds"] > 0 and found["seconds_law"] > 0 and found["latent_dim"] == 2 and found["epochs"] == 60
    table = small().fit(X).diagnostics_
    assert table["floor"] == 0 and table["excess"] == table["reconstruction"]
