"""Strings as token rows and the net that reads them: round trips, the loss, the replicate axis, limits."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augment_lib.core import InputError, torch_generator
from augment_lib.lra_vae import LRA
from augment_lib.nets import initialise, load_replicates, stack_nets, take_replicate
from augment_lib.objectives import categorical_nll
from augment_lib.sequence import BankConv, SequenceNet, Tokens, Vocabulary, until_end
from augment_lib.steps import Job, TrainConfig
from augment_lib.strings import PATTERNS, check_strings, split_text
from augment_lib.training import train_bank


def bank(seeds, **sizes):
    sizes = dict(length=5, n_symbols=4, latent_dim=2, hidden_dim=6) | sizes
    return initialise(SequenceNet(len(seeds), **sizes), [torch_generator(seed) for seed in seeds])


# ---- strings and tokens

@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(min_size=0, max_size=8), min_size=1, max_size=8))
def test_any_characters_make_the_round_trip(strings):
    if not any(strings):
        with pytest.raises(InputError, match="at least one symbol"):
            Vocabulary.of(strings)
        return
    vocabulary = Vocabulary.of(strings)
    tokens = vocabulary.encode(strings)
    assert vocabulary.decode(tokens) == strings and vocabulary.covers(strings).all()
    assert tokens.shape == (len(strings), max(map(len, strings))) and tokens.min() >= 0 and tokens.max() < vocabulary.n_symbols


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.sampled_from(["[C]", "[=C]", "[Branch1]", "[O-1]", "."]), min_size=1, max_size=6), min_size=1, max_size=5), st.randoms())
def test_whatever_is_decoded_can_be_encoded_again(parts, random):
    strings = ["".join(part) for part in parts]
    vocabulary = Vocabulary.of(strings, "selfies", length=9)
    tokens = np.array([[random.randrange(vocabulary.n_symbols) for _ in range(9)] for _ in range(20)])
    again = vocabulary.encode(vocabulary.decode(tokens))
    np.testing.assert_array_equal(again, until_end(torch.as_tensor(tokens)).numpy())


def test_symbols_of_expressions_are_found_again_at_every_joint():
    symbols = ["x", "1", "sin", "exp", "(", "+"]
    for a in symbols:
        for b in symbols:
            assert split_text(a + b, "expression") == [a, b]
    assert set(PATTERNS) == {"characters", "selfies", "expression"}


@pytest.mark.parametrize("strings, options, why", [
    ("abc", {}, "expected a list of strings"), ([1, "a"], {}, r"strings\[0\] is 1"), ([None], {}, "NoneType"), ([], {}, "at least one symbol"),
    (["[C]C"], {"pattern": "selfies"}, "not made of symbols"), (["abc"], {"length": 2}, "length=2"), (["abc"], {"length": 3.5}, "length=3.5")])
def test_what_is_no_vocabulary(strings, options, why):
    with pytest.raises(InputError, match=why):
        Vocabulary.of(strings, **options)


def test_unknown_and_long_strings_are_named():
    vocabulary = Vocabulary.of(["ab", "c"])
    with pytest.raises(InputError, match=r"strings\[1\]='axb' has the symbol 'x'"):
        vocabulary.encode(["a", "axb"])
    with pytest.raises(InputError, match="3 symbols, more than length=2"):
        vocabulary.encode(["abc"])
    assert vocabulary.covers(["", "ab", "abc", "x"]).tolist() == [True, True, False, False]
    assert vocabulary.encode([]).shape == (0, 2) and vocabulary.decode(np.zeros((0, 2), int)) == []
    assert check_strings(np.array(["a", "b"])) == ["a", "b"]


# ---- the loss

@pytest.mark.parametrize("hard", [False, True])
def test_likelihood_agrees_with_one_hot_blocks(hard):
    generator, tokens = torch_generator(0), torch.randint(0, 4, (2, 7, 5), generator=torch_generator(1))
    output = torch.randn(2, 7, 20, generator=generator).requires_grad_()
    onehot = torch.nn.functional.one_hot(tokens, 4).float().flatten(-2)
    likelihood = Tokens(4, hard)
    torch.testing.assert_close(likelihood.nll(output, tokens.float()), categorical_nll(output, onehot, tuple((i, i + 4) for i in range(0, 20, 4))))
    mean, slope = likelihood.mean(output), torch.randn(2, 7, 20, generator=generator)
    soft_gradient, = torch.autograd.grad((Tokens(4).mean(output) * slope).sum(), output, retain_graph=True)
    gradient, = torch.autograd.grad((mean * slope).sum(), output)
    torch.testing.assert_close(gradient, soft_gradient)                     # symbols borrow the gradient of the probabilities
    assert set(mean.unique().tolist()) == {0.0, 1.0} if hard else (mean > 0).all()
    assert mean.view(2, 7, 5, 4).argmax(-1).equal(likelihood.best(output))


# ---- the net

@pytest.mark.parametrize("sizes", [{}, {"length": 1}, {"n_layers": 1}, {"n_layers": 3, "width": 3}, {"width": 1}, {"n_symbols": 2, "latent_dim": 1}], ids=str)
def test_replicate_equals_alone_in_shape_and_value(sizes):
    net = bank([3, 5, 8], **sizes)
    length, symbols = net.length, net.n_symbols
    tokens = torch.randint(0, symbols, (3, 6, length), generator=torch_generator(0)).float()
    logits, mu, logvar, z = net(tokens, torch.ones(3, 6, net.latent_dim))
    assert logits.shape == (3, 6, length * symbols) and mu.shape == logvar.shape == z.shape == (3, 6, net.latent_dim) and net.n_replicates == 3
    single = bank([5], **sizes)
    torch.testing.assert_close(single(tokens[1:2])[0][0], net(tokens)[0][1])
    taken = take_replicate(net, 1)
    torch.testing.assert_close(taken(tokens[1:2])[0], single(tokens[1:2])[0])
    assert all(a.equal(b) for a, b in zip(stack_nets([take_replicate(net, k) for k in range(3)]).state_dict().values(), net.state_dict().values()))
    certain = torch.nn.functional.one_hot(tokens.long(), symbols).float().flatten(-2)
    assert torch.equal(net.encode(certain)[0], mu)


def test_replicates_do_not_see_each_other():
    net, tokens = bank([0, 1]), torch.randint(0, 4, (2, 3, 5), generator=torch_generator(0)).float()
    before = net(tokens)[0]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter[1] += 1
    after = net(tokens)[0]
    assert torch.equal(before[0], after[0]) and not torch.equal(before[1], after[1])


def test_a_row_does_not_see_the_others():
    net, tokens = bank([0]), torch.randint(0, 4, (1, 4, 5), generator=torch_generator(0)).float()
    whole = net(tokens)[0]
    torch.testing.assert_close(net(tokens[:, 2:3])[0], whole[:, 2:3])


def test_a_convolution_is_torchs():
    conv = BankConv(2, 3, 4, 3)
    conv.initialise([torch_generator(0), torch_generator(1)])
    x = torch.randn(5, 6, 7, generator=torch_generator(2))
    plain = torch.nn.Conv1d(3, 4, 3, padding=1)
    for k in range(2):
        plain.weight.data, plain.bias.data = conv.weight[k].T.reshape(4, 3, 3), conv.bias[k, 0]
        torch.testing.assert_close(conv(x)[:, 4 * k:4 * k + 4], plain(x[:, 3 * k:3 * k + 3]))


@pytest.mark.parametrize("name, value", [("length", 0), ("n_symbols", 1), ("latent_dim", 0), ("hidden_dim", 0), ("n_layers", 0), ("width", 2), ("width", 0)])
def test_impossible_sizes(name, value):
    with pytest.raises(InputError, match=name):
        bank([0], **{name: value})


# ---- with the engine

def test_jobs_of_a_bank_equal_the_same_jobs_alone_and_learn():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (40, 4)).astype(np.float32)
    X[:, 2:] = X[:, :1] * 2                                                  # two places follow from the first
    model = LRA(gamma=0.5, beta=0.01)
    likelihood, make = Tokens(3, hard=True), lambda K: SequenceNet(K, 4, 3, 2, hidden_dim=8, width=3)
    config = TrainConfig(n_epochs=3, batch_size=10, learning_rate=1e-2, precision="float64", device="cpu")
    jobs = [Job(np.arange(40), 0, model.params()), Job(np.arange(15), 1, model.params() | {"gamma": 2.0}, weights=rng.random(15))]
    together = train_bank(X, jobs, make, model.objective(likelihood), config)
    for job, fitted in zip(jobs, together):
        alone = train_bank(X, [job], make, model.objective(likelihood), config)[0]
        for a, b in zip(alone.net.state_dict().values(), fitted.net.state_dict().values()):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9)
    history = train_bank(X, jobs[:1], make, model.objective(likelihood), TrainConfig(n_epochs=40, batch_size=10, learning_rate=1e-2, device="cpu"))[0].history
    assert history.x.iloc[-1] < 0.5 * history.x.iloc[0] and history.lre.iloc[-1] < history.lre.iloc[0]


def test_nets_are_rebuilt_from_settings_and_weights():
    net = bank([4], width=3)
    twin = load_replicates(SequenceNet, net.settings, net.state_dict())
    tokens = torch.zeros(1, 2, 5)
    assert torch.equal(twin(tokens)[0], net.eval()(tokens)[0]) and "numbers" not in net.state_dict()
