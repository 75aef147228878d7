"""Ground rules: errors that name the argument, seeds that do not depend on each other, devices that are there."""
import subprocess
import sys

import numpy as np
import pytest
import torch

from augment_lib.core import (ChecksumError, DataUnavailableError, InputError, ModelFileError, as_generator, check_number, check_option,
                              resolve_device, spawn_seeds, torch_generator)


@pytest.mark.parametrize("error, base", [(InputError, ValueError), (DataUnavailableError, FileNotFoundError), (ChecksumError, ValueError),
                                         (ModelFileError, ValueError)])
def test_errors_are_caught_by_their_usual_base(error, base):
    assert issubclass(error, base)


@pytest.mark.parametrize("value", [True, "1", None, [1], float("nan"), float("inf"), -0.1, 1.1])
def test_check_number_refuses(value):
    with pytest.raises(InputError, match=r"^alpha="):
        check_number("alpha", value, low=0, high=1)


@pytest.mark.parametrize("value", [1.5, 2.0, "2", True, np.float64(2)])
def test_check_number_refuses_what_is_not_whole(value):
    with pytest.raises(InputError, match=r"^n=.*whole number"):
        check_number("n", value, low=0, integer=True)


def test_check_number_returns_plain_numbers():
    assert type(check_number("n", np.int32(3), integer=True)) is int
    assert type(check_number("a", np.float32(0.5))) is float
    assert check_number("a", 0, low=0) == 0 and check_number("a", 1, high=1) == 1


@pytest.mark.parametrize("value, options", [("z", ("a", "b")), (1, (True,)), (True, (1,)), (None, ("a",)), (np.zeros(2), ("a",))])
def test_check_option_refuses(value, options):
    with pytest.raises(InputError, match="mode=.*expected one of"):
        check_option("mode", value, options)


def test_check_option_accepts_none_and_equal_strings():
    assert check_option("mode", None, (None, "a")) is None
    assert check_option("mode", "".join(["a", "b"]), ("ab",)) == "ab"


def test_as_generator_golden_and_sources():
    assert as_generator(0).integers(0, 2**32, 3).tolist() == np.random.default_rng(0).integers(0, 2**32, 3).tolist()
    generator = np.random.default_rng(3)
    assert as_generator(generator) is generator
    first, second = (as_generator(np.random.RandomState(5)).random(4) for _ in range(2))
    assert np.array_equal(first, second)
    shared = np.random.RandomState(5)
    assert not np.array_equal(as_generator(shared).random(4), as_generator(shared).random(4))      # the caller's state moves on
    assert as_generator(None).random() != as_generator(None).random()


@pytest.mark.parametrize("bad", [-1, 1.5, "0", True])
def test_as_generator_refuses(bad):
    with pytest.raises(InputError, match="random_state"):
        as_generator(bad)


def test_spawn_seeds_prefix_distinct_and_golden():
    seeds = spawn_seeds(0, 200)
    assert spawn_seeds(0, 3) == seeds[:3] and len(set(seeds)) == 200
    assert all(0 <= s < 2**63 for s in seeds)
    assert not set(seeds) & set(spawn_seeds(1, 200))
    assert seeds[0] == int(np.random.SeedSequence(0).spawn(1)[0].generate_state(1, np.uint64)[0] >> np.uint64(1))
    assert spawn_seeds(np.random.default_rng(0), 2) == spawn_seeds(np.random.default_rng(0), 2)


def test_torch_generator_is_its_own_state():
    before = torch.get_rng_state()
    a, b = torch.rand(4, generator=torch_generator(2**62)), torch.rand(4, generator=torch_generator(2**62))
    assert torch.equal(a, b) and torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("bad, words", [("cuda:99", "not there"), ("mps", "not supported"), ("quantum", "unknown"), (3.5, "unknown"), ("meta", "not supported")])
def test_resolve_device_refuses(bad, words):
    with pytest.raises(InputError, match=words):
        resolve_device(bad)


def test_resolve_device_auto_and_cpu():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_absent_cuda_is_refused_not_replaced():
    with pytest.raises(InputError, match="0 CUDA"):
        resolve_device("cuda")


def test_import_reads_and_writes_no_global_random_state():
    code = ("import random, numpy as np, torch; torch.manual_seed(1); np.random.seed(1); random.seed(1)\n"
            "before = (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate())\n"
            "import augment_lib.core, augment_lib.storage, augment_lib.nets, augment_lib.objectives, augment_lib.training\n"
            "assert before == (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate())")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
