"""Claims: every row can be read and judged; the statistics on tables whose answer is known; what is missing is said."""
import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from augment_lib.claims import COLUMNS, VERDICTS, Results, judge, judge_rule, load_claims, read_results, report, tally, write_report
from augment_lib.core import InputError
from augment_lib.rules import HIGHER, LOWER, METRICS, Clause, clauses_of, metrics_of, parse_rule
from augment_lib.statistics import best_of, cross_over, ratio_table

ROOT = Path(__file__).resolve().parents[1]
CLAIMS, RESULTS = ROOT / "claims" / "claims.csv", ROOT / "results"
SYSTEMS = {"30": "david", "31": "leo", "32": "gae", "33": "vae_zoo", "34": "lra", "35": "ml_teacher", "50": "choose", "51": "lsbo"}


@pytest.fixture(scope="module")
def claims():
    return load_claims(CLAIMS)


@pytest.fixture(scope="module")
def committed():
    return read_results(RESULTS)


def wide(values, seeds=range(3), metric="mse", regime="B", models=("forest",), spread=0.0):
    "{(family, data set): {method: value}} as a committed table."
    rng = np.random.default_rng(0)
    lines = [(f, d, regime, m, model, s, v * np.exp(spread * rng.standard_normal())) for (f, d), row in values.items() for m, v in row.items() for model in models for s in seeds]
    return pd.DataFrame(lines, columns=["family", "dataset", "regime", "method", "model", "seed", metric]).assign(run_id="30_x-0123456789")


def told(text, table, profile="small", metrics=None):
    return judge_rule(Results({("30_x", profile): table}, {("30_x", profile): metrics or {}}), "30_x", parse_rule(text))


HALF = wide({(f, f): {"new": 0.5, "none": 1.0, "same": 1.0} for f in "abcd"})


# ---- the file

def test_rows_are_complete(claims):
    assert claims.id.is_unique and len(claims) >= 200
    for column in set(COLUMNS) - {"meaning"}:
        assert (claims[column].str.strip() != "").all(), f"empty cells in {column}: {list(claims.id[claims[column].str.strip() == ''])}"
    assert claims.id.str.fullmatch(r"[a-z0-9-]+").all()
    papers = claims[claims.paper != "augment_lib (ours)"].paper       # what the library claims of itself stands beside the five papers
    assert papers.nunique() == 5 and papers.value_counts().min() >= 35 and claims.paper.nunique() == 6


def test_every_rule_parses(claims):
    for row in claims.itertuples():
        assert all(isinstance(c, Clause) for c in clauses_of(parse_rule(row.rule))), row.id


def test_experiments_are_named_by_system(claims):
    for name in claims.experiment.unique():
        number, _, rest = name.partition("_")
        assert number in SYSTEMS and rest.startswith(SYSTEMS[number] + "_") and re.fullmatch(r"[a-z0-9_]+", rest), name


def test_experiments_that_exist_are_spelt_right(claims):
    there = {p.stem for p in (ROOT / "nbs" / "experiments").glob("*.ipynb")}
    assert set(claims.experiment[claims.experiment.str.startswith("30_")]) <= there


def test_seeds_are_declared(claims):
    assert claims.seeds.str.fullmatch(r"0\.\.\d+").all()


@pytest.mark.parametrize("paper, kinds", [("DAVID", "key mech trade fail first next open quick"), ("LEO", "key mech smote kde diffusion modalities"),
                                          ("GAE", "t2 f4 t3 t4 limit mech"), ("LRA", "key mech trade fail first next open quick"), ("ML", "key mech trade fail first next open quick")])
def test_every_kind_of_statement_has_rows(claims, paper, kinds):
    ids = claims.id[claims.paper.str.startswith(paper)]
    for kind in kinds.split():
        assert ids.str.contains(rf"^[a-z]+-{kind}").any(), kind


