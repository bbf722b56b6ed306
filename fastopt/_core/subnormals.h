// Switches a thread's arithmetic to taking subnormal numbers for zeros, and back.

#pragma once

#include <stdint.h>

#if defined(__x86_64__) || defined(_M_X64) || defined(__SSE2__)
#include <immintrin.h>
// Flush-to-zero for results, denormals-are-zeros for operands.
#define FASTOPT_CAN_FLUSH 1
static inline uint64_t fastopt_flush(void) {
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
}
static inline void fastopt_restore(uint64_t before) { _mm_setcsr((unsigned)before); }
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define FASTOPT_CAN_FLUSH 1
static inline uint64_t fastopt_flush(void) {
    uint64_t before;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(before));
    __asm__ __volatile__("msr fpcr, %0" : : "r"(before | (UINT64_C(1) << 24)) : "memory");
    return before;
}
static inline void fastopt_restore(uint64_t before) {
    __asm__ __volatile__("msr fpcr, %0" : : "r"(before) : "memory");
}
#else
#define FASTOPT_CAN_FLUSH 0
static inline uint64_t fastopt_flush(void) { return 0; }
static inline void fastopt_restore(uint64_t before) { (void)before; }
#endif
