"""Train a student of another framework and predict; run by that framework's own python, not by augment_lib's.

usage: python fit_predict.py FOLDER

FOLDER holds `train.parquet` (with a column `target`), `test.parquet` (without) and `job.json`:
    {"framework": "autogluon" | "h2o" | "autokeras", "n_epochs": number, "minutes": number, "seed": whole number,
     "discrete": [names of the categorical columns], "options": {...}, "threads": number}
It writes `prediction.parquet` (one column, `prediction`) and then, last and atomically, `done.json`.
Standalone on purpose: it imports nothing of augment_lib.
"""
import json
import os
import random
import sys
import time
from pathlib import Path


def with_autogluon(job, train, test, folder):
    "AutoGluon restricted to its neural networks."
    from autogluon.tabular import TabularPredictor

    networks = {"NN_TORCH": {"num_epochs": job["n_epochs"], "seed_value": job["seed"]}}
    predictor = TabularPredictor(label="target", problem_type="regression", eval_metric="root_mean_squared_error", path=str(folder / "model"), verbosity=0)
    predictor.fit(train, time_limit=60 * job["minutes"], hyperparameters=job["options"].pop("hyperparameters", networks), num_cpus=job["threads"], num_gpus=0,
                  **job["options"])
    return predictor.predict(test).to_numpy()


def with_h2o(job, train, test, folder):
    "H2O restricted to deep learning; its server listens on the loopback alone and is shut down; by a name of its own it joins no neighbour."
    import h2o
    from h2o.estimators import H2ODeepLearningEstimator

    h2o.no_progress()
    h2o.init(ip="127.0.0.1", port=54321 + 2 * (os.getpid() % 5000), name=f"augment-{os.getpid()}", bind_to_localhost=True, nthreads=job["threads"],
             max_mem_size="2g", strict_version_check=False, verbose=False, ice_root=str(folder), log_dir=str(folder))
    try:
        kinds = {name: "enum" for name in job["discrete"]}
        frames = [h2o.H2OFrame(table, column_types={name: kinds.get(name, "numeric") for name in table}) for table in (train, test)]
        model = H2ODeepLearningEstimator(epochs=job["n_epochs"], seed=job["seed"], reproducible=True, max_runtime_secs=60 * job["minutes"], **job["options"])
        model.train(x=list(test), y="target", training_frame=frames[0])
        return model.predict(frames[1]).as_data_frame()["predict"].to_numpy()
    finally:
        h2o.cluster().shutdown(prompt=False)


def with_autokeras(job, train, test, folder):
    "AutoKeras' regressor for tables, its target standardised (version 3.0.0 is known to leave the scale of the target otherwise)."
    import autokeras
    import keras
    import numpy as np

    keras.utils.set_random_seed(job["seed"] % 2**31)
    shift, scale = float(train.target.mean()), float(train.target.std()) or 1.0
    options = {"max_trials": 3, "overwrite": True, **job["options"]}
    model = autokeras.StructuredDataRegressor(directory=str(folder / "model"), seed=job["seed"] % 2**31, **options)
    X, X_test = (table.drop(columns="target", errors="ignore").to_numpy(dtype=object if job["discrete"] else float) for table in (train, test))
    model.fit(X, ((train.target - shift) / scale).to_numpy(), epochs=job["n_epochs"], verbose=0)
    return np.ravel(model.predict(X_test, verbose=0)) * scale + shift


def main(folder):
    "Read the job, train, write the predictions, then the note that all is done."
    import numpy as np
    import pandas as pd

    job = json.loads((folder / "job.json").read_text())
    train, test = pd.read_parquet(folder / "train.parquet"), pd.read_parquet(folder / "test.parquet")
    random.seed(job["seed"])
    np.random.seed(job["seed"] % 2**32)          # the frameworks read global state; this process does nothing else
    started = time.perf_counter()
    prediction = {"autogluon": with_autogluon, "h2o": with_h2o, "autokeras": with_autokeras}[job["framework"]](job, train, test, folder)
    pd.DataFrame({"prediction": np.asarray(prediction, dtype=float)}).to_parquet(folder / "prediction.parquet")
    (folder / "done.tmp").write_text(json.dumps({"seconds": time.perf_counter() - started, "python": sys.version.split()[0]}))
    os.replace(folder / "done.tmp", folder / "done.json")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
