"""The zoo's models: what all of them promise, the formulas of the five without a prior of their own, and their losses against pythae."""
import json
import math
import os
import pickle
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

import augment_lib
from augment_lib.core import InputError, torch_generator
from augment_lib.generative import GenerativeAutoencoder
from augment_lib.likelihoods import Bernoulli, Table
from augment_lib.mixture_priors import GMVAE, VaDE, VampPrior
from augment_lib.nets import initialise
from augment_lib.peers import peer_paths
from augment_lib.steps import Job, TrainConfig
from augment_lib.training import train_bank
from augment_lib.vae_zoo import RAE, VAE, WAE, InfoVAE, SigmaVAE, imq_kernel, mmd_shares

MODELS = {
    "vae": VAE(), "beta_vae": VAE(beta=0.3), "mean_vae": VAE(reduction="mean", beta=0.1), "warm_vae": VAE(warm_up=4), "info_vae": InfoVAE(alpha=0.5, lam=5.0),
    "wae": WAE(), "rae_l2": RAE(), "sigma_vae": SigmaVAE(), "vade": VaDE(n_components=3, pretrain_epochs=2), "gmvae": GMVAE(n_components=3, c_floor=0.2),
    "vamp_vae": VampPrior(n_components=3),
}
BATCH_TERMS = {"mmd", "gaussian", "decoder"}            # depend on the whole batch, or on no row
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
D, LATENT = 6, 2


def make_net(model, n_replicates=2, d=D, latent=LATENT, hidden=(7,)):
    return initialise(model.make_net(d, hidden, latent, "relu")(n_replicates), [torch_generator(s) for s in range(n_replicates)])


def draws(net, n=9, seed=0, d=D):
    "(rows, noise) for a network."
    g = torch_generator(seed)
    K, width = net.n_replicates, getattr(net, "noise_dim", net.latent_dim)
    return torch.rand(K, n, d, generator=g), torch.randn(K, n, width, generator=g)


def noise_of(model, noise):
    return noise if model.training.get("variational", True) else None


def total(model, net, x, noise, likelihood=Bernoulli()):
    "(K,) loss at the end of every warm-up."
    objective, params, loss = model.objective(likelihood), model.params(), 0.0
    for name, term in objective.terms(net, x, noise).items():
        weight = objective.coefficients.get(name, 1.0)
        weight = params[weight] if isinstance(weight, str) else weight
        loss = loss + (weight(10**6) if callable(weight) else weight) * term.mean(-1)
    return loss


def fit(model, X, seeds=(0,), n_epochs=3, likelihood=Bernoulli(), latent=LATENT, **options):
    config = TrainConfig(n_epochs=n_epochs, device="cpu", **{"batch_size": 20, "learning_rate": 3e-3, **model.training, **options})
    make = model.make_net(X.shape[1], (7,), latent, "relu")
    jobs = [Job(np.arange(len(X)), seed, model.params()) for seed in seeds]
    return train_bank(X, jobs, make, model.objective(likelihood), config, start=model.start(X, jobs, make, likelihood, config))


# ---- every model

@every_model
def test_terms_are_per_row(model):
    net = make_net(model)
    x, noise = draws(net)
    noise, objective = noise_of(model, noise), model.objective(Bernoulli())
    terms = objective.terms(net, x, noise)
    assert all(t.shape == (2, 9) and t.isfinite().all() for t in terms.values())
    torch.testing.assert_close(terms["x"], Bernoulli().nll(net.decode(net.encode(x)[0] if noise is None or net.encode(x)[1] is None else
                               net.encode(x)[0] + (net.encode(x)[1] / 2).exp() * noise[..., :LATENT]), x))
    order = torch.randperm(9, generator=torch_generator(1))
    moved = objective.terms(net, x[:, order], None if noise is None else noise[:, order])
    for name in terms:
        torch.testing.assert_close(moved[name], terms[name][:, order], msg=name)
    other = x.clone(); other[:, 4:] = 0.5
    changed = objective.terms(net, other, noise)
    for name in set(terms) - BATCH_TERMS:
        torch.testing.assert_close(changed[name][:, :4], terms[name][:, :4], msg=name)
    assert "x" in objective.terms(net, x) and not {"kl", "mmd", "z"} & set(objective.terms(net, x))      # without noise: reconstruction
    assert {name for name in objective.coefficients} <= set(terms) | {"x"}, "a coefficient for a term that does not exist"
    assert {value for value in objective.coefficients.values() if isinstance(value, str)} == set(model.params()), "names of parameters"


