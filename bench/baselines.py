"""What fastopt replaces: each rule as people write it in NumPy, and as careful people do.

PLAIN are the expressions of the papers and course notes, line by line. CAREFUL do the same without temporaries, by
``out=`` into two scratch arrays. Neither has weight decay or `maximize`, which fastopt's kernels always carry.

Each takes the parameter, the gradient, the state arrays, the step count and the scratch arrays.
"""

import numpy as np


def plain_sgd(p, g, t, scratch, lr=1e-3):
    p -= lr * g


def plain_momentum(p, g, b, t, scratch, lr=1e-3, mu=0.9):
    b[...] = mu * b + g
    p -= lr * b


def plain_nesterov(p, g, b, t, scratch, lr=1e-3, mu=0.9):
    b[...] = mu * b + g
    p -= lr * (g + mu * b)


def plain_adagrad(p, g, cache, t, scratch, lr=1e-2, eps=1e-10):
    cache += g**2
    p -= lr * g / (np.sqrt(cache) + eps)


def plain_adadelta(p, g, q, a, t, scratch, lr=1.0, rho=0.9, eps=1e-6):
    q[...] = rho * q + (1 - rho) * g**2
    x = np.sqrt(a + eps) / np.sqrt(q + eps) * g
    a[...] = rho * a + (1 - rho) * x**2
    p -= lr * x


def plain_rmsprop(p, g, q, t, scratch, lr=1e-2, alpha=0.99, eps=1e-8):
    q[...] = alpha * q + (1 - alpha) * g**2
    p -= lr * g / (np.sqrt(q) + eps)


def plain_rmsprop_centered(p, g, q, a, t, scratch, lr=1e-2, alpha=0.99, eps=1e-8):
    q[...] = alpha * q + (1 - alpha) * g**2
    a[...] = alpha * a + (1 - alpha) * g
    p -= lr * g / (np.sqrt(np.maximum(q - a**2, 0)) + eps)


def plain_rmsprop_momentum(p, g, q, b, t, scratch, lr=1e-2, alpha=0.99, eps=1e-8, mu=0.9):
    q[...] = alpha * q + (1 - alpha) * g**2
    b[...] = mu * b + g / (np.sqrt(q) + eps)
    p -= lr * b


def plain_rmsprop_centered_momentum(p, g, q, a, b, t, scratch, lr=1e-2, alpha=0.99, eps=1e-8, mu=0.9):
    q[...] = alpha * q + (1 - alpha) * g**2
    a[...] = alpha * a + (1 - alpha) * g
    b[...] = mu * b + g / (np.sqrt(np.maximum(q - a**2, 0)) + eps)
    p -= lr * b


