"""VAE-GAN: who learns in which phase, the formulas, the limits, the engine's promises, and the numbers against pythae."""
import json
import subprocess
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone

from augment_lib.adversarial import PHASES, VAEGAN, GANNet, GANObjective, feature_error, let, only, turns
from augment_lib.core import InputError, torch_generator
from augment_lib.generative import GenerativeAutoencoder
from augment_lib.likelihoods import Bernoulli, Table
from augment_lib.nets import initialise, load_replicates
from augment_lib.peers import peer_paths
from augment_lib.steps import Job, TrainConfig
from augment_lib.training import train_bank
from augment_lib.vae_zoo import VAE

D, LATENT, HIDDEN = 6, 2, (9, 7)


def make_net(model=VAEGAN(), n_replicates=2, d=D):
    return initialise(model.make_net(d, HIDDEN, LATENT, "relu")(n_replicates), [torch_generator(s) for s in range(n_replicates)]).double()


def draws(n=8, n_replicates=2, d=D):
    g = torch_generator(0)
    return (torch.rand(n_replicates, n, d, generator=g, dtype=torch.float64), torch.randn(n_replicates, n, 2 * LATENT, generator=g, dtype=torch.float64))


def loss_of(model, found):
    "(K,) weighted sum of the terms."
    objective, params = model.objective(Bernoulli()), model.params()
    return sum((params[objective.coefficients[name]] if name in objective.coefficients else 1.0) * term.mean(-1) for name, term in found.items())


def gradients(model, net, phase, noise=None, likelihood=Bernoulli()):
    "{phase: gradient in one vector} of the loss in a phase."
    x, drawn = draws()
    found = model.objective(likelihood).terms(net, x, drawn if noise is None else noise, phase=phase)
    net.zero_grad()
    loss_of(model, found).sum().backward()
    return {name: torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in net.phase_parameters(name)]) for name in PHASES}


def fit(model, X, seeds=(0,), n_epochs=3, likelihood=Bernoulli(), start=None, **options):
    config = TrainConfig(n_epochs=n_epochs, device="cpu", **{"batch_size": 20, "learning_rate": 3e-3, **model.training, **options})
    jobs = [Job(np.arange(len(X)), seed, model.params()) for seed in seeds]
    return train_bank(X, jobs, model.make_net(X.shape[1], HIDDEN, LATENT, "relu"), model.objective(likelihood), config, start=start)


ROWS = np.random.default_rng(0).random((60, D))


# ---- phases

@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("likelihood", [Bernoulli(), Table(4, ((4, 6),))], ids=["pixels", "table"])
def test_only_the_phase_learns(phase, likelihood):
    found = gradients(VAEGAN(pixel=0.5), make_net(), phase, likelihood=likelihood)
    assert found[phase].abs().sum() > 0
    assert all(found[other].abs().sum() == 0 for other in PHASES if other != phase)


def test_phases_are_the_loss_without_phases_cut_in_three():
    "The gradient of the encoder's own terms is the same, however many others are computed beside."
    model, net = VAEGAN(pixel=0.3, adversarial=0.7, beta=0.4, margin=None), make_net()
    whole = {name: term for name, term in model.objective(Bernoulli()).terms(net, *draws()).items()}
    asked = {"encoder": ("x", "kl", "similarity"), "decoder": ("x", "similarity", "fool"), "discriminator": ("judge",)}
    for phase in PHASES:
        loss = loss_of(model, {name: whole[name] for name in asked[phase]}).sum()
        expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, net.phase_parameters(phase), retain_graph=True)])
        torch.testing.assert_close(gradients(model, net, phase)[phase], expected)


def test_only_gives_back_what_it_took_also_after_an_error():
    net = make_net()
    with pytest.raises(RuntimeError):
        with only(net, "decoder"):
            assert not any(p.requires_grad for p in net.phase_parameters("encoder")) and all(p.requires_grad for p in net.phase_parameters("decoder"))
            raise RuntimeError
    assert all(p.requires_grad for p in net.parameters())


def test_a_step_moves_every_network_once():
    before = make_net().float()
    after = fit(VAEGAN(), ROWS, n_epochs=1, batch_size=60)[0].net            # one step of every phase
    assert all(not torch.equal(a, b) for a, b in zip(make_net(n_replicates=1).float().parameters(), after.parameters()) if a.numel() > 1)
    assert len(list(before.parameters())) == sum(len(before.phase_parameters(phase)) for phase in PHASES)


# ---- formulas

