"""Rules as users write them, for the tests: in a module, so that other processes can import them."""

from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import Any, Literal

import fastopt
from fastopt.formula import Carried, absolute, larger, norm, power, sqrt, total
from fastopt.options import Fraction, each_beta


def peaked(d, m, h, *, lr, t, beta, eps, peak: bool):
    m[:] = beta * m + (1 - beta) * d
    w = m * m
    if peak:
        h[:] = larger(h, w)
        w = h
    return lr / (1 - power(beta, t)) * d / (sqrt(w) + eps)


class Peaked(fastopt.Optimizer):
    formula = peaked
    lr: float = 1e-3
    beta: float = 0.9
    eps: float = 1e-8
    peak: bool = True


def damped(d, m, v, *, lr, beta1, beta2, mu, squared: bool, fading: Carried):
    now = fading * mu
    m[:] = beta1 * m + (1 - beta1) * d
    if squared:
        v[:] = beta2 * v + (1 - beta2) * (d * d)
        w = sqrt(v)
    else:
        v[:] = larger(beta2 * v, absolute(d))
        w = v
    return lr * (1 - now) * m / (w + 1e-6), now


class Damped(fastopt.Optimizer):
    """A pair, a string, an initial value, and a number that is carried."""

    formula = damped
    states = {"m": "exp_avg", "fading": "mu_product"}
    lr: float = 1e-2
    betas: tuple[Fraction, Fraction] = (0.9, 0.99)
    mu: Fraction = 0.5
    _: KW_ONLY
    form: Literal["squares", "largest"] = "squares"
    start: float = 0.25

    @staticmethod
    def initial(o: Mapping[str, Any]) -> dict[str, Any]:
        return {"v": o["start"], "mu_product": 1.0}

    @staticmethod
    def inputs(o: Mapping[str, Any]) -> dict[str, Any]:
        return {**each_beta(o), "squared": o["form"] == "squares"}


def estimated(d, p, r, *, lr, distance: Carried, seen: Carried):
    """A distance that is estimated from norms: what is carried depends on a sum."""
    farther = larger(distance, norm(d))
    r[:] = r + d
    return lr * distance * r / (1 + sqrt(absolute(total(p)))), farther, seen + 1


class Estimated(fastopt.Optimizer):
    formula = estimated
    states = {"r": "grad_total"}
    lr: float = 1e-2

    @staticmethod
    def initial(o: Mapping[str, Any]) -> dict[str, Any]:
        return {"distance": 1e-3}


RULES = [Peaked, Damped, Estimated]
CASES = {
    "peaked": (Peaked, {}),
    "peaked-plain": (Peaked, {"peak": False, "lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    "damped": (Damped, {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    "damped-largest": (Damped, {"form": "largest", "betas": (0.5, 0.8), "lr": 0.1, "start": 0.0}),
    "estimated": (Estimated, {"lr": 0.1}),
}
