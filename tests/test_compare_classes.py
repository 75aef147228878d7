"""Class labels in `compare`: pooled numbers as by hand, no row of a test fold anywhere near training, the same table however it is run."""
import warnings

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.neighbors import KNeighborsClassifier

from augment_lib.class_metrics import class_report, platt_scaled, prior_corrected
from augment_lib.classifiers import BankClassifier
from augment_lib.compare import ChooseByCV, Reweight, compare, make_units
from augment_lib.compare_classes import ClassUnit, WrapModel, make_class_units, models_for, selected_columns
from augment_lib.core import InputError
from augment_lib.methods import identity
from augment_lib.models import derive_seed, seeded
from augment_lib.regimes import Split, StratifiedFolds
from augment_lib.statistics import per_seed
from augment_lib.weighting import FrequencyWeighting

NAMES = np.array(["common", "rare", "scarce"])
LINEAR = {"linear": LogisticRegression()}
BANK = BankClassifier(n_epochs=3, learning_rate=1e-2, hidden_dims=(6,))
OPTIONS = dict(regime=StratifiedFolds(3), seeds=[0, 1])
untimed = "seconds|bank_size"


def toy(n=120, n_classes=2, seed=0, shift=1.0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(n_classes), [n - 24 * (n_classes - 1), *[24] * (n_classes - 1)])
    X = pd.DataFrame(rng.normal(size=(n, 4)) + shift * np.eye(n_classes, 4)[y], columns=list("abcd"))
    order = rng.permutation(n)
    return "toy", X.iloc[order].reset_index(drop=True), NAMES[y[order]]


def numbers(long, *drop):
    "What must not change: every column, without clocks, in one order."
    long = long[~long.metric.str.contains(untimed)].drop(columns=list(drop))
    return long.sort_values(["dataset", "method", "model", "seed", "fold", "metric"], ignore_index=True)


def assert_same(one, two, *drop, **options):
    pd.testing.assert_frame_equal(numbers(one, *drop), numbers(two, *drop), **(dict(check_exact=True) | options))


def value(long, method, model, metric, seed=0):
    found = long[(long.method == method) & (long.model == model) & (long.metric == metric) & (long.seed == seed)]
    assert len(found) == 1
    return found.value.item()


class Double(RandomOverSampler):
    "Random oversampling, one part at a time."


class DoubleBank(Double):
    "The same for many parts."
    calls = []

    def fit_resample_many(self, X, y, rows, random_states):
        DoubleBank.calls.append(len(rows))
        return [seeded(Double(), seed).fit_resample(X.iloc[mine], y[mine]) for mine, seed in zip(rows, random_states, strict=True)]


class BadBank(Double):
    def fit_resample_many(self, X, y, rows, random_states):
        raise RuntimeError("no bank today")


class BadOnce(Double):
    "Fails where row 0 of the table is missing from the training rows."
    def fit_resample(self, X, y, **known):
        if 0 not in set(X.get("id", X.index)):
            raise RuntimeError("row 0 is needed")
        return super().fit_resample(X, y, **known)


class Spy(ClassifierMixin, BaseEstimator):
    "Remembers which rows it was trained on and which it was asked for; the column id names them."
    seen = []

    def fit(self, X, y, sample_weight=None):
        self.classes_, self.trained_ = np.unique(y), list(zip(X["id"], y))
        return self

    def predict_proba(self, X):
        Spy.seen.append((self.trained_, list(X["id"])))
        return np.tile([0.5, 0.5], (len(X), 1))

    def predict(self, X):
        return np.repeat(self.classes_[:1], len(X))


# ---- by hand

