"""The stages around a rule: what each of them does."""

import numpy as np
import pytest
from helpers import assert_same_bits, python

import fastopt
from fastopt.engines import shared as engine
from fastopt.engines.shared import CAN_FLUSH
from fastopt.rules import VARIANTS
from fastopt.stages import Stages

# Off


@pytest.mark.parametrize("name", ["Adam", "LAMB"])
def test_off_is_exact(name, backend):
    """No stage, all of them off by name, and those that are on but change nothing."""
    not_busy = {"clip_grad_norm": np.inf, "clip_grad_value": np.inf, "nonfinite": "raise", "loss_scale": 1.0}
    rule, options = VARIANTS[name]
    results = []
    for stages in ({}, Stages().as_dict(), not_busy):
        rng = np.random.default_rng(3)
        p = rng.normal(size=1000).astype(np.float32)
        opt = rule(p, **options, **stages, backend=backend)
        for _ in range(5):
            opt.step(rng.normal(size=1000).astype(np.float32))
        results.append(p)
    assert_same_bits(results[1], results[0])
    assert_same_bits(results[2], results[0])


# Clipping


def test_clip_grad_norm(backend):
    """One norm over all groups, and PyTorch's factor."""
    p, q = np.zeros(2), np.zeros(1, dtype=np.float32)
    groups = [{"params": [p]}, {"params": [q], "lr": 0.5}]
    opt = fastopt.SGD(groups, lr=1.0, clip_grad_norm=1.0, backend=backend)
    assert opt.grad_norm is None
    opt.step([np.array([3.0, 4.0]), np.array([12.0], dtype=np.float32)])
    assert opt.grad_norm == 13.0
    factor = 1 / (13 + 1e-6)
    np.testing.assert_array_equal(p, [-3 * factor, -4 * factor])
    np.testing.assert_array_equal(q, [-0.5 * np.float32(12 * np.float32(factor))])
    opt.step([np.array([0.3, 0.4]), None])
    assert opt.grad_norm == pytest.approx(0.5, rel=1e-15)  # 0.3 and 0.4 are rounded
    np.testing.assert_array_equal(p, [-3 * factor - 0.3, -4 * factor - 0.4])


def test_norm_does_not_overflow(backend):
    g = np.full(5, 1e30, dtype=np.float32)
    p = np.zeros(5, dtype=np.float32)
    opt = fastopt.SGD(p, lr=1.0, clip_grad_norm=1.0, nonfinite="raise", backend=backend)
    opt.step(g)
    assert opt.grad_norm == pytest.approx(np.sqrt(5) * 1e30, rel=1e-6)  # float32 rounds 1e30
    np.testing.assert_allclose(p, -1 / np.sqrt(5), rtol=1e-6)  # float32


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_norm_that_is_not_finite(bad, backend):
    p = np.zeros(2)
    opt = fastopt.SGD(p, lr=1.0, clip_grad_norm=1.0, backend=backend)
    opt.step(np.array([bad, 1.0]))
    assert np.isnan(opt.grad_norm) if np.isnan(bad) else opt.grad_norm == np.inf
    assert np.isnan(p[0])


def test_infinity_only_measures(backend):
    p = np.zeros(3)
    opt = fastopt.SGD(p, lr=1.0, clip_grad_norm=np.inf, backend=backend)
    opt.step(np.array([1.0, np.inf, 2.0]))
    np.testing.assert_array_equal(p, [-1.0, -np.inf, -2.0])
    assert opt.grad_norm == np.inf
    opt.clip_grad_norm = None
    assert opt.grad_norm is None


@pytest.mark.parametrize(
    ("opt", "first"), [(fastopt.LAMB, -1e-3 / (1 + 1e-6)), (fastopt.LARS, -1.0)], ids=["LAMB", "LARS"]
)
def test_trust_of_zeros(opt, first, backend):
    """The ratio is 1, without a coefficient, where a norm is 0: of the parameters, or of the update."""
    p, q = np.zeros(3), np.ones(3)
    opt([p, q], backend=backend).step([np.ones(3), np.zeros(3)])
    np.testing.assert_allclose(p, first, rtol=1e-12)  # rounding
    assert_same_bits(q, np.ones(3))