def test_table_3_of_gae_is_whole(claims):
    "Nine rivals on three sets together and on CIFAR10; the direction follows the printed numbers."
    for row in claims[claims.id.str.fullmatch(r"gae-t3-[a-z0-9-]+-cifar")].itertuples():
        own, other = map(float, re.findall(r"[\d.]+(?=,|$)", row.paper_value)[-2:])
        assert row.rule.endswith("< 1" if own < other else "> 1"), row.id
    assert claims.id.str.fullmatch(r"gae-t3-[a-z0-9-]+-cifar").sum() == 9


def test_metrics_have_one_direction(claims):
    assert not HIGHER & LOWER
    used = set().union(*(metrics_of(parse_rule(rule)) for rule in claims.rule))
    assert used <= METRICS


def test_file_round_trip(claims, tmp_path):
    claims.to_csv(tmp_path / "c.csv", index=False)
    assert load_claims(tmp_path / "c.csv").equals(claims)


@pytest.mark.parametrize("change, message", [(lambda t: t.assign(id="x"), "occur twice"), (lambda t: t.assign(rule="ratio(a / b; mze) < 1"), "did you mean"), (lambda t: t.drop(columns="data"), "expected")])
def test_a_bad_file_is_refused(claims, tmp_path, change, message):
    change(claims.head(3)).to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(InputError, match=message):
        load_claims(tmp_path / "c.csv")


# ---- the language

@pytest.mark.parametrize("text, message", [
    ("", "expected a quantity"), ("ratio(a / b; mse)", "expected '<'"), ("ratio(a / b; mse) < 1 1", "'and', 'or' or the end"), ("ratio(a / b; mse) <", "expected a number"),
    ("ratio(a / b; mse) < nan", "finite"), ("ratio(a / b; mse) < -1", "positive"), ("ratio(a / b, mse) < 1", "expected ';'"), ("ratio(a / b; mse; unit) < 1", "expected '='"), ("(ratio(a / b; mse) < 1", "expected '\\)'"),
    ("spearman(level(a; mse)) < 0", "2 arguments"), ("ratio(best() / b; mse) < 1", "expected a method"), ("ratio(a / b; mse) < 1 by luck", "estimate"), ("import os", "expected a quantity"),
    ("ratio(a / b; mse; unit=sed) < 1", "did you mean 'seed'"), ("ratio(a / b; mse; level=x) < 1", "level"), ("ratio(a / b; mse; at_least=many) < 1", "at_least"), ("ratio(a / b; mse; profile=smoke) < 1", "profile")])
def test_bad_rules_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_rule(text)


def test_spaces_do_not_matter():
    a, b = parse_rule("ratio(a / b; mse; dataset=x|y) <= 0.9"), parse_rule("ratio( a/b;mse ;dataset = x | y )<=0.9")
    assert a.quantity._replace(text="") == b.quantity._replace(text="") and a[1:] == b[1:]


# ---- the statistics

def test_a_ratio_without_spread_is_exact():
    found = told("ratio(new / none; mse) < 1", HALF)
    assert found[:6] == ("reproduced", 0.5, 0.5, 0.5, 4, "family") and found.runs == "30_x-0123456789"
    assert told("ratio(none / new; mse) < 1", HALF).verdict == "not reproduced"


@pytest.mark.parametrize("rule, verdict", [("ratio(same / none; mse) < 1", "not reproduced"), ("ratio(same / none; mse) <= 1", "reproduced"), ("ratio(same / none; mse) >= 1", "reproduced"),
                                           ("ratio(new / none; mse) <= 0.5", "reproduced"), ("ratio(new / none; mse) < 0.5", "not reproduced"), ("ratio(new / none; mse) > 0.49", "reproduced")])
def test_the_threshold_itself(rule, verdict):
    assert told(rule, HALF).verdict == verdict


@pytest.mark.parametrize("op, verdict", [("<", "partly"), ("<=", "reproduced")])
def test_an_interval_that_touches(op, verdict):
    "One record says 0.9 [0.8, 1.0]: inside `<= 1`, not below 1."
    numbers = {"x | ratio": (0.9, "r"), "x | low": (0.8, "r"), "x | high": (1.0, "r")}
    assert told(f'metric("x | ratio") {op} 1', HALF, metrics=numbers).verdict == verdict


