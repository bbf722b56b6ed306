"""The rules: one file for each family, where a rule's formula stands beside its class and its paper.

In all formulas ``p`` is the parameter, ``d`` its effective gradient, ``t`` its step count (1 at its first update), and
everything is elementwise but the sums. `fastopt.formula` says what a formula is.
"""

from typing import Any

from fastopt.optimizer import Optimizer
from fastopt.rules.adagrad import Adadelta, Adagrad, RMSprop
from fastopt.rules.adam import Adam, AdamW
from fastopt.rules.adan import Adan
from fastopt.rules.layerwise import LAMB, LARS
from fastopt.rules.lion import Lion
from fastopt.rules.sgd import SGD

__all__ = ["LAMB", "LARS", "SGD", "VARIANTS", "Adadelta", "Adagrad", "Adam", "AdamW", "Adan", "Lion", "RMSprop"]

# The rules under the names that they are known by, with the options that give each. Every formula has to be among them,
# because the translator makes loops only for those in this table.
VARIANTS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "SGD": (SGD, {}),
    "Momentum": (SGD, {"momentum": 0.9}),
    "Nesterov": (SGD, {"momentum": 0.9, "nesterov": True}),
    "Adagrad": (Adagrad, {}),
    "Adadelta": (Adadelta, {}),
    "RMSprop": (RMSprop, {}),
    "RMSprop, centered": (RMSprop, {"centered": True}),
    "RMSprop, momentum": (RMSprop, {"momentum": 0.9}),
    "RMSprop, centered, momentum": (RMSprop, {"centered": True, "momentum": 0.9}),
    "Adam": (Adam, {}),
    "AMSGrad": (Adam, {"amsgrad": True}),
    "AdamW": (AdamW, {}),
    "LAMB": (LAMB, {}),
    "LARS": (LARS, {}),
    "Lion": (Lion, {}),
    "Adan": (Adan, {}),
}
