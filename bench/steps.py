"""One step of a rule as a function without arguments, in fastopt or in one of the NumPy baselines."""

import baselines
import numpy as np

from fastopt.cli import plain
from fastopt.cli.timing import arrays_of, problem
from fastopt.rules import VARIANTS

BASELINES = {"plain": plain.PLAIN, "careful": baselines.CAREFUL}


def step_of(name, how, n, dtype):
    """The step, and the arrays that it changes, the parameter first.

    ``how`` is ``"plain"`` or ``"careful"`` for a baseline, else a backend, or None for the best one.
    """
    p, g = problem(n, dtype)
    if how not in BASELINES:
        rule, options = VARIANTS[name]
        opt = rule([p], **options, backend=how)
        return lambda: opt.step([g]), arrays_of(opt)
    update = plain.PLAIN[name]
    if how == "careful":
        scratch = [np.empty_like(p), np.empty_like(p)]

        def update(*arrays_and_count):
            baselines.CAREFUL[name](*arrays_and_count, scratch)

    step, changed = plain.stepper(name, [p], update)
    return lambda: step([g]), changed
