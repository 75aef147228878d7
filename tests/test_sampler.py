"""A saved sampler's arguments come back as they were, dictionaries with keys that are no text included."""
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from augment_lib.core import InputError, ModelFileError
from augment_lib.sampler import RegressionSampler, decode_argument, encode_argument, load_sampler, save_sampler
from augment_lib.storage import load_folder
from augment_lib.weighting import DensityWeighting

KEYS = st.one_of(st.text(max_size=3), st.integers(-5, 5), st.booleans(), st.none(), st.floats(-9, 9), st.sampled_from(["pairs", "class", "params"]),
                 st.tuples(st.integers(0, 2), st.text(max_size=1)))
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-9, 9), st.text(max_size=3))
ARGUMENTS = st.recursive(LEAVES, lambda inner: st.one_of(st.dictionaries(KEYS, inner, max_size=3), st.lists(inner, max_size=3).map(tuple)), max_leaves=8)


class Picker(RegressionSampler):
    "Repeats rows; `extra` is an argument of any kind."

    def __init__(self, *, extra=None, n_synthetic=1.0, mode="add", random_state=None):
        super().__init__(n_synthetic=n_synthetic, mode=mode, random_state=random_state)
        self.extra = extra

    def _fit_table(self, X, y, rng):
        self.rows_, self.targets_ = X, y

    def _draw_table(self, n, rng):
        seeds = rng.integers(0, len(self.rows_), n)
        return self.rows_.iloc[seeds].reset_index(drop=True), self.targets_[seeds], seeds


def through_file(argument):
    "The argument as a reader of the file sees it, keys sorted as they are on disk."
    return decode_argument(json.loads(json.dumps(encode_argument(argument), sort_keys=True, allow_nan=False)))


def with_types(value):
    "The value with the type of every key and leaf: 1, 1.0 and True are equal in Python, and not the same argument."
    if isinstance(value, dict):
        return {(type(key).__name__, repr(key)): with_types(item) for key, item in value.items()}
    return [with_types(item) for item in value] if isinstance(value, tuple) else (type(value).__name__, repr(value))


@given(ARGUMENTS)
@settings(max_examples=150)
def test_arguments_come_back(argument):
    assert with_types(through_file(argument)) == with_types(argument)


@pytest.mark.parametrize("argument", [
    {0: 5, 1: 7}, {True: 1, False: 2}, {0.5: None}, {None: 1}, {"0": 1, 0: 2}, {(0, "a"): 1},              # keys of every kind
    {"deep": {2: {3: (4, 5)}}}, ({1: 2}, "x"), {"a": ({1: 2},)},                                           # below text keys and in tuples
    {"pairs": 1}, {"pairs": ((1, 2),)}, {"class": "os:system", "params": {}}, {"pairs": {"pairs": {}}},    # look like what the file uses itself
    {}, (), {"a": {}}, {"a": ()},
], ids=repr)
def test_dictionary_keys_keep_their_type(argument):
    assert with_types(through_file(argument)) == with_types(argument)


def test_numpy_keys_find_their_class_again():
    loaded = through_file({np.int64(3): 10, np.str_("rare"): np.float64(0.5)})
    assert loaded == {3: 10, "rare": 0.5} and [type(key) for key in loaded] == [int, str]


def test_samplers_objects_inside_containers():
    loaded = through_file({1: DensityWeighting(alpha=0.7), "list": (DensityWeighting(alpha=0.1),)})
    assert isinstance(loaded[1], DensityWeighting) and loaded[1].alpha == 0.7 and loaded["list"][0].alpha == 0.1


@pytest.mark.parametrize("argument, place", [({"a": {2: object()}}, r"law\['a'\]\[2\]"), ([1, object()], r"law\[1\]"), ({object(): 1}, "law")])
def test_what_json_cannot_hold_is_named(argument, place):
    with pytest.raises(InputError, match=place + " is a object.*without pickle"):
        encode_argument(argument, "law")


def test_only_classes_of_the_library_are_built():
    for name in ("os:system", "augment_libx.core:InputError"):
        with pytest.raises(ModelFileError, match="only classes of augment_lib"):
            decode_argument({"pairs": [[1, {"class": name, "params": {}}]]})


@pytest.mark.parametrize("extra", [{0: 5, "b": {2: 3}}, {"2020-01-01": {1.5: "x"}}, ({7: 8},), None], ids=repr)
def test_save_and_load(tmp_path, extra):
    rng = np.random.default_rng(0)
    X, y = pd.DataFrame(rng.normal(size=(20, 2)), columns=["a", "b"]), rng.normal(size=20)
    sampler = Picker(extra=extra, random_state=3).fit(X, y)
    save_sampler(sampler, tmp_path / "model", {"note": 1}, {"targets": sampler.targets_})
    loaded, state, arrays = load_sampler(Picker, tmp_path / "model")
    loaded.rows_, loaded.targets_ = X, arrays["targets"]
    assert with_types(loaded.extra) == with_types(extra) and state == {"note": 1} and loaded.random_state == 3
    pd.testing.assert_frame_equal(loaded.sample(6)[0], sampler.sample(6)[0])                  # the stream goes on where it stopped
    json.dumps(load_folder(tmp_path / "model")[0], allow_nan=False)                           # plain JSON on disk


@pytest.mark.parametrize("labels", [[0, 1], ["x", "y"], [True, False]], ids=["whole numbers", "text", "booleans"])
def test_strategy_by_class_is_saved(tmp_path, labels):
    from augment_lib.leo_cvae import LEOCVAE

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), np.array([labels[0]] * 45 + [labels[1]] * 15)
    strategy = {labels[0]: 50, labels[1]: 40}
    sampler = LEOCVAE(sampling_strategy=strategy, n_epochs=2, random_state=0, device="cpu")
    sampler.fit_resample(X, y)
    sampler.save(tmp_path / "model")
    loaded = LEOCVAE.load(tmp_path / "model")
    assert with_types(loaded.sampling_strategy) == with_types(strategy)
    _, y_res = loaded.fit_resample(X, y)                                                      # keys as text would be refused here
    assert {label: int((y_res == label).sum()) for label in labels} == strategy
