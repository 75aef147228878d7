"""Metrics of classes: equal to the definitions, blind to names and order, and corrections that use nobody's own label."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import LogisticRegression

from augment_lib.class_metrics import class_report, platt_scaled, prior_corrected, rarest
from augment_lib.core import InputError

TWO, THREE = np.array(["common", "rare"]), np.array(["a", "b", "c"])


def case(n_classes=2, n=120, seed=0, sharpness=1.5):
    "(labels, probabilities, classes) of a classifier that is right more often than not; class 0 is the commonest, the last the rarest."
    rng = np.random.default_rng(seed)
    shares = np.arange(n_classes, 0, -1.0) ** 2
    y = rng.choice(n_classes, n, p=shares / shares.sum())
    y[:2 * n_classes] = np.repeat(np.arange(n_classes), 2)
    logits = rng.normal(size=(n, n_classes)) + sharpness * np.eye(n_classes)[y]
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    classes = TWO if n_classes == 2 else np.array([chr(97 + c) for c in range(n_classes)])
    return classes[y], proba, classes


def average_precision(truth, score):
    "The definition: mean over the positives, of the precision among the rows that score at least as high."
    return np.mean([truth[score >= level].mean() for level in score[truth]])


def area(truth, score):
    "The definition: how often a positive row beats a negative one; a tie is half a win."
    difference = score[truth][:, None] - score[~truth][None]
    return np.mean(difference > 0) + np.mean(difference == 0) / 2


# ---- by the definitions

def test_two_classes_by_hand():
    y, proba, classes = case()
    report, truth, found = class_report(y, proba, classes), y == "rare", proba[:, 1] > 0.5
    right = truth & found
    precision, recall = right.sum() / found.sum(), right.sum() / truth.sum()
    base = truth.mean()
    wanted = {"ap": average_precision(truth, proba[:, 1]), "auroc": area(truth, proba[:, 1]), "base_rate": base, "minority_recall": recall, "minority_precision": precision,
              "f1": 2 * precision * recall / (precision + recall), "balanced_accuracy": (recall + np.mean(~found[~truth])) / 2, "micro_f1": np.mean(truth == found),
              "brier": np.mean((truth - proba[:, 1]) ** 2), "log_loss": -np.mean(np.log(np.where(truth, proba[:, 1], proba[:, 0])))}
    wanted["ap_gain"] = (wanted["ap"] - base) / (1 - base)
    other = np.sum(~truth & ~found) * 2 / (np.sum(~truth) + np.sum(~found))
    wanted["macro_f1"] = (wanted["f1"] + other) / 2
    assert set(report) == set(wanted), "no metric that this test does not check"
    for name, value in wanted.items():
        assert np.isclose(report[name], value, rtol=1e-10), name
    assert all(type(value) is float for value in report.values())


@pytest.mark.parametrize("n_classes", [3, 4])
def test_several_classes_by_hand(n_classes):
    y, proba, classes = case(n_classes)
    report, truth, chosen = class_report(y, proba, classes), y[:, None] == classes, classes[proba.argmax(axis=1)]
    ap = np.mean([average_precision(truth[:, c], proba[:, c]) for c in range(n_classes)])
    assert np.isclose(report["ap"], ap) and np.isclose(report["base_rate"], 1 / n_classes)
    assert np.isclose(report["ap_gain"], (ap - 1 / n_classes) / (1 - 1 / n_classes))
    assert np.isclose(report["auroc"], np.mean([area(truth[:, c], proba[:, c]) for c in range(n_classes)]))
    assert np.isclose(report["micro_auroc"], area(truth.ravel(), proba.ravel())) and np.isclose(report["micro_ap"], average_precision(truth.ravel(), proba.ravel()))
    assert np.isclose(report["brier"], np.sum((truth - proba) ** 2) / len(y) / 2), "half the squared distance, so that two classes agree with one column"
    assert np.isclose(report["log_loss"], -np.mean(np.log(proba[truth])))
    recalls = [np.mean(chosen[y == label] == label) for label in classes]
    assert np.allclose([report[f"recall_{label}"] for label in classes], recalls) and np.isclose(report["balanced_accuracy"], np.mean(recalls))
    assert np.allclose([report[f"precision_{label}"] for label in classes], [np.mean(y[chosen == label] == label) for label in classes])
    assert report["minority_recall"] == report[f"recall_{rarest(y)}"] and np.isclose(report["micro_f1"], np.mean(chosen == y))


def test_columns_of_many_classes_are_not_told_one_by_one():
    y = np.repeat(np.arange(12), 3)
    report = class_report(y, np.full((36, 12), 1 / 12), np.arange(12))
    assert not any(name.startswith(("recall_", "precision_")) for name in report) and "macro_f1" in report
    assert not any(name.startswith("recall_") for name in class_report(*case())), "two classes: minority_recall says it"


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_constant_answers_gain_nothing(n_classes):
    y, _, classes = case(n_classes)
    shares = np.array([np.mean(y == label) for label in classes])
    report = class_report(y, np.tile(shares, (len(y), 1)), classes)
    assert report["auroc"] == 0.5 and abs(report["ap_gain"]) < 1e-12
    assert np.isclose(report["brier"], (1 - np.sum(shares ** 2)) / 2)
    assert np.isclose(report["log_loss"], -np.sum(shares * np.log(shares)))


def test_labels_that_are_given_change_labels_alone():
    y, proba, classes = case()
    plain, moved = class_report(y, proba, classes), class_report(y, proba, classes, labels=np.where(proba[:, 1] > 0.2, "rare", "common"))
    same = {"ap", "ap_gain", "auroc", "base_rate", "brier", "log_loss"}
    assert {name for name in plain if plain[name] == moved[name]} == same and moved["minority_recall"] > plain["minority_recall"]


def test_which_class_counts_as_found():
    y, proba, classes = case()
    rare, common = class_report(y, proba, classes), class_report(y, proba, classes, positive="common")
    assert rare["base_rate"] == np.mean(y == "rare") and common["base_rate"] == np.mean(y == "common")
    assert np.isclose(common["ap"], average_precision(y == "common", proba[:, 0])) and np.isclose(common["auroc"], rare["auroc"]) and common["brier"] == rare["brier"]
    assert rarest(["b", "a", "b", "a"]) == "a" and rarest(pd.Series([3, 3, 1])) == 1 and rarest(pd.Categorical(["x", "y", "x"])) == "y"


def test_a_certain_mistake_is_dear_but_finite():
    report = class_report(["rare", "common"], [[1.0, 0.0], [1.0, 0.0]], TWO)
    assert 10 < report["log_loss"] < 20 and np.isclose(report["brier"], 0.5)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_a_class_that_is_absent_from_the_rows():
    y, proba, classes = case(3)
    keep = y != "c"
    report = class_report(y[keep], proba[keep], classes)
    assert np.isclose(report["ap"], np.mean([average_precision(y[keep] == label, proba[keep, c]) for c, label in enumerate("ab")]))
    assert np.isclose(report["base_rate"], 0.5) and np.isfinite(list(report.values())).all() and report["recall_c"] == 0


# ---- what must not matter

@pytest.mark.parametrize("n_classes", [2, 4])
def test_row_order_does_not_matter(n_classes):
    y, proba, classes = case(n_classes)
    order = np.random.default_rng(1).permutation(len(y))
    one, two = class_report(y, proba, classes), class_report(y[order], proba[order], classes)
    assert one.keys() == two.keys() and all(np.isclose(one[name], two[name], rtol=1e-12) for name in one)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", ["int", "bool", "categorical", "reversed"])
def test_names_of_the_classes_do_not_matter(kind, n_classes):
    if kind == "bool" and n_classes == 3:
        return pytest.skip("there are two truth values")
    y, proba, classes = case(n_classes)
    new = {"int": np.arange(n_classes) * 5 - 3, "bool": np.array([False, True]), "categorical": classes, "reversed": np.array(list("zyx"))[:n_classes]}[kind]
    names, order = dict(zip(classes, new)), np.argsort(new)
    renamed = [names[label] for label in y]
    renamed = pd.Series(pd.Categorical(renamed)) if kind == "categorical" else np.array(renamed)
    one, two = class_report(y, proba, classes), class_report(renamed, proba[:, order], new[order])
    for name in one:
        twin = name if name not in {f"{m}_{c}" for m in ("recall", "precision") for c in classes} else f"{name.split('_')[0]}_{names[name.split('_')[1]]}"
        assert np.isclose(one[name], two[twin], rtol=1e-10), name


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.2, 5))
def test_order_metrics_see_order_alone(seed, power):
    y, proba, classes = case(seed=seed, n=40)
    odds = (proba[:, 1] / proba[:, 0]) ** power
    bent = np.column_stack([1 / (1 + odds), odds / (1 + odds)])
    one, two = class_report(y, proba, classes), class_report(y, bent, classes)
    assert all(np.isclose(one[name], two[name]) for name in ("ap", "auroc", "ap_gain", "f1", "minority_recall"))
    assert 0 <= two["brier"] <= 1 and two["log_loss"] >= 0 and two["ap_gain"] <= 1


# ---- bad input

@pytest.mark.parametrize("change, words", [
    (dict(proba=np.full((119, 2), 0.5)), "expected (120, 2)"),
    (dict(proba=np.full((120, 3), 1 / 3)), "expected (120, 2)"),
    (dict(proba=np.full(120, 0.5)), "expected (120, 2)"),
    (dict(proba=np.full((120, 2), np.inf)), "240 value(s) that are not finite"),
    (dict(proba=np.full((120, 2), 0.7)), "sum to 1"),
    (dict(proba=np.tile([1.5, -0.5], (120, 1))), "below 0"),
    (dict(y_true=np.full(120, "new")), "names the class 'new'"),
    (dict(y_true=np.full(120, "rare")), "one class only"),
    (dict(classes=TWO[::-1]), "sorted"),
    (dict(classes=np.array(["rare", "rare"])), "sorted"),
    (dict(positive="odd"), "positive='odd'"),
    (dict(labels=np.full(119, "rare")), "labels has 119"),
    (dict(platt=np.full((120, 3), 1 / 3)), "expected (120, 2)"),
    (dict(recalibrated=np.full((120, 2), np.nan)), "not finite"),
])
def test_bad_input_is_named(change, words):
    y, proba, classes = case()
    with pytest.raises(InputError) as caught:
        class_report(**(dict(y_true=y, proba=proba, classes=classes) | change))
    assert words in str(caught.value)


# ---- the base rate put back

simplex = arrays(float, 3, elements=st.floats(0.01, 1)).map(lambda v: v / v.sum())


@settings(max_examples=60)
@given(arrays(float, (5, 3), elements=st.floats(0.1, 10)), simplex, simplex)
def test_prior_correction_is_exact(likelihood, prior, resampled):
    "With known likelihoods the posterior under one prior becomes the posterior under the other."
    def posterior(shares):
        joint = likelihood * shares
        return joint / joint.sum(axis=1, keepdims=True)

    mended = prior_corrected(posterior(resampled), resampled, prior)
    assert np.allclose(mended, posterior(prior), atol=1e-12)
    assert np.allclose(prior_corrected(mended, prior, resampled), posterior(resampled), atol=1e-12), "there and back"
    assert np.allclose(prior_corrected(posterior(prior), prior, prior), posterior(prior), atol=1e-12), "nothing changed: nothing to correct"
    assert np.allclose(prior_corrected(posterior(resampled), 100 * resampled, 7 * prior), mended, atol=1e-12), "counts do as well as shares"


def test_prior_correction_keeps_the_order_of_two_classes():
    y, proba, classes = case()
    mended = prior_corrected(proba, [0.5, 0.5], [0.95, 0.05])
    assert (np.argsort(mended[:, 1]) == np.argsort(proba[:, 1])).all() and (mended[:, 1] < proba[:, 1]).all()


def test_prior_correction_golden_number():
    assert np.allclose(prior_corrected([[0.5, 0.5]], [0.5, 0.5], [0.9, 0.1]), [[0.9, 0.1]])
    assert np.allclose(prior_corrected([[0.2, 0.8]], [0.5, 0.5], [0.9, 0.1]), [[0.18 / 0.26, 0.08 / 0.26]])


def test_prior_correction_of_what_was_never_trained():
    mended = prior_corrected([[0.3, 0.7, 0.0], [0.0, 0.0, 1.0]], [0.5, 0.5, 0.0], [0.8, 0.2, 0.0])
    assert (mended[:, 2] == 0).all() and np.allclose(mended.sum(axis=1), 1) and np.isfinite(mended).all()
    for wrong in (([0.5, 0.5], [0.5, 0.3, 0.2]), ([1.0], [1.0])):
        with pytest.raises(InputError, match="one per class"):
            prior_corrected([[0.5, 0.5]], *wrong)


# ---- a correction that is learnt

@pytest.mark.parametrize("n_classes", [2, 3])
def test_platt_never_uses_the_labels_of_its_own_fold(n_classes):
    y, proba, classes = case(n_classes)
    folds = np.arange(len(y)) % 4
    before = platt_scaled(y, proba, folds, classes)
    for fold in range(4):
        other = np.where(folds == fold, np.random.default_rng(fold).permutation(classes[np.arange(len(y)) % n_classes]), y)
        after = platt_scaled(other, proba, folds, classes)
        assert np.array_equal(after[folds == fold], before[folds == fold])
        assert not np.allclose(after[folds != fold], before[folds != fold]), "the others do see it"


def test_platt_never_uses_the_scores_of_its_own_fold_but_the_row_itself():
    y, proba, classes = case()
    folds = np.arange(len(y)) % 3
    mine = np.flatnonzero(folds == 0)
    changed = proba.copy()
    changed[mine[1:]] = 0.5
    assert np.array_equal(platt_scaled(y, changed, folds, classes)[mine[0]], platt_scaled(y, proba, folds, classes)[mine[0]])


def test_platt_by_hand():
    y, proba, classes = case()
    folds = np.arange(len(y)) % 3
    odds = np.log(proba[:, 1] / proba[:, 0])[:, None]
    wanted = np.empty(len(y))
    for fold in range(3):
        model = LogisticRegression(C=1e6, max_iter=1000).fit(odds[folds != fold], y[folds != fold] == "rare")
        wanted[folds == fold] = model.predict_proba(odds[folds == fold])[:, 1]
    assert np.allclose(platt_scaled(y, proba, folds, classes)[:, 1], wanted, atol=1e-6)


def test_platt_mends_a_classifier_that_exaggerates():
    y, proba, classes = case(n=3000)
    sharp = proba ** 4 / (proba ** 4).sum(axis=1, keepdims=True)
    folds = np.arange(len(y)) % 5
    report = class_report(y, sharp, classes, platt=platt_scaled(y, sharp, folds, classes))
    honest = class_report(y, proba, classes, platt=platt_scaled(y, proba, folds, classes))
    assert report["log_loss_platt"] < 0.8 * report["log_loss"]
    assert np.isclose(report["log_loss_platt"], honest["log_loss_platt"], rtol=1e-3), "a power of the odds is undone"


def test_platt_does_not_care_for_names_rows_or_fold_numbers():
    y, proba, classes = case()
    folds, order = np.arange(len(y)) % 4, np.random.default_rng(0).permutation(len(y))
    before = platt_scaled(y, proba, folds, classes)
    assert np.allclose(platt_scaled(y[order], proba[order], folds[order], classes), before[order], atol=1e-6)
    assert np.allclose(platt_scaled(y, proba, np.array(list("wxyz"))[folds], classes), before)
    swapped = platt_scaled(np.where(y == "rare", 0, 1), proba[:, ::-1], folds, np.array([0, 1]))
    assert np.allclose(swapped[:, ::-1], before, atol=1e-4)


def test_platt_with_nothing_to_learn_from():
    y, proba, classes = np.repeat(TWO, 3), case(n=6)[1], TWO
    assert np.array_equal(platt_scaled(y, proba, np.repeat([0, 1], 3), classes), proba), "each fold's others have one class: left as it was"
    three = np.array(list("abcabcab"))
    mended = platt_scaled(three, case(3, n=8)[1], np.array([0, 0, 0, 1, 1, 0, 1, 1]), THREE)
    assert np.allclose(mended.sum(axis=1), 1) and (mended[[0, 1, 2, 5], 2] == 0).all(), "class c is in fold 0 alone: the others cannot teach it"
    with pytest.raises(InputError, match="folds has 3"):
        platt_scaled(y, proba, [0, 1, 0], classes)
