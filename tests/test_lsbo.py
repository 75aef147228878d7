"""Latent-space optimisation and its rivals: the surrogate against gpytorch, resume at every place, failures, objects of all kinds, retraining, bad input."""
import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augment_lib.black_box import SECONDS, Proposal, Search, evaluate, key_of, pack, split, stack, summary, unpack
from augment_lib.core import InputError, ModelFileError
from augment_lib.lra_vae import LRAVAE
from augment_lib.lsbo import LatentModel, LatentSpaceOptimizer, check_bounds
from augment_lib.lsbo_rivals import RIVALS, Inversion, MutationGA, RandomSearch, Screening, TuRBO, WeightedRetraining, rival, trust_region
from augment_lib.squares import simulate_squares, square_area, squareness
from augment_lib.surrogate import ACQUISITIONS, Surrogate, acquisition, best_queries, draw_functions, fit_surrogate

pytestmark = pytest.mark.filterwarnings("ignore:.*reconstructs the rows with R2:UserWarning", "ignore:The given NumPy array is not writable:UserWarning")
PICTURES = simulate_squares(200, size=12, largest=5, random_state=0)


class Linear:
    "Codes are coordinates on a plane; kind says in which container objects come."

    def __init__(self, d=2, kind="array", seed=0):
        self.W, self.latent_dim, self.kind = np.random.default_rng(seed).normal(size=(4, d)), d, kind

    def decode(self, Z):
        rows = np.asarray(Z, dtype=float) @ self.W.T
        if self.kind == "text":
            return [" ".join(f"{v:.12g}" for v in row) for row in rows]
        return pd.DataFrame(rows, columns=list("abcd")) if self.kind == "frame" else rows

    def encode(self, objects):
        return self.numbers(objects) @ np.linalg.pinv(self.W).T

    def invert(self, objects, start):
        return self.encode(objects)

    def numbers(self, objects):
        return np.array([[float(v) for v in one.split()] for one in objects]) if self.kind == "text" else np.asarray(objects, dtype=float)


class Drifting(Linear):
    "A model whose codes turn at every retraining; it notes what it was given."

    def __init__(self, turn=0.0, calls=None):
        super().__init__()
        self.turn, self.calls = turn, [] if calls is None else calls
        c, s = np.cos(turn), np.sin(turn)
        self.W = self.W @ np.array([[c, -s], [s, c]])

    def retrain(self, objects, scores, *, center=None, rank_weight=None, random_state=0):
        self.calls.append((len(objects), np.asarray(scores), center, rank_weight, random_state))
        return Drifting(self.turn + 0.3, self.calls)

    def save(self, path):
        path.mkdir(parents=True, exist_ok=True)
        (path / "turn.txt").write_text(repr(self.turn))

    def restore(self, path):
        return Drifting(float((path / "turn.txt").read_text()), self.calls)


def bowl(model, goal):
    target = model.numbers(split(model.decode(np.asarray(goal)[None])))[0] if model.kind != "frame" else model.decode(np.asarray(goal)[None]).to_numpy()[0]
    return lambda one: -float(np.square(model.numbers([one] if model.kind == "text" else one).ravel() - target).sum())


@pytest.fixture(scope="module")
def lra():
    return LRAVAE(3, hidden_dims=(32,), n_epochs=8, batch_size=32, learning_rate=3e-3, random_state=0, device="cpu").fit(PICTURES)


# ---- the surrogate

def surrogate(n=12, d=2, seed=0):
    rng = np.random.default_rng(seed)
    Z = rng.uniform(-2, 2, (n, d))
    process = Surrogate([-2.0] * d, [2.0] * d)
    process.hyper = {"lengths": torch.linspace(0.4, 0.9, d, dtype=torch.float64), "noise": 1e-3, "mean": 0.2, "shift": 0.5, "scale": 2.0}
    return process, Z, np.sin(Z).sum(1)


