"""The optimizer: forms of parameters and gradients, learning rates and live groups."""

import copy
import inspect
import pickle
from fractions import Fraction

import numpy as np
import pytest
from cases import falling
from helpers import assert_same_bits

import fastopt

# Forms


def test_single_array(backend):
    p = np.ones((2, 3))
    opt = fastopt.SGD(p, lr=0.5, backend=backend)
    opt.step(np.ones((2, 3)))
    opt.step([np.ones((2, 3))])
    np.testing.assert_array_equal(p, np.zeros((2, 3)))


@pytest.mark.parametrize("form", [list, tuple, iter, lambda arrays: (a for a in arrays)])
def test_sequences(form, backend):
    p, q = np.ones(2), np.ones(3, dtype=np.float32)
    opt = fastopt.SGD(form([p, q]), lr=0.5, backend=backend)
    opt.step(form([np.ones(2), np.ones(3, dtype=np.float32)]))
    np.testing.assert_array_equal(p, [0.5, 0.5])
    np.testing.assert_array_equal(q, np.full(3, 0.5, dtype=np.float32), strict=True)


@pytest.mark.parametrize("form", [dict, lambda named: list(named.items()), lambda named: iter(named.items())])
def test_names(form, backend):
    named = {"W": np.ones((2, 2)), "b": np.ones(3)}
    opt = fastopt.SGD(form(named), lr=0.5, backend=backend)
    opt.step({"b": np.ones(3), "W": np.zeros((2, 2))})
    opt.step([np.ones((2, 2)), None])
    np.testing.assert_array_equal(named["W"], np.full((2, 2), 0.5))
    np.testing.assert_array_equal(named["b"], np.full(3, 0.5))
    assert opt.param_groups[0]["param_names"] == ("W", "b")


def test_group_dicts(backend):
    W, b, c = np.ones(2), np.ones(2), np.ones(2)
    opt = fastopt.SGD([{"params": W, "lr": 0.5}, {"params": [b, c], "maximize": True}], lr=0.25, backend=backend)
    opt.step([np.ones(2)] * 3)
    assert [p[0] for p in (W, b, c)] == [0.5, 1.25, 1.25]
    named = fastopt.SGD([{"params": {"W": W}}, {"params": [("b", b)]}], backend=backend)
    named.step({"W": None, "b": np.ones(2)})
    assert [state["step"] for state in named.state] == [0, 1]


def test_biases_are_not_regularised(backend):
    """A group without decay beside one with it: the sixth experiment of the course notes."""
    W, b = np.ones(2), np.ones(2)
    opt = fastopt.SGD([{"params": [W], "weight_decay": 0.1}, {"params": [b]}], lr=0.5, backend=backend)
    opt.step([np.zeros(2), np.zeros(2)])
    np.testing.assert_array_equal(W, [0.95, 0.95])
    np.testing.assert_array_equal(b, [1.0, 1.0])


def test_empty_and_scalar_arrays(backend):
    empty, scalar = np.ones((0, 3)), np.array(1.0)
    opt = fastopt.Adam([empty, scalar], lr=0.1, backend=backend)
    opt.step([np.ones((0, 3)), np.array(2.0)])
    assert scalar == pytest.approx(0.9)
    assert opt.state[1]["exp_avg"].shape == ()
    assert [state["step"] for state in opt.state] == [1, 1]


def test_empty_gradient_within_a_parameter(backend):
    p = np.ones(10)
    opt = fastopt.SGD([p, np.zeros(0)], lr=1.0, backend=backend)
    opt.step([np.ones(10), p[5:][:0]])
    assert [state["step"] for state in opt.state] == [1, 1]


def test_empty_groups(backend):
    """Beside others, and later."""
    p = np.ones(2)
    opt = fastopt.SGD([{"params": []}, {"params": {}}, {"params": {"p": p}, "lr": 1.0}], backend=backend)
    opt.add_param_group({"params": iter(())})
    for one in (opt, copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))):
        one.load_state_dict(one.state_dict())
        one.step([np.ones(2)])
        assert [len(group["params"]) for group in one.param_groups] == [0, 0, 1, 0]
        np.testing.assert_array_equal(one.param_groups[2]["params"][0], np.zeros(2))


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_a_parameter_without_elements(shape, backend):
    for params in (np.zeros(shape), [np.zeros(shape)], {"p": np.zeros(shape)}):
        opt = fastopt.Adam(params, backend=backend)
        opt.step([np.zeros(shape)])
        assert opt.state[0]["step"] == 1


