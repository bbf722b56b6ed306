"""The lock of an optimizer: held by whoever steps or changes it."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import repeat, starmap
from typing import TYPE_CHECKING

from fastopt.arrays.layout import Array
from fastopt.arrays.parameter import Parameter
from fastopt.engines.shared import BUSY

COMPILED = find_spec("fastopt.engines.compiled.busy") is not None

if TYPE_CHECKING or COMPILED:
    from fastopt.engines.compiled.busy import BusyLock as BusyLock
    from fastopt.engines.compiled.busy import Undoing as Undoing
    from fastopt.engines.compiled.busy import in_place as in_place
else:  # a pure NumPy install
    from contextlib import contextmanager
    from threading import Lock as BusyLock

    from fastopt.arrays.layout import start_of

    @contextmanager
    def Undoing(busy, do, check):
        """Holds a lock within ``with``, does something at its beginning, and undoes it at its end; then it checks."""
        undo = [None]
        with not_busy(busy):
            try:
                do(undo)
                yield
            finally:
                if undo[0] is not None:
                    undo[0]()
        check()

    def in_place(array, view):
        """Whether an array has the memory still that it had when the view of it was taken."""
        return (start_of(array), array.nbytes) == (start_of(view), view.nbytes)


def not_busy(busy: BusyLock) -> BusyLock:
    """A busy lock, to be held by ``with``; raises if it is held already.

    Busy locks are written in C, so that no signal's exception can come between taking one and being sure to give it
    back. Without fastopt's compiled part, a thread that takes one at the same moment waits for it instead.
    """
    if busy.locked():
        raise RuntimeError(BUSY)
    return busy


def in_places(places: Iterable[tuple[Array, Array]]) -> Iterator[bool]:
    """`in_place` for each array and its view, when it is asked for, by C alone; always true without a compiled part."""
    return starmap(in_place, places) if COMPILED else repeat(True)


def check_in_place(parameters: Iterable[Parameter]) -> None:
    """Raise if a parameter's memory is elsewhere than it was."""
    for parameter in parameters:
        if not in_place(parameter.array, parameter.view):
            parameter.check_unchanged(writeable=False)
