"""The words that a formula may use, and the numbers that it is given.

A formula is a rule's arithmetic, written once, as a function of arrays and of numbers::

    def momentum(d, b, *, lr, mu):
        b[:] = mu * b + d
        return lr * b

The arrays come before the ``*``: ``d``, the effective gradient; the parameter ``p``, where the formula needs it; and
the state, which is updated in place. After it come numbers, flags, which are annotated ``bool``, and numbers carried
from update to update, which are annotated `Carried`. ``lr`` and ``t``, the parameter's step count from 1, change with
the step. The formula returns the step, which is subtracted from what decay keeps of the parameter, or assigns ``p[:]``
itself. A formula that names ``weight_decay`` does the decoupled decay itself.

An expression of numbers alone is computed in double precision, and rounded once to the arrays' type where it meets an
array. Arrays meet numbers and each other through ``+ - * /``, comparisons and the words of this module. IEEE 754 rounds
all of them correctly, so the compiled loops, which `fastopt.engines.translator` makes of the same text, give the same
bits.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from fastopt.number import Number, Unchecked, number_of

# Sums add every LANES-th element of a chunk into one lane, fold the lanes in halves, and add up the chunks in order.
LANES, CHUNK = 32, 16384

# Formulas need no annotations. For those that have them the words do too: arrays are NDArray, and numbers are float.
Value: TypeAlias = float | NDArray[Any]
Real = TypeVar("Real", bound=np.floating[Any])


class Carried(float):
    """The annotation of a number that a formula carries from update to update.

    The formula takes it after the ``*`` and returns its new value after the step: ``return step, product * beta``. It
    is part of the parameter's state, is saved with it, and starts at the value that `Optimizer.initial` gives, or at 0.
    """


@overload
def sqrt(x: float) -> float: ...
@overload
def sqrt(x: NDArray[Real]) -> NDArray[Real]: ...
def sqrt(x: Value) -> Any:
    """The square root.

    Parameters
    ----------
    x : float or ndarray
        A number or an array.

    Returns
    -------
    float or ndarray
        Correctly rounded; NaN where ``x`` is negative.
    """
    return np.sqrt(x) if isinstance(x, np.ndarray) else number_of(np.sqrt(np.float64(x)), x)


@overload
def absolute(x: float) -> float: ...
@overload
def absolute(x: NDArray[Real]) -> NDArray[Real]: ...
def absolute(x: Value) -> Any:
    """The absolute value.

    Parameters
    ----------
    x : float or ndarray
        A number or an array.

    Returns
    -------
    float or ndarray
        ``x`` without its sign.
    """
    return np.absolute(x) if isinstance(x, np.ndarray) else number_of(abs(float(x)), x)


@overload
def sign(x: float) -> float: ...
@overload
def sign(x: NDArray[Real]) -> NDArray[Real]: ...
def sign(x: Value) -> Any:
    """The sign.

    Parameters
    ----------
    x : float or ndarray
        A number or an array.

    Returns
    -------
    float or ndarray
        1 or -1; 0 for zeros of either sign; NaN for NaN.
    """
    return np.sign(x) if isinstance(x, np.ndarray) else number_of(np.sign(np.float64(x)), x)


@overload
def larger(x: float, y: float) -> float: ...
@overload
def larger(x: NDArray[Real], y: NDArray[Real] | float) -> NDArray[Real]: ...
@overload
def larger(x: float, y: NDArray[Real]) -> NDArray[Real]: ...
def larger(x: Value, y: Value) -> Any:
    """The larger of two values.

    Parameters
    ----------
    x, y : float or ndarray
        Numbers or arrays.

    Returns
    -------
    float or ndarray
        ``x`` where ``x > y``, else ``y``: so ``y`` when either is NaN.
    """
    return _chosen(x > y, x, y)


@overload
def smaller(x: float, y: float) -> float: ...
@overload
def smaller(x: NDArray[Real], y: NDArray[Real] | float) -> NDArray[Real]: ...
@overload
def smaller(x: float, y: NDArray[Real]) -> NDArray[Real]: ...
def smaller(x: Value, y: Value) -> Any:
    """The smaller of two values.

    Parameters
    ----------
    x, y : float or ndarray
        Numbers or arrays.

    Returns
    -------
    float or ndarray
        ``x`` where ``x < y``, else ``y``: so ``y`` when either is NaN.
    """
    return _chosen(x < y, x, y)


def _chosen(condition: bool | NDArray[np.bool_], x: Any, y: Any) -> Any:
    if isinstance(condition, np.ndarray):
        return where(condition, x, y)
    return number_of(x if condition else y, x, y)


@overload
def where(condition: NDArray[np.bool_], x: NDArray[Real], y: NDArray[Real] | float) -> NDArray[Real]: ...
@overload
def where(condition: NDArray[np.bool_], x: float, y: NDArray[Real]) -> NDArray[Real]: ...
def where(condition: bool | NDArray[np.bool_], x: Any, y: Any) -> Any:
    """One of two values, by a condition.

    Parameters
    ----------
    condition : ndarray of bool
        A comparison of arrays. By a comparison of numbers, or a flag, choose with ``x if c else y``.
    x, y : float or ndarray
        Numbers or arrays, at least one of them an array.

    Returns
    -------
    float or ndarray
        ``x`` where the condition holds, else ``y``.
    """
    if not isinstance(condition, np.ndarray):
        raise TypeError("where: its condition is a comparison of arrays; for one of numbers write x if c else y")
    values: tuple[Value, Value] = (x, y)
    arrays = [one for one in values if isinstance(one, np.ndarray)]
    if not arrays:
        raise TypeError("where: one of its two values has to be an array, for it gives the type")
    dtype = arrays[0].dtype
    first, second = [
        one if isinstance(one, np.ndarray) else one.rounded(dtype) if isinstance(one, Number) else dtype.type(one)
        for one in values
    ]
    chosen: NDArray[Any] = np.where(condition, first, second)
    return chosen


@overload
def power(x: float, k: float) -> float: ...
@overload
def power(x: NDArray[Real], k: int) -> NDArray[Real]: ...
def power(x: Value, k: float) -> Any:
    """A whole power, by repeated squaring.

    Parameters
    ----------
    x : float or ndarray
        A number or an array.
    k : float
        A whole number from 0. If ``x`` is an array, a literal integer from 1 to 64.

    Returns
    -------
    float or ndarray
        ``x**k``; NaN where ``k`` is a number of the formula that is not whole, or negative.

    Raises
    ------
    ValueError
        ``k`` is a literal that is not whole, or negative.

    Notes
    -----
    It goes through the bits of ``k`` from the lowest up and only multiplies, so it has the same bits on every machine.

    Examples
    --------
    >>> power(0.5, 3)
    0.125
    """
    if not isinstance(k, Number) and not _is_whole(k):
        raise ValueError(
            f"power: k: expected a whole number from 0, found {k!r}; write a root as sqrt(x), "
            f"and a negative power as 1 / power(x, k)"
        )
    if not isinstance(x, np.ndarray):
        return number_of(_power(float(x), float(k)), x, k)
    return +x if k == 1 else _power(x, k)  # a copy with its bits, as in C


def _is_whole(k: float) -> bool:
    return 0 <= k < 9.2e18 and k == int(k)


def _power(x: Any, k: float) -> Any:
    if not _is_whole(k):
        return math.nan
    result: Any = 1.0
    k = int(k)
    while k:
        if k & 1:
            result = result * x
        k >>= 1
        if k:
            x = x * x
    return result


def total(x: NDArray[Any]) -> float:
    """The sum of an array's elements.

    Parameters
    ----------
    x : ndarray
        Any array of the formula.

    Returns
    -------
    float
        In double precision, summed in one fixed order on all backends.
    """
    return _sum(x, lambda part: x[part].astype(np.float64))


def dot(x: NDArray[Any], y: NDArray[Any]) -> float:
    """The sum of the products of two arrays' elements.

    Parameters
    ----------
    x, y : ndarray
        Two arrays of the formula.

    Returns
    -------
    float
        Summed as `total` does; the products too are in double precision.
    """
    return _sum(x, lambda part: x[part].astype(np.float64) * y[part].astype(np.float64))


def norm(x: NDArray[Any]) -> float:
    """The Euclidean norm of an array.

    Parameters
    ----------
    x : ndarray
        Any array of the formula.

    Returns
    -------
    float
        ``sqrt(dot(x, x))``.
    """
    return sqrt(dot(x, x))


def _sum(x: NDArray[Any], terms: Callable[[slice], NDArray[np.float64]]) -> Unchecked:
    sum = 0.0
    for start in range(0, x.size, CHUNK):
        chunk = terms(slice(start, start + CHUNK))
        padded: NDArray[np.float64] = np.zeros(-(-chunk.size // LANES) * LANES)
        padded[: chunk.size] = chunk
        lanes = np.add.accumulate(padded.reshape(-1, LANES))[-1]
        while lanes.size > 1:
            half = lanes.size // 2
            lanes = lanes[:half] + lanes[half:]
        sum += float(lanes[0])
    result = Unchecked(sum)
    result.dtype = x.dtype
    return result