def test_five_siblings_count_once():
    siblings = {("algae", f"a{i}"): {"new": 0.5, "none": 1.0} for i in range(5)}
    others = {(f, f): {"new": 2.0, "none": 1.0} for f in ("servo", "boston")}
    found = told("ratio(new / none; mse) < 1", wide(siblings | others))
    assert found.verdict == "not reproduced" and found.n_units == 3
    assert np.isclose(found.effect, 2 ** (1 / 3))                     # by file it would be 2 ** (-3 / 7)


def test_one_family_is_judged_over_seeds_and_two_have_no_interval():
    noisy = wide({(f, f): {"new": 0.5, "none": 1.0} for f in "ab"}, seeds=range(10), spread=0.1)
    one = told("ratio(new / none; mse; family=a) < 1", noisy)
    assert (one.unit, one.n_units, one.verdict) == ("seed", 10, "reproduced") and one.low < one.effect < one.high
    two = told("ratio(new / none; mse) < 1", noisy)
    assert (two.unit, two.n_units, two.verdict) == ("family", 2, "partly") and np.isnan(two.low)


def test_models_and_data_sets_have_equal_say():
    table = wide({("a", "a"): {"new": 0.5, "none": 1.0}}, models=("forest", "svr"))
    table.loc[(table.model == "svr") & (table.method == "new"), "mse"] = 2.0
    assert np.isclose(told("ratio(new / none; mse) < 2", table).effect, 1.0)       # one half and one double cancel
    assert np.isclose(told("ratio(new / none; mse; model=svr) < 3", table).effect, 2.0)


def test_same_numbers_as_the_statistics_module():
    table = wide({(f, f"{f}{i}"): {"new": 0.9, "none": 1.0, "x": 1.1} for f in "abcdef" for i in range(2)}, spread=0.2)
    long = table.drop(columns="run_id").melt(id_vars=["family", "dataset", "regime", "method", "model", "seed"], var_name="metric").assign(fold=0)
    row = ratio_table(long, "none", ["new"], "mse").iloc[0]
    found = told("ratio(new / none; mse) < 1", table)
    assert np.allclose(found[1:4], row[["ratio", "low", "high"]].astype(float)) and found.verdict == row.verdict
    both = best_of(long, ["none", "x"], "rival", "mse")
    assert np.isclose(told("ratio(new / best(none, x); mse) < 1", table).effect, ratio_table(both, "rival", ["new"], "mse").ratio.item())
    crossed, _ = cross_over(long, ["new", "x"], "none", metric="mse", regime="B")
    assert np.isclose(told("ratio(crossed(new, x) / none; mse) < 1", table).effect, ratio_table(crossed, "none", ["chosen"], "mse").ratio.item())


def test_curves():
    table = wide({(f, f): {"h 0": 1.0, "h 1": 0.8, "h 2": 2.0} for f in "abcd"})
    assert np.isclose(told("interior(h 0, h 1, h 2; mse) < 1", table).effect, 0.8)
    assert np.isclose(told("spread(h 0, h 1, h 2; mse) <= 3", table).effect, 2.5)
    assert np.isclose(told("trend(h 0, h 1, h 2; mse) > 0", table).effect, 0.5)    # ranks 2, 1, 3 against 1, 2, 3
    assert told("trend(h 1, h 0, h 2; mse) > 0", table)[:4] == ("reproduced", 1, 1, 1)


def test_rank_correlation_of_two_quantities():
    table = wide({(f, f): {"new": v, "none": 1.0} for f, v in zip("abcdefgh", np.linspace(0.5, 2, 8))})
    table["r2_y"] = table.family.map(dict(zip("abcdefgh", np.linspace(0.9, 0.2, 8))))
    found = told("spearman(level(new; r2_y), ratio(new / none; mse)) < 0", table)
    assert found.verdict == "reproduced" and np.isclose(found.effect, -1) and found.n_units == 8
    assert told("spearman(level(new; r2_y), ratio(new / none; mse); family=a|b) < 0", table).verdict == "not run"


