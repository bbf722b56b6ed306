"""What can be read of an optimizer: state by name, counts and the learning rate in use."""

import copy
import pickle

import numpy as np
import pytest

import fastopt


def test_state_by_name(backend):
    opt = fastopt.Adam({"W": np.ones(2), "l0": (np.ones(3), np.ones(1))}, backend=backend)
    opt.step({"W": np.ones(2), "l0": None})
    assert opt.state["W"] is opt.state[0]
    assert "W" in opt.state
    assert "b" not in opt.state
    assert opt.state[1] in opt.state
    assert opt.state["W"]["step"] == 1
    assert opt.state["l0.1"]["exp_avg"].shape == (1,)
    assert [one["step"] for one in opt.state[1:]] == [0, 0]
    opt.add_param_group({"params": {"b": np.ones(4)}})
    assert opt.state["b"]["exp_avg"].shape == (4,)
    with pytest.raises(KeyError, match=r"there is no parameter 'l0.2'; did you mean 'l0.[01]'"):
        opt.state["l0.2"]


def test_state_without_names(backend):
    opt = fastopt.Adam([np.ones(2)], backend=backend)
    assert len(opt.state) == 1
    with pytest.raises(KeyError, match="the parameters have no names; use their indices"):
        opt.state["W"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))])
def test_copies_of_the_state_are_dicts(copied, backend):
    opt = fastopt.Adam({"W": np.ones(2)}, backend=backend)
    (one,) = copied(opt.state)
    assert one.keys() == opt.state["W"].keys()


def test_updates_and_current_lr(backend):
    def falling(n):
        return 0.5 / (n + 1)

    groups = [{"params": {"W": np.ones(2)}}, {"params": {"b": np.ones(2)}, "lr": 0.25}]
    opt = fastopt.SGD(groups, lr=falling, accumulate=2, backend=backend)
    assert (opt.updates, opt.param_groups[0].current_lr, opt.param_groups[1].current_lr) == (0, 0.5, 0.25)
    with pytest.raises(ValueError, match=r"current_lr: the groups differ in it; look at each, as in opt.param_groups"):
        opt.current_lr  # noqa: B018
    opt.step([np.ones(2), np.ones(2)])
    assert opt.updates == 0
    opt.step([np.ones(2), np.ones(2)])
    assert opt.updates == 1
    assert opt.current_lr == 0.25  # where they happen to agree
    other = copy.deepcopy(opt)
    other.lr = falling
    other.step_accumulated()
    assert (other.updates, other.current_lr) == (1, 0.25)
    other.lr = lambda n: -1.0
    with pytest.raises(ValueError, match=r"lr: -1.0 was given by its function, called with 1"):
        other.current_lr  # noqa: B018


# step_accumulated


@pytest.mark.parametrize("stages", [{}, {"clip_grad_norm": 0.5}, {"clip_grad_value": 0.1, "ema_decay": 0.9}])
def test_a_shorter_accumulation(stages, backend, rng):
    """It is that of the mean of the gradients that there were."""
    grads = [rng.normal(size=5) for _ in range(5)]
    opt = fastopt.Adam({"W": np.ones(5)}, accumulate=3, **stages, backend=backend)
    for g in grads:
        opt.step({"W": g})
    opt.step_accumulated()
    same = fastopt.Adam({"W": np.ones(5)}, accumulate=3, **stages, backend=backend)
    for g in grads[:3]:
        same.step({"W": g})
    same.accumulate = 2
    for g in grads[3:]:
        same.step({"W": g})
    same.accumulate = 3
    assert opt.state_dict()["updates"] == same.state_dict()["updates"] == 2
    np.testing.assert_array_equal(opt.param_groups[0]["params"][0], same.param_groups[0]["params"][0])
    for name, value in opt.state["W"].items():
        np.testing.assert_array_equal(value, same.state["W"][name])
    assert opt.grad_norm == same.grad_norm


def test_only_what_had_gradients_is_updated(backend):
    W, b = np.ones(2), np.ones(2)
    opt = fastopt.SGD({"W": W, "b": b}, lr=1.0, accumulate=4, zero_grads=True, backend=backend)
    opt.step({"W": np.ones(2), "b": None})
    opt.step({"W": np.full(2, 3.0), "b": None})
    opt.step_accumulated()
    assert (W[0], b[0]) == (-1.0, 1.0)
    assert [one["step"] for one in opt.state] == [1, 0]
    assert opt.state["W"]["accumulated"] == 0


@pytest.mark.parametrize("accumulate", [1, 3])
def test_nothing_accumulated(accumulate, backend):
    opt = fastopt.Adam({"W": np.ones(2)}, accumulate=accumulate, backend=backend)
    opt.step_accumulated()
    for _ in range(accumulate):
        opt.step({"W": np.ones(2)})
    before = opt.state_dict()
    opt.step_accumulated()
    assert opt.updates == 1
    np.testing.assert_array_equal(opt.state_dict()["state"][0]["exp_avg"], before["state"][0]["exp_avg"])


def test_step_accumulated_within_a_swap(backend):
    opt = fastopt.SGD({"W": np.ones(2)}, accumulate=2, ema_decay=0.5, backend=backend)
    opt.step({"W": np.ones(2)})
    with opt.swap_ema(), pytest.raises(RuntimeError, match="while its averages are swapped in"):
        opt.step_accumulated()
