"""What careful people write computes what it is compared with; tests/test_timing.py has the plain expressions."""

import numpy as np
import pytest
from steps import step_of

from fastopt.rules import VARIANTS


@pytest.mark.parametrize("name", VARIANTS)
def test_same_result(name):
    fast, (p, *_) = step_of(name, None, 1000, np.float64)
    slow, (q, *_) = step_of(name, "careful", 1000, np.float64)
    for _ in range(10):
        fast()
        slow()
    # They round in another order than the rules do.
    np.testing.assert_allclose(p, q, rtol=1e-12, atol=1e-12)
