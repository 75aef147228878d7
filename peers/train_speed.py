"""Seconds per training step of pythae's VAE or autoencoder; run by the peer environment's python for the throughput benchmarks.

usage: python train_speed.py small|wide [--model VAE|AE] [--epochs 5] [--repeats 3] [--threads 1] [--n-samples N] [--data rows.npy] [--seed 0]

small: n 5000, d 10, hidden 64-32, latent 5, batch 64, squared error, linear output.
wide:  784-500-500-2000-10 and back, batch 100, binary cross-entropy, sigmoid output (data in [0, 1]); pythae's AE knows only squared error.
Two variants take turns (default, fused, default, ...): pythae's trainer as it comes, and the same with `optimizer_params={"fused": True}`.
Each timed fit follows an untimed one of one epoch, and takes all that the trainer does, writing the model included. The last line of
standard output is one JSON object. pythae's own decoder ends in a sigmoid
whatever the loss, so both networks are given by us, with the same layers as the house's.
"""
import argparse
import contextlib
import json
import logging
import statistics
import sys
import tempfile
import time

SHAPES = {
    "small": dict(n_samples=5000, n_features=10, hidden=(64, 32), latent=5, batch_size=64, loss="mse"),
    "wide": dict(n_samples=10000, n_features=784, hidden=(500, 500, 2000), latent=10, batch_size=100, loss="bce"),
}


def make_data(shape, seed):
    "float32 rows (n, d) on a curved sheet with noise; squeezed into (0, 1) for cross-entropy."
    import numpy as np

    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(shape["n_samples"], shape["latent"]))
    sheet = np.tanh(codes @ rng.normal(size=(shape["latent"], shape["n_features"])))
    rows = sheet + 0.1 * rng.normal(size=sheet.shape)
    return (1 / (1 + np.exp(-rows)) if shape["loss"] == "bce" else rows).astype("float32")


def make_model(shape, name="VAE"):
    "pythae's VAE or AE with an MLP encoder and decoder (ReLU between layers) of exactly the given widths."
    from pythae.models import AE, VAE, AEConfig, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from torch import nn

    def stack(widths):
        layers = [part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*layers)

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.body = stack((shape["n_features"], *shape["hidden"]))
            self.mean = nn.Linear(shape["hidden"][-1], shape["latent"])
            if name == "VAE":
                self.log_variance = nn.Linear(shape["hidden"][-1], shape["latent"])

        def forward(self, x):
            h = self.body(x)
            if name == "AE":
                return ModelOutput(embedding=self.mean(h))
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.body = stack((shape["latent"], *shape["hidden"][::-1]))
            self.out = nn.Linear(shape["hidden"][0], shape["n_features"])

        def forward(self, z):
            x = self.out(self.body(z))
            return ModelOutput(reconstruction=x.sigmoid() if shape["loss"] == "bce" else x)

    if name == "AE":
        return AE(AEConfig(input_dim=(shape["n_features"],), latent_dim=shape["latent"]), encoder=Encoder(), decoder=Decoder())
    config = VAEConfig(input_dim=(shape["n_features"],), latent_dim=shape["latent"], reconstruction_loss=shape["loss"])
    return VAE(config, encoder=Encoder(), decoder=Decoder())


def train(shape, rows, epochs, fused, seed, folder, model="VAE"):
    "One fit with pythae's trainer: (seconds, last epoch's mean training loss)."
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    torch.manual_seed(seed)
    config = BaseTrainerConfig(output_dir=folder, num_epochs=epochs, learning_rate=1e-3, per_device_train_batch_size=shape["batch_size"],
                               optimizer_params={"fused": True} if fused else None, no_cuda=True, seed=seed)
    dataset = BaseDataset(torch.from_numpy(rows), torch.zeros(len(rows)))
    trainer = BaseTrainer(model=make_model(shape, model), train_dataset=dataset, training_config=config)
    losses = []
    step = trainer.train_step
    trainer.train_step = lambda epoch: losses.append(float(step(epoch))) or losses[-1]
    started = time.perf_counter()
    trainer.train()
    return time.perf_counter() - started, losses[-1]


def measure(args):
    "Both variants in turns; everything that the benchmark table needs, as a dict."
    import numpy as np
    import pythae  # noqa: F401  (its import time is not part of any measurement)
    import torch

    logging.disable(logging.INFO)
    torch.set_num_threads(args.threads)
    shape = dict(SHAPES[args.shape])
    if args.n_samples:
        shape["n_samples"] = args.n_samples
    rows = np.load(args.data).astype("float32") if args.data else make_data(shape, args.seed)
    shape["n_samples"], shape["n_features"] = rows.shape
    steps = -(-len(rows) // shape["batch_size"]) * args.epochs
    found = {name: {"seconds": [], "final_loss": []} for name in ("default", "fused")}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(-1, args.repeats):
            for name in found:
                seconds, loss = train(shape, rows, 1 if repeat < 0 else args.epochs, name == "fused", args.seed, folder, args.model)
                if repeat >= 0:
                    found[name]["seconds"].append(seconds)
                    found[name]["final_loss"].append(loss)
    for row in found.values():
        row["seconds_per_step"] = statistics.median(row["seconds"]) / steps
        row["final_loss"] = row["final_loss"][-1]
    return {"peer": "pythae", "version": "0.1.2", "torch": torch.__version__, "threads": args.threads, "shape": args.shape, "model": args.model, **shape,
            "epochs": args.epochs, "repeats": args.repeats, "steps": steps, "variants": found}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=sorted(SHAPES))
    for name, default in (("epochs", 5), ("repeats", 3), ("threads", 1), ("n-samples", 0), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    parser.add_argument("--model", choices=("VAE", "AE"), default="VAE", help="default VAE")
    parser.add_argument("--data", help="a .npy file of rows (n, d) instead of the simulated ones")
    parsed = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):
        result = measure(parsed)
    print(json.dumps(result))