@pytest.mark.parametrize("n_classes", [2, 3])
def test_pooled_numbers_by_hand(n_classes):
    name, X, y = toy(n_classes=n_classes)
    methods = {"none": None, "double": Double(), "weights": Reweight(FrequencyWeighting())}
    long = compare([(name, X, y)], methods, LINEAR, regime=StratifiedFolds(4), seeds=[5])
    classes, splits = np.unique(y), list(StratifiedFolds(4).split(X, y, [5]))
    for method in methods:
        proba, mended, folds = np.zeros((len(y), n_classes)), np.zeros((len(y), n_classes)), np.zeros(len(y), int)
        for split in splits:
            X_train, y_train, weight = X.iloc[split.train], y[split.train], None
            if method == "double":
                X_train, y_train = seeded(Double(), derive_seed("method", name, 5, split.fold, "S")).fit_resample(X_train, y_train)
            if method == "weights":
                weight = FrequencyWeighting().weights(X_train, y_train)
            proba[split.test] = LogisticRegression().fit(X_train, y_train, weight).predict_proba(X.iloc[split.test])
            before, after = ([np.average(labels == label, weights=w) for label in classes] for labels, w in ((y[split.train], None), (np.asarray(y_train), weight)))
            mended[split.test], folds[split.test] = prior_corrected(proba[split.test], after, before), split.fold
        order = np.concatenate([split.test for split in splits])
        wanted = class_report(y[order], proba[order], classes, None, mended[order], platt_scaled(y[order], proba[order], folds[order], classes), "rare")
        found = long[(long.method == method) & (long.model == "linear")]
        assert set(found.metric) == set(wanted) and (found.fold == -1).all() and (found.seed == 5).all() and (found.regime == "S").all()
        for metric, number in wanted.items():
            assert np.isclose(value(long, method, "linear", metric, 5), number, rtol=1e-9), (method, metric)
    assert value(long, "none", "linear", "brier_recalibrated", 5) == pytest.approx(value(long, "none", "linear", "brier", 5))
    assert value(long, "weights", "linear", "brier_recalibrated", 5) != pytest.approx(value(long, "weights", "linear", "brier", 5))


def test_diagnostics_are_per_fold():
    long = compare([toy()], {"none": None, "double": Double()}, LINEAR, **OPTIONS)
    told = long[long.model == "-"]
    assert sorted(set(zip(told.seed, told.fold))) == [(s, f) for s in (0, 1) for f in range(3)]
    assert (told[(told.method == "none") & (told.metric == "n_out")].value == 80).all()
    assert (told[(told.method == "double") & (told.metric == "n_out")].value == 2 * 64).all(), "both classes have 64 training rows"
    assert set(long.fold[long.model != "-"]) == {-1} and long.value.notna().all() and (long.error == "").all()


def test_a_constant_model_gains_nothing_and_corrects_itself():
    "A model that answers with the shares it was trained on: resampling spoils it, the correction restores it to the last bit."
    prior = DummyClassifier(strategy="prior")
    long = compare([toy()], {"none": None, "double": Double(), "weights": Reweight(FrequencyWeighting())}, {"prior": prior}, **OPTIONS)
    base = value(long, "none", "prior", "brier")
    assert value(long, "double", "prior", "brier") == pytest.approx(0.25) and base == pytest.approx(0.2 * 0.8)
    assert value(long, "double", "prior", "brier_recalibrated") == pytest.approx(base, rel=1e-12)
    assert abs(value(long, "none", "prior", "ap_gain")) < 1e-9 and value(long, "none", "prior", "auroc") == 0.5


# ---- leaks

@pytest.mark.parametrize("method", [None, Double(), DoubleBank(), Reweight(FrequencyWeighting()), WrapModel(lambda model: model), Spy()])
def test_no_test_row_and_no_copy_of_one_is_trained_on(method):
    name, X, y = toy(60)
    X = pd.concat([X, X.iloc[:20]], ignore_index=True)                    # twenty rows come twice
    X["id"], y = np.r_[np.arange(60), np.arange(20)], np.r_[y, y[:20]]
    Spy.seen.clear()
    long = compare([(name, X, y)], {"m": method}, {"spy": Spy()}, regime=StratifiedFolds(4), seeds=[0, 1])
    asked = Spy.seen
    assert len(asked) == 8 and not (long.error != "").any()
    for trained, tested in asked:
        assert not {row for row, _ in trained} & set(tested)
    for start in (0, 4):
        assert sorted(row for _, tested in asked[start:start + 4] for row in tested) == sorted(X["id"]), "every row is judged once per seed"


