"""Principal components and a mixture: the solution, the head, and the sampler around them."""
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from augment_lib.core import InputError
from augment_lib.generative import GenerativeAutoencoder, with_law
from augment_lib.generator import fit_generators
from augment_lib.likelihoods import Bernoulli, Table
from augment_lib.pca_mixture import EDGE, LEVEL, NUMBER, PIXEL, PCANet, PrincipalComponents, column_kinds, principal_axes, solved_net
from augment_lib.steps import Job, TrainConfig
from augment_lib.training import train_bank

PICTURES = load_digits().images[:300].astype(np.float32) / 16


def sampler(**options):
    return GenerativeAutoencoder(**{"model": PrincipalComponents(), "latent_dim": 8, "n_components": 3, "n_epochs": 1, "random_state": 0, **options})


@pytest.mark.parametrize("shape", [(200, 7), (7, 7), (6, 40), (9000, 3)])
def test_axes_are_those_of_scikit_learn(shape):
    X = np.random.default_rng(1).standard_normal(shape) * np.arange(1, shape[1] + 1) + 100
    d = min(3, min(shape) - 1)
    mean, axes = principal_axes(X, d)
    found = PCA(d).fit(X)
    np.testing.assert_allclose(mean, found.mean_, rtol=1e-9)
    np.testing.assert_allclose(np.abs(axes.T @ found.components_.T), np.eye(d), atol=1e-6)


def test_axes_by_hand():
    X = np.array([[-2.0, 0], [2, 0], [0, -1], [0, 1]])
    mean, axes = principal_axes(X, 2)
    assert mean.tolist() == [0, 0] and np.allclose(axes, np.eye(2))
    mean, axes = principal_axes(X, 1, weights=[1, 1, 100, 100])        # now the second column varies more
    assert np.allclose(axes, [[0], [1]])


def test_chunks_do_not_matter():
    X = np.random.default_rng(0).standard_normal((101, 5)).astype(np.float32)
    for a, b in zip(principal_axes(X, 3), principal_axes(X, 3, chunk=10)):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_order_of_rows_and_sign_do_not_matter():
    X = np.random.default_rng(0).standard_normal((50, 4)) * [4, 3, 2, 1]
    for other in (X[::-1], X[np.random.default_rng(2).permutation(50)]):
        np.testing.assert_allclose(principal_axes(X, 2)[1], principal_axes(other, 2)[1], atol=1e-9)
    mirrored = principal_axes(-X, 2)[1]
    np.testing.assert_allclose(principal_axes(X, 2)[1], mirrored, atol=1e-9)      # the sign rule looks at the axes, not at the rows


def test_too_many_directions_are_refused():
    with pytest.raises(InputError, match="5 rows of 9 columns span at most 5"):
        principal_axes(np.random.default_rng(0).standard_normal((5, 9)), 6)
    with pytest.raises(InputError, match="span at most 20"):
        sampler(latent_dim=30).fit(PICTURES[:20])


def test_kinds_of_columns():
    assert column_kinds(Bernoulli(), 3).tolist() == [PIXEL] * 3
    assert column_kinds(Table(2, ((2, 4), (4, 7))), 7).tolist() == [NUMBER] * 2 + [LEVEL] * 5
    assert column_kinds(Table(2), 2).tolist() == [NUMBER] * 2


def test_head_keeps_the_loss_finite():
    net = solved_net(PCANet(1, 64, 4), PICTURES.reshape(300, -1), Bernoulli())
    far = torch.full((1, 5, 4), 1e6)
    output = net.decode(far)
    assert torch.isfinite(output).all()
    loss = Bernoulli().nll(output, torch.rand(1, 5, 64))
    assert torch.isfinite(loss).all() and loss.max() <= -64 * np.log(EDGE) + 1
    assert Bernoulli().mean(output).min() >= EDGE * 0.99 and Bernoulli().mean(output).max() <= 1 - EDGE * 0.99


