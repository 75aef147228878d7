"""LRA-VAE and the latent cycle: the limit gamma = 0, the closed form, the control, reference laws, containers, saving, bad input, check suites, cost."""
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.utils.estimator_checks import parametrize_with_checks as imblearn_checks
from scipy.stats import chi2, spearmanr
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks as sklearn_checks

from augment_lib.core import InputError, torch_generator
from augment_lib.david import DAVID
from augment_lib.gae import GAE
from augment_lib.generative import GenerativeAutoencoder
from augment_lib.generator import fit_generators
from augment_lib.latent_cycle import consistent, cycle, elbo, latent_reconstruction_error, linear_lre, linear_net, partial_spearman, posterior_log_density
from augment_lib.leo_cvae import LEOCVAE
from augment_lib.likelihoods import Bernoulli, Table
from augment_lib.lra_vae import AVAE, LRA, LRAVAE, Shell, choose_gamma, codes_from, largest_gamma
from augment_lib.nets import VAENet, initialise
from augment_lib.steps import Job, TrainConfig
from augment_lib.training import train_bank
from augment_lib.vae_zoo import VAE

pytestmark = pytest.mark.filterwarnings("ignore:.*reconstructs the rows with R2:UserWarning", "ignore:The given NumPy array is not writable:UserWarning",
                                        "ignore:.*mixture components are flat:UserWarning", "ignore:LEOCVAE reconstructs:UserWarning", "ignore:DAVID reconstructs:UserWarning")
IMAGES = (load_digits().data.reshape(-1, 8, 8) / 16).astype(np.float32)[:600]
QUICK = dict(hidden_dims=(24,), latent_dim=4, n_epochs=4, batch_size=50, learning_rate=3e-3, random_state=0, device="cpu")
SMALL = dict(hidden_dims=(8,), latent_dim=2, n_epochs=3, random_state=0, device="cpu")


@pytest.fixture(scope="module")
def vae():
    return LRAVAE(gamma=0, **QUICK).fit(IMAGES)


@pytest.fixture(scope="module")
def lra():
    return LRAVAE(gamma=1, **QUICK | {"n_epochs": 10}).fit(IMAGES)


def weights_of(sampler):
    return list(sampler._nets[0].state_dict().values())


def same(a, b):
    return all(x.equal(y) for x, y in zip(weights_of(a), weights_of(b)))


# ---- gamma = 0 is the VAE, and gamma is paired

@pytest.mark.parametrize("X, options", [(IMAGES, QUICK), (load_iris(as_frame=True).data, SMALL)], ids=["pictures", "table"])
def test_gamma_zero_is_the_vae_bit_for_bit(X, options):
    zero = LRAVAE(gamma=0, **options).fit(X)
    plain = GenerativeAutoencoder(model=VAE(beta=zero.beta_), **options).fit(X)
    assert same(zero, plain) and np.array_equal(zero.sample(20, random_state=1), plain.sample(20, random_state=1))
    pd.testing.assert_frame_equal(zero.history_, plain.history_)
    assert same(LRAVAE(gamma=1e-35, **options).fit(X), zero)                      # the third term is computed, and weighs nothing
    assert not same(LRAVAE(gamma=0.1, **options).fit(X), zero)


def test_seeds_in_one_bank_equal_single_fits():
    samplers = fit_generators([LRAVAE(**QUICK | {"random_state": seed, "n_epochs": 2}) for seed in range(3)], IMAGES[:200])
    alone = LRAVAE(**QUICK | {"random_state": 2, "n_epochs": 2}).fit(IMAGES[:200])
    for a, b in zip(weights_of(samplers[2]), weights_of(alone)):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_defaults_of_pictures_tables_and_paper():
    assert (LRAVAE(preset="paper").gamma_, LRAVAE(gamma=3, preset="paper").gamma_) == (0.001, 3)
    pictures, table = LRAVAE(n_epochs=1, random_state=0).fit(IMAGES[:60]), LRAVAE(n_epochs=1, random_state=0).fit(load_iris().data)
    assert (pictures.gamma_, pictures.beta_, pictures.settings_["hidden_dims"], pictures.settings_["batch_size"]) == (1.0, 1.0, (512, 256), 128)
    assert (table.gamma_, table.beta_, table.settings_["hidden_dims"]) == (0.02, 0.02, (128, 64)) and "lre" in table.history_


