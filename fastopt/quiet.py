"""NumPy's warnings off, for the time of one call."""

from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")


def quietly(function: Callable[[], _T]) -> _T:
    """Call a function without any of NumPy's floating-point warnings and errors.

    In a context of its own, where NumPy 2 keeps its settings: so the caller's settings are what they were even if
    something interrupts the putting back.
    """

    def call() -> _T:
        with np.errstate(all="ignore"):
            return function()

    return copy_context().run(call)
