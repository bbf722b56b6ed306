"""The averages of parameters, and how they change places with them."""

import copy
import signal

import numpy as np
import pytest
from helpers import assert_same_bits, assert_same_optimizer, interrupted

import fastopt


def test_ema(backend):
    p = np.array([1.0, 2.0], dtype=np.float32)
    opt = fastopt.SGD({"p": p}, lr=0.5, ema_decay=0.9, backend=backend)
    expected = p.copy()
    assert_same_bits(opt.ema["p"], expected)
    for _ in range(3):
        opt.step({"p": np.ones(2, dtype=np.float32)})
        expected = np.float32(0.9) * expected + np.float32(1 - 0.9) * p
        assert_same_bits(opt.ema["p"], expected)
    opt.step({"p": None})
    assert_same_bits(opt.ema["p"], expected)


def test_ema_mirrors_the_parameters(backend):
    arrays = [np.ones(2), np.asfortranarray(np.arange(6.0).reshape(2, 3))]
    averaged = fastopt.SGD(arrays, ema_decay=0.9, backend=backend).ema
    assert isinstance(averaged, tuple)
    for mine, array in zip(averaged, arrays, strict=True):
        assert_same_bits(mine, array)
        assert not np.shares_memory(mine, array)


def test_swap_ema(backend):
    p = np.array([1.0, 2.0])
    opt = fastopt.SGD(p, lr=1.0, ema_decay=0.5, backend=backend)
    opt.step(np.ones(2))
    trained, averaged = p.copy(), opt.ema[0].copy()
    snapshot = opt.state_dict()
    with opt.swap_ema():
        assert_same_bits(p, averaged)
        assert_same_bits(opt.ema[0], trained)
        for refused in (
            lambda: opt.step(np.ones(2)),
            lambda: opt.bind(np.ones(2)),
            lambda: opt.state_dict(),
            lambda: opt.load_state_dict(snapshot),
            lambda: opt.add_param_group({"params": np.ones(1)}),
            lambda: opt.param_groups[0].update(lr=0.1),
            lambda: copy.deepcopy(opt),
            lambda: opt.swap_ema().__enter__(),
            lambda: setattr(opt, "loss_scale", 2.0),
        ):
            with pytest.raises(RuntimeError, match="while its averages are swapped in"):
                refused()
    assert_same_bits(p, trained)
    with pytest.raises(KeyError), opt.swap_ema():
        raise KeyError
    assert_same_bits(p, trained)
    assert_same_bits(opt.ema[0], averaged)
    opt.step(np.ones(2))


@pytest.mark.parametrize("threads", [1, 3])
def test_swap_large(threads, backend):
    rng = np.random.default_rng(0)
    arrays = [np.asfortranarray(rng.normal(size=(1000, 900))).astype("f4", order="F"), rng.normal(size=300_000)]
    opt = fastopt.SGD(arrays, lr=1.0, ema_decay=0.5, backend=backend)
    opt.step([np.ones((1000, 900), dtype=np.float32), np.ones(300_000)])
    trained, averaged = [p.copy() for p in arrays], [x.copy() for x in opt.ema]
    with fastopt.num_threads(threads), opt.swap_ema():
        for p, x, before, swapped in zip(arrays, opt.ema, trained, averaged, strict=True):
            assert_same_bits(p, swapped)
            assert_same_bits(x, before)
    for p, before in zip(arrays, trained, strict=True):
        assert_same_bits(p, before)


def test_swap_of_changed_parameters(backend):
    """Whatever becomes of a parameter's shape and flags within, it is put back; before, it is refused."""
    p = np.array([1.0, 2.0])
    opt = fastopt.SGD({"p": p}, lr=1.0, ema_decay=0.5, backend=backend)
    opt.step({"p": np.ones(2)})
    with opt.swap_ema():
        p.flags.writeable = False
    assert_same_bits(p, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="parameter 'p': the array is read-only"), opt.swap_ema():
        pass
    p.flags.writeable = True
    with opt.swap_ema():
        p.resize((2, 1), refcheck=False)
    assert_same_bits(p, np.array([[0.0], [1.0]]))
    assert_same_bits(opt.ema["p"], np.array([0.5, 1.5]))
    with pytest.raises(ValueError, match="parameter 'p': its shape was"), opt.swap_ema():
        pass


@pytest.mark.skipif(len(fastopt.backends()) == 1, reason="it needs the compiled part, on NumPy's engine too")
def test_swap_of_moved_parameters(backend):
    """One whose memory is gone cannot be put back; all others are."""
    p, q, r = np.array([1.0, 2.0]), np.array([3.0]), np.array([5.0])
    opt = fastopt.SGD({"p": p, "q": q, "r": r}, lr=1.0, ema_decay=0.5, backend=backend)
    opt.step({"p": np.ones(2), "q": np.ones(1), "r": np.ones(1)})

    def swap():
        with opt.swap_ema():
            p.resize((2, 1), refcheck=False)
            q.resize(100_000, refcheck=False)

    with pytest.raises(ValueError, match="parameter 'q': its shape was"):
        swap()
    assert_same_bits(p, np.array([[0.0], [1.0]]))
    assert_same_bits(r, np.array([4.0]))
    assert_same_bits(opt.ema["r"], np.array([4.5]))


