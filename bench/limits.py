"""Large steps against the memory's limit, and what subnormals cost: ``python bench/limits.py``.

The limit is a plain streaming loop that reads and writes the same arrays the same number of times. All figures are
ratios, each the median over pairs of samples that were taken one after the other.
"""

import argparse

import numpy as np

import fastopt
from fastopt.cli.timing import YARDSTICKS, interleaved, problem, ratio, stream_like
from fastopt.rules import VARIANTS

ELEMENTS = 16_000_000
SECONDS = 4.0
DTYPES = ("float32", "float64")


def pair(make, stream, dtype):
    """The steps of an optimizer and of a streaming loop, each on arrays of its own."""
    p, g = problem(ELEMENTS, dtype)
    opt = make(p)
    opt.bind(g)
    q, h = problem(ELEMENTS, dtype)
    limit = stream(opt, q)
    limit.bind(h)
    return opt.step, limit.step


def rules(name):
    """A rule's speed as a share of the limit, for each dtype."""
    rule, options = VARIANTS[name]
    shares = {}
    for dtype in DTYPES:
        mine, limit = interleaved(pair(lambda p: rule(p, **options), stream_like, np.dtype(dtype)), SECONDS)
        shares[dtype] = ratio(limit, mine)
    return shares


def stages(dtype):
    """The time of clipping by norm, decoupled decay, update, averaging and zeroing, in times of the limit's."""

    def make(p):
        return fastopt.AdamW(p, clip_grad_norm=1.0, ema_decay=0.999, zero_grads=True)

    return ratio(*interleaved(pair(make, lambda opt, q: YARDSTICKS["stream_stages"](q), dtype), SECONDS))


def subnormals(flush):
    """How many times longer a step in cache takes when the averages are subnormal."""
    steps = []
    for value in (1e-40, 1e-20):
        p, g = problem(10_000, np.float32)
        opt = fastopt.Adam(p, flush_subnormals=flush)
        for name in ("exp_avg", "exp_avg_sq"):
            opt.state[0][name][:] = value
        # Gradients that have vanished. Subnormal averages shrink until rounding undoes the decay, above zero.
        opt.bind(np.zeros_like(g))
        steps.append(opt.step)
    # About a hundred steps; after four hundred the normal ones would be subnormal too.
    return ratio(*interleaved(steps, 0.0, rounds=3))


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(f"{ELEMENTS:,} elements, threads: {fastopt.get_num_threads()}; speed as a share of the limit")
    for name in VARIANTS:
        print(f"  {name:<28}" + "  ".join(f"{dtype} {x:.2f}" for dtype, x in rules(name).items()), flush=True)
    print("clipping by norm, decoupled decay, Adam, averaging and zeroing: time in times of the limit's")
    for dtype in DTYPES:
        print(f"  {dtype} {stages(np.dtype(dtype)):.2f}", flush=True)
    print("a step on subnormal averages, in times of one on normal ones")
    for flush in (False, True):
        print(f"  flush_subnormals={flush}: {subnormals(flush):.2f}", flush=True)


if __name__ == "__main__":
    main()
