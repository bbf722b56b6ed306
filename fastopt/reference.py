"""The NumPy twin of every kernel, written to be read.

A rule's function updates flat arrays in place: the parameter ``p`` and the rule's state, given the gradient ``g`` and
the rule's scalars, which have the arrays' type. All other backends equal these functions to the last bit, because
they do the same operations, each rounded once, in the same order.

Common to all rules: ``s`` multiplies the gradient, ``l2`` is the coupled weight decay, ``keep`` is what decoupled
decay leaves of the parameter, and ``d`` is the effective gradient. A rule's name for a number that complements
another to 1 ends in ``_rest``: ``beta1_rest`` is ``1 - beta1``, computed in double precision.
"""

import numpy as np

LANES, CHUNK = 32, 16384


def larger(x, y):
    """The larger of the two, and ``y`` when either is NaN."""
    return np.where(x > y, x, y)


def sgd(p, g, s, l2, keep, lr):
    d = s * g + l2 * p
    p[:] = keep * p - lr * d


def sgd_momentum(p, g, b, s, l2, keep, gain, carry, rate):
    d = s * g + l2 * p
    b[:] = carry * b + gain * d
    p[:] = keep * p - rate * b


def sgd_nesterov(p, g, b, s, l2, keep, gain, carry, rate, mu):
    d = s * g + l2 * p
    b[:] = carry * b + gain * d
    p[:] = keep * p - rate * (gain * d + mu * b)


def adagrad(p, g, sum, s, l2, keep, clr, e_in, e_out):
    d = s * g + l2 * p
    sum[:] = sum + d * d
    p[:] = keep * p - clr * d / (np.sqrt(sum + e_in) + e_out)


def adadelta(p, g, q, a, s, l2, keep, lr, rho, rho_rest, eps):
    d = s * g + l2 * p
    q[:] = rho * q + rho_rest * d * d
    x = np.sqrt(a + eps) / np.sqrt(q + eps) * d
    a[:] = rho * a + rho_rest * x * x
    p[:] = keep * p - lr * x


def rmsprop(p, g, q, s, l2, keep, lr, alpha, alpha_rest, e_in, e_out):
    d = s * g + l2 * p
    q[:] = alpha * q + alpha_rest * d * d
    r = d / (np.sqrt(q + e_in) + e_out)
    p[:] = keep * p - lr * r


def rmsprop_centered(p, g, q, a, s, l2, keep, lr, alpha, alpha_rest, e_in, e_out):
    d = s * g + l2 * p
    q[:] = alpha * q + alpha_rest * d * d
    a[:] = alpha * a + alpha_rest * d
    w = larger(np.zeros_like(q), q - a * a)
    r = d / (np.sqrt(w + e_in) + e_out)
    p[:] = keep * p - lr * r


def rmsprop_momentum(p, g, q, b, s, l2, keep, gain, rate, alpha, alpha_rest, e_in, e_out, mu):
    d = s * g + l2 * p
    q[:] = alpha * q + alpha_rest * d * d
    r = d / (np.sqrt(q + e_in) + e_out)
    b[:] = mu * b + gain * r
    p[:] = keep * p - rate * b


def rmsprop_centered_momentum(p, g, q, a, b, s, l2, keep, gain, rate, alpha, alpha_rest, e_in, e_out, mu):
    d = s * g + l2 * p
    q[:] = alpha * q + alpha_rest * d * d
    a[:] = alpha * a + alpha_rest * d
    w = larger(np.zeros_like(q), q - a * a)
    r = d / (np.sqrt(w + e_in) + e_out)
    b[:] = mu * b + gain * r
    p[:] = keep * p - rate * b


def adam(p, g, m, v, s, l2, keep, a, b, beta1, beta1_rest, beta2, beta2_rest, e_in, e_out):
    d = s * g + l2 * p
    m[:] = beta1 * m + beta1_rest * d
    v[:] = beta2 * v + beta2_rest * d * d
    p[:] = keep * p - a * m / (np.sqrt(v * b + e_in) + e_out)


def amsgrad(p, g, m, v, h, s, l2, keep, a, b, beta1, beta1_rest, beta2, beta2_rest, e_in, e_out):
    d = s * g + l2 * p
    m[:] = beta1 * m + beta1_rest * d
    v[:] = beta2 * v + beta2_rest * d * d
    h[:] = larger(h, v)
    p[:] = keep * p - a * m / (np.sqrt(h * b + e_in) + e_out)


# Rules that need the norms of a whole tensor: the first function updates the moments, if the rule has any, and gives
# the arrays whose norms they are; the second gets the ratio of the norms as `trust`.


def lamb_update(p, m, v, a, b, eps, decay):
    return a * m / (np.sqrt(v * b) + eps) + decay * p


def lamb_prepare(p, g, m, v, s, l2, keep, lr, a, b, beta1, beta1_rest, beta2, beta2_rest, eps, decay, trust):
    d = s * g + l2 * p
    m[:] = beta1 * m + beta1_rest * d
    v[:] = beta2 * v + beta2_rest * d * d
    return p, lamb_update(p, m, v, a, b, eps, decay)


def lamb(p, g, m, v, s, l2, keep, lr, a, b, beta1, beta1_rest, beta2, beta2_rest, eps, decay, trust):
    p[:] = keep * p - lr * trust * lamb_update(p, m, v, a, b, eps, decay)


def lars_prepare(p, g, b, s, l2, keep, lr, mu, trust):
    return p, s * g + l2 * p


def lars(p, g, b, s, l2, keep, lr, mu, trust):
    d = s * g + l2 * p
    b[:] = mu * b + lr * trust * d
    p[:] = keep * p - b


# Stages: what surrounds a rule.


def squares(x):
    """The sum of the squares in double precision, in the one order that all backends keep.

    Chunk by chunk, in each chunk every LANES-th element into one lane, then the lanes folded in halves.
    """
    total = 0.0
    for start in range(0, x.size, CHUNK):
        chunk = x[start : start + CHUNK]
        squared = np.zeros(-(-chunk.size // LANES) * LANES)
        squared[: chunk.size] = np.square(chunk, dtype=np.float64)
        lanes = np.add.accumulate(squared.reshape(-1, LANES))[-1]
        while lanes.size > 1:
            half = lanes.size // 2
            lanes = lanes[:half] + lanes[half:]
        total += float(lanes[0])
    return total


def gather(sum, g, scale):
    sum[:] = sum + scale * g


def clip(g, scale, bound):
    """The scaled gradient between -bound and bound; a NaN stays one."""
    x = scale * g
    x = np.where(bound < x, bound, x)
    return np.where(-bound > x, -bound, x)


def average(ema, p, decay, decay_rest):
    ema[:] = decay * ema + decay_rest * p


def swap(x, y):
    x[:], y[:] = y.copy(), x.copy()


KERNELS = {
    kernel.__name__: kernel
    for kernel in (
        sgd,
        sgd_momentum,
        sgd_nesterov,
        adagrad,
        adadelta,
        rmsprop,
        rmsprop_centered,
        rmsprop_momentum,
        rmsprop_centered_momentum,
        adam,
        amsgrad,
        lamb,
        lars,
    )
}
PREPARE = {"lamb": lamb_prepare, "lars": lars_prepare}
