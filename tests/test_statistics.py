"""statistics: against scipy, against hand-made cases, and against simulations whose truth is known."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from augment_lib.core import InputError
from augment_lib.statistics import (best_of, bootstrap_ratio, corrected_t, cross_over, family_effects, holm, mean_ranks, paired_log_ratios,
                                    paired_test, ratio_table, split_families, verdict)


def table(values, metric="mse", model="r", regime="B"):
    """values: (dataset, family, method, seed, fold, value)"""
    rows = [(d, f, regime, m, model, s, k, metric, v, "") for d, f, m, s, k, v in values]
    return pd.DataFrame(rows, columns="dataset family regime method model seed fold metric value error".split())


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    return table([(f"d{i}", f"f{i // 2}", m, s, k, np.exp(rng.normal(shift, 0.1)))
                  for i in range(14) for m, shift in (("none", 0), ("a", -0.2), ("b", 0.1)) for s in range(3) for k in range(2)])


def test_ratio_by_hand():
    long = table([("d1", "f1", "n", 0, 0, 1.0), ("d1", "f1", "n", 0, 1, 3.0), ("d1", "f1", "m", 0, 0, 1.0), ("d1", "f1", "m", 0, 1, 1.0),
                  ("d2", "f1", "n", 0, 0, 1.0), ("d2", "f1", "m", 0, 0, 1.0), ("d3", "f2", "n", 0, 0, 2.0), ("d3", "f2", "m", 0, 0, 4.0)])
    effects = family_effects(paired_log_ratios(long, "m", "n", "mse"))
    assert np.allclose(effects, [np.log(0.5) / 2, np.log(2)])            # fold means first, data sets, then families
    assert np.isclose(ratio_table(long, "n", metric="mse").ratio[0], np.exp(np.log(2) / 4))


def test_a_lost_fold_is_lost_for_both():
    long = table([("d", "f", m, 0, k, v) for m, vs in (("n", (1.0, 100.0)), ("m", (2.0, np.nan))) for k, v in enumerate(vs)])
    pairs = paired_log_ratios(long, "m", "n", "mse")
    assert np.isclose(pairs.log_ratio[0], np.log(2)) and pairs.attrs["n_lost_folds"] == 1


def test_method_without_values_is_not_run(small):
    dead = small.assign(value=np.where(small.method == "a", np.nan, small.value))
    line = ratio_table(dead, "none", metric="mse").set_index("method").loc["a"]
    assert line.verdict == "not run" and np.isnan(line.ratio) and line.n_families == 0


def test_against_scipy(small):
    effects = family_effects(paired_log_ratios(small, "a", "none", "mse"))
    line = ratio_table(small, "none", metric="mse").set_index("method").loc["a"]
    assert line.p == stats.wilcoxon(effects).pvalue and line.n_families == 7
    ranks, statistic, p = mean_ranks(small, "mse")
    by_hand = small.groupby(["family", "dataset", "method"]).value.mean().unstack().rank(axis=1).groupby("family").mean()
    assert (statistic, p) == tuple(stats.friedmanchisquare(*by_hand.to_numpy().T))
    assert ranks.idxmin() == "a" and np.isclose(ranks.sum(), 6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_properties(p):
    adjusted, p = holm(p), np.array(p)
    assert (adjusted >= p).all() and (adjusted <= np.minimum(1, p * len(p)) + 1e-12).all()
    for i in np.argsort(p):                                               # closed testing by hand: at 5 %, step down until the first failure
        step = np.sum(p < p[i])
        if p[i] * (len(p) - step) > 0.05:
            assert (adjusted[p >= p[i]] > 0.05).all()
            break


def test_holm_by_hand():
    assert np.allclose(holm([0.04, 0.01, 0.03, 0.005]), [0.06, 0.03, 0.06, 0.02])


def test_corrected_t_by_hand():
    d = np.array([0.02, 0.05, -0.01, 0.04, 0.03])
    error = np.sqrt((1 / 5 + 1 / 4) * d.var(ddof=1))
    found = corrected_t(d, 0.25)
    assert np.isclose(found["t"], d.mean() / error) and np.isclose(found["p"], 2 * stats.t.sf(d.mean() / error, 4))
    assert np.isclose(found["high"] - found["low"], 2 * stats.t.ppf(0.975, 4) * error)
    assert corrected_t([0.0, 0.0], 0.25)["p"] == 1 and corrected_t([0.1, 0.1], 0.25)["p"] == 0


def test_bootstrap_interval_covers():
    hits = 0
    for seed in range(200):
        draw = np.random.default_rng(seed).normal(-0.05, 0.1, 20)
        _, low, high = bootstrap_ratio(draw, n_boot=500, random_state=seed)
        hits += low <= np.exp(-0.05) <= high
    assert 0.86 <= hits / 200 <= 0.99                                     # near 95 %, a little low as percentile intervals are


def test_verdicts():
    assert [verdict(e, i) for e, i in ((-1, (-2, -0.1)), (-1, (-2, 0.1)), (1, (0.5, 2)), (0, (-1, 1)), (np.nan, (0, 1)))] == \
        ["reproduced", "partly", "not reproduced", "not reproduced", "not run"]


def test_smallest_p_of_five():
    assert paired_test(-np.arange(1, 6)) == 0.0625 and paired_test([0, 0]) == 1


def test_best_of_takes_the_lower_and_skips_failures():
    long = table([("d1", "f1", "a", 0, 0, 1.0), ("d1", "f1", "b", 0, 0, 2.0), ("d2", "f2", "a", 0, 0, np.nan), ("d2", "f2", "b", 0, 0, 9.0)])
    best = best_of(long, ["a", "b"], "bar", "mse")
    assert best[best.method == "bar"].set_index("dataset").value.to_dict() == {"d1": 1.0, "d2": 9.0}
    with pytest.raises(InputError):
        best_of(long, ["a", "zzz"], "bar", "mse")


def test_cross_over_never_reports_where_it_chose():
    rows = []
    families = [f"f{i}" for i in range(8)]
    half, _ = split_families(families, 0)
    for f in families:                                                    # a wins on the first half only, b on the other only
        for m, v in (("none", 1.0), ("a", 0.5 if f in half else 2.0), ("b", 2.0 if f in half else 0.5)):
            rows.append((f, f, m, 0, 0, v))
    long, choices = cross_over(table(rows), ["a", "b"], "none", metric="mse", seed=0)
    assert choices.chosen.tolist() == ["a", "b"]
    assert (long[long.method == "chosen"].value == 2.0).all()             # what was best here is worst there
    assert len(long[long.method == "chosen"]) == 8


def test_halves():
    a, b = split_families(list("abcdefg") * 2, 3)
    assert sorted(a + b) == list("abcdefg") and abs(len(a) - len(b)) == 1
    assert split_families(list("abcdefg"), 3) == (a, b)
