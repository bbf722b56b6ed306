# The loops of every rule: the only arithmetic that is compiled.
#
# This file is included by one stub for each instruction set and compiled with that set's flags. Each kernel
# repeats its twin in reference.py operation by operation, in the same order, with the same rounding: only
# + - * / sqrt and comparisons, which IEEE 754 rounds correctly, and no contraction into fused multiply-adds.
#
# All kernels have one signature. `buffers` holds the parameter, the gradient, then the state arrays; `scalars`
# holds s, l2, keep, then the rule's own; all in the order of the rule's class. Scalars arrive in double precision
# and are rounded once, here, to the type of the buffers; that is why even 1 - beta1 (`beta1_rest`) is a scalar:
# written in the loop it would be computed in double.
#
# Pointers are `restrict`, so that loops vectorise: the engine has refused overlapping arrays before it calls.
#
# A reduction has the signature of a kernel, and `sums`: what it adds up in double precision, in one fixed order.

include "rounding.pxi"

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport sqrt, sqrtf
from libc.string cimport memset

ctypedef fused real:
    float
    double

cdef enum:
    LANES = 32  # a power of two


cdef inline real root(real x) noexcept nogil:
    if real is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline real larger(real x, real y) noexcept nogil:
    # Gives y when either is NaN: this order compiles to one instruction, and reference.py does the same.
    return x if x > y else y


