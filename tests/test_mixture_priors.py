"""VaDE, GMVAE and the VampPrior: groups that are known, laws that agree with their networks, limit cases. What all models promise is in test_vae_zoo.py."""
import math

import numpy as np
import pandas as pd
import pytest
import torch

from augment_lib import mixture_priors
from augment_lib.core import InputError, spawn_seeds, torch_generator
from augment_lib.generative import GenerativeAutoencoder
from augment_lib.latent import law_from_state
from augment_lib.likelihoods import Bernoulli, Table
from augment_lib.mixture_priors import GMVAE, BentMixture, VaDE, VampPrior, component_shares, log_components, mixture_terms, scaled_rows
from augment_lib.nets import initialise
from augment_lib.steps import Job, TrainConfig, TrainingInterrupted
from augment_lib.training import train_bank
from augment_lib.vae_zoo import VAE


def purity(parts, truth):
    table = pd.crosstab(parts, truth)
    return float(table.max(axis=1).sum() / table.to_numpy().sum())


def patterns(n=400, seed=0):
    "Five black and white prototypes of 64 pixels, 6 % of the pixels flipped: (pictures, group)."
    rng = np.random.default_rng(seed)
    group, prototypes = rng.integers(5, size=n), rng.random((5, 64)) < 0.4
    return (prototypes[group] ^ (rng.random((n, 64)) < 0.06)).astype(np.float32), group


def blobs(n=400, seed=0):
    "Four round clouds in ten columns: (table, group)."
    rng = np.random.default_rng(seed)
    group, centres = rng.integers(4, size=n), 2 * rng.normal(size=(4, 10))
    return (centres[group] + 0.5 * rng.normal(size=(n, 10))).astype(np.float32), group


def fit(model, X, likelihood, seeds=(0,), n_epochs=60, latent=2, jobs=None, **options):
    config = TrainConfig(**{"n_epochs": n_epochs, "batch_size": 50, "learning_rate": 3e-3, "device": "cpu", **model.training, **options})
    make = model.make_net(X.shape[1], (48,), latent, "relu")
    jobs = jobs or [Job(np.arange(len(X)), seed, model.params()) for seed in seeds]
    return train_bank(X, jobs, make, model.objective(likelihood), config, start=model.start(X, jobs, make, likelihood, config))


def parts_of(fitted, X):
    with torch.no_grad():
        return fitted.net.shares(torch.as_tensor(X)[None])[0].argmax(-1).numpy()


def best(fits):
    return min(fits, key=lambda f: f.history["total"].iloc[-1])


# ---- groups that are known

@pytest.mark.parametrize("data, likelihood, C", [(patterns, Bernoulli(), 5), (blobs, Table(10), 4)], ids=["pictures", "table"])
def test_vade_finds_the_groups_at_every_seed(data, likelihood, C):
    X, group = data()
    for fitted in fit(VaDE(n_components=C), X, likelihood, (0, 1, 2)):
        assert purity(parts_of(fitted, X), group) > 0.98
        weights = np.sort(VaDE(n_components=C).prior(fitted.net).weights_)
        np.testing.assert_allclose(weights, np.sort(np.bincount(group) / len(group)), atol=0.05)
        assert fitted.history["c"].iloc[-1] == pytest.approx(math.log(C), abs=0.1)          # naming one of C groups


def test_vade_needs_its_pre_training():
    X, group = patterns()
    raw, trained = (fit(VaDE(n_components=5, pretrain_epochs=p), X, Bernoulli(), (0, 1, 2)) for p in (0, 10))
    assert max(purity(parts_of(f, X), group) for f in raw) < min(purity(parts_of(f, X), group) for f in trained)


@pytest.mark.parametrize("model", [GMVAE(n_components=5, c_floor=1.6), VampPrior(n_components=5)], ids=["gmvae", "vamp_vae"])
def test_the_best_of_three_seeds_finds_the_groups(model):
    X, group = patterns()
    fits = fit(model, X, Bernoulli(), (0, 1, 2))
    assert purity(parts_of(best(fits), X), group) > 0.98
    assert best(fits).history["x"].iloc[-1] < fits[0].history["x"].iloc[0] - 5


def test_gmvae_finds_the_groups_of_a_table():
    X, group = blobs()
    assert purity(parts_of(best(fit(GMVAE(n_components=4), X, Table(10), (0, 1, 2))), X), group) > 0.98


