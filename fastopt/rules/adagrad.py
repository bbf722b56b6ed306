"""Rules that divide by the root of a sum or of an average of squares."""

from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import Any, Literal

from fastopt.formula import larger, sqrt
from fastopt.optimizer import Optimizer
from fastopt.options import Fraction, LearningRate, NonNegative, placed_eps


def adagrad(d, sum, *, lr, t, lr_decay, eps_root, eps):
    clr = lr / (1 + (t - 1) * lr_decay)
    sum[:] = sum + d * d
    return clr * d / (sqrt(sum + eps_root) + eps)


class Adagrad(Optimizer):
    """Adagrad: each element's rate falls with the sum of its squared gradients.

    State ``sum``, from `initial_accumulator_value`; ``clr = lr/(1 + (t-1)*lr_decay)``::

        d = s*g + l2*p
        sum = sum + d*d
        p = keep*p - clr*d/(sqrt(sum) + eps)      eps_placement="outside"
        p = keep*p - clr*d/sqrt(sum + eps)        eps_placement="inside"

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-2
    {lr}
    lr_decay : float, default 0
        Not negative.
    weight_decay : float, default 0
    {decay}
    initial_accumulator_value : float, default 0
        Not negative. Keras and optax start from 0.1.
    eps : float, default 1e-10
        Not negative.
    eps_placement : {"outside", "inside"}, default "outside"
        ``"outside"`` the root is PyTorch's, ``"inside"`` that of course notes, Keras and optax.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and stochastic
       optimization", JMLR 12, 2011.
    """

    formula = adagrad
    inputs = staticmethod(placed_eps)

    lr: LearningRate = 1e-2
    lr_decay: NonNegative = 0.0
    weight_decay: NonNegative = 0.0
    initial_accumulator_value: NonNegative = 0.0
    eps: NonNegative = 1e-10
    _: KW_ONLY
    eps_placement: Literal["outside", "inside"] = "outside"

    @staticmethod
    def initial(o: Mapping[str, Any]) -> dict[str, Any]:
        return {"sum": o["initial_accumulator_value"]}


def adadelta(d, q, a, *, lr, rho, eps):
    q[:] = rho * q + (1 - rho) * (d * d)
    x = sqrt((a + eps) / (q + eps)) * d
    a[:] = rho * a + (1 - rho) * (x * x)
    return lr * x


class Adadelta(Optimizer):
    """Adadelta: steps in the parameter's own units, from averages of squared gradients and squared steps.

    State ``square_avg`` (``q``) and ``acc_delta`` (``a``), from zero::

        d = s*g + l2*p
        q = rho*q + (1-rho)*(d*d)
        x = sqrt((a + eps)/(q + eps))*d
        a = rho*a + (1-rho)*(x*x)
        p = keep*p - lr*x

    Parameters
    ----------
    {params}
    lr : float or callable, default 1.0
    {lr}
    rho : float, default 0.9
        In [0, 1).
    eps : float, default 1e-6
        Not negative.
    weight_decay : float, default 0
    {decay}
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] M. D. Zeiler, "ADADELTA: An adaptive learning rate method", arXiv:1212.5701, 2012.
    """

    formula = adadelta
    states = {"q": "square_avg", "a": "acc_delta"}

    lr: LearningRate = 1.0
    rho: Fraction = 0.9
    eps: NonNegative = 1e-6
    weight_decay: NonNegative = 0.0


def rmsprop(d, q, a, b, *, lr, alpha, mu, eps_root, eps, centered: bool, momentum: bool, velocity: bool):
    q[:] = alpha * q + (1 - alpha) * (d * d)
    w = q
    if centered:
        a[:] = alpha * a + (1 - alpha) * d
        w = larger(0, q - a * a)
    r = d / (sqrt(w + eps_root) + eps)
    if not momentum:
        return lr * r
    if velocity:
        b[:] = mu * b + lr * r
        return b
    b[:] = mu * b + r
    return lr * b


class RMSprop(Optimizer):
    """RMSprop: the gradient divided by the root of a moving average of its square.

    State ``square_avg`` (``q``), from `initial_accumulator_value`; when `centered` also ``grad_avg`` (``a``), and with
    momentum ``momentum_buffer`` (``b``), from zero::

        d = s*g + l2*p
        q = alpha*q + (1-alpha)*(d*d)
        a = alpha*a + (1-alpha)*d
        w = max(0, q - a*a) when centered, else q
        r = d/(sqrt(w) + eps)      eps_placement="outside"
        r = d/sqrt(w + eps)        eps_placement="inside"
        p = keep*p - update

    Without momentum ``update = lr*r``. With it, by `momentum_form`::

        "torch"      b = momentum*b + r         update = lr*b
        "velocity"   b = momentum*b + lr*r      update = b

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-2
    {lr}
    alpha : float, default 0.99
        In [0, 1).
    eps : float, default 1e-8
        Not negative.
    weight_decay : float, default 0
    {decay}
    momentum : float, default 0
        Not negative.
    centered : bool, default False
        Divide by an estimate of the standard deviation.
    eps_placement : {"outside", "inside"}, default "outside"
        ``"outside"`` the root is PyTorch's and CS231n's, ``"inside"`` that of Ng's course, Keras and optax.
    momentum_form : {"torch", "velocity"}, default "torch"
        ``"velocity"`` is that of Keras and optax.
    initial_accumulator_value : float, default 0
        From which ``square_avg`` starts. Not negative.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] T. Tieleman, G. Hinton, "Lecture 6.5 - rmsprop", Coursera: Neural Networks for Machine Learning, 2012.
    .. [2] A. Graves, "Generating sequences with recurrent neural networks", arXiv:1308.0850, 2013 (centered).
    """

    formula = rmsprop
    states = {"q": "square_avg", "a": "grad_avg", "b": "momentum_buffer"}

    lr: LearningRate = 1e-2
    alpha: Fraction = 0.99
    eps: NonNegative = 1e-8
    weight_decay: NonNegative = 0.0
    momentum: NonNegative = 0.0
    centered: bool = False
    _: KW_ONLY
    eps_placement: Literal["outside", "inside"] = "outside"
    momentum_form: Literal["torch", "velocity"] = "torch"
    initial_accumulator_value: NonNegative = 0.0

    @staticmethod
    def initial(o: Mapping[str, Any]) -> dict[str, Any]:
        return {"square_avg": o["initial_accumulator_value"]}

    @staticmethod
    def inputs(o: Mapping[str, Any]) -> dict[str, Any]:
        mu = o["momentum"]
        return {"mu": mu, "momentum": mu != 0, "velocity": o["momentum_form"] == "velocity", **placed_eps(o)}
