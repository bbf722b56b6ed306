# The words of formulas, as fastopt/formula.py defines them, and the sums over arrays, in their one fixed order.

from libc.math cimport NAN, fabs, fabsf, sqrt as sqrt_of_double, sqrtf
from libc.stdint cimport int64_t
from libc.string cimport memset

ctypedef fused real:
    float
    double

cdef enum:
    LANES = 32  # a power of two

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    // The words that choose give a value's own bits. Where a comparison chooses between what it compares, compilers make
    // a minimum or a maximum, which gives zero for a subnormal number while those are flushed. So the choice is one of
    // integers; and since nothing tells compilers that this stays 0, they cannot make one of floats of it again.
    unsigned fastopt_zero = 0;

    #define FASTOPT_WHERE(NAME, REAL, BITS) \\
        static inline REAL NAME(int condition, REAL x, REAL y) { \\
            BITS a, b; \\
            memcpy(&a, &x, sizeof x); \\
            memcpy(&b, &y, sizeof y); \\
            a = condition ? a ^ fastopt_zero : b; \\
            memcpy(&x, &a, sizeof x); \\
            return x; \\
        }
    FASTOPT_WHERE(fastopt_where_float, float, uint32_t)
    FASTOPT_WHERE(fastopt_where_double, double, uint64_t)
    """
    float where_float "fastopt_where_float"(bint condition, float x, float y) noexcept nogil
    double where_double "fastopt_where_double"(bint condition, double x, double y) noexcept nogil


cdef inline real where(bint condition, real x, real y) noexcept nogil:
    if real is float:
        return where_float(condition, x, y)
    else:
        return where_double(condition, x, y)


cdef inline real sqrt(real x) noexcept nogil:
    if real is float:
        return sqrtf(x)
    else:
        return sqrt_of_double(x)


cdef inline real absolute(real x) noexcept nogil:
    if real is float:
        return fabsf(x)
    else:
        return fabs(x)


cdef inline real sign(real x) noexcept nogil:
    return <real>1 if x > 0 else <real>-1 if x < 0 else <real>0 if x == 0 else x


cdef inline real larger(real x, real y) noexcept nogil:
    return where(x > y, x, y)  # y when either is NaN


cdef inline real smaller(real x, real y) noexcept nogil:
    return where(x < y, x, y)


cdef inline double wide(real x) noexcept nogil:
    return <double>x


cdef inline double power(double x, double k) noexcept nogil:
    """Of numbers: by repeated squaring, from the lowest bit up."""
    cdef double result = 1
    cdef double factors[2]  # looked up, because a branch could not be predicted
    cdef int64_t bits
    if not (k >= 0 and k < 9.2e18):
        return NAN
    bits = <int64_t>k
    if k != <double>bits:
        return NAN
    factors[0] = 1
    while bits:
        factors[1] = x
        result *= factors[bits & 1]
        bits >>= 1
        x *= x
    return result


# Sums add every LANES-th element into one lane. They go row by row, for memory likes to be read in order.

cdef inline void add_elements(const real *restrict x, double *restrict lanes, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        lanes[i] = lanes[i] + <double>x[i]


cdef inline void add_squares(const real *restrict x, double *restrict lanes, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        lanes[i] = lanes[i] + <double>x[i] * <double>x[i]


cdef inline void add_products(
    const real *restrict x, const real *restrict y, double *restrict lanes, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        lanes[i] = lanes[i] + <double>x[i] * <double>y[i]


cdef inline Py_ssize_t clear(double* lanes, Py_ssize_t n) noexcept nogil:
    """Zero as many lanes as n elements use, a power of two, and return their number."""
    cdef Py_ssize_t width = 1
    while width < n and width < LANES:
        width *= 2
    memset(lanes, 0, width * sizeof(double))
    return width


cdef inline void fold(double *restrict lanes, const double *restrict upper, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        lanes[i] = lanes[i] + upper[i]


cdef inline double folded(double* lanes, Py_ssize_t width) noexcept nogil:
    """Fold the lanes in halves. Zeros would not change the sum, so it does not matter that unused lanes are left out."""
    while width > 1:
        width //= 2
        fold(lanes, lanes + width, width)
    return lanes[0]
