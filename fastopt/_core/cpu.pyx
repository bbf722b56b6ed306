"""What the processor offers and the operating system allows.

Both matter: a system that does not save the wide registers has to be respected. GCC's and Clang's builtins and
Windows' own call look at both. This module is compiled with baseline flags, so that it runs anywhere.
"""

cdef extern from *:
    """
    #if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
      #if defined(_MSC_VER) && !defined(__clang__)
        #include <windows.h>
        /* Windows runs on no processor that has AVX-512F without the VL, BW and DQ that the kernels use too. */
        #define fastopt_has_avx2() IsProcessorFeaturePresent(40)
        #define fastopt_has_avx512() IsProcessorFeaturePresent(41)
      #else
        #define fastopt_has_avx2() __builtin_cpu_supports("avx2")
        #define fastopt_has_avx512() (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && \
                                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
      #endif
    #else
      #define fastopt_has_avx2() 0
      #define fastopt_has_avx512() 0
    #endif
    """
    int fastopt_has_avx2() nogil
    int fastopt_has_avx512() nogil


def features():
    """The instruction sets beyond the baseline that kernels may use here, narrowest first."""
    found = {"avx2": bool(fastopt_has_avx2()), "avx512": bool(fastopt_has_avx512())}
    return [name for name, present in found.items() if present]