class KeepByLabel(TransformerMixin, BaseEstimator):
    "Remembers what it was shown."
    shown = []

    def fit(self, X, y):
        KeepByLabel.shown.append((list(X["id"]), list(y)))
        return self

    def transform(self, X):
        return X[["id", "a"]]

    def get_feature_names_out(self, names=None):
        return np.array(["id", "a"])


def test_selection_sees_training_rows_alone_and_once_per_fold(tmp_path):
    name, X, y = toy()
    data, splits = (name, X.assign(id=np.arange(120)), y), list(StratifiedFolds(3).split(X, y, [0, 1]))
    KeepByLabel.shown.clear()
    compare([data], {"none": None, "double": Double()}, LINEAR | {"knn": KNeighborsClassifier()}, selection=KeepByLabel(), checkpoint=tmp_path, **OPTIONS)
    assert len(KeepByLabel.shown) == 6, "once per fold and seed, for all methods and models"
    for split, (rows, labels) in zip(splits, KeepByLabel.shown):
        assert rows == split.train.tolist() and labels == y[split.train].tolist()


def unit_of(data, selection, splits, folder=None):
    return ClassUnit(data[0], data[0], data[1], data[2], "none", None, LINEAR, splits, selection, folder)


def test_labels_of_test_rows_do_not_change_what_is_selected():
    name, X, y = toy()
    rng, split = np.random.default_rng(0), next(StratifiedFolds(3).split(X, y, [0]))
    X = pd.concat([X, pd.DataFrame(rng.normal(size=(120, 40)), columns=[f"n{i}" for i in range(40)])], axis=1)
    keep = SelectKBest(f_classif, k=5)
    chosen = selected_columns(unit_of((name, X, y), keep, [split]), split, "")
    other_y, other_X = y.copy(), X.copy()
    other_y[split.test], other_X.iloc[split.test] = rng.permutation(y[split.test]), 100.0
    assert selected_columns(unit_of((name, other_X, other_y), keep, [split]), split, "") == chosen
    other_y = y.copy()
    other_y[split.train] = rng.permutation(y[split.train])
    assert selected_columns(unit_of((name, X, other_y), keep, [split]), split, "") != chosen, "training labels do"


class Halves:
    "One partition that does not depend on the labels."
    task = "classification"

    def split(self, X, y, seeds):
        for seed in seeds:
            for fold in range(2):
                yield Split("H", seed, fold, np.flatnonzero(np.arange(len(y)) % 2 != fold), np.flatnonzero(np.arange(len(y)) % 2 == fold))


def test_a_remembered_selection_is_not_used_for_other_labels(tmp_path):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 30))).rename(columns=lambda j: f"c{j}")
    options = dict(regime=Halves(), seeds=[0], selection=SelectKBest(f_classif, k=1), checkpoint=tmp_path)
    for column in ("c0", "c7"):                                            # same name, same rows, same folds; other labels
        long = compare([("same", X, (X[column] > 0).astype(int))], {"none": None}, LINEAR, **options)
        assert value(long, "none", "linear", "auroc") > 0.95


def test_selected_folds_equal_selecting_by_hand_for_every_kind_of_method():
    name, X, y = toy()
    rng = np.random.default_rng(1)
    X = pd.concat([pd.DataFrame(rng.normal(size=(120, 20)), columns=[f"n{i}" for i in range(20)]), X], axis=1)
    methods = {"none": None, "double": Double(), "bank": DoubleBank()}
    long = compare([(name, X, y)], methods, LINEAR, regime=StratifiedFolds(3), seeds=[0], selection=SelectKBest(f_classif, k=3))
    proba = np.zeros((120, 2))
    for split in StratifiedFolds(3).split(X, y, [0]):
        keep = SelectKBest(f_classif, k=3).fit(X.iloc[split.train], y[split.train]).get_support()
        proba[split.test] = LogisticRegression().fit(X.iloc[split.train, keep], y[split.train]).predict_proba(X.iloc[split.test, keep])
    assert value(long, "none", "linear", "ap") == pytest.approx(class_report(y, proba, np.unique(y))["ap"], rel=1e-9)
    for metric in ("ap", "brier", "f1"):
        assert value(long, "double", "linear", metric) == value(long, "bank", "linear", metric)