def test_rank_correlation_within_one_family_is_judged_over_its_points():
    table = wide({("a", "a"): {"new": 1.0, "none": 1.0}}, seeds=range(30), spread=0.5)
    table["r2_y"] = np.where(table.method == "new", table.mse.rank(), 0) + np.random.default_rng(1).normal(0, 12, len(table))
    found = told("spearman(level(new; r2_y), level(new; mse); points=seed) > 0", table)
    assert (found.verdict, found.n_units, found.unit) == ("reproduced", 30, "point") and 0 < found.low < found.effect < found.high <= 1
    assert told("spearman(level(new; r2_y), level(new; mse); points=seed) < 0", table).verdict == "not reproduced"


def test_everywhere_looks_at_each_data_set():
    table = wide({(f, f): {"new": v, "none": 1.0} for f, v in zip("abcd", (0.5, 0.5, 0.5, 1.1))})
    assert told("ratio(new / none; mse) < 1", table).effect < 1
    assert told("ratio(new / none; mse) < 1 everywhere", table).verdict == "partly"
    assert told("ratio(new / none; mse; dataset=a|b|c) < 1 everywhere", table).verdict == "reproduced"


def test_joined_tests():
    yes, no, unknown = "ratio(new / none; mse) < 1", "ratio(new / none; mse) > 1", "ratio(new / none; sera) < 1"
    for text, verdict in {f"{yes} and {yes}": "reproduced", f"{yes} and {no}": "not reproduced", f"{yes} and {unknown}": "not run", f"{unknown} and {no}": "not reproduced", f"{yes} or {no}": "reproduced",
                          f"{no} or {unknown}": "not run", f"({no} or {yes}) and {yes}": "reproduced"}.items():
        assert told(text, HALF).verdict == verdict, text


def test_best_follows_the_direction_of_the_metric():
    rows = {("f", "f"): {"new": 0.6, "x": 0.5, "y": 0.9}}
    assert np.isclose(told("difference(new - best(x, y); auroc) > 0", wide(rows, metric="auroc")).effect, -0.3)
    assert np.isclose(told("difference(new - best(x, y); mae) > 0", wide(rows, metric="mae")).effect, 0.1)


# ---- what is missing, and what is damaged

@pytest.mark.parametrize("rule, words", [
    ("ratio(new / none; sera) < 1", "no column 'sera'"), ("ratio(news / none; mse) < 1", "no method 'news' (nearest: 'new')"), ("ratio(new / none; mse; regime=A) < 1", "no rows with regime=A (it has B)"),
    ("ratio(new / none; mse; part=x) < 1", "no column 'part'"), ("ratio(new / none; mse; experiment=31_y) < 1", "not built yet"), ("metric(B_ratio) < 1", "no record of 30_x holds 'B_ratio'"),
    ("ratio(new / none; mse; profile=paper) < 1", "no committed table")])
def test_what_is_missing_is_named(rule, words):
    found = told(rule, HALF)
    assert found.verdict == "not run" and words in found.why and np.isnan(found.effect)


def test_an_optional_method_may_be_missing_a_needed_one_not():
    assert told("ratio(new / best(none, extra?); mse) < 1", HALF).verdict == "reproduced"
    assert told("ratio(new / best(none, extra); mse) < 1", HALF).verdict == "not run"


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_damaged_values_give_no_verdict(bad):
    assert told("ratio(new / none; mse) < 1", HALF.assign(mse=bad)).verdict == "not run"


def test_a_damaged_data_set_is_left_out_and_said():
    found = told("ratio(new / none; mse) < 1", HALF.assign(mse=HALF.mse.where((HALF.family != "d") | (HALF.method != "new"))))
    assert found.verdict == "reproduced" and found.n_units == 3
    assert "3 of 4 data sets (without d)" in found.why and "3 unfinished pairs" in found.why


def test_words_in_a_number_column():
    assert told("ratio(new / none; mse) < 1", HALF.assign(mse="broken")).verdict == "not run"


def test_ambiguous_rows_are_not_averaged_silently():
    assert "must name a part" in told("ratio(new / none; mse) < 1", pd.concat([HALF, HALF])).why
    assert "the rule names none" in told("ratio(new / none; mse) < 1", pd.concat([HALF, HALF.assign(regime="A")])).why


