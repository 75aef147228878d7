"""StringVAE and StringModel: the limit gamma = 0, determinism, saving, retraining, inversion, the optimiser's interface, refusals."""
import json

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from augment_lib.core import InputError, ModelFileError
from augment_lib.latent_cycle import consistent, latent_reconstruction_error
from augment_lib.lra_vae import Shell
from augment_lib.store import fit_or_load
from augment_lib.string_vae import StringModel, StringVAE, fit_strings, rows_to_learn
from augment_lib.strings import expression_score, simulate_expressions

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable:UserWarning")
STRINGS = simulate_expressions(150, longest=7, random_state=0)
QUICK = dict(latent_dim=3, pattern="expression", hidden_dim=12, n_epochs=3, learning_rate=1e-2, random_state=0, device="cpu")
Z = np.random.default_rng(0).standard_normal((40, 3))


def weights_of(model):
    return torch.cat([value.flatten() for value in getattr(model, "sampler", model)._nets[0].state_dict().values()])


def same(a, b):
    return torch.equal(weights_of(a), weights_of(b))


@pytest.fixture(scope="module")
def vae():
    return StringVAE(**QUICK).fit(STRINGS)


@pytest.fixture(scope="module")
def lra():
    return StringVAE(gamma=0.5, **QUICK).fit(STRINGS)


# ---- the model

def test_gamma_zero_is_the_vae_bit_for_bit(vae, lra):
    for options in ({"reference_law": Shell(0.9, 1)}, {"draws": 1.0}, {"feedback": "probabilities"}, {"code": "sample"}):
        assert same(StringVAE(gamma=0.0, **QUICK, **options).fit(STRINGS), vae)
        assert not same(StringVAE(gamma=0.5, **QUICK, **options).fit(STRINGS), vae)
    assert not same(lra, vae) and list(lra.history_)[1:] == ["x", "kl", "lre", "total"]


def test_a_fit_is_determined_by_its_seed(vae):
    assert same(StringVAE(**QUICK).fit(np.array(STRINGS)), vae)
    assert not same(StringVAE(**QUICK | {"random_state": 1}).fit(STRINGS), vae)
    assert same(StringVAE(**QUICK).fit(STRINGS, np.ones(150)), vae) and same(clone(vae).fit(STRINGS), vae)


def test_a_weight_of_two_is_a_row_twice():
    full = dict(QUICK, n_epochs=1, batch_size=200, learning_rate=1e-6)           # one step whose size says nothing: compare the loss
    twice = StringVAE(**full).fit(STRINGS[:5] + STRINGS[:20], None)
    weighted = StringVAE(**full).fit(STRINGS[:20], [2.0] * 5 + [1.0] * 15)
    assert weighted.history_["kl"].iloc[0] * 20 == pytest.approx(twice.history_["kl"].iloc[0] * 25, rel=1e-4)


def test_banks():
    samplers = [StringVAE(**QUICK | {"random_state": seed}, gamma=0.5) for seed in (0, 7)]
    for one, seed in zip(fit_strings(samplers, STRINGS), (0, 7)):
        torch.testing.assert_close(weights_of(one), weights_of(StringVAE(**QUICK | {"random_state": seed}, gamma=0.5).fit(STRINGS)), atol=2e-3, rtol=1e-2)


def test_coding(vae):
    codes = vae.encode(STRINGS)
    assert codes.shape == (150, 3) and codes.dtype == np.float32 and np.isfinite(codes).all() and vae.encode([""]).shape == (1, 3)
    for part in (STRINGS[:1], STRINGS[:9]):
        np.testing.assert_allclose(vae.encode(part), codes[:len(part)], atol=1e-5)
    decoded = vae.decode(Z)
    assert decoded == vae.decode(Z.astype(np.float32)) and vae.vocabulary_.covers(decoded).all() and vae.decode(np.zeros((0, 3))) == []
    assert latent_reconstruction_error(vae, Z).shape == (40,) and len(consistent(vae, Z).codes) == 40
    np.testing.assert_allclose(latent_reconstruction_error(vae, Z), np.square(Z - vae.encode(decoded)).sum(1), rtol=1e-4, atol=1e-5)


