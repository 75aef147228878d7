"""Does DAVID work on every regression set there is?  usage: python tests/sets.py [names] [--rows N] [--epochs N] [--jobs N]

Runs `DAVID(random_state=0).fit_resample(X, y)` on each set without missing cells (Ames is imputed first) and checks what comes
back; a set with missing cells must be refused with an error that names the column. Exit code 1 if a set fails.
"""

import argparse
import os
import sys
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are imported: one thread a process

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from augment_lib.core import DataUnavailableError, InputError
from augment_lib.data import load_dataset, regression_sets

LIMITS = {"diamonds": 90}  # seconds allowed, full size and default settings
IMPUTED = ("ames",)


def impute(X):
    """Medians for numbers, a level of its own for missing text."""
    fill = {c: X[c].median() if pd.api.types.is_numeric_dtype(X[c]) else "missing" for c in X}
    return X.fillna(fill)


def check_result(X, y, X_res, y_res):
    """What is wrong with an augmented table, as a list of sentences; empty if nothing is."""
    n, wrong = len(X), []
    new, y_new = X_res.iloc[n:], np.asarray(y_res)[n:]
    if len(X_res) != 2 * n or len(y_res) != 2 * n:
        wrong.append(f"{len(X_res)} rows and {len(y_res)} targets for {n} originals, expected {2 * n}")
    if not (X_res.iloc[:n].equals(X) and (np.asarray(y_res)[:n] == np.asarray(y)).all()):
        wrong.append("the first rows are not the originals")
    if not (X_res.dtypes.equals(X.dtypes) and y_res.dtype == y.dtype):
        wrong.append("dtypes changed")
    if X_res.isna().any(axis=None) or pd.isna(y_res).any():
        wrong.append("missing cells")
    for c in X:
        if pd.api.types.is_numeric_dtype(X[c]):
            inside = new[c].between(X[c].min(), X[c].max())
        else:
            inside = new[c].isin(X[c].unique())
        if not inside.all():
            wrong.append(f"column {c!r}: {(~inside).sum()} cells out of range")
    if ((y_new < y.min()) | (y_new > y.max())).any():
        wrong.append("the target leaves its range")
    return wrong


def check_refusal(data):
    """What is wrong with the error for a table with missing cells; empty if it names the first such column."""
    from augment_lib.david import DAVID

    try:
        DAVID(random_state=0).fit_resample(data.X, data.y)
    except InputError as error:
        column = data.missing.index[0]
        expected = "Input y" if column == data.target else f"{column!r}"
        return [] if "NaN" in str(error) and expected in str(error) else [f"the error does not name {column!r}: {error}"]
    return [f"no error for {int(data.missing.sum())} missing cells"]


def run_set(name, rows=None, epochs=None):
    """One line of the report: name, shape, seconds, R2 of features and target, what is wrong (a string, '' if nothing)."""
    from augment_lib.david import DAVID

    try:
        data = load_dataset(name)
    except DataUnavailableError as error:
        return dict(name=name, skipped=str(error).splitlines()[0], wrong="")
    X, y = (impute(data.X) if name in IMPUTED else data.X), data.y
    line = dict(name=name, rows=len(X), columns=X.shape[1], text=sum(not pd.api.types.is_numeric_dtype(X[c]) for c in X), wrong="")
    start = time.perf_counter()
    if X.isna().any(axis=None) or y.isna().any():
        return line | dict(outcome="refused", wrong="; ".join(check_refusal(data)), seconds=time.perf_counter() - start)
    if rows is not None and len(X) > rows:
        chosen = np.sort(np.random.default_rng(0).choice(len(X), rows, replace=False))
        X, y = X.iloc[chosen], y.iloc[chosen]
        line["rows"] = rows
    sampler = DAVID(random_state=0, n_epochs=epochs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            X_res, y_res = sampler.fit_resample(X, y)
    except Exception as error:  # one bad set must not hide the others
        return line | dict(wrong=f"{type(error).__name__}: {error}", seconds=time.perf_counter() - start)
    seconds = time.perf_counter() - start
    wrong = check_result(X, y, X_res, y_res)
    if rows is None and epochs is None and seconds > LIMITS.get(name, np.inf):
        wrong.append(f"took {seconds:.0f} s, allowed are {LIMITS[name]}")
    found = sampler.diagnostics_
    return line | dict(outcome="resampled", seconds=seconds, r2_x=found["r2_x"], r2_y=found["r2_y"], wrong="; ".join(wrong))


def report(lines):
    """Print the table; returns the number of sets that failed."""
    table = pd.DataFrame(lines)
    skipped = table[table["skipped"].notna()] if "skipped" in table else table.iloc[:0]
    done = table.drop(index=skipped.index).drop(columns="skipped", errors="ignore")
    if len(done):
        print(done.to_string(index=False, float_format=lambda v: f"{v:.2f}", na_rep=""))
    for line in skipped.itertuples():
        print(f"skipped {line.name}: {line.skipped}")
    failed = int((done["wrong"] != "").sum()) if len(done) else 0
    seconds = done.get("seconds", pd.Series(dtype=float)).sum()
    print(f"{len(done)} sets, {failed} failed, {len(skipped)} skipped, {seconds:.0f} s of work")
    return failed


def main(argv=None):
    """Run the sets; returns the exit code."""
    parser = argparse.ArgumentParser(description="DAVID on every regression set")
    parser.add_argument("names", nargs="*", help="names of sets; none: all")
    parser.add_argument("--rows", type=int, help="use at most this many rows of a set (default: all)")
    parser.add_argument("--epochs", type=int, help="training epochs (default: DAVID's own)")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each (default 2)")
    args = parser.parse_args(argv)
    names = args.names or [*regression_sets(complete=True), *regression_sets(complete=False)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        work = (delayed(run_set)(name, args.rows, args.epochs) for name in names)
        lines = Parallel(n_jobs=min(args.jobs, len(names)))(work)
    return int(report(lines) > 0)


if __name__ == "__main__":
    sys.exit(main())