cdef void sgd(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real s = <real>scalars[0], l2 = <real>scalars[1], keep = <real>scalars[2]
    cdef real lr = <real>scalars[3]
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        p[i] = keep * p[i] - lr * d


cdef void sgd_momentum(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real *restrict b = buffers[2]
    cdef real s = <real>scalars[0], l2 = <real>scalars[1], keep = <real>scalars[2]
    cdef real gain = <real>scalars[3], carry = <real>scalars[4], rate = <real>scalars[5]
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        b[i] = carry * b[i] + gain * d
        p[i] = keep * p[i] - rate * b[i]


cdef void sgd_nesterov(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real *restrict b = buffers[2]
    cdef real s = <real>scalars[0], l2 = <real>scalars[1], keep = <real>scalars[2]
    cdef real gain = <real>scalars[3], carry = <real>scalars[4], rate = <real>scalars[5], mu = <real>scalars[6]
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        b[i] = carry * b[i] + gain * d
        p[i] = keep * p[i] - rate * (gain * d + mu * b[i])


cdef void adagrad(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real *restrict sum = buffers[2]
    cdef real s = <real>scalars[0], l2 = <real>scalars[1], keep = <real>scalars[2]
    cdef real clr = <real>scalars[3], e_in = <real>scalars[4], e_out = <real>scalars[5]
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        sum[i] = sum[i] + d * d
        p[i] = keep * p[i] - clr * d / (root(sum[i] + e_in) + e_out)


cdef void adadelta(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real *restrict q = buffers[2]
    cdef real *restrict a = buffers[3]
    cdef real s = <real>scalars[0], l2 = <real>scalars[1], keep = <real>scalars[2]
    cdef real lr = <real>scalars[3], rho = <real>scalars[4], rho_rest = <real>scalars[5]
    cdef real eps = <real>scalars[6]
    cdef real d, x
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        q[i] = rho * q[i] + rho_rest * d * d
        x = root(a[i] + eps) / root(q[i] + eps) * d
        a[i] = rho * a[i] + rho_rest * x * x
        p[i] = keep * p[i] - lr * x


cdef void rmsprop(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real *restrict q = buffers[2]
    cdef real s = <real>scalars[0], l2 = <real>scalars[1], keep = <real>scalars[2]
    cdef real lr = <real>scalars[3], alpha = <real>scalars[4], alpha_rest = <real>scalars[5]
    cdef real e_in = <real>scalars[6], e_out = <real>scalars[7]
    cdef real d, r
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        q[i] = alpha * q[i] + alpha_rest * d * d
        r = d / (root(q[i] + e_in) + e_out)
        p[i] = keep * p[i] - lr * r


cdef void rmsprop_centered(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real *restrict q = buffers[2]
    cdef real *restrict a = buffers[3]
    cdef real s = <real>scalars[0], l2 = <real>scalars[1], keep = <real>scalars[2]
    cdef real lr = <real>scalars[3], alpha = <real>scalars[4], alpha_rest = <real>scalars[5]
    cdef real e_in = <real>scalars[6], e_out = <real>scalars[7]
    cdef real d, r
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        q[i] = alpha * q[i] + alpha_rest * d * d
        a[i] = alpha * a[i] + alpha_rest * d
        r = d / (root(larger(<real>0, q[i] - a[i] * a[i]) + e_in) + e_out)
        p[i] = keep * p[i] - lr * r


cdef void rmsprop_momentum(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real *restrict q = buffers[2]
    cdef real *restrict b = buffers[3]
    cdef real s = <real>scalars[0], l2 = <real>scalars[1], keep = <real>scalars[2]
    cdef real gain = <real>scalars[3], rate = <real>scalars[4]
    cdef real alpha = <real>scalars[5], alpha_rest = <real>scalars[6]
    cdef real e_in = <real>scalars[7], e_out = <real>scalars[8], mu = <real>scalars[9]
    cdef real d, r
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        q[i] = alpha * q[i] + alpha_rest * d * d
        r = d / (root(q[i] + e_in) + e_out)
        b[i] = mu * b[i] + gain * r
        p[i] = keep * p[i] - rate * b[i]


cdef void rmsprop_centered_momentum(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real *restrict q = buffers[2]
    cdef real *restrict a = buffers[3]
    cdef real *restrict b = buffers[4]
    cdef real s = <real>scalars[0], l2 = <real>scalars[1], keep = <real>scalars[2]
    cdef real gain = <real>scalars[3], rate = <real>scalars[4]
    cdef real alpha = <real>scalars[5], alpha_rest = <real>scalars[6]
    cdef real e_in = <real>scalars[7], e_out = <real>scalars[8], mu = <real>scalars[9]
    cdef real d, r
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        q[i] = alpha * q[i] + alpha_rest * d * d
        a[i] = alpha * a[i] + alpha_rest * d
        r = d / (root(larger(<real>0, q[i] - a[i] * a[i]) + e_in) + e_out)
        b[i] = mu * b[i] + gain * r
        p[i] = keep * p[i] - rate * b[i]


cdef void adam(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real *restrict m = buffers[2]
    cdef real *restrict v = buffers[3]
    cdef real s = <real>scalars[0], l2 = <real>scalars[1], keep = <real>scalars[2]
    cdef real a = <real>scalars[3], b = <real>scalars[4]
    cdef real beta1 = <real>scalars[5], beta1_rest = <real>scalars[6]
    cdef real beta2 = <real>scalars[7], beta2_rest = <real>scalars[8]
    cdef real e_in = <real>scalars[9], e_out = <real>scalars[10]
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        m[i] = beta1 * m[i] + beta1_rest * d
        v[i] = beta2 * v[i] + beta2_rest * d * d
        p[i] = keep * p[i] - a * m[i] / (root(v[i] * b + e_in) + e_out)


cdef void amsgrad(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real *restrict m = buffers[2]
    cdef real *restrict v = buffers[3]
    cdef real *restrict h = buffers[4]
    cdef real s = <real>scalars[0], l2 = <real>scalars[1], keep = <real>scalars[2]
    cdef real a = <real>scalars[3], b = <real>scalars[4]
    cdef real beta1 = <real>scalars[5], beta1_rest = <real>scalars[6]
    cdef real beta2 = <real>scalars[7], beta2_rest = <real>scalars[8]
    cdef real e_in = <real>scalars[9], e_out = <real>scalars[10]
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        m[i] = beta1 * m[i] + beta1_rest * d
        v[i] = beta2 * v[i] + beta2_rest * d * d
        h[i] = larger(h[i], v[i])
        p[i] = keep * p[i] - a * m[i] / (root(h[i] * b + e_in) + e_out)


# Rules that need the norms of a whole tensor prepare in a pass of their own: they update the moments, if they have any,
# and sum the squares of the parameter and of its update. The kernel gets the ratio of these norms as its last scalar,
# `trust`.

cdef inline double square(real x) noexcept nogil:
    return <double>x * <double>x


cdef inline void add_row(const real *restrict x, double *restrict lanes, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        lanes[i] = lanes[i] + square(x[i])


cdef inline void add_squares(const real* x, double* lanes, Py_ssize_t n) noexcept nogil:
    """Row by row: memory likes to be read in order."""
    cdef Py_ssize_t start = 0
    while start + LANES <= n:
        add_row(x + start, lanes, LANES)
        start += LANES
    add_row(x + start, lanes, n - start)


cdef inline Py_ssize_t clear(double* lanes, Py_ssize_t n) noexcept nogil:
    """Zero as many lanes as n elements use, a power of two, and return their number."""
    cdef Py_ssize_t width = 1
    while width < n and width < LANES:
        width *= 2
    memset(lanes, 0, width * sizeof(double))
    return width


cdef inline double total(double* lanes, Py_ssize_t width) noexcept nogil:
    """Fold the lanes in halves. Zeros would not change the sum, so it does not matter that unused lanes are left out."""
    cdef Py_ssize_t i
    while width > 1:
        width //= 2
        for i in range(width):
            lanes[i] = lanes[i] + lanes[i + width]
    return lanes[0]


cdef inline real lamb_update(real p, real m, real v, real a, real b, real eps, real decay) noexcept nogil:
    return a * m / (root(v * b) + eps) + decay * p


cdef inline void lamb_row(
    const real *restrict p, const real *restrict g, real *restrict m, real *restrict v,
    double *restrict of_p, double *restrict of_update, const double* scalars, Py_ssize_t n
) noexcept nogil:
    cdef real s = <real>scalars[0], l2 = <real>scalars[1]
    cdef real a = <real>scalars[4], b = <real>scalars[5]
    cdef real beta1 = <real>scalars[6], beta1_rest = <real>scalars[7]
    cdef real beta2 = <real>scalars[8], beta2_rest = <real>scalars[9]
    cdef real eps = <real>scalars[10], decay = <real>scalars[11]
    cdef real d
    cdef real update[LANES]
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        m[i] = beta1 * m[i] + beta1_rest * d
        v[i] = beta2 * v[i] + beta2_rest * d * d
        update[i] = lamb_update(p[i], m[i], v[i], a, b, eps, decay)
    add_row(p, of_p, n)
    add_row(<const real*>update, of_update, n)


cdef void lamb_prepare(real** buffers, const double* scalars, Py_ssize_t n, double* sums) noexcept nogil:
    cdef double of_p[LANES]
    cdef double of_update[LANES]
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t width = clear(of_p, n)
    clear(of_update, n)
    while start + LANES <= n:
        lamb_row(
            buffers[0] + start, buffers[1] + start, buffers[2] + start, buffers[3] + start, of_p, of_update, scalars, LANES
        )
        start += LANES
    lamb_row(
        buffers[0] + start, buffers[1] + start, buffers[2] + start, buffers[3] + start, of_p, of_update, scalars, n - start
    )
    sums[0] = total(of_p, width)
    sums[1] = total(of_update, width)


cdef void lamb(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict m = buffers[2]
    cdef const real *restrict v = buffers[3]
    cdef real keep = <real>scalars[2], lr = <real>scalars[3]
    cdef real a = <real>scalars[4], b = <real>scalars[5]
    cdef real eps = <real>scalars[10], decay = <real>scalars[11], trust = <real>scalars[12]
    cdef Py_ssize_t i
    for i in range(n):
        p[i] = keep * p[i] - lr * trust * lamb_update(p[i], m[i], v[i], a, b, eps, decay)


cdef inline void lars_row(
    const real *restrict p, const real *restrict g, double *restrict of_p, double *restrict of_d, real s, real l2,
    Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        of_p[i] = of_p[i] + square(p[i])
        of_d[i] = of_d[i] + square(s * g[i] + l2 * p[i])


cdef void lars_prepare(real** buffers, const double* scalars, Py_ssize_t n, double* sums) noexcept nogil:
    cdef real s = <real>scalars[0], l2 = <real>scalars[1]
    cdef double of_p[LANES]
    cdef double of_d[LANES]
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t width = clear(of_p, n)
    clear(of_d, n)
    while start + LANES <= n:
        lars_row(<const real*>buffers[0] + start, <const real*>buffers[1] + start, of_p, of_d, s, l2, LANES)
        start += LANES
    lars_row(<const real*>buffers[0] + start, <const real*>buffers[1] + start, of_p, of_d, s, l2, n - start)
    sums[0] = total(of_p, width)
    sums[1] = total(of_d, width)


cdef void lars(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real *restrict b = buffers[2]
    cdef real s = <real>scalars[0], l2 = <real>scalars[1], keep = <real>scalars[2]
    cdef real lr = <real>scalars[3], mu = <real>scalars[4], trust = <real>scalars[5]
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        b[i] = mu * b[i] + lr * trust * d
        p[i] = keep * p[i] - b[i]


# Stages: what surrounds a rule, on the same chunk, whatever the rule is.

cdef void squares(real** buffers, const double* scalars, Py_ssize_t n, double* sums) noexcept nogil:
    cdef double lanes[LANES]
    cdef Py_ssize_t width = clear(lanes, n)
    add_squares(<const real*>buffers[0], lanes, n)
    sums[0] = total(lanes, width)


cdef void gather(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict sum = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real scale = <real>scalars[0]
    cdef Py_ssize_t i
    for i in range(n):
        sum[i] = sum[i] + scale * g[i]


cdef void clip(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict out = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real scale = <real>scalars[0], bound = <real>scalars[1]
    cdef real x
    cdef Py_ssize_t i
    for i in range(n):
        # In this order a NaN stays one.
        x = scale * g[i]
        x = bound if bound < x else x
        out[i] = -bound if -bound > x else x


cdef void average(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict ema = buffers[0]
    cdef const real *restrict p = buffers[1]
    cdef real decay = <real>scalars[0], decay_rest = <real>scalars[1]
    cdef Py_ssize_t i
    for i in range(n):
        ema[i] = decay * ema[i] + decay_rest * p[i]


cdef void swap(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict x = buffers[0]
    cdef real *restrict y = buffers[1]
    cdef real z
    cdef Py_ssize_t i
    for i in range(n):
        z = x[i]
        x[i] = y[i]
        y[i] = z


# The plain streaming loops: the memory traffic of a rule with 0 to 3 state arrays and next to no arithmetic.
# They are the limit that benchmarks measure the rules against.

cdef void stream0(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef Py_ssize_t i
    for i in range(n):
        p[i] = p[i] + g[i]


cdef void stream1(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real *restrict x = buffers[2]
    cdef Py_ssize_t i
    for i in range(n):
        p[i] = p[i] + g[i]
        x[i] = x[i] + g[i]


cdef void stream2(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real *restrict x = buffers[2]
    cdef real *restrict y = buffers[3]
    cdef Py_ssize_t i
    for i in range(n):
        p[i] = p[i] + g[i]
        x[i] = x[i] + g[i]
        y[i] = y[i] + g[i]


cdef void stream3(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict g = buffers[1]
    cdef real *restrict x = buffers[2]
    cdef real *restrict y = buffers[3]
    cdef real *restrict z = buffers[4]
    cdef Py_ssize_t i
    for i in range(n):
        p[i] = p[i] + g[i]
        x[i] = x[i] + g[i]
        y[i] = y[i] + g[i]
        z[i] = z[i] + g[i]


# That of rules with a pass for norms: what is only read there goes into a few sums.

cdef inline real added_up(const real* x, Py_ssize_t n) noexcept nogil:
    cdef real lanes[LANES]
    cdef Py_ssize_t i, start = 0
    memset(lanes, 0, LANES * sizeof(real))
    while start + LANES <= n:
        for i in range(LANES):
            lanes[i] = lanes[i] + x[start + i]
        start += LANES
    # All lanes count: what went into the others alone would not even be read.
    for i in range(1, LANES):
        lanes[0] = lanes[0] + lanes[i]
    return lanes[0]


cdef void stream_lamb_prepare(real** buffers, const double* scalars, Py_ssize_t n, double* sums) noexcept nogil:
    cdef const real *restrict g = buffers[1]
    cdef real *restrict x = buffers[2]
    cdef real *restrict y = buffers[3]
    cdef Py_ssize_t i
    for i in range(n):
        x[i] = x[i] + g[i]
        y[i] = y[i] + g[i]
    sums[0] = sums[1] = added_up(<const real*>buffers[0], n)


cdef void stream_lamb(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef const real *restrict x = buffers[2]
    cdef const real *restrict y = buffers[3]
    cdef Py_ssize_t i
    for i in range(n):
        p[i] = p[i] + x[i] + y[i]


cdef void stream_lars_prepare(real** buffers, const double* scalars, Py_ssize_t n, double* sums) noexcept nogil:
    sums[0], sums[1] = added_up(<const real*>buffers[0], n), added_up(<const real*>buffers[1], n)


# That of Adam with clipping by norm, averaging and zeroing around it: the gradient is read, and in a second pass
# everything is read and written, the gradient too.

cdef void stream_stages_prepare(real** buffers, const double* scalars, Py_ssize_t n, double* sums) noexcept nogil:
    sums[0] = sums[1] = added_up(<const real*>buffers[1], n)


cdef void stream_stages(real** buffers, const double* scalars, Py_ssize_t n) noexcept nogil:
    cdef real *restrict p = buffers[0]
    cdef real *restrict g = buffers[1]
    cdef real *restrict x = buffers[2]
    cdef real *restrict y = buffers[3]
    cdef real *restrict z = buffers[4]
    cdef real s = <real>scalars[0]
    cdef Py_ssize_t i
    for i in range(n):
        p[i] = p[i] + s
        g[i] = g[i] + s
        x[i] = x[i] + s
        y[i] = y[i] + s
        z[i] = z[i] + s


cdef tuple pointers(void* float32, void* float64):
    # The engine asks for a capsule by its name, so that a kernel can never meet buffers of the other type.
    return (PyCapsule_New(float32, "fastopt float32 kernel", NULL), PyCapsule_New(float64, "fastopt float64 kernel", NULL))


cdef tuple kernel(void* float32, void* float64, int buffers, int scalars):
    return (*pointers(float32, float64), buffers, scalars)


# For each kernel its pointers for float32 and float64, and how many buffers and scalars it takes.
KERNELS = {
    "sgd": kernel(<void*>sgd[float], <void*>sgd[double], 2, 4),
    "sgd_momentum": kernel(<void*>sgd_momentum[float], <void*>sgd_momentum[double], 3, 6),
    "sgd_nesterov": kernel(<void*>sgd_nesterov[float], <void*>sgd_nesterov[double], 3, 7),
    "adagrad": kernel(<void*>adagrad[float], <void*>adagrad[double], 3, 6),
    "adadelta": kernel(<void*>adadelta[float], <void*>adadelta[double], 4, 7),
    "rmsprop": kernel(<void*>rmsprop[float], <void*>rmsprop[double], 3, 8),
    "rmsprop_centered": kernel(<void*>rmsprop_centered[float], <void*>rmsprop_centered[double], 4, 8),
    "rmsprop_momentum": kernel(<void*>rmsprop_momentum[float], <void*>rmsprop_momentum[double], 4, 10),
    "rmsprop_centered_momentum": kernel(
        <void*>rmsprop_centered_momentum[float], <void*>rmsprop_centered_momentum[double], 5, 10
    ),
    "adam": kernel(<void*>adam[float], <void*>adam[double], 4, 11),
    "amsgrad": kernel(<void*>amsgrad[float], <void*>amsgrad[double], 5, 11),
    "lamb": kernel(<void*>lamb[float], <void*>lamb[double], 4, 13),
    "lars": kernel(<void*>lars[float], <void*>lars[double], 3, 6),
    "stream0": kernel(<void*>stream0[float], <void*>stream0[double], 2, 3),
    "stream1": kernel(<void*>stream1[float], <void*>stream1[double], 3, 3),
    "stream2": kernel(<void*>stream2[float], <void*>stream2[double], 4, 3),
    "stream3": kernel(<void*>stream3[float], <void*>stream3[double], 5, 3),
    "stream_lamb": kernel(<void*>stream_lamb[float], <void*>stream_lamb[double], 4, 3),
    "stream_lars": kernel(<void*>stream1[float], <void*>stream1[double], 3, 3),
    "stream_stages": kernel(<void*>stream_stages[float], <void*>stream_stages[double], 5, 3),
}

# What kernels that need norms do before, and the stages.
PREPARE = {
    "lamb": pointers(<void*>lamb_prepare[float], <void*>lamb_prepare[double]),
    "lars": pointers(<void*>lars_prepare[float], <void*>lars_prepare[double]),
    "stream_lamb": pointers(<void*>stream_lamb_prepare[float], <void*>stream_lamb_prepare[double]),
    "stream_lars": pointers(<void*>stream_lars_prepare[float], <void*>stream_lars_prepare[double]),
    "stream_stages": pointers(<void*>stream_stages_prepare[float], <void*>stream_stages_prepare[double]),
}
STAGES = {
    "squares": pointers(<void*>squares[float], <void*>squares[double]),
    "gather": pointers(<void*>gather[float], <void*>gather[double]),
    "clip": pointers(<void*>clip[float], <void*>clip[double]),
    "average": pointers(<void*>average[float], <void*>average[double]),
    "swap": pointers(<void*>swap[float], <void*>swap[double]),
}
