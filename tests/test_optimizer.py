"""The optimizer: forms of parameters and gradients, groups, state, and what is taken out and in again."""

import copy
import inspect
import pickle
from fractions import Fraction

import numpy as np
import pytest
from cases import CASES, falling
from helpers import assert_same_bits, assert_same_optimizer

import fastopt


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def run(opt, rng, steps):
    """Steps with random gradients for all parameters."""
    arrays = [p for group in opt.param_groups for p in group["params"]]
    for _ in range(steps):
        opt.step([rng.normal(size=p.shape).astype(p.dtype) for p in arrays])


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


@pytest.mark.parametrize("params", [[], {}, (), [{"params": []}]])
def test_empty_steps(params, backend):
    opt = fastopt.Adam(params, backend=backend)
    opt.step([])
    opt.load_state_dict(opt.state_dict())


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


# State


def test_state_has_pytorchs_names(backend):
    names = {
        fastopt.SGD: [],
        fastopt.Adagrad: ["sum"],
        fastopt.Adadelta: ["square_avg", "acc_delta"],
        fastopt.RMSprop: ["square_avg"],
        fastopt.Adam: ["exp_avg", "exp_avg_sq"],
        fastopt.AdamW: ["exp_avg", "exp_avg_sq"],
    }
    for rule, expected in names.items():
        assert list(rule([np.ones(2)], backend=backend).state[0]) == ["step", *expected]
    assert "momentum_buffer" in fastopt.SGD([np.ones(2)], momentum=0.9, backend=backend).state[0]
    assert "max_exp_avg_sq" in fastopt.Adam([np.ones(2)], amsgrad=True, backend=backend).state[0]
    every = fastopt.RMSprop([np.ones(2)], centered=True, momentum=0.9, backend=backend).state[0]
    assert list(every) == ["step", "square_avg", "grad_avg", "momentum_buffer"]


def test_first_momentum_is_the_gradient(backend):
    """In the form of PyTorch, whatever was in the buffer before."""
    for nesterov in (False, True):
        p = np.ones(2)
        opt = fastopt.SGD(p, lr=1.0, momentum=0.5, nesterov=nesterov, backend=backend)
        opt.state[0]["momentum_buffer"][:] = 8
        opt.step(np.ones(2))
        np.testing.assert_array_equal(opt.state[0]["momentum_buffer"], [1.0, 1.0])


def test_state_is_live(backend):
    p = np.ones(2)
    opt = fastopt.SGD(p, lr=1.0, momentum=0.5, backend=backend)
    state = opt.state[0]
    opt.step(np.zeros(2))
    assert state["step"] == 1
    state["momentum_buffer"][:] = 4
    opt.step(np.zeros(2))
    np.testing.assert_array_equal(p, [-1.0, -1.0])


def test_state_dict_is_a_snapshot(backend):
    opt = fastopt.Adam(np.ones(2), backend=backend)
    opt.step(np.ones(2))
    snapshot = opt.state_dict()
    kept = copy.deepcopy(snapshot)
    opt.step(np.ones(2))
    assert snapshot["state"][0]["step"] == kept["state"][0]["step"] == 1
    assert_same_bits(snapshot["state"][0]["exp_avg"], kept["state"][0]["exp_avg"])
    assert snapshot["param_groups"][0]["params"] == [0]


def test_state_dict_of_groups_and_names(backend):
    opt = fastopt.SGD([{"params": {"a": np.ones(1), "b": np.ones(1)}}, {"params": {"c": np.ones(1)}}], backend=backend)
    groups = opt.state_dict()["param_groups"]
    assert [group["params"] for group in groups] == [[0, 1], [2]]
    assert [group["param_names"] for group in groups] == [["a", "b"], ["c"]]
    opt.load_state_dict(opt.state_dict())


def test_groups_of_another_optimizer(backend):
    """Groups may be made from groups, and names may stand beside the arrays."""
    opt = fastopt.SGD({"a": np.ones(1), "b": np.ones(1)}, lr=0.5, backend=backend)
    again = fastopt.SGD(opt.param_groups, backend=backend)
    again.step({"a": np.ones(1), "b": None})
    assert [p[0] for p in opt.param_groups[0]["params"]] == [0.5, 1.0]
    assert again.param_groups[0]["lr"] == 0.5


def test_state_dict_with_other_keys_and_swapped_arrays(backend):
    """Keys may be any integers, as in PyTorch, and the arrays may be the optimizer's own."""
    opt = fastopt.Adam(np.ones(2), backend=backend)
    opt.step(np.ones(2))
    state = opt.state[0]
    m, v = state["exp_avg"].copy(), state["exp_avg_sq"].copy()
    swapped = {"step": 5, "exp_avg": state["exp_avg_sq"], "exp_avg_sq": state["exp_avg"]}
    group = {**opt.state_dict()["param_groups"][0], "params": [17]}
    opt.load_state_dict({**opt.state_dict(), "state": {17: swapped}, "param_groups": [group]})
    assert_same_bits(state["exp_avg"], v)
    assert_same_bits(state["exp_avg_sq"], m)
    assert state["step"] == 5


def parameters(rng):
    return [rng.normal(size=7), np.asfortranarray(rng.normal(size=(3, 4))), rng.normal(size=5).astype(np.float32)]


