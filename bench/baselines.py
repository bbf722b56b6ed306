"""What careful people write in NumPy: the rules of `fastopt.cli.plain` without temporaries, by ``out=``.

Each also takes two scratch arrays, the last of its arguments without a default.
"""

import numpy as np


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


def careful_lion(p, g, m, t, scratch, lr=1e-4, beta1=0.9, beta2=0.99):
    u, other = scratch
    np.multiply(m, beta1, out=u)
    np.multiply(g, 1 - beta1, out=other)
    u += other
    np.sign(u, out=u)
    average(m, beta2, g, other)
    descend(p, lr, u, u)


def careful_adan(p, g, m, v, q, before, t, scratch, lr=1e-3, beta1=0.98, beta2=0.92, beta3=0.99, eps=1e-8):
    x, other = scratch
    np.subtract(g, before if t > 1 else g, out=x)
    average(m, beta1, g, other)
    average(v, beta2, x, other)
    x *= beta2
    x += g
    average_square(q, beta3, x, other)
    before[...] = g
    np.multiply(m, 1 / (1 - beta1**t), out=x)
    np.multiply(v, beta2 / (1 - beta2**t), out=other)
    x += other
    np.divide(q, 1 - beta3**t, out=other)
    over_root(x, other, eps, other)
    descend(p, lr, other, other)


# By the names of `fastopt.rules.VARIANTS`.
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
    "Lion": careful_lion,
    "Adan": careful_adan,
}
