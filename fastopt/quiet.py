"""NumPy's warnings off, for the time of one call."""

from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar

import numpy as np

_T = TypeVar("_T")

# NumPy 2 keeps its settings in contexts. In a context of ours the caller's settings never change, so an interrupt
# leaves nothing to put back.
_CONTEXTS = int(np.__version__.partition(".")[0]) >= 2
_quiet = Context()
if _CONTEXTS:
    _quiet.run(np.seterr, all="ignore")


def quietly(function: Callable[[], _T]) -> _T:
    """Call a function without any of NumPy's floating-point warnings and errors.

    It sees the defaults of all context variables.
    """
    if _CONTEXTS:
        return _quiet.copy().run(function)
    old: Any = np  # NumPy 1, where the settings are the thread's
    before = old.geterrobj()
    try:
        try:
            old.seterrobj([before[0], 0, None])
            return function()
        finally:
            old.seterrobj(before)
    finally:
        old.seterrobj(before)  # again, in case an interrupt came just before it was done
