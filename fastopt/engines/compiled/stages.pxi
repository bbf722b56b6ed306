# The loops of the stages: what surrounds a rule, on the same chunk, whatever the rule is. Their twins in NumPy are in
# fastopt/engines/numpy.py.

cdef void sum_of_squares(real** buffers, const double* numbers, Py_ssize_t n, double* sums) noexcept nogil:
    cdef double lanes[LANES]
    cdef Py_ssize_t start = 0, width = clear(lanes, n)
    while start + LANES <= n:
        add_squares(<const real*>buffers[0] + start, lanes, LANES)
        start += LANES
    add_squares(<const real*>buffers[0] + start, lanes, n - start)
    sums[0] = folded(lanes, width)


cdef inline void accumulate_loop(real *restrict sum, const real *restrict g, real scale, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        sum[i] = sum[i] + scale * g[i]


cdef void accumulate(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    accumulate_loop(buffers[0], buffers[1], <real>numbers[0], n)


cdef inline void clip_loop(
    real *restrict out, const real *restrict g, real scale, real bound, Py_ssize_t n
) noexcept nogil:
    cdef real x
    cdef Py_ssize_t i
    for i in range(n):
        # In this order a NaN stays one.
        x = scale * g[i]
        x = bound if bound < x else x
        out[i] = -bound if -bound > x else x


cdef void clip(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    clip_loop(buffers[0], buffers[1], <real>numbers[0], <real>numbers[1], n)


cdef inline void ema_loop(
    real *restrict ema, const real *restrict p, real decay, real decay_rest, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        ema[i] = decay * ema[i] + decay_rest * p[i]


cdef void update_ema(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    ema_loop(buffers[0], buffers[1], <real>numbers[0], <real>numbers[1], n)


cdef inline void swap_loop(real *restrict x, real *restrict y, Py_ssize_t n) noexcept nogil:
    cdef real z
    cdef Py_ssize_t i
    for i in range(n):
        z = x[i]
        x[i] = y[i]
        y[i] = z


cdef void swap(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    swap_loop(buffers[0], buffers[1], n)


STAGES = {
    "sum_of_squares": reductions(<void*>sum_of_squares[float], <void*>sum_of_squares[double]),
    "accumulate": kernels(<void*>accumulate[float], <void*>accumulate[double]),
    "clip": kernels(<void*>clip[float], <void*>clip[double]),
    "update_ema": kernels(<void*>update_ema[float], <void*>update_ema[double]),
    "swap": kernels(<void*>swap[float], <void*>swap[double]),
}
