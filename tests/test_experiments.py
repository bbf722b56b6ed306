"""The experiments of the course notes, whose numbers a run must reproduce."""

import numpy as np
import pytest

import fastopt


def bowl(point):
    """The gradient of x**2 + 10*y**2."""
    x, y = point
    return np.array([2 * x, 20 * y])


def descend(opt, p, gradient, steps):
    """The points of a run, its start included."""
    points = [p.copy()]
    for _ in range(steps):
        opt.step(gradient(p))
        points.append(p.copy())
    return np.array(points)


def test_ill_scaled_bowl(backend):
    p = np.array([40.0, 20.0])
    sgd = descend(fastopt.SGD(p, lr=0.096, backend=backend), p, bowl, 10)
    # Each step multiplies x by 1 - 2*0.096 and y by 1 - 20*0.096: x crawls, y overshoots to the other side.
    np.testing.assert_allclose(sgd[:, 0], 40 * 0.808 ** np.arange(11), rtol=1e-12)  # powers round otherwise
    np.testing.assert_allclose(sgd[:, 1], 20 * (-0.92) ** np.arange(11), rtol=1e-12)
    assert (np.sign(sgd[1:, 1]) == -np.sign(sgd[:-1, 1])).all()

    p = np.array([40.0, 20.0])
    opt = fastopt.RMSprop(p, lr=3, alpha=0.9, eps=1e-6, backend=backend)
    rmsprop = descend(opt, p, bowl, 10)
    # The first step is lr/sqrt(1 - alpha) in both directions, whatever the scale.
    np.testing.assert_allclose(rmsprop[0] - rmsprop[1], 3 / np.sqrt(0.1), rtol=1e-6)  # eps of a gradient of 80
    moved, crawled = np.abs(np.diff(rmsprop[:5], axis=0)), np.abs(np.diff(sgd[:5], axis=0))
    assert (moved.max(axis=1) < 2.5 * moved.min(axis=1)).all()
    assert (crawled.max(axis=1) > 4.9 * crawled.min(axis=1)).all()
    # It goes down without overshooting, and ends nearer in both directions.
    assert (np.diff(rmsprop, axis=0) < 0).all()
    assert (rmsprop > 0).all()
    assert (rmsprop[-1] < np.abs(sgd[-1])).all()


def test_ravine(backend):
    """Momentum damps the zigzag across the ravine and speeds up along it; Nesterov damps it further."""

    def ravine(point):
        return np.array([0.1, 20.0]) * point

    def run(lr, **options):
        p = np.array([40.0, 2.0])
        opt = fastopt.SGD(p, lr=lr, momentum_form="velocity", **options, backend=backend)
        points = descend(opt, p, ravine, 30)
        zigzag = np.abs(points[20:, 1]).max()
        return points[-1, 0], zigzag

    plain_left, plain_zigzag = run(0.096)
    left, zigzag = run(0.096, momentum=0.7)
    assert zigzag < plain_zigzag / 4
    assert left < 0.6 * plain_left
    # Nesterov's momentum needs a smaller rate to be stable across so steep a ravine.
    plain_left, _ = run(0.06)
    left, zigzag = run(0.06, momentum=0.7)
    nesterov_left, nesterov_zigzag = run(0.06, momentum=0.7, nesterov=True)
    assert nesterov_zigzag < zigzag / 100
    assert nesterov_left < left < 0.7 * plain_left


def test_total_contribution_of_a_gradient(backend):
    """With momentum 0.9 a single gradient moves the parameter by 10 times itself in the end."""
    p = np.array([0.0])
    opt = fastopt.SGD(p, lr=1.0, momentum=0.9, backend=backend)
    opt.step(np.array([-1.0]))
    for _ in range(500):
        opt.step(np.array([0.0]))
    np.testing.assert_allclose(p, 10, rtol=1e-12)  # the sum of 500 rounded terms


def regression(count, noise, seed=0):
    """Points of y = 5 + 2x + N(0, noise), x the integers from 1."""
    x = np.arange(1, count + 1, dtype=np.float64)
    return x, 5 + 2 * x + np.random.default_rng(seed).normal(0, noise, size=count)


def fit(make, x, y, delta=1e-6, most=200_000):
    """Batch gradient descent from zero until both parameters change by less than delta; and the iterations."""
    theta = np.zeros(2)
    opt = make(theta)
    for iteration in range(1, most + 1):
        before = theta.copy()
        error = theta[0] + theta[1] * x - y
        opt.step(np.array([error.mean(), (error * x).mean()]))
        if (np.abs(theta - before) < delta).all():
            return theta, iteration
    raise RuntimeError(f"did not converge in {most} iterations")


def test_linear_regression(backend):
    x, y = regression(10, 0.2)
    plain, iterations = fit(lambda p: fastopt.SGD(p, lr=0.01, backend=backend), x, y)
    momentum, fewer = fit(lambda p: fastopt.SGD(p, lr=0.01, momentum=0.9, backend=backend), x, y)
    exact = np.polynomial.polynomial.polyfit(x, y, 1)
    # The stopping rule leaves an error of delta over the slowest mode's rate.
    np.testing.assert_allclose(plain, exact, atol=1e-3)
    np.testing.assert_allclose(momentum, exact, atol=1e-3)
    np.testing.assert_allclose(plain, [5, 2], atol=0.3)
    assert fewer < iterations / 2
    with pytest.raises(RuntimeError, match="did not converge in 5 iterations"):
        fit(lambda p: fastopt.SGD(p, lr=0.01, backend=backend), x, y, most=5)


def test_ill_scaled_gradients(backend):
    """RMSprop's steps are of one magnitude where those of SGD differ by 40,000 times."""
    g = np.array([1.2, 0.00003, 0.03])
    p = np.zeros(3)
    fastopt.SGD(p, lr=0.1, backend=backend).step(g)
    assert np.abs(p).max() / np.abs(p).min() == pytest.approx(40_000, rel=1e-12)  # of one rounding each
    p = np.zeros(3)
    fastopt.RMSprop(p, lr=0.1, alpha=0.9, backend=backend).step(g)
    assert np.abs(p).max() / np.abs(p).min() < 1.01


def test_gradient_check():
    """Central differences agree with the demo's gradients, and so with what the optimizers are given."""
    from fastopt.cli.network import loss_and_gradients, new_network

    rng = np.random.default_rng(0)
    weights = new_network((5, 4, 3), np.float64, rng)
    x, labels = rng.normal(size=(6, 5)), rng.integers(0, 3, size=6)
    _, gradients = loss_and_gradients(weights, x, labels)
    h = 1e-5
    for name, w in weights.items():
        numeric = np.zeros_like(w)
        for index in np.ndindex(w.shape):
            kept = w[index]
            w[index] = kept + h
            above, _ = loss_and_gradients(weights, x, labels)
            w[index] = kept - h
            below, _ = loss_and_gradients(weights, x, labels)
            w[index] = kept
            numeric[index] = (above - below) / (2 * h)
        exact = gradients[name]
        error = np.linalg.norm(numeric - exact) / (np.linalg.norm(numeric) + np.linalg.norm(exact))
        assert error < 1e-7
