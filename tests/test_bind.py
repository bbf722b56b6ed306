"""Gradients that are bound once, and stay in their places."""

import copy
import pickle

import numpy as np
import pytest
from helpers import (
    assert_same_bits,
)

import fastopt


def test_bind(backend):
    p, q = np.ones((2, 3)), np.ones((2, 3))
    g = np.asfortranarray(np.ones((2, 3)))
    opt, other = fastopt.Adam({"p": p}, backend=backend), fastopt.Adam(q, backend=backend)
    with pytest.raises(TypeError, match="grads: none were given, and none are bound"):
        opt.step()
    opt.bind({"p": g})
    for k in range(3):
        g[:] = k
        opt.step()
        other.step(np.full((2, 3), float(k)))
        assert_same_bits(p, q)
    opt.step({"p": np.ones((2, 3))})  # these instead, this time
    with pytest.raises(ValueError, match="expected shape"):
        opt.bind(np.ones(2))
    opt.step()
    assert opt.state[0]["step"] == 5


def test_copies_are_not_bound(backend):
    opt = fastopt.SGD(np.ones(2), backend=backend)
    opt.bind(np.ones(2))
    for other in (copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))):
        with pytest.raises(TypeError, match="none are bound"):
            other.step()
    opt.load_state_dict(opt.state_dict())
    opt.step()


def test_bound_gradients_are_checked(backend):
    g = np.ones(6)
    opt = fastopt.SGD([np.ones(6), np.ones(2)], zero_grads=True, backend=backend)
    opt.bind([g, None])
    opt.step()
    assert not g.any()
    assert opt.state[1]["step"] == 0
    g.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        opt.step()
    opt.add_param_group({"params": np.ones(1)})
    with pytest.raises(TypeError, match="none are bound"):
        opt.step()
