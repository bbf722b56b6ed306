"""The lock of an optimizer.

No signal's exception comes between what happens in C here and the ``with`` that it belongs to, and what is given back
needs no memory: so no ``__exit__`` takes ``*error``, which would be a new tuple.
"""

cimport cython

from fastopt.engines.shared import BUSY


cdef class BusyLock:
    """Held by whoever steps or changes an optimizer; taking it when it is held raises."""

    # The critical sections let one thread at a time look and set, on a Python without GIL too.

    cdef int take(self) except -1:
        with cython.critical_section(self):
            if self.held:
                raise RuntimeError(BUSY)
            self.held = True
        return 0

    cdef int drop(self) noexcept:
        with cython.critical_section(self):
            self.held = False
        return 0

    def locked(self):
        return self.held

    def __enter__(self):
        self.take()

    def __exit__(self, kind, error, traceback):
        self.drop()


cdef class Around:
    """Holds a lock within ``with``, and calls one function after taking it and another before giving it back."""
    cdef BusyLock busy
    cdef object before, after
    cdef bint entered

    def __cinit__(self, BusyLock busy, before, after):
        self.busy, self.before, self.after = busy, before, after

    def __enter__(self):
        self.busy.take()
        try:
            self.before()
        except BaseException:  # whatever it is: where ``with`` is not entered, nobody else gives the lock back
            self.busy.drop()
            raise
        self.entered = True

    def __exit__(self, kind, error, traceback):
        if not self.entered:
            raise RuntimeError("swap_ema: this has not been entered, or was left already; use it in a `with` statement")
        self.entered = False
        try:
            self.after()
        finally:
            self.busy.drop()
