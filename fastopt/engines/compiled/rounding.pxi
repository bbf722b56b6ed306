# For every module that computes: MSVC may contract unless it is told not to. Other compilers have a flag for it.
cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
      #pragma fp_contract (off)
    #endif
    """