def test_none_skips_parameter_state_and_count(backend):
    p, q = np.ones(2), np.ones(2)
    opt = fastopt.Adam([p, q], lr=falling, backend=backend)
    opt.step([np.ones(2), None])
    opt.step([None, None])
    opt.step([np.ones(2), np.ones(2)])
    assert [state["step"] for state in opt.state] == [2, 1]
    # The second parameter is where it would be after a first step, with the rate of the optimizer's second update.
    alone = np.ones(2)
    fastopt.Adam(alone, lr=falling(1), backend=backend).step(np.ones(2))
    assert_same_bits(q, alone)


def test_fortran_order(backend, rng):
    p = np.asfortranarray(rng.normal(size=(3, 4)))
    q, g = np.ascontiguousarray(p), rng.normal(size=(3, 4))
    opt = fastopt.Adam([p, q], backend=backend)
    opt.step([np.asfortranarray(g), g])
    assert_same_bits(p, np.asfortranarray(q))
    assert opt.state[0]["exp_avg"].flags.f_contiguous
    assert opt.state[1]["exp_avg"].flags.c_contiguous


def test_read_only_and_subclassed_gradients(backend, tmp_path):
    p = np.ones(4)
    opt = fastopt.SGD(p, lr=0.5, backend=backend)
    opt.step(np.broadcast_to(np.float64(1), 4))
    mapped = np.memmap(tmp_path / "gradient", dtype=np.float64, mode="w+", shape=4)
    mapped[:] = 1
    opt.step(mapped)
    np.testing.assert_array_equal(p, np.zeros(4))


def test_memory_mapped_parameters(backend, tmp_path):
    p = np.memmap(tmp_path / "parameter", dtype=np.float32, mode="w+", shape=(2, 2))
    fastopt.SGD(p, lr=0.5, backend=backend).step(np.ones((2, 2), dtype=np.float32))
    np.testing.assert_array_equal(p, np.full((2, 2), -0.5, dtype=np.float32))


# Learning rates and live groups


def test_learning_rate_is_called_with_the_number_of_updates(backend):
    """Once for each group and update, whatever the counts of its parameters."""
    seen, g = [], np.ones(2)

    def rate(n):
        seen.append(n)
        return 0.1

    groups = [{"params": [np.ones(2), np.ones(2)]}, {"params": [np.ones(2)]}]
    opt = fastopt.SGD(groups, lr=rate, backend=backend)
    opt.step([g, g, g])
    opt.step([None, g, None])
    opt.step([None, None, None])  # no update, for nothing is updated
    opt.step([g, g, g])
    assert seen == [0, 0, 1, 2, 2]
    assert opt.state_dict()["updates"] == 3


@pytest.mark.parametrize("take", [copy.deepcopy, lambda opt: pickle.loads(pickle.dumps(opt)), "load", "add"])
def test_number_of_updates_outlives(take, backend):
    """Copies, state dicts and added groups go on counting."""
    p, g = np.ones(2), np.ones(2)
    opt = fastopt.SGD(p, lr=falling, backend=backend)
    for _ in range(3):
        opt.step(g)
    if take == "load":
        other = fastopt.SGD(p.copy(), lr=falling, backend=backend)
        other.load_state_dict(opt.state_dict())
    elif take == "add":
        opt.add_param_group({"params": np.ones(2)})
        other, g = opt, [g, None]
    else:
        other = take(opt)
    q = other.param_groups[0]["params"][0]
    before = q.copy()
    other.step(g)
    assert_same_bits(q, before - falling(3))
    assert other.state_dict()["updates"] == 4


class Scalar:
    """A scalar of another library, such as an array of JAX without axes."""

    shape, dtype = (), "float32"

    def __float__(self):
        return 0.5


