"""The stages around a rule: what each does, and that all backends and thread counts do it with the same bits."""

import copy
import pickle
import signal
from functools import cache

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from helpers import assert_same_bits, assert_same_optimizer, awkward, interrupted, python
from hypothesis import given, settings
from hypothesis import strategies as st

import fastopt
from fastopt.engines import shared as engine
from fastopt.engines.shared import CAN_FLUSH
from fastopt.formula import CHUNK
from fastopt.rules import VARIANTS
from fastopt.stages import STAGE_NAMES, Stages

ALL = {
    "clip_grad_norm": 1.0,
    "clip_grad_value": 2e-3,
    "loss_scale": 3.0,
    "nonfinite": "skip",
    "ema_decay": 0.9,
    "zero_grads": True,
    "accumulate": 2,
}
COMBINATIONS = {
    "none": {},
    **{name: {name: value} for name, value in ALL.items()},
    "all": ALL,
    "all but accumulate": {**ALL, "accumulate": 1},
    "norm and value": {"clip_grad_norm": 0.5, "clip_grad_value": 1e-2},
    "accumulate and zero": {"accumulate": 3, "zero_grads": True, "ema_decay": 0.5},
    "raise": {"nonfinite": "raise", "clip_grad_norm": 1.0, "loss_scale": 0.5},
}
if CAN_FLUSH:
    COMBINATIONS["flush"] = {"flush_subnormals": True}
    COMBINATIONS["all, flush"] = {**ALL, "flush_subnormals": True}


def outcome(opt, gradients):
    """What is left after these steps: all that could differ."""
    seen = []
    for step in gradients:
        step = [None if g is None else g.copy() for g in step]
        try:
            opt.step(step)
        except ValueError as error:
            seen.append(str(error))
        seen.append((opt.grad_norm, opt.skipped_steps, step))
    return opt, seen


def assert_same_outcome(mine, theirs):
    assert_same_optimizer(mine[0], theirs[0])
    for actual, expected in zip(mine[1], theirs[1], strict=True):
        if isinstance(expected, str):
            assert actual == expected
            continue
        assert_same_bits(np.float64(actual[0] or 0), np.float64(expected[0] or 0))
        assert actual[1] == expected[1]
        for g, h in zip(actual[2], expected[2], strict=True):
            assert (g is None) == (h is None)
            if g is not None:
                assert_same_bits(g, h)


def small_problem(steps=6):
    """Both dtypes, lengths around a chunk, and values of all kinds."""
    rng = np.random.default_rng(0)
    shapes = [(), (0,), (3,), (31, 33), (CHUNK + 1,), (2 * CHUNK,)]
    dtypes = [np.float32, np.float64] * 3
    parameters = [np.asarray(rng.normal(size=s)).astype(d) for s, d in zip(shapes, dtypes, strict=True)]
    gradients = [[np.asarray(rng.normal(size=p.shape) / 50).astype(p.dtype) for p in parameters] for _ in range(steps)]
    gradients[1] = [np.asarray(awkward(rng, p.shape, p.dtype)) for p in parameters]
    gradients[2][2] = gradients[3][2] = gradients[4][4] = None
    return parameters, gradients


@pytest.mark.parametrize("name", ["Adam", "AMSGrad", "Nesterov", "LAMB", "LARS"])
@pytest.mark.parametrize("combination", COMBINATIONS)
def test_same_bits(combination, name, compiled):
    def run(backend):
        parameters, gradients = small_problem()
        rule, options = VARIANTS[name]
        groups = [{"params": parameters[:3]}, {"params": parameters[3:], "weight_decay": 0.1, "maximize": True}]
        return outcome(rule(groups, **options, backend=backend, **COMBINATIONS[combination]), gradients)

    assert_same_outcome(run(compiled), run("numpy"))


def run_large(name, stages, backend):
    """Steps on enough bytes that 7 threads all take part: each takes 2 MiB."""
    rng = np.random.default_rng(1)
    rule, options = VARIANTS[name]
    parameters = [rng.normal(size=n).astype(d) for n, d in ((900_001, "f4"), (5, "f4"), (450_000, "f8"), (2000, "f8"))]
    opt = rule(parameters, **options, backend=backend, **stages)
    gradients = [[rng.normal(size=p.size).astype(p.dtype) for p in parameters] for _ in range(3)]
    return outcome(opt, gradients)


@cache
def large_reference(name, combination):
    return run_large(name, COMBINATIONS[combination], "numpy")


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("combination", COMBINATIONS)
def test_same_bits_in_threads(combination, threads, compiled):
    name = "LAMB" if "all" in combination else "Adam"
    with fastopt.num_threads(threads):
        mine = run_large(name, COMBINATIONS[combination], compiled)
    assert_same_outcome(mine, large_reference(name, combination))