@every_model
def test_every_weight_learns(model):
    net = make_net(model)
    x, noise = draws(net)
    total(model, net, x, noise_of(model, noise)).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert (parameter.grad.flatten(1).abs().sum(1) > 0).all(), name


@every_model
def test_replicates_do_not_meet(model):
    net = make_net(model)
    x, noise = draws(net)
    before = total(model, net, x, noise_of(model, noise))
    x[1], noise[1] = 0.5, 3.0
    with torch.no_grad():
        for parameter in net.parameters():
            parameter[1] += 1.0
    after = total(model, net, x, noise_of(model, noise))
    assert after[0] == before[0] and after[1] != before[1]


@every_model
def test_replicate_equals_alone(model):
    X = np.random.default_rng(0).random((50, D))
    together = fit(model, X, (3, 4, 5), precision="float64", n_epochs=4)
    alone = fit(model, X, (4,), precision="float64", n_epochs=4)[0]
    for name, value in alone.net.state_dict().items():
        torch.testing.assert_close(together[1].net.state_dict()[name], value, atol=1e-10, rtol=1e-10, msg=name)
    assert not torch.equal(together[0].net.state_dict()["encoder.layers.0.weight"], alone.net.state_dict()["encoder.layers.0.weight"])
    pd.testing.assert_frame_equal(together[1].history, alone.history, atol=1e-10)


@every_model
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_lowers_the_loss(model, precision):
    rng = np.random.default_rng(0)
    X = np.clip((rng.random((4, D)) > 0.5)[rng.integers(4, size=60)] + 0.1 * rng.normal(size=(60, D)), 0, 1).astype(np.float32)
    found = fit(model, X, n_epochs=40, precision=precision, learning_rate=1e-2)[0]
    assert np.isfinite(found.history.to_numpy()).all() and found.stopped == "epochs"
    assert found.history["x"].iloc[-1] < found.history["x"].iloc[0] - 0.01 or model.get_params().get("reduction") == "mean"


@every_model
def test_models_are_plain_objects(model):
    assert clone(model).get_params() == model.get_params()
    again = pickle.loads(pickle.dumps(model))
    again.objective(Bernoulli()), pickle.dumps(again.params())
    assert eval(repr(model)).get_params() == model.get_params()
    net = make_net(model, 3)
    same = type(net)(3, **net.settings)
    same.load_state_dict(net.state_dict())
    assert "object at" not in repr(model.objective(Table(3))), "the checkpoint's identity would change with every run"


# ---- through the sampler: pictures and tables

def frame(n=60):
    rng = np.random.default_rng(0)
    group = rng.integers(3, size=n)
    return pd.DataFrame({"size": group * 2.0 + rng.normal(size=n), "n": rng.poisson(3 + 2 * group), "kind": pd.Categorical(np.array(["a", "b", "c"])[group])})


def sampler(model, **options):
    return GenerativeAutoencoder(model=model, **{"latent_dim": 2, "hidden_dims": (8,), "n_epochs": 2, "batch_size": 20, "random_state": 0, "n_components": 3, **options})


@every_model
@pytest.mark.parametrize("kind", ["table", "pictures"])
@pytest.mark.filterwarnings("ignore:GenerativeAutoencoder reconstructs", "ignore:.*mixture components are flat")
def test_trains_samples_saves_and_loads(model, kind, tmp_path):
    X = frame() if kind == "table" else np.random.default_rng(1).random((60, 4, 4)).astype(np.float32)
    fitted = sampler(model).fit(X)
    assert fitted.settings_["law"] == model.law
    new = fitted.sample(11, random_state=5)
    fitted.save(tmp_path / "model")
    back = GenerativeAutoencoder.load(tmp_path / "model")
    again = back.sample(11, random_state=5)
    if kind == "table":
        assert (new.dtypes == X.dtypes).all() and new.notna().all().all()
        pd.testing.assert_frame_equal(new, again)
    else:
        assert new.shape == (11, 4, 4) and new.dtype == np.float32 and 0 <= new.min() <= new.max() <= 1
        np.testing.assert_array_equal(new, again)
    assert back.get_params()["model"].get_params() == model.get_params() and type(back.model) is type(model)
    np.testing.assert_allclose(fitted.encode(X[:5]), back.encode(X[:5]), atol=1e-6)
    assert len(fitted.fit_resample(X)) == 120


