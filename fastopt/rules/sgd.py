"""Gradient descent, with and without momentum."""

from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import Any, Literal

from fastopt.optimizer import Optimizer
from fastopt.options import LearningRate, NonNegative


def sgd(d, b, *, lr, t, mu, dampening, momentum: bool, nesterov: bool, velocity: bool, ema: bool):
    if not momentum:
        return lr * d
    if velocity:
        b[:] = mu * b + lr * d
        return mu * b + lr * d if nesterov else b
    if ema:
        b[:] = mu * b + (1 - mu) * d
        return lr * b
    if t == 1:
        b[:] = d
    else:
        b[:] = mu * b + (1 - dampening) * d
    return lr * (d + mu * b) if nesterov else lr * b


class SGD(Optimizer):
    """Gradient descent: plain, with momentum, or with Nesterov's momentum.

    Batch, mini-batch and stochastic gradient descent are this rule on different gradients::

        d = s*g + l2*p
        p = keep*p - update

    Without momentum ``update = lr*d``. With it, ``mu = momentum`` and the state ``momentum_buffer`` (``b``, from
    zero) give, by `momentum_form`::

        "torch"      b = mu*b + (1-dampening)*d      update = lr*b    nesterov: lr*(d + mu*b)
                     first step: b = d
        "velocity"   b = mu*b + lr*d                 update = b       nesterov: mu*b + lr*d
        "ema"        b = mu*b + (1-mu)*d             update = lr*b

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-3
    {lr}
    momentum : float, default 0
        Not negative; smaller than 1 with ``"ema"``.
    dampening : float, default 0
        Not negative; 0 unless ``"torch"`` without `nesterov`.
    weight_decay : float, default 0
    {decay}
    nesterov : bool, default False
        Needs momentum, and a form other than ``"ema"``.
    momentum_form : {"torch", "velocity", "ema"}, default "torch"
        ``"torch"`` is PyTorch's. ``"velocity"`` is that of most course notes, Keras and scikit-learn; it differs
        once the learning rate changes. ``"ema"`` is an exponentially weighted average of gradients.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR Computational
       Mathematics and Mathematical Physics 4(5), 1964.
    .. [2] Y. Nesterov, "A method of solving a convex programming problem with convergence rate O(1/k^2)", Soviet
       Mathematics Doklady 27(2), 1983.
    .. [3] I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep
       learning", ICML 2013.
    """

    formula = sgd
    states = {"b": "momentum_buffer"}

    lr: LearningRate = 1e-3
    momentum: NonNegative = 0.0
    dampening: NonNegative = 0.0
    weight_decay: NonNegative = 0.0
    nesterov: bool = False
    _: KW_ONLY
    momentum_form: Literal["torch", "velocity", "ema"] = "torch"

    @staticmethod
    def check(o: Mapping[str, Any]) -> None:
        if o["nesterov"]:
            if o["momentum"] == 0:
                raise ValueError("nesterov: it needs momentum, found 0; set `momentum=0.9`, or another")
            if o["momentum_form"] == "ema":
                raise ValueError(
                    "nesterov: it is not defined for momentum_form 'ema'; set `momentum_form='torch'` or 'velocity'"
                )
            if o["dampening"] != 0:
                raise ValueError(f"dampening: nesterov allows none, found {o['dampening']!r}; set `dampening=0`")
        if o["momentum_form"] != "torch" and o["dampening"] != 0:
            raise ValueError(
                f"dampening: only momentum_form 'torch' has it, found {o['dampening']!r}; set `dampening=0`"
            )
        if o["momentum_form"] == "ema" and o["momentum"] >= 1:
            raise ValueError(f"momentum: momentum_form 'ema' needs it in [0, 1), found {o['momentum']!r}")

    @staticmethod
    def inputs(o: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "mu": o["momentum"],
            "momentum": o["momentum"] != 0,
            "velocity": o["momentum_form"] == "velocity",
            "ema": o["momentum_form"] == "ema",
        }
