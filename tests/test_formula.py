"""The words of formulas, and the numbers that they are given."""

import math
import re

import numpy as np
import pytest
from helpers import assert_same_bits

from fastopt import formula
from fastopt.number import NotFinite, Number, Unchecked
from fastopt.signature import signature, used_state

INF, NAN = math.inf, math.nan


@pytest.fixture(autouse=True)
def _quiet():
    """As the engine is while it computes."""
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("kind", [Number, Unchecked])
@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (lambda x, y: x + y, 5.0),
        (lambda x, y: 1 - x, -1.0),
        (lambda x, y: x * y, 6.0),
        (lambda x, y: y / x, 1.5),
        (lambda x, y: -x, -2.0),
        (lambda x, y: x / 0, INF),
        (lambda x, y: (x - x) / 0, NAN),
        (lambda x, y: x * 1e308 * 1e10, INF),
        (lambda x, y: formula.sqrt(x - y), NAN),
        (lambda x, y: formula.absolute(x - y), 1.0),
        (lambda x, y: formula.sign(x - y), -1.0),
        (lambda x, y: formula.larger(x, y), 3.0),
        (lambda x, y: formula.smaller(x, 7), 2.0),
        (lambda x, y: formula.power(x, y), 8.0),
    ],
)
def test_numbers_compute_as_c_does(compute, expected, kind):
    result = compute(kind(2), kind(3))
    assert isinstance(result, kind)
    np.testing.assert_array_equal(float(result), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_are_rounded_where_they_meet_arrays(dtype):
    """Once, and on either side; the array keeps its type."""
    x, number = np.array([1.0, -2.0, 3.0], dtype=dtype), Number(1) / Number(3)
    third = dtype(1 / 3)
    assert_same_bits(number * x, third * x)
    assert_same_bits(x - number, x - third)
    assert_same_bits(number / x, third / x)
    np.testing.assert_array_equal(number < x, third < x)
    np.testing.assert_array_equal(x >= number, x >= third)
    assert_same_bits(formula.larger(number, x), np.maximum(third, x))
    assert_same_bits(formula.where(x > 0, x, number), np.where(x > 0, x, third))
    assert_same_bits(formula.where(x > 0, 0.1, x), np.where(x > 0, dtype(0.1), x))


def test_numbers_that_do_not_fit():
    x = np.ones(2, dtype=np.float32)
    for meet in (lambda n: n * x, lambda n: x + n, lambda n: formula.larger(x, n), lambda n: n + formula.total(x)):
        for number in (1e39, INF, NAN):
            with pytest.raises(NotFinite):
                meet(Number(number))
            meet(Unchecked(number))
    assert (Number(1e39) * x.astype(np.float64) == 1e39).all()


@pytest.mark.parametrize("k", [0, 1, 2, 3, 10, 55, 1000, 12_345])
@pytest.mark.parametrize("x", [0.9, 0.999, 1.0, 2.0, 0.0, -1.5])
def test_power(x, k):
    """Of numbers and arrays alike: the bits of the squares from the lowest bit of k up."""
    expected, square = np.float64(1), np.float64(x)
    for bit in reversed(f"{k:b}"):
        expected = expected * square if bit == "1" else expected
        square = square * square
    assert_same_bits(np.float64(formula.power(Number(x), Number(k))), expected)
    if k:
        assert_same_bits(formula.power(np.full(3, x), k), np.full(3, expected))
    np.testing.assert_allclose(float(expected), np.float64(x) ** k, rtol=1e-12)  # some roundings more than pow has


@pytest.mark.parametrize("k", [-1, 0.5, INF, NAN, 1e19])
def test_power_that_is_not_whole(k):
    """An option may be so at some steps only; a literal is a slip."""
    assert math.isnan(formula.power(Number(0.9), Number(k)))
    for x in (Number(0.9), 0.9, np.ones(2)):
        with pytest.raises(ValueError, match=rf"power: k: expected a whole number from 0, found {re.escape(repr(k))};"):
            formula.power(x, k)


def test_words_of_arrays():
    x = np.array([2.0, -3.0, 0.0, -0.0, NAN, INF])
    assert_same_bits(formula.sign(x), np.array([1.0, -1.0, 0.0, 0.0, NAN, 1.0]))
    assert_same_bits(formula.absolute(x), np.array([2.0, 3.0, 0.0, 0.0, NAN, INF]))
    assert_same_bits(formula.larger(x, np.zeros(6)), np.array([2.0, 0.0, 0.0, 0.0, 0.0, INF]))
    assert_same_bits(formula.larger(0, x), np.array([2.0, 0.0, 0.0, -0.0, NAN, INF]))
    assert_same_bits(formula.smaller(x, np.zeros(6)), np.array([0.0, -3.0, 0.0, 0.0, 0.0, 0.0]))
    with pytest.raises(TypeError, match="one of its two values has to be an array"):
        formula.where(x > 0, 1.0, 2.0)


def test_sums():
    x, y = np.arange(1.0, 40_000.0), np.linspace(-1, 1, 39_999)
    np.testing.assert_allclose(float(formula.total(x)), math.fsum(x), rtol=1e-14)  # rounding of partial sums
    np.testing.assert_allclose(float(formula.dot(x, y)), math.fsum(x * y), rtol=1e-12)
    np.testing.assert_allclose(float(formula.norm(x)), math.sqrt(math.fsum(x * x)), rtol=1e-14)
    large = np.full(3, 1e30, dtype=np.float32)
    np.testing.assert_allclose(float(formula.norm(large)), math.sqrt(3) * 1e30, rtol=1e-7)  # float32 rounds 1e30
    assert type(formula.total(np.zeros(0))) is Unchecked


def spoken(d, m, *, lr, quick: bool):
    return lr * d


def test_signature():
    assert signature(spoken) == (("m",), ("lr",), ("quick",), ())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda d, m=1: d, "its arguments have no defaults"),
        (lambda d, *rest: d, "its arguments have no defaults, and no star"),
        (lambda d, **rest: d, "its arguments have no defaults, and no star"),
        (lambda m, d: d, "its first argument is d"),
        (lambda *, lr: lr, "its first argument is d"),
    ],
)
def test_functions_that_are_no_formulas(wrong, message):
    with pytest.raises(TypeError, match=message):
        signature(wrong)


def test_annotations_that_mean_nothing():
    def wrong(d, *, lr: int):
        return lr * d

    with pytest.raises(TypeError, match="lr: it is a number, without annotation or float; a flag, bool; or carried"):
        signature(wrong)


def test_used_state():
    """Of the arrays, those that a formula reads or writes with its flags."""

    def some(d, p, a, b, c, e, f, *, lr, first: bool, second: bool):
        a[:] = lr * d
        if first:
            a[:] = formula.where(d > 0, b, d)
        if second:
            a[:] = formula.total(c) * d
        alias = e
        if first:
            a += d
        return alias

    for flags, expected in {(): "ae", ("first",): "abe", ("second",): "ace", ("first", "second"): "abce"}.items():
        assert used_state(some, flags) == tuple(expected)