@every_model
@pytest.mark.filterwarnings("ignore:GenerativeAutoencoder reconstructs", "ignore:.*mixture components are flat")
def test_labels_and_targets(model):
    X = frame()
    y = (X["size"] + np.random.default_rng(2).normal(size=60)).to_numpy()
    X_new, y_new = sampler(model, task="regression").fit(X, y).sample(9, random_state=0)
    assert len(X_new) == len(y_new) == 9 and np.isfinite(y_new).all()
    labels = np.repeat(["no", "yes"], [45, 15])
    X_res, y_res = sampler(model, law="gmm", n_components=2).fit_resample(X, labels)
    assert (pd.Series(y_res).value_counts() == 45).all()


# ---- formulas

def kl_by_torch(net, x):
    mu, logvar = net.encode(x)
    return torch.distributions.kl_divergence(torch.distributions.Normal(mu, (logvar / 2).exp()), torch.distributions.Normal(0.0, 1.0)).sum(-1)


def test_mean_reduction_is_beta_times_the_columns():
    net = make_net(VAE())
    x, noise = draws(net)
    torch.testing.assert_close(D * total(VAE(reduction="mean"), net, x, noise), total(VAE(beta=D), net, x, noise))
    history = fit(VAE(reduction="mean"), x[0].numpy(), n_epochs=1)[0].history
    assert history["x"][0] == pytest.approx(D * history["x_mean"][0], rel=1e-5)          # x stays the sum ...
    assert history["total"][0] == pytest.approx(history["x_mean"][0] + history["kl"][0], rel=1e-6)    # ... and does not count


def test_row_weights_multiply_the_reconstruction_only():
    X, weights = np.random.default_rng(0).random((40, D)), np.random.default_rng(1).random(40)
    for model, name in ((VAE(), "x"), (VAE(reduction="mean"), "x_mean"), (SigmaVAE(), "gaussian")):
        make, objective = model.make_net(D, (7,), LATENT, "relu"), model.objective(Bernoulli())
        config = TrainConfig(n_epochs=1, batch_size=40, learning_rate=0.0, precision="float64", device="cpu", **model.training)
        plain, weighted = (train_bank(X, [Job(np.arange(40), 0, model.params(), w)], make, objective, config)[0].history.iloc[0] for w in (None, weights))
        assert weighted[name] != pytest.approx(plain[name]) and weighted["kl"] == pytest.approx(plain["kl"])


def test_warm_up():
    X = np.random.default_rng(0).random((40, D))
    history = fit(VAE(warm_up=4), X, n_epochs=6)[0].history
    np.testing.assert_allclose(history["total"], history["x"] + np.array([0, 0.25, 0.5, 0.75, 1, 1]) * history["kl"])


def test_mmd_is_the_unbiased_statistic():
    g = torch_generator(0)
    z, p = torch.randn(2, 8, 3, generator=g, dtype=torch.float64), torch.randn(2, 8, 3, generator=g, dtype=torch.float64)
    for k in range(2):
        def kernel(a, b, h=1.5, scales=(0.5, 2.0)):
            return sum(2 * s * 3 * h**2 / (2 * s * 3 * h**2 + sum((float(u) - float(v)) ** 2 for u, v in zip(a, b))) for s in scales)
        value = sum(kernel(z[k, i], z[k, j]) + kernel(p[k, i], p[k, j]) for i in range(8) for j in range(8) if i != j) / 56
        value -= 2 * sum(kernel(z[k, i], p[k, j]) for i in range(8) for j in range(8)) / 64
        assert float(mmd_shares(z, p, 1.5, (0.5, 2.0))[k].mean()) == pytest.approx(value, abs=1e-12)
    assert imq_kernel(z, p).shape == (2, 8, 8)
    assert float(mmd_shares(z, z).mean()) < 0                                # a sample and itself: the unbiased estimate is below zero


def test_mmd_pulls_codes_to_the_prior():
    g = torch_generator(0)
    z = (3.0 + 0.3 * torch.randn(1, 150, 2, generator=g)).requires_grad_()
    optimizer = torch.optim.Adam([z], 0.1)
    for _ in range(400):
        optimizer.zero_grad(); mmd_shares(z, torch.randn(1, 150, 2, generator=g)).mean().backward(); optimizer.step()
    found = z.detach().flatten(0, 1)                                         # medians: a few codes stay far out, where the kernel is flat
    assert found.median(0).values.abs().max() < 0.4 and 0.5 < float(found.abs().median()) < 1.0


