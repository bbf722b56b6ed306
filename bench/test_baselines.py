"""The baselines compute what they are compared with."""

import numpy as np
import pytest
from steps import BASELINES, step_of


@pytest.mark.parametrize(("name", "how"), [(name, how) for how, updates in BASELINES.items() for name in updates])
def test_same_result(name, how):
    fast, p = step_of(name, None, 1000, np.float64)
    slow, q = step_of(name, how, 1000, np.float64)
    for _ in range(10):
        fast()
        slow()
    # They round in another order than the rules do.
    np.testing.assert_allclose(p, q, rtol=1e-12, atol=1e-12)
