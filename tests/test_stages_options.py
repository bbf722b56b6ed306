"""The stages as options: what is refused, what is saved, and what is shown."""

import copy
import pickle

import numpy as np
import pytest
from helpers import (
    ALL_STAGES,
    assert_same_optimizer,
    outcome,
    small_problem,
)

import fastopt
from fastopt.stages import STAGE_NAMES, Stages


@pytest.mark.parametrize(
    ("stages", "error", "message"),
    [
        ({"clip_grad_norm": 0.0}, ValueError, "clip_grad_norm: 0.0 was given; it must be positive"),
        ({"clip_grad_norm": np.nan}, ValueError, "clip_grad_norm: nan was given"),
        ({"clip_grad_norm": "1"}, TypeError, "clip_grad_norm: expected a number or None, found '1'"),
        ({"clip_grad_value": -1}, ValueError, "clip_grad_value: -1.0 was given"),
        ({"clip_grad_value": 1e-60}, ValueError, "clip_grad_value: 1e-60 was given; it must be positive, from"),
        ({"loss_scale": 0}, ValueError, "loss_scale: 0 was given; it must be positive"),
        ({"loss_scale": 1e-300}, ValueError, "loss_scale: 1e-300 was given"),
        ({"loss_scale": None}, TypeError, "loss_scale: expected a number"),
        ({"nonfinite": "ignore"}, ValueError, "nonfinite: 'ignore' was given; it must be one of 'propagate'"),
        ({"ema_decay": 1.0}, ValueError, "ema_decay: 1.0 was given"),
        ({"zero_grads": 1}, TypeError, "zero_grads: expected True or False"),
        ({"accumulate": 0}, ValueError, "accumulate: 0 was given; it must be from 1"),
        ({"accumulate": 2.0}, TypeError, "accumulate: expected an integer, found 2.0"),
        ({"flush_subnormals": None}, TypeError, "flush_subnormals: expected True or False"),
        ({"clip_norm": 1.0}, TypeError, "SGD: unknown option 'clip_norm'; did you mean 'clip_grad_norm'"),
    ],
)
def test_bad_options(stages, error, message, backend):
    with pytest.raises(error, match=message):
        fastopt.SGD(np.ones(2), backend=backend, **stages)
    name, value = next(iter(stages.items()))
    if name in STAGE_NAMES:
        opt = fastopt.SGD(np.ones(2), backend=backend)
        with pytest.raises(error, match=message):
            setattr(opt, name, value)
        assert getattr(opt, name) == getattr(Stages(), name)


@pytest.mark.parametrize("change", [{"ema_decay": 0.5}, {"accumulate": 2}])
def test_options_that_need_arrays(change, backend):
    (name, value), opt = *change.items(), fastopt.SGD(np.ones(2), backend=backend)
    with pytest.raises(ValueError, match=f"{name}: this would need other state arrays"):
        setattr(opt, name, value)
    with pytest.raises(ValueError, match=r"state_dict\['stages'\]: they need other state arrays"):
        opt.load_state_dict(fastopt.SGD(np.ones(2), **change, backend=backend).state_dict())


def test_misspelt_attribute(backend):
    opt = fastopt.SGD(np.ones(2), backend=backend)
    with pytest.raises(AttributeError, match="loss_scal: SGD has no such option; did you mean 'loss_scale'"):
        opt.loss_scal = 2.0
    opt.mine = 1


def test_not_an_option_of_a_group(backend):
    with pytest.raises(ValueError, match="unknown option 'clip_grad_norm'; 'clip_grad_norm' is a stage"):
        fastopt.SGD([{"params": np.ones(2), "clip_grad_norm": 1.0}], backend=backend)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda opt: pickle.loads(pickle.dumps(opt)), None])
def test_resumed_equals_uninterrupted(copied, backend):
    """In the middle of an accumulation, by a copy or by a state dict."""
    parameters, gradients = small_problem(8)
    whole = fastopt.Adam([p.copy() for p in parameters], **ALL_STAGES, backend=backend)
    first = fastopt.Adam([p.copy() for p in parameters], **ALL_STAGES, backend=backend)
    outcome(whole, gradients)
    outcome(first, gradients[:5])
    if copied is None:
        second = fastopt.Adam(first.param_groups[0]["params"], ema_decay=0.1, accumulate=7, backend=backend)
        second.load_state_dict(first.state_dict())
    else:
        second = copied(first)
    outcome(second, gradients[5:])
    assert_same_optimizer(second, whole)
    assert second.grad_norm == whole.grad_norm


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda d: d["stages"].pop("calls"), ValueError, r"state_dict\['stages'\]: 'calls' is missing"),
        (lambda d: d["stages"].update(more=1), ValueError, r"state_dict\['stages'\]: unknown entry 'more'"),
        (lambda d: d["stages"].update(calls=-1), ValueError, r"\['calls'\]: -1 was given"),
        (lambda d: d["stages"].update(skipped_steps=1.0), TypeError, r"\['skipped_steps'\]: expected an int"),
        (lambda d: d["stages"].update(loss_scale=-1), ValueError, "loss_scale: -1"),
        (
            lambda d: d["stages"].update(calls=0),
            ValueError,
            "'accumulated': 1 was given; it must not be above 'calls', which is 0",
        ),
        (lambda d: d["state"][0].update(accumulated=None), TypeError, "'accumulated': expected an int"),
        (lambda d: d.update(stages=None), TypeError, r"state_dict\['stages'\]: expected a dict"),
    ],
)
def test_bad_state_dicts(change, error, message, backend):
    opt = fastopt.Adam(np.ones(2), **ALL_STAGES, backend=backend)
    opt.step(np.ones(2))
    before, wrong = copy.deepcopy(opt), opt.state_dict()
    wrong["param_groups"][0]["lr"] = 0.5
    change(wrong)
    with pytest.raises(error, match=message):
        opt.load_state_dict(wrong)
    assert opt.param_groups[0]["lr"] == 1e-3
    assert_same_optimizer(opt, before)


def test_calls_without_accumulation(backend):
    opt = fastopt.SGD(np.ones(2), backend=backend)
    wrong = opt.state_dict()
    wrong["stages"]["calls"] = 4
    with pytest.raises(ValueError, match="without accumulate it is 0, found 4"):
        opt.load_state_dict(wrong)


def test_counts_outlive_added_groups(backend):
    opt = fastopt.SGD(np.ones(2), accumulate=2, nonfinite="skip", clip_grad_norm=9.0, backend=backend)
    for g in ([1.0, 1.0], [3.0, 4.0], [np.inf, 1.0], [1.0, 1.0]):
        opt.step(np.array(g))
    before = opt.state_dict()["stages"]
    assert (before["calls"], before["skipped_steps"]) == (1, 1)
    opt.add_param_group({"params": np.ones(3)})
    assert opt.state_dict()["stages"] == before
    assert opt.grad_norm == pytest.approx(np.hypot(2, 2.5))  # the mean is (2, 2.5)


def test_shown(backend):
    opt = fastopt.SGD(np.ones(2), clip_grad_norm=1.0, zero_grads=True, backend=backend)
    assert "stages: clip_grad_norm=1.0, zero_grads=True" in repr(opt)
    assert "stages" not in repr(fastopt.SGD(np.ones(2), backend=backend))