def test_a_component_draws_one_group():
    X, group = patterns()
    centres = np.stack([X[group == g].mean(0) for g in range(5)])
    for model in (VaDE(n_components=5), GMVAE(n_components=5, c_floor=1.6)):
        fitted = best(fit(model, X, Bernoulli(), (0, 1, 2)))
        law, seen = model.prior(fitted.net), []
        for c in range(5):
            codes, parts = law.sample_components(60, 0, component=c)
            with torch.no_grad():
                drawn = fitted.net.decode(torch.as_tensor(codes)[None])[0].sigmoid().numpy()
            nearest = np.square(drawn[:, None] - centres).sum(-1).argmin(1)
            assert (parts == c).all() and np.bincount(nearest).max() >= 54
            seen.append(np.bincount(nearest).argmax())
        assert sorted(seen) == list(range(5))


# ---- laws and their networks

def net_of(model, n_replicates=1, d=6, latent=3):
    net = initialise(model.make_net(d, (7,), latent, "relu")(n_replicates), [torch_generator(s) for s in range(n_replicates)])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.5 * torch.randn(parameter.shape, generator=torch_generator(9))
    return net


@pytest.mark.parametrize("model", [VaDE(n_components=4), VampPrior(n_components=4)], ids=["vade", "vamp_vae"])
def test_the_law_has_the_network_s_density(model):
    net, z = net_of(model), torch.randn(1, 20, 3, generator=torch_generator(1))
    with torch.no_grad():
        log_weights, means, logvars = net.mixture()
        ours = torch.logsumexp(log_weights + log_components(z, means, logvars), -1)[0]
    np.testing.assert_allclose(model.prior(net).log_density(z[0].numpy()), ours.numpy(), rtol=1e-4)


def test_the_bent_law_is_the_network_s():
    model = GMVAE(n_components=3, w_dim=2, prior_hidden=(5, 4))
    net = net_of(model)
    law = model.prior(net)
    w = torch.randn(1, 12, 2, generator=torch_generator(2))
    with torch.no_grad():
        _, means, logvars = net.mixture(w)
    found = law.bells(w[0].double().numpy())
    np.testing.assert_allclose(found[0], means[0], atol=1e-4); np.testing.assert_allclose(found[1], logvars[0], atol=1e-4)
    codes, parts = law.sample_components(60_000, 0)
    bell_means, bell_logvars = law.bells(np.random.default_rng(1).standard_normal((60_000, 2)))
    for c in range(3):                                                    # moments of each component, the bends averaged out
        assert abs((parts == c).mean() - 1 / 3) < 0.01
        np.testing.assert_allclose(codes[parts == c].mean(0), bell_means[:, c].mean(0), atol=0.06)
        spread = np.exp(bell_logvars[:, c]).mean(0) + bell_means[:, c].var(0)
        np.testing.assert_allclose(codes[parts == c].var(0), spread, rtol=0.1)
    again = law_from_state(*law.get_state())
    assert isinstance(again, BentMixture)
    np.testing.assert_array_equal(again.sample(9, 3)[0], law.sample(9, 3)[0])
    np.testing.assert_array_equal(law.sample_components(3, 0, component=[2, 0, 1])[1], [2, 0, 1])
    with pytest.raises(InputError, match="0 to 2"):
        law.sample(2, component=-1)
    with pytest.raises(InputError, match="law='gmm'"):
        law.fit(codes)


# ---- terms