def test_larger_gamma_smaller_error(vae):
    outside = np.random.default_rng(0).standard_normal((400, 4)) * 2**0.5
    found = [latent_reconstruction_error(LRAVAE(gamma=gamma, **QUICK | {"n_epochs": 10}).fit(IMAGES), outside).mean() for gamma in (0, 1, 10)]
    assert found[0] > 1.5 * found[1] > 1.5 * 1.5 * found[2]


# ---- the objective

def toy(n=7, d=5, latent=3, K=2):
    net = initialise(VAENet(K, d, (8,), latent), [torch_generator(s) for s in range(K)])
    return net, torch.rand(K, n, d, generator=torch_generator(1)), torch.randn(K, n, latent, generator=torch_generator(2))


@pytest.mark.parametrize("draws, n_draws", [(1.0, 7), (0.5, 4), (0.3, 2), (0.01, 1)])
@pytest.mark.parametrize("likelihood", [Bernoulli(), Table(3, ((3, 5),))], ids=["pixels", "mixed"])
def test_term_is_the_error_of_the_first_draws(draws, n_draws, likelihood):
    net, x, noise = toy()
    term = LRA(draws=draws, reference_law=(1.0, 0.5)).objective(likelihood).terms(net, x, noise)["lre"]
    z = 1 + 0.5 * noise[:, :n_draws]
    by_hand = (net.encode(likelihood.mean(net.decode(z)))[0] - z).square().sum(-1)
    for column in term.unbind(1):
        assert (column[:, None] - by_hand).abs().min(1).values.max() < 1e-6                     # every entry is one of the draws
    assert term.unique(dim=1).shape[1] == n_draws                                              # and all of them are there


def test_sampled_encoder_adds_its_variance():
    net, x, _ = toy()
    noise = torch.randn(2, 40_000, 3, generator=torch_generator(4))
    rows = torch.zeros(2, 40_000, 5)
    mean, sample = (LRA(code=code).objective(Bernoulli()).terms(net, rows, noise)["lre"].mean(1) for code in ("mean", "sample"))
    z = 2**0.5 * noise[:, :20_000]
    variance = net.encode(torch.sigmoid(net.decode(z)))[1].exp().sum(-1).mean(1)
    torch.testing.assert_close(sample, mean + variance, rtol=0.02, atol=0.02)


def test_gradients_reach_both_halves_unless_frozen():
    net, x, noise = toy()
    terms = LRA().objective(Bernoulli()).terms(net, x, noise)
    assert all(g is not None and g.abs().sum() > 0 for g in torch.autograd.grad(terms["lre"].sum(), [net.decoder.layers[0].weight, net.encoder.layers[0].weight]))
    frozen = LRA(trained="encoder").make_net(5, (8,), 3, "relu")(2)
    assert not any(p.requires_grad for p in frozen.decoder.parameters()) and list(frozen.phase_parameters("encoder")) == list(frozen.encoder.parameters())


def test_avae_is_zero_only_at_agreement():
    net, x, noise = toy()
    term = AVAE().objective(Bernoulli()).terms(net, x, noise)["consistency"]
    assert (term > 0).all()
    fitted = GenerativeAutoencoder(model=AVAE(), **QUICK).fit(IMAGES)
    assert {"x", "kl", "consistency"} <= set(fitted.history_) and fitted.history_.consistency.is_monotonic_decreasing
    with pytest.raises(InputError, match="rho=1"):
        AVAE(rho=1.0).objective(Bernoulli())


# ---- the closed form