@pytest.mark.parametrize("threads", [2, 7])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_rule_in_threads(name, threads, compiled):
    with fastopt.num_threads(threads):
        mine = run_large(name, {}, compiled)
    assert_same_outcome(mine, large_reference(name, "none"))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]))
def test_same_bits_property(data, dtype):
    stages = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "clip_grad_norm": st.floats(1e-6, 1e6) | st.just(np.inf),
                "clip_grad_value": st.floats(1e-6, 1e6),
                "loss_scale": st.floats(1e-6, 1e6),
                "nonfinite": st.sampled_from(["propagate", "skip", "raise"]),
                "ema_decay": st.floats(0, 0.999),
                "zero_grads": st.booleans(),
                "accumulate": st.integers(1, 3),
            },
        )
    )
    name = data.draw(st.sampled_from(["Adam", "LAMB", "LARS", "SGD"]))
    shapes = [data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=80)) for _ in range(2)]
    arrays = [hnp.arrays(dtype, shape, elements=hnp.from_dtype(np.dtype(dtype))) for shape in shapes]
    parameters = [data.draw(one) for one in arrays]
    gradients = data.draw(st.lists(st.tuples(*(st.none() | one for one in arrays)), min_size=1, max_size=4))

    def run(backend):
        rule, options = VARIANTS[name]
        return outcome(rule([p.copy() for p in parameters], **options, backend=backend, **stages), gradients)

    reference = run("numpy")
    for backend in fastopt.backends():
        assert_same_outcome(run(backend), reference)


# Off


@pytest.mark.parametrize("name", ["Adam", "LAMB"])
def test_off_is_exact(name, backend):
    """No stage, all of them off by name, and those that are on but change nothing."""
    acquire = {"clip_grad_norm": np.inf, "clip_grad_value": np.inf, "nonfinite": "raise", "loss_scale": 1.0}
    rule, options = VARIANTS[name]
    results = []
    for stages in ({}, Stages().as_dict(), acquire):
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


# Averages


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
    """One that became read-only within is put back all the same; before, or resized, it is refused."""
    p = np.array([1.0, 2.0])
    opt = fastopt.SGD({"p": p}, lr=1.0, ema_decay=0.5, backend=backend)
    opt.step({"p": np.ones(2)})
    with opt.swap_ema():
        p.flags.writeable = False
    assert_same_bits(p, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="parameter 'p': the array is read-only"), opt.swap_ema():
        pass
    p.flags.writeable = True
    with pytest.raises(ValueError, match="parameter 'p': its shape was"), opt.swap_ema():
        p.resize((2, 1), refcheck=False)
    with pytest.raises(ValueError, match="parameter 'p': its shape was"), opt.swap_ema():
        pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer signals")
def test_interrupted_swap(compiled):
    """Wherever a signal's exception strikes, the parameters are back afterwards."""
    p = np.zeros(200_000)
    opt = fastopt.SGD(p, lr=1.0, ema_decay=0.5, backend=compiled)
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
    with pytest.raises(AttributeError, match="make the optimizer with ema_decay"):
        opt.ema  # noqa: B018
    with pytest.raises(AttributeError, match="make the optimizer with ema_decay"), opt.swap_ema():
        pass


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


# Options


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
    with pytest.raises(AttributeError, match="loss_scal: there is no such option; did you mean 'loss_scale'"):
        opt.loss_scal = 2.0
    opt.mine = 1


def test_not_an_option_of_a_group(backend):
    with pytest.raises(ValueError, match="unknown option 'clip_grad_norm'; it is a stage"):
        fastopt.SGD([{"params": np.ones(2), "clip_grad_norm": 1.0}], backend=backend)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda opt: pickle.loads(pickle.dumps(opt)), None])
def test_resumed_equals_uninterrupted(copied, backend):
    """In the middle of an accumulation, by a copy or by a state dict."""
    parameters, gradients = small_problem(8)
    whole = fastopt.Adam([p.copy() for p in parameters], **ALL, backend=backend)
    first = fastopt.Adam([p.copy() for p in parameters], **ALL, backend=backend)
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
        (lambda d: d["stages"].update(calls=0), ValueError, "'accumulated': there were only 0 calls for 1"),
        (lambda d: d["state"][0].update(accumulated=None), TypeError, "'accumulated': expected an int"),
        (lambda d: d.update(stages=None), TypeError, r"state_dict\['stages'\]: expected a dict"),
    ],
)
def test_bad_state_dicts(change, error, message, backend):
    opt = fastopt.Adam(np.ones(2), **ALL, backend=backend)
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


# Bound gradients


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
