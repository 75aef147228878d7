"""Two likelihoods against torch's own distributions and by hand."""

import itertools

import numpy as np
import pytest
import torch
from torch import distributions as D

from augment_lib.core import InputError, torch_generator
from augment_lib.likelihoods import Bernoulli, Table


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch_generator(seed), dtype=torch.float64)


def onehots(*sizes, n=5, seed=0):
    picks = [torch.randint(0, size, (2, n), generator=torch_generator(seed + i)) for i, size in enumerate(sizes)]
    return torch.cat([torch.nn.functional.one_hot(pick, size) for pick, size in zip(picks, sizes)], -1).double(), picks


def test_bernoulli_is_the_cross_entropy():
    logits, x = draw(2, 5, 7), draw(2, 5, 7, seed=1).sigmoid()
    p = logits.sigmoid()
    torch.testing.assert_close(Bernoulli().nll(logits, x), -(x * p.log() + (1 - x) * (1 - p).log()).sum(-1))
    black = (x > 0.5).double()
    torch.testing.assert_close(Bernoulli().nll(logits, black), -D.Bernoulli(logits=logits).log_prob(black).sum(-1))
    torch.testing.assert_close(Bernoulli().mean(logits), p)


def test_nothing_beats_the_floor_and_the_pixels_themselves_reach_it():
    x = torch.rand(2, 50, 7, generator=torch_generator(3), dtype=torch.float64) * 0.98 + 0.01
    floor = Bernoulli().floor(x)
    torch.testing.assert_close(Bernoulli().nll(torch.logit(x), x), floor)
    for seed in range(5):
        assert (Bernoulli().nll(draw(2, 50, 7, seed=seed), x) > floor).all()
    assert (Bernoulli().floor(torch.tensor([[0.0, 1.0], [1.0, 1.0]])) == 0).all()               # black and white: nothing is left over
    assert Bernoulli().floor(torch.tensor([0.5])).item() == pytest.approx(np.log(2))


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[[1e4, -1e4]]])
    assert Bernoulli().nll(logits, torch.tensor([[[0.0, 0.0]]])).item() == 1e4
    assert Bernoulli().mean(logits).tolist() == [[[1.0, 0.0]]]
    assert torch.isfinite(Table(0, ((0, 2),)).mean(logits)).all()


@pytest.mark.parametrize(
    "low, high, cure",
    [(0, 255, "divide by 255"), (0, 16, "divide by 16"), (0, 200, "divide by 255"), (-1, 1, "X - X.min"), (0, 1000, "X - X.min"), (-0.01, 0.5, "X - X.min")],
)
def test_the_range_and_its_cure_are_named(low, high, cure):
    with pytest.raises(InputError, match=f"from {low:g} to {high:g}.*Bernoulli") as caught:
        Bernoulli().check(np.array([[low, 0.5], [0.5, high]]))
    assert cure in str(caught.value) and "likelihood='table'" in str(caught.value)


def test_zero_to_one_passes():
    Bernoulli().check(np.array([[0.0, 1.0]]))
    Table(2).check(np.array([[-1e6, 1e6]]))


@pytest.mark.parametrize("n_numeric, sizes", list(itertools.product([0, 1, 3], [(), (2,), (3, 4)])))
def test_a_table_is_squares_plus_cross_entropies(n_numeric, sizes):
    if not n_numeric and not sizes:
        return
    hot, picks = onehots(*sizes) if sizes else (torch.empty(2, 5, 0, dtype=torch.float64), [])
    x = torch.cat([draw(2, 5, n_numeric, seed=4), hot], -1)
    edges = n_numeric + np.r_[0, np.cumsum(sizes)].astype(int)
    blocks = tuple(zip(edges[:-1].tolist(), edges[1:].tolist()))
    output = draw(2, 5, x.shape[-1], seed=5)
    wanted = (output - x)[..., :n_numeric].square().sum(-1)
    for (start, stop), pick in zip(blocks, picks):
        wanted = wanted - D.Categorical(logits=output[..., start:stop]).log_prob(pick)
    likelihood = Table(n_numeric, blocks)
    torch.testing.assert_close(likelihood.nll(output, x), wanted)
    mean = likelihood.mean(output)
    assert torch.equal(mean[..., :n_numeric], output[..., :n_numeric]) and mean.shape == output.shape
    for start, stop in blocks:
        torch.testing.assert_close(mean[..., start:stop].sum(-1), torch.ones(2, 5, dtype=torch.float64))
    assert (likelihood.floor(x) == 0).all() and likelihood.floor(x).shape == (2, 5)


def test_shapes_without_a_replicate_axis():
    x = torch.rand(5, 3)
    assert Bernoulli().mean(x).shape == (5, 3) and Bernoulli().floor(x).shape == (5,)
    assert Table(1, ((1, 3),)).mean(x).shape == (5, 3) and Table(1, ((1, 3),)).floor(x).shape == (5,)


@pytest.mark.parametrize("likelihood", [Bernoulli(), Table(2, ((2, 4),)), Table(4)], ids=repr)
def test_gradients_against_finite_differences(likelihood):
    x = torch.tensor([[[0.2, 0.9, 1.0, 0.0]]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda output: likelihood.nll(output, x), (draw(1, 1, 4).requires_grad_(),))


def test_equal_settings_are_equal_objects():
    assert Bernoulli() == Bernoulli() and Table(2, ((2, 4),)) == Table(2, ((2, 4),)) != Table(4)
    assert "n_numeric=2" in repr(Table(2))                                      # a checkpoint knows its objective by this
