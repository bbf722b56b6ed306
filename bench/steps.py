"""One step of a rule as a function without arguments, in fastopt or in one of the NumPy baselines."""

import baselines
import numpy as np

from fastopt.cli.timing import problem
from fastopt.rules import VARIANTS

BASELINES = {"plain": baselines.PLAIN, "careful": baselines.CAREFUL}


def step_of(name, how, n, dtype):
    """The step, and the parameter that it updates.

    ``how`` is ``"plain"`` or ``"careful"`` for a baseline, else a backend, or None for the best one.
    """
    rule, options = VARIANTS[name]
    p, g = problem(n, dtype)
    opt = rule([p], **options, backend="numpy" if how in BASELINES else how)
    if how not in BASELINES:
        return lambda: opt.step([g]), p

    update = BASELINES[how][name]
    states = list(opt.state[0].values())[1:]
    scratch = [np.empty_like(p), np.empty_like(p)]
    t = 0

    def step():
        nonlocal t
        t += 1
        update(p, g, *states, t, scratch)

    return step, p
