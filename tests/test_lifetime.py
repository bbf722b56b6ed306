"""An optimizer goes at once when nobody holds it any more, without the garbage collector, and gives its arrays back."""

import copy
import gc
import pickle
import weakref
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import pytest

import fastopt

GRADIENTS = {"a": np.ones(3), "b": np.ones(4)}


def refused(error, call, *arguments):
    with pytest.raises(error):
        call(*arguments)


def fails_in_the_rate(opt):
    def rate(n):
        raise KeyError

    opt.lr = rate
    refused(KeyError, opt.step, GRADIENTS)


def swaps(opt):
    with opt.swap_ema():
        pass


def fails_in_a_swap(opt):
    with pytest.raises(KeyError), opt.swap_ema():
        raise KeyError


def adds_a_group(opt):
    opt.add_param_group({"params": {"c": np.ones(2)}})
    opt.step(GRADIENTS | {"c": np.ones(2)})


def changes(opt):
    opt.lr, opt.loss_scale = 0.1, 2.0
    opt.param_groups[0].update(lr=0.2)
    opt.load_state_dict(opt.state_dict())


def saves(opt, folder):
    opt.save(folder / "file")
    opt.load(folder / "file")


@pytest.mark.parametrize(
    "use",
    [
        lambda opt, folder: None,
        lambda opt, folder: opt.step(GRADIENTS),
        lambda opt, folder: (opt.bind(GRADIENTS), opt.step()),
        lambda opt, folder: refused(ValueError, opt.step, {"a": np.ones(2), "b": None}),
        lambda opt, folder: refused(ValueError, opt.step, {"a": np.full(3, np.nan), "b": None}),
        lambda opt, folder: fails_in_the_rate(opt),
        lambda opt, folder: swaps(opt),
        lambda opt, folder: opt.swap_ema(),
        lambda opt, folder: fails_in_a_swap(opt),
        lambda opt, folder: adds_a_group(opt),
        lambda opt, folder: changes(opt),
        lambda opt, folder: (opt.param_groups, opt.state, opt.ema, repr(opt)),
        lambda opt, folder: (copy.deepcopy(opt).step(GRADIENTS), pickle.loads(pickle.dumps(opt)).step(GRADIENTS)),
        saves,
    ],
)
def test_an_optimizer_goes_at_once(use, backend, tmp_path):
    arrays = {name: np.ones_like(g) for name, g in GRADIENTS.items()}
    opt = fastopt.Adam(arrays, ema_decay=0.9, nonfinite="raise", backend=backend)
    held = [weakref.ref(one) for one in (opt, *arrays.values(), opt.state[0]["exp_avg"].base)]
    del arrays
    gc.disable()
    try:
        use(opt, tmp_path)
        assert all(one() is not None for one in held)
        del opt
        assert [one() for one in held] == [None] * len(held)
    finally:
        gc.enable()


@pytest.fixture
def memory():
    memory = SharedMemory(create=True, size=1600)
    memory.buf[:] = bytes(1600)
    yield memory
    memory.close()
    memory.unlink()


def in_ndarray(memory):
    """What NumPy does not hold open by itself."""
    return np.ndarray((2, 100), buffer=memory.buf)


def from_buffer(memory):
    return np.frombuffer(memory.buf, count=200).reshape(2, 100)


@pytest.mark.parametrize("make", [in_ndarray, from_buffer])
def test_shared_memory_stays_open_while_it_is_needed(make, memory, backend):
    p = make(memory)[0]
    opt = fastopt.Adam(p, lr=1.0, eps=0.0, backend=backend)
    opt.add_param_group({"params": np.ones(2)})
    with pytest.raises(BufferError):
        memory.close()
    opt.step([np.ones(100), None])
    assert (p == -1).all()
    del opt, p
    memory.close()


@pytest.mark.parametrize("make", [in_ndarray, from_buffer])
def test_bound_gradients_stay_open(make, memory, backend):
    p, g = np.zeros((2, 100)), make(memory)
    g[:] = 1
    opt = fastopt.SGD([*p], lr=1.0, backend=backend)
    opt.bind([g[0], None])
    del g
    with pytest.raises(BufferError):
        memory.close()
    opt.step()
    assert (p[0] == -1).all()
    opt.bind([np.ones(100), None])
    memory.close()


def test_memory_that_is_closed_already(memory, backend):
    """It is refused before anything reads it."""
    a = in_ndarray(memory)
    memory.close()
    with pytest.raises(ValueError, match=r"^parameter 'W': its memory is gone, because what it lay in is closed"):
        fastopt.SGD({"W": a}, ema_decay=0.5, backend=backend)
    opt = fastopt.SGD({"W": np.zeros((2, 100), order="F")}, momentum=0.9, backend=backend)
    with pytest.raises(ValueError, match=r"^gradient of parameter 'W': its memory is gone"):
        opt.bind({"W": a})
    with pytest.raises(ValueError, match=r"^the state 'momentum_buffer' of parameter 'W': its memory is gone"):
        fastopt.SGD({"W": np.zeros(200)}, momentum=0.9, state_memory=lambda *_: a.reshape(-1), backend=backend)
