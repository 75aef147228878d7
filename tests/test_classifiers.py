"""The judges of class labels: a bank of networks is the same as its members, sees no test row, and says what is wrong."""
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from augment_lib.classifiers import BankClassifier, ClassifierNet, CrossEntropy, Part, class_models, default_classifiers, stopping
from augment_lib.core import InputError
from augment_lib.nets import initialise

FAST = dict(n_epochs=6, learning_rate=1e-2)


def table(n=120, n_classes=2, seed=0):
    "(frame with numbers and a category, codes of classes); the last class is the rarest."
    rng = np.random.default_rng(seed)
    shares = np.arange(n_classes, 0, -1.0) ** 1.5
    y = rng.choice(n_classes, n, p=shares / shares.sum())
    y[:3 * n_classes] = np.repeat(np.arange(n_classes), 3)
    X = pd.DataFrame(rng.normal(size=(n, 4)) + 2 * np.eye(n_classes, 4)[y], columns=list("abcd"))
    return X.assign(word=rng.choice(["u", "v", "w"], n)), y


def part(train, test=slice(90, 120), seed=0, y=None, **extra):
    X, labels = table()
    labels = labels if y is None else y
    return Part(X.iloc[train], labels[train], X.iloc[test], seed, **extra)


def many(parts, **options):
    return BankClassifier(**{**FAST, **options}).fit_predict_many(parts)


# ---- the objective and the network

def test_cross_entropy_is_that_of_torch():
    rng = torch.Generator().manual_seed(0)
    net = ClassifierNet(3, n_inputs=4, n_classes=5, hidden_dims=(7, 6)).eval()
    initialise(net, [torch.Generator().manual_seed(seed) for seed in range(3)])
    x, labels = torch.randn(3, 11, 4, generator=rng), torch.randint(0, 5, (3, 11), generator=rng)
    found = CrossEntropy().terms(net, x, condition=torch.eye(5)[labels])["nll"]
    wanted = nn.functional.cross_entropy(net(x).flatten(0, 1), labels.flatten(), reduction="none").view(3, 11)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_without_a_hidden_layer_it_is_logistic_regression():
    X, y = table(300)
    X = X[list("abcd")]
    model = BankClassifier(hidden_dims=(), dropout=0.0, weight_decay=0.0, n_epochs=150, learning_rate=0.02, clip_norm=None, batch_size=100, random_state=0).fit(X, y)
    judge = default_classifiers()["logistic"].set_params(logisticregression__C=1e6).fit(X, y)
    assert np.abs(model.predict_proba(X) - judge.predict_proba(X)).max() < 0.02


# ---- many side by side

@pytest.mark.parametrize("stop", ["never", "inside", "test"])
def test_side_by_side_equals_one_by_one(stop):
    y = table()[1]
    parts = [part(np.arange(60 + 7 * i), seed=i, y_test=y[90:]) for i in range(4)]
    parts[2] = parts[2]._replace(sample_weight=np.random.default_rng(0).uniform(0.1, 3, len(parts[2].y)))
    together = many(parts, stop=stop, patience=2)
    for one, found in zip(parts, together):
        (classes, proba), = many([one], stop=stop, patience=2)
        assert classes.tolist() == found[0].tolist() == [0, 1] and np.allclose(proba, found[1], atol=1e-4)
    assert not np.allclose(together[0][1], together[1][1], atol=1e-2), "other rows, another network"


def test_neighbours_of_another_shape_change_nothing():
    X, y = table(n_classes=3)
    X_one = X.assign(word="u")
    parts = [Part(X[:80], y[:80], X[80:], 0), Part(X_one[:80], y[:80], X_one[80:], 1), Part(X[:80], np.minimum(y[:80], 1), X[80:], 2)]
    for one, found in zip(parts, many(parts)):
        (classes, proba), = many([one])
        assert classes.tolist() == found[0].tolist() and np.allclose(proba, found[1], atol=1e-4)
    assert [len(classes) for classes, _ in many(parts)] == [3, 3, 2], "a class that a part does not have is not among its answers"


def test_order_of_the_parts_does_not_matter():
    parts = [part(np.arange(10 * i, 10 * i + 60), seed=i) for i in range(3)]
    forward, backward = many(parts), many(parts[::-1])[::-1]
    assert all(np.allclose(a[1], b[1], atol=1e-4) for a, b in zip(forward, backward))


def test_fit_is_the_bank_of_one():
    X, y = table()
    model = BankClassifier(**FAST, random_state=3).fit(X[:90], y[:90])
    seed = int(np.random.default_rng(3).integers(2**31 - 1))
    (classes, proba), = many([Part(X[:90], y[:90], X[90:], seed)])
    assert np.array_equal(model.classes_, classes) and np.allclose(model.predict_proba(X[90:]), proba, atol=1e-6)


