# The loops and numbers of formulas, made of their text by the translator. For those in fastopt/rules that is done by
# `python -m fastopt.rules.translate`: change those, and run it. A test fails when rules.pxi is stale.
#
# A loop takes its arrays as `restrict` parameters, for on local names compilers ignore that; the function behind it has
# the signature that the engine calls. Numbers come in double precision, and are rounded once, to the arrays' type.


# fastopt.rules.sgd.sgd

# momentum, velocity, nesterov
cdef inline void sgd_momentum_velocity_nesterov_loop(
    real *restrict p, const real *restrict g, real *restrict b, real s, real l2, real keep, real mu, real lr,
    Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        b[i] = mu * b[i] + lr * d
        p[i] = keep * p[i] - (mu * b[i] + lr * d)


cdef void sgd_momentum_velocity_nesterov(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    sgd_momentum_velocity_nesterov_loop(
        buffers[0], buffers[1], buffers[2], <real>numbers[0], <real>numbers[1], <real>numbers[2], <real>numbers[3],
        <real>numbers[4], n
    )


# momentum, velocity, not nesterov
cdef inline void sgd_momentum_velocity_loop(
    real *restrict p, const real *restrict g, real *restrict b, real s, real l2, real keep, real mu, real lr,
    Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        b[i] = mu * b[i] + lr * d
        p[i] = keep * p[i] - b[i]


cdef void sgd_momentum_velocity(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    sgd_momentum_velocity_loop(
        buffers[0], buffers[1], buffers[2], <real>numbers[0], <real>numbers[1], <real>numbers[2], <real>numbers[3],
        <real>numbers[4], n
    )


# momentum, not velocity, ema
cdef inline void sgd_momentum_ema_loop(
    real *restrict p, const real *restrict g, real *restrict b, real s, real l2, real keep, real mu, real one_minus_mu,
    real lr, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        b[i] = mu * b[i] + one_minus_mu * d
        p[i] = keep * p[i] - lr * b[i]


cdef void sgd_momentum_ema(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    sgd_momentum_ema_loop(
        buffers[0], buffers[1], buffers[2], <real>numbers[0], <real>numbers[1], <real>numbers[2], <real>numbers[3],
        <real>numbers[4], <real>numbers[5], n
    )


# momentum, not velocity, not ema, t == 1.0, nesterov
cdef inline void sgd_momentum_t_is_one_nesterov_loop(
    real *restrict p, const real *restrict g, real *restrict b, real s, real l2, real keep, real mu, real lr,
    Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        b[i] = d
        p[i] = keep * p[i] - lr * (d + mu * b[i])


cdef void sgd_momentum_t_is_one_nesterov(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    sgd_momentum_t_is_one_nesterov_loop(
        buffers[0], buffers[1], buffers[2], <real>numbers[0], <real>numbers[1], <real>numbers[2], <real>numbers[3],
        <real>numbers[4], n
    )


# momentum, not velocity, not ema, t == 1.0, not nesterov
cdef inline void sgd_momentum_t_is_one_loop(
    real *restrict p, const real *restrict g, real *restrict b, real s, real l2, real keep, real lr, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        b[i] = d
        p[i] = keep * p[i] - lr * b[i]


cdef void sgd_momentum_t_is_one(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    sgd_momentum_t_is_one_loop(
        buffers[0], buffers[1], buffers[2], <real>numbers[0], <real>numbers[1], <real>numbers[2], <real>numbers[3], n
    )


# momentum, not velocity, not ema, not t == 1.0, nesterov
cdef inline void sgd_momentum_nesterov_loop(
    real *restrict p, const real *restrict g, real *restrict b, real s, real l2, real keep, real mu,
    real one_minus_dampening, real lr, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        b[i] = mu * b[i] + one_minus_dampening * d
        p[i] = keep * p[i] - lr * (d + mu * b[i])


cdef void sgd_momentum_nesterov(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    sgd_momentum_nesterov_loop(
        buffers[0], buffers[1], buffers[2], <real>numbers[0], <real>numbers[1], <real>numbers[2], <real>numbers[3],
        <real>numbers[4], <real>numbers[5], n
    )


# momentum, not velocity, not ema, not t == 1.0, not nesterov
cdef inline void sgd_momentum_loop(
    real *restrict p, const real *restrict g, real *restrict b, real s, real l2, real keep, real mu,
    real one_minus_dampening, real lr, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        b[i] = mu * b[i] + one_minus_dampening * d
        p[i] = keep * p[i] - lr * b[i]


cdef void sgd_momentum(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    sgd_momentum_loop(
        buffers[0], buffers[1], buffers[2], <real>numbers[0], <real>numbers[1], <real>numbers[2], <real>numbers[3],
        <real>numbers[4], <real>numbers[5], n
    )


# not momentum
cdef inline void sgd_loop(
    real *restrict p, const real *restrict g, real s, real l2, real keep, real lr, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        p[i] = keep * p[i] - lr * d


cdef void sgd(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    sgd_loop(buffers[0], buffers[1], <real>numbers[0], <real>numbers[1], <real>numbers[2], <real>numbers[3], n)


cdef int sgd_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double lr = inputs[0]
    cdef double t = inputs[1]
    cdef double mu = inputs[2]
    cdef double dampening = inputs[3]
    cdef double momentum = inputs[4]
    cdef double nesterov = inputs[5]
    cdef double velocity = inputs[6]
    cdef double ema = inputs[7]
    if momentum:
        if velocity:
            if nesterov:
                numbers[3] = mu
                numbers[4] = lr
                return 0
            numbers[3] = mu
            numbers[4] = lr
            return 1
        if ema:
            numbers[3] = mu
            numbers[4] = 1.0 - mu
            numbers[5] = lr
            return 2
        if t == 1.0:
            if nesterov:
                numbers[3] = mu
                numbers[4] = lr
                return 3
            numbers[3] = lr
            return 4
        if nesterov:
            numbers[3] = mu
            numbers[4] = 1.0 - dampening
            numbers[5] = lr
            return 5
        numbers[3] = mu
        numbers[4] = 1.0 - dampening
        numbers[5] = lr
        return 6
    numbers[3] = lr
    return 7


FORMULAS["fastopt.rules.sgd.sgd"] = formula_entry(
    <void*>sgd_numbers,
    "b",
    "lr t mu dampening momentum nesterov velocity ema",
    (
        loop_entry(
            <void*>sgd_momentum_velocity_nesterov[float], <void*>sgd_momentum_velocity_nesterov[double], NULL, NULL,
            NULL, 0b1, 5, 5, 0, ()
        ),
        loop_entry(
            <void*>sgd_momentum_velocity[float], <void*>sgd_momentum_velocity[double], NULL, NULL, NULL, 0b1, 5, 5, 0,
            ()
        ),
        loop_entry(<void*>sgd_momentum_ema[float], <void*>sgd_momentum_ema[double], NULL, NULL, NULL, 0b1, 6, 6, 0, ()),
        loop_entry(
            <void*>sgd_momentum_t_is_one_nesterov[float], <void*>sgd_momentum_t_is_one_nesterov[double], NULL, NULL,
            NULL, 0b1, 5, 5, 0, ()
        ),
        loop_entry(
            <void*>sgd_momentum_t_is_one[float], <void*>sgd_momentum_t_is_one[double], NULL, NULL, NULL, 0b1, 4, 4, 0,
            ()
        ),
        loop_entry(
            <void*>sgd_momentum_nesterov[float], <void*>sgd_momentum_nesterov[double], NULL, NULL, NULL, 0b1, 6, 6, 0,
            ()
        ),
        loop_entry(<void*>sgd_momentum[float], <void*>sgd_momentum[double], NULL, NULL, NULL, 0b1, 6, 6, 0, ()),
        loop_entry(<void*>sgd[float], <void*>sgd[double], NULL, NULL, NULL, 0b0, 4, 4, 0, ()),
    ),
)


# fastopt.rules.adagrad.adagrad

cdef inline void adagrad_loop(
    real *restrict p, const real *restrict g, real *restrict sum, real s, real l2, real keep, real clr, real eps_root,
    real eps, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        sum[i] = sum[i] + d * d
        p[i] = keep * p[i] - clr * d / (sqrt(sum[i] + eps_root) + eps)


cdef void adagrad(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    adagrad_loop(
        buffers[0], buffers[1], buffers[2], <real>numbers[0], <real>numbers[1], <real>numbers[2], <real>numbers[3],
        <real>numbers[4], <real>numbers[5], n
    )


cdef int adagrad_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double lr = inputs[0]
    cdef double t = inputs[1]
    cdef double lr_decay = inputs[2]
    cdef double eps_root = inputs[3]
    cdef double eps = inputs[4]
    cdef double clr
    clr = lr / (1.0 + (t - 1.0) * lr_decay)
    numbers[3] = clr
    numbers[4] = eps_root
    numbers[5] = eps
    return 0


FORMULAS["fastopt.rules.adagrad.adagrad"] = formula_entry(
    <void*>adagrad_numbers,
    "sum",
    "lr t lr_decay eps_root eps",
    (
        loop_entry(<void*>adagrad[float], <void*>adagrad[double], NULL, NULL, NULL, 0b1, 6, 6, 0, ()),
    ),
)


# fastopt.rules.adagrad.adadelta

cdef inline void adadelta_loop(
    real *restrict p, const real *restrict g, real *restrict q, real *restrict a, real s, real l2, real keep, real rho,
    real one_minus_rho, real eps, real lr, Py_ssize_t n
) noexcept nogil:
    cdef real d, x
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        q[i] = rho * q[i] + one_minus_rho * (d * d)
        x = sqrt((a[i] + eps) / (q[i] + eps)) * d
        a[i] = rho * a[i] + one_minus_rho * (x * x)
        p[i] = keep * p[i] - lr * x


cdef void adadelta(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    adadelta_loop(
        buffers[0], buffers[1], buffers[2], buffers[3], <real>numbers[0], <real>numbers[1], <real>numbers[2],
        <real>numbers[3], <real>numbers[4], <real>numbers[5], <real>numbers[6], n
    )


cdef int adadelta_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double lr = inputs[0]
    cdef double rho = inputs[1]
    cdef double eps = inputs[2]
    numbers[3] = rho
    numbers[4] = 1.0 - rho
    numbers[5] = eps
    numbers[6] = lr
    return 0


FORMULAS["fastopt.rules.adagrad.adadelta"] = formula_entry(
    <void*>adadelta_numbers,
    "q a",
    "lr rho eps",
    (
        loop_entry(<void*>adadelta[float], <void*>adadelta[double], NULL, NULL, NULL, 0b11, 7, 7, 0, ()),
    ),
)


# fastopt.rules.adagrad.rmsprop

# centered, momentum, velocity
cdef inline void rmsprop_centered_momentum_velocity_loop(
    real *restrict p, const real *restrict g, real *restrict q, real *restrict a, real *restrict b, real s, real l2,
    real keep, real alpha, real one_minus_alpha, real eps_root, real eps, real mu, real lr, Py_ssize_t n
) noexcept nogil:
    cdef real d, w, r
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        q[i] = alpha * q[i] + one_minus_alpha * (d * d)
        a[i] = alpha * a[i] + one_minus_alpha * d
        w = larger(<real>0.0, q[i] - a[i] * a[i])
        r = d / (sqrt(w + eps_root) + eps)
        b[i] = mu * b[i] + lr * r
        p[i] = keep * p[i] - b[i]


cdef void rmsprop_centered_momentum_velocity(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    rmsprop_centered_momentum_velocity_loop(
        buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], <real>numbers[0], <real>numbers[1],
        <real>numbers[2], <real>numbers[3], <real>numbers[4], <real>numbers[5], <real>numbers[6], <real>numbers[7],
        <real>numbers[8], n
    )


# centered, momentum, not velocity
cdef inline void rmsprop_centered_momentum_loop(
    real *restrict p, const real *restrict g, real *restrict q, real *restrict a, real *restrict b, real s, real l2,
    real keep, real alpha, real one_minus_alpha, real eps_root, real eps, real mu, real lr, Py_ssize_t n
) noexcept nogil:
    cdef real d, w, r
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        q[i] = alpha * q[i] + one_minus_alpha * (d * d)
        a[i] = alpha * a[i] + one_minus_alpha * d
        w = larger(<real>0.0, q[i] - a[i] * a[i])
        r = d / (sqrt(w + eps_root) + eps)
        b[i] = mu * b[i] + r
        p[i] = keep * p[i] - lr * b[i]


cdef void rmsprop_centered_momentum(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    rmsprop_centered_momentum_loop(
        buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], <real>numbers[0], <real>numbers[1],
        <real>numbers[2], <real>numbers[3], <real>numbers[4], <real>numbers[5], <real>numbers[6], <real>numbers[7],
        <real>numbers[8], n
    )


# centered, not momentum
cdef inline void rmsprop_centered_loop(
    real *restrict p, const real *restrict g, real *restrict q, real *restrict a, real s, real l2, real keep,
    real alpha, real one_minus_alpha, real eps_root, real eps, real lr, Py_ssize_t n
) noexcept nogil:
    cdef real d, w, r
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        q[i] = alpha * q[i] + one_minus_alpha * (d * d)
        a[i] = alpha * a[i] + one_minus_alpha * d
        w = larger(<real>0.0, q[i] - a[i] * a[i])
        r = d / (sqrt(w + eps_root) + eps)
        p[i] = keep * p[i] - lr * r


cdef void rmsprop_centered(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    rmsprop_centered_loop(
        buffers[0], buffers[1], buffers[2], buffers[3], <real>numbers[0], <real>numbers[1], <real>numbers[2],
        <real>numbers[3], <real>numbers[4], <real>numbers[5], <real>numbers[6], <real>numbers[7], n
    )


# not centered, momentum, velocity
cdef inline void rmsprop_momentum_velocity_loop(
    real *restrict p, const real *restrict g, real *restrict q, real *restrict b, real s, real l2, real keep,
    real alpha, real one_minus_alpha, real eps_root, real eps, real mu, real lr, Py_ssize_t n
) noexcept nogil:
    cdef real d, r
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        q[i] = alpha * q[i] + one_minus_alpha * (d * d)
        r = d / (sqrt(q[i] + eps_root) + eps)
        b[i] = mu * b[i] + lr * r
        p[i] = keep * p[i] - b[i]


cdef void rmsprop_momentum_velocity(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    rmsprop_momentum_velocity_loop(
        buffers[0], buffers[1], buffers[2], buffers[4], <real>numbers[0], <real>numbers[1], <real>numbers[2],
        <real>numbers[3], <real>numbers[4], <real>numbers[5], <real>numbers[6], <real>numbers[7], <real>numbers[8], n
    )


# not centered, momentum, not velocity
cdef inline void rmsprop_momentum_loop(
    real *restrict p, const real *restrict g, real *restrict q, real *restrict b, real s, real l2, real keep,
    real alpha, real one_minus_alpha, real eps_root, real eps, real mu, real lr, Py_ssize_t n
) noexcept nogil:
    cdef real d, r
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        q[i] = alpha * q[i] + one_minus_alpha * (d * d)
        r = d / (sqrt(q[i] + eps_root) + eps)
        b[i] = mu * b[i] + r
        p[i] = keep * p[i] - lr * b[i]


cdef void rmsprop_momentum(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    rmsprop_momentum_loop(
        buffers[0], buffers[1], buffers[2], buffers[4], <real>numbers[0], <real>numbers[1], <real>numbers[2],
        <real>numbers[3], <real>numbers[4], <real>numbers[5], <real>numbers[6], <real>numbers[7], <real>numbers[8], n
    )


# not centered, not momentum
cdef inline void rmsprop_loop(
    real *restrict p, const real *restrict g, real *restrict q, real s, real l2, real keep, real alpha,
    real one_minus_alpha, real eps_root, real eps, real lr, Py_ssize_t n
) noexcept nogil:
    cdef real d, r
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        q[i] = alpha * q[i] + one_minus_alpha * (d * d)
        r = d / (sqrt(q[i] + eps_root) + eps)
        p[i] = keep * p[i] - lr * r


cdef void rmsprop(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    rmsprop_loop(
        buffers[0], buffers[1], buffers[2], <real>numbers[0], <real>numbers[1], <real>numbers[2], <real>numbers[3],
        <real>numbers[4], <real>numbers[5], <real>numbers[6], <real>numbers[7], n
    )


cdef int rmsprop_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double lr = inputs[0]
    cdef double alpha = inputs[1]
    cdef double mu = inputs[2]
    cdef double eps_root = inputs[3]
    cdef double eps = inputs[4]
    cdef double centered = inputs[5]
    cdef double momentum = inputs[6]
    cdef double velocity = inputs[7]
    if centered:
        if momentum:
            if velocity:
                numbers[3] = alpha
                numbers[4] = 1.0 - alpha
                numbers[5] = eps_root
                numbers[6] = eps
                numbers[7] = mu
                numbers[8] = lr
                return 0
            numbers[3] = alpha
            numbers[4] = 1.0 - alpha
            numbers[5] = eps_root
            numbers[6] = eps
            numbers[7] = mu
            numbers[8] = lr
            return 1
        numbers[3] = alpha
        numbers[4] = 1.0 - alpha
        numbers[5] = eps_root
        numbers[6] = eps
        numbers[7] = lr
        return 2
    if momentum:
        if velocity:
            numbers[3] = alpha
            numbers[4] = 1.0 - alpha
            numbers[5] = eps_root
            numbers[6] = eps
            numbers[7] = mu
            numbers[8] = lr
            return 3
        numbers[3] = alpha
        numbers[4] = 1.0 - alpha
        numbers[5] = eps_root
        numbers[6] = eps
        numbers[7] = mu
        numbers[8] = lr
        return 4
    numbers[3] = alpha
    numbers[4] = 1.0 - alpha
    numbers[5] = eps_root
    numbers[6] = eps
    numbers[7] = lr
    return 5


FORMULAS["fastopt.rules.adagrad.rmsprop"] = formula_entry(
    <void*>rmsprop_numbers,
    "q a b",
    "lr alpha mu eps_root eps centered momentum velocity",
    (
        loop_entry(
            <void*>rmsprop_centered_momentum_velocity[float], <void*>rmsprop_centered_momentum_velocity[double], NULL,
            NULL, NULL, 0b111, 9, 9, 0, ()
        ),
        loop_entry(
            <void*>rmsprop_centered_momentum[float], <void*>rmsprop_centered_momentum[double], NULL, NULL, NULL, 0b111,
            9, 9, 0, ()
        ),
        loop_entry(
            <void*>rmsprop_centered[float], <void*>rmsprop_centered[double], NULL, NULL, NULL, 0b11, 8, 8, 0, ()
        ),
        loop_entry(
            <void*>rmsprop_momentum_velocity[float], <void*>rmsprop_momentum_velocity[double], NULL, NULL, NULL, 0b101,
            9, 9, 0, ()
        ),
        loop_entry(
            <void*>rmsprop_momentum[float], <void*>rmsprop_momentum[double], NULL, NULL, NULL, 0b101, 9, 9, 0, ()
        ),
        loop_entry(<void*>rmsprop[float], <void*>rmsprop[double], NULL, NULL, NULL, 0b1, 8, 8, 0, ()),
    ),
)


# fastopt.rules.adam.adam

# amsgrad
cdef inline void adam_amsgrad_loop(
    real *restrict p, const real *restrict g, real *restrict m, real *restrict v, real *restrict h, real s, real l2,
    real keep, real beta1, real one_minus_beta1, real beta2, real one_minus_beta2, real size, real scale, real eps_root,
    real eps, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        m[i] = beta1 * m[i] + one_minus_beta1 * d
        v[i] = beta2 * v[i] + one_minus_beta2 * (d * d)
        h[i] = larger(h[i], v[i])
        p[i] = keep * p[i] - size * m[i] / (sqrt(scale * h[i] + eps_root) + eps)


cdef void adam_amsgrad(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    adam_amsgrad_loop(
        buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], <real>numbers[0], <real>numbers[1],
        <real>numbers[2], <real>numbers[3], <real>numbers[4], <real>numbers[5], <real>numbers[6], <real>numbers[7],
        <real>numbers[8], <real>numbers[9], <real>numbers[10], n
    )


# not amsgrad
cdef inline void adam_loop(
    real *restrict p, const real *restrict g, real *restrict m, real *restrict v, real s, real l2, real keep,
    real beta1, real one_minus_beta1, real beta2, real one_minus_beta2, real size, real scale, real eps_root, real eps,
    Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        m[i] = beta1 * m[i] + one_minus_beta1 * d
        v[i] = beta2 * v[i] + one_minus_beta2 * (d * d)
        p[i] = keep * p[i] - size * m[i] / (sqrt(scale * v[i] + eps_root) + eps)


cdef void adam(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    adam_loop(
        buffers[0], buffers[1], buffers[2], buffers[3], <real>numbers[0], <real>numbers[1], <real>numbers[2],
        <real>numbers[3], <real>numbers[4], <real>numbers[5], <real>numbers[6], <real>numbers[7], <real>numbers[8],
        <real>numbers[9], <real>numbers[10], n
    )


cdef int adam_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double lr = inputs[0]
    cdef double t = inputs[1]
    cdef double beta1 = inputs[2]
    cdef double beta2 = inputs[3]
    cdef double eps_root = inputs[4]
    cdef double eps = inputs[5]
    cdef double bias_correction = inputs[6]
    cdef double uncorrected = inputs[7]
    cdef double amsgrad = inputs[8]
    cdef double c1, c2, size, scale
    if amsgrad:
        c1 = 1.0 - power(beta1, t) if bias_correction != 0.0 else 1.0
        c2 = 1.0 - power(beta2, t) if bias_correction != 0.0 else 1.0
        size = lr * sqrt(c2) / c1 if uncorrected != 0.0 else lr / c1
        scale = 1.0 if uncorrected != 0.0 else 1.0 / c2
        numbers[3] = beta1
        numbers[4] = 1.0 - beta1
        numbers[5] = beta2
        numbers[6] = 1.0 - beta2
        numbers[7] = size
        numbers[8] = scale
        numbers[9] = eps_root
        numbers[10] = eps
        return 0
    c1 = 1.0 - power(beta1, t) if bias_correction != 0.0 else 1.0
    c2 = 1.0 - power(beta2, t) if bias_correction != 0.0 else 1.0
    size = lr * sqrt(c2) / c1 if uncorrected != 0.0 else lr / c1
    scale = 1.0 if uncorrected != 0.0 else 1.0 / c2
    numbers[3] = beta1
    numbers[4] = 1.0 - beta1
    numbers[5] = beta2
    numbers[6] = 1.0 - beta2
    numbers[7] = size
    numbers[8] = scale
    numbers[9] = eps_root
    numbers[10] = eps
    return 1


FORMULAS["fastopt.rules.adam.adam"] = formula_entry(
    <void*>adam_numbers,
    "m v h",
    "lr t beta1 beta2 eps_root eps bias_correction uncorrected amsgrad",
    (
        loop_entry(<void*>adam_amsgrad[float], <void*>adam_amsgrad[double], NULL, NULL, NULL, 0b111, 11, 11, 0, ()),
        loop_entry(<void*>adam[float], <void*>adam[double], NULL, NULL, NULL, 0b11, 11, 11, 0, ()),
    ),
)


# fastopt.rules.layerwise.lamb

cdef inline void lamb_row(
    const real *restrict p, const real *restrict g, real *restrict m, real *restrict v, double *restrict lanes0,
    double *restrict lanes1, real s, real l2, real beta1, real one_minus_beta1, real beta2, real one_minus_beta2,
    real one_over_c1, real one_over_c2, real eps, real weight_decay, Py_ssize_t n
) noexcept nogil:
    cdef real d, u, term1a[LANES]
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        m[i] = beta1 * m[i] + one_minus_beta1 * d
        v[i] = beta2 * v[i] + one_minus_beta2 * (d * d)
        u = one_over_c1 * m[i] / (sqrt(one_over_c2 * v[i]) + eps) + weight_decay * p[i]
        term1a[i] = u
    add_squares(<const real*>p, lanes0, n)
    add_squares(<const real*>term1a, lanes1, n)


cdef void lamb_sums(real** buffers, const double* numbers, Py_ssize_t n, double* sums) noexcept nogil:
    cdef double lanes0[LANES]
    cdef double lanes1[LANES]
    cdef Py_ssize_t start = 0, width = 0
    width = clear(lanes0, n)
    width = clear(lanes1, n)
    while start + LANES <= n:
        lamb_row(
            buffers[0] + start, buffers[1] + start, buffers[2] + start, buffers[3] + start, lanes0, lanes1,
            <real>numbers[0], <real>numbers[1], <real>numbers[3], <real>numbers[4], <real>numbers[5], <real>numbers[6],
            <real>numbers[7], <real>numbers[8], <real>numbers[9], <real>numbers[10], LANES
        )
        start += LANES
    lamb_row(
        buffers[0] + start, buffers[1] + start, buffers[2] + start, buffers[3] + start, lanes0, lanes1,
        <real>numbers[0], <real>numbers[1], <real>numbers[3], <real>numbers[4], <real>numbers[5], <real>numbers[6],
        <real>numbers[7], <real>numbers[8], <real>numbers[9], <real>numbers[10], n - start
    )
    sums[0] = folded(lanes0, width)
    sums[1] = folded(lanes1, width)


cdef inline void lamb_loop(
    real *restrict p, const real *restrict m, const real *restrict v, real keep, real one_over_c1, real one_over_c2,
    real eps, real weight_decay, real lr_times_trust, Py_ssize_t n
) noexcept nogil:
    cdef real u
    cdef Py_ssize_t i
    for i in range(n):
        u = one_over_c1 * m[i] / (sqrt(one_over_c2 * v[i]) + eps) + weight_decay * p[i]
        p[i] = keep * p[i] - lr_times_trust * u


cdef void lamb(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    lamb_loop(
        buffers[0], buffers[2], buffers[3], <real>numbers[2], <real>numbers[7], <real>numbers[8], <real>numbers[9],
        <real>numbers[10], <real>numbers[12], n
    )


cdef int lamb_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double lr = inputs[0]
    cdef double t = inputs[1]
    cdef double beta1 = inputs[2]
    cdef double beta2 = inputs[3]
    cdef double eps = inputs[4]
    cdef double weight_decay = inputs[5]
    cdef double bias_correction = inputs[6]
    cdef double c1, c2
    c1 = 1.0 - power(beta1, t) if bias_correction != 0.0 else 1.0
    c2 = 1.0 - power(beta2, t) if bias_correction != 0.0 else 1.0
    numbers[3] = beta1
    numbers[4] = 1.0 - beta1
    numbers[5] = beta2
    numbers[6] = 1.0 - beta2
    numbers[7] = 1.0 / c1
    numbers[8] = 1.0 / c2
    numbers[9] = eps
    numbers[10] = weight_decay
    numbers[11] = lr
    return 0


cdef void lamb_finish(const double* sums, double* numbers) noexcept nogil:
    cdef double lr = numbers[11]
    cdef double of_p = sqrt(sums[0])
    cdef double of_u = sqrt(sums[1])
    cdef double trust = of_p / of_u if of_p != 0.0 and of_u != 0.0 else 1.0
    numbers[12] = lr * trust


FORMULAS["fastopt.rules.layerwise.lamb"] = formula_entry(
    <void*>lamb_numbers,
    "m v",
    "lr t beta1 beta2 eps weight_decay bias_correction",
    (
        loop_entry(
            <void*>lamb[float], <void*>lamb[double], <void*>lamb_sums[float], <void*>lamb_sums[double],
            <void*>lamb_finish, 0b11, 12, 13, 2, ()
        ),
    ),
)


# fastopt.rules.layerwise.lars

cdef inline void lars_row(
    const real *restrict p, const real *restrict g, double *restrict lanes0, double *restrict lanes1, real s, real l2,
    Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        lanes0[i] = lanes0[i] + wide(p[i]) * wide(p[i])
        lanes1[i] = lanes1[i] + wide(d) * wide(d)


cdef void lars_sums(real** buffers, const double* numbers, Py_ssize_t n, double* sums) noexcept nogil:
    cdef double lanes0[LANES]
    cdef double lanes1[LANES]
    cdef Py_ssize_t start = 0, width = 0
    width = clear(lanes0, n)
    width = clear(lanes1, n)
    while start + LANES <= n:
        lars_row(
            <const real*>buffers[0] + start, <const real*>buffers[1] + start, lanes0, lanes1, <real>numbers[0],
            <real>numbers[1], LANES
        )
        start += LANES
    lars_row(
        <const real*>buffers[0] + start, <const real*>buffers[1] + start, lanes0, lanes1, <real>numbers[0],
        <real>numbers[1], n - start
    )
    sums[0] = folded(lanes0, width)
    sums[1] = folded(lanes1, width)


cdef inline void lars_loop(
    real *restrict p, const real *restrict g, real *restrict b, real s, real l2, real keep, real momentum,
    real lr_times_trust, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        b[i] = momentum * b[i] + lr_times_trust * d
        p[i] = keep * p[i] - b[i]


cdef void lars(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    lars_loop(
        buffers[0], buffers[1], buffers[2], <real>numbers[0], <real>numbers[1], <real>numbers[2], <real>numbers[3],
        <real>numbers[6], n
    )


cdef int lars_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double lr = inputs[0]
    cdef double momentum = inputs[1]
    cdef double trust_coefficient = inputs[2]
    numbers[3] = momentum
    numbers[4] = trust_coefficient
    numbers[5] = lr
    return 0


cdef void lars_finish(const double* sums, double* numbers) noexcept nogil:
    cdef double trust_coefficient = numbers[4]
    cdef double lr = numbers[5]
    cdef double of_p = sqrt(sums[0])
    cdef double of_d = sqrt(sums[1])
    cdef double trust = trust_coefficient * (of_p / of_d) if of_p != 0.0 and of_d != 0.0 else 1.0
    numbers[6] = lr * trust


FORMULAS["fastopt.rules.layerwise.lars"] = formula_entry(
    <void*>lars_numbers,
    "b",
    "lr momentum trust_coefficient",
    (
        loop_entry(
            <void*>lars[float], <void*>lars[double], <void*>lars_sums[float], <void*>lars_sums[double],
            <void*>lars_finish, 0b1, 6, 7, 2, ()
        ),
    ),
)


# fastopt.rules.lion.lion

cdef inline void lion_loop(
    real *restrict p, const real *restrict g, real *restrict m, real s, real l2, real keep, real beta1,
    real one_minus_beta1, real beta2, real one_minus_beta2, real lr, Py_ssize_t n
) noexcept nogil:
    cdef real d, u
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        u = sign(beta1 * m[i] + one_minus_beta1 * d)
        m[i] = beta2 * m[i] + one_minus_beta2 * d
        p[i] = keep * p[i] - lr * u


cdef void lion(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    lion_loop(
        buffers[0], buffers[1], buffers[2], <real>numbers[0], <real>numbers[1], <real>numbers[2], <real>numbers[3],
        <real>numbers[4], <real>numbers[5], <real>numbers[6], <real>numbers[7], n
    )


cdef int lion_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double lr = inputs[0]
    cdef double beta1 = inputs[1]
    cdef double beta2 = inputs[2]
    numbers[3] = beta1
    numbers[4] = 1.0 - beta1
    numbers[5] = beta2
    numbers[6] = 1.0 - beta2
    numbers[7] = lr
    return 0


FORMULAS["fastopt.rules.lion.lion"] = formula_entry(
    <void*>lion_numbers,
    "m",
    "lr beta1 beta2",
    (
        loop_entry(<void*>lion[float], <void*>lion[double], NULL, NULL, NULL, 0b1, 8, 8, 0, ()),
    ),
)


# fastopt.rules.adan.adan

# t > 1.0
cdef inline void adan_t_above_one_loop(
    real *restrict p, const real *restrict g, real *restrict m, real *restrict v, real *restrict q,
    real *restrict before, real s, real l2, real keep, real beta1, real one_minus_beta1, real beta2,
    real one_minus_beta2, real beta3, real one_minus_beta3, real lr_over_c1, real lr_times_beta2_over_c2,
    real one_over_c3, real eps, Py_ssize_t n
) noexcept nogil:
    cdef real d, x, u
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        x = d - before[i]
        m[i] = beta1 * m[i] + one_minus_beta1 * d
        v[i] = beta2 * v[i] + one_minus_beta2 * x
        u = d + beta2 * x
        q[i] = beta3 * q[i] + one_minus_beta3 * (u * u)
        before[i] = d
        p[i] = keep * p[i] - (lr_over_c1 * m[i] + lr_times_beta2_over_c2 * v[i]) / (sqrt(one_over_c3 * q[i]) + eps)


cdef void adan_t_above_one(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    adan_t_above_one_loop(
        buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], buffers[5], <real>numbers[0], <real>numbers[1],
        <real>numbers[2], <real>numbers[3], <real>numbers[4], <real>numbers[5], <real>numbers[6], <real>numbers[7],
        <real>numbers[8], <real>numbers[9], <real>numbers[10], <real>numbers[11], <real>numbers[12], n
    )


# not t > 1.0
cdef inline void adan_loop(
    real *restrict p, const real *restrict g, real *restrict m, real *restrict v, real *restrict q,
    real *restrict before, real s, real l2, real keep, real beta1, real one_minus_beta1, real beta2,
    real one_minus_beta2_times_zero, real beta2_times_zero, real beta3, real one_minus_beta3, real lr_over_c1,
    real lr_times_beta2_over_c2, real one_over_c3, real eps, Py_ssize_t n
) noexcept nogil:
    cdef real d, u
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        m[i] = beta1 * m[i] + one_minus_beta1 * d
        v[i] = beta2 * v[i] + one_minus_beta2_times_zero
        u = d + beta2_times_zero
        q[i] = beta3 * q[i] + one_minus_beta3 * (u * u)
        before[i] = d
        p[i] = keep * p[i] - (lr_over_c1 * m[i] + lr_times_beta2_over_c2 * v[i]) / (sqrt(one_over_c3 * q[i]) + eps)


cdef void adan(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    adan_loop(
        buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], buffers[5], <real>numbers[0], <real>numbers[1],
        <real>numbers[2], <real>numbers[3], <real>numbers[4], <real>numbers[5], <real>numbers[6], <real>numbers[7],
        <real>numbers[8], <real>numbers[9], <real>numbers[10], <real>numbers[11], <real>numbers[12], <real>numbers[13],
        n
    )


cdef int adan_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double lr = inputs[0]
    cdef double t = inputs[1]
    cdef double beta1 = inputs[2]
    cdef double beta2 = inputs[3]
    cdef double beta3 = inputs[4]
    cdef double eps = inputs[5]
    cdef double c1, c2, c3
    if t > 1.0:
        c1 = 1.0 - power(beta1, t)
        c2 = 1.0 - power(beta2, t)
        c3 = 1.0 - power(beta3, t)
        numbers[3] = beta1
        numbers[4] = 1.0 - beta1
        numbers[5] = beta2
        numbers[6] = 1.0 - beta2
        numbers[7] = beta3
        numbers[8] = 1.0 - beta3
        numbers[9] = lr / c1
        numbers[10] = lr * beta2 / c2
        numbers[11] = 1.0 / c3
        numbers[12] = eps
        return 0
    c1 = 1.0 - power(beta1, t)
    c2 = 1.0 - power(beta2, t)
    c3 = 1.0 - power(beta3, t)
    numbers[3] = beta1
    numbers[4] = 1.0 - beta1
    numbers[5] = beta2
    numbers[6] = (1.0 - beta2) * 0.0
    numbers[7] = beta2 * 0.0
    numbers[8] = beta3
    numbers[9] = 1.0 - beta3
    numbers[10] = lr / c1
    numbers[11] = lr * beta2 / c2
    numbers[12] = 1.0 / c3
    numbers[13] = eps
    return 1


FORMULAS["fastopt.rules.adan.adan"] = formula_entry(
    <void*>adan_numbers,
    "m v q before",
    "lr t beta1 beta2 beta3 eps",
    (
        loop_entry(
            <void*>adan_t_above_one[float], <void*>adan_t_above_one[double], NULL, NULL, NULL, 0b1111, 13, 13, 0, ()
        ),
        loop_entry(<void*>adan[float], <void*>adan[double], NULL, NULL, NULL, 0b1111, 14, 14, 0, ()),
    ),
)


# fastopt.yardsticks.stream0

# rooted
cdef inline void stream0_rooted_loop(
    real *restrict p, const real *restrict g, real s, real l2, real keep, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        p[i] = keep * p[i] - d / sqrt(absolute(d) + <real>1.0)


cdef void stream0_rooted(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    stream0_rooted_loop(buffers[0], buffers[1], <real>numbers[0], <real>numbers[1], <real>numbers[2], n)


# not rooted
cdef inline void stream0_loop(
    real *restrict p, const real *restrict g, real s, real l2, real keep, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        p[i] = keep * p[i] - d


cdef void stream0(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    stream0_loop(buffers[0], buffers[1], <real>numbers[0], <real>numbers[1], <real>numbers[2], n)


cdef int stream0_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double rooted = inputs[0]
    if rooted:
        return 0
    return 1


FORMULAS["fastopt.yardsticks.stream0"] = formula_entry(
    <void*>stream0_numbers,
    "",
    "rooted",
    (
        loop_entry(<void*>stream0_rooted[float], <void*>stream0_rooted[double], NULL, NULL, NULL, 0b0, 3, 3, 0, ()),
        loop_entry(<void*>stream0[float], <void*>stream0[double], NULL, NULL, NULL, 0b0, 3, 3, 0, ()),
    ),
)


# fastopt.yardsticks.stream1

# rooted
cdef inline void stream1_rooted_loop(
    real *restrict p, const real *restrict g, real *restrict x0, real s, real l2, real keep, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        x0[i] = x0[i] + d
        p[i] = keep * p[i] - d / sqrt(absolute(d) + <real>1.0)


cdef void stream1_rooted(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    stream1_rooted_loop(buffers[0], buffers[1], buffers[2], <real>numbers[0], <real>numbers[1], <real>numbers[2], n)


# not rooted
cdef inline void stream1_loop(
    real *restrict p, const real *restrict g, real *restrict x0, real s, real l2, real keep, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        x0[i] = x0[i] + d
        p[i] = keep * p[i] - d


cdef void stream1(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    stream1_loop(buffers[0], buffers[1], buffers[2], <real>numbers[0], <real>numbers[1], <real>numbers[2], n)


cdef int stream1_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double rooted = inputs[0]
    if rooted:
        return 0
    return 1


FORMULAS["fastopt.yardsticks.stream1"] = formula_entry(
    <void*>stream1_numbers,
    "x0",
    "rooted",
    (
        loop_entry(<void*>stream1_rooted[float], <void*>stream1_rooted[double], NULL, NULL, NULL, 0b1, 3, 3, 0, ()),
        loop_entry(<void*>stream1[float], <void*>stream1[double], NULL, NULL, NULL, 0b1, 3, 3, 0, ()),
    ),
)


# fastopt.yardsticks.stream2

# rooted
cdef inline void stream2_rooted_loop(
    real *restrict p, const real *restrict g, real *restrict x0, real *restrict x1, real s, real l2, real keep,
    Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        x0[i] = x0[i] + d
        x1[i] = x1[i] + d
        p[i] = keep * p[i] - d / sqrt(absolute(d) + <real>1.0)


cdef void stream2_rooted(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    stream2_rooted_loop(
        buffers[0], buffers[1], buffers[2], buffers[3], <real>numbers[0], <real>numbers[1], <real>numbers[2], n
    )


# not rooted
cdef inline void stream2_loop(
    real *restrict p, const real *restrict g, real *restrict x0, real *restrict x1, real s, real l2, real keep,
    Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        x0[i] = x0[i] + d
        x1[i] = x1[i] + d
        p[i] = keep * p[i] - d


cdef void stream2(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    stream2_loop(
        buffers[0], buffers[1], buffers[2], buffers[3], <real>numbers[0], <real>numbers[1], <real>numbers[2], n
    )


cdef int stream2_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double rooted = inputs[0]
    if rooted:
        return 0
    return 1


FORMULAS["fastopt.yardsticks.stream2"] = formula_entry(
    <void*>stream2_numbers,
    "x0 x1",
    "rooted",
    (
        loop_entry(<void*>stream2_rooted[float], <void*>stream2_rooted[double], NULL, NULL, NULL, 0b11, 3, 3, 0, ()),
        loop_entry(<void*>stream2[float], <void*>stream2[double], NULL, NULL, NULL, 0b11, 3, 3, 0, ()),
    ),
)


# fastopt.yardsticks.stream3

# rooted
cdef inline void stream3_rooted_loop(
    real *restrict p, const real *restrict g, real *restrict x0, real *restrict x1, real *restrict x2, real s, real l2,
    real keep, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        x0[i] = x0[i] + d
        x1[i] = x1[i] + d
        x2[i] = x2[i] + d
        p[i] = keep * p[i] - d / sqrt(absolute(d) + <real>1.0)


cdef void stream3_rooted(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    stream3_rooted_loop(
        buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], <real>numbers[0], <real>numbers[1],
        <real>numbers[2], n
    )


# not rooted
cdef inline void stream3_loop(
    real *restrict p, const real *restrict g, real *restrict x0, real *restrict x1, real *restrict x2, real s, real l2,
    real keep, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        x0[i] = x0[i] + d
        x1[i] = x1[i] + d
        x2[i] = x2[i] + d
        p[i] = keep * p[i] - d


cdef void stream3(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    stream3_loop(
        buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], <real>numbers[0], <real>numbers[1],
        <real>numbers[2], n
    )


cdef int stream3_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double rooted = inputs[0]
    if rooted:
        return 0
    return 1


FORMULAS["fastopt.yardsticks.stream3"] = formula_entry(
    <void*>stream3_numbers,
    "x0 x1 x2",
    "rooted",
    (
        loop_entry(<void*>stream3_rooted[float], <void*>stream3_rooted[double], NULL, NULL, NULL, 0b111, 3, 3, 0, ()),
        loop_entry(<void*>stream3[float], <void*>stream3[double], NULL, NULL, NULL, 0b111, 3, 3, 0, ()),
    ),
)


# fastopt.yardsticks.stream4

# rooted
cdef inline void stream4_rooted_loop(
    real *restrict p, const real *restrict g, real *restrict x0, real *restrict x1, real *restrict x2,
    real *restrict x3, real s, real l2, real keep, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        x0[i] = x0[i] + d
        x1[i] = x1[i] + d
        x2[i] = x2[i] + d
        x3[i] = x3[i] + d
        p[i] = keep * p[i] - d / sqrt(absolute(d) + <real>1.0)


cdef void stream4_rooted(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    stream4_rooted_loop(
        buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], buffers[5], <real>numbers[0], <real>numbers[1],
        <real>numbers[2], n
    )


# not rooted
cdef inline void stream4_loop(
    real *restrict p, const real *restrict g, real *restrict x0, real *restrict x1, real *restrict x2,
    real *restrict x3, real s, real l2, real keep, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        x0[i] = x0[i] + d
        x1[i] = x1[i] + d
        x2[i] = x2[i] + d
        x3[i] = x3[i] + d
        p[i] = keep * p[i] - d


cdef void stream4(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    stream4_loop(
        buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], buffers[5], <real>numbers[0], <real>numbers[1],
        <real>numbers[2], n
    )


cdef int stream4_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double rooted = inputs[0]
    if rooted:
        return 0
    return 1


FORMULAS["fastopt.yardsticks.stream4"] = formula_entry(
    <void*>stream4_numbers,
    "x0 x1 x2 x3",
    "rooted",
    (
        loop_entry(<void*>stream4_rooted[float], <void*>stream4_rooted[double], NULL, NULL, NULL, 0b1111, 3, 3, 0, ()),
        loop_entry(<void*>stream4[float], <void*>stream4[double], NULL, NULL, NULL, 0b1111, 3, 3, 0, ()),
    ),
)


# fastopt.yardsticks.stream_lamb

# rooted
cdef inline void stream_lamb_rooted_row(
    const real *restrict p, const real *restrict g, real *restrict x0, real *restrict x1, double *restrict lanes0,
    double *restrict lanes1, real s, real l2, Py_ssize_t n
) noexcept nogil:
    cdef real d, u, term1a[LANES]
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        x0[i] = x0[i] + d
        x1[i] = x1[i] + d
        u = x0[i] / sqrt(absolute(x1[i]) + <real>1.0)
        term1a[i] = u
    add_elements(<const real*>p, lanes0, n)
    add_elements(<const real*>term1a, lanes1, n)


cdef void stream_lamb_rooted_sums(real** buffers, const double* numbers, Py_ssize_t n, double* sums) noexcept nogil:
    cdef double lanes0[LANES]
    cdef double lanes1[LANES]
    cdef Py_ssize_t start = 0, width = 0
    width = clear(lanes0, n)
    width = clear(lanes1, n)
    while start + LANES <= n:
        stream_lamb_rooted_row(
            buffers[0] + start, buffers[1] + start, buffers[2] + start, buffers[3] + start, lanes0, lanes1,
            <real>numbers[0], <real>numbers[1], LANES
        )
        start += LANES
    stream_lamb_rooted_row(
        buffers[0] + start, buffers[1] + start, buffers[2] + start, buffers[3] + start, lanes0, lanes1,
        <real>numbers[0], <real>numbers[1], n - start
    )
    sums[0] = folded(lanes0, width)
    sums[1] = folded(lanes1, width)


cdef inline void stream_lamb_rooted_loop(
    real *restrict p, const real *restrict x0, const real *restrict x1, real keep, real nothing, Py_ssize_t n
) noexcept nogil:
    cdef real u
    cdef Py_ssize_t i
    for i in range(n):
        u = x0[i] / sqrt(absolute(x1[i]) + <real>1.0)
        p[i] = keep * p[i] - nothing * u


cdef void stream_lamb_rooted(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    stream_lamb_rooted_loop(buffers[0], buffers[2], buffers[3], <real>numbers[2], <real>numbers[3], n)


# not rooted
cdef inline void stream_lamb_row(
    const real *restrict p, const real *restrict g, real *restrict x0, real *restrict x1, double *restrict lanes0,
    double *restrict lanes1, real s, real l2, Py_ssize_t n
) noexcept nogil:
    cdef real d, u, term1a[LANES]
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        x0[i] = x0[i] + d
        x1[i] = x1[i] + d
        u = x0[i] + x1[i]
        term1a[i] = u
    add_elements(<const real*>p, lanes0, n)
    add_elements(<const real*>term1a, lanes1, n)


cdef void stream_lamb_sums(real** buffers, const double* numbers, Py_ssize_t n, double* sums) noexcept nogil:
    cdef double lanes0[LANES]
    cdef double lanes1[LANES]
    cdef Py_ssize_t start = 0, width = 0
    width = clear(lanes0, n)
    width = clear(lanes1, n)
    while start + LANES <= n:
        stream_lamb_row(
            buffers[0] + start, buffers[1] + start, buffers[2] + start, buffers[3] + start, lanes0, lanes1,
            <real>numbers[0], <real>numbers[1], LANES
        )
        start += LANES
    stream_lamb_row(
        buffers[0] + start, buffers[1] + start, buffers[2] + start, buffers[3] + start, lanes0, lanes1,
        <real>numbers[0], <real>numbers[1], n - start
    )
    sums[0] = folded(lanes0, width)
    sums[1] = folded(lanes1, width)


cdef inline void stream_lamb_loop(
    real *restrict p, const real *restrict x0, const real *restrict x1, real keep, real nothing, Py_ssize_t n
) noexcept nogil:
    cdef real u
    cdef Py_ssize_t i
    for i in range(n):
        u = x0[i] + x1[i]
        p[i] = keep * p[i] - nothing * u


cdef void stream_lamb(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    stream_lamb_loop(buffers[0], buffers[2], buffers[3], <real>numbers[2], <real>numbers[3], n)


cdef int stream_lamb_numbers(const double* inputs, double* numbers) noexcept nogil:
    cdef double rooted = inputs[0]
    if rooted:
        return 0
    return 1


cdef void stream_lamb_rooted_finish(const double* sums, double* numbers) noexcept nogil:
    cdef double nothing = 0.0 * (sums[0] + sums[1])
    numbers[3] = nothing


cdef void stream_lamb_finish(const double* sums, double* numbers) noexcept nogil:
    cdef double nothing = 0.0 * (sums[0] + sums[1])
    numbers[3] = nothing


FORMULAS["fastopt.yardsticks.stream_lamb"] = formula_entry(
    <void*>stream_lamb_numbers,
    "x0 x1",
    "rooted",
    (
        loop_entry(
            <void*>stream_lamb_rooted[float], <void*>stream_lamb_rooted[double], <void*>stream_lamb_rooted_sums[float],
            <void*>stream_lamb_rooted_sums[double], <void*>stream_lamb_rooted_finish, 0b11, 3, 4, 2, ()
        ),
        loop_entry(
            <void*>stream_lamb[float], <void*>stream_lamb[double], <void*>stream_lamb_sums[float],
            <void*>stream_lamb_sums[double], <void*>stream_lamb_finish, 0b11, 3, 4, 2, ()
        ),
    ),
)


# fastopt.yardsticks.stream_lars

cdef inline void stream_lars_row(
    const real *restrict p, const real *restrict g, double *restrict lanes0, double *restrict lanes1, real s, real l2,
    Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        lanes0[i] = lanes0[i] + wide(p[i])
        lanes1[i] = lanes1[i] + wide(d)


cdef void stream_lars_sums(real** buffers, const double* numbers, Py_ssize_t n, double* sums) noexcept nogil:
    cdef double lanes0[LANES]
    cdef double lanes1[LANES]
    cdef Py_ssize_t start = 0, width = 0
    width = clear(lanes0, n)
    width = clear(lanes1, n)
    while start + LANES <= n:
        stream_lars_row(
            <const real*>buffers[0] + start, <const real*>buffers[1] + start, lanes0, lanes1, <real>numbers[0],
            <real>numbers[1], LANES
        )
        start += LANES
    stream_lars_row(
        <const real*>buffers[0] + start, <const real*>buffers[1] + start, lanes0, lanes1, <real>numbers[0],
        <real>numbers[1], n - start
    )
    sums[0] = folded(lanes0, width)
    sums[1] = folded(lanes1, width)


cdef inline void stream_lars_loop(
    real *restrict p, const real *restrict g, real *restrict x0, real s, real l2, real keep, real nothing, Py_ssize_t n
) noexcept nogil:
    cdef real d
    cdef Py_ssize_t i
    for i in range(n):
        d = s * g[i] + l2 * p[i]
        x0[i] = x0[i] + d
        p[i] = keep * p[i] - nothing * x0[i]


cdef void stream_lars(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    stream_lars_loop(
        buffers[0], buffers[1], buffers[2], <real>numbers[0], <real>numbers[1], <real>numbers[2], <real>numbers[3], n
    )


cdef int stream_lars_numbers(const double* inputs, double* numbers) noexcept nogil:
    return 0


cdef void stream_lars_finish(const double* sums, double* numbers) noexcept nogil:
    cdef double nothing = 0.0 * (sums[0] + sums[1])
    numbers[3] = nothing


FORMULAS["fastopt.yardsticks.stream_lars"] = formula_entry(
    <void*>stream_lars_numbers,
    "x0",
    "",
    (
        loop_entry(
            <void*>stream_lars[float], <void*>stream_lars[double], <void*>stream_lars_sums[float],
            <void*>stream_lars_sums[double], <void*>stream_lars_finish, 0b1, 3, 4, 2, ()
        ),
    ),
)


# fastopt.yardsticks.stream_stages

cdef inline void stream_stages_row(const real *restrict x0, double *restrict lanes0, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        lanes0[i] = lanes0[i] + wide(x0[i])


cdef void stream_stages_sums(real** buffers, const double* numbers, Py_ssize_t n, double* sums) noexcept nogil:
    cdef double lanes0[LANES]
    cdef Py_ssize_t start = 0, width = 0
    width = clear(lanes0, n)
    while start + LANES <= n:
        stream_stages_row(<const real*>buffers[2] + start, lanes0, LANES)
        start += LANES
    stream_stages_row(<const real*>buffers[2] + start, lanes0, n - start)
    sums[0] = folded(lanes0, width)


cdef inline void stream_stages_loop(
    real *restrict p, real *restrict x0, real *restrict x1, real *restrict x2, real *restrict x3, real keep,
    real nothing, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        x0[i] = x0[i] + nothing
        x1[i] = x1[i] + nothing
        x2[i] = x2[i] + nothing
        x3[i] = x3[i] + nothing
        p[i] = keep * p[i] - nothing * x0[i]


cdef void stream_stages(real** buffers, const double* numbers, Py_ssize_t n) noexcept nogil:
    stream_stages_loop(
        buffers[0], buffers[2], buffers[3], buffers[4], buffers[5], <real>numbers[2], <real>numbers[3], n
    )


cdef int stream_stages_numbers(const double* inputs, double* numbers) noexcept nogil:
    return 0


cdef void stream_stages_finish(const double* sums, double* numbers) noexcept nogil:
    cdef double nothing = 0.0 * sums[0]
    numbers[3] = nothing


FORMULAS["fastopt.yardsticks.stream_stages"] = formula_entry(
    <void*>stream_stages_numbers,
    "x0 x1 x2 x3",
    "",
    (
        loop_entry(
            <void*>stream_stages[float], <void*>stream_stages[double], <void*>stream_stages_sums[float],
            <void*>stream_stages_sums[double], <void*>stream_stages_finish, 0b1111, 3, 4, 1, ()
        ),
    ),
)