@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(0, 4), st.floats(0.01, 4), st.integers(0, 10**6))
def test_closed_form_of_the_linear_vae(latent, more, variance, seed):
    rng = np.random.default_rng(seed)
    W, Z = rng.standard_normal((latent + more, latent)), rng.standard_normal((6, latent)) * 2
    net = linear_net(W, variance)
    with torch.no_grad():
        back = net.encode(net.decode(torch.as_tensor(Z)[None]))[0][0].numpy()
    M = W.T @ W + variance * np.eye(latent)
    by_inverse = np.square(variance * Z @ np.linalg.inv(M)).sum(1)                 # M is symmetric
    np.testing.assert_allclose(((Z - back) ** 2).sum(1), by_inverse, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(linear_lre(W, variance, Z), by_inverse, rtol=1e-6, atol=1e-15)
    np.testing.assert_allclose(linear_lre(W, variance, 2 * Z), 4 * by_inverse, rtol=1e-6, atol=1e-15)


def test_trained_linear_vae_obeys_it():
    rng = np.random.default_rng(1)
    rows = (rng.standard_normal((1500, 2)) @ (rng.standard_normal((6, 2)) * [2, 0.8]).T + rng.standard_normal((1500, 6)) * 0.5**0.5).astype(np.float32)
    config = TrainConfig(n_epochs=60, batch_size=100, learning_rate=1e-2, device="cpu", schedule=lambda epoch: 0.93**epoch)
    model = VAE()
    net = train_bank(rows, [Job(np.arange(1500), 0, model.params())], lambda K: VAENet(K, 6, (), 2), model.objective(Table(6)), config)[0].net
    Z = rng.standard_normal((40, 2))
    with torch.no_grad():
        offset = net.encode(net.decode(torch.zeros(1, 1, 2)))[0][0].numpy()
        back = net.encode(net.decode(torch.as_tensor(Z, dtype=torch.float32)[None]))[0][0].numpy() - offset
    assert np.median(np.abs(((Z - back) ** 2).sum(1) / linear_lre(net.decoder.layers[0].weight[0].T.detach().numpy(), 0.5, Z) - 1)) < 0.2


# ---- the cycle of any model

def test_cycle_equals_decode_and_encode(vae):
    Z = np.random.default_rng(0).standard_normal((30, 4))
    np.testing.assert_allclose(cycle(vae, Z), vae.encode(vae.decode(Z)), atol=1e-5)
    np.testing.assert_allclose(cycle(vae, Z, hard=True), vae.encode(vae.decode(Z)), atol=1e-6)
    np.testing.assert_allclose(latent_reconstruction_error(vae, Z), ((Z - cycle(vae, Z)) ** 2).sum(1))


def test_hard_cycle_rounds_bytes():
    fitted = LRAVAE(gamma=0, likelihood="bernoulli", **QUICK | {"n_epochs": 1}).fit((IMAGES > 0.5).astype(np.uint8))
    Z = np.random.default_rng(0).standard_normal((30, 4))
    assert not np.allclose(cycle(fitted, Z), cycle(fitted, Z, hard=True), atol=1e-3)
    np.testing.assert_allclose(cycle(fitted, Z, hard=True), fitted.encode(fitted.decode(Z)), atol=1e-6)


def test_every_autoencoder_of_the_house_has_an_error():
    X, y = load_iris(return_X_y=True, as_frame=True)
    Z = np.random.default_rng(0).standard_normal((5, 2))
    for model in (GAE(delta=0, n_components=1, **SMALL).fit(X), LRAVAE(**SMALL).fit(X), LRAVAE(task="regression", **SMALL).fit(X, X.iloc[:, 0]),
                  LRAVAE(n_replicates=2, **SMALL).fit(X)):
        found = latent_reconstruction_error(model, Z)
        assert found.shape == (5,) and np.isfinite(found).all() and (found > 0).all()
    two = LRAVAE(n_replicates=2, **SMALL).fit(X)
    assert not np.allclose(latent_reconstruction_error(two, Z), latent_reconstruction_error(two, Z, replicate=1))
    david = DAVID(n_epochs=3, random_state=0).fit(X.iloc[:, :3], X.iloc[:, 3])
    d = david._codes[0].shape[1]
    assert latent_reconstruction_error(david, np.zeros((4, d))).shape == (4,)
    leo = LEOCVAE(n_epochs=2, latent_dim=2, hidden_dims=(8,), random_state=0).fit(X, y)
    assert latent_reconstruction_error(leo, Z, y=np.zeros(5, int)).shape == (5,)


class Halver:
    "A stranger: decode doubles, encode divides by four."
    def decode(self, Z): return 2 * Z
    def encode(self, X): return X / 4


def test_strangers_and_repeated_cycles():
    Z = np.array([[1.0, 0], [0, 4]])
    np.testing.assert_allclose(latent_reconstruction_error(Halver(), Z), [0.25, 4])
    rounds = consistent(Halver(), Z, n_cycles=3, tolerance=0.7)
    np.testing.assert_allclose(rounds.codes, Z / 8)
    np.testing.assert_allclose(rounds.distance, np.array([7 / 8, 7 / 2]) / 2**0.5)
    np.testing.assert_allclose(rounds.last_step, np.array([1 / 8, 1 / 2]) / 2**0.5)
    assert rounds.is_consistent.tolist() == [True, False]


def test_error_and_density(vae):
    Z = np.random.default_rng(0).standard_normal((500, 4)) * 2
    density, error = posterior_log_density(vae, Z), latent_reconstruction_error(vae, Z)
    assert spearmanr(density, error)[0] < 0
    mu, sd = vae._codes[0].astype(float), np.exp(0.5 * vae._logvars[0].astype(float))
    one = np.float32(Z[7]).astype(float)
    by_hand = np.log(np.mean(np.prod(np.exp(-0.5 * ((one - mu) / sd) ** 2) / sd / np.sqrt(2 * np.pi), axis=1)))
    assert abs(density[7] - by_hand) < 1e-4
    assert np.isfinite(posterior_log_density(vae, Z * 30)).all() and posterior_log_density(vae, Z, n_rows=10).shape == (500,)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(12, 60))
