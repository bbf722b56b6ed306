"""The gate: pairs of steps, timed side by side, must keep a ratio. It is the only timing that can fail a build."""

import numpy as np
import pytest
from steps import step_of

from fastopt.measure import interleaved, ratio

# Well below what was measured (see README.md), because machines and neighbours differ: a ratio under these means
# that something broke, such as vectorisation, and not that a machine is busy.
BOUNDS = {100: 6, 10_000: 4, 1_000_000: 2}


@pytest.mark.parametrize("n", BOUNDS)
def test_adam_is_faster_than_plain_numpy(n):
    plain, _ = step_of("Adam", "plain", n, np.float32)
    fast, p = step_of("Adam", None, n, np.float32)
    measured = ratio(*interleaved([plain, fast], seconds=2))
    print(f"Adam, {n} elements: {measured:.1f} times the plain NumPy expression, at least {BOUNDS[n]} wanted")
    assert np.isfinite(p).all()
    assert measured >= BOUNDS[n]
