"""Several assignments as one: all of them happen or none, whatever interrupts.

A signal's exception, such as that of Ctrl-C, can be raised between any two operations of Python, but not within a call
in C that neither waits nor runs Python. So what belongs together is built completely first, and then put in its place
by one such call, which needs no memory either.
"""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import starmap
from operator import setitem
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Assignment: TypeAlias = tuple[Any, Any, Any]  # container, key, value: container[key] = value

_ALL = slice(None)


def copying(target: NDArray[Any], source: NDArray[Any]) -> Assignment:
    """The assignment that copies one flat array into another of the same length and dtype.

    Between memoryviews, because NumPy would need memory for it; of bytes, which have one format only.
    """
    if (target.shape, target.dtype) != (source.shape, source.dtype):
        raise ValueError(f"{source.dtype} of shape {source.shape} cannot replace {target.dtype} of {target.shape}")
    return target.view(np.uint8).data, _ALL, source.view(np.uint8).data


def prepared(assignments: Iterable[Assignment]) -> Callable[[], None]:
    """A call that does the assignments, once, in their order.

    The containers are dicts and lists that have the key already, memoryviews, and arrays that get others of their own
    dtype and shape: then there is nothing that can fail.
    """
    return partial(deque[None](maxlen=0).extend, starmap(setitem, assignments))


def assign(assignments: Iterable[Assignment]) -> None:
    """Do the assignments now."""
    assignments = list(assignments)
    # Freeing what is replaced may run other people's code, so it lives until all is in its place.
    replaced = [container[key] for container, key, _ in assignments]
    prepared(assignments)()
    del replaced