def test_learning_rate_may_be_any_real_number(backend):
    for lr in (0.5, np.float32(0.5), np.array(0.5), np.array(0.5, dtype=np.float32), Scalar(), Fraction(1, 2)):
        for given in (lr, lambda n, lr=lr: lr):
            p = np.ones(2)
            fastopt.SGD([p], lr=given, backend=backend).step([np.ones(2)])
            assert_same_bits(p, np.full(2, 0.5))
    for lr in (1, np.int64(1), np.array(1), lambda n: np.array(1)):
        fastopt.SGD([np.ones(2)], lr=lr, backend=backend).step([np.ones(2)])


def test_order_of_options_is_that_of_pytorch():
    options = {
        fastopt.SGD: ["lr", "momentum", "dampening", "weight_decay", "nesterov"],
        fastopt.Adagrad: ["lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"],
        fastopt.Adadelta: ["lr", "rho", "eps", "weight_decay"],
        fastopt.RMSprop: ["lr", "alpha", "eps", "weight_decay", "momentum", "centered"],
        fastopt.Adam: ["lr", "betas", "eps", "weight_decay", "amsgrad"],
        fastopt.AdamW: ["lr", "betas", "eps", "weight_decay", "amsgrad"],
        fastopt.LAMB: ["lr"],
        fastopt.LARS: ["lr"],
    }
    for rule, expected in options.items():
        parameters = inspect.signature(rule).parameters.values()
        assert [x.name for x in parameters if x.kind is x.POSITIONAL_OR_KEYWORD] == ["params", *expected]


def test_live_groups(backend):
    p = np.ones(2)
    opt = fastopt.SGD(p, lr=0.5, backend=backend)
    group = opt.param_groups[0]
    opt.step(np.ones(2))
    group["lr"] = 0.25
    opt.step(np.ones(2))
    group.update(maximize=True, lr=1)
    opt.step(np.ones(2))
    np.testing.assert_array_equal(p, [1.25, 1.25])
    assert group["lr"] == 1.0
    assert group["params"] == (p,)
    assert dict(group).keys() == {
        "params",
        "lr",
        "momentum",
        "dampening",
        "nesterov",
        "weight_decay",
        "momentum_form",
        "maximize",
        "decoupled_weight_decay",
    }
    assert isinstance(copy.deepcopy(group), dict)


def test_live_nesterov(backend, rng):
    """An option may switch the kernel, as long as the state stays the same."""
    p = rng.normal(size=5)
    q, g = p.copy(), rng.normal(size=5)
    switched = fastopt.SGD(p, momentum=0.9, backend=backend)
    nesterov = fastopt.SGD(q, momentum=0.9, nesterov=True, backend=backend)
    switched.param_groups[0]["nesterov"] = True
    for _ in range(3):
        switched.step(g)
        nesterov.step(g)
    assert_same_bits(p, q)


def test_add_param_group(backend):
    p, q = np.ones(2), np.ones(3)
    opt = fastopt.Adam(p, lr=0.1, backend=backend)
    opt.step(np.ones(2))
    group, state = opt.param_groups[0], opt.state[0]
    opt.add_param_group({"params": q, "lr": 0.2})
    group["lr"] = 0.3
    opt.step([np.ones(2), np.ones(3)])
    assert [state["step"] for state in opt.state] == [2, 1]
    assert state["step"] == 2
    np.testing.assert_allclose(p, 0.6, rtol=1e-6)  # eps keeps a step from being lr itself
    np.testing.assert_allclose(q, 0.8, rtol=1e-6)


def test_repr(backend):
    opt = fastopt.SGD({"W": np.ones(2)}, momentum=0.9, backend=backend)
    first, second = repr(opt).splitlines()
    assert first == f"SGD (1 parameters, backend '{backend}')"
    assert second.startswith("  group 0 (1 parameters): lr=0.001, momentum=0.9, ")
    assert repr(opt.state[0]) == "{'step': 0, 'momentum_buffer': array([0., 0.])}"
    assert repr(opt.param_groups[0]) == repr(dict(opt.param_groups[0]))
