"""Fit a peer generator on a table and write new rows; run by the peer environment's python, not by augment_lib's.

usage: python generate.py FOLDER

FOLDER holds `table.parquet` (the training rows, target included) and `job.json`:
    {"model": "tvae" | "ctgan" | "copulagan", "n_samples": rows, "n_epochs": epochs, "seed": whole number,
     "discrete": [names of the categorical columns], "options": {constructor arguments of the generator}, "threads": number}
It writes `synthetic.parquet` and then, last and atomically, `done.json`. Standalone on purpose: it imports nothing of augment_lib.
"""
import json
import os
import random
import sys
import time
from pathlib import Path


def with_ctgan(job, table):
    "TVAE or CTGAN from the package ctgan."
    import ctgan

    cls = {"tvae": ctgan.TVAE, "ctgan": ctgan.CTGAN}[job["model"]]
    model = cls(epochs=job["n_epochs"], enable_gpu=False, **job["options"])
    model.set_random_state(job["seed"])
    model.fit(table, job["discrete"])
    return model.sample(job["n_samples"])


def with_copulagan(job, table):
    "CopulaGAN from the package sdv, every column declared, none detected."
    from sdv.metadata import Metadata
    from sdv.single_table import CopulaGANSynthesizer

    kinds = {name: {"sdtype": "categorical" if name in job["discrete"] else "numerical"} for name in table.columns}
    metadata = Metadata.load_from_dict({"tables": {"table": {"columns": kinds}}, "relationships": []})
    model = CopulaGANSynthesizer(metadata, epochs=job["n_epochs"], enable_gpu=False, **job["options"])
    model.fit({"table": table})
    drawn = model.sample(num_rows=job["n_samples"])
    return drawn["table"] if isinstance(drawn, dict) else drawn


def seed_everything(seed):
    "The peers read global random state; this process does nothing else, so it may be set."
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def main(folder):
    "Read the job, generate, write the rows, then the note that all is done."
    import pandas as pd
    import torch

    job = json.loads((folder / "job.json").read_text())
    torch.set_num_threads(job.get("threads", 1))
    table = pd.read_parquet(folder / "table.parquet")
    seed_everything(job["seed"])
    started = time.perf_counter()
    rows = (with_copulagan if job["model"] == "copulagan" else with_ctgan)(job, table)
    rows[list(table.columns)].to_parquet(folder / "synthetic.parquet")
    note = {"seconds": time.perf_counter() - started, "n_rows": len(rows), "python": sys.version.split()[0], "torch": torch.__version__}
    (folder / "done.tmp").write_text(json.dumps(note))
    os.replace(folder / "done.tmp", folder / "done.json")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