def test_partial_correlation_is_that_of_the_three(seed, n):
    x, y, given_ = np.random.default_rng(seed).standard_normal((3, n))
    xy, xz, yz = spearmanr(x, y)[0], spearmanr(x, given_)[0], spearmanr(y, given_)[0]
    assert np.isclose(partial_spearman(x, y, given_), (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)), atol=1e-9) or max(abs(xz), abs(yz)) > 0.999
    assert np.isclose(partial_spearman(x, y, given_), partial_spearman(y, x, given_)) and np.isclose(partial_spearman(np.exp(x), y, given_), partial_spearman(x, y, given_))


def test_elbo_is_what_training_minimised(vae, lra):
    last = lra.history_.iloc[-1]
    assert abs(-elbo(lra, IMAGES, n_draws=5).mean() / (last.x + last.kl) - 1) < 0.06
    assert np.isclose(elbo(vae, IMAGES, beta=0).mean() - elbo(vae, IMAGES, beta=2).mean(), 2 * (elbo(vae, IMAGES, beta=0).mean() - elbo(vae, IMAGES).mean()))


# ---- reference laws and regions

@pytest.mark.parametrize("low, high", [(0.0, 0.5), (0.9, 1.0), (0.95, 0.99), (0.999, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize("d", [1, 2, 20])
def test_shell_is_the_prior_between_two_quantiles(low, high, d):
    noise = np.random.default_rng(0).standard_normal((4000, d))
    codes = Shell(low, high)(noise)
    share = chi2.cdf(np.square(codes.astype(float)).sum(1), d)
    assert share.min() >= low - 1e-5 and share.max() <= high + 1e-5
    assert np.abs(np.quantile((share - low) / (high - low), [0.1, 0.5, 0.9]) - [0.1, 0.5, 0.9]).max() < 0.04       # uniform within
    cosine = (codes * noise).sum(1) / np.linalg.norm(codes, axis=1) / np.linalg.norm(noise, axis=1)
    np.testing.assert_allclose(cosine, 1, atol=1e-5)                                                              # directions are kept
    torch.testing.assert_close(Shell(low, high)(torch.as_tensor(noise)), torch.as_tensor(codes, dtype=torch.float64), rtol=1e-5, atol=1e-6)


def test_reference_laws_take_part_in_training():
    fits = {name: LRAVAE(reference_law=law, **QUICK).fit(IMAGES) for name, law in {"broad": "broad", "variance 2": (0, 2**0.5), "prior": "prior", "shell": Shell(0.9, 1), "near": ([1, 0, 0, 0], 0.3)}.items()}
    assert same(fits["broad"], fits["variance 2"]) and not any(same(fits["broad"], fits[name]) for name in ("prior", "shell", "near"))


def test_region_decides_where_rows_come_from(lra):
    at = lra.encode(IMAGES[:1])[0]
    assert np.allclose(lra.sample(5, region=(at, 0), random_state=0), lra.decode(at[None]), atol=1e-6)
    assert np.array_equal(lra.sample(9, region="prior", random_state=4), lra.sample(9, random_state=4))
    first = lra.sample(4, region="broad")
    assert not np.array_equal(first, lra.sample(4, region="broad")) and np.array_equal(lra.sample(4, region="broad", random_state=1), lra.sample(4, region="broad", random_state=1))
    assert lra.law is None and lra.settings_["law"] == "prior"                     # asking for a region changes nothing
    assert lra.sample(0, region="broad").shape == (0, 8, 8)


def test_regions_of_targets_and_classes():
    X, y = load_iris(return_X_y=True, as_frame=True)
    X_new, y_new = LRAVAE(task="regression", **SMALL).fit(X, y * 1.5).sample(6, region=(0, 2.0))
    assert list(X_new) == list(X) and len(y_new) == 6
    labelled = LRAVAE(labels=KNeighborsClassifier(), **SMALL).fit(X, y)
    assert set(labelled.sample(20, region="broad", random_state=0)[1]) <= {0, 1, 2}
    with pytest.raises(InputError, match="no class of its own"):
        LRAVAE(**SMALL).fit(X, y).sample(3, region="broad")
    with pytest.raises(InputError, match="no class of its own"):
        labelled.sample(3, region="broad", y=1)


@pytest.mark.parametrize("law, why", [((0, -1), "at least 0"), ((np.nan, 1), "finite"), ((0, np.inf), "finite"), ("wide", "wide"), (7, "expected 'broad'"), ((0, 1, 2), "expected 'broad'"),
                                      ((np.zeros(3), 1), "codes have 4"), (Shell(0.5, 0.5), "low < high"), (Shell(-0.1), "low < high"), (np.ones((2, 2)), "expected 'broad'"),
                                      (lambda noise: noise[..., :2], "the same shape")])
def test_bad_laws_are_refused(lra, law, why):
    with pytest.raises(InputError, match=why):
        lra.sample(3, region=law)
    with pytest.raises(InputError, match=why):
        LRAVAE(reference_law=law, **QUICK | {"n_epochs": 1}).fit(IMAGES[:60])


def test_region_with_missing_numbers(lra):
    with pytest.raises(InputError, match="region holds NaN"):
        lra.sample(3, region=lambda noise: noise * np.nan)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.floats(0, 3))
def test_paths_are_straight(lra, n_steps, beyond):
    a, b = lra.encode(IMAGES[[3, 40]])
    path = lra.interpolate(a, b, n_steps, extrapolate=beyond)
    assert len(path.t) == len(path.codes) == len(path.rows) == len(path.error) == n_steps
    np.testing.assert_allclose(path.codes[[0, -1]], [a - beyond * (b - a), b + beyond * (b - a)], atol=1e-4)
    np.testing.assert_allclose(np.diff(path.codes, axis=0), np.tile((b - a) * (1 + 2 * beyond) / (n_steps - 1), (n_steps - 1, 1)), atol=1e-4)


# ---- going on, and the control

def test_start_from_goes_on(vae):
    went_on = LRAVAE(gamma=0, **QUICK | {"n_epochs": 1}).fit(IMAGES, start_from=vae)
    assert went_on.history_.total.iloc[0] < vae.history_.total.iloc[0] * 0.8 and not same(went_on, vae)
    sizes = {name: value for name, value in QUICK.items() if name not in ("hidden_dims", "latent_dim")}
    near = LRAVAE(gamma=5, reference_law=([0.5] * 4, 0.3), **sizes).fit(IMAGES, start_from=vae)                 # takes the sizes over
    assert near.settings_["hidden_dims"] == (24,) and near.settings_["latent_dim"] == 4
    around = 0.5 + 0.3 * np.random.default_rng(0).standard_normal((200, 4))
    assert latent_reconstruction_error(near, around).mean() < 0.5 * latent_reconstruction_error(vae, around).mean()
    assert same(LRAVAE(gamma=0, **QUICK).fit(IMAGES), vae)                                                        # nothing is left behind


def test_retrained_sampler_forgets_its_start(vae):
    sampler = LRAVAE(gamma=0, **QUICK)
    sampler.fit(IMAGES, start_from=vae)
    assert same(sampler.fit(IMAGES), vae) and same(clone(sampler).fit(IMAGES), vae)


def test_control_moves_the_encoder_only(vae):
    control = LRAVAE(gamma=1, trained="encoder", **QUICK | {"n_epochs": 10}).fit(IMAGES, start_from=vae)
    for half, moved in (("decoder", False), ("encoder", True)):
        pairs = zip(getattr(control._nets[0], half).parameters(), getattr(vae._nets[0], half).parameters())
        assert all(a.equal(b) != moved for a, b in pairs)
    outside = np.random.default_rng(0).standard_normal((300, 4)) * 2
    assert latent_reconstruction_error(control, outside).mean() < 0.9 * latent_reconstruction_error(vae, outside).mean()
    assert np.array_equal(control.sample(10, region="broad", random_state=0), vae.sample(10, region="broad", random_state=0))


@pytest.mark.parametrize("options, why", [(dict(latent_dim=3), "start_from is a LRAVAE"), (dict(hidden_dims=(9,)), "hidden_dims"), (dict(n_replicates=2), "n_replicates=2")])
def test_starts_that_do_not_fit(vae, options, why):
    with pytest.raises(InputError, match=why):
        LRAVAE(**QUICK | options).fit(IMAGES, start_from=vae)


def test_starts_without_a_posterior_or_without_training(vae):
    with pytest.raises(InputError, match="without log variances"):
        LRAVAE(**QUICK).fit(IMAGES, start_from=GAE(delta=0, n_components=1, **QUICK | {"n_epochs": 1}).fit(IMAGES))
    with pytest.raises(NotFittedError):
        LRAVAE(**QUICK).fit(IMAGES, start_from=LRAVAE(**QUICK))
    with pytest.raises(InputError, match="start_from=fitted"):
        LRAVAE(trained="encoder", **QUICK).fit(IMAGES)


# ---- the rest of the face

@pytest.mark.parametrize("options, why", [(dict(gamma=-1), "gamma"), (dict(gamma=np.nan), "gamma"), (dict(beta=-1), "beta"), (dict(draws=0), "draws"), (dict(draws=1.5), "draws"),
                                          (dict(code="mode"), "code"), (dict(trained="decoder"), "trained"), (dict(latent_dim=0), "latent_dim"), (dict(preset="fast"), "preset")])
def test_bad_arguments(options, why):
    with pytest.raises(InputError, match=why):
        LRAVAE(**QUICK | options).fit(IMAGES[:60])


def test_bad_codes(lra):
    for call in (lambda: lra.interpolate(np.zeros(3), np.zeros(4)), lambda: cycle(lra, np.zeros(4)), lambda: cycle(lra, np.zeros((2, 3)))):
        with pytest.raises(InputError, match="shape"):
            call()
    with pytest.raises(InputError, match="first in row 1"):
        lra.consistent([[0, 0, 0, 0], [0, np.inf, 0, 0]])
    for function in (LRAVAE().sample, lambda: LRAVAE().interpolate([0], [1]), lambda: cycle(LRAVAE(), [[0.0]]), lambda: elbo(LRAVAE(), IMAGES), lambda: LRAVAE().sample(2, region="broad")):
        with pytest.raises(NotFittedError):
            function()


@pytest.mark.parametrize("reference_law", ["broad", ([0.5, 0, 0, 1], 0.3), Shell(0.9, 1)], ids=str)
def test_save_and_load(tmp_path, reference_law):
    fitted = LRAVAE(gamma=0.3, reference_law=reference_law, **QUICK | {"n_epochs": 1}).fit(IMAGES[:80])
    fitted.save(tmp_path / "model")
    back = LRAVAE.load(tmp_path / "model")
    assert same(back, fitted) and back.gamma_ == 0.3 and np.array_equal(back.sample(5, region=Shell(), random_state=0), fitted.sample(5, region=Shell(), random_state=0))
    assert same(back.fit(IMAGES[:80]), fitted)                                      # the reference law came back, too


def test_control_can_be_saved(vae, tmp_path):
    control = LRAVAE(trained="encoder", **QUICK | {"n_epochs": 1}).fit(IMAGES, start_from=vae)
    control.save(tmp_path / "control")
    assert same(LRAVAE.load(tmp_path / "control"), control)


def test_a_function_cannot_be_saved(tmp_path):
    fitted = LRAVAE(reference_law=lambda noise: 2 * noise, **QUICK | {"n_epochs": 1}).fit(IMAGES[:80])
    with pytest.raises(InputError, match="reference_law"):
        fitted.save(tmp_path / "model")


def test_resampling_balances_classes_and_doubles_tables():
    X, y = load_iris(return_X_y=True, as_frame=True)
    few = np.r_[:50, 50:65, 100:150]
    X_res, y_res = LRAVAE(**SMALL).fit_resample(X.iloc[few], y.iloc[few])
    assert y_res.value_counts().tolist() == [50] * 3 and X_res.iloc[:115].equals(X.iloc[few])
    sampler = LRAVAE(n_synthetic=0.5, **SMALL)
    X_res, y_res = sampler.fit_resample(X, X.iloc[:, 0] * 1.1)
    assert len(X_res) == 225 and sampler.is_synthetic_.sum() == 75
    assert LRAVAE(**QUICK | {"n_epochs": 1}).fit_resample(IMAGES[:50]).shape == (100, 8, 8)


def test_rule_for_gamma():
    assert largest_gamma({0: 100, 0.1: 99, 1: 99.9, 10: 101}) == 1 and largest_gamma({0: 100, 0.1: 99, 1: 99.9, 10: 101}, 0.03) == 10
    assert largest_gamma({0: -100.0, 1: -99.5, 10: -98}) == 1                      # also for densities above 1, whose loss is negative
    assert largest_gamma({0: 1.0, 5: float("inf")}) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gamma, table = choose_gamma(LRAVAE(**QUICK), IMAGES, gammas=(0, 100))
    assert gamma == 0 and table.loss.iloc[1] > table.loss.iloc[0] and table.lre.iloc[1] < table.lre.iloc[0] and list(table) == ["gamma", "loss", "lre"]
    assert choose_gamma(LRAVAE(task="regression", **SMALL), *load_iris(return_X_y=True, as_frame=True), gammas=(0, 0.01))[0] in (0, 0.01)


# ---- the check suites, in full

BY_DESIGN = {"check_target_type": "demands an error for a continuous target, which is learnt with the row here"}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::sklearn.exceptions.SkipTestWarning")
@sklearn_checks([LRAVAE(n_epochs=5, random_state=0)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::UserWarning")
@imblearn_checks([LRAVAE(n_epochs=5, random_state=0)], expected_failed_checks=lambda estimator: BY_DESIGN)
def test_imbalanced_learn_checks(estimator, check):
    check(estimator)


def test_codes_follow_the_law_of_the_noise():
    noise = torch.randn(1, 9, 2, generator=torch_generator(0))
    assert codes_from("prior", noise).equal(noise) and torch.allclose(codes_from((1, 0), noise), torch.ones_like(noise))
