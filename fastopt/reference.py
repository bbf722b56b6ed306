"""The NumPy twins of the stages' loops, which surround a rule. The rules' own are their formulas, in fastopt/rules.

All other backends equal them to the last bit, because they do the same operations, each rounded once, in the same
order. Numbers have the arrays' type.
"""

import numpy as np

from fastopt.formula import dot


def squares(x):
    """The sum of an array's squares, in double precision and in the one order that all backends keep."""
    return float(dot(x, x))


def gather(sum, g, scale):
    sum[:] = sum + scale * g


def clip(g, scale, bound):
    """The scaled gradient between -bound and bound; a NaN stays one."""
    x = scale * g
    x = np.where(bound < x, bound, x)
    return np.where(-bound > x, -bound, x)


def average(ema, p, decay, decay_rest):
    ema[:] = decay * ema + decay_rest * p


def swap(x, y):
    x[:], y[:] = y.copy(), x.copy()
