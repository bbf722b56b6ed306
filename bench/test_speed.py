"""How fast each rule's step is: rule x dtype x size x backend, beside the two NumPy baselines.

Run as ``pytest bench --benchmark-enable``, with ``-k`` to choose. Sizes are of float32 in a processor with caches
as they are common in 2026: 1,000 elements of all arrays fit into L1, 10,000 into L2, 4,000,000 into no cache.
"""

import numpy as np
import pytest
from steps import BASELINES, step_of

import fastopt
from fastopt.cli.timing import bytes_moved
from fastopt.rules import VARIANTS

HOWS = [(name, how) for name in VARIANTS for how in [*BASELINES, *reversed(fastopt.backends())]]
SIZES = {"L1": 1_000, "L2": 10_000, "memory": 4_000_000}

medians = {}  # of the baselines, which come first


# The decorator on top varies fastest, so that all rows of one group are measured one after the other.
@pytest.mark.parametrize(("name", "how"), HOWS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_step(name, dtype, size, how, benchmark):
    n = SIZES[size]
    step, (p, *_) = step_of(name, how, n, np.dtype(dtype))
    benchmark.group = f"{name}, {dtype}, {size}"
    benchmark.pedantic(step, rounds=5 if size == "memory" else 30, iterations=max(1, 100_000 // n), warmup_rounds=1)
    assert np.isfinite(p).all()
    if benchmark.enabled:
        seconds = medians[benchmark.group, how] = benchmark.stats.stats.median
        rule, options = VARIANTS[name]
        benchmark.extra_info["how"] = how
        benchmark.extra_info["GB/s"] = bytes_moved(rule([p], **options)) / seconds / 1e9
        for baseline in BASELINES:
            benchmark.extra_info[f"x {baseline}"] = medians[benchmark.group, baseline] / seconds
