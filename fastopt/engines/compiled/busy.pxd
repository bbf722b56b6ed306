# What the engine uses of the lock.

cdef class BusyLock:
    cdef bint held
    cdef int take(self) except -1
    cdef int drop(self) noexcept
