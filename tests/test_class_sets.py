"""Class sets: the declared lists against the rule and the registry, thinning, dropping, the loaders of licensed files on look-alikes, and laws with a known posterior."""
import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from sklearn.datasets import make_circles, make_moons

from augment_lib.class_sets import (GENOMIC, HARDER, PMLB_IMBALANCED, describe_classes, drop_top_genes, genomic_sets, harder_genomics,
                                    is_imbalanced, keel_sets, load_adni, load_tcga, pmlb_imbalanced, thin_classes)
from augment_lib.core import DataUnavailableError, InputError
from augment_lib.data import Dataset, load_dataset, registry
from augment_lib.files import mirror_dir
from augment_lib.simulators import ClassLaw

needs_mirror = pytest.mark.skipif(mirror_dir() is None, reason="needs the files")


def made(n=60, d=8, classes=("a", "b", "c"), seed=0):
    rng = np.random.default_rng(seed)
    y = pd.Series(rng.choice(list(classes), n), name="label")
    return Dataset("made", pd.DataFrame(rng.normal(size=(n, d)), columns=[f"g{j}" for j in range(d)]), y, "made", "classification", "label", "", "0" * 64, "made")


# ---- lists

def test_lists_are_registered_and_do_not_overlap():
    keel, pmlb = keel_sets(), pmlb_imbalanced()
    assert len(keel) == 40 and all(registry().task[name] == "classification" for name in [*keel, *pmlb, *genomic_sets(), *HARDER])
    assert not set(keel.values()) & set(pmlb.values())
    assert list(genomic_sets()) == list(GENOMIC)


@needs_mirror
def test_the_rule_finds_exactly_the_declared_sets_of_the_pmlb():
    table = registry()
    passed = {name.removeprefix("pmlb_") for name in table.name if name.startswith("pmlb_") and table.task[name] == "classification"
              and table.family[name] not in keel_sets().values() and is_imbalanced(load_dataset(name).y)}
    assert passed == set(PMLB_IMBALANCED)


@needs_mirror
def test_harder_sets_are_what_is_declared():
    sets = {data.family: data for data in harder_genomics()}
    assert sets["gordon"].name == "gordon-mesothelioma_12rows-drop150" and sets["gordon"].X.shape == (162, 12533 - 150)
    assert sets["golub"].X.shape == (59, 7079) and sets["khan"].X.shape == (63, 2008)
    for name, (keep, _) in HARDER.items():
        counts = sets[name].y.value_counts().to_dict()
        before = load_dataset(name).y.value_counts().to_dict()
        assert counts == {label: keep.get(label, rows) for label, rows in before.items()}
        assert sets[name].X.abs().max().max() < 100 and ("arcsinh" in sets[name].note) == (name in ("gordon", "golub"))
        assert "dropped" in sets[name].note or "thinned" in sets[name].note


@pytest.mark.parametrize("counts, options, expected", [
    ((61, 20), {}, True), ((60, 20), {}, False), ((100, 19), {}, False), ((40, 20), {"ratio": 1.5}, True), ((100, 10), {"min_rows": 10}, True),
    ((100,), {}, False), ((90, *[20] * 9), {}, True), ((90, *[20] * 10), {}, False), ((90, *[20] * 10), {"max_classes": 11}, True)])
def test_rule(counts, options, expected):
    y = np.repeat(np.arange(len(counts)), counts)
    assert is_imbalanced(y, **options) is expected and is_imbalanced(pd.Series(y).map("c{}".format), **options) is expected


def test_description_counts():
    data = made(40)
    line = describe_classes([data]).iloc[0]
    counts = data.y.value_counts()
    assert (line.rows, line["columns"], line.classes, line.rarest_rows) == (40, 8, 3, counts.min()) and counts[line.rarest] == counts.min()
    assert np.isclose(line.base_rate, counts.min() / 40) and np.isclose(line.ratio, counts.max() / counts.min())


# ---- thinning and dropping

@settings(max_examples=30)
@given(a=st.integers(1, 10), b=st.floats(0.01, 0.15), seed=st.integers(0, 5))
def test_thinning_keeps_what_it_says(a, b, seed):
    data = made(300)
    thin = thin_classes(data, {"a": a, "b": b}, seed=seed)
    counts = thin.y.value_counts().to_dict()
    assert counts["a"] == a and counts["c"] == (data.y == "c").sum()
    assert abs(counts["b"] - b * len(thin.y)) <= 1
    rows = pd.concat([data.X, data.y], axis=1).merge(pd.concat([thin.X, thin.y], axis=1), how="right", indicator=True)
    assert (rows._merge == "both").all() and len(rows) == len(thin.y)             # rows and labels stay together
    assert thin.name == f"made-a_{a}rows-b_{counts['b']}rows" and f"(seed {seed})" in thin.note


def test_thinning_keeps_order_dtype_and_provenance():
    data = made(100)
    ordered = Dataset(**{**vars(data), "X": data.X.assign(g0=np.arange(100.0)), "y": data.y.astype("category"), "note": "first"})
    thin = thin_classes(ordered, {"a": 3})
    assert thin.X.g0.is_monotonic_increasing and thin.y.dtype == "category" and thin.note.startswith("first; ") and thin.family == "made"
    assert thin_classes(ordered, {}).y.equals(ordered.y) and thin_classes(ordered, {}).name == "made"