def test_clip_grad_value(backend):
    p = np.zeros(6)
    g = np.array([0.5, -0.5, 2.0, -2.0, np.inf, np.nan])
    fastopt.SGD(p, lr=1.0, clip_grad_value=1.0, backend=backend).step(g)
    np.testing.assert_array_equal(p, [-0.5, 0.5, -1.0, 1.0, -1.0, np.nan])


def test_clips_in_order(backend):
    """First by norm, then by value; so both bounds hold, and the norm is that of the gradients as given."""
    p = np.zeros(2)
    opt = fastopt.SGD(p, lr=1.0, clip_grad_norm=2.5, clip_grad_value=1.75, backend=backend)
    opt.step(np.array([3.0, 4.0]))
    assert opt.grad_norm == 5.0
    factor = 2.5 / (5 + 1e-6)
    np.testing.assert_array_equal(p, [-3 * factor, -1.75])


# Scaling, and gradients that are not finite


def test_loss_scale(backend):
    """A power of two changes no bit; the norm and its bound are those of the unscaled gradients."""
    plain, scaled = np.linspace(-1, 1, 9), np.linspace(-1, 1, 9)
    g = np.linspace(3, 4, 9)
    a = fastopt.Adam(plain, clip_grad_norm=2.0, clip_grad_value=0.7, backend=backend)
    b = fastopt.Adam(scaled, clip_grad_norm=2.0, clip_grad_value=0.7, loss_scale=1024, backend=backend)
    for _ in range(3):
        a.step(g)
        b.step(1024 * g)
        b.loss_scale, g = b.loss_scale / 2, g / 1.5
        b.step(b.loss_scale * g)
        a.step(g)
        b.loss_scale = 1024
    assert_same_bits(scaled, plain)
    assert a.grad_norm == b.grad_norm


@pytest.mark.parametrize("scale", [2.0**-126, 2.0**126])
def test_extreme_loss_scale(scale, backend):
    p, g = np.zeros(2, dtype=np.float32), np.float32(scale) * np.ones(2, dtype=np.float32)
    fastopt.SGD(p, lr=1.0, loss_scale=scale, backend=backend).step(g)
    assert_same_bits(p, np.full(2, -1, dtype=np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_skip(dtype, bad, backend):
    p, q = np.ones(3, dtype=dtype), np.ones((2, 2), dtype=dtype)
    opt = fastopt.Adam([p, q], nonfinite="skip", ema_decay=0.5, backend=backend)
    opt.step([p / 2, q / 2])
    before = opt.state_dict(), p.copy(), q.copy()
    g = np.ones((2, 2), dtype=dtype)
    g[1, 0] = bad
    opt.step([np.ones(3, dtype=dtype), g])
    assert opt.skipped_steps == 1
    assert opt.state[0]["step"] == opt.state[1]["step"] == 1
    assert_same_bits(p, before[1])
    assert_same_bits(q, before[2])
    for index, entries in opt.state_dict()["state"].items():
        for name, value in entries.items():
            assert_same_bits(np.asarray(value), np.asarray(before[0]["state"][index][name]))
    opt.step([p / 2, q / 2])
    assert opt.state[0]["step"] == 2
    assert opt.skipped_steps == 1


def test_skip_zeroes(backend):
    """Otherwise what is not finite would stay in gradients that the caller adds to."""
    g, h = np.array([1.0, np.nan]), np.ones((3, 2)).T
    opt = fastopt.SGD([np.ones(2), np.ones((2, 3))], nonfinite="skip", zero_grads=True, backend=backend)
    opt.step([g, h])
    assert not g.any()
    assert not h.any()


def test_raise_names_the_parameter(backend):
    W, b = np.ones((2, 3)), np.ones(3)
    opt = fastopt.Adam({"W": W, "b": b}, nonfinite="raise", zero_grads=True, backend=backend)
    g, h = np.ones((2, 3)), np.ones(3)
    g[1, 2] = -np.inf
    with pytest.raises(ValueError, match=r"gradient of parameter 'W': it holds -inf at \(1, 2\); nothing was changed"):
        opt.step({"W": g, "b": h})
    assert_same_bits(W, np.ones((2, 3)))
    assert_same_bits(h, np.ones(3))
    assert opt.state[0]["step"] == opt.skipped_steps == 0


def test_large_is_finite(backend):
    """The squares of these overflow; they themselves have not."""
    p = np.zeros(3)
    fastopt.SGD(p, lr=1.0, nonfinite="raise", backend=backend).step(np.full(3, 1e300))
    assert_same_bits(p, np.full(3, -1e300))


# Zeroing


@pytest.mark.parametrize("spread", [lambda g: g, lambda g: np.repeat(g, 2, axis=1)[:, ::2], np.asfortranarray])
def test_zero_grads(spread, backend):
    p, q = np.ones((3, 4)), np.ones((3, 4))
    g = spread(np.full((3, 4), 0.5))
    fastopt.Adam(p, zero_grads=True, backend=backend).step([g])
    fastopt.Adam(q, backend=backend).step(np.full((3, 4), 0.5))
    assert_same_bits(p, q)
    assert_same_bits(g, np.zeros((3, 4)))


def test_zero_grads_that_share_memory(backend):
    both = np.ones((4, 2))
    parameters = [np.ones(2), np.ones(2), np.ones(4)]
    opt = fastopt.SGD(parameters, lr=1.0, zero_grads=True, backend=backend)
    with pytest.raises(ValueError, match="gradient of parameter 1: it shares memory with that of parameter 0"):
        opt.step([both[0], both[0], None])
    with pytest.raises(ValueError, match="shares memory with that of parameter"):
        opt.step([both[1], None, both[:, 1]])
    assert_same_bits(both, np.ones((4, 2)))
    opt.step([both[3], both[0], None])
    columns = np.ones((2, 2))
    opt.step([columns[:, 0], columns[:, 1], None])  # they interleave, and share nothing
    assert_same_bits(both, np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]))
    assert not columns.any()
    fastopt.SGD([np.ones(2), np.ones(2)], backend=backend).step([both[1], both[1]])