@given(st.integers(1, 11), st.integers(1, 5), st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_one_more_row_is_beginning_anew(split_at, d, seed):
    grown, Z, y = surrogate(12, d, seed)
    Z[7] = Z[2]                                            # a place that comes twice
    grown.condition(Z[:split_at], y[:split_at])
    for n in range(split_at, 12):
        grown.add(Z[n], y[:n + 1])
    anew, _, _ = surrogate(12, d, seed)
    anew.condition(Z, y)
    X = torch.rand(9, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(grown.predict(X), anew.predict(X), rtol=1e-6, atol=1e-8)
    assert len(anew.X) == 12 and torch.isfinite(anew.L_inverse).all()


def test_prediction_is_the_textbook():
    process, Z, y = surrogate()
    process.condition(Z, y)
    r = np.sqrt(5) * np.sqrt(np.square((Z[:, None] - Z[None]) / 4 / process.hyper["lengths"].numpy()).sum(-1))
    K = (1 + r + r**2 / 3) * np.exp(-r)
    target, solve = (y - 0.5) / 2, np.linalg.inv(K + 1e-3 * np.eye(12))
    mean, variance = process.predict(process.unit(Z))
    np.testing.assert_allclose(mean, 0.2 + K @ solve @ (target - 0.2), atol=1e-8)
    np.testing.assert_allclose(variance, 1 - np.einsum("ij,jk,ik->i", K, solve, K), atol=1e-8)
    spread = variance[0].item() + 1e-3
    log_density = -0.5 * (np.log(2 * np.pi * spread) + (1.25 - mean[0].item()) ** 2 / spread)
    assert np.isclose(process.log_likelihood(Z[0], 0.5 + 2 * 1.25), log_density)


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_a_query_is_the_best_of_a_grid(name):
    process, Z, y = surrogate(8, 1)
    worth = acquisition(process.condition(Z, y), name, np.random.default_rng(0))
    X, value = best_queries(process, worth, np.random.default_rng(1), n_restarts=4, raw_samples=64)
    with torch.no_grad():
        grid = worth(torch.linspace(0, 1, 500, dtype=torch.float64)[:, None, None])
    assert value[0] >= grid.max() - 1e-2 and (value[:-1] >= value[1:]).all() and X.min() >= 0 and X.max() <= 1


def test_drawn_functions_have_the_moments_of_the_process():
    process, Z, y = surrogate(5, 2)
    process.condition(Z, y)
    X = torch.rand(30, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    draws, (mean, variance) = draw_functions(process, 4000, np.random.default_rng(0), features=2000)(X), process.predict(X)
    assert (draws.mean(1) - mean).abs().max() < 0.1 and (draws.std(1) - variance.sqrt()).abs().max() < 0.1


def test_hyperparameters_are_found_and_kept_in_units():
    rng = np.random.default_rng(0)
    Z = rng.uniform(-3, 3, (70, 3))
    y = 100 + 40 * np.sin(1.5 * Z[:, 0]) + 20 * Z[:, 1]
    process = fit_surrogate(Surrogate([-3] * 3, [3] * 3), Z, y)
    assert process.hyper["lengths"][2] > 3 * process.hyper["lengths"][0] and np.isclose(process.hyper["shift"], y.mean())
    warm = process.hyper
    fit_surrogate(process, Z, y, max_steps=1)
    assert torch.allclose(process.hyper["lengths"], warm["lengths"], rtol=0.2)      # it began where it had ended


# ---- objects, calls, records

@pytest.mark.parametrize("many", [["C", "é\n", ""], np.arange(12, dtype=np.float32).reshape(3, 2, 2), np.arange(6).reshape(3, 2),
                                  pd.DataFrame({"a": [1, 2, 3], "b": pd.Categorical(["x", "y", "x"]), "c": [0.1, np.nan, 3]})], ids=["texts", "pictures", "integers", "frame"])
def test_objects_survive_the_disk(many):
    ones = unpack(pack(split(many)))
    assert [key_of(o) for o in ones] == [key_of(o) for o in split(many)] and len({key_of(o) for o in ones}) == 3
    assert stack(ones).dtypes.equals(many.dtypes) if hasattr(many, "dtypes") else np.asarray(stack(ones)).dtype == np.asarray(many).dtype


@pytest.mark.parametrize("frame", [pd.DataFrame({"a": [1e-8, 1.0000000001e-8, np.nextafter(1e-8, 1)]}), pd.DataFrame({"a": pd.array([1, None, 2], dtype="Int64")}),
                                   pd.DataFrame({"a": pd.Categorical(["x", "y", "1"]), "b": [True, True, False]}), pd.DataFrame({"a": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"])})])
def test_rows_of_a_frame_that_differ_are_different_objects(frame):
    keys = [key_of(one) for one in split(frame)]
    assert len(set(keys)) == 3
    assert [key_of(one) for one in unpack(pack(split(frame)))] == keys


def test_time_limit_leaves_other_alarms_and_threads_alone():
    import signal
    rang = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.15)
        assert evaluate(lambda _: 1.0, None, 5).value == 1 and signal.getitimer(signal.ITIMER_REAL)[0] > 0
        assert "longer" in evaluate(lambda _: time.sleep(3), None, 0.03).reason
        time.sleep(0.2)
        assert rang == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    found = []
    worker = threading.Thread(target=lambda: found.extend([evaluate(lambda _: time.sleep(3), None, 0.03), evaluate(lambda _: 2, None, 1), evaluate(lambda _: [], None, 1)]))
    worker.start()
    worker.join(3)
    assert "longer" in found[0].reason and found[1].value == 2 and "TypeError" in found[2].reason


def test_ctrl_c_gets_through():
    def stop(_):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        evaluate(stop, None)


@pytest.mark.parametrize("direction", ["max", "min"])
@given(values=st.lists(st.one_of(st.none(), st.floats(-5, 5), st.just(float("nan")), st.just(float("inf"))), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_best_so_far_is_the_running_best(direction, values):
    search = Search(direction=direction, random_state=0)
    for i, value in enumerate(values):
        search.tell(str(i), value)
    finite = np.array([np.nan if v is None or not np.isfinite(v) else v for v in values])
    expected = pd.Series(finite).cummax() if direction == "max" else pd.Series(finite).cummin()
    pd.testing.assert_series_equal(search.history_.best_so_far.ffill(), expected.ffill(), check_names=False)
    assert search.history_.failed.tolist() == np.isnan(finite).tolist() and list(search.history_["query"]) == list(range(1, len(values) + 1))
    if np.isfinite(finite).any():
        assert search.best_object_ == str(np.nanargmax(finite) if direction == "max" else np.nanargmin(finite))


# ---- killed and resumed, wherever it happens

def make(kind, folder=None, **options):
    options = {"n_initial": 4, "random_state": 3, "folder": folder} | options
    if kind == "ga":
        return MutationGA(lambda x, rng: x + 0.2 * rng.normal(size=4), pool=Linear().decode(np.random.default_rng(1).normal(size=(30, 2))), **options)
    if kind == "screening":
        return Screening(Linear().decode(np.random.default_rng(1).normal(size=(30, 2))), **options)
    if kind == "random_search":
        return RandomSearch(Linear(), **options)
    quick = {"refit_every": 4 if kind == "retrained" else 100, "raw_samples": 16, "n_restarts": 2}
    return {"retrained": lambda: LatentSpaceOptimizer(Drifting(), retrain_every=2, **quick, **options), "text": lambda: LatentSpaceOptimizer(Linear(kind="text"), **quick, **options),
            "frame": lambda: LatentSpaceOptimizer(Linear(kind="frame"), acquisition="mes", **quick, **options), "turbo": lambda: TuRBO(Linear(), n_candidates=50, **quick, **options),
            "stale": lambda: WeightedRetraining(Drifting(), retrain_every=2, reencode=False, **quick, **options),
            "inversion": lambda: Inversion(Linear(), consistent=1, store="code", **quick, **options)}[kind]()


@pytest.mark.parametrize("kind, killed_at", [("retrained", 7), ("stale", 6), ("text", 2), ("frame", 5), ("turbo", 7), ("inversion", 6), ("ga", 6), ("screening", 3), ("random_search", 6)])
def test_a_killed_search_goes_on_as_if_nothing_had_been(tmp_path, kind, killed_at):
    model, calls = Linear(kind=kind if kind in ("text", "frame") else "array"), []
    function = bowl(model, [0.7, -0.4])

    def outage(one):
        if len(calls) == killed_at and outage.on:
            raise KeyboardInterrupt
        calls.append(key_of(one))
        return function(one) if len(calls) != 5 else None         # the fifth evaluation fails
    outage.on = True
    with pytest.raises(KeyboardInterrupt):
        make(kind, tmp_path).maximize(outage, 5)
    outage.on = False
    resumed = make(kind, tmp_path).maximize(outage, 5)
    assert len(calls) == 9 == len(set(calls))                      # nothing was evaluated twice
    calls.clear()
    whole = make(kind).maximize(outage, 5)
    assert [key_of(o) for o in resumed.objects_] == [key_of(o) for o in whole.objects_] and np.array_equal(resumed.values_, whole.values_, equal_nan=True)
    told = [c for c in whole.history_ if c not in SECONDS]
    pd.testing.assert_frame_equal(resumed.history_[told], whole.history_[told])
    if resumed.codes_ is not None:
        np.testing.assert_array_equal(resumed.codes_, whole.codes_)
    assert len(list(tmp_path.glob("model-*"))) == (kind in ("retrained", "stale"))      # one model is kept, not one per retraining
    resumed.ask()                                                   # also what comes next is the same
    assert key_of(resumed.ask()) == key_of(whole.ask())


def test_a_folder_belongs_to_one_search(tmp_path):
    make("text", tmp_path).maximize(bowl(Linear(kind="text"), [0, 0]), 2)
    with pytest.raises(InputError, match="acquisition='log_ei'"):
        make("text", tmp_path, n_initial=4, random_state=3).__class__(Linear(kind="text"), acquisition="ucb", refit_every=100, raw_samples=16, n_restarts=2, n_initial=4, random_state=3, folder=tmp_path).ask()
    with pytest.raises(InputError, match="random_state=3"):
        make("text", tmp_path, random_state=4).ask()
    next((tmp_path / "objects").glob("*2.npz")).write_bytes(b"")
    with pytest.raises(ModelFileError, match="cannot be read"):
        make("text", tmp_path).ask()


# ---- the optimiser

@pytest.mark.parametrize("kind", ["array", "text", "frame"])
@pytest.mark.parametrize("direction", ["max", "min"])
def test_the_best_code_of_a_bowl_is_found(kind, direction):
    model, goal = Linear(kind=kind), np.array([1.1, -0.6])
    function = bowl(model, goal)
    search = LatentSpaceOptimizer(model, n_initial=6, raw_samples=32, n_restarts=2, random_state=0)
    search = search.maximize(function, 12) if direction == "max" else search.minimize(lambda one: -function(one), 12)
    assert np.abs(model.encode(stack([search.best_object_]))[0] - goal).max() < 0.25
    assert search.history_.inconsistency.max() < 1e-8 and search.history_.log_density.notna().all()


@pytest.mark.parametrize("reencode", [True, False])
def test_after_retraining_all_objects_have_new_codes(reencode):
    search = LatentSpaceOptimizer(Drifting(), retrain_every=2, reencode=reencode, n_initial=3, raw_samples=16, n_restarts=2, random_state=0)
    function = bowl(Linear(), [0.5, 0.5])
    search.maximize(function, 4)
    search.tell(search.ask(), np.nan)
    search.ask()
    calls = search.model_.calls
    assert [c[0] for c in calls] == [5, 7] and search.model_.turn == 0.6 and search.model.turn == 0.0       # after queries 2 and 4
    gap = np.abs(search.codes_[:7] - search.model_.encode(np.stack(search.objects_[:7]))).max()
    assert (gap < 1e-12) == reencode
    n, scores, center, rank_weight, _ = calls[0]
    assert np.array_equal(scores, search.values_[:5]) and rank_weight is None
    best = 3 + int(np.argmax(scores[3:]))                           # of the queries, not of the initial objects
    assert np.allclose(center, Drifting().encode(search.objects_[best][None])[0])
    assert search.history_.retrained.tolist() == [False] * 3 + [False, False, True, False, True]


def test_failed_places_are_as_bad_as_the_worst():
    search = LatentSpaceOptimizer(Linear(), n_initial=3, random_state=0, direction="min")
    for z, value in zip(np.eye(4), [3.0, 9.0, None, 1.0]):
        search.tell(z, value)
    assert search._targets().tolist() == [-3, -9, -9, -1]


def test_repeated_objects_are_not_evaluated_again():
    class Coarse(Linear):
        def decode(self, Z):
            return np.round(super().decode(Z) / 4)                  # a decoder with few answers
    calls = []
    search = LatentSpaceOptimizer(Coarse(), n_initial=3, raw_samples=16, n_restarts=2, random_state=0).maximize(lambda x: calls.append(1) or float(x.sum()), 15)
    assert search.history_.repeated.sum() > 0 and len(calls) == 18 - search.history_.repeated.sum()
    X = search.surrogate_.X[3:]                                     # of the queries
    assert torch.isfinite(search.surrogate_.alpha).all() and torch.cdist(X, X).add(torch.eye(len(X))).min() > 1e-3


def test_many_given_objects_are_encoded_at_once_and_kept_in_one_file(tmp_path):
    class Counting(Linear):
        calls = 0

        def encode(self, objects):
            Counting.calls += 1
            return super().encode(objects)
    objects = Linear().decode(np.random.default_rng(0).normal(size=(300, 2)))
    search = LatentSpaceOptimizer(Counting(), random_state=0, folder=tmp_path).maximize(len, 0, initial=(objects, np.arange(300.0)))
    assert Counting.calls == 1 and len(list((tmp_path / "objects").iterdir())) == 1 and search.best_value_ == 299
    again = LatentSpaceOptimizer(Linear(), random_state=0, folder=tmp_path).begin()
    assert np.array_equal(again.codes_, search.codes_) and np.array_equal(np.stack(again.objects_), objects) and again.n_queries_ == 0


def test_values_that_are_all_equal_are_no_obstacle():
    search = LatentSpaceOptimizer(Linear(), n_initial=3, raw_samples=16, n_restarts=2, random_state=0).maximize(lambda x: 2.0, 4)
    assert search.best_value_ == 2 and search.history_.gp_log_likelihood[3:].notna().all()


def test_foreign_objects_can_be_told_at_any_time():
    model = Linear()
    search, function = LatentSpaceOptimizer(model, n_initial=2, raw_samples=16, n_restarts=2, random_state=0), bowl(model, [0.3, 0.9])
    waiting = search.ask()
    search.tell(model.decode(np.array([[0.3, 0.9]]))[0], 0.0)       # somebody knew the answer
    assert np.array_equal(search.ask(), waiting)                    # the question still stands
    search.tell(waiting, function(waiting))
    for _ in range(3):
        one = search.ask()
        search.tell(one, function(one))
    assert search.best_value_ == 0 and len(search.codes_) == 5


# ---- the house's models

def test_latent_model_retrains_saves_and_inverts(lra, tmp_path):
    model = LatentModel(lra, PICTURES, n_rows=40)
    scores = np.array([square_area(p) for p in PICTURES[:10]])
    twin = model.retrain(PICTURES[:10], np.r_[np.nan, scores[1:]], center=np.ones(3), random_state=5)
    law = twin.sampler.reference_law
    assert np.array_equal(law[0], np.ones(3)) and law[1] == 0.3 and lra.reference_law == "broad" and len(twin.sampler._codes[0]) == 49       # nine good ones and forty
    twin.save(tmp_path / "m")
    assert np.array_equal(model.restore(tmp_path / "m").encode(PICTURES[:5]), twin.encode(PICTURES[:5]))
    ranked = model.retrain(PICTURES[:10], scores, rank_weight=1e-3, random_state=5)
    assert ranked.sampler.reference_law == "broad" and len(ranked.sampler._codes[0]) == 40
    start = model.encode(PICTURES[:6])
    loss = [np.square(model.decode(Z) - PICTURES[:6]).sum() for Z in (start, model.invert(PICTURES[:6], start, n_steps=30))]
    assert loss[1] < loss[0]


def test_pictures_from_the_sampler_itself(lra):
    search = LatentSpaceOptimizer(lra, n_initial=5, raw_samples=16, n_restarts=2, consistent=2, penalty=0.1, random_state=0).maximize(square_area, 3, initial=PICTURES[:5])
    assert search.best_value_ >= max(map(square_area, PICTURES[:5])) and search.objects_[-1].shape == (12, 12)
    found = summary(search.history_, 3)
    assert set(found) == {"area_under_best", "best_so_far", "inconsistency", "gp_likelihood", "log_density", "validity", "repeated", "seconds", "query_seconds"}


def test_tables_keep_their_scale_through_retraining():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=list("abc"))
    model = LatentModel(LRAVAE(2, hidden_dims=(8,), n_epochs=3, random_state=0, device="cpu").fit(X), X, n_rows=5)
    search = LatentSpaceOptimizer(model, retrain_every=2, n_initial=4, raw_samples=16, n_restarts=2, random_state=0).maximize(lambda row: float(row.a.iloc[0]), 4)
    assert isinstance(search.best_object_, pd.DataFrame) and search.best_object_.shape == (1, 3)
    search.ask()
    assert np.allclose(search.model_.sampler._table.scaling[0], model.sampler._table.scaling[0]) and len(search.model_.sampler._codes[0]) > 60


# ---- bad input

@pytest.mark.parametrize("bounds, why", [((1, -1), "inverted in dimension 0"), (([0, 0], [1, 0]), "inverted in dimension 1"), (([0, 0, 0], 1), "2, one per dimension"), ((np.nan, 1), "NaN or infinity"),
                                         ((-np.inf, np.inf), "NaN or infinity"), (3, "expected"), ("ab", "expected"), (("a", 1), "expected numbers"), ((0, 1, 2), "expected")])
def test_bounds_that_are_none(bounds, why):
    with pytest.raises(InputError, match=why):
        LatentSpaceOptimizer(Linear(), bounds)


def test_bounds_that_cannot_be_decoded(lra):
    class Narrow(Linear):
        def decode(self, Z):
            if np.abs(Z).max() > 5:
                raise RuntimeError("codes above 5")
            return super().decode(Z)
    with pytest.raises(InputError, match="cannot decode the low corner of the box .RuntimeError: codes above 5"):
        check_bounds((-6, 6), Narrow())
    with pytest.raises(InputError, match="NaN or infinity; use a smaller one"):
        check_bounds((-1e39, 1e39), LatentModel(lra))
    assert check_bounds(None, Narrow())[1].tolist() == [3, 3]


@pytest.mark.parametrize("build, why", [
    (lambda: LatentSpaceOptimizer(LRAVAE(2)), "not fitted"), (lambda: LatentSpaceOptimizer(3), "without latent_dim, encode, decode"), (lambda: LatentSpaceOptimizer(Linear(), retrain_every=3), "without retrain"),
    (lambda: LatentSpaceOptimizer(Linear(), acquisition="pi"), "expected one of"), (lambda: LatentSpaceOptimizer(Linear(), store="both"), "expected one of"),
    (lambda: LatentSpaceOptimizer(Linear(), retrain_every=0), "retrain_every"), (lambda: LatentSpaceOptimizer(Linear(), consistent=-1), "consistent"), (lambda: LatentSpaceOptimizer(Linear(), penalty=-1), "penalty"),
    (lambda: LatentSpaceOptimizer(Linear(), max_failures=0), "max_failures"), (lambda: LatentSpaceOptimizer(Linear(), time_limit=-1), "positive number of seconds"),
    (lambda: LatentSpaceOptimizer(Linear(), direction="most"), "'max', 'min'"), (lambda: WeightedRetraining(Drifting(), rank_weight=0), "rank_weight"), (lambda: Screening([]), "empty"),
    (lambda: MutationGA(None), "expected functions"), (lambda: rival("best"), "expected one of"), (lambda: rival("ga"), "mutate="), (lambda: rival("screening"), "pool="), (lambda: rival("turbo"), "model=")])
def test_arguments_that_are_refused(build, why):
    with pytest.raises(InputError, match=why):
        build()


def test_a_folder_needs_a_model_that_can_be_kept(tmp_path):
    class Forgetful(Linear):
        def retrain(self, *args, **options):
            return self
    with pytest.raises(InputError, match="no save"):
        LatentSpaceOptimizer(Forgetful(), retrain_every=2, folder=tmp_path)


def test_a_function_that_never_answers_is_given_up():
    calls = []

    def dead(one):
        calls.append(one)
        raise OSError("licence server")
    search = LatentSpaceOptimizer(Linear(), n_initial=3, max_failures=7, random_state=0)
    with pytest.raises(InputError, match="first 7 calls, the last time: OSError: licence server"):
        search.maximize(dead, 50)
    assert len(calls) == 7 and len(search.history_) == 7 and search.best_object_ is None
    calls.clear()

    def late(one):                                                  # but one that answered once is forgiven
        calls.append(one)
        if len(calls) != 2:
            raise OSError("busy")
        return 1.0
    assert LatentSpaceOptimizer(Linear(), n_initial=3, max_failures=3, raw_samples=16, random_state=0).maximize(late, 6).history_.failed.sum() == 8


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_by_name(name):
    pool = Linear().decode(np.random.default_rng(1).normal(size=(20, 2)))
    model = Drifting()
    method = rival(name, model, pool=pool, mutate=lambda x, rng: x + rng.normal(size=4), n_initial=3, random_state=0)
    history = method.minimize(lambda x: float(np.square(x).sum()), 3, initial=pool[:4]).history_
    assert len(history) == 7 and summary(history, 3)["validity"] == 1 and (history.best_so_far.diff().dropna() <= 0).all()


def test_trust_region_follows_the_record():
    assert trust_region(np.array([0.0]), 1, 2) == 0.8 and trust_region(np.array([0.0, 1, 2, 3]), 1, 2) == 1.6
    assert trust_region(np.array([0.0, -1, -1, -1, -1]), 1, 2) == 0.4 and trust_region(np.array([np.nan, np.nan, 1.0]), 2, 2) == 0.8
    side = [trust_region(np.r_[0.0, np.full(n, -1.0)], 1, 2) for n in range(60)]
    assert min(side) >= 0.5**7 and side[28] == 0.8                  # after seven halvings it begins anew


def test_proposals_default_to_no_notes():
    assert Proposal("x").notes == {} and np.allclose(squareness(PICTURES[:5]), 1)
