"""The optimizer's state, what is taken out and in again, and options as attributes."""

import copy
import pickle

import numpy as np
import pytest
from cases import CASES
from helpers import assert_same_bits, assert_same_optimizer, run

import fastopt


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
    with pytest.raises(ValueError, match=r"lr: the groups differ in it; look at each, as in opt.param_groups\[0\]"):
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
    with pytest.raises(AttributeError, match="momentun: SGD has no such option; did you mean 'momentum'"):
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


@pytest.mark.parametrize("what", ["step", "updates", "skipped_steps"])
def test_the_last_count(what, backend):
    """What can be loaded can be saved and loaded again: no step goes further than a state dict may."""
    p = np.ones(2)
    opt = fastopt.SGD(p, lr=1.0, backend=backend)
    saved = opt.state_dict()
    places = {"step": saved["state"][0], "updates": saved, "skipped_steps": saved["stages"]}
    places[what][what] = 2**62 - 2
    opt.load_state_dict(saved)
    if what == "skipped_steps":
        opt.nonfinite = "skip"
        opt.step(np.full(2, np.nan))
    else:
        opt.step(np.ones(2))
    opt.load_state_dict(opt.state_dict())
    left = p.copy()
    with pytest.raises(OverflowError, match=r"it has made 2\*\*62 - 1 steps|this optimizer has made"):
        opt.step(np.ones(2))
    assert_same_bits(p, left)
    opt.load_state_dict(opt.state_dict())