# ---- leaks

@pytest.mark.parametrize("stop", ["never", "inside"])
def test_rows_to_be_predicted_and_their_labels_teach_nothing(stop):
    X, y = table()
    plain = many([part(np.arange(90), y_test=y[90:])], stop=stop)[0][1]
    other = X.iloc[90:].copy()
    other.iloc[1:, :4] *= 100
    moved = many([Part(X[:90], y[:90], other, 0, y_test=1 - y[90:])], stop=stop)[0][1]
    assert np.allclose(moved[0], plain[0], atol=1e-6), "row 0 is the same, whatever the others are"
    assert not np.allclose(moved[1:], plain[1:], atol=1e-3)


def test_stopping_on_the_test_rows_does_use_their_labels():
    rng = np.random.default_rng(0)
    X, y = pd.DataFrame(rng.normal(size=(90, 15))), rng.integers(0, 2, 90)
    parts = [Part(X[:60], y[:60], X[60:], i, y_test=labels[60:]) for i in range(6) for labels in (y, 1 - y)]
    found = many(parts, stop="test", n_epochs=40, patience=40)
    losses = [log_loss(one.y_test, proba, labels=[0, 1]) for one, (_, proba) in zip(parts, found)]
    assert any(not np.allclose(found[2 * i][1], found[2 * i + 1][1], atol=1e-3) for i in range(6)), "the leak must be there, or it measures nothing"
    assert np.mean(losses) < np.mean([log_loss(one.y_test, proba, labels=[0, 1]) for one, (_, proba) in zip(parts, many(parts, n_epochs=40))])


def test_rows_held_out_inside_are_real_and_do_not_train(monkeypatch):
    import augment_lib.classifiers as module
    seen, train = [], module.train_bank
    monkeypatch.setattr(module, "train_bank", lambda X, jobs, *rest: seen.extend(jobs) or train(X, jobs, *rest))
    y = table()[1]
    parts = [part(np.arange(90), seed=i, n_real=60, y_test=y[90:]) for i in range(2)]
    many(parts, stop="inside"), many(parts, stop="test"), many(parts)
    for i, job in enumerate(seen[:2]):
        judges, trains = job.validation_rows - 90 * i, job.rows - 90 * i
        assert not set(judges) & set(trains) and sorted([*judges, *trains]) == list(range(90)) and judges.max() < 60
        counts, held = np.bincount(y[:60]), np.bincount(y[judges])
        assert (held == (0.2 * counts).astype(int)).all(), "a fifth of each class"
    assert set(seen[0].validation_rows) != set(seen[1].validation_rows - 90), "the seed decides"
    for i, job in enumerate(seen[2:4]):
        assert (job.rows == np.arange(90) + 120 * i).all() and (job.validation_rows == np.arange(90, 120) + 120 * i).all()
    assert all(job.validation_rows is None and len(job.rows) == 90 for job in seen[4:])


@settings(max_examples=8)
@given(st.integers(0, 1000), st.floats(0.1, 1000), st.floats(-100, 100))
def test_units_of_a_column_do_not_matter(seed, scale, shift):
    X, y = table(seed=seed)
    plain, moved = (many([Part(t[:90], y[:90], t[90:], 0)], n_epochs=2)[0][1] for t in (X, X.assign(a=X.a * scale + shift)))
    assert np.allclose(plain, moved, atol=1e-3)


# ---- what must not matter

def test_same_seed_same_numbers():
    X, y = table()
    one, two, other = (BankClassifier(**FAST, random_state=seed).fit(X, y).predict_proba(X) for seed in (0, 0, 1))
    assert np.array_equal(one, two) and not np.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("kind", ["text", "bool", "float", "categorical", "far"])
def test_names_of_the_classes_do_not_matter(kind):
    X, y = table()
    names = {"text": ["no", "yes"], "bool": [False, True], "float": [0.5, 1.5], "categorical": ["n", "y"], "far": [-7, 10**9]}[kind]
    labels = np.array(names)[y]
    given_labels = pd.Series(pd.Categorical(labels)) if kind == "categorical" else labels
    plain = BankClassifier(**FAST, random_state=0).fit(X, y)
    model = BankClassifier(**FAST, random_state=0).fit(X, given_labels)
    assert model.classes_.tolist() == names and np.array_equal(model.predict_proba(X), plain.predict_proba(X))
    assert np.array_equal(model.predict(X), np.array(names)[plain.predict(X)])


