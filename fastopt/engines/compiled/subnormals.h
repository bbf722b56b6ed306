// A thread's mode of arithmetic: its rounding, and whether it takes subnormal numbers for zeros.

#pragma once

#include <stdint.h>

#if defined(__x86_64__) || defined(_M_X64) || defined(__SSE2__)
#include <immintrin.h>
#define FASTOPT_CAN_FLUSH 1
static inline uint64_t fastopt_mode(void) { return _mm_getcsr(); }
static inline void fastopt_set_mode(uint64_t mode) { _mm_setcsr((unsigned)mode); }
// Flush-to-zero for results, denormals-are-zeros for operands.
static inline uint64_t fastopt_flushing(uint64_t mode) { return mode | 0x8040; }
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define FASTOPT_CAN_FLUSH 1
static inline uint64_t fastopt_mode(void) {
    uint64_t mode;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static inline void fastopt_set_mode(uint64_t mode) { __asm__ __volatile__("msr fpcr, %0" : : "r"(mode) : "memory"); }
static inline uint64_t fastopt_flushing(uint64_t mode) { return mode | (UINT64_C(1) << 24); }
#else
#define FASTOPT_CAN_FLUSH 0
static inline uint64_t fastopt_mode(void) { return 0; }
static inline void fastopt_set_mode(uint64_t mode) { (void)mode; }
static inline uint64_t fastopt_flushing(uint64_t mode) { return mode; }
#endif