def plain_adam(p, g, m, v, t, scratch, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    p -= lr * m_hat / (np.sqrt(v_hat) + eps)


def plain_amsgrad(p, g, m, v, h, t, scratch, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    h[...] = np.maximum(h, v)
    m_hat = m / (1 - beta1**t)
    h_hat = h / (1 - beta2**t)
    p -= lr * m_hat / (np.sqrt(h_hat) + eps)


def plain_adamw(p, g, m, v, t, scratch, lr=1e-3, weight_decay=1e-2):
    p *= 1 - lr * weight_decay
    plain_adam(p, g, m, v, t, scratch, lr)


def plain_lamb(p, g, m, v, t, scratch, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-6):
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    r = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    p -= lr * np.linalg.norm(p) / np.linalg.norm(r) * r


def plain_lars(p, g, b, t, scratch, lr=1.0, mu=0.9, trust=1e-3):
    b[...] = mu * b + lr * trust * np.linalg.norm(p) / np.linalg.norm(g) * g
    p -= b


def average(mean, decay, x, scratch):
    """mean = decay*mean + (1-decay)*x"""
    mean *= decay
    np.multiply(x, 1 - decay, out=scratch)
    mean += scratch


def average_square(mean, decay, x, scratch):
    """mean = decay*mean + (1-decay)*x*x"""
    np.multiply(x, x, out=scratch)
    scratch *= 1 - decay
    mean *= decay
    mean += scratch


def over_root(x, square, eps, out):
    """out = x/(sqrt(square) + eps)"""
    np.sqrt(square, out=out)
    out += eps
    np.divide(x, out, out=out)


def spread(q, a, out):
    """out = max(q - a*a, 0)"""
    np.multiply(a, a, out=out)
    np.subtract(q, out, out=out)
    np.maximum(out, 0, out=out)


def descend(p, lr, direction, scratch):
    """p -= lr*direction"""
    np.multiply(direction, lr, out=scratch)
    p -= scratch


def careful_sgd(p, g, t, scratch, lr=1e-3):
    descend(p, lr, g, scratch[0])


def careful_momentum(p, g, b, t, scratch, lr=1e-3, mu=0.9):
    b *= mu
    b += g
    descend(p, lr, b, scratch[0])


def careful_nesterov(p, g, b, t, scratch, lr=1e-3, mu=0.9):
    b *= mu
    b += g
    np.multiply(b, mu, out=scratch[0])
    scratch[0] += g
    descend(p, lr, scratch[0], scratch[0])


def careful_adagrad(p, g, cache, t, scratch, lr=1e-2, eps=1e-10):
    np.multiply(g, g, out=scratch[0])
    cache += scratch[0]
    over_root(g, cache, eps, scratch[0])
    descend(p, lr, scratch[0], scratch[0])


def careful_adadelta(p, g, q, a, t, scratch, lr=1.0, rho=0.9, eps=1e-6):
    x, root = scratch
    average_square(q, rho, g, x)
    np.add(a, eps, out=x)
    np.sqrt(x, out=x)
    np.add(q, eps, out=root)
    np.sqrt(root, out=root)
    x /= root
    x *= g
    average_square(a, rho, x, root)
    descend(p, lr, x, x)


def careful_rmsprop(p, g, q, t, scratch, lr=1e-2, alpha=0.99, eps=1e-8):
    average_square(q, alpha, g, scratch[0])
    over_root(g, q, eps, scratch[0])
    descend(p, lr, scratch[0], scratch[0])


def careful_rmsprop_centered(p, g, q, a, t, scratch, lr=1e-2, alpha=0.99, eps=1e-8):
    average_square(q, alpha, g, scratch[0])
    average(a, alpha, g, scratch[0])
    spread(q, a, scratch[0])
    over_root(g, scratch[0], eps, scratch[0])
    descend(p, lr, scratch[0], scratch[0])


def careful_rmsprop_momentum(p, g, q, b, t, scratch, lr=1e-2, alpha=0.99, eps=1e-8, mu=0.9):
    average_square(q, alpha, g, scratch[0])
    over_root(g, q, eps, scratch[0])
    b *= mu
    b += scratch[0]
    descend(p, lr, b, scratch[0])


def careful_rmsprop_centered_momentum(p, g, q, a, b, t, scratch, lr=1e-2, alpha=0.99, eps=1e-8, mu=0.9):
    average_square(q, alpha, g, scratch[0])
    average(a, alpha, g, scratch[0])
    spread(q, a, scratch[0])
    over_root(g, scratch[0], eps, scratch[0])
    b *= mu
    b += scratch[0]
    descend(p, lr, b, scratch[0])


def careful_adam(p, g, m, v, t, scratch, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    average(m, beta1, g, scratch[0])
    average_square(v, beta2, g, scratch[0])
    np.divide(v, 1 - beta2**t, out=scratch[0])
    over_root(m, scratch[0], eps, scratch[0])
    descend(p, lr / (1 - beta1**t), scratch[0], scratch[0])


def careful_amsgrad(p, g, m, v, h, t, scratch, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    average(m, beta1, g, scratch[0])
    average_square(v, beta2, g, scratch[0])
    np.maximum(h, v, out=h)
    np.divide(h, 1 - beta2**t, out=scratch[0])
    over_root(m, scratch[0], eps, scratch[0])
    descend(p, lr / (1 - beta1**t), scratch[0], scratch[0])


def careful_adamw(p, g, m, v, t, scratch, lr=1e-3, weight_decay=1e-2):
    p *= 1 - lr * weight_decay
    careful_adam(p, g, m, v, t, scratch, lr)


def careful_lamb(p, g, m, v, t, scratch, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-6):
    average(m, beta1, g, scratch[0])
    average_square(v, beta2, g, scratch[0])
    np.divide(v, 1 - beta2**t, out=scratch[1])
    over_root(m, scratch[1], eps, scratch[0])
    # The norms take the bias of m with them.
    descend(p, lr * np.linalg.norm(p) / np.linalg.norm(scratch[0]), scratch[0], scratch[0])


def careful_lars(p, g, b, t, scratch, lr=1.0, mu=0.9, trust=1e-3):
    b *= mu
    np.multiply(g, lr * trust * np.linalg.norm(p) / np.linalg.norm(g), out=scratch[0])
    b += scratch[0]
    p -= b


# By the names of fastopt.rules.VARIANTS.
PLAIN = {
    "SGD": plain_sgd,
    "Momentum": plain_momentum,
    "Nesterov": plain_nesterov,
    "Adagrad": plain_adagrad,
    "Adadelta": plain_adadelta,
    "RMSprop": plain_rmsprop,
    "RMSprop, centered": plain_rmsprop_centered,
    "RMSprop, momentum": plain_rmsprop_momentum,
    "RMSprop, centered, momentum": plain_rmsprop_centered_momentum,
    "Adam": plain_adam,
    "AMSGrad": plain_amsgrad,
    "AdamW": plain_adamw,
    "LAMB": plain_lamb,
    "LARS": plain_lars,
}
CAREFUL = {
    "SGD": careful_sgd,
    "Momentum": careful_momentum,
    "Nesterov": careful_nesterov,
    "Adagrad": careful_adagrad,
    "Adadelta": careful_adadelta,
    "RMSprop": careful_rmsprop,
    "RMSprop, centered": careful_rmsprop_centered,
    "RMSprop, momentum": careful_rmsprop_momentum,
    "RMSprop, centered, momentum": careful_rmsprop_centered_momentum,
    "Adam": careful_adam,
    "AMSGrad": careful_amsgrad,
    "AdamW": careful_adamw,
    "LAMB": careful_lamb,
    "LARS": careful_lars,
}