def test_terms_by_hand():
    net, (x, noise) = make_net(), draws()
    found = GANObjective(Bernoulli(), margin=9.0).terms(net, x, noise)
    mu, logvar = net.encode(x)
    back = net.decode(mu + (0.5 * logvar).exp() * noise[..., :LATENT])
    p = {name: net.judge(rows)[1].sigmoid() for name, rows in {"real": x, "back": back.sigmoid(), "made": net.decode(noise[..., LATENT:]).sigmoid()}.items()}
    torch.testing.assert_close(found["judge"], -torch.log(p["real"] * (1 - p["back"]) * (1 - p["made"])))
    torch.testing.assert_close(found["fool"], -torch.log(p["back"] * p["made"]))
    torch.testing.assert_close(GANObjective(Bernoulli(), saturating=True).terms(net, x, noise)["fool"], torch.log((1 - p["back"]) * (1 - p["made"])))
    torch.testing.assert_close(found["x"], Bernoulli().nll(back, x))
    normal = torch.distributions.Normal
    torch.testing.assert_close(found["kl"], torch.distributions.kl_divergence(normal(mu, (0.5 * logvar).exp()), normal(0.0, 1.0)).sum(-1))
    for k in range(2):
        seen, seen_back = net.features(x)[k], net.features(back.sigmoid())[k]
        torch.testing.assert_close(found["similarity"][k], ((seen - seen_back) ** 2).sum(1) / (2 * torch.cat([seen, seen_back]).var(0, unbiased=False).mean()))


def test_feature_error_does_not_hang_on_the_scale_and_survives_dead_features():
    g = torch_generator(1)
    a, b = torch.rand(2, 5, 4, generator=g), torch.rand(2, 5, 4, generator=g)
    torch.testing.assert_close(feature_error(100 * a, 100 * b), feature_error(a, b))
    assert feature_error(torch.zeros_like(a), torch.zeros_like(a)).abs().sum() == 0
    torch.testing.assert_close(feature_error(a, b), feature_error(b, a))              # measured in the spread of both
    far = feature_error(a, 1e6 + b)
    torch.testing.assert_close(far, torch.full_like(far, 2 * 4.0), rtol=1e-3, atol=0)   # two far points: half the squared distance over a quarter of it, per column


def test_a_reconstruction_that_is_the_row_costs_no_similarity_and_no_verdict_of_its_own():
    net, (x, _) = make_net(), draws()
    objective = GANObjective(Table(D))
    net.decode, net.encode = lambda z, condition=None: z, lambda rows, condition=None: (rows, torch.full_like(rows, -50.0))
    net.latent_dim = D
    found = objective.terms(net, x)
    assert found["similarity"].abs().max() < 1e-12
    torch.testing.assert_close(found["judge"] - found["fool"], found["judge"] - 2 * torch.nn.functional.softplus(-net.judge(x)[1]))


@pytest.mark.parametrize("real, made, expected", [(0.7, 0.7, (1, 1)), (0.1, 0.7, (0, 1)), (0.7, 0.1, (0, 1)), (2.0, 0.7, (1, 0)), (0.7, 2.0, (1, 0)), (0.1, 2.0, (1, 1)), (0.33, 1.03, (1, 1))])
def test_who_waits(real, made, expected):
    found = turns(torch.full((3, 4), real, dtype=torch.float64), torch.full((3, 4), made, dtype=torch.float64), 0.68, 0.3500001)
    assert tuple(int(t[0]) for t in found) == expected and all(t.shape == (3, 1) for t in found)


def test_waiting_is_a_gradient_of_zero_and_the_true_value():
    model, net = VAEGAN(equilibrium=50.0, margin=0.1), make_net()                    # costs far below: the discriminator waits
    assert gradients(model, net, "discriminator")["discriminator"].abs().sum() == 0 and gradients(model, net, "decoder")["decoder"].abs().sum() > 0
    model = VAEGAN(equilibrium=0.0, margin=0.01)                                      # costs far above: the decoder does
    assert gradients(model, net, "decoder")["decoder"].abs().sum() == 0 and gradients(model, net, "discriminator")["discriminator"].abs().sum() > 0
    assert gradients(model, net, "encoder")["encoder"].abs().sum() > 0                # the encoder never waits
    value = torch.rand(2, 3)
    assert torch.equal(let(value, torch.zeros(2, 1)), value)
    x, noise = draws()
    torch.testing.assert_close(model.objective(Bernoulli()).terms(net, x, noise)["judge"], VAEGAN(margin=None).objective(Bernoulli()).terms(net, x, noise)["judge"])


# ---- limits

@pytest.mark.parametrize("phase", ["encoder", "decoder"])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_pixels_only_is_the_vae(phase, beta):
    model, net, (x, noise) = VAEGAN(adversarial=0, similarity=0, pixel=1, beta=beta), make_net(), draws()
    found = gradients(model, net, phase)[phase]
    terms = VAE(beta=beta).objective(Bernoulli()).terms(net, x, noise[..., :LATENT])
    loss = (terms["x"] + beta * terms["kl"]).mean(-1).sum()
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, net.phase_parameters(phase))])
    torch.testing.assert_close(found, expected)


