"""What the processor offers and the operating system allows, and the switch of its arithmetic for subnormals.

Both matter: a system that does not save the wide registers has to be respected. So cpuid is asked for the first, and
xgetbv for the second, with every compiler: not all have the builtins that look at both. This module is compiled with
baseline flags, so that it runs anywhere.
"""

cdef extern from *:
    """
    #define FASTOPT_BITS(word, mask) (((unsigned)(word) & (mask)) == (mask))
    #if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
      #if defined(_MSC_VER)
        #include <intrin.h>
        static void fastopt_cpuid(int leaf, unsigned out[4]) { __cpuidex((int*)out, leaf, 0); }
        static unsigned fastopt_xcr0(void) { return (unsigned)_xgetbv(0); }
      #else
        #include <cpuid.h>
        static void fastopt_cpuid(int leaf, unsigned out[4]) { __cpuid_count(leaf, 0, out[0], out[1], out[2], out[3]); }
        static unsigned fastopt_xcr0(void) {
          unsigned low, high;
          __asm__ __volatile__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
          return low;
        }
      #endif
      /* Whether leaf 7 of cpuid has these bits in ebx, and the system saves these registers. */
      static int fastopt_has(unsigned features, unsigned registers) {
        unsigned leaf[4];
        fastopt_cpuid(0, leaf);
        if (leaf[0] < 7) return 0;
        fastopt_cpuid(1, leaf);
        if (!FASTOPT_BITS(leaf[2], 1u << 27) || !FASTOPT_BITS(fastopt_xcr0(), registers)) return 0;
        fastopt_cpuid(7, leaf);
        return FASTOPT_BITS(leaf[1], features);
      }
    #else
      static int fastopt_has(unsigned features, unsigned registers) { (void)features; (void)registers; return 0; }
    #endif
    /* AVX2 with the registers' lower and upper halves; F, DQ, BW and VL with the masks and all of the registers. */
    #define fastopt_has_avx2() fastopt_has(1u << 5, 0x06)
    #define fastopt_has_avx512() fastopt_has(1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, 0xe6)
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

    def __exit__(self, kind, error, traceback):
        fastopt_set_mode(self.before)
