"""The lock of an optimizer: held by whoever steps or changes it."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from fastopt.engines.shared import BUSY

if TYPE_CHECKING or find_spec("fastopt.engines.compiled.busy"):
    from fastopt.engines.compiled.busy import Around as Around
    from fastopt.engines.compiled.busy import BusyLock as BusyLock
else:  # a pure NumPy install
    from contextlib import contextmanager
    from threading import Lock as BusyLock

    @contextmanager
    def Around(busy, before, after):
        """Holds a lock within ``with``, and calls one function after taking it and another before giving it back.

        The second is called even where the first was interrupted.
        """
        with not_busy(busy):
            try:
                before()
                yield
            finally:
                after()


def not_busy(busy: BusyLock) -> BusyLock:
    """A busy lock, to be held by ``with``; raises if it is held already.

    Busy locks are written in C, so that no signal's exception can come between taking one and being sure to give it
    back.
    """
    if busy.locked():
        raise RuntimeError(BUSY)
    return busy
