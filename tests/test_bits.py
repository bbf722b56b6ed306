"""Every backend equals the NumPy reference to the last bit."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from cases import CASES
from helpers import assert_same_bits, assert_same_optimizer, awkward, placed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastopt
from fastopt import formula
from fastopt.engines.shared import CAN_FLUSH

CHUNK = formula.CHUNK
LENGTHS = (0, 1, 7, 8, 15, 16, 17, 55, 1000, CHUNK - 1, CHUNK, CHUNK + 1)
STARTS = (0, 1, 3)
STEPS = 3
DTYPES = (np.float32, np.float64)
needs_switch = pytest.mark.skipif(not CAN_FLUSH, reason="the processor's switch is in the compiled part")


def pair(name, parameters, backend):
    """The same optimizer on equal parameters: with a backend, and with the reference."""
    rule, options = CASES[name]
    copies = [placed(p, 0) for p in parameters]
    return rule(parameters, **options, backend=backend), rule(copies, **options, backend="numpy")


def test_chunk_is_the_engines(compiled):
    from fastopt.engines.compiled import engine

    assert engine.CHUNK == CHUNK


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_same_bits(name, dtype, compiled):
    rng = np.random.default_rng(0)
    parameters = [placed(awkward(rng, n, dtype), start) for n in LENGTHS for start in STARTS]
    opt, reference = pair(name, parameters, compiled)
    for _ in range(STEPS):
        gradients = [placed(awkward(rng, p.size, dtype), 2) for p in parameters]
        opt.step(gradients)
        reference.step(gradients)
        assert_same_optimizer(opt, reference)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_same_bits_on_finite_numbers(name, dtype, compiled):
    """Without NaN and infinities, which spread and would hide what differs behind them."""
    rng = np.random.default_rng(1)
    opt, reference = pair(name, [rng.normal(size=1000).astype(dtype)], compiled)
    for _ in range(30):
        gradients = [rng.normal(size=1000).astype(dtype)]
        opt.step(gradients)
        reference.step(gradients)
    assert np.isfinite(reference.param_groups[0]["params"][0]).all()
    assert_same_optimizer(opt, reference)


@pytest.mark.parametrize("flush", [False, pytest.param(True, marks=needs_switch)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_same_bits_of_any_state(name, dtype, flush, compiled):
    """Also of one that no step reaches, such as negative averages of squares, and of subnormals from before."""
    rng = np.random.default_rng(7)
    opt, reference = pair(name, [awkward(rng, n, dtype) for n in (1000, *[3] * 10)], compiled)
    for mine, theirs in zip(opt.state, reference.state, strict=True):
        for state in mine:
            if isinstance(mine[state], np.ndarray):
                mine[state][:] = theirs[state][:] = awkward(rng, mine[state].size, dtype)
    for optimizer in (opt, reference):
        optimizer.flush_subnormals = flush
        optimizer.step(
            [awkward(np.random.default_rng(p.size), p.size, dtype) for p in optimizer.param_groups[0]["params"]]
        )
    assert_same_optimizer(opt, reference)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), dtype=st.sampled_from(DTYPES))
def test_same_bits_property(name, compiled, data, dtype):
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=20))
    arrays = hnp.arrays(dtype, shape, elements=hnp.from_dtype(np.dtype(dtype)))
    p, gradients = data.draw(arrays), data.draw(st.lists(arrays, min_size=1, max_size=3))
    rule, options = CASES[name]
    opt, reference = rule(p, **options, backend=compiled), rule(p.copy(), **options, backend="numpy")
    for g in gradients:
        opt.step(g)
        reference.step(g)
        assert_same_optimizer(opt, reference)


@pytest.mark.parametrize("name", CASES)
def test_same_bits_of_groups(name, compiled):
    """Groups with options of their own, both dtypes in each, and counts that differ."""
    rule, options = CASES[name]
    rng = np.random.default_rng(5)

    def make(backend):
        rng = np.random.default_rng(6)
        arrays = [rng.normal(size=n).astype(dtype) for n in (3, 40) for dtype in DTYPES]
        groups = [{"params": arrays[:2]}, {"params": arrays[2:], "lr": 0.05, "weight_decay": 0.3, "maximize": True}]
        return rule(groups, **options, backend=backend)

    opt, reference = make(compiled), make("numpy")
    for _ in range(8):
        gradients = [rng.normal(size=n).astype(dtype) for n in (3, 40) for dtype in DTYPES]
        gradients = [g if rng.random() < 0.7 else None for g in gradients]
        opt.step(gradients)
        reference.step(gradients)
        assert_same_optimizer(opt, reference)
    assert len({state["step"] for state in opt.state}) > 1


@pytest.mark.parametrize("t", [1, 2, 10, 1000, 10**6, 10**9])
def test_same_bits_at_late_steps(t, compiled):
    """The corrections of the bias are computed outside NumPy: they too must be the same."""
    rng = np.random.default_rng(2)
    parameters = [rng.normal(size=100)]
    opt, reference = pair("adam", parameters, compiled)
    for optimizer in (opt, reference):
        state = optimizer.state_dict()
        state["state"][0]["step"] = t
        optimizer.load_state_dict(state)
        optimizer.step([np.linspace(-1, 1, 100)])
    assert_same_optimizer(opt, reference)


@pytest.mark.parametrize("length", [17, 1000, 3 * CHUNK + 5])
def test_result_does_not_depend_on_position(length, backend):
    """An element's update is the same wherever it stands: alone, in a vector, in a tail, in another chunk."""
    p, g = np.full(length, 1.1, dtype=np.float32), np.full(length, 0.3, dtype=np.float32)
    opt = fastopt.Adam(p, weight_decay=0.1, backend=backend)
    for _ in range(5):
        opt.step(g)
    assert_same_bits(p, np.full_like(p, p[0]))


def spread(g):
    return np.repeat(g, 2, axis=1)[:, ::2]


def backwards(g):
    return g[::-1, ::-1].copy()[::-1, ::-1]


@pytest.mark.parametrize("make", [np.asfortranarray, spread, backwards])
@pytest.mark.parametrize("order", ["C", "F"])
def test_strided_gradients(make, order, backend):
    rng = np.random.default_rng(3)
    g = rng.normal(size=(30, 17))
    p = np.array(rng.normal(size=(30, 17)), order=order)
    plain = p.copy(order="C")
    opt, reference = fastopt.Adam(p, backend=backend), fastopt.Adam(plain, backend="numpy")
    for _ in range(2):
        opt.step(make(g))
        reference.step(g)
    assert_same_bits(p, plain)
    assert_same_bits(opt.state[0]["exp_avg"], reference.state[0]["exp_avg"])


def test_options_that_are_off_change_no_bit(backend):
    rng = np.random.default_rng(4)
    p = rng.normal(size=100)
    q, g = p.copy(), rng.normal(size=100)
    fastopt.SGD(p, lr=0.1, backend=backend).step(g)
    assert_same_bits(p, q - 0.1 * g)
