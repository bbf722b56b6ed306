"""Lion."""

from dataclasses import KW_ONLY

from fastopt.formula import sign
from fastopt.optimizer import Optimizer
from fastopt.options import Fraction, LearningRate, NonNegative, each_beta


def lion(d, m, *, lr, beta1, beta2):
    u = sign(beta1 * m + (1 - beta1) * d)
    m[:] = beta2 * m + (1 - beta2) * d
    return lr * u


class Lion(Optimizer):
    """Lion: steps of one size, in the direction of the sign of a momentum.

    State ``exp_avg`` (``m``), from zero::

        d = s*g + l2*p
        u = sign(beta1*m + (1-beta1)*d)
        m = beta2*m + (1-beta2)*d
        p = keep*p - lr*u

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-4
    {lr}
    betas : (float, float), default (0.9, 0.99)
        Both in [0, 1).
    weight_decay : float, default 0
    {decay}
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, arXiv:2302.06675.
    """

    formula = lion
    states = {"m": "exp_avg"}
    inputs = staticmethod(each_beta)

    lr: LearningRate = 1e-4
    _: KW_ONLY
    betas: tuple[Fraction, Fraction] = (0.9, 0.99)
    weight_decay: NonNegative = 0.0
    decoupled_weight_decay: bool = True