def random_mixture(seed=0, K=2, n=7, C=3, d=2):
    g = torch_generator(seed)

    def draw(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    mu, logvar = draw(K, n, d), draw(K, n, d)
    return mu + (logvar / 2).exp() * draw(K, n, d), mu, logvar, draw(K, 1, C).log_softmax(-1), 2 * draw(K, 1, C, d), draw(K, 1, C, d)


def test_terms_by_hand():
    z, mu, logvar, log_weights, means, logvars = random_mixture()
    found = mixture_terms(z, mu, logvar, log_weights, means, logvars)
    for k in range(2):
        for i in range(7):
            density, kl = [], []
            for c in range(3):
                m, v, s2 = means[k, 0, c], logvars[k, 0, c].exp(), logvar[k, i].exp()
                density.append(math.exp(log_weights[k, 0, c] - 0.5 * float(((z[k, i] - m) ** 2 / v + torch.log(2 * math.pi * v)).sum())))
                kl.append(0.5 * float((torch.log(v / s2) + (s2 + (mu[k, i] - m) ** 2) / v - 1).sum()))
            shares = np.array(density) / sum(density)
            assert float(found["z"][k, i]) == pytest.approx(float(shares @ kl), rel=1e-9)
            assert float(found["c"][k, i]) == pytest.approx(sum(s * (math.log(s) - float(log_weights[k, 0, c])) for c, s in enumerate(shares) if s > 0), rel=1e-6, abs=1e-12)


def test_far_codes_do_not_break_the_shares():
    z, mu, logvar, *mixture = random_mixture()
    terms = mixture_terms(z + 1e4, mu, logvar, *mixture)
    assert all(t.isfinite().all() for t in terms.values())
    assert component_shares(z + 1e4, *mixture).exp().sum(-1).allclose(torch.ones(2, 7, dtype=torch.float64))


def test_one_standard_component_is_the_vae():
    net, model = net_of(VaDE(n_components=1), 2), VaDE(n_components=1)
    plain = VAE().make_net(6, (7,), 3, "relu")(2)
    plain.load_state_dict({name: value for name, value in net.state_dict().items() if name in plain.state_dict()})
    with torch.no_grad():
        net.means.weight.zero_(); net.logvars.zero_()
    x, noise = torch.rand(2, 9, 6, generator=torch_generator(0)), torch.randn(2, 9, 3, generator=torch_generator(1))
    ours, theirs = model.objective(Bernoulli()).terms(net, x, noise), VAE().objective(Bernoulli()).terms(plain, x, noise)
    torch.testing.assert_close(ours["x"], theirs["x"])
    torch.testing.assert_close(ours["z"], theirs["kl"])
    assert ours["c"].abs().max() == 0


def test_the_vamp_estimate_is_exact_on_average():
    net, model = net_of(VampPrior(n_components=1)), VampPrior(n_components=1)
    x = torch.rand(1, 5, 6, generator=torch_generator(0))
    with torch.no_grad():
        _, means, logvars = net.mixture()
        mu, logvar = net.encode(x)
        prior = torch.distributions.Normal(means[:, 0], (logvars[:, 0] / 2).exp())
        exact = torch.distributions.kl_divergence(torch.distributions.Normal(mu, (logvar / 2).exp()), prior).sum(-1)
        noise = torch.randn(1, 5, 4000, 3, generator=torch_generator(1))
        draws = torch.stack([model.objective(Bernoulli()).terms(net, x, noise[:, :, i])["kl"] for i in range(4000)])
    assert ((draws.mean(0) - exact).abs() < 5 * draws.std(0) / 4000**0.5 + 1e-4).all()


def test_gmvae_that_ignores_w_is_vade_with_equal_weights():
    gm, model, vade = net_of(GMVAE(n_components=4), 2), GMVAE(n_components=4), net_of(VaDE(n_components=4), 2)
    x, noise = torch.rand(2, 9, 6, generator=torch_generator(0)), torch.randn(2, 9, 6, generator=torch_generator(1))
    with torch.no_grad():
        gm.components.layers[0].weight.zero_()
        _, means, logvars = gm.mixture(torch.zeros(2, 1, 3))
        vade.logits.zero_(); vade.means.weight.copy_(means[:, 0]); vade.logvars.copy_(logvars[:, 0])
        mu, logvar = gm.encode(x)
        wanted = mixture_terms(mu + (logvar / 2).exp() * noise[..., :3], mu, logvar, *vade.mixture())
        found = model.objective(Bernoulli()).terms(gm, x, noise)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-4)
    assert model.objective(Bernoulli()).floors == {} and GMVAE(c_floor=2.0).objective(Bernoulli()).floors == {"c": 2.0}


def test_the_floor_keeps_the_choice_alive():
    X, _ = patterns()
    free, held = (fit(GMVAE(n_components=5, c_floor=f), X, Bernoulli(), (1,), n_epochs=40)[0].history["c"].iloc[-1] for f in (0.0, 1.6))
    assert held > 1.3 and held > free


# ---- starts