# ---- however it is run

def test_processes_change_nothing():
    methods = {"none": None, "double": Double(), "threshold": WrapModel(lambda m: TunedThresholdClassifierCV(m, cv=2) if isinstance(m, LogisticRegression) else None)}
    one, two = (compare([toy(60)], methods, LINEAR | {"bank": BANK}, n_jobs=n, regime=StratifiedFolds(2), seeds=[0]) for n in (1, 2))
    assert not (one.error != "").any()
    assert_same(one, two)


def test_neighbours_and_order_change_nothing():
    alone = compare([toy()], {"double": Double()}, LINEAR, regime=StratifiedFolds(3), seeds=[1])
    crowd = compare([("other", *toy(seed=1)[1:]), toy()], {"none": None, "double": Double()}, {"knn": KNeighborsClassifier()} | LINEAR, regime=StratifiedFolds(3), seeds=[0, 1])
    crowd = crowd[(crowd.dataset == "toy") & (crowd.method == "double") & (crowd.seed == 1) & (crowd.model != "knn")]
    assert_same(alone, crowd)


@pytest.mark.parametrize("bank_seeds", [1, 2])
def test_bank_of_networks_does_not_depend_on_how_many_train_side_by_side(bank_seeds):
    name, X, y = toy()
    X = X.assign(word=np.where(np.arange(120) == 17, "only here", np.where(np.arange(120) % 2, "u", "v")))     # a level that some folds do not know
    options = dict(regime=StratifiedFolds(3), seeds=[0, 1, 2])
    whole = compare([(name, X, y)], {"none": None}, {"bank": BANK}, **options)
    parts = compare([(name, X, y)], {"none": None}, {"bank": BANK}, bank_seeds=bank_seeds, **options)
    assert_same(whole, parts, check_exact=False, atol=1e-3)
    other = compare([(name, X, y)], {"none": None}, {"bank": BANK}, regime=StratifiedFolds(3), seeds=[3])
    assert abs(value(other, "none", "bank", "brier", 3) - value(whole, "none", "bank", "brier", 0)) > 1e-3, "the tolerance can tell seeds apart"


def test_a_bank_of_samplers_equals_one_by_one_and_falls_back():
    DoubleBank.calls.clear()
    plain, bank, bad = (compare([toy()], {"m": m}, LINEAR, **OPTIONS) for m in (Double(), DoubleBank(), BadBank()))
    assert DoubleBank.calls == [6]
    assert_same(plain, bank), assert_same(plain, bad)


def test_resume_reads_everything_and_runs_nothing(tmp_path, monkeypatch):
    methods, models = {"none": None, "double": Double()}, LINEAR | {"bank": BANK}
    call = dict(checkpoint=tmp_path, selection=SelectKBest(f_classif, k=2), **OPTIONS)
    first = compare([toy()], methods, models, **call)
    monkeypatch.setattr(ClassUnit, "run", lambda unit: pytest.fail(f"{unit.name} was run again"))
    pd.testing.assert_frame_equal(compare([toy()], methods, models, **call), first, check_exact=True)
    monkeypatch.undo()
    ran = []
    run = ClassUnit.run
    monkeypatch.setattr(ClassUnit, "run", lambda unit: ran.append(unit.name) or run(unit))
    more = compare([toy()], methods | {"new": Reweight(FrequencyWeighting())}, models, **call)
    assert ran == ["new"] and more[more.method == "none"].equals(first[first.method == "none"].set_axis(more[more.method == "none"].index))


@pytest.mark.parametrize("what", ["labels", "cells", "selection", "model", "regime", "method"])
def test_what_makes_a_unit_another_unit(what, tmp_path, monkeypatch):
    name, X, y = toy()
    call = dict(datasets=[(name, X, y)], methods={"m": Double()}, models=LINEAR, regime=StratifiedFolds(3), seeds=[0], selection=None, checkpoint=tmp_path)
    compare(**call)
    flipped = np.where(np.arange(120) == 3, "rare" if y[3] == "common" else "common", y)
    change = {"labels": dict(datasets=[(name, X, flipped)]), "cells": dict(datasets=[(name, X + 1e-9, y)]), "selection": dict(selection=SelectKBest(f_classif, k=2)),
              "model": dict(models={"linear": LogisticRegression(C=2)}), "regime": dict(regime=StratifiedFolds(4)), "method": dict(methods={"m": Double(shrinkage=1.0)})}[what]
    ran, run = [], ClassUnit.run
    monkeypatch.setattr(ClassUnit, "run", lambda unit: ran.append(unit.name) or run(unit))
    compare(**(call | change))
    assert ran == ["m"]


