"""Memory for state arrays that the user gives."""

import copy
import pickle

import numpy as np
import pytest
from helpers import assert_same_bits, assert_same_optimizer

import fastopt


def given_memory(memory):
    """A function that keeps in a dict what it gives; it is not empty at first."""

    def give(label, name, size, dtype):
        memory[label, name] = np.full(size, 9, dtype)
        return memory[label, name]

    return give


def test_state_lies_in_it(backend):
    memory = {}
    opt = fastopt.Adagrad(
        {"W": np.ones((2, 3)), "b": np.ones(2, np.float32)},
        initial_accumulator_value=0.5,
        ema_decay=0.5,
        state_memory=given_memory(memory),
        backend=backend,
    )
    same = fastopt.Adagrad(
        {"W": np.ones((2, 3)), "b": np.ones(2, np.float32)},
        initial_accumulator_value=0.5,
        ema_decay=0.5,
        backend=backend,
    )
    assert list(memory) == [(f"parameter '{name}'", what) for name in "Wb" for what in ("sum", "ema")]
    assert_same_optimizer(opt, same)
    for one in (opt, same):
        one.step({"W": np.ones((2, 3)), "b": np.ones(2, np.float32)})
        one.add_param_group({"params": {"c": np.ones(1)}})
    assert_same_optimizer(opt, same)
    assert_same_bits(memory["parameter 'W'", "sum"], np.full(6, 1.5))
    assert np.shares_memory(memory["parameter 'b'", "ema"], opt.ema["b"])
    assert ("parameter 'c'", "sum") in memory


def test_memory_maps(tmp_path, backend):
    def give(label, name, size, dtype):
        return np.memmap(tmp_path / f"{label} {name}", dtype, "w+", shape=(size,))

    opt = fastopt.Adam({"W": np.ones(100)}, state_memory=give, backend=backend)
    opt.step({"W": np.ones(100)})
    del opt
    assert_same_bits(np.fromfile(tmp_path / "parameter 'W' exp_avg"), np.full(100, 1 - 0.9))


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
def test_what_its_user_does_to_the_arrays(backend):
    """Only their elements are shared: not their shapes, types and flags."""
    memory = {}
    opt = fastopt.Adam({"W": np.ones(4)}, state_memory=given_memory(memory), backend=backend)
    same = fastopt.Adam({"W": np.ones(4)}, backend=backend)
    first, second = memory.values()
    first.shape = (2, 2)
    first.flags.writeable = False
    second.dtype = np.int64
    for one in (opt, same):
        one.step({"W": np.ones(4)})
    assert_same_optimizer(opt, same)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda opt: pickle.loads(pickle.dumps(opt))])
def test_copies_have_memory_of_their_own(copied, backend):
    memory = {}
    opt = fastopt.Adam({"W": np.ones(3)}, state_memory=given_memory(memory), backend=backend)
    opt.step({"W": np.ones(3)})
    other = copied(opt)
    assert other.state_memory is None
    assert_same_optimizer(other, opt)
    for block in memory.values():
        assert not np.shares_memory(block, other.state["W"]["exp_avg"])


@pytest.mark.parametrize(
    ("give", "error", "message"),
    [
        (3, TypeError, "state_memory: expected a function that returns an array, found 3"),
        (lambda *_: None, TypeError, "state_memory: the state 'exp_avg' of parameter 'W': expected a NumPy array"),
        (
            lambda a, b, size, d: np.zeros(size + 1, d),
            ValueError,
            r"shape \(3,\), found float64 of shape \(4,\)",
        ),
        (lambda a, b, size, d: np.zeros((1, size), d), ValueError, r"found float64 of shape \(1, 3\)"),
        (lambda a, b, size, d: np.zeros(size, "f4"), ValueError, "contiguous array of float64 .* found float32"),
        (lambda a, b, size, d: np.zeros(2 * size, d)[::2], ValueError, r"strides \(16,\)"),
        (
            lambda a, b, size, d: np.frombuffer(bytes(8 * size)),
            ValueError,
            "'exp_avg' .*: the array is read-only",
        ),
        (
            lambda a, b, size, d: W,
            ValueError,
            "the state 'exp_avg' of parameter 'W': it shares memory with parameter 'W'; state needs memory of its own",
        ),
        (
            lambda a, b, size, d: ROOM,
            ValueError,
            "shares memory with the state 'exp_avg' of parameter 'W'; state needs",
        ),
    ],
)
def test_refused(give, error, message, backend):
    W[:], ROOM[:] = 1, 9
    with pytest.raises(error, match=message):
        fastopt.Adam({"W": W}, state_memory=give, backend=backend)
    assert_same_bits(W, np.ones(3))
    assert_same_bits(ROOM, np.full(3, 9.0))  # nothing is written before all is checked


W, ROOM = np.ones(3), np.ones(3)


def test_a_group_that_is_refused_changes_nothing(backend):
    memory = {}
    opt = fastopt.SGD({"W": np.ones(3)}, momentum=0.9, state_memory=given_memory(memory), backend=backend)
    opt.step({"W": np.ones(3)})
    before = copy.deepcopy(opt)
    opt_memory = memory["parameter 'W'", "momentum_buffer"]
    with pytest.raises(ValueError, match="shares memory"):
        opt.add_param_group({"params": {"b": opt_memory}})
    assert_same_optimizer(opt, before)