@pytest.mark.parametrize("keep, message", [({"z": 3}, "class 'z'"), ({"a": 1000}, "rows=1000"), ({"a": 0}, "rows=0"), ({"a": 0.7, "b": 0.4}, "shares of 1.1"),
                                           ({"a": 1.5}, "out of range"), ({"a": -0.1}, "out of range")])
def test_thinning_refuses(keep, message):
    with pytest.raises(InputError, match=message):
        thin_classes(made(), keep)


def test_dropping_removes_the_best_and_only_them():
    data = made(90, 30)
    X = data.X.copy()
    X["g7"] += 5 * (data.y == "a")
    X["g3"] += 3 * (data.y == "b")
    X["g9"] = 1.0                                                                 # a constant column has no F and is never the best
    data = Dataset(**{**vars(data), "X": X})
    two = drop_top_genes(data, 2)
    assert list(two.X) == [name for name in X if name not in ("g3", "g7")] and two.y.equals(data.y)
    assert "g9" in drop_top_genes(data, 29).X and drop_top_genes(data, 0) is data
    for bad in (30, -1, 2.5, "all"):
        with pytest.raises(InputError, match="n="):
            drop_top_genes(data, bad)


# ---- licensed files

def tcga(folder, name="PFI", packed=False, n=40, genes=25):
    rng = np.random.default_rng(0)
    patients = [f"TCGA-{rng.integers(10, 99)}-{1000 + i}" for i in range(n)]
    tumours, normal = [f"{p}-01" for p in patients], [f"{p}-11" for p in patients[:10]]
    second = [f"{p}-02" for p in patients[:3]]
    cells = pd.DataFrame(rng.normal(8, 3, (genes, n + 13)), index=[f"GENE{j}" for j in range(genes)], columns=tumours + normal + second).rename_axis("sample")
    cells = cells.iloc[:, rng.permutation(n + 13)]
    text = cells.to_csv(sep="\t")
    if packed:
        (folder / "TCGA.LUNG.sampleMap_HiSeqV2.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (folder / "TCGA.LUNG.sampleMap_HiSeqV2").write_text(text)
    event = pd.Series(rng.integers(0, 2, n).astype(float), index=tumours)
    event.iloc[4] = np.nan
    told = pd.DataFrame({"_PATIENT": patients, name: event, f"{name}.time": 1.0}).rename_axis("sample")
    pd.concat([told, told.set_axis([b[:12] + "-11" for b in told.index]).rename_axis("sample").iloc[:10]]).to_csv(folder / "survival_LUNG_survival.txt", sep="\t")
    return cells, event


@pytest.mark.parametrize("name, packed", [("PFI", False), ("PFS", True)])
def test_tcga_rows_are_primary_tumours_with_a_target(tmp_path, name, packed):
    cells, event = tcga(tmp_path, name, packed)
    data = load_tcga(tmp_path)
    assert data.X.shape == (39, 25) and data.name == data.family == "tcga_lung" and data.target == name and len(data.sha256) == 64
    expected = cells[[b for b in sorted(event.dropna().index)]].T
    assert np.allclose(np.sort(data.X.to_numpy(), axis=0), np.sort(expected.to_numpy(), axis=0))
    where = {round(row[0], 12): label for row, label in zip(data.X.to_numpy(), data.y)}
    assert all(where[round(cells.loc["GENE0", barcode], 12)] == str(int(label)) for barcode, label in event.dropna().items())


def test_tcga_prefers_the_survival_table(tmp_path):
    tcga(tmp_path)
    (tmp_path / "LUNG_clinicalMatrix").write_text("sampleID\tage\nTCGA-05-1000-01\t50\n")
    assert load_tcga(tmp_path).target == "PFI"


def test_tcga_errors(tmp_path):
    with pytest.raises(DataUnavailableError, match="expression table.*licensed"):
        load_tcga(tmp_path / "nowhere")
    cells, _ = tcga(tmp_path)
    with pytest.raises(InputError, match="expected two"):
        load_tcga(tmp_path, target="PFI.time")
    survival = tmp_path / "survival_LUNG_survival.txt"
    survival.write_text(survival.read_text().replace("PFI", "OS"))
    with pytest.raises(InputError, match="no column 'PFS'.*Pass target="):
        load_tcga(tmp_path)
    assert load_tcga(tmp_path, target="OS").target == "OS"
    expression = tmp_path / "TCGA.LUNG.sampleMap_HiSeqV2"
    whole = expression.read_text()
    cells.T.to_csv(expression, sep="\t")
    with pytest.raises(InputError, match="genes in rows"):
        load_tcga(tmp_path, target="OS")
    (tmp_path / "second_HiSeqV2.tsv").write_text(whole)
    with pytest.raises(DataUnavailableError, match="2 files"):
        load_tcga(tmp_path, target="OS")


def adni(folder, **columns):
    rng = np.random.default_rng(1)
    probes = pd.DataFrame(rng.normal(size=(20, 4)), columns=["11715989_a_at_JTB", "11715990_s_at_X", "11715991_at_Y", "11715992_x_at_Z || W"])
    table = probes.assign(RID=np.arange(20), PHASE="ADNI2", DIAGNOSIS=np.resize([1.0, 2.0, 3.0, np.nan], 20)).assign(**columns)
    table.to_csv(folder / "ADNI_Gene_Expression.csv", index=False)
    return table


def test_adni_keeps_probes_and_classes(tmp_path):
    table = adni(tmp_path)
    data = load_adni(tmp_path)
    assert data.X.shape == (15, 4) and data.y.value_counts().to_dict() == {"1": 5, "2": 5, "3": 5} and data.dropped == ("RID", "PHASE")
    assert np.allclose(data.X, table[table.DIAGNOSIS.notna()][list(data.X)])


def test_adni_errors(tmp_path):
    with pytest.raises(DataUnavailableError, match="ADNI table"):
        load_adni(tmp_path)
    adni(tmp_path)
    with pytest.raises(InputError, match="no column 'DX'"):
        load_adni(tmp_path, target="DX")
    adni(tmp_path, **{"11715990_s_at_X": ["1.0"] * 19 + ["absent"]})
    with pytest.raises(InputError, match="1 cells of expression are not numbers, first"):
        load_adni(tmp_path, target="RID")
    adni(tmp_path, DIAGNOSIS="CN")
    with pytest.raises(InputError, match="one class only"):
        load_adni(tmp_path)


# ---- laws with a known posterior

@pytest.mark.parametrize("kind, shares", [("moons", (0.8, 0.2)), ("rings", (0.5, 0.3, 0.2)), ("gaussians", (0.6, 0.3, 0.1))])
def test_posterior_is_calibrated(kind, shares):
    law = ClassLaw(kind, noise=0.3, shares=shares, extra=2)
    X, y = law.sample(20_000, random_state=0)
    p = law.posterior(X)
    assert np.allclose(p.sum(axis=1), 1) and X.shape == (20_000, 4)
    for c in range(len(shares)):
        bins = pd.cut(p[:, c], np.linspace(0, 1, 11))
        told = pd.DataFrame({"p": p[:, c], "hit": y == c}).groupby(bins, observed=True).agg(p=("p", "mean"), hit=("hit", "mean"), n=("p", "size"))
        told = told[told.n > 200]
        assert (np.abs(told.p - told.hit) < 4 * np.sqrt(0.25 / told.n)).all()


def test_posterior_against_adaptive_quadrature():
    law, place = ClassLaw("moons", noise=0.15, shares=(0.7, 0.3)), np.array([0.7, 0.1])

    def density(arc):
        def at(t):
            point = arc[:2] + arc[2] * np.array([np.cos(t), np.sin(t)])
            return np.exp(-((place - point) ** 2).sum() / (2 * 0.15**2))
        return integrate.quad(at, arc[3], arc[4], limit=200)[0] / (arc[4] - arc[3])

    parts = [prior * density(arc) for prior, arc in zip((0.7, 0.3), law.arcs)]
    assert np.isclose(law.posterior(place[None])[0, 1], parts[1] / sum(parts), rtol=1e-4)


def test_shapes_are_those_of_scikit_learn():
    for kind, (places, labels) in {"moons": make_moons(400, noise=0, random_state=0), "rings": make_circles(400, noise=0, factor=0.5, random_state=0)}.items():
        assert ClassLaw(kind).distance(places, labels).max() < 1e-9
        assert ClassLaw(kind).distance(places, 1 - labels).mean() > 0.2


def test_distance_against_a_fine_arc():
    law, rng = ClassLaw("moons"), np.random.default_rng(0)
    places, labels = rng.uniform(-2, 3, (200, 2)), rng.integers(0, 2, 200)
    for place, label, found in zip(places, labels, law.distance(places, labels)):
        arc = law.arcs[label]
        t = np.linspace(arc[3], arc[4], 20_001)
        assert abs(np.hypot(*(arc[:2] + np.stack([np.cos(t), np.sin(t)], 1) - place).T).min() - found) < 1e-4


@settings(max_examples=25)
@given(n=st.integers(6, 200), share=st.floats(0.01, 0.99), extra=st.integers(0, 3))
def test_samples_have_the_shares_they_say(n, share, extra):
    law = ClassLaw("gaussians", shares=(1 - share, share), extra=extra)
    X, y = law.sample(n, random_state=1)
    assert X.shape == (n, 2 + extra) and y.nunique() == 2 and abs((y == 1).sum() - max(1, share * n)) <= 1
    assert X.equals(law.sample(n, random_state=1)[0])


@pytest.mark.parametrize("bad", [dict(kind="spiral"), dict(noise=0.001), dict(shares=(1,)), dict(shares=(1, -1)), dict(kind="moons", shares=(1, 1, 1)), dict(extra=-1)])
def test_laws_refuse(bad):
    with pytest.raises(InputError):
        ClassLaw(**bad)
