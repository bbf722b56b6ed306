"""What the processor offers and the operating system allows, and the switch of its arithmetic for subnormals.

Both matter: a system that does not save the wide registers has to be respected. GCC's and Clang's builtins look at
both. This module is compiled with baseline flags, so that it runs anywhere.
"""

cdef extern from *:
    """
    #if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
      #include <intrin.h>
      #define BITS(word, mask) (((word) & (mask)) == (mask))
      /* Leaf 7 of cpuid in `seven`, and the registers that the system saves (XCR0). */
      static unsigned long long fastopt_saved(int seven[4]) {
        int leaf[4];
        __cpuid(leaf, 0);
        if (leaf[0] < 7) return 0;
        __cpuidex(seven, 7, 0);
        __cpuid(leaf, 1);
        return BITS(leaf[2], 1 << 27) ? _xgetbv(0) : 0;
      }
      static int fastopt_has_avx2(void) {
        int seven[4];
        return BITS(fastopt_saved(seven), 0x06) && BITS(seven[1], 1 << 5);
      }
      static int fastopt_has_avx512(void) {
        int seven[4];
        /* F, DQ, BW and VL */
        return BITS(fastopt_saved(seven), 0xe6) && BITS((unsigned)seven[1], 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31);
      }
    #elif defined(__x86_64__) || defined(__i386__)
      #define fastopt_has_avx2() __builtin_cpu_supports("avx2")
      #define fastopt_has_avx512() (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && \
                                    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
    #else
      #define fastopt_has_avx2() 0
      #define fastopt_has_avx512() 0
    #endif
    """
    int fastopt_has_avx2()
    int fastopt_has_avx512()

from libc.stdint cimport uint64_t

cdef extern from "subnormals.h":
    const int FASTOPT_CAN_FLUSH
    uint64_t fastopt_mode()
    void fastopt_set_mode(uint64_t)
    uint64_t fastopt_flushing(uint64_t)

CAN_FLUSH = bool(FASTOPT_CAN_FLUSH)


def features():
    """The instruction sets beyond the baseline that kernels may use here, narrowest first."""
    found = {"avx2": bool(fastopt_has_avx2()), "avx512": bool(fastopt_has_avx512())}
    return [name for name, present in found.items() if present]


cdef class Flushed:
    """Within ``with``, this thread's arithmetic takes subnormal numbers for zeros."""
    cdef uint64_t before

    def __enter__(self):
        self.before = fastopt_mode()
        fastopt_set_mode(fastopt_flushing(self.before))

    def __exit__(self, *error):
        fastopt_set_mode(self.before)
