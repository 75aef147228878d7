"""Loss of a pythae model at given weights, rows and noise; run by the peer environment's python to cross-check ours.

usage: python pythae_losses.py FOLDER

FOLDER holds `job.json`: {"model": name in MODELS, "options": {fields of its config}, "noise": [names of arrays, in the order of their draws]}
and `arrays.npz`: x (n, d); encoder.weight.i (in, out), encoder.bias.i (out,) and decoder.* of each linear layer, ReLU between them;
pseudo (C, d) for VAMP; the noise. An encoder whose output is twice as wide as the code returns mean and log variance. The last line of
standard output is one JSON object: every number that the model's forward pass returns. Standalone: it imports nothing of augment_lib.
"""
import json
import sys
from pathlib import Path

import numpy as np
import torch
from pythae import models
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import nn

MODELS = {"VAE": "VAEConfig", "BetaVAE": "BetaVAEConfig", "INFOVAE_MMD": "INFOVAE_MMD_Config", "WAE_MMD": "WAE_MMD_Config", "RAE_L2": "RAE_L2_Config",
          "VAMP": "VAMPConfig"}


def stack(arrays, side):
    "Linear layers with the given weights, ReLU between them, in double precision."
    layers, i = [], 0
    while f"{side}.weight.{i}" in arrays:
        weight = torch.from_numpy(arrays[f"{side}.weight.{i}"])
        layer = nn.Linear(*weight.shape, dtype=torch.float64)
        layer.weight.data, layer.bias.data = weight.T.contiguous(), torch.from_numpy(arrays[f"{side}.bias.{i}"])
        layers += [nn.ReLU()] * bool(layers) + [layer]
        i += 1
    return nn.Sequential(*layers)


class Encoder(BaseEncoder):
    "Mean and, where the last layer has room for it, log variance."

    def __init__(self, body, latent_dim):
        super().__init__()
        self.body, self.latent_dim = body, latent_dim

    def forward(self, x):
        out = self.body(x)
        return ModelOutput(embedding=out[:, :self.latent_dim], log_covariance=out[:, self.latent_dim:])


class Decoder(BaseDecoder):
    "Pixels behind a sigmoid, other rows as they are."

    def __init__(self, body, pixels):
        super().__init__()
        self.body, self.pixels = body, pixels

    def forward(self, z):
        out = self.body(z)
        return ModelOutput(reconstruction=out.sigmoid() if self.pixels else out)


def main(folder):
    "Build the model, hand it its noise, print what it returns."
    job, arrays = json.loads((folder / "job.json").read_text()), dict(np.load(folder / "arrays.npz"))
    x, encoder, decoder = torch.from_numpy(arrays["x"]), stack(arrays, "encoder"), stack(arrays, "decoder")
    latent_dim = decoder[0].in_features
    config = getattr(models, MODELS[job["model"]])(input_dim=(x.shape[1],), latent_dim=latent_dim, **job["options"])
    pixels = job["options"].get("reconstruction_loss") == "bce"
    model = getattr(models, job["model"])(config, encoder=Encoder(encoder, latent_dim), decoder=Decoder(decoder, pixels)).double()
    if "pseudo" in arrays:
        model.pseudo_inputs[0].weight.data = torch.from_numpy(arrays["pseudo"]).T.contiguous()
        model.pseudo_inputs[0].bias.data.zero_()
        model.idle_input = model.idle_input.double()
    draws = iter(job["noise"])
    torch.randn_like = lambda like, **_: torch.from_numpy(arrays[next(draws)])
    with torch.no_grad():
        found = model({"data": x})
    assert next(draws, None) is None, "the model drew less often than expected"
    print(json.dumps({name: value.item() for name, value in found.items() if torch.is_tensor(value) and value.numel() == 1}))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