# ---- what must not matter

@pytest.mark.parametrize("kind", ["text", "int", "bool", "float", "categorical", "object"])
def test_every_kind_of_label(kind):
    name, X, y = toy()
    codes = (y == "rare").astype(int)
    labels = {"text": np.array(["n", "y"])[codes], "int": codes * 7 - 3, "bool": codes.astype(bool), "float": codes + 1.0,
              "categorical": pd.Series(pd.Categorical(np.array(["lo", "up"])[codes], categories=["up", "lo", "unused"])), "object": np.array(["lo", "up"], object)[codes]}[kind]
    options = dict(methods={"none": None, "double": Double()}, models=LINEAR | {"bank": BANK}, **OPTIONS)
    plain, found = compare([(name, X, y)], **options), compare([(name, X, labels)], **options)
    assert not (found.error != "").any()
    assert_same(plain, found, check_exact=False, rtol=1e-6)


def test_names_of_classes_and_order_of_columns_change_nothing():
    name, X, y = toy(n_classes=3)
    options = dict(methods={"none": None}, models=LINEAR, **OPTIONS)
    plain = compare([(name, X, y)], **options)
    swapped = compare([(name, X[list("dbca")], np.array([{"common": "z", "rare": "a", "scarce": "m"}[label] for label in y]))], **options)
    table, other = (per_seed(long).query("model != '-'").reset_index(drop=True) for long in (plain, swapped))
    for metric in ("micro_ap", "auroc", "brier", "log_loss", "balanced_accuracy", "brier_platt"):
        assert np.allclose(table[metric], other[metric], rtol=1e-3), metric


def test_arrays_datasets_and_families():
    name, X, y = toy()
    class Table:
        pass
    table = Table()
    table.name, table.X, table.y, table.family = "obj", X.to_numpy(), list(y), "kin"
    long = compare([table, (name, X.to_numpy(), y), ("tuple", X, y, "kin")], {"none": None}, LINEAR, regime=StratifiedFolds(2), seeds=[0])
    assert dict(zip(long.dataset, long.family)) == {"obj": "kin", "toy": "toy", "tuple": "kin"}
    by_set = [long[(long.dataset == d) & (long.model == "linear")].value.to_numpy() for d in ("obj", "toy", "tuple")]
    assert np.array_equal(by_set[0], by_set[1]) and np.allclose(by_set[0], by_set[2])


# ---- failures leave a text, and the others go on

