"""Fused optimizer steps for NumPy arrays: as fast as memory, and the same bits on every backend.

Examples
--------
>>> import numpy as np
>>> import fastopt
>>> W = np.ones((2, 3))
>>> opt = fastopt.SGD({"W": W}, lr=0.5)
>>> opt.step({"W": np.full((2, 3), 0.5)})
>>> W
array([[0.75, 0.75, 0.75],
       [0.75, 0.75, 0.75]])
"""

from typing import TYPE_CHECKING

from fastopt.engines.choice import backends
from fastopt.engines.compile_rule import compile
from fastopt.engines.threads import get_num_threads, num_threads, set_num_threads
from fastopt.optimizer import Optimizer
from fastopt.parallel import flatten, squares, unflatten
from fastopt.rules import LAMB, LARS, SGD, Adadelta, Adagrad, Adam, AdamW, Adan, Lion, RMSprop
from fastopt.synonyms import unknown_name

__version__ = "0.1.0"
__all__ = [
    "LAMB",
    "LARS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adan",
    "Lion",
    "Optimizer",
    "RMSprop",
    "backends",
    "compile",
    "flatten",
    "get_num_threads",
    "num_threads",
    "set_num_threads",
    "squares",
    "unflatten",
]


def __dir__() -> list[str]:
    """The public names: what is imported beside them is the package's own affair."""
    return [*__all__, "__version__", "formula", "options"]


if not TYPE_CHECKING:  # to them every name would be one of ours

    def __getattr__(name):
        """Raise AttributeError for a name that is not here, and say what may be meant."""
        raise unknown_name(name, __all__)