def test_zero_grads_of_a_subclass(backend):
    """Whatever it does when NumPy's functions meet it: nothing of it runs once something was written."""

    class Stubborn(np.ndarray):
        def __array_function__(self, *args):
            raise TypeError

        def fill(self, value):
            raise TypeError

    p, g = np.ones(3), np.ones(3).view(Stubborn)
    fastopt.SGD(p, lr=1.0, zero_grads=True, backend=backend).step(g)
    assert_same_bits(p, np.zeros(3))
    assert_same_bits(g.view(np.ndarray), np.zeros(3))


def test_zero_grads_needs_writeable(backend):
    g = np.ones(3)
    g.flags.writeable = False
    p = np.ones(3)
    with pytest.raises(ValueError, match="gradient of parameter 0: the array is read-only, so zero_grads cannot"):
        fastopt.SGD(p, zero_grads=True, backend=backend).step(g)
    assert_same_bits(p, np.ones(3))
    fastopt.SGD(p, backend=backend).step(g)


# Accumulation


def test_accumulate(backend):
    """Every third call updates, with the mean; a rate's function is asked for updates only."""
    asked = []

    def lr(n):
        asked.append(n)
        return 1.0

    p = np.zeros(2)
    opt = fastopt.SGD(p, lr=lr, accumulate=4, backend=backend)
    for k in range(8):
        opt.step(np.array([k, 4.0]))
        assert opt.state[0]["step"] == (k + 1) // 4
        assert opt.state[0]["accumulated"] == (k + 1) % 4
    np.testing.assert_array_equal(p, [-1.5 - 5.5, -8.0])
    assert asked == [0, 1]


def test_accumulate_with_missing_gradients(backend):
    """Missing ones count as zero; a parameter without any is skipped."""
    p, q = np.zeros(2), np.zeros(2)
    opt = fastopt.Adam([p, q], lr=1.0, accumulate=2, ema_decay=0.5, backend=backend)
    opt.step([np.ones(2), None])
    opt.step([None, None])
    assert opt.state[0]["step"] == 1
    assert opt.state[1]["step"] == 0
    assert_same_bits(opt.state[0]["exp_avg"], np.full(2, (1 - 0.9) * 0.5))
    assert_same_bits(q, np.zeros(2))
    assert_same_bits(opt.state[0]["grad_sum"], np.zeros(2))