def test_reconstruction_only_reconstructs_like_an_autoencoder():
    X = np.random.default_rng(1).random((200, 2)) @ np.random.default_rng(2).random((2, D)) / 2
    options = dict(n_epochs=25, learning_rate=1e-2)
    ours = fit(VAEGAN(adversarial=0, similarity=0, pixel=1, beta=0), X, **options)[0].history["x"]
    plain = fit(VAE(beta=0), X, drop_last=True, **options)[0].history["x"]
    assert ours.iloc[-1] < ours.iloc[0] and ours.iloc[-1] == pytest.approx(plain.iloc[-1], rel=0.02)


def test_an_infinite_weight_of_the_prior_closes_the_code():
    fitted = fit(VAEGAN(beta=1e4), ROWS, n_epochs=40)[0]
    mu, logvar = fitted.net.encode(torch.as_tensor(ROWS, dtype=torch.float32)[None])
    assert mu.abs().max() < 0.2 and logvar.abs().max() < 0.3


def test_with_nobody_to_deceive_nobody_waits():
    assert VAEGAN(adversarial=0, margin=0.1).objective(Bernoulli()).margin == float("inf") == VAEGAN(margin=None).objective(Bernoulli()).margin
    assert VAEGAN(margin=0.1).objective(Bernoulli()).margin == 0.1


# ---- the engine's promises

def test_side_by_side_is_one_by_one():
    together = fit(VAEGAN(), ROWS, seeds=(3, 4, 5), precision="float64")
    for seed, f in zip((3, 4, 5), together):
        alone = fit(VAEGAN(), ROWS, seeds=(seed,), precision="float64")[0]
        for a, b in zip(f.net.parameters(), alone.net.parameters()):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(f.history, alone.history, rtol=1e-9)


def test_no_padded_row_takes_part():
    assert VAEGAN.training == {"drop_last": True}
    a = fit(VAEGAN(), ROWS[:50])[0].history                                            # 50 rows, batches of 20: ten rows sit out, nobody is padded
    assert np.isfinite(a.to_numpy()).all()


def test_history_tells_all_terms_and_validation_works():
    X = torch.as_tensor(ROWS)
    job = Job(np.arange(40), 0, VAEGAN().params(), validation_rows=np.arange(40, 60))
    config = TrainConfig(n_epochs=3, batch_size=20, device="cpu", drop_last=True, patience=5)
    found = train_bank(X, [job], VAEGAN().make_net(D, HIDDEN, LATENT, "relu"), VAEGAN().objective(Bernoulli()), config)[0]
    assert list(found.history) == ["epoch", "x", "kl", "similarity", "fool", "judge", "total", "validation"]
    assert np.isfinite(found.history.to_numpy()).all()


def test_checkpoint_goes_on(tmp_path):
    whole = fit(VAEGAN(), ROWS, n_epochs=4)[0]
    fit(VAEGAN(), ROWS, n_epochs=2, checkpoint=str(tmp_path / "c"), checkpoint_every=1)
    rest = fit(VAEGAN(), ROWS, n_epochs=4, checkpoint=str(tmp_path / "c"), checkpoint_every=1)[0]
    for a, b in zip(whole.net.parameters(), rest.net.parameters()):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("layer, width", [(1, 9), (2, 7), (-1, 7), (-2, 9)])
def test_network_comes_back_from_its_settings(layer, width):
    net = make_net(VAEGAN(layer=layer))
    assert net.judge(draws()[0])[0].shape[-1] == width
    twin = load_replicates(GANNet, net.settings, net.state_dict())
    torch.testing.assert_close(twin.judge(draws()[0])[1], net.judge(draws()[0])[1])


def test_bad_arguments_are_named():
    for options, words in ({"layer": 3}, "layer=3"), ({"layer": 0}, "layer=0"), ({"layer": 1.5}, "layer"):
        with pytest.raises(InputError, match=words):
            VAEGAN(**options).make_net(D, HIDDEN, LATENT, "relu")
    for name in ("adversarial", "similarity", "pixel", "beta"):
        with pytest.raises(InputError, match=name):
            VAEGAN(**{name: -0.1}).params()
    with pytest.raises(InputError, match="margin"):
        VAEGAN(margin=-1).objective(Bernoulli())
    assert clone(VAEGAN(layer=-1, judge_dims=(5,))).get_params() == VAEGAN(layer=-1, judge_dims=(5,)).get_params()


