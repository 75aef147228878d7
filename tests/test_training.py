"""The one loop: a replicate is an ordinary network, the same seed gives the same bits, nothing is lost."""
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from augment_lib import training
from augment_lib.core import InputError, spawn_seeds, torch_generator
from augment_lib.nets import BankMLP, VAENet, initialise
from augment_lib.objectives import TableELBO
from augment_lib.training import Fitted, Job, TrainConfig, TrainingInterrupted, clip_per_replicate, train_bank

gpu = pytest.mark.gpu
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def table(n=200, d=4, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(n, 2))
    return (np.tanh(codes @ rng.normal(size=(2, d))) + 0.1 * rng.normal(size=(n, d))).astype(np.float32)


X = table()
GOLDEN = {0: 2.458141, 1: 2.701499, 2: 2.487588}          # mean loss of the fifth epoch, steps 17 to 20
ALL = np.arange(len(X))
BASE = TrainConfig(n_epochs=5, batch_size=50, device="cpu")


def make(**options):
    return lambda K: VAENet(K, X.shape[1], (8, 6), 2, **options)


def weights_of(fitted):
    return {name: tensor.cpu() for name, tensor in fitted.net.state_dict().items()}


def assert_same(a, b, tolerance=0.0):
    for name, tensor in weights_of(a).items():
        other = weights_of(b)[name]
        assert torch.equal(tensor, other) if tolerance == 0 else (tensor - other).abs().max() <= tolerance, name


def losses(fitted):
    return fitted.history["total"].to_numpy()


# ---- numbers that must not move ----

def test_golden_loss_after_20_steps():
    for seed, expected in GOLDEN.items():
        fitted, = train_bank(X, [Job(ALL, seed, {"beta": 0.1})], make(), TableELBO(4, target=3), BASE)      # 4 steps an epoch
        assert losses(fitted)[-1] == pytest.approx(expected, rel=1e-4), seed


def test_same_seed_same_bits_and_global_state_untouched():
    torch.manual_seed(0); before = torch.get_rng_state()
    a, = train_bank(X, [Job(ALL, 3)], make(dropout=0.2, batch_norm=True), TableELBO(4), BASE)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99); np.random.seed(5)
    b, = train_bank(X, [Job(ALL, 3)], make(dropout=0.2, batch_norm=True), TableELBO(4), BASE)
    c, = train_bank(X, [Job(ALL, 4)], make(dropout=0.2, batch_norm=True), TableELBO(4), BASE)
    assert_same(a, b)
    assert a.history.equals(b.history) and not a.history.equals(c.history)


# ---- replicate equals alone ----

def weights(n, seed):
    w = np.random.default_rng(seed).uniform(0.2, 2, n)
    return w / w.mean()


def bank_jobs():
    sizes = [200, 130, 87]                                      # unequal; none but the first is a multiple of 50

    def pick(k, n):
        return np.random.default_rng(k).permutation(200)[:n]

    return [Job(pick(k, n), 10 + k, {"beta": 0.05 * (k + 1)}, weights(n, k), np.full(4, 0.1 * k, np.float32), np.full(4, 1 + 0.2 * k, np.float32))
            for k, n in enumerate(sizes)]