def test_accumulate_and_skip(backend):
    """A call with a gradient that is not finite is as if it had not been made."""
    p, q = np.zeros(2), np.zeros(2)
    opt = fastopt.SGD(p, lr=1.0, accumulate=2, nonfinite="skip", backend=backend)
    for g in ([1.0, 2.0], [np.nan, 1.0], [3.0, 4.0]):
        opt.step(np.array(g))
    fastopt.SGD(q, lr=1.0, backend=backend).step(np.array([2.0, 3.0]))
    assert_same_bits(p, q)
    assert opt.skipped_steps == 1


def test_loss_scale_within_an_accumulation(backend):
    """Each gradient is divided by the scale of its own call."""
    p = np.zeros(1)
    opt = fastopt.SGD(p, lr=1.0, accumulate=2, loss_scale=1024, clip_grad_norm=np.inf, backend=backend)
    opt.step(np.array([1024.0]))
    opt.loss_scale = 512
    opt.step(np.array([512.0]))
    np.testing.assert_array_equal(p, [-1.0])
    assert opt.grad_norm == 1.0


def test_accumulate_changed_between(backend):
    """The mean is that of the gradients there are."""
    p = np.zeros(1)
    opt = fastopt.SGD(p, lr=1.0, accumulate=4, backend=backend)
    opt.step(np.array([1.0]))
    opt.step(np.array([2.0]))
    opt.accumulate = 2
    opt.step(np.array([6.0]))
    np.testing.assert_array_equal(p, [-3.0])


# Subnormals


@pytest.mark.skipif(not CAN_FLUSH, reason="the processor's switch is in the compiled part")
@pytest.mark.parametrize("threads", [1, 3])
def test_flush_subnormals(threads, backend):
    """States vanish instead of becoming subnormal, on every thread; afterwards all is as before."""
    n = 1_500_000
    p, g = np.ones(n, dtype=np.float32), np.full(n, 1e-37, dtype=np.float32)
    with fastopt.num_threads(threads):
        opt = fastopt.SGD(p, momentum=0.05, flush_subnormals=True, backend=backend)
        kept = fastopt.SGD(p.copy(), momentum=0.05, backend=backend)
        for one in (opt, kept):
            one.step(g)
            one.step(np.zeros_like(g))
    assert not opt.state[0]["momentum_buffer"].any()
    assert (kept.state[0]["momentum_buffer"] > 0).all()
    assert np.float32(1e-37) * np.float32(0.05) > 0


FLUSH_FIRST = """
import numpy as np
import fastopt

fastopt.set_num_threads(3)
g = np.full(3_000_000, 1e-37, dtype=np.float32)
for flush in (True, False):
    opt = fastopt.SGD(np.ones_like(g), momentum=0.05, flush_subnormals=flush)
    for _ in range(5):
        opt.step(g)
        opt.step(np.zeros_like(g))
        opt.step(np.zeros_like(g))
    assert (opt.state[0]["momentum_buffer"] > 0).all() != flush
"""


@pytest.mark.skipif(not CAN_FLUSH, reason="the processor's switch is in the compiled part")
def test_threads_made_while_flushing():
    """A thread has its mode from the one that makes it: in a new process, that of the flushing step."""
    done = python(FLUSH_FIRST)
    assert done.returncode == 0, done.stderr


def test_flush_where_it_is_not_possible(backend, monkeypatch):
    monkeypatch.setattr(engine, "CAN_FLUSH", False)
    with pytest.raises(ValueError, match="flush_subnormals: it needs the compiled part"):
        fastopt.SGD(np.ones(2), flush_subnormals=True, backend=backend)
    opt = fastopt.SGD(np.ones(2), backend=backend)
    with pytest.raises(ValueError, match="flush_subnormals: it needs the compiled part"):
        opt.flush_subnormals = True
    assert not opt.flush_subnormals


def test_zeroing_gradients_in_any_order_of_memory(backend):
    """They are looked at in the order of the step before, which may have been another."""
    room = np.zeros(3 * 200)
    places = [room[3 * i : 3 * i + 2] for i in range(200)]
    opt = fastopt.SGD([np.zeros(2) for _ in places], lr=1.0, zero_grads=True, backend=backend)
    for order in (range(200), reversed(range(200)), np.random.default_rng(0).permutation(200)):
        grads = [places[i] for i in order]
        room[:] = 1
        opt.step(grads)
        assert not any(g.any() for g in grads)
        grads[7] = grads[150]
        with pytest.raises(ValueError, match="it shares memory with that of"):
            opt.step(grads)
