"""Loss terms against torch.distributions, by hand, and against finite differences."""
import itertools
import math

import pytest
import torch
from torch import distributions as D

from augment_lib.core import InputError, torch_generator
from augment_lib.nets import VAENet, initialise
from augment_lib.objectives import TableELBO, bernoulli_nll, categorical_nll, gaussian_nll, kl_standard_normal, squared_error


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch_generator(seed), dtype=torch.float64)


def test_terms_against_distributions():
    a, b, s = draw(2, 5, 3), draw(2, 5, 3, seed=1), draw(2, 5, 3, seed=2)
    torch.testing.assert_close(gaussian_nll(a, b, s), -D.Normal(a, s.exp()).log_prob(b).sum(-1))
    torch.testing.assert_close(bernoulli_nll(a, b.sigmoid()), -(b.sigmoid() * a.sigmoid().log() + (1 - b.sigmoid()) * (1 - a.sigmoid()).log()).sum(-1))
    torch.testing.assert_close(kl_standard_normal(a, s), D.kl_divergence(D.Normal(a, (s / 2).exp()), D.Normal(0., 1.)).sum(-1))
    torch.testing.assert_close(squared_error(a, b), ((a - b) ** 2).sum(-1))


def test_categorical_blocks_against_cross_entropy():
    logits = draw(2, 4, 9)
    first, second = torch.randint(0, 3, (2, 4), generator=torch_generator(3)), torch.randint(0, 4, (2, 4), generator=torch_generator(4))
    onehot = torch.zeros_like(logits)
    onehot[..., 2:5], onehot[..., 5:9] = torch.nn.functional.one_hot(first, 3), torch.nn.functional.one_hot(second, 4)
    expected = -D.Categorical(logits=logits[..., 2:5]).log_prob(first) - D.Categorical(logits=logits[..., 5:9]).log_prob(second)
    torch.testing.assert_close(categorical_nll(logits, onehot, ((2, 5), (5, 9))), expected)
    assert torch.equal(categorical_nll(logits, onehot, ()), torch.zeros(2, 4, dtype=torch.float64))


def test_extreme_logits_stay_finite():
    big = torch.tensor([[[1e4, -1e4]]], dtype=torch.float64)
    for value in (bernoulli_nll(big, torch.ones_like(big)), categorical_nll(big, torch.tensor([[[0., 1.]]]), ((0, 2),))):
        assert value.item() in (1e4, 2e4)


def test_kl_is_zero_only_at_the_prior():
    assert kl_standard_normal(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)).item() == 0
    assert kl_standard_normal(torch.zeros(1, 1, 1), torch.ones(1, 1, 1)).item() == pytest.approx(0.5 * (math.e - 2))


@pytest.mark.parametrize("target, categories, variational", list(itertools.product([None, 0, 2], ["softmax", "squared"], [True, False])))
def test_elbo_partition(target, categories, variational):
    "x + y (+ category) is the whole reconstruction error, whatever is split off."
    net = initialise(VAENet(2, 6, (7,), 2), [torch_generator(k) for k in range(2)]).double()
    x = draw(2, 5, 6)
    x[..., 3:] = torch.nn.functional.one_hot(torch.randint(0, 3, (2, 5), generator=torch_generator(8)), 3).double()
    noise = draw(2, 5, 2, seed=5) if variational else None
    objective = TableELBO(3, ((3, 6),), target=target, categories=categories)
    terms = objective.terms(net, x, noise)
    x_hat = net(x, noise)[0]
    last = 3 if categories == "softmax" else 6
    total = terms["x"] + terms.get("y", 0)
    torch.testing.assert_close(total, squared_error(x_hat[..., :last], x[..., :last]))
    assert ("kl" in terms) == variational and ("y" in terms) == (target is not None) and ("category" in terms) == (categories == "softmax")
    if target is not None:
        torch.testing.assert_close(terms["y"], (x_hat - x)[..., target].square())
    assert all(term.shape == (2, 5) for term in terms.values())


def test_target_must_be_numeric():
    for bad in (3, -1):
        with pytest.raises(InputError, match=f"target={bad}"):
            TableELBO(3, target=bad)


@pytest.mark.parametrize("categories", ["softmax", "squared"])
def test_gradients_against_finite_differences(categories):
    net = initialise(VAENet(2, 4, (5,), 2, activation="tanh", batch_norm=True, n_conditions=1), [torch_generator(k) for k in range(2)]).double()
    x, noise, condition = draw(2, 4, 4), draw(2, 4, 2, seed=3), draw(2, 4, 1, seed=4)
    x[..., 2:] = torch.tensor([1., 0.])
    objective = TableELBO(2, ((2, 4),), target=1, categories=categories)
    names = [name for name, _ in net.named_parameters()]

    class Terms(torch.nn.Module):                       # the objective calls net(...): hand it the substituted parameters
        def forward(self, *values):
            def bound(*inputs):
                return torch.func.functional_call(net, dict(zip(names, values)), inputs)

            terms = objective.terms(bound, x, noise, condition)
            return torch.stack([t.sum() for t in terms.values()])

    values = [p.detach().clone().requires_grad_() for p in net.parameters()]
    assert torch.autograd.gradcheck(Terms(), values, eps=1e-6, atol=1e-6, rtol=1e-5)
