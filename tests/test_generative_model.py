"""Which task a target asks for, and the frame that every model fills."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from augment_lib.core import InputError, torch_generator
from augment_lib.generative_model import Autoencoder, AutoencoderModel, Reconstruction, guess_task
from augment_lib.likelihoods import Bernoulli, Table
from augment_lib.nets import AENet, VAENet, initialise

few, many = np.arange(60) % 3, np.arange(60)
TARGETS = {
    "none": (None, None),
    "few whole numbers": (few, "classification"),
    "int8": (few.astype("int8"), "classification"),
    "twenty": (np.arange(60) % 20, "classification"),
    "twenty-one": (np.arange(63) % 21, "regression"),
    "many whole numbers": (many, "regression"),
    "floats": (many / 7, "regression"),
    "whole floats": (few.astype(float), "regression"),
    "bools": (few > 1, "classification"),
    "words": (np.array(list("abc") * 20), "classification"),
    "object words": (np.array(list("abc") * 20, dtype=object), "classification"),
    "list": (few.tolist(), "classification"),
    "list of words": (list("abc") * 20, "classification"),
    "list of floats": ((many / 7).tolist(), "regression"),
    "series": (pd.Series(few), "classification"),
    "category": (pd.Series(few).astype("category"), "classification"),
    "category of floats": (pd.Series(many / 7).astype("category"), "classification"),
    "string": (pd.Series(list("abc") * 20, dtype="string"), "classification"),
    "Int64": (pd.Series(few, dtype="Int64"), "classification"),
    "Float64": (pd.Series(many / 7, dtype="Float64"), "regression"),
    "boolean": (pd.Series(few > 1, dtype="boolean"), "classification"),
    "frame": (pd.DataFrame({"y": few}), "classification"),
    "frame of floats": (pd.DataFrame({"y": many / 7}), "regression"),
    "column": (few[:, None], "classification"),
    "column of floats": ((many / 7)[:, None], "regression"),
    "one-hot": (np.eye(3)[few], "classification"),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_the_task_follows_from_the_target(kind):
    y, task = TARGETS[kind]
    assert guess_task(y) == task


def test_the_frame_says_what_is_missing():
    model = AutoencoderModel()
    with pytest.raises(NotImplementedError):
        model.objective(Bernoulli())
    with pytest.raises(InputError, match="AutoencoderModel learns no prior.*'gmm'"):
        model.prior(None)
    assert model.params() == {} and model.start(None, [], None, None, None) is None and model.law == "prior"
    net = model.make_net(6, (5,), 2, "tanh")(3)
    assert isinstance(net, VAENet) and net.n_replicates == 3 and net.settings["activation"] == "tanh"


def test_the_plain_autoencoder():
    model = clone(Autoencoder())
    net = initialise(model.make_net(6, (5,), 2, "relu")(2), [torch_generator(k) for k in range(2)])
    assert type(net) is AENet and model.law == "gmm" and model.training == {"variational": False}
    mu, logvar = net.encode(torch.zeros(2, 3, 6))
    assert mu.shape == (2, 3, 2) and logvar is None


@pytest.mark.parametrize("likelihood", [Bernoulli(), Table(4, ((4, 6),))], ids=repr)
def test_its_loss_is_the_likelihood_of_its_output_alone(likelihood):
    net = initialise(AENet(2, 6, (5,), 2), [torch_generator(k) for k in range(2)])
    x = torch.rand(2, 7, 6, generator=torch_generator(9))
    terms = Reconstruction(likelihood).terms(net, x)
    assert list(terms) == ["x"]
    torch.testing.assert_close(terms["x"], likelihood.nll(net.decode(net.encode(x)[0]), x))
    torch.testing.assert_close(Reconstruction(likelihood).terms(net, x, torch.ones(2, 7, 2))["x"], terms["x"])      # noise is not looked at
    assert repr(Reconstruction(likelihood)) == f"Reconstruction({likelihood!r})"


def test_a_model_of_ones_own_is_an_estimator():
    class Mine(AutoencoderModel):
        def __init__(self, *, strength=2.0):
            self.strength = strength

    assert Mine(strength=3).get_params() == {"strength": 3} and clone(Mine(strength=3)).strength == 3
