"""Adan."""

from dataclasses import KW_ONLY

from fastopt.formula import power, sqrt
from fastopt.optimizer import Optimizer
from fastopt.options import Fraction, LearningRate, NonNegative, each_beta


def adan(d, m, v, q, before, *, lr, t, beta1, beta2, beta3, eps):
    c1 = 1 - power(beta1, t)
    c2 = 1 - power(beta2, t)
    c3 = 1 - power(beta3, t)
    x = d - before if t > 1 else 0
    m[:] = beta1 * m + (1 - beta1) * d
    v[:] = beta2 * v + (1 - beta2) * x
    u = d + beta2 * x
    q[:] = beta3 * q + (1 - beta3) * (u * u)
    before[:] = d
    return (lr / c1 * m + lr * beta2 / c2 * v) / (sqrt(1 / c3 * q) + eps)


class Adan(Optimizer):
    """Adan: Nesterov's momentum from the differences of gradients, divided by the root of the mean of squares.

    State ``exp_avg`` (``m``), ``exp_avg_diff`` (``v``), ``exp_avg_sq`` (``q``), from zero, and ``previous_grad``
    (``before``); ``c1 = 1 - beta1**t``, and so on::

        d = s*g + l2*p
        x = d - before, and 0 at the first update
        m = beta1*m + (1-beta1)*d
        v = beta2*v + (1-beta2)*x
        u = d + beta2*x
        q = beta3*q + (1-beta3)*(u*u)
        before = d
        p = keep*p - ((lr/c1)*m + (lr*beta2/c2)*v)/(sqrt(q/c3) + eps)

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-3
    {lr}
    betas : (float, float, float), default (0.98, 0.92, 0.99)
        All in [0, 1). Those of the authors' code; in the paper they are 1 minus these.
    eps : float, default 1e-8
        Not negative.
    weight_decay : float, default 0
    {decay}
        The authors' code decays so with ``no_prox=True``; by default it divides by ``1 + lr*weight_decay``.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] X. Xie et al., "Adan: Adaptive Nesterov momentum algorithm for faster optimizing deep models", 2022,
       arXiv:2208.06677.
    """

    formula = adan
    states = {"m": "exp_avg", "v": "exp_avg_diff", "q": "exp_avg_sq", "before": "previous_grad"}
    inputs = staticmethod(each_beta)

    lr: LearningRate = 1e-3
    _: KW_ONLY
    betas: tuple[Fraction, Fraction, Fraction] = (0.98, 0.92, 0.99)
    eps: NonNegative = 1e-8
    weight_decay: NonNegative = 0.0
    decoupled_weight_decay: bool = True