def test_too_few_families_for_the_claim():
    found = told("ratio(new / none; mse; at_least=12; families=12) < 1", HALF)
    assert found.verdict == "partly" and "4 of 12 families" in found.why and "at least 12 needed" in found.why


def test_paper_is_preferred_unless_it_covers_less():
    one = wide({("a", "a"): {"new": 2.0, "none": 1.0}}, seeds=range(10))
    rule = parse_rule("ratio(new / none; mse) < 1")
    both = Results({("30_x", "paper"): HALF.assign(mse=1.0), ("30_x", "small"): HALF}, {})
    assert judge_rule(both, "30_x", rule).profile == "paper"
    part = Results({("30_x", "paper"): one, ("30_x", "small"): HALF}, {})
    assert judge_rule(part, "30_x", rule).profile == "small"            # ten seeds of one set are not four families


# ---- the report

def test_report_is_written_from_results_alone(tmp_path):
    made = pd.DataFrame([("x-1", "P", "s", "v", "30_x", "ratio(new / none; mse) < 1", "d", "0..2", ""), ("x-2", "Q", "s", "v", "31_y", "level(a; mse) < 1", "d", "0..2", "")], columns=COLUMNS)
    (tmp_path / "tables").mkdir(), (tmp_path / "records").mkdir()
    HALF.to_parquet(tmp_path / "tables" / "30_x.small.parquet")
    (tmp_path / "records" / "30_x.small.jsonl").write_text('{"id": "30_x-1", "metrics": {"B_ratio": 0.9}}\n')
    found = write_report(made, tmp_path)
    kept = pd.read_csv(tmp_path / "claims.csv", keep_default_na=False)
    assert list(kept.columns) == ["id", "verdict", "effect", "low", "high", "n_units", "unit", "profile", "runs", "why"]
    assert list(kept.verdict) == list(found.verdict) == ["reproduced", "not run"] and kept.effect[0] == "0.5"
    assert not list(tmp_path.glob(".claims*")), "a temporary file was left behind"
    assert report(made, found).measured.tolist() == ["0.5 [0.5, 0.5]", ""] and tally(made, found).loc["Q", "not run"] == 1
    before = (tmp_path / "claims.csv").read_bytes()
    write_report(made, tmp_path)
    assert (tmp_path / "claims.csv").read_bytes() == before, "same results, same bytes"


def test_rules_reproduce_what_the_notebooks_recorded(committed):
    "Where a record answers the same question, the number computed from the table is the notebook's own."
    if not {("30_david_ablation", "small"), ("30_david_mixed", "small")} <= set(committed.tables):
        pytest.skip("these results are not committed")
    same = [("30_david_ablation", "ratio(kBVAEw / BVAEw; weighted_mse; part=pieces) < 1", "1 kBVAEw < BVAEw | ratio"), ("30_david_ablation", "ratio(density x 1 / density x 4; rare_error; part=density) < 1", "4 x 1 < x 4, rarest decile | ratio"),
            ("30_david_mixed", "ratio(softmax / squared; weighted_mse; regime=B) < 1", "weighted MSE | effect"), ("30_david_mixed", "difference(softmax - squared; total_variation; regime=B) < 0", "total variation | effect")]
    for experiment, rule, name in same:
        found = judge_rule(committed, experiment, parse_rule(rule))
        assert np.isclose(found.effect, committed.metrics[experiment, "small"][name][0], rtol=1e-6), name


def test_committed_report_is_up_to_date(claims, committed):
    path = RESULTS / "claims.csv"
    if not path.exists():
        pytest.skip("no report yet")
    kept = pd.read_csv(path, keep_default_na=False, dtype=str)
    fresh = pd.read_csv(io.StringIO(judge(claims, committed).to_csv(index=False, float_format="%.6g")), keep_default_na=False, dtype=str)
    assert set(kept.verdict) <= set(VERDICTS) and list(kept.id) == list(claims.id)
    stale = kept.id[(kept.verdict != fresh.verdict)].tolist()
    assert not stale, f"{stale}: run `augment-lib claims`"
    assert next(csv.reader(path.open()))[0] == "id"
