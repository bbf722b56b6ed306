"""Adam and its variants."""

from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import Any, Literal

from fastopt.formula import larger, power, sqrt
from fastopt.optimizer import Optimizer
from fastopt.options import Fraction, LearningRate, NonNegative, each_beta, placed_eps


def adam(d, m, v, h, *, lr, t, beta1, beta2, eps_root, eps, bias_correction, uncorrected, amsgrad: bool):
    c1 = 1 - power(beta1, t) if bias_correction else 1
    c2 = 1 - power(beta2, t) if bias_correction else 1
    size = lr * sqrt(c2) / c1 if uncorrected else lr / c1
    scale = 1 if uncorrected else 1 / c2
    m[:] = beta1 * m + (1 - beta1) * d
    v[:] = beta2 * v + (1 - beta2) * (d * d)
    w = v
    if amsgrad:
        h[:] = larger(h, v)
        w = h
    return size * m / (sqrt(scale * w + eps_root) + eps)


class Adam(Optimizer):
    """Adam: the mean of gradients divided by the root of the mean of their squares; with AMSGrad as an option.

    State ``exp_avg`` (``m``) and ``exp_avg_sq`` (``v``), from zero; ``c1 = 1 - beta1**t``, ``c2 = 1 - beta2**t``::

        d = s*g + l2*p
        m = beta1*m + (1-beta1)*d
        v = beta2*v + (1-beta2)*(d*d)
        p = keep*p - (lr/c1)*m/(sqrt(v/c2) + eps)              eps_placement="outside"
        p = keep*p - (lr*sqrt(c2)/c1)*m/(sqrt(v) + eps)        eps_placement="uncorrected"
        p = keep*p - (lr/c1)*m/sqrt(v/c2 + eps)                eps_placement="inside"

    With `amsgrad` the state ``max_exp_avg_sq`` (``h = max(h, v)``) stands for ``v`` in the last line.

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-3
    {lr}
    betas : (float, float), default (0.9, 0.999)
        Both in [0, 1).
    eps : float, default 1e-8
        Not negative.
    weight_decay : float, default 0
    {decay}
    amsgrad : bool, default False
        Divide by the largest ``v`` so far.
    bias_correction : bool, default True
        When False, ``c1 = c2 = 1``: the short form of course notes.
    eps_placement : {"outside", "uncorrected", "inside"}, default "outside"
        ``"outside"`` is the paper's main form, PyTorch's and optax's; ``"uncorrected"`` the paper's efficient form,
        that of Keras and scikit-learn; ``"inside"`` is optax's ``eps_root``.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, "Adam: A method for stochastic optimization", ICLR 2015, arXiv:1412.6980.
    .. [2] S. J. Reddi, S. Kale, S. Kumar, "On the convergence of Adam and beyond", ICLR 2018 (AMSGrad).
    """

    formula = adam
    states = {"m": "exp_avg", "v": "exp_avg_sq", "h": "max_exp_avg_sq"}

    lr: LearningRate = 1e-3
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: NonNegative = 1e-8
    weight_decay: NonNegative = 0.0
    amsgrad: bool = False
    _: KW_ONLY
    bias_correction: bool = True
    eps_placement: Literal["outside", "uncorrected", "inside"] = "outside"

    @staticmethod
    def inputs(o: Mapping[str, Any]) -> dict[str, Any]:
        uncorrected = o["eps_placement"] == "uncorrected"
        return {**each_beta(o), **placed_eps(o), "uncorrected": uncorrected}


class AdamW(Adam):
    """AdamW: Adam with decoupled weight decay.

    As `Adam`, with ``decoupled_weight_decay=True``: ``l2 = 0`` and ``keep = 1 - lr*weight_decay`` in its formulas::

        p = keep*p - (lr/c1)*m/(sqrt(v/c2) + eps)      eps_placement="outside"

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-3
    {lr}
    betas : (float, float), default (0.9, 0.999)
        Both in [0, 1).
    eps : float, default 1e-8
        Not negative.
    weight_decay : float, default 1e-2
    {decay}
    amsgrad : bool, default False
        Divide by the largest ``v`` so far.
    bias_correction : bool, default True
        When False, ``c1 = c2 = 1``.
    eps_placement : {"outside", "uncorrected", "inside"}, default "outside"
        As for `Adam`.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019, arXiv:1711.05101.
    """

    weight_decay: NonNegative = 1e-2
    _: KW_ONLY
    decoupled_weight_decay: bool = True
