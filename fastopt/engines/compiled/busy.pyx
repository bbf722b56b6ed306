"""The lock of an optimizer.

No signal's exception comes between what happens in C here and the ``with`` that it belongs to, and giving something back
needs no memory: so no ``__exit__`` takes ``*error``, which would be a new tuple.
"""

cimport cython
cimport numpy as cnp

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
        cdef bint held
        with cython.critical_section(self):
            held = self.held
        return held

    def __enter__(self):
        self.take()

    def __exit__(self, kind, error, traceback):
        self.drop()


cdef class Undoing:
    """Holds a lock within ``with``, does something at its beginning, and undoes it at its end; then it checks."""
    cdef BusyLock busy
    cdef object do, check
    cdef list undo
    cdef bint entered

    def __cinit__(self, BusyLock busy, do, check):
        self.busy, self.do, self.check, self.undo = busy, do, check, [None]

    def __enter__(self):
        self.busy.take()
        try:
            self.do(self.undo)
        except BaseException:  # whatever it is: where ``with`` is not entered, nobody else gives the lock back
            self.leave()
            raise
        self.entered = True

    def __exit__(self, kind, error, traceback):
        if not self.entered:
            raise RuntimeError("swap_ema: this has not been entered, or was left already; use it in a `with` statement")
        self.entered = False
        self.leave()
        self.check()

    cdef int leave(self) except -1:
        try:
            if self.undo[0] is not None:
                self.undo[0]()
        finally:
            self.undo[0] = None
            self.busy.drop()
        return 0


cpdef bint in_place(cnp.ndarray array, cnp.ndarray view) noexcept:
    """Whether an array has the memory still that it had when the view of it was taken."""
    return cnp.PyArray_DATA(array) == cnp.PyArray_DATA(view) and cnp.PyArray_NBYTES(array) == cnp.PyArray_NBYTES(view)
