"""Rules for large batches, whose steps are scaled to the norm of each parameter array."""

from dataclasses import KW_ONLY

from fastopt.formula import norm, power, sqrt
from fastopt.optimizer import Optimizer
from fastopt.options import Fraction, LearningRate, NonNegative, each_beta


def lamb(d, p, m, v, *, lr, t, beta1, beta2, eps, weight_decay, bias_correction):
    c1 = 1 - power(beta1, t) if bias_correction else 1
    c2 = 1 - power(beta2, t) if bias_correction else 1
    m[:] = beta1 * m + (1 - beta1) * d
    v[:] = beta2 * v + (1 - beta2) * (d * d)
    u = 1 / c1 * m / (sqrt(1 / c2 * v) + eps) + weight_decay * p
    of_p = norm(p)
    of_u = norm(u)
    trust = of_p / of_u if of_p != 0 and of_u != 0 else 1
    return lr * trust * u


class LAMB(Optimizer):
    """LAMB: Adam, with the update of each parameter array scaled to the array's own norm; for large batches.

    State ``exp_avg`` (``m``) and ``exp_avg_sq`` (``v``), from zero; ``c1 = 1 - beta1**t``, ``c2 = 1 - beta2**t``;
    norms are those of whole arrays::

        d = s*g + l2*p
        m = beta1*m + (1-beta1)*d
        v = beta2*v + (1-beta2)*(d*d)
        u = (m/c1)/(sqrt(v/c2) + eps) + decay*p
        trust = norm(p)/norm(u), and 1 where either is 0
        p = keep*p - lr*trust*u

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-3
    {lr}
    betas : (float, float), default (0.9, 0.999)
        Both in [0, 1).
    eps : float, default 1e-6
        Not negative.
    weight_decay : float, default 0
        Not negative. Decoupled, it is ``decay``, and its share of the update is scaled too. Coupled (L2), it is ``l2``.
        ``keep = 1`` in either case.
    bias_correction : bool, default True
        When False, ``c1 = c2 = 1``.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] Y. You et al., "Large batch optimization for deep learning: Training BERT in 76 minutes", ICLR 2020,
       arXiv:1904.00962.
    """

    formula = lamb
    states = {"m": "exp_avg", "v": "exp_avg_sq"}
    inputs = staticmethod(each_beta)

    lr: LearningRate = 1e-3
    _: KW_ONLY
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: NonNegative = 1e-6
    weight_decay: NonNegative = 0.0
    bias_correction: bool = True
    decoupled_weight_decay: bool = True


def lars(d, p, b, *, lr, momentum, trust_coefficient):
    of_p = norm(p)
    of_d = norm(d)
    trust = trust_coefficient * (of_p / of_d) if of_p != 0 and of_d != 0 else 1
    b[:] = momentum * b + lr * trust * d
    return b


class LARS(Optimizer):
    """LARS: momentum SGD, with the gradient of each parameter array scaled to the array's own norm; for large batches.

    State ``momentum_buffer`` (``b``, from zero), ``mu = momentum``; norms are those of whole arrays::

        d = s*g + l2*p
        trust = trust_coefficient*norm(p)/norm(d), and 1, without the coefficient, where either is 0
        b = mu*b + lr*trust*d
        p = keep*p - b

    Parameters
    ----------
    {params}
    lr : float or callable, default 1.0
    {lr}
    momentum : float, default 0.9
        Not negative.
    weight_decay : float, default 0
    {decay}
    trust_coefficient : float, default 1e-3
        Not negative.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] Y. You, I. Gitman, B. Ginsburg, "Large batch training of convolutional networks", arXiv:1708.03888, 2017.
       There the ratio's denominator is ``norm(g) + weight_decay*norm(p)``; this one is optax's.
    """

    formula = lars
    states = {"b": "momentum_buffer"}

    lr: LearningRate = 1.0
    _: KW_ONLY
    momentum: NonNegative = 0.9
    weight_decay: NonNegative = 0.0
    trust_coefficient: NonNegative = 1e-3