def test_info_vae_limits():
    net = make_net(InfoVAE())
    x, noise = draws(net)
    twin = make_net(VAE())
    torch.testing.assert_close(total(InfoVAE(lam=1.0), net, x, noise), total(VAE(), twin, x, noise[..., :LATENT]))
    terms = InfoVAE().objective(Bernoulli()).terms(net, x, noise)
    torch.testing.assert_close(terms["kl"], kl_by_torch(net, x))
    torch.testing.assert_close(total(InfoVAE(alpha=0.25, lam=8.0), net, x, noise), (terms["x"] + 0.75 * terms["kl"] + 7.25 * terms["mmd"]).mean(-1))
    with pytest.warns(UserWarning, match="negative"):
        assert InfoVAE(lam=0.5).params()["mmd_weight"] == -0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        InfoVAE(lam=1.0).params()


def test_sigma_vae_is_calibrated():
    "The loss falls to the entropy of the noise, and beta to 2 sigma^2, whatever the scale of the table."
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(400, 1)) @ rng.normal(size=(1, 8)) + 0.1 * rng.normal(size=(400, 8))).astype(np.float32)
    fitted = fit(SigmaVAE(), X, n_epochs=150, likelihood=Table(8), latent=1, batch_size=50, learning_rate=1e-2)[0]
    plain = fit(VAE(), X, n_epochs=150, likelihood=Table(8), latent=1, batch_size=50, learning_rate=1e-2)[0]
    sigma = math.sqrt(fitted.history["x"].iloc[-10:].mean() / 8)
    assert 0.09 < sigma < 0.14                                               # the simulated noise: 0.1
    assert fitted.history["kl"].iloc[-1] > plain.history["kl"].iloc[-1] + 0.5     # a code that says more than the one at fixed beta


def test_sigma_vae_survives_rows_that_are_met_exactly():
    net = make_net(SigmaVAE())
    x = torch.full((2, 5, D), 0.25)
    with torch.no_grad():
        for part in (net.decoder.layers[-1].weight, net.decoder.layers[-1].bias):
            part.zero_()
        net.decoder.layers[-1].bias += 0.25
    loss = total(SigmaVAE(), net, x, torch.zeros(2, 5, LATENT), Table(D))
    loss.sum().backward()
    assert loss.isfinite().all() and all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


def test_rae_penalties():
    net = make_net(RAE())
    x, _ = draws(net)
    terms = RAE().objective(Bernoulli()).terms(net, x)
    torch.testing.assert_close(terms["code"], net.encode(x)[0].square().sum(-1) / 2)
    for k in range(2):
        squares = sum(float(p[k].detach().square().sum()) for p in net.decoder.parameters())
        assert float(terms["decoder"][k, 0].detach()) == pytest.approx(squares / 2, rel=1e-5)
    X = x[0].numpy()
    small, large = (fit(RAE(code_weight=0.0, decoder_weight=w), X, n_epochs=200)[0].net for w in (0.0, 1.0))
    norms = [sum(float(p.detach().square().sum()) for p in net.decoder.parameters()) for net in (large, small)]
    assert norms[0] < norms[1] / 2


@pytest.mark.parametrize("model, message", [
    (VAE(beta=-1), "beta=-1"), (VAE(reduction="average"), "reduction='average'"), (VAE(warm_up=-3), "warm_up=-3"), (InfoVAE(alpha=2.0), "alpha=2.0"),
    (InfoVAE(scales=()), "scales=()"), (WAE(lam=-1), "lam=-1"), (WAE(bandwidth=0.0), "bandwidth=0.0"), (RAE(decoder_weight=-1), "decoder_weight=-1"),
    (SigmaVAE(beta="a"), "beta='a'"), (VaDE(n_components=0), "n_components=0"), (VaDE(beta=-1), "beta=-1"), (VampPrior(warm_up=0.5), "warm_up=0.5"),
    (GMVAE(w_dim=0), "w_dim=0"), (GMVAE(c_floor=-1), "c_floor=-1"), (VaDE(pretrain_epochs=-1), "pretrain_epochs=-1")], ids=str)
def test_bad_arguments_are_named(model, message):
    with pytest.raises(InputError) as caught:
        sampler(model).fit(np.random.default_rng(0).random((30, 4, 4)))
    assert message in str(caught.value)


# ---- the same numbers as pythae

SCRIPT = Path(augment_lib.__file__).parents[1] / "peers" / "pythae_losses.py"


def pythae_is_here():
    python = peer_paths()[0]
    if not (python.exists() and SCRIPT.exists()):
        return False
    question = "import importlib.util, sys; sys.exit(importlib.util.find_spec('pythae') is None)"
    return subprocess.run([python, "-c", question], capture_output=True).returncode == 0


