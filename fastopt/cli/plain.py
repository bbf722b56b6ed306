"""Each rule as people write it in NumPy: the expressions of papers and course notes, line by line.

Neither weight decay nor `maximize` is in them, which fastopt's loops always carry, but for AdamW's. Each takes the
parameter, the gradient, the state arrays and the step count, and has the defaults of fastopt's rule.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastopt.arrays.layout import Array
from fastopt.rules import VARIANTS


def sgd(p, g, t, lr=1e-3):
    p -= lr * g


def momentum(p, g, b, t, lr=1e-3, mu=0.9):
    b[...] = mu * b + g
    p -= lr * b


def nesterov(p, g, b, t, lr=1e-3, mu=0.9):
    b[...] = mu * b + g
    p -= lr * (g + mu * b)


def adagrad(p, g, cache, t, lr=1e-2, eps=1e-10):
    cache += g**2
    p -= lr * g / (np.sqrt(cache) + eps)


def adadelta(p, g, q, a, t, lr=1.0, rho=0.9, eps=1e-6):
    q[...] = rho * q + (1 - rho) * g**2
    x = np.sqrt(a + eps) / np.sqrt(q + eps) * g
    a[...] = rho * a + (1 - rho) * x**2
    p -= lr * x


def rmsprop(p, g, q, t, lr=1e-2, alpha=0.99, eps=1e-8):
    q[...] = alpha * q + (1 - alpha) * g**2
    p -= lr * g / (np.sqrt(q) + eps)


def rmsprop_centered(p, g, q, a, t, lr=1e-2, alpha=0.99, eps=1e-8):
    q[...] = alpha * q + (1 - alpha) * g**2
    a[...] = alpha * a + (1 - alpha) * g
    p -= lr * g / (np.sqrt(np.maximum(q - a**2, 0)) + eps)


def rmsprop_momentum(p, g, q, b, t, lr=1e-2, alpha=0.99, eps=1e-8, mu=0.9):
    q[...] = alpha * q + (1 - alpha) * g**2
    b[...] = mu * b + g / (np.sqrt(q) + eps)
    p -= lr * b


def rmsprop_centered_momentum(p, g, q, a, b, t, lr=1e-2, alpha=0.99, eps=1e-8, mu=0.9):
    q[...] = alpha * q + (1 - alpha) * g**2
    a[...] = alpha * a + (1 - alpha) * g
    b[...] = mu * b + g / (np.sqrt(np.maximum(q - a**2, 0)) + eps)
    p -= lr * b


def adam(p, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    p -= lr * m_hat / (np.sqrt(v_hat) + eps)


def amsgrad(p, g, m, v, h, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    h[...] = np.maximum(h, v)
    m_hat = m / (1 - beta1**t)
    h_hat = h / (1 - beta2**t)
    p -= lr * m_hat / (np.sqrt(h_hat) + eps)


def adamw(p, g, m, v, t, lr=1e-3, weight_decay=1e-2):
    p *= 1 - lr * weight_decay
    adam(p, g, m, v, t, lr)


def lamb(p, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-6):
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    u = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    of_p, of_u = np.linalg.norm(p), np.linalg.norm(u)
    p -= lr * (of_p / of_u if of_p and of_u else 1) * u


def lars(p, g, b, t, lr=1.0, mu=0.9, trust=1e-3):
    of_p, of_g = np.linalg.norm(p), np.linalg.norm(g)
    b[...] = mu * b + lr * (trust * of_p / of_g if of_p and of_g else 1) * g
    p -= b


def lion(p, g, m, t, lr=1e-4, beta1=0.9, beta2=0.99):
    p -= lr * np.sign(beta1 * m + (1 - beta1) * g)
    m[...] = beta2 * m + (1 - beta2) * g


def adan(p, g, m, v, q, before, t, lr=1e-3, beta1=0.98, beta2=0.92, beta3=0.99, eps=1e-8):
    x = g - before if t > 1 else 0 * g
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * x
    q[...] = beta3 * q + (1 - beta3) * (g + beta2 * x) ** 2
    before[...] = g
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    q_hat = q / (1 - beta3**t)
    p -= lr * (m_hat + beta2 * v_hat) / (np.sqrt(q_hat) + eps)


# By the names of `fastopt.rules.VARIANTS`.
PLAIN: dict[str, Callable[..., None]] = {
    "SGD": sgd,
    "Momentum": momentum,
    "Nesterov": nesterov,
    "Adagrad": adagrad,
    "Adadelta": adadelta,
    "RMSprop": rmsprop,
    "RMSprop, centered": rmsprop_centered,
    "RMSprop, momentum": rmsprop_momentum,
    "RMSprop, centered, momentum": rmsprop_centered_momentum,
    "Adam": adam,
    "AMSGrad": amsgrad,
    "AdamW": adamw,
    "LAMB": lamb,
    "LARS": lars,
    "Lion": lion,
    "Adan": adan,
}


def stepper(
    name: str, params: Sequence[Array], update: Callable[..., None] | None = None
) -> tuple[Callable[[Sequence[Array]], None], list[Array]]:
    """A rule's step in NumPy.

    Parameters
    ----------
    name : str
        A key of `fastopt.rules.VARIANTS`.
    params : list of ndarray
    update : callable, optional
        Takes what those of this module take, one of which it is by default.

    Returns
    -------
    callable
        It takes the gradients, in order, and updates all parameters.
    list of ndarray
        What it changes: the parameters and their state.
    """
    rule, options = VARIANTS[name]
    chosen = PLAIN[name] if update is None else update
    opt: Any = rule(params, **options, backend="numpy")  # which takes no step: its state arrays are used
    states = [list(state.values())[1:] for state in opt.state]
    t = 0

    def step(grads: Sequence[Array]) -> None:
        nonlocal t
        t += 1
        for p, g, state in zip(params, grads, states, strict=True):
            chosen(p, g, *state, t)

    return step, [*params, *(array for state in states for array in state)]