def quiet(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compare(*args, **options)


def test_a_failing_method_leaves_its_text():
    with pytest.warns(UserWarning, match="2 candidate"):
        long = compare([toy()], {"none": None, "bad": BadOnce(sampling_strategy={"nobody": 3})}, LINEAR, **OPTIONS)
    rows, good = (long[(long.method == m) & (long.model == "linear")] for m in ("bad", "none"))
    assert rows.value.isna().all() and (rows.error != "").all() and set(rows.metric) == set(good.metric) and good.value.notna().all()
    assert (long[(long.method == "bad") & (long.metric == "failed")].value == 1).all()


def test_one_failed_fold_spoils_its_seed_alone():
    name, X, y = toy()
    long = quiet([(name, X.assign(id=np.arange(120)), y)], {"once": BadOnce()}, LINEAR, **OPTIONS)
    failed = long[long.metric == "failed"]
    assert len(failed) == 2 and set(failed.seed) == {0, 1} and failed.error.str.contains("row 0 is needed").all(), "row 0 is in one test fold of each seed"
    assert long[long.model == "linear"].error.str.contains("row 0 is needed").all()


class Refusing(LogisticRegression):
    def fit(self, X, y, sample_weight=None):
        raise ValueError("no fit today")


class PickyBank(BankClassifier):
    "Refuses a training set that has row 0."
    def fit_predict_many(self, parts):
        if any(0 in set(part.X["id"]) for part in parts):
            raise RuntimeError("not with row 0")
        return super().fit_predict_many(parts)


def test_a_failing_model_leaves_its_text_and_the_others_go_on():
    long = quiet([toy()], {"none": None}, {"bad": Refusing()} | LINEAR, **OPTIONS)
    assert (long[long.model == "bad"].error == "ValueError: no fit today").all() and long[long.model == "linear"].value.notna().all()
    assert set(long[long.model == "bad"].metric) == set(long[long.model == "linear"].metric)


def test_a_failing_part_of_a_bank_costs_no_other_part_its_answer():
    name, X, y = toy()
    class OneEach(Halves):
        def split(self, X, y, seeds):                                      # row 0 trains under seed 0 and is nowhere under seed 1
            for split in super().split(X, y, seeds):
                yield split._replace(train=split.train[(split.train != 0) | (split.seed == 0)])
    model = PickyBank(**BANK.get_params())
    long = quiet([(name, X.assign(id=np.arange(120)), y)], {"none": None}, {"bank": model}, regime=OneEach(), seeds=[0, 1])
    bank = long[long.model == "bank"]
    assert bank[bank.seed == 0].error.str.contains("not with row 0").all() and bank[bank.seed == 1].value.notna().all()


class NoSelection(KeepByLabel):
    def fit(self, X, y):
        raise ValueError("nothing to select")


def test_a_failing_selection_leaves_its_text():
    name, X, y = toy()
    long = quiet([(name, X.assign(id=0.0), y)], {"none": None, "double": Double()}, LINEAR | {"bank": BANK}, selection=NoSelection(), **OPTIONS)
    rows = long[long.model != "-"]
    assert set(rows.method) == {"none", "double"} and set(rows.model) == {"linear", "bank"}
    assert rows.value.isna().all() and rows.error.str.contains("nothing to select").all()


def test_weights_where_a_model_takes_none():
    long = quiet([toy()], {"weights": Reweight(FrequencyWeighting())}, {"knn": KNeighborsClassifier()} | LINEAR, **OPTIONS)
    assert long[long.model == "knn"].error.str.contains("no sample_weight").all() and long[long.model == "linear"].value.notna().all()


def test_a_class_that_is_absent_from_training_gets_no_probability():
    name, X, y = toy(n_classes=3, shift=2.0)
    y = np.where(y == "scarce", "absent", y)                               # the first of the columns

    class Split2(Halves):
        def split(self, X, y, seeds):
            for split in super().split(X, y, seeds):
                yield split._replace(train=split.train[(y[split.train] != "absent") | (split.fold == 1)])
    long = compare([(name, X, y)], {"none": None, "double": Double()}, LINEAR | {"bank": BANK}, regime=Split2(), seeds=[0])
    judged = long[long.model != "-"]
    assert (long.error == "").all() and judged.value.notna().all()
    assert (judged[judged.metric == "log_loss"].value > 1).all(), "rows of that class in fold 0 cost dearly ..."
    assert (judged[judged.metric == "recall_absent"].value <= 0.75).all() and value(long, "none", "linear", "recall_common") > 0.8, "... and the other classes keep their columns"


def test_a_test_fold_without_a_class_is_pooled_with_the_others():
    name, X, y = toy()
    keep = np.r_[np.flatnonzero(y == "common"), np.flatnonzero(y == "rare")[:3]]       # three rare rows, five folds
    data = (name, X.iloc[keep], y[keep])
    long = compare([data], {"none": None, "double": Double()}, LINEAR | {"bank": BANK}, regime=StratifiedFolds(5), seeds=[0, 1])
    assert (long.error == "").all() and long.value.notna().all()
    assert (long[long.metric == "base_rate"].value == 3 / len(keep)).all()


# ---- methods and models of other kinds

def test_own_models_and_wrappers():
    halve = WrapModel(lambda model: TunedThresholdClassifierCV(model, cv=2) if isinstance(model, LogisticRegression) else None)
    models = LINEAR | {"knn": KNeighborsClassifier()}
    assert list(models_for(Spy(), models)) == ["own"] and list(models_for(halve, models)) == ["linear"] and models_for(Double(), models) is models
    long = compare([toy(shift=0.7)], {"none": None, "threshold": halve, "own": LogisticRegression()}, models, **OPTIONS)
    for metric in ("ap", "auroc", "brier", "log_loss"):
        assert value(long, "threshold", "linear", metric) == pytest.approx(value(long, "none", "linear", metric), abs=1e-9), "a threshold moves labels alone"
        assert value(long, "own", "own", metric) == pytest.approx(value(long, "none", "linear", metric), abs=1e-9)
    assert value(long, "threshold", "linear", "minority_recall") > value(long, "none", "linear", "minority_recall")
    assert value(long, "own", "own", "brier_recalibrated") > value(long, "own", "own", "brier"), "an own model is taken to be trained on equal shares"


def test_a_model_may_be_a_function_of_a_seed():
    seeds = []

    def forest(seed):
        seeds.append(seed)
        return RandomForestClassifier(3, random_state=seed)

    long = compare([toy()], {"none": None}, {"made": forest}, **OPTIONS)
    assert len(set(seeds)) == 6 and (long.error == "").all()
    plain = compare([toy()], {"none": None}, {"made": RandomForestClassifier(3)}, **OPTIONS)
    assert_same(plain, long)


# ---- bad input

@pytest.mark.parametrize("change, words", [
    (dict(datasets=[("one", np.ones((9, 2)), np.ones(9))]), "data set 'one': y has one class only"),
    (dict(datasets=[("real", np.ones((9, 2)), np.linspace(0, 1.3, 9))]), "Unknown label type: continuous"),
    (dict(datasets=[("gap", np.ones((4, 2)), ["a", "b", None, "a"])]), "data set 'gap': Input y contains NaN"),
    (dict(datasets=[("short", np.ones((4, 2)), ["a", "b"])]), "data set 'short': X has 4 rows and y has 2"),
    (dict(datasets=[3]), "datasets holds a int"), (dict(datasets=[toy(), toy()]), "datasets has repeated names ['toy']"),
    (dict(datasets=[]), "datasets has no entries"), (dict(methods={}), "methods has no entries"), (dict(models={}), "models has no entries"), (dict(seeds=[1, 1]), "repeated names [1]"),
    (dict(methods={"odd": 3}), "methods['odd'] is a int"), (dict(methods={"choice": ChooseByCV({})}), "methods['choice'] is a ChooseByCV"),
    (dict(models={"-": LogisticRegression()}), "'-', which marks diagnostics"), (dict(metrics=lambda *a, **k: {}), "metrics is for numeric targets"),
    (dict(regime=StratifiedFolds(1)), "n_splits"), (dict(datasets=[("lone", np.arange(8.0)[:, None], [0] * 7 + [1])]), "expected at least 2"),
])
def test_bad_input_is_named(change, words):
    with pytest.raises(InputError) as caught:
        compare(**(dict(datasets=[toy()], methods={"none": None}, models=LINEAR, **OPTIONS) | change))
    assert words in str(caught.value)


def test_selection_is_for_classes():
    from augment_lib.regimes import RegimeB
    with pytest.raises(InputError, match="selection is for class labels"):
        compare([("t", np.ones((20, 2)), np.arange(20.0))], {"none": None}, LINEAR, regime=RegimeB(2), selection=KeepByLabel())


def test_units_are_groups_of_seeds():
    units = make_class_units([toy()], {"a": None, "b": Double()}, LINEAR, StratifiedFolds(3), None, range(5), 2, None, None)
    assert [(unit.name, sorted({s.seed for s in unit.splits})) for unit in units] == [(m, s) for m in "ab" for s in ([0, 1], [2, 3], [4])]
    assert all(len(unit.splits) == 3 * len({s.seed for s in unit.splits}) for unit in units) and units[0].y.dtype.kind == "U"
    assert identity(list(units[0].named)) != identity(list(units[1].named)) and "folder" not in units[0]._fields[:len(units[0].named)]
    assert make_units is not make_class_units
