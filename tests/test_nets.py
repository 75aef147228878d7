"""K networks side by side are K networks."""
import pytest
import torch
from torch import nn

from augment_lib.core import InputError, torch_generator
from augment_lib.nets import (ACTIVATIONS, AENet, BankBatchNorm, BankDropout, BankLinear, BankMLP, VAENet, initialise, load_replicates, set_noise, stack_nets,
                              take_replicate)


def generators(n, start=0):
    return [torch_generator(start + k) for k in range(n)]


def test_linear_equals_torch_linear():
    layer = BankLinear(3, 4, 2)
    layer.initialise(generators(3))
    x = torch.randn(3, 5, 4, generator=torch_generator(9))
    for k in range(3):
        plain = nn.Linear(4, 2)
        plain.weight.data, plain.bias.data = layer.weight[k].T.clone(), layer.bias[k, 0].clone()
        torch.testing.assert_close(layer(x)[k], plain(x[k]))
        assert layer.weight[k].abs().max() <= 0.5 and layer.weight[k].abs().max() > 0.3      # 1/sqrt(4)


def test_initialisation_of_a_replicate_is_its_own():
    together = initialise(VAENet(3, 6, (8,), 2), generators(3))
    alone = initialise(VAENet(1, 6, (8,), 2), generators(1, 2))
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor[0], together.state_dict()[name][2]), name


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("n_conditions", [0, 2])
def test_bank_equals_its_replicates(activation, batch_norm, n_conditions):
    net = initialise(VAENet(3, 5, (7, 6), 2, activation=activation, batch_norm=batch_norm, n_conditions=n_conditions), generators(3)).double()
    def draw(*shape):
        return torch.randn(*shape, generator=torch_generator(1), dtype=torch.float64)

    x, noise, condition = draw(3, 9, 5), draw(3, 9, 2), draw(3, 9, n_conditions) if n_conditions else None
    net.train(); net(x, noise, condition); net.eval()                       # moves the running statistics
    outputs = net(x, noise, condition)
    for k in range(3):
        one = take_replicate(net, k)
        for a, b in zip(one(x[k:k + 1], noise[k:k + 1], None if condition is None else condition[k:k + 1]), outputs):
            torch.testing.assert_close(a[0], b[k], rtol=1e-12, atol=1e-12)


def test_gradients_do_not_cross_replicates():
    net = initialise(VAENet(2, 4, (5,), 2), generators(2))
    net(torch.ones(2, 3, 4))[0][0].sum().backward()
    assert all(p.grad[1].abs().sum() == 0 for p in net.parameters() if p.grad is not None)
    assert net.encoder.layers[0].weight.grad[0].abs().sum() > 0


def test_batch_norm_equals_torch():
    ours, theirs = BankBatchNorm(1, 4), nn.BatchNorm1d(4)
    for step in range(3):
        x = torch.randn(8, 4, generator=torch_generator(step)) * 2 + 1
        torch.testing.assert_close(ours(x[None])[0], theirs(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.mean[0, 0], theirs.running_mean)
    torch.testing.assert_close(ours.variance[0, 0], theirs.running_var)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x[None])[0], theirs(x), rtol=1e-5, atol=1e-5)


def test_batch_norm_ignores_masked_rows():
    short, padded = BankBatchNorm(1, 3), BankBatchNorm(1, 3)
    x = torch.randn(1, 5, 3, generator=torch_generator(0))
    padded.row_mask = torch.tensor([[1., 1, 1, 1, 1, 0, 0]])
    out = padded(torch.cat([x, torch.full((1, 2, 3), 1e3)], 1))
    torch.testing.assert_close(out[:, :5], short(x))
    torch.testing.assert_close(padded.variance, short.variance)


def test_batch_norm_of_no_rows_stays_finite():
    layer = BankBatchNorm(1, 3)
    layer.row_mask = torch.zeros(1, 4)
    assert torch.isfinite(layer(torch.randn(1, 4, 3))).all() and torch.isfinite(layer.variance).all()


