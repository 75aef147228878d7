"""Students side by side: splits without copies, recipes that differ only in what they say, one table."""
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.tree import DecisionTreeRegressor

from augment_lib.core import InputError
from augment_lib.data import registry
from augment_lib.mixing import ADA, CMixup
from augment_lib.student import MLPStudent
from augment_lib.teaching import THIRTY, CodeNoise, Recipe, add_gain, make_lesson, open_class, rmse, school, split_once, teach, teacher_rows, to_long

QUICK = MLPStudent(n_epochs=5)


def table(n=160, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc")).assign(k=rng.integers(0, 5, n))
    return X, X.a.to_numpy() ** 2 + X.k.to_numpy() + 0.1 * rng.normal(size=n)


@pytest.fixture(scope="module")
def rooms():
    X, y = table()
    return [open_class("set", "family", X, y, seed, 80, DecisionTreeRegressor(random_state=0)) for seed in (0, 1)]


def test_the_thirty_are_families_of_150_to_50_000_rows():
    rows = registry().reindex([name for name in THIRTY if name != "diabetes"])          # diabetes is scikit-learn's
    assert len(set(THIRTY)) == 30 and rows.family.notna().all() and rows.family.is_unique and "diabetes" not in set(rows.family)
    assert rows.rows.astype(int).between(150, 50_000).all() and (rows.task == "regression").all()


@settings(max_examples=25, deadline=None)
@given(st.integers(20, 200), st.integers(5, 200), st.integers(10, 300), st.integers(0, 10**6))
def test_no_row_judges_its_copy(n, values, most, seed):
    X = pd.DataFrame({"a": np.random.default_rng(seed).integers(0, values, n)})
    try:
        train, test = split_once(X, seed, most)
    except InputError:
        return
    assert len(train) == min(int(0.8 * n), most) and not set(X.a[train]) & set(X.a[test])


def test_recipes_of_one_class_share_their_rows(rooms):
    lessons = {labels: make_lesson(Recipe(eta=0.2, volume=1.5, labels=labels), rooms[0], 7) for labels in ("teacher", "crossed", "true", "out_of_fold")}
    first, new = lessons["teacher"], ~lessons["teacher"].real
    assert new.sum() == 120 and all(lesson.X.equals(first.X) and np.array_equal(lesson.origin, first.origin) for lesson in lessons.values())
    room, origin = rooms[0], first.origin[new]
    assert np.array_equal(lessons["true"].y[new], room.y[origin]) and np.allclose(lessons["out_of_fold"].y[new], room.teacher.out_of_fold_[origin])
    assert np.allclose(first.y[new], room.teacher.predict(first.X[new])), "a full-grown tree never leaves the range"
    assert not np.allclose(first.y[new], lessons["crossed"].y[new])


def test_crossed_labels_have_not_seen_their_row(rooms):
    still = make_lesson(Recipe(eta=0.0, labels="crossed"), rooms[0], 0)
    seen = make_lesson(Recipe(eta=0.0, labels="teacher"), rooms[0], 0)
    new = ~still.real
    assert np.allclose(still.y[new], np.clip(rooms[0].teacher.out_of_fold_, rooms[0].y.min(), rooms[0].y.max())[still.origin[new]])
    assert np.allclose(seen.y[new], rooms[0].y[seen.origin[new]]), "a tree remembers what it has seen"


def test_test_rows_teach_nothing(rooms):
    X, y = table()
    train, test = split_once(X, 0, 80)
    other = y.copy()
    other[test] = -999.0
    room = open_class("set", "family", X, other, 0, 80, DecisionTreeRegressor(random_state=0))
    for recipe in (Recipe(), CMixup(), ADA(), None):
        mine, theirs = make_lesson(recipe, room, 3), make_lesson(recipe, rooms[0], 3)
        assert mine.X.equals(theirs.X) and np.array_equal(mine.y, theirs.y)


def test_a_table_of_students(rooms):
    found = pd.concat([teach(rooms, {"none": None, "ml_teacher": Recipe(), "ada": ADA()}, QUICK), teach(rooms, {"none": None}, QUICK, " again"), teacher_rows(rooms)])
    assert len(found) == 10 and found.regime.eq("S").all() and not found.duplicated(["dataset", "method", "seed"]).any()
    wide = found.pivot(index="seed", columns="method", values="rmse")
    assert np.allclose(wide["none"], wide["none again"], rtol=1e-3), "company does not matter"
    for room in rooms:
        assert wide.teacher[room.seed] == rmse(room.y_test, room.teacher.predict(room.X_test))
    gains = add_gain(found.reset_index(drop=True))
    assert np.allclose(gains[gains.method == "ml_teacher"].gain, np.log(wide["none"] / wide.ml_teacher)) and (gains[gains.method == "none"].gain == 0).all()
    assert to_long(gains).value.notna().all()
    plain = teach(rooms, {"none": None}, Ridge(), model="ridge")
    assert plain.test_train_gap.isna().all() and plain.model.eq("ridge").all()


def test_a_teacher_is_asked_once_and_a_diverged_student_is_a_gap(rooms):
    class Asked:
        out_of_fold_ = np.zeros(80)

        def __init__(self): self.n = 0

        def predict(self, X):
            self.n += 1
            return np.zeros(len(X))

    class Diverged(LinearRegression):
        def predict(self, X): return np.full(len(X), np.nan)

    mine = [room._replace(teacher=Asked()) for room in rooms] + [rooms[0]._replace(teacher=None, seed=9)]
    found = teach(mine, {"none": None, "again": None}, Diverged())
    assert [room.teacher.n for room in mine[:2]] == [1, 1] and found.rmse.isna().all() and found.teacher_rmse.isna().sum() == 2
    told = teacher_rows(mine[:2])
    assert [room.teacher.n for room in mine[:2]] == [2, 2]
    assert np.allclose(told.rmse, [np.sqrt(np.mean(room.y_test**2)) for room in mine[:2]]) and (told.rmse == told.teacher_rmse).all()
    assert np.allclose(told.test_train_gap, np.log(told.rmse / [np.sqrt(np.mean(room.y**2)) for room in mine[:2]]))


def test_steps_are_equal(rooms):
    found = teach(rooms, {"none": None, "V 1": Recipe(), "V 5": Recipe(volume=5.0)}, MLPStudent(n_epochs=60)).groupby("method").steps.mean()
    assert found.max() - found.min() <= 15 / 2, "the nearest whole number of passes"


class CountsPasses(LinearRegression):
    "A student of another framework: counts passes over its table, knows nothing of steps."
    trained = []

    def __init__(self, n_epochs=40):
        super().__init__()
        self.n_epochs = n_epochs

    def fit(self, X, y):
        self.trained.append((len(X), self.n_epochs))
        return super().fit(X, y)


def test_a_framework_makes_the_same_steps_too(rooms):
    CountsPasses.trained = []
    given = CountsPasses()
    teach(rooms[:1], {"none": None, "V 1": Recipe(), "V 3": Recipe(volume=3.0), "V 200": Recipe(volume=200.0)}, given)
    n = len(rooms[0].y)
    assert CountsPasses.trained == [(n, 40), (2 * n, 20), (4 * n, 10), (201 * n, 1)], "rows times passes are equal, and one pass is the least"
    assert given.n_epochs == 40, "the caller's student is left as it was"


def test_a_recipe_needs_to_know_the_original(rooms):
    class Nowhere(LinearRegression):
        def fit(self, X, y, rng):
            self.X_ = X
            return self

        def draw(self, n, rng):
            return self.X_.iloc[:n], np.full(n, -1)

    with pytest.raises(InputError, match="needs the row"):
        make_lesson(Recipe(labels="true", features=Nowhere()), rooms[0], 0)
    assert len(make_lesson(Recipe(features=Nowhere()), rooms[0], 0).y) == 160


def test_code_noise_moves_rows_by_their_codes(rooms):
    numbers = rooms[0]._replace(X=rooms[0].X[list("abc")])
    maker = CodeNoise(eta=0.3, latent_dim=2, n_epochs=5)
    new, seeds = maker.fit(numbers.X, numbers.y, np.random.default_rng(0)).draw(100, np.random.default_rng(1))
    assert new.shape == (100, 3) and np.isfinite(new.to_numpy()).all() and np.ptp(np.bincount(seeds)) == 1


def test_finished_pieces_are_read(tmp_path):
    calls = []
    def piece(name):
        calls.append(name)
        return pd.DataFrame({"name": [name], "value": [len(calls)]})
    school(piece, ["a", "b"], folder=tmp_path / "deep")
    assert school(piece, ["a", "b", "c"], folder=tmp_path / "deep").value.tolist() == [1, 2, 3] and calls == ["a", "b", "c"]
    assert not list(Path(tmp_path).rglob("*.tmp"))