def test_swap_again_and_later(compiled):
    """What `swap_ema` gives serves more than once, and never what has changed since."""
    for backend in (compiled, "numpy"):
        p = np.array([1.0])
        opt = fastopt.SGD({"p": p}, lr=1.0, ema_decay=0.5, backend=backend)
        opt.step({"p": np.ones(1)})
        swap = opt.swap_ema()
        with pytest.raises(RuntimeError, match="has not been entered, or was left already"):
            swap.__exit__(None, None, None)
        assert_same_bits(p, np.array([0.0]))
        for _ in range(2):
            with swap:
                assert_same_bits(p, np.array([0.5]))
            assert_same_bits(p, np.array([0.0]))
        with pytest.raises(RuntimeError, match="has not been entered, or was left already"):
            swap.__exit__(None, None, None)
        assert_same_bits(p, np.array([0.0]))
        opt.add_param_group({"params": {"q": np.ones(1)}})
        with pytest.raises(RuntimeError, match="in the middle of a step or a change"), swap:
            pass
        opt.step({"p": np.ones(1), "q": np.ones(1)})


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer signals")
def test_interrupted_swap(backend):
    """Wherever a signal's exception strikes, the parameters are back afterwards."""
    p = np.zeros(200_000)
    opt = fastopt.SGD(p, lr=1.0, ema_decay=0.5, backend=backend)
    opt.step(np.ones_like(p))

    def swap():
        with opt.swap_ema():
            pass

    interrupts = 0
    for k in range(300):
        interrupts += interrupted(swap, 20e-6 + 2e-6 * k, times=50)
        assert p[0] == p[-1] == -1.0
        assert opt.ema[0][0] == opt.ema[0][-1] == -0.5
    assert interrupts > 10
    opt.step(np.ones_like(p))


def test_without_averages(backend):
    opt = fastopt.SGD(np.ones(2), backend=backend)
    with pytest.raises(AttributeError, match=r"make the optimizer with `ema_decay=0\.999`"):
        opt.ema  # noqa: B018
    with pytest.raises(AttributeError, match=r"make the optimizer with `ema_decay=0\.999`"), opt.swap_ema():
        pass


def warm_up(n):
    return min((1 + n) / (10 + n), 0.9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decay_as_a_function(dtype, backend):
    """It is called once for an update, with the number of those before."""
    p, q, calls = np.array([1.0, 2.0], dtype), np.ones(3, dtype), []

    def decay(n):
        calls.append(n)
        return warm_up(n)

    groups = [{"params": [p]}, {"params": [q], "lr": 0.25}]
    opt = fastopt.SGD(groups, lr=0.5, ema_decay=decay, accumulate=2, backend=backend)
    expected = p.copy()
    for n in range(4):
        opt.step([np.ones(2, dtype), np.ones(3, dtype)])
        opt.step([np.ones(2, dtype), np.ones(3, dtype)])
        expected = dtype(warm_up(n)) * expected + dtype(1 - warm_up(n)) * p
        assert_same_bits(opt.ema[0], expected)
    assert calls == [0, 1, 2, 3]
    opt.step([None, None])
    opt.step([None, None])
    assert calls == [0, 1, 2, 3]  # nothing was updated


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (1.0, ValueError, r"ema_decay: 1.0 was given by its function, called with 1; it must be in \[0, 1\)"),
        (np.nan, ValueError, "ema_decay: nan was given by its function"),
        ("x", TypeError, "ema_decay: expected a number, found 'x' by its function, called with 1"),
    ],
)
def test_wrong_decays_of_functions(value, error, message, backend):
    opt = fastopt.Adam({"p": np.ones(2)}, ema_decay=lambda n: 0.5 if n == 0 else value, backend=backend)
    opt.step([np.ones(2)])
    before = copy.deepcopy(opt)
    with pytest.raises(error, match=message):
        opt.step([np.ones(2)])
    assert_same_optimizer(opt, before)


def test_decay_changes_between_number_and_function(backend, tmp_path):
    opt = fastopt.SGD({"p": np.ones(2)}, lr=1.0, ema_decay=0.5, backend=backend)
    opt.ema_decay = warm_up
    opt.step([np.ones(2)])
    assert opt.ema["p"][0] == 0.1
    other = fastopt.SGD({"p": np.ones(2)}, lr=1.0, ema_decay=0.25, backend=backend)
    other.load_state_dict(opt.state_dict())
    assert other.ema_decay is warm_up
    opt.save(tmp_path / "file")
    other.ema_decay = 0.25
    other.load(tmp_path / "file")  # which holds no functions
    assert other.ema_decay == 0.25
    assert_same_bits(other.ema["p"], opt.ema["p"])
    opt.ema_decay = 0.5
    opt.step([np.ones(2)])
    assert opt.ema["p"][0] == 0.5 * 0.1 + 0.5 * -1.0
