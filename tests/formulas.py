"""The words and the shapes of formulas."""

from fastopt.formula import absolute, dot, larger, norm, power, sign, smaller, sqrt, total, where


def aliases(d, q, b, *, mu):
    w = q
    q[:] = mu * q + d
    v = w  # an alias of an alias: it too is q as it is now
    old = +b  # a copy
    b[:] = w + v
    w = b
    w[:] = w + old
    return w - old


def locals_of_locals(d, m, *, lr):
    x = d - m
    m[:] = d
    y = x
    x = x * m
    x = x + y
    return lr * x


def flags(d, m, h, *, lr, t, big: bool, small: bool):
    if not big:
        return lr * d
    if small:
        m[:] = m + d
        if t > 2:
            return lr * m
    else:
        h[:] = d
        m[:] = larger(h, m)
    rate = lr * 2 if t == 1 else lr / t
    m[:] = m if t == 1 else d + m
    return rate * m


def assigns(d, p, *, lr):
    p[:] = p - lr * d + p


def sums(d, p, m, v, *, lr, mu, rooted: bool):
    m[:] = mu * m + (1 - mu) * d
    u = m / (sqrt(v * v) + 1) if rooted else m
    of_p = norm(p)
    of_u = norm(u)
    both = dot(u, p)
    trust = of_p / of_u if of_p != 0 and of_u != 0 else 1
    v[:] = trust * u + both * v
    return lr * trust * u / (1 + lr)


def sums_alone(d, p, *, lr):
    scale = total(d * p) + total(p) - dot(d, d)
    return scale * lr * (d * p)


def many_numbers(d, m, *, lr, t, beta, eps, corrected):
    c = 1 - power(beta, t) if corrected else 1
    size = lr * sqrt(c) / c
    m[:] = beta * m + (1 - beta) * (d * d)
    return size * d / (sqrt(m) + eps * sqrt(c))


def words(d, p, m, v, *, lr, mu):
    m[:] = where(d > m, sign(d) * absolute(m), smaller(v, lr))
    v[:] = larger(power(m, 3), mu) + where(d != d, 0, d)
    size = smaller(lr, mu) + absolute(lr - mu) * sign(mu - lr) + larger(lr, power(mu, 5))
    return size * m / sqrt(v) + power(p, 2)


# With numbers that take them to each of their ends.
SHAPES = [
    (words, {"lr": 0.1, "mu": 0.3}),
    (aliases, {"mu": 0.9}),
    (locals_of_locals, {"lr": 0.1}),
    *((flags, {"lr": 0.1, "t": t, "big": big, "small": x}) for t in (1.0, 2.0, 3.0) for big in (0, 1) for x in (0, 1)),
    (assigns, {"lr": 0.1}),
    (sums, {"lr": 0.1, "mu": 0.9, "rooted": 0.0}),
    (sums, {"lr": 0.1, "mu": 0.9, "rooted": 1.0}),
    (sums_alone, {"lr": 0.1}),
    *((many_numbers, {"lr": 0.1, "t": 7.0, "beta": 0.9, "eps": 1e-8, "corrected": x}) for x in (0.0, 1.0)),
]

WORDS = {one.__name__: one for one in (sqrt, absolute, sign, larger, smaller, where, power, total, norm, dot)}


def by_text(text):
    """A formula from its text."""
    scope = dict(WORDS)
    exec(text, scope)
    one = next(value for name, value in scope.items() if name not in WORDS and callable(value))
    one.text = text
    return one