def test_dropout_rate_scale_and_generators():
    layer = BankDropout(0.25)
    with pytest.raises(InputError, match="set_noise"):
        layer(torch.ones(1, 2, 2))
    set_noise(layer, generators(2))
    out = layer(torch.ones(2, 1000, 20))
    assert abs((out == 0).double().mean() - 0.25) < 0.01 and torch.allclose(out[out > 0], torch.tensor(4 / 3))
    assert not torch.equal(out[0], out[1])
    alone = BankDropout(0.25); set_noise(alone, generators(1, 1))
    assert torch.equal(alone(torch.ones(1, 1000, 20))[0], out[1])
    layer.eval()
    assert torch.equal(layer(torch.ones(2, 3, 3)), torch.ones(2, 3, 3))


def test_mlp_shapes_and_unknown_activation():
    assert [type(m).__name__ for m in BankMLP(1, [2, 3, 4], dropout=0.1, batch_norm=True).layers] == \
        ["BankLinear", "BankBatchNorm", "ReLU", "BankDropout", "BankLinear"]
    assert BankMLP(2, [2, 3, 4], activate_last=True)(torch.zeros(2, 5, 2)).shape == (2, 5, 4)
    with pytest.raises(InputError, match="activation='swish'"):
        BankMLP(1, [2, 3, 4], activation="swish")


def test_vae_without_noise_is_an_autoencoder_and_mirrors():
    net = initialise(VAENet(2, 4, (8, 3), 2), generators(2))
    x = torch.rand(2, 6, 4, generator=torch_generator(0))
    x_hat, mu, logvar, z = net(x)
    assert torch.equal(z, mu) and x_hat.shape == x.shape and logvar.shape == (2, 6, 2)
    assert [m.weight.shape[1:] for m in net.decoder.layers if isinstance(m, BankLinear)] == [(2, 3), (3, 8), (8, 4)]
    assert VAENet(1, 4, (8, 3), 2, decoder_dims=(5,)).decoder.layers[0].weight.shape == (1, 2, 5)


def test_take_copies_and_stack_restores():
    net = initialise(VAENet(3, 4, (5,), 2, batch_norm=True), generators(3)).double()
    parts = [take_replicate(net, k) for k in range(3)]
    again = stack_nets(parts)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values())) and again.n_replicates == 3
    with torch.no_grad():
        for p in parts[0].parameters():
            p.zero_()
    assert net.encoder.layers[0].weight[0].abs().sum() > 0                                    # a copy, not a view
    assert not parts[1].training and parts[1].encoder.layers[0].weight.dtype == torch.float64


def test_wrong_state_is_refused():
    net = VAENet(1, 4, (5,), 2)
    with pytest.raises(RuntimeError):
        load_replicates(VAENet, {**net.settings, "latent_dim": 3}, net.state_dict())


@pytest.mark.parametrize("options", [{}, {"batch_norm": True}, {"dropout": 0.3}, {"activation": "tanh"}])
def test_autoencoder_is_a_vae_without_log_variances(options):
    ours, theirs = AENet(2, 6, (16, 8), 3, **options), VAENet(2, 6, (16, 8), 3, **options)
    counts = [sum(p.numel() for p in net.parameters()) for net in (theirs, ours)]
    assert counts[0] - counts[1] == 2 * (8 * 3 + 3)
    initialise(ours, [torch_generator(0), torch_generator(1)])
    x = torch.randn(2, 5, 6)
    code, nothing = ours.eval().encode(x)
    assert code.shape == (2, 5, 3) and nothing is None
    torch.testing.assert_close(ours(x, noise=torch.randn(2, 5, 3))[0], ours.decode(code))       # noise has no part in it
    for k in range(2):
        alone = take_replicate(ours, k)
        assert type(alone) is AENet
        torch.testing.assert_close(alone(x[k:k + 1])[0][0], ours(x)[0][k])
    torch.testing.assert_close(load_replicates(AENet, ours.settings, ours.state_dict())(x)[0], ours(x)[0])