def test_every_job_has_its_own_solution_and_training_moves_nothing():
    X = PICTURES.reshape(300, -1)
    model, rows = PrincipalComponents(), [np.arange(100), np.arange(100, 300)]
    make = model.make_net(64, (), 5, "relu")
    weights = np.random.default_rng(0).uniform(0.5, 2, 200)
    jobs = [Job(rows[0], 0), Job(rows[1], 1, weights=weights, shift=np.full(64, 0.1, np.float32), scale=np.full(64, 2.0, np.float32))]
    config = TrainConfig(n_epochs=3, batch_size=20, learning_rate=0.1, variational=False)
    fitted = train_bank(X, jobs, make, model.objective(Bernoulli()), config, start=model.start(X, jobs, make, Bernoulli(), config))
    for found, (part, w) in zip(fitted, [(X[rows[0]], None), ((X[rows[1]] - 0.1) * 2, weights)]):
        mean, axes = principal_axes(part, 5, w)
        np.testing.assert_allclose(found.net.axes[0].detach().numpy(), axes, atol=1e-5)
        np.testing.assert_allclose(found.net.mean[0, 0].detach().numpy(), mean, atol=1e-5)
        assert found.n_epochs == 3 and found.history.x.nunique() <= 3 and np.isfinite(found.history.x).all()


def test_reconstruction_beats_every_other_projection():
    fitted = sampler().fit(PICTURES)
    X = PICTURES.reshape(300, -1)
    mean = X.mean(0)

    def error(axes):
        return ((mean + (X - mean) @ axes @ axes.T - X) ** 2).mean()
    best = error(principal_axes(X, 8)[1])
    for seed in range(5):
        other = np.linalg.qr(np.random.default_rng(seed).standard_normal((64, 8)))[0]
        assert best < error(other)
    assert 0.8 * best < ((fitted.reconstruct(PICTURES).reshape(300, -1) - X) ** 2).mean() < best * 1.001       # clipping to [0, 1] only helps


def test_save_and_load(tmp_path):
    for X, y in ((PICTURES, None), (PICTURES, np.arange(300) % 3), (PICTURES, np.linspace(0, 1, 300))):
        fitted = sampler().fit(X, y)
        fitted.save(tmp_path / "model", overwrite=True)
        again = GenerativeAutoencoder.load(tmp_path / "model")
        one, two = (found if isinstance(found, tuple) else (found,) for found in (fitted.sample(7, random_state=1), again.sample(7, random_state=1)))
        assert len(one) == (1 if y is None else 2)
        for a, b in zip(one, two):
            np.testing.assert_array_equal(a, b)
        known = [y] if fitted.task_ == "regression" else []
        np.testing.assert_array_equal(fitted.encode(X, *known), again.encode(X, *known))


def test_seeds_change_draws_but_not_the_network():
    a, b = fit_generators([sampler(random_state=0), sampler(random_state=1)], PICTURES)
    np.testing.assert_allclose(a.encode(PICTURES), b.encode(PICTURES), atol=1e-6)
    assert np.abs(a.sample(20) - b.sample(20)).max() > 0.1


@pytest.mark.parametrize("law", ["normal", "prior", "smoothed_bootstrap"])
def test_other_laws(law):
    fitted = sampler().fit(PICTURES)
    assert with_law(fitted, law).sample(11, random_state=0).shape == (11, 8, 8)


def test_mixed_table_keeps_its_types_and_levels():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"n": rng.normal(size=120), "k": rng.integers(0, 9, 120), "c": pd.Categorical(rng.choice(list("abc"), 120)), "b": rng.random(120) < 0.3})
    new = sampler(latent_dim=3).fit(X).sample(50)
    assert new.dtypes.equals(X.dtypes) and set(new.c) <= set("abc") and new.k.between(0, 8).all() and new.n.between(X.n.min(), X.n.max()).all()