def test_pictures_of_two_kinds_come_back():
    "The codes tell a bright kind from a dark one, and so do the new rows."
    rng = np.random.default_rng(0)
    pictures = np.clip(np.where(np.arange(400)[:, None, None] % 2, 0.9, 0.1) + 0.05 * rng.normal(size=(400, 4, 4)), 0, 1)
    sampler = GenerativeAutoencoder(model=VAEGAN(), hidden_dims=(32,), latent_dim=2, n_epochs=40, batch_size=40, learning_rate=3e-3, random_state=0, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        new = sampler.fit(pictures).sample(400, random_state=0)
    bright = new.mean((1, 2)) > 0.5
    assert 0.25 < bright.mean() < 0.75 and new[bright].mean() > 0.75 and new[~bright].mean() < 0.25
    assert sampler.diagnostics_["r2_x"] > 0.8


# ---- the same numbers as pythae

SCRIPT = """
import json, sys
import numpy as np, torch
torch.set_default_dtype(torch.float64)
from pythae.models import VAEGAN, VAEGANConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder
arrays = {k: torch.from_numpy(v) for k, v in np.load(sys.argv[1]).items()}
def run(name, x, first=0, last=99):
    i = first
    while f"{name}.{i}.weight" in arrays and i < last:
        x = x @ arrays[f"{name}.{i}.weight"] + arrays[f"{name}.{i}.bias"]
        i += 1
        x = torch.relu(x) if f"{name}.{i}.weight" in arrays else x
    return x
class E(BaseEncoder):
    def forward(self, x):
        mu, logvar = run("encoder", x).chunk(2, -1)
        return ModelOutput(embedding=mu, log_covariance=logvar)
class G(BaseDecoder):
    def forward(self, z): return ModelOutput(reconstruction=run("decoder", z).sigmoid())
class J(BaseDiscriminator):
    depth = 2
    def forward(self, x, output_layer_levels=None):
        seen = torch.relu(run("features", x))
        if output_layer_levels: return ModelOutput(embedding_layer_1=seen)
        return ModelOutput(embedding=run("verdict", seen).sigmoid())
config = VAEGANConfig(input_dim=(arrays["x"].shape[1],), latent_dim=arrays["prior"].shape[1], adversarial_loss_scale=0.5, reconstruction_layer=1)
model = VAEGAN(config, encoder=E(), decoder=G(), discriminator=J())
draws = iter(["posterior", "prior"])
torch.randn_like = lambda like, **_: arrays[next(draws)].clone()
found = model({"data": arrays["x"]})
print(json.dumps({k: v.item() if torch.is_tensor(v) else bool(v) for k, v in found.items() if not torch.is_tensor(v) or v.numel() == 1}))
"""


def pythae_is_here():
    python = peer_paths()[0]
    return python.exists() and subprocess.run([python, "-c", "import pythae"], capture_output=True).returncode == 0


def test_losses_equal_pythae(tmp_path):
    if not pythae_is_here():
        pytest.skip(f"no peer environment with pythae at {peer_paths()[0]}: run `make peers`")
    net, (x, noise) = make_net(n_replicates=1), draws(n_replicates=1)
    arrays = {"x": x[0], "posterior": noise[0, :, :LATENT], "prior": noise[0, :, LATENT:]}
    for name in ("encoder", "decoder", "features", "verdict"):
        layers = [layer for layer in getattr(net, name).layers if hasattr(layer, "weight")]
        arrays |= {f"{name}.{i}.{part}": getattr(layer, part)[0] for i, layer in enumerate(layers) for part in ("weight", "bias")}
    np.savez(tmp_path / "arrays.npz", **{k: v.detach().numpy() for k, v in arrays.items()})
    done = subprocess.run([peer_paths()[0], "-c", SCRIPT, tmp_path / "arrays.npz"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-800:]
    found = json.loads(done.stdout.splitlines()[-1])
    net.requires_grad_(False)
    ours = GANObjective(Bernoulli()).terms(net, x, noise)
    seen, seen_back = net.features(x), net.features(net(x, noise[..., :LATENT])[0].sigmoid())
    spread = float(torch.cat([seen, seen_back], 1).var(1, unbiased=False).mean())                   # pythae's features are in their own units
    back = torch.nn.functional.softplus(net.judge(net(x, noise[..., :LATENT])[0].sigmoid())[1])        # pythae does not judge reconstructions
    assert float(ours["similarity"].mean()) * spread == pytest.approx(found["recon_loss"], rel=1e-10)
    assert float(ours["kl"].mean()) + found["recon_loss"] == pytest.approx(found["encoder_loss"], rel=1e-10)
    assert float((ours["judge"] - back).mean()) == pytest.approx(found["discriminator_loss"], rel=1e-10)
    assert found["decoder_loss"] == pytest.approx(0.5 * found["recon_loss"] - 0.5 * found["discriminator_loss"], rel=1e-10)
    costs = [torch.nn.functional.softplus(s * net.judge(rows)[1]) for s, rows in ((-1, x), (1, net.decode(noise[..., LATENT:]).sigmoid()))]
    assert [bool(t) for t in turns(*costs, 0.68, 0.4)] == [found["update_discriminator"], found["update_decoder"]]
