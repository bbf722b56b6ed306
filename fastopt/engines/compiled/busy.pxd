# What the engine uses of the lock.

cimport numpy as cnp


cdef class BusyLock:
    cdef bint held
    cdef int take(self) except -1
    cdef int drop(self) noexcept


cpdef bint in_place(cnp.ndarray array, cnp.ndarray view) noexcept