def test_drawing(vae):
    assert vae.sample(6, random_state=2) == vae.sample(6, random_state=2) != vae.sample(6, random_state=3)
    first = vae.sample(5)
    assert first != vae.sample(5) or len(set(first)) == 1                                     # the stream goes on
    assert vae.sample(3, region=(vae.encode(STRINGS[:1])[0], 0.0)) == vae.reconstruct(STRINGS[:1]) * 3
    assert len(vae.sample(4, region=Shell(0.99, 1))) == 4


def test_a_string_of_length_one():
    tiny = StringVAE(1, hidden_dim=4, n_epochs=30, learning_rate=3e-2, beta=0.01, random_state=0, device="cpu").fit(["a", "b"] * 20)
    assert tiny.vocabulary_.length == 1 and tiny.reconstruct(["a", "b"]) == ["a", "b"]


@pytest.mark.parametrize("options, why", [
    ({"gamma": -0.1}, "gamma=-0.1"), ({"beta": -1}, "beta=-1"), ({"draws": 0}, "draws=0"), ({"feedback": "hard"}, "feedback='hard'"), ({"code": "mode"}, "code='mode'"), ({"reference_law": "wide"}, "reference_law='wide'"),
    ({"latent_dim": 0}, "latent_dim=0"), ({"width": 4}, "width"), ({"n_epochs": -1}, "n_epochs"), ({"length": 2}, "length=2"), ({"pattern": "selfies"}, "not made of symbols"), ({"device": "tpu"}, "device='tpu'")])
def test_arguments_that_cannot_be(options, why):
    with pytest.raises(InputError, match=why):
        StringVAE(**QUICK | options).fit(STRINGS)


@pytest.mark.parametrize("strings, why", [([], "at least one symbol"), ("x+1", "expected a list"), ([1, 2], r"strings\[0\] is 1"), (["x", None], "NoneType"), ([""], "at least one symbol")])
def test_strings_that_cannot_be(strings, why):
    with pytest.raises(InputError, match=why):
        StringVAE(**QUICK).fit(strings)


def test_use_before_fitting_and_bad_codes(vae):
    for call in (lambda m: m.sample(), lambda m: m.encode(["x"]), lambda m: m.decode(Z), lambda m: m.save("nowhere"), lambda m: StringModel(m)):
        with pytest.raises(NotFittedError):
            call(StringVAE())
    for bad in (Z[:, :2], Z[0], np.full((1, 3), np.inf)):
        with pytest.raises(InputError):
            vae.decode(bad)
    with pytest.raises(InputError, match="n_samples=-1"):
        vae.sample(-1)


# ---- on disk

def test_saving(lra, tmp_path):
    lra.save(tmp_path / "m")
    twin = StringVAE.load(tmp_path / "m")
    assert same(twin, lra) and twin.get_params() == lra.get_params() and twin.history_.equals(lra.history_) and twin.diagnostics_ == lra.diagnostics_
    assert twin.sample(3) == lra.sample(3) and np.array_equal(twin.encode(STRINGS), lra.encode(STRINGS))
    assert same(StringVAE(gamma=0.5, **QUICK | {"random_state": 4}).fit(STRINGS, start_from=twin), StringVAE(gamma=0.5, **QUICK | {"random_state": 4}).fit(STRINGS, start_from=lra))
    with pytest.raises(InputError, match="exists"):
        lra.save(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"class": "GAE"}))
    with pytest.raises(ModelFileError):
        StringVAE.load(tmp_path / "m")


def test_the_store_of_trained_models_takes_it(vae, tmp_path):
    first = fit_or_load(StringVAE(**QUICK), STRINGS, folder=tmp_path)
    again = fit_or_load(StringVAE(**QUICK), STRINGS, folder=tmp_path)
    assert not first.loaded_ and again.loaded_ and same(again, vae)


# ---- for a search

def test_retraining_gives_a_new_model_and_leaves_the_old(lra):
    model, before = StringModel(lra, STRINGS, n_rows=40), weights_of(lra).clone()
    objects, scores = STRINGS[:10], [-expression_score(text) for text in STRINGS[:10]]
    there, elsewhere, again = (model.retrain(objects, scores, center=center, random_state=3) for center in (Z[0], Z[1], Z[0]))
    assert same(there, again) and not same(there, elsewhere) and not same(there, model) and torch.equal(before, weights_of(lra))
    assert there.latent_dim == 3 and there.data == STRINGS and there.sampler.reference_law[1] == 0.3
    assert model.retrain(objects, scores, random_state=3).sampler.reference_law == "broad"
    assert not same(there, model.retrain(objects, scores, center=Z[0], rank_weight=1e-3, random_state=3))
    assert same(StringModel(lra, STRINGS, n_epochs=0).retrain(objects, scores), lra)


