"""NumPy's error state, as a user may set it: it changes nothing but what the user's own functions do."""

import numpy as np
import pytest
from cases import CASES
from helpers import assert_same_bits, assert_same_optimizer, awkward, rule_of

import fastopt


@pytest.fixture(params=["raise", "warn"])  # warnings are errors in the tests
def strict(request):
    with np.errstate(all=request.param):
        yield


def trained(name, backend):
    rng = np.random.default_rng(0)
    rule, options = CASES[name]
    opt = rule(
        [awkward(rng, n, dtype) for n in (5, 40) for dtype in (np.float32, np.float64)], **options, backend=backend
    )
    for _ in range(3):
        opt.step([awkward(rng, p.size, p.dtype) for p in opt.param_groups[0]["params"]])
    return opt


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("name", CASES)
def test_steps(name, backend):
    mine = trained(name, backend)
    with np.errstate(all="ignore"):
        expected = trained(name, backend)
    assert_same_optimizer(mine, expected)


@pytest.mark.usefixtures("strict")
def test_refusals(backend):
    for lr in (1e39, np.float64(1e39), np.longdouble(1e39)):
        opt = fastopt.SGD([np.ones(2, np.float32)], lr=lr, backend=backend)
        with pytest.raises(ValueError, match="its options make a factor that float32 cannot hold"):
            opt.step([np.ones(2, np.float32)])
    opt = fastopt.SGD([np.ones(2)], nonfinite="raise", backend=backend)
    with pytest.raises(ValueError, match="it holds inf at"):
        opt.step([np.array([1e300, np.inf])])


def accumulating(d, m, *, lr):
    m[:] = m + d
    return lr * m


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("start", [1e-50, np.float64(1e-50), np.float64(1e-40), np.longdouble(1e-50)])
def test_initial_values(start):
    """Those too small for the type are rounded, as all numbers are."""
    rule = rule_of(accumulating, initial=lambda o: {"m": start})
    opt = rule([np.ones(2, np.float32)], backend="numpy")
    with np.errstate(all="ignore"):
        assert_same_bits(opt.state[0]["m"], np.full(2, np.float32(start)))


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("start", [1e39, np.float64(1e39), np.array(0x7FF4 << 48).view(np.float64)[()]])
def test_initial_values_that_are_refused(start):
    """The last is a signalling NaN."""
    rule = rule_of(accumulating, initial=lambda o: {"m": start})
    with pytest.raises(ValueError, match=r"parameter 0: its state 'm' cannot start at|initial: m: nan was given"):
        rule([np.ones(2, np.float32)], backend="numpy")


@pytest.mark.parametrize("state", ["ignore", "raise"])
def test_a_learning_rates_function_has_the_users_state(state, backend):
    seen = []
    opt = fastopt.SGD([np.ones(2)], lr=lambda n: seen.append(np.geterr()) or 0.1, backend=backend)
    with np.errstate(all=state):
        opt.step([np.ones(2)])
        assert seen == [np.geterr()]