def pythae_losses(folder, name, net, x, noise, **options):
    "What pythae's model returns at our weights; noise: {name: (n, latent_dim)} in the order of its draws."
    arrays = {"x": x[0].numpy(), **{key: value.numpy() for key, value in noise.items()}}
    for side in ("encoder", "decoder"):
        linear = [layer for layer in getattr(net, side).layers if hasattr(layer, "weight")]
        for i, layer in enumerate(linear):
            arrays |= {f"{side}.weight.{i}": layer.weight[0].detach().numpy(), f"{side}.bias.{i}": layer.bias[0, 0].detach().numpy()}
    if hasattr(net, "pseudo"):
        arrays["pseudo"] = net.pseudo.weight[0].detach().numpy()
    np.savez(folder / "arrays.npz", **arrays)
    (folder / "job.json").write_text(json.dumps({"model": name, "options": options, "noise": list(noise)}))
    run = subprocess.run([peer_paths()[0], SCRIPT, folder], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.strip().splitlines()[-1])


# our model, pythae's, its options, names of pythae's terms and ours, losses (None: always the squared error); pythae halves the squared error of the VAEs and not that of the others
SMALL = [0.3, 1.0, 4.0]
PAIRS = {
    "vae": (VAE(), "VAE", {}, {"reg_loss": "kl"}, ("bce", "mse")),
    "beta_vae": (VAE(beta=2.5), "BetaVAE", {"beta": 2.5}, {"reg_loss": "kl"}, ("bce", "mse")),
    "info_vae": (InfoVAE(alpha=0.3, lam=20.0, bandwidth=1.5, scales=SMALL), "INFOVAE_MMD",
                 {"alpha": 0.3, "lbd": 20.0, "kernel_bandwidth": 1.5, "scales": SMALL}, {"reg_loss": "kl", "mmd_loss": "mmd"}, ("bce", "mse")),
    "info_vae default": (InfoVAE(), "INFOVAE_MMD", {"alpha": 0.0, "lbd": 1000.0}, {"reg_loss": "kl", "mmd_loss": "mmd"}, ("bce",)),
    "wae": (WAE(lam=10.0), "WAE_MMD", {"reg_weight": 10.0}, {"mmd_loss": "mmd"}, (None,)),
    "rae_l2": (RAE(code_weight=0.3, decoder_weight=0.0), "RAE_L2", {"embedding_weight": 0.3}, {"embedding_loss": "code"}, (None,)),
    "vamp_vae": (VampPrior(n_components=4), "VAMP", {"number_components": 4}, {"reg_loss": "kl"}, ("bce", "mse")),
}


@pytest.mark.parametrize("name, loss", [(name, loss) for name, pair in PAIRS.items() for loss in pair[-1]])
def test_loss_equals_pythae(name, loss, tmp_path):
    model, theirs, options, names, _ = PAIRS[name]
    if not pythae_is_here():
        pytest.skip(f"no peer environment with pythae at {peer_paths()[0]}: run `make peers`")
    net = make_net(model, 1, hidden=(7, 5)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 2                                                   # clouds that differ from the prior
    x, noise = (t.double() for t in draws(net, 12, seed=3))
    if hasattr(net, "pseudo"):
        net.pseudo.weight.data = torch.rand(net.pseudo.weight.shape, generator=torch_generator(5), dtype=torch.float64)
    variational = noise_of(model, noise)
    parts = {} if variational is None else dict(zip(("first", "second"), noise[0].split(LATENT, -1)))
    found = pythae_losses(tmp_path, theirs, net, x, parts, **options, **({"reconstruction_loss": loss} if loss else {}))
    likelihood = Bernoulli() if loss == "bce" else Table(D)
    half, close = 0.5 if loss == "mse" else 1.0, 1e-7 if hasattr(net, "pseudo") else 1e-12     # VAMP's log C is float32
    with torch.no_grad():
        terms = model.objective(likelihood).terms(net, x, variational)
        assert found["recon_loss"] == pytest.approx(half * float(terms["x"].mean()), rel=1e-9)
        for key, ours in names.items():
            value = float(terms[ours].mean())
            assert found[key] == pytest.approx(value, rel=1e-9, abs=close), key
            assert abs(value) > 1e-3, "nothing was compared"
        difference = float(total(model, net, x, variational, likelihood)) - (1 - half) * float(terms["x"].mean())
    assert found["loss"] == pytest.approx(difference, rel=1e-9, abs=close)
