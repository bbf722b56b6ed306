# The lock of an optimizer.


cdef class BusyLock:
    """Held by whoever steps or changes an optimizer; taking it when it is held raises."""
    cdef bint held

    # The critical sections let one thread at a time look and set, on a Python without GIL too.

    cdef int take(self) except -1:
        with cython.critical_section(self):
            if self.held:
                raise RuntimeError(BUSY)
            self.held = True
        return 0

    cdef int drop(self) except -1:
        with cython.critical_section(self):
            self.held = False
        return 0

    def locked(self):
        return self.held

    def __enter__(self):
        self.take()

    def __exit__(self, *error):
        self.drop()