def test_vamp_starts_at_rows_and_changes_no_other_weight():
    X = np.random.default_rng(0).random((30, 8))
    model, jobs = VampPrior(n_components=6), [Job(np.arange(5, 25), s, VampPrior().params(), None, np.full(8, 0.5), np.full(8, 2.0)) for s in (3, 4)]
    make = model.make_net(8, (7,), 2, "relu")
    started = model.start(X, jobs, make, Table(8), TrainConfig(device="cpu"))
    for f, job in zip(started, jobs):
        pseudo, scaled = f.net.pseudo.weight[0].detach().numpy(), ((X[5:25] - 0.5) * 2).astype(np.float32)
        assert [np.isclose(scaled, row, atol=1e-6).all(1).any() for row in pseudo] == [True] * 6
        fresh = initialise(make(1), [torch_generator(spawn_seeds(job.random_state, 4)[0])]).state_dict()
        assert all(torch.equal(value, fresh[name]) for name, value in f.net.state_dict().items() if name != "pseudo.weight")
    assert not torch.equal(started[0].net.pseudo.weight, started[1].net.pseudo.weight)
    few = model.start(X, [Job(np.arange(3), 0)], make, Table(8), TrainConfig(device="cpu"))[0]      # fewer rows than components: repeated
    assert few.net.pseudo.weight.shape == (1, 6, 8)


def test_scaled_rows_are_bounded_and_scaled():
    X = np.arange(50.0)[:, None]
    job = Job(np.arange(10, 50), 0, shift=np.array([10.0]), scale=np.array([0.5]))
    np.testing.assert_allclose(scaled_rows(X, job)[:, 0], (np.arange(10, 50) - 10) / 2)
    assert len(scaled_rows(X, job, limit=7)) == 7 and torch.equal(scaled_rows(X, job, 7), scaled_rows(X, job, 7))


def test_vade_starts_at_a_mixture_of_its_own_rows():
    X, group = blobs()
    rows = [np.flatnonzero(group < 2), np.arange(len(X))]
    model = VaDE(n_components=2, pretrain_epochs=20)
    jobs = [Job(r, 0, model.params()) for r in rows]
    config = TrainConfig(n_epochs=0, batch_size=50, learning_rate=3e-3, device="cpu")
    started = model.start(X, jobs, model.make_net(10, (48,), 2, "relu"), Table(10), config)
    alone = model.start(X, jobs[:1], model.make_net(10, (48,), 2, "relu"), Table(10), config)
    assert [f.n_epochs for f in started] == [20, 20]
    torch.testing.assert_close(started[0].net.means.weight, alone[0].net.means.weight, atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(np.sort(started[0].net.mixture()[0].detach().exp().numpy().ravel()), np.sort(np.bincount(group[rows[0]]) / len(rows[0])), atol=0.02)
    assert started[0].history["x"].iloc[-1] < started[0].history["x"].iloc[0] / 2


def test_vade_with_fewer_rows_than_components_says_so():
    with pytest.raises(InputError, match="n_components=12.*10 codes"):
        GenerativeAutoencoder(model=VaDE(n_components=12, pretrain_epochs=1), latent_dim=2, hidden_dims=(4,), n_epochs=1, random_state=0).fit(
            np.random.default_rng(0).random((10, 4, 4)))


@pytest.mark.filterwarnings("ignore:.*reconstructs the rows")
def test_ctrl_c_in_the_pre_training_leaves_a_usable_model(monkeypatch):
    def interrupted(*args):
        raise TrainingInterrupted(train_bank(*args))

    monkeypatch.setattr(mixture_priors, "train_bank", interrupted)
    sampler = GenerativeAutoencoder(model=VaDE(n_components=2, pretrain_epochs=1), latent_dim=2, hidden_dims=(4,), n_epochs=3, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        sampler.fit(np.random.default_rng(0).random((30, 4, 4)))
    assert sampler.interrupted_ and sampler.sample(3).shape == (3, 4, 4)


@pytest.mark.filterwarnings("ignore:.*reconstructs the rows", "ignore:.*mixture components are flat")
@pytest.mark.parametrize("model", [VaDE(n_components=5, pretrain_epochs=3), GMVAE(n_components=5), VampPrior(n_components=5)], ids=["vade", "gmvae", "vamp_vae"])
def test_sampling_by_component(model):
    X, _ = patterns(200)
    fitted = GenerativeAutoencoder(model=model, latent_dim=2, hidden_dims=(16,), n_epochs=3, random_state=0).fit(X.reshape(-1, 8, 8))
    every = fitted.sample(20, component=np.repeat(np.arange(5), 4), random_state=0)
    assert every.shape == (20, 8, 8)
    assert not np.array_equal(fitted.sample(20, component=0, random_state=0), fitted.sample(20, component=1, random_state=0))
    with pytest.raises(InputError):
        fitted.sample(2, component=5)