CASES = {
    "plain": ({}, {}),
    "dropout": ({"dropout": 0.3}, {}),
    "batch_norm": ({"batch_norm": True}, {}),
    "dropout_and_norm": ({"dropout": 0.2, "batch_norm": True}, {}),
    "clipping": ({}, {"clip_norm": 0.05}),
    "adam_decay": ({}, {"weight_decay": 0.1}),
    "adamw_decay": ({}, {"optimizer": "adamw", "weight_decay": 0.1}),
    "schedule": ({}, {"schedule": lambda epoch: 1 / (1 + epoch)}),
    "drop_last": ({}, {"drop_last": True}),
    "sum": ({}, {"reduction": "sum"}),
    "autoencoder": ({}, {"variational": False}),
    "condition": ({"n_conditions": 2}, {}),
    "gelu": ({"activation": "gelu", "decoder_dims": (5,)}, {}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("precision, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
def test_replicate_equals_alone(name, precision, tolerance):
    options, settings = CASES[name]
    conditions = np.random.default_rng(1).normal(size=(200, 2)).astype(np.float32) if "n_conditions" in options else None
    config = replace(BASE, precision=precision, n_epochs=20, learning_rate=2e-3, **settings)
    together = train_bank(X, bank_jobs(), make(**options), TableELBO(4, target=0), config, conditions)
    for job, fitted in zip(bank_jobs(), together):
        alone, = train_bank(X, [job], make(**options), TableELBO(4, target=0), config, conditions)
        assert_same(fitted, alone, tolerance)
        np.testing.assert_allclose(losses(fitted), losses(alone), rtol=max(tolerance, 1e-9) * 10)
        assert losses(fitted)[-1] < losses(fitted)[0] or "schedule" in name


def test_replicate_equals_alone_for_2000_steps_in_float64():
    config = replace(BASE, precision="float64", n_epochs=500, clip_norm=1.0, weight_decay=1e-3)        # job 0: 2,000 steps
    jobs = bank_jobs()[:2]
    together = train_bank(X, jobs, make(dropout=0.1, batch_norm=True), TableELBO(4), config)
    alone, = train_bank(X, jobs[:1], make(dropout=0.1, batch_norm=True), TableELBO(4), config)
    assert_same(together[0], alone, 1e-10)


def test_learning_rates_and_warm_up_per_job():
    jobs = [Job(ALL, 1, {"learning_rate": 1e-3, "beta": lambda epoch: min(1, epoch / 3)}), Job(ALL[:60], 2, {"learning_rate": 4e-4, "beta": 0.3})]
    config = replace(BASE, precision="float64")
    for job, fitted in zip(jobs, train_bank(X, jobs, make(), TableELBO(4), config)):
        assert_same(fitted, train_bank(X, [job], make(), TableELBO(4), config)[0], 1e-10)


def test_a_learning_rate_that_warms_up_from_zero_trains():
    job = Job(ALL, 1, {"learning_rate": lambda epoch: 1e-2 * min(1, epoch / 2)})
    fitted, = train_bank(X, [job], make(), TableELBO(4), replace(BASE, n_epochs=8))
    assert losses(fitted)[-1] < 0.9 * losses(fitted)[0]


def test_schedule_equals_torch_at_that_rate():
    "A constant factor is the same as a smaller learning rate."
    half, = train_bank(X, [Job(ALL, 1)], make(), TableELBO(4), replace(BASE, precision="float64", schedule=lambda e: 0.5, learning_rate=2e-3))
    plain, = train_bank(X, [Job(ALL, 1)], make(), TableELBO(4), replace(BASE, precision="float64", learning_rate=1e-3))
    assert_same(half, plain, 1e-12)


def test_against_a_loop_written_with_torch_only():
    "One replicate, float64, no noise: torch.nn.Linear and torch.optim.Adam over the same batches."
    config = replace(BASE, precision="float64", variational=False, n_epochs=3, weight_decay=0.01, learning_rate=1e-2)
    w = weights(130, 0)
    job = Job(ALL[:130], 5, weights=w)
    fitted, = train_bank(X, [job], make(), TableELBO(4, weighted=("x",)), config)
    seeds = spawn_seeds(5, 4)
    bank = initialise(make()(1), [torch_generator(seeds[0])]).double()
    plain, linear = [], [m for m in bank.modules() if type(m).__name__ == "BankLinear"]
    for m in linear:
        layer = nn.Linear(*m.weight.shape[1:]).double()
        layer.weight.data, layer.bias.data = m.weight[0].T.detach().clone(), m.bias[0, 0].detach().clone()
        plain.append(layer)
    def forward(x):
        for i, layer in enumerate(plain):
            x = layer(x)
            x = x[:, :2] if i == 2 else x if i == 5 else x.relu()          # code without noise is its mean
        return x
    optimizer = torch.optim.Adam([p for layer in plain for p in layer.parameters()], lr=1e-2, weight_decay=0.01)
    order_rng, data = torch_generator(seeds[1]), torch.as_tensor(X, dtype=torch.float64)
    for epoch in range(3):
        for batch in torch.randperm(130, generator=order_rng).split(50):
            optimizer.zero_grad()
            ((forward(data[batch]) - data[batch]).square().sum(1) * torch.as_tensor(w)[batch]).mean().backward()
            optimizer.step()
    ours = [m for m in fitted.net.modules() if type(m).__name__ == "BankLinear"]
    for a, b in zip(ours, plain):
        torch.testing.assert_close(a.weight[0], b.weight.T, rtol=1e-9, atol=1e-11)


# ---- gradients ----

def test_step_gradient_against_finite_differences():
    bank = training.Bank(X[:20], [Job(np.arange(20), 0, {"beta": 0.3}, weights(20, 1)), Job(np.arange(15), 1)], make(activation="tanh"),
                         TableELBO(4, target=1), replace(BASE, precision="float64", batch_size=8))
    bank.names = ["x", "y", "kl"]
    x, noise, weight, _, _, _ = training._segment(bank, 1)
    coefficients, parameters = training._coefficients(bank), list(bank.net.parameters())

    def loss():
        terms = bank.objective.terms(bank.net, x[0], noise[0])
        return (coefficients * (torch.stack([terms[name] for name in bank.names]) * weight[0]).sum(-1)).sum()

    gradients = torch.autograd.grad(loss(), parameters)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for p, g in zip(parameters, gradients):
            for i in rng.integers(0, p.numel(), 4):
                flat, h = p.view(-1), 1e-6
                kept = flat[i].item()
                flat[i] = kept + h; up = loss().item()
                flat[i] = kept - h; down = loss().item()
                flat[i] = kept
                assert (up - down) / (2 * h) == pytest.approx(g.reshape(-1)[i].item(), rel=1e-5, abs=1e-8)


def test_clipping_is_per_replicate():
    p = nn.Parameter(torch.zeros(3, 4)); q = nn.Parameter(torch.zeros(3, 2, 2))
    p.grad, q.grad = torch.ones(3, 4) * torch.tensor([[1.], [1e6], [0.]]), torch.zeros(3, 2, 2)
    clip_per_replicate([p, q], 0.5)
    torch.testing.assert_close(p.grad.norm(dim=1), torch.tensor([0.5, 0.5, 0.]))


# ---- phases: a second optimiser ----

class AdversarialNet(nn.Module):
    "An autoencoder and a critic of its codes."

    def __init__(self, n_replicates, width=4):
        super().__init__()
        self.settings, self.latent_dim = {"width": width}, 2
        self.encoder, self.decoder, self.critic = (BankMLP(n_replicates, dims) for dims in ([width, 6, 2], [2, 6, width], [2, 6, 1]))

    def phase_parameters(self, phase):
        return [p for part in ((self.encoder, self.decoder) if phase == "main" else (self.critic,)) for p in part.parameters()]


class AdversarialObjective:
    phases, coefficients, weighted, floors = ("main", "critic"), {"adversarial": 0.1}, (), {}

    def terms(self, net, x, noise=None, condition=None, phase="main"):
        code = net.encoder(x)
        real = torch.zeros_like(code) if noise is None else noise
        judged = nn.functional.softplus(-net.critic(code)).squeeze(-1)
        if phase == "main":
            return {"x": (net.decoder(code) - x).square().sum(-1), "adversarial": judged}
        fake = nn.functional.softplus(net.critic(code.detach())).squeeze(-1)
        return {"x": 0 * fake, "adversarial": fake + nn.functional.softplus(-net.critic(real)).squeeze(-1)}


def test_two_phases_train_their_own_parameters_and_replicates_stay_apart():
    config = replace(BASE, precision="float64", n_epochs=10, learning_rate=1e-2)
    jobs = [Job(ALL, 0), Job(ALL[:70], 1)]
    together = train_bank(X, jobs, AdversarialNet, AdversarialObjective(), config)
    alone, = train_bank(X, jobs[1:], AdversarialNet, AdversarialObjective(), config)
    assert_same(together[1], alone, 1e-10)
    fresh = initialise(AdversarialNet(1), [torch_generator(spawn_seeds(0, 4)[0])]).double()
    for name, tensor in fresh.state_dict().items():
        assert not torch.equal(tensor, together[0].net.state_dict()[name]), name
    assert together[0].history["x"].iloc[-1] < together[0].history["x"].iloc[0]


def test_phase_without_learning_leaves_the_other_alone():
    "The critic's phase must not move the autoencoder: with its own phase silenced, nothing of it changes."
    class Silent(AdversarialObjective):
        def terms(self, net, x, noise=None, condition=None, phase="main"):
            terms = super().terms(net, x, noise, condition, phase)
            return {name: 0 * term for name, term in terms.items()} if phase == "main" else terms
    fitted, = train_bank(X, [Job(ALL, 0)], AdversarialNet, Silent(), BASE)
    fresh = initialise(AdversarialNet(1), [torch_generator(spawn_seeds(0, 4)[0])])
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, fitted.net.state_dict()[name]) == (not name.startswith("critic")), name


# ---- stopping ----

def test_early_stopping_keeps_the_best_and_stops_each_alone():
    jobs = [Job(ALL[:40], 1, validation_rows=ALL[100:]), Job(ALL[:90], 2, validation_rows=ALL[100:170])]
    config = replace(BASE, n_epochs=400, learning_rate=3e-2, patience=5, variational=False, precision="float64")
    together = train_bank(X, jobs, make(), TableELBO(4), config)
    for job, fitted in zip(jobs, together):
        alone, = train_bank(X, [job], make(), TableELBO(4), config)
        assert fitted.stopped == alone.stopped == "patience" and fitted.n_epochs == alone.n_epochs == len(fitted.history)
        assert_same(fitted, alone, 1e-9)
        validation = fitted.history["validation"]
        assert len(validation) - 1 - validation.idxmin() == 5
        rows = torch.as_tensor(X[job.validation_rows], dtype=torch.float64)[None]
        with torch.no_grad():
            again = (fitted.net(rows)[0] - rows).square().sum(-1).mean().item()
        assert again == pytest.approx(validation.min(), rel=1e-9)


def test_delta_rule_freezes_one_and_goes_on_with_the_other():
    jobs = [Job(ALL, 1, scale=np.full(4, 1e-3, np.float32)), Job(ALL, 2)]
    config = replace(BASE, delta=0.01, n_epochs=20, learning_rate=1e-2)
    first, second = train_bank(X, jobs, make(), TableELBO(4), config)
    assert first.stopped == "delta" and second.stopped == "epochs" and first.n_epochs < second.n_epochs == 20
    assert_same(second, train_bank(X, jobs[1:], make(), TableELBO(4), config)[0], 1e-5)
    assert_same(first, train_bank(X, jobs[:1], make(), TableELBO(4), config)[0], 1e-5)


@pytest.mark.parametrize("sizes", [(200, 200), (200, 90)], ids=["equal", "unequal"])
def test_divergence_stays_in_its_replicate_and_returns_finite_weights(sizes):
    bad = Job(ALL[:sizes[0]], 1, {"learning_rate": 1e25})
    good = Job(ALL[:sizes[1]], 2)
    first, second = train_bank(X, [bad, good], make(), TableELBO(4), replace(BASE, n_epochs=10))
    assert first.stopped == "diverged" and second.stopped == "epochs"
    assert all(torch.isfinite(t).all() for t in weights_of(second).values())
    assert all(torch.isfinite(t).all() for t in weights_of(first).values())


def test_no_epochs_and_warm_start():
    untrained, = train_bank(X, [Job(ALL, 1)], make(), TableELBO(4), replace(BASE, n_epochs=0))
    assert untrained.stopped == "epochs" and untrained.history.empty and list(untrained.history.columns) == ["epoch", "x", "kl", "total"]
    trained, = train_bank(X, [Job(ALL, 1)], make(), TableELBO(4), BASE)
    same, = train_bank(X, [Job(ALL, 7)], make(), TableELBO(4), replace(BASE, n_epochs=0), start=[trained])
    assert_same(trained, same)


def test_floor_stops_the_gradient():
    objective = TableELBO(4, floors={"kl": 1e9})
    a, = train_bank(X, [Job(ALL, 1, {"beta": 0.1})], make(), objective, BASE)
    b, = train_bank(X, [Job(ALL, 1, {"beta": 0.0})], make(), TableELBO(4), BASE)
    assert_same(a, b, 1e-6)


# ---- weights and precision ----

def test_unit_weights_are_no_weights_and_zero_weight_rows_do_not_count():
    plain, = train_bank(X, [Job(ALL, 1)], make(), TableELBO(4, target=0), BASE)
    ones, = train_bank(X, [Job(ALL, 1, weights=np.ones(200))], make(), TableELBO(4, target=0), BASE)
    assert_same(plain, ones)
    spoiled, w = X.copy(), np.ones(200)
    spoiled[:20, 0], w[:20] = 50.0, 0.0                         # the target column is wrong in rows of weight 0 ...
    objective = TableELBO(4, target=0, coefficients={"x": 0.0, "y": 1.0, "kl": 0.0})
    a, = train_bank(spoiled, [Job(ALL, 1, weights=w)], make(), objective, replace(BASE, variational=False))
    b, = train_bank(X, [Job(ALL, 1, weights=w)], make(), objective, replace(BASE, variational=False))
    assert_same(a, b)                                           # ... and nothing but its own loss may see it


@pytest.mark.parametrize("precision, dtype, tolerance", [("float64", torch.float64, 1e-4), ("bfloat16", torch.float32, 0.05)])
def test_precisions_train_alike(precision, dtype, tolerance):
    config = replace(BASE, variational=False, n_epochs=10)
    reference, = train_bank(X, [Job(ALL, 1)], make(), TableELBO(4), config)
    other, = train_bank(X, [Job(ALL, 1)], make(), TableELBO(4), replace(config, precision=precision))
    assert next(other.net.parameters()).dtype == dtype
    np.testing.assert_allclose(losses(other), losses(reference), rtol=tolerance)
    assert not np.array_equal(losses(other), losses(reference))


def test_static_buffers_give_the_same_result(monkeypatch):
    jobs = bank_jobs()
    direct = train_bank(X, jobs, make(), TableELBO(4, target=0), replace(BASE, clip_norm=0.5))
    monkeypatch.setattr(training, "_make_step", lambda bank, phase, group, optimizer, ratio, _make=training._make_step:
                        training.StaticStep(_make(bank, phase, group, optimizer, ratio), bank.net, bank.optimizers))
    calls = []
    original = training.StaticStep.__call__
    monkeypatch.setattr(training.StaticStep, "__call__", lambda self, *inputs: (calls.append(1), original(self, *inputs))[1])
    for a, b in zip(direct, train_bank(X, jobs, make(), TableELBO(4, target=0), replace(BASE, clip_norm=0.5))):
        assert_same(a, b)
    assert len(calls) > 15


# ---- resume and interrupt ----

class Stop(Exception):
    pass


def interrupted_run(monkeypatch, after, *args, **kwargs):
    "Run until `after` checkpoints were written, then die."
    count, write = [0], training._Checkpoint._write
    def dying(self):
        write(self); count[0] += 1
        if count[0] == after:
            raise Stop
    with monkeypatch.context() as patch:
        patch.setattr(training._Checkpoint, "_write", dying)
        with pytest.raises(Stop):
            train_bank(*args, **kwargs)


@pytest.mark.parametrize("options", [{}, {"batch_norm": True}, {"dropout": 0.2}], ids=["plain", "batch_norm", "dropout"])
@pytest.mark.parametrize("after", [1, 3])
def test_resumed_equals_uninterrupted(tmp_path, monkeypatch, options, after):
    jobs = [replace(job, validation_rows=ALL[150:]) for job in bank_jobs()]
    config = replace(BASE, n_epochs=40, patience=4, learning_rate=1e-2, clip_norm=1.0, schedule=lambda epoch: 0.97 ** epoch)
    whole = train_bank(X, jobs, make(**options), TableELBO(4, target=0), config)
    saved = replace(config, checkpoint=str(tmp_path / "c"), checkpoint_every=3)
    interrupted_run(monkeypatch, after, X, jobs, make(**options), TableELBO(4, target=0), saved)
    again = train_bank(X, jobs, make(**options), TableELBO(4, target=0), saved)
    for a, b in zip(whole, again):
        assert (a.stopped, a.n_epochs) == (b.stopped, b.n_epochs)
        assert a.history.equals(b.history)
        assert_same(a, b)


@pytest.mark.parametrize("patience", [None, 30])
def test_more_epochs_later_equals_all_at_once(tmp_path, patience):
    jobs = [Job(ALL, k, validation_rows=None if patience is None else ALL[100:]) for k in range(2)]
    config = replace(BASE, n_epochs=20, patience=patience, learning_rate=3e-2)
    whole = train_bank(X, jobs, make(), TableELBO(4), config)
    saved = replace(config, checkpoint=str(tmp_path / "c"), checkpoint_every=5)
    train_bank(X, jobs, make(), TableELBO(4), replace(saved, n_epochs=10))
    for a, b in zip(whole, train_bank(X, jobs, make(), TableELBO(4), saved)):
        assert_same(a, b)


def test_more_epochs_of_unequal_jobs_are_refused(tmp_path):
    "The optimiser counts steps for the whole bank, so a network that waited for the others could not go on as if alone."
    jobs, saved = [Job(ALL, 0), Job(ALL[:90], 1)], replace(BASE, checkpoint=str(tmp_path / "c"), checkpoint_every=5)
    train_bank(X, jobs, make(), TableELBO(4), saved)
    with pytest.raises(InputError, match="different numbers of steps"):
        train_bank(X, jobs, make(), TableELBO(4), replace(saved, n_epochs=10))


def test_checkpoint_of_other_data_is_refused(tmp_path):
    saved = replace(BASE, checkpoint=str(tmp_path / "c"), checkpoint_every=1)
    train_bank(X, [Job(ALL, 1)], make(), TableELBO(4), saved)
    for other in ((X + 1, [Job(ALL, 1)], make(), TableELBO(4), saved), (X, [Job(ALL, 2)], make(), TableELBO(4), saved),
                  (X, [Job(ALL, 1)], make(), TableELBO(4, target=0), saved), (X, [Job(ALL, 1)], make(), TableELBO(4), replace(saved, batch_size=10))):
        with pytest.raises(InputError, match="another run"):
            train_bank(*other)


def test_checkpoint_of_other_conditions_or_start_is_refused(tmp_path):
    conditions = np.random.default_rng(0).normal(size=(200, 1)).astype(np.float32)
    begun = train_bank(X, [Job(ALL, 1)], make(n_conditions=1), TableELBO(4), replace(BASE, n_epochs=1), conditions)
    saved = replace(BASE, checkpoint=str(tmp_path / "c"), checkpoint_every=1)
    def run(conditions, start=None):
        return train_bank(X, [Job(ALL, 1)], make(n_conditions=1), TableELBO(4), saved, conditions, start)
    first, = run(conditions, begun)
    assert_same(first, run(conditions, begun)[0])               # the same call is the same run
    for other in ((conditions + 1, begun), (conditions, None), (conditions, [first])):
        with pytest.raises(InputError, match="another run"):
            run(*other)


def test_a_schedule_is_known_by_what_it_did(tmp_path):
    "Functions have no fingerprint: the factors of the epochs that were trained must come out again, later ones may be new."
    saved = replace(BASE, n_epochs=3, checkpoint=str(tmp_path / "c"), checkpoint_every=1, schedule=[1.0, 0.5, 0.25].__getitem__)
    train_bank(X, [Job(ALL, 1)], make(), TableELBO(4), saved)
    halving = replace(saved, n_epochs=5, schedule=lambda epoch: 0.5 ** epoch)
    resumed, = train_bank(X, [Job(ALL, 1)], make(), TableELBO(4), halving)
    assert_same(resumed, train_bank(X, [Job(ALL, 1)], make(), TableELBO(4), replace(halving, checkpoint=None))[0])
    for schedule in (None, lambda epoch: 0.9 ** epoch):
        with pytest.raises(InputError, match="another run"):
            train_bank(X, [Job(ALL, 1)], make(), TableELBO(4), replace(halving, schedule=schedule))


def test_interrupt_hands_over_every_network():
    calls = []
    def rate(epoch):
        calls.append(epoch)
        if epoch == 3:
            raise KeyboardInterrupt
        return 1e-3
    with pytest.raises(TrainingInterrupted) as caught:
        train_bank(X, [Job(ALL, 1, {"learning_rate": rate}), Job(ALL, 2)], make(), TableELBO(4), BASE)
    assert isinstance(caught.value, KeyboardInterrupt)
    three = train_bank(X, [Job(ALL, 1), Job(ALL, 2)], make(), TableELBO(4), replace(BASE, n_epochs=3))
    for a, b in zip(caught.value.fitted, three):
        assert a.stopped == "interrupted" and a.n_epochs == 3 and len(a.history) == 3
        assert_same(a, b)


CHILD = """
import sys, numpy as np, torch
from augment_lib.nets import VAENet
from augment_lib.objectives import TableELBO
from augment_lib.training import Job, TrainConfig, TrainingInterrupted, train_bank
X = np.random.default_rng(0).random((200, 4)).astype("float32")
def beta(epoch):
    if epoch == 2: print("training", flush=True)
    return 1.0
try:
    train_bank(X, [Job(np.arange(200), 0, {"beta": beta}), Job(np.arange(90), 1)], lambda K: VAENet(K, 4, (8,), 2), TableELBO(4), TrainConfig(n_epochs=10**6, device="cpu"))
except TrainingInterrupted as stop:
    good = all(torch.isfinite(f.net(torch.zeros(1, 3, 4))[0]).all() for f in stop.fitted)
    print("interrupted", [f.stopped for f in stop.fitted], min(len(f.history) for f in stop.fitted) >= 2, bool(good), flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_real_ctrl_c():
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline().strip() == "training"
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    finally:
        child.kill()
    assert out.strip().splitlines()[-1] == "interrupted ['interrupted', 'interrupted'] True True", err
    assert child.returncode == 0


# ---- bad input ----

@pytest.mark.parametrize("settings", [{"n_epochs": -1}, {"batch_size": 0}, {"optimizer": "sgd"}, {"reduction": "max"}, {"precision": "float16"}, {"learning_rate": -1},
                                      {"learning_rate": math.nan}, {"weight_decay": -1}, {"checkpoint_every": 0}])
def test_config_refuses(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        TrainConfig(**settings)


@pytest.mark.parametrize("jobs, words", [([], "jobs is empty"), ([Job(ALL[:0])], "rows is empty"), ([Job(ALL, weights=np.ones(3))], "200 finite"),
                                         ([Job(ALL, weights=-np.ones(200))], "non-negative"), ([Job(ALL), Job(ALL, weights=np.full(200, np.nan))], r"jobs\[1\]")])
def test_jobs_refused(jobs, words):
    with pytest.raises(InputError, match=words):
        train_bank(X, jobs, make(), TableELBO(4), BASE)


@pytest.mark.parametrize("name", ["rows", "validation_rows"])
@pytest.mark.parametrize("values", [X[:, 0] > 0, (X[:, 0] > 0).tolist(), np.arange(3.0)], ids=["mask", "list", "float"])
def test_rows_are_numbers(name, values):
    with pytest.raises(InputError, match=f"^{name} holds .*flatnonzero"):
        Job(**{"rows": ALL, name: values})


def test_unknown_monitor_is_refused_before_training():
    class Counted(TableELBO):
        calls = 0
        def terms(self, net, x, noise=None, condition=None):
            Counted.calls += torch.is_grad_enabled()
            return super().terms(net, x, noise, condition)
    with pytest.raises(InputError, match="monitor='z'.*expected one of x, y, kl, total"):
        train_bank(X, [Job(ALL)], make(), Counted(4, target=0), replace(BASE, delta=0.1, monitor="z"))
    assert Counted.calls == 0
    with pytest.raises(InputError, match="kl, total[.]"):       # one of two jobs has nothing to validate on
        train_bank(X, [Job(ALL), Job(ALL, validation_rows=ALL)], make(), TableELBO(4), replace(BASE, delta=0.1, monitor="validation"))
    for monitor in ("y", "kl", "total", "validation"):
        fitted, = train_bank(X, [Job(ALL, validation_rows=ALL)], make(), TableELBO(4, target=0), replace(BASE, delta=1e9, monitor=monitor))
        assert isinstance(fitted, Fitted) and fitted.stopped == "delta" and fitted.n_epochs == 1


def test_infinite_rows_refused():
    spoiled = X.copy(); spoiled[3, 1] = np.inf
    with pytest.raises(InputError, match="NaN or infinity"):
        train_bank(spoiled, [Job(ALL)], make(), TableELBO(4), BASE)


# ---- graphics processor ----

@gpu
@needs_cuda
def test_cpu_and_gpu_agree():
    config = replace(BASE, variational=False, n_epochs=10)
    for a, b in zip(train_bank(X, bank_jobs(), make(), TableELBO(4, target=0), config),
                    train_bank(X, bank_jobs(), make(), TableELBO(4, target=0), replace(config, device="cuda"))):
        assert_same(a, b, 1e-4)
        np.testing.assert_allclose(losses(a), losses(b), rtol=1e-4)


@gpu
@needs_cuda
@pytest.mark.parametrize("net, objective", [(make(), TableELBO(4, target=0)), (AdversarialNet, AdversarialObjective())], ids=["elbo", "two_phases"])
def test_cuda_graph_equals_eager(monkeypatch, net, objective):
    config = replace(BASE, n_epochs=10, device="cuda")
    graphed = train_bank(X, bank_jobs(), net, objective, config)
    monkeypatch.setattr(training, "StaticStep", lambda step, net, optimizers: step)
    for a, b in zip(graphed, train_bank(X, bank_jobs(), net, objective, config)):
        assert_same(a, b, 1e-5)


@gpu
@needs_cuda
def test_schedule_that_returns_to_one_keeps_the_optimisers_state(monkeypatch):
    config = replace(BASE, n_epochs=10, device="cuda", schedule=lambda epoch: min(1.0, (epoch + 1) / 4))
    graphed = train_bank(X, bank_jobs(), make(), TableELBO(4), config)
    monkeypatch.setattr(training, "StaticStep", lambda step, net, optimizers: step)
    for a, b in zip(graphed, train_bank(X, bank_jobs(), make(), TableELBO(4), config)):
        assert_same(a, b, 1e-5)


@gpu
@needs_cuda
def test_resumed_equals_uninterrupted_on_gpu(tmp_path, monkeypatch):
    config = replace(BASE, n_epochs=12, device="cuda")
    whole = train_bank(X, bank_jobs(), make(), TableELBO(4), config)
    saved = replace(config, checkpoint=str(tmp_path / "c"), checkpoint_every=3)
    interrupted_run(monkeypatch, 2, X, bank_jobs(), make(), TableELBO(4), saved)
    for a, b in zip(whole, train_bank(X, bank_jobs(), make(), TableELBO(4), saved)):
        assert_same(a, b, 1e-6)


class WideNoiseNet(VAENet):
    "Asks for more noise than its code is wide, and shows what it got."

    @property
    def noise_dim(self):
        return 2 * self.latent_dim + 1

    def forward(self, x, noise=None, condition=None):
        self.seen = None if noise is None else tuple(noise.shape[1:])
        return super().forward(x, None if noise is None else noise[..., :self.latent_dim], condition)


def test_a_network_may_ask_for_more_noise_than_its_code_is_wide():
    X, shapes = np.random.default_rng(0).random((50, 4), dtype=np.float32), []

    class Objective(TableELBO):
        def terms(self, net, x, noise=None, condition=None):
            found = super().terms(net, x, noise, condition)
            shapes.append(net.seen)
            return found

    config = TrainConfig(n_epochs=2, batch_size=20, device="cpu", patience=5)
    job = Job(np.arange(40), 0, {"beta": 1e-3}, validation_rows=np.arange(40, 50))
    fitted, = train_bank(X, [job], lambda K: WideNoiseNet(K, 4, (8,), 3), Objective(4), config)
    assert set(shapes) == {(20, 7), (10, 7), (1, 7)}                       # steps, validation, the first look
    assert np.isfinite(fitted.history.total).all()
    twin, = train_bank(X, [job], lambda K: VAENet(K, 4, (8,), 3), TableELBO(4), config)
    assert not np.allclose(twin.history.total, fitted.history.total)       # other noise, other training
