"""The student: scikit-learn's checks, equal steps, judges that are real and unrelated to what trains, banks that equal their members."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import augment_lib.student as module
from augment_lib.core import InputError
from augment_lib.student import PRESETS, Lesson, MLPStudent, MLPStudentClassifier, passes, split_rows, stagnates

EPOCHS = dict(n_epochs=20, random_state=0)
BATCHES = dict.fromkeys(("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"),
                        "batches: a weight of two is not exactly a row given twice")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([MLPStudent(random_state=0, n_epochs=60), MLPStudentClassifier(random_state=0, n_epochs=60)], expected_failed_checks=lambda e: BATCHES)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def table(n=120, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc")).assign(word=rng.choice(["u", "v"], n))
    return X, 2 * X.a.to_numpy() + np.where(X.word == "u", 1.0, -1.0) + 0.1 * rng.normal(size=n)


@pytest.fixture
def jobs(monkeypatch):
    "Every job that is trained, with the number of passes of its bank."
    seen, train = [], module.train_bank
    monkeypatch.setattr(module, "train_bank", lambda X, js, net, loss, config, y: seen.append((X, js, config)) or train(X, js, net, loss, config, y))
    return seen


# ---- lengths and judges

@given(st.integers(1, 300), st.integers(1, 500), st.integers(0, 5000), st.integers(1, 64))
def test_extra_rows_bring_no_extra_steps(n_epochs, n_real, extra, batch):
    n = n_real + extra
    steps, wanted = passes(n_epochs, n_real, n, batch) * -(-n // batch), n_epochs * -(-n_real // batch)
    assert abs(steps - wanted) <= -(-n // batch) / 2 or steps == -(-n // batch), "the nearest whole number of passes, at least one"
    assert passes(n_epochs, n_real, n_real, batch) == n_epochs


@given(st.integers(2, 60), st.integers(0, 60), st.floats(0, 0.9), st.integers(0, 10**6))
def test_judges_are_real_and_have_no_copies_in_training(n_real, n_made, share, seed):
    rng = np.random.default_rng(seed)
    real = np.arange(n_real + n_made) < n_real
    origin = np.r_[np.arange(n_real), rng.integers(-1, n_real, n_made)]
    train, judges = split_rows(real, origin, share, seed)
    assert len(judges) == int(share * n_real) and real[judges].all()
    assert not set(origin[train]) & set(judges) and set(train).isdisjoint(judges)
    left_out = set(range(len(real))) - set(train) - set(judges)
    assert all(origin[row] in set(judges) for row in left_out), "nobody else sits out"


def test_every_class_keeps_a_training_row():
    labels = np.r_[np.zeros(50, int), 1, 2, 2]
    for seed in range(30):
        train, judges = split_rows(np.ones(53, bool), None, 0.5, seed, labels)
        assert set(labels[train]) == {0, 1, 2}


def test_students_of_many_rows_train_as_long_as_students_of_few(jobs):
    X, y = table()
    double = pd.concat([X, X, X, X], ignore_index=True)
    real, origin = np.arange(480) < 120, np.tile(np.arange(120), 4)
    few = MLPStudent(**EPOCHS).fit(X, y)
    many = MLPStudent(**EPOCHS).fit(double, np.tile(y, 4), real=real, origin=origin)
    longer = MLPStudent(**EPOCHS, equal_steps=False).fit(double, np.tile(y, 4), real=real, origin=origin)
    assert few.n_steps_ == [20 * 4] and abs(many.n_steps_[0] - 80) <= 8 and longer.n_steps_ == [20 * 15]
    tuned = MLPStudent(preset="tuned", **EPOCHS).fit(double, np.tile(y, 4), real=real, origin=origin)
    for job in jobs[-2][1]:
        assert job.validation_rows.max() < 120 and not set(origin[job.rows]) & set(job.validation_rows)
    assert tuned.n_nets_ == 1 and len(jobs[-2][1]) == len(PRESETS["tuned"]["search"]["weight_decay"]), "the search is one bank"
    again, = jobs[-1][1]
    assert again.validation_rows is None and len(again.rows) == 480 and jobs[-1][2].patience is None, "... and the winner is trained again on all rows"
    assert again.params["weight_decay"] == tuned.chosen_["weight_decay"]


def test_patience_is_counted_in_steps(jobs):
    X, y = table()
    double, real = pd.concat([X] * 4, ignore_index=True), np.arange(480) < 120
    MLPStudent(patience=10, n_epochs=40, weight_decay=0.0, random_state=0).fit(double, np.tile(y, 4), real=real, origin=np.tile(np.arange(120), 4))
    config = jobs[-1][2]
    assert config.patience in (2, 3) and config.n_epochs in (10, 11)


# ---- banks

@pytest.mark.parametrize("extra", [{}, dict(preset="tuned"), dict(n_nets=2), dict(preset="tuned", n_nets=2, search={"hidden_dims": ((8,), (16, 8))})])
def test_many_lessons_equal_one_by_one(extra):
    X, y = table()
    student = MLPStudent(n_epochs=6, **extra)
    weight = np.random.default_rng(0).uniform(0.1, 2, 70)
    lessons = [Lesson(X[:60], y[:60], 0), Lesson(X[:70], y[:70], 1, weight), Lesson(X[20:], y[20:], 2, None, np.arange(100) < 50, np.arange(100) % 50),
               Lesson(X[["a", "b"]][:80], y[:80], 3)]
    together = student.fit_many(lessons)
    for lesson, found in zip(lessons, together):
        alone, = student.fit_many([lesson])
        assert np.allclose(found.predict(lesson.X), alone.predict(lesson.X), atol=1e-3)
        assert found.chosen_ == alone.chosen_ and found.n_steps_ == alone.n_steps_
    assert np.allclose(student.fit_many(lessons[::-1])[-1].predict(X[:60]), together[0].predict(X[:60]), atol=1e-3), "order"


def test_penalties_belong_to_their_networks():
    X, y = table()
    student = MLPStudent(n_epochs=30, patience=1000, search={"weight_decay": (0.0, 10.0)}, random_state=0)
    found = student.fit(X, y)
    assert found.chosen_["weight_decay"] == 0.0, "a heavy penalty beside it changes nothing"
    assert np.corrcoef(found.predict(X), y)[0, 1] > 0.9
    alone = MLPStudent(n_epochs=30, patience=1000, weight_decay=0.0, random_state=0).fit(X, y)
    assert np.allclose(alone.predict(X), found.predict(X), atol=1e-3)


def test_the_search_takes_the_best_judged():
    X, y = table(80)
    noisy, values = y + 2 * np.random.default_rng(0).normal(size=80), (0.0, 0.1, 3.0)
    common = dict(patience=50, n_epochs=60, random_state=0)
    alone = {v: MLPStudent(weight_decay=v, **common).fit(X, noisy).history_.validation.min() for v in values}
    found = MLPStudent(search={"weight_decay": values}, **common).fit(X, noisy)
    assert found.chosen_["weight_decay"] == min(alone, key=alone.get)
    assert found.history_.validation.min() == pytest.approx(min(alone.values()), abs=1e-3)


def test_refit_takes_the_length_and_settings_of_the_winner_and_all_rows(jobs):
    X, y = table()
    lessons = [Lesson(X[:n], y[:n], seed) for seed, n in enumerate((90, 100, 120))]
    student = MLPStudent(preset="tuned", n_epochs=60, patience=8, n_nets=3)
    for lesson, found, plain in zip(lessons, student.fit_many(lessons), clone(student).set_params(refit=False).fit_many(lessons)):
        best = 1 + int(found.search_history_.validation.argmin())
        length = found.n_steps_[0] / -(-len(lesson.X) // 32)
        assert length == int(length) and max(best, length) / min(best, length) <= 1.5**0.5 + 0.2 and found.n_steps_ == found.n_steps_[:1] * 3
        assert found.judged_ == [found.search_history_.validation.min()] * 3 and found.judged_[0] == plain.judged_[0] and found.chosen_ == plain.chosen_
        assert len({tuple(found.member(k).predict(X)) for k in range(3)}) == 3 and "validation" in plain.history_ and "validation" not in found.history_
    assert all(job.validation_rows is None or len(job.rows) < 120 for _, some, _ in jobs for job in some)
    assert MLPStudent(preset="tuned", n_epochs=5, validation_share=0.0, random_state=0).fit(X, y).n_steps_ == [5 * 4], "without judges there is nothing to do again"


# ---- answers

def test_without_a_hidden_layer_it_is_a_linear_model():
    X, y = table(300)
    numbers = X[list("abc")]
    line = MLPStudent(hidden_dims=(), n_epochs=300, learning_rate=0.01, random_state=0).fit(numbers, y)
    assert np.abs(line.predict(numbers) - LinearRegression().fit(numbers, y).predict(numbers)).max() < 0.1 * y.std()


@settings(max_examples=6, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_units_do_not_matter(scale, shift):
    X, y = table(60)
    model = MLPStudent(n_epochs=5, random_state=0)
    other = X.assign(a=X.a * scale + shift)
    plain, moved = model.fit(X, y).predict(X), clone(model).fit(other, y * scale + shift).predict(other)
    assert np.allclose(moved, plain * scale + shift, atol=2e-3 * scale * y.std())


def test_the_target_is_standardised_on_real_rows():
    X, y = table()
    far = np.r_[y, np.full(120, 1000.0)]
    model = MLPStudent(**EPOCHS).fit(pd.concat([X, X], ignore_index=True), far, real=np.arange(240) < 120)
    assert model._shift == pytest.approx(y.mean()) and model._scale == pytest.approx(y.std())


def test_weights_reach_the_loss():
    X, y = table()
    split = np.r_[y[:60], y[60:] + 10]
    heavy = MLPStudent(**EPOCHS).fit(X, split, np.r_[np.full(60, 100.0), np.ones(60)])
    plain = MLPStudent(**EPOCHS).fit(X, split)
    assert heavy.predict(X[:60]).mean() < plain.predict(X[:60]).mean() - 2
    same = MLPStudent(**EPOCHS).fit(X, split, np.full(120, 7.0))
    assert np.allclose(same.predict(X), plain.predict(X), atol=1e-4), "their mean does not matter"


def test_several_networks_are_averaged_and_differ():
    X, y = table()
    many = MLPStudent(**EPOCHS, n_nets=4).fit(X, y)
    assert many._outputs(X).shape == (4, 120, 1) and np.ptp(many._outputs(X), axis=0).max() > 1e-3
    labels = np.where(y > 0, "yes", "no")
    classifier = MLPStudentClassifier(**EPOCHS, n_nets=3).fit(X, labels)
    assert np.allclose(classifier.predict_proba(X).sum(axis=1), 1) and np.mean(classifier.predict(X) == labels) > 0.85


def test_a_scikit_learn_citizen():
    X, y = table()
    assert cross_val_score(MLPStudent(n_epochs=60, random_state=0), X, y, cv=3).mean() > 0.7
    model = MLPStudent(**EPOCHS).fit(X, y)
    shuffled = X[["word", "c", "a", "b"]]
    with pytest.raises((InputError, ValueError)):
        model.predict(X[["a", "b"]])
    with pytest.raises(ValueError):
        model.predict(shuffled)                       # scikit-learn's own rule about names
    assert np.isfinite(model.predict(X.assign(word="never"))).all()
    assert vars(model)["n_epochs"] == 20 and clone(model).get_params() == model.get_params()


@pytest.mark.parametrize("bad, said", [
    (dict(n_nets=0), "n_nets=0"), (dict(n_epochs=0), "n_epochs=0"), (dict(validation_share=1.5), "validation_share"), (dict(preset="x"), "preset='x'"),
    (dict(search={"depth": (1,)}), "search names"), (dict(search={"weight_decay": (1, 2)}), "give patience"), (dict(activation="swish"), "activation")])
def test_wrong_arguments_say_so(bad, said):
    X, y = table(40)
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        MLPStudent(**bad).fit(X, y)


# ---- stagnation

def test_conflicting_labels_stagnate_and_clear_ones_do_not():
    rng = np.random.default_rng(0)
    X, y = table(400)
    same = pd.concat([X.iloc[:1]] * 400, ignore_index=True).assign(a=rng.normal(size=400) * 1e-9)
    assert MLPStudent(**EPOCHS).fit(same, rng.normal(size=400)).stagnated_, "one row, four hundred labels"
    assert not MLPStudent(**EPOCHS).fit(X, y).stagnated_


@given(st.floats(0.01, 0.2))
def test_stagnation_does_not_depend_on_the_unit(rate):
    curve = 0.8 + 0.2 * np.exp(-rate * np.arange(100))
    assert stagnates(curve) == stagnates(curve * 1000)
    assert not stagnates(np.exp(-rate * np.arange(100)))
