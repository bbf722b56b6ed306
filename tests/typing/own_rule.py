"""A rule of one's own, whose formula stands as it would in a paper: in this file checkers do not ask for its types."""
# mypy: allow-incomplete-defs, allow-untyped-defs
# pyright: reportMissingParameterType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownParameterType=false, reportUnknownVariableType=false

import fastopt
from fastopt.formula import larger, sqrt


def peaked(d, v, *, lr, beta, eps, peak: bool):
    v[:] = larger(v, d * d) if peak else beta * v + (1 - beta) * (d * d)
    return lr * d / (sqrt(v) + eps)


class Peaked(fastopt.Optimizer):
    formula = peaked

    lr: float = 1e-3
    beta: float = 0.9
    eps: float = 1e-8
    peak: bool = True
