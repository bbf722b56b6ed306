"""What the command line and the benchmarks measure with."""

import numpy as np
import pytest

from fastopt.cli import plain, timing
from fastopt.rules import VARIANTS


@pytest.mark.parametrize("name", VARIANTS)
def test_plain_numpy_computes_what_it_is_compared_with(name):
    rule, options = VARIANTS[name]
    p, g = timing.problem(1000, np.float64)
    q = p.copy()
    opt = rule([p], **options)
    step, changed = plain.stepper(name, [q])
    assert changed[0] is q
    for factor in (1, 2, -3, 1, 4):
        opt.step([factor * g])
        step([factor * g])
    # It rounds in another order than the rules do.
    for mine, theirs in zip(timing.arrays_of(opt), changed, strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", VARIANTS)
def test_no_rule_leaves_the_finite_numbers_in_so_many_steps(name):
    """By far, on the gradient that is timed and with the defaults that are."""
    rule, options = VARIANTS[name]
    p, g = timing.problem(100, np.float32)
    opt = rule([p], **options)
    for _ in range(timing.FRESH_STEPS):
        opt.step([g])
    assert max(np.abs(x).max() for x in timing.arrays_of(opt)) < 1e6


def test_what_is_timed_begins_anew():
    """Often enough, with all arrays, and in the end."""
    p, state = np.ones(3), np.zeros(3)
    counts = []

    def step():
        if p[0] == 1:
            assert not state.any()
            counts.append(0)
        counts[-1] += 1
        np.add(p, 1, out=p)
        np.add(state, 1, out=state)

    timing.interleaved([step], 0.0, rounds=50, changed=[p, state])
    assert len(counts) > 2  # else nothing was shown
    assert max(counts) <= timing.FRESH_STEPS
    assert (p == 1).all()
    assert (state == 0).all()


def test_a_comparison_begins_anew(backend, monkeypatch):
    """All that its steps change is given back."""

    def spy(functions, seconds, changed):
        before = [x.copy() for x in changed]
        for function in functions:
            function()
        assert len(changed) == 6  # the parameters and two averages each of the backend's and of plain NumPy's Adam
        assert not any((x == y).all() for x, y in zip(changed, before, strict=True))
        return original(functions, seconds, changed=changed)

    original = timing.interleaved
    monkeypatch.setattr(timing, "interleaved", spy)
    measured = timing.compare("Adam", 10, backend=backend, seconds=0)
    assert (measured["of_limit"] is None) == (backend == "numpy")