@pytest.mark.parametrize("name", CASES)
def test_resumed_equals_uninterrupted(name, backend):
    """A state dict taken in the middle of a run, and loaded into a new optimizer with other options."""
    rule, options = CASES[name]
    whole, first = parameters(np.random.default_rng(1)), parameters(np.random.default_rng(1))
    uninterrupted = rule(whole, **options, backend=backend)
    interrupted = rule(first, **options, backend=backend)
    gradients, same_gradients = np.random.default_rng(2), np.random.default_rng(2)
    run(uninterrupted, gradients, 7)
    run(interrupted, same_gradients, 3)
    saved = pickle.loads(pickle.dumps(interrupted.state_dict()))
    resumed = rule([p.copy(order="K") for p in first], **{**options, "lr": 123.0}, backend=backend)
    resumed.load_state_dict(saved)
    run(resumed, same_gradients, 4)
    assert_same_optimizer(resumed, uninterrupted)


@pytest.mark.parametrize("take", [copy.deepcopy, lambda opt: pickle.loads(pickle.dumps(opt))])
@pytest.mark.parametrize("name", CASES)
def test_copies(name, take, backend):
    rule, options = CASES[name]
    a, b, c = parameters(np.random.default_rng(1))
    opt = rule([{"params": {"a": a, "b": b}}, {"params": {"c": c}, "weight_decay": 0.5}], **options, backend=backend)
    run(opt, np.random.default_rng(2), 3)
    taken = take(opt)
    assert_same_optimizer(taken, opt)
    run(opt, np.random.default_rng(3), 3)
    assert taken.state[0]["step"] == 3
    run(taken, np.random.default_rng(3), 3)
    assert_same_optimizer(taken, opt)
    assert taken.backend == opt.backend
    assert type(taken) is rule
    taken.add_param_group({"params": {"d": np.ones(2)}})


def test_deepcopy_keeps_shared_parameters_shared(backend):
    p = np.ones(2)
    q, opt = copy.deepcopy((p, fastopt.SGD(p, lr=0.5, backend=backend)))
    opt.step(np.ones(2))
    np.testing.assert_array_equal(q, [0.5, 0.5])
    np.testing.assert_array_equal(p, [1.0, 1.0])


def test_memory_is_freed_without_the_collector(backend):
    import gc
    import weakref

    gc.disable()
    try:
        opt = fastopt.Adam(np.ones(2), backend=backend)
        opt.step(np.ones(2))
        gone = weakref.ref(opt.state[0]["exp_avg"])
        del opt
        assert gone() is None
    finally:
        gc.enable()


def test_options_are_attributes(backend):
    """Each gives the value that all groups agree on, and setting it sets all groups or none."""
    groups = [{"params": [np.ones(2)], "nesterov": True}, {"params": [np.ones(3)], "lr": 0.2}]
    opt = fastopt.SGD(groups, lr=0.1, momentum=0.9, backend=backend)
    assert opt.momentum == 0.9
    with pytest.raises(ValueError, match=r"lr: the groups differ in it; look into them, as in opt.param_groups\[0\]"):
        opt.lr  # noqa: B018
    opt.lr = 0.5
    assert opt.lr == 0.5
    assert [group["lr"] for group in opt.param_groups] == [0.5, 0.5]
    opt.step([np.ones(2), np.ones(3)])
    assert_same_bits(groups[1]["params"][0], np.full(3, 0.5))
    with pytest.raises(ValueError, match="nesterov: it needs momentum"):
        opt.momentum = 0
    with pytest.raises(ValueError, match="other state arrays"):
        opt.nesterov, opt.momentum = False, 0
    assert [group["momentum"] for group in opt.param_groups] == [0.9, 0.9]
    with pytest.raises(ValueError, match=r"lr: -1\.0 was given"):
        opt.lr = -1
    assert opt.lr == 0.5
    assert fastopt.SGD.lr == 1e-3
    opt.note = "anything else is the caller's"
    with pytest.raises(AttributeError, match="momentun: there is no such option; did you mean 'momentum'"):
        opt.momentun = 0.5


def test_base_is_no_rule():
    with pytest.raises(TypeError, match="Optimizer has no formula: it is the base of rules"):
        fastopt.Optimizer(np.ones(2))


def test_state_pickles_as_a_dict(backend):
    state = fastopt.Adam(np.ones(2), backend=backend).state[0]
    copied = pickle.loads(pickle.dumps(state))
    assert type(copied) is dict
    assert list(copied) == list(state)


def test_rules_of_ones_own(backend):
    """A subclass may add options of its own to a rule."""

    class Warm(fastopt.Adam):
        def __init__(self, params, steps, **options):
            super().__init__(params, lr=lambda n: 0.1 * min(1, (n + 1) / steps), **options)
            self.steps = steps

    p = np.ones(2)
    opt = Warm(p, 4, betas=(0.8, 0.9), backend=backend)
    opt.step(np.ones(2))
    np.testing.assert_allclose(p, 0.975, rtol=1e-6)  # eps keeps a step from being lr itself
    assert opt.steps == 4
    with pytest.raises(TypeError, match="Warm: unknown option 'beta'; did you mean 'betas'"):
        Warm(p, 4, beta=0.5)