def test_index_and_order_of_columns_do_not_matter_when_predicting():
    X, y = table()
    model = BankClassifier(**FAST, random_state=0).fit(X.set_axis(np.arange(120) * 3 + 7), y)
    assert np.array_equal(model.predict_proba(X[["word", "d", "a", "c", "b"]]), model.predict_proba(X))
    assert np.allclose(model.predict_proba(X.iloc[::-1])[::-1], model.predict_proba(X), atol=1e-6), "a row's answer is its own"
    assert model.predict_proba(X.iloc[:1].assign(word="never seen")).shape == (1, 2)


def test_weights_count_rows():
    X, y = table()
    plain = BankClassifier(**FAST, random_state=0).fit(X, y)
    same, heavy = (BankClassifier(**FAST, random_state=0).fit(X, y, w) for w in (np.full(120, 7.0), np.where(y == 1, 30.0, 1.0)))
    assert np.allclose(same.predict_proba(X), plain.predict_proba(X), atol=1e-5), "their mean does not matter"
    assert heavy.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean() + 0.05


def test_a_scikit_learn_citizen():
    X, y = table(n_classes=3)
    model = BankClassifier(**FAST, random_state=0)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        model.predict(X)
    found = make_pipeline(StandardScaler(), model).fit(X[list("abcd")].to_numpy(), y).predict_proba(X[list("abcd")].to_numpy())
    assert found.shape == (120, 3) and np.allclose(found.sum(axis=1), 1) and (found > 0).all()


def test_training_many_leaves_the_estimator_alone():
    model = BankClassifier(**FAST)
    model.fit_predict_many([part(np.arange(90))])
    assert not hasattr(model, "classes_") and set(vars(model)) == set(model.get_params())


# ---- the list of judges

@pytest.mark.parametrize("name", ["logistic", "boosting", "forest", "mlp", "balanced_forest", "easy_ensemble"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_every_judge_takes_a_mixed_table_with_text_labels(name, n_classes):
    X, y = table(n_classes=n_classes)
    names = np.array(["plenty", "scarce", "seldom"])
    judge = (default_classifiers("smoke") | class_models(10))[name].fit(X[:90], names[y[:90]])
    proba = judge.predict_proba(X[90:].assign(word="never seen"))
    assert judge.classes_.tolist() == names[:n_classes].tolist() and np.allclose(proba.sum(axis=1), 1, atol=1e-6)
    assert np.mean(names[proba.argmax(axis=1)] == names[y[90:]]) > 0.6


def test_no_judge_stops_early_on_rows_that_were_made():
    judges = default_classifiers()
    assert judges["boosting"].steps[-1][1].early_stopping is False and judges["mlp"].stop == "never"
    assert stopping(True).stop == "test" and stopping(False).stop == "inside"
    assert {k: v for k, v in stopping(True).get_params().items() if k != "stop"} == {k: v for k, v in stopping(False).get_params().items() if k != "stop"}, "they differ in the leak alone"


def test_the_balanced_forest_sees_equal_shares():
    X, y = table(400)
    keep = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:20]]
    noise = pd.DataFrame(np.random.default_rng(0).normal(size=(len(keep), 3)), columns=list("abc"))
    proba = class_models(30)["balanced_forest"].set_params(balancedrandomforestclassifier__random_state=0, balancedrandomforestclassifier__min_samples_leaf=8).fit(noise, y[keep]).predict_proba(noise)
    assert 0.4 < proba[:, 1].mean() < 0.6, "on noise it answers with the shares that it was trained on"


# ---- bad input

@pytest.mark.parametrize("options, words", [(dict(stop="soon"), "stop='soon'"), (dict(n_epochs=0), "n_epochs"), (dict(n_epochs=1.5), "n_epochs"), (dict(patience=0), "patience"),
                                            (dict(stop="test"), "needs rows to be predicted")])
def test_bad_settings(options, words):
    with pytest.raises(InputError) as caught:
        BankClassifier(**options).fit(*table())
    assert words in str(caught.value)


@pytest.mark.parametrize("change, words", [
    (dict(y=np.zeros(90)), "one class only"), (dict(y=np.arange(80) % 2), "y has shape (80,)"), (dict(sample_weight=np.ones(3)), "sample_weight has shape (3,)"),
    (dict(y_test=np.zeros(2)), "y_test has shape (2,)"), (dict(sample_weight=np.full(90, -1.0)), "non-negative"), (dict(sample_weight=np.zeros(90)), "above 0"), (dict(sample_weight=np.full(90, np.nan)), "finite")])
def test_bad_parts_are_named_even_among_good_ones(change, words):
    good = part(np.arange(90))
    with pytest.raises(InputError) as caught:
        many([good, good._replace(**change)])
    assert words in str(caught.value)


def test_the_leak_needs_labels():
    with pytest.raises(InputError, match="expected y_test"):
        many([part(np.arange(90))], stop="test")
    with pytest.raises(InputError, match="profile='large'"):
        default_classifiers("large")