def test_failed_and_foreign_strings_are_left_out(lra):
    model = StringModel(lra)
    clean = model.retrain(["x", "x+1"], [1.0, 2.0])
    assert same(clean, model.retrain(["x", "x+1", "2", "x+y", "x" * 99], [1.0, 2.0, np.nan, 3.0, 4.0]))
    assert model.retrain(["x"], [np.nan]).sampler is lra and model.retrain([], []).sampler is lra
    with pytest.raises(InputError, match=r"expected \(1,\)"):
        model.retrain(["x"], [1.0, 2.0])
    with pytest.raises(InputError, match="center has shape"):
        model.retrain(["x"], [1.0], center=[0.0])


def test_rank_weights():
    data = [f"u{i}" for i in range(500)]
    drawn = rows_to_learn(["b", "a", "c"], [1.0, 2.0, 0.5], data, 20_000, rank_weight=1e-3, random_state=0)
    share = 1 / (0.503 + np.arange(503))
    share /= share.sum()
    for rank, text in enumerate("abc"):
        assert drawn.count(text) / len(drawn) == pytest.approx(share[rank], rel=0.1)
    assert len(set(drawn)) > 400
    flat = rows_to_learn(["b", "a"], [1.0, 2.0], data, 5000, rank_weight=1e6)
    assert flat.count("a") < 40                                                                 # a large k: all alike
    assert rows_to_learn(["a", "b", "a"], [0.0, 1.0, 5.0], ["z"], 9) == ["a", "b", "z"]
    with pytest.raises(InputError, match="rank_weight=-1"):
        rows_to_learn(["a"], [1.0], ["b"], 1, rank_weight=-1)


def test_inversion(vae):
    trained, strings = StringVAE(**QUICK | {"n_epochs": 60, "latent_dim": 6, "hidden_dim": 24, "beta": 0.02}).fit(STRINGS[:60]), STRINGS[:80]
    strings = [text for text, known in zip(strings, trained.vocabulary_.covers(strings)) if known]          # some were not trained on
    model, start = StringModel(trained), trained.encode(strings)
    found = model.invert(strings, start)
    hit, before = (np.array([a == b for a, b in zip(trained.decode(codes), strings)]) for codes in (found, start))
    assert hit.sum() > before.sum() > 0 and hit[before].all() and np.array_equal(found[before], start[before])
    assert np.abs(found).max() < 30                                                                          # it stops when the string is there
    with pytest.raises(InputError, match="1 codes for 2 objects"):
        model.invert(strings[:2], start[:1])


def test_saved_and_restored(lra, tmp_path):
    model = StringModel(lra, STRINGS, n_rows=30)
    later = model.retrain(STRINGS[:5], np.arange(5.0))
    later.save(tmp_path / "later")
    later.save(tmp_path / "later")                                                               # again: replaces
    assert same(model.restore(tmp_path / "later"), later) and model.restore(tmp_path / "later").n_rows == 30


@pytest.mark.parametrize("name", ["lsbo", "weighted_retraining", "inversion", "turbo", "random_search"])
def test_the_optimiser_takes_it(name, lra, tmp_path):
    pytest.importorskip("botorch", reason="botorch is not installed")
    rivals = pytest.importorskip("augment_lib.lsbo_rivals")
    model, judge = StringModel(lra, STRINGS, n_rows=20), lambda text: -expression_score(text)
    options = {"retrain_every": 2} if name in ("lsbo", "weighted_retraining") else {}
    start = STRINGS[:6], np.array([judge(text) for text in STRINGS[:6]])
    found = rivals.rival(name, model, random_state=0, max_failures=9, folder=tmp_path, **options).maximize(judge, 3, initial=start)
    assert len(found.history_) == 9 and found.best_value_ >= start[1].max() and all(isinstance(one, str) for one in found.objects_)
    resumed = rivals.rival(name, model, random_state=0, max_failures=9, folder=tmp_path, **options).maximize(judge, 4, initial=start)
    straight = rivals.rival(name, model, random_state=0, max_failures=9, **options).maximize(judge, 4, initial=start)
    assert resumed.objects_ == straight.objects_                                                  # a killed run goes on as if nothing had been
