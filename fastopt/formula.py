"""The words that a formula may use, and the numbers that it is given.

A formula is a rule's arithmetic, written once, as a function of arrays and of numbers::

    def momentum(d, b, *, lr, mu):
        b[:] = mu * b + d
        return lr * b

Before the ``*`` stand arrays: ``d``, the effective gradient; the parameter ``p``, where the formula needs it; and the
state, which is updated in place. After it stand numbers, flags, which are annotated ``bool``, and numbers carried from
update to update, which are annotated `Carried`. ``lr`` and ``t``, the parameter's step count from 1, change with the
step. The formula returns the step, which is subtracted from what decay keeps of the parameter, or assigns ``p[:]``
itself. A formula that names ``weight_decay`` does the decoupled decay itself.

An expression of numbers alone is computed in double precision, and rounded once to the arrays' type where it meets an
array. Arrays meet numbers and each other through ``+ - * /``, comparisons and the words of this module. IEEE 754 rounds
all of them correctly, so the compiled loops, which `fastopt.engines.translator` makes of the same text, give the same
bits.
"""

import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

# Sums add every LANES-th element of a chunk into one lane, fold the lanes in halves, and add up the chunks in order.
LANES, CHUNK = 32, 16384

# Formulas need no annotations; with these the words serve those that have them, arrays as NDArray and numbers as float.
Formula: TypeAlias = Callable[..., Any]
Value: TypeAlias = float | NDArray[Any]
Real = TypeVar("Real", bound=np.floating[Any])
One = TypeVar("One")
Other = TypeVar("Other")


class NotFinite(ValueError):
    """A number that meets an array, or a sum over one, is not finite in the array's type."""


class Number(float):
    """A number of a formula: it computes with numbers in double precision as C does, without exceptions.

    Where it meets an array it has to be finite in the array's type. That is asked when a formula is rehearsed; in the
    step itself all numbers are `Unchecked`.
    """

    __array_ufunc__ = None  # arrays leave it to this class how they meet
    __hash__ = float.__hash__

    def __neg__(self) -> "Number":
        return _number(-float(self), self)

    def __pos__(self) -> "Number":
        return self

    def rounded(self, dtype: np.dtype[Any]) -> Any:
        """As an array of this type takes it."""
        value = dtype.type(self)
        if not math.isfinite(value):
            raise NotFinite(float(self))
        return value


class Unchecked(Number):
    """A number that may be anything: it depends on a sum, over an array of type `dtype`, or was rehearsed before."""

    dtype: np.dtype[Any] | None = None

    def rounded(self, dtype: np.dtype[Any]) -> Any:
        return dtype.type(self)


def _number(value: float, *made_of: object) -> Number:
    """What an operation on numbers gives."""
    unchecked = [x for x in made_of if isinstance(x, Unchecked)]
    if not unchecked:
        return Number(value)
    result = Unchecked(value)
    result.dtype = unchecked[0].dtype
    for x in made_of:
        if type(x) is Number and result.dtype is not None:
            x.rounded(result.dtype)  # numbers that meet a sum have to be finite too
    return result


def _meeting(operate: Callable[[Any, Any], Any], of_numbers: Callable[..., Any]) -> Callable[[Number, Any], Any]:
    """The method of an operation of a number, on the left, with a number or an array."""

    def meet(self: Number, other: NDArray[Any] | complex) -> Any:
        if isinstance(other, np.ndarray):
            return operate(self.rounded(other.dtype), other)
        if not isinstance(other, int | float):
            return NotImplemented
        try:
            return of_numbers(operate(float(self), float(other)), self, other)
        except ZeroDivisionError:
            return of_numbers(operate(np.float64(self), np.float64(other)), self, other)

    return meet


def _reflected(operate: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda x, y: operate(y, x)


def _truth(holds: Any, *_: object) -> bool:
    return bool(holds)


for _name in ("add", "sub", "mul", "truediv"):
    _operate = getattr(operator, _name)
    setattr(Number, f"__{_name}__", _meeting(_operate, _number))
    setattr(Number, f"__r{_name}__", _meeting(_reflected(_operate), _number))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Number, f"__{_name}__", _meeting(getattr(operator, _name), _truth))


# The words


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
    return np.sqrt(x) if isinstance(x, np.ndarray) else _number(np.sqrt(np.float64(x)), x)


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
    return np.absolute(x) if isinstance(x, np.ndarray) else _number(abs(float(x)), x)


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
    return np.sign(x) if isinstance(x, np.ndarray) else _number(np.sign(np.float64(x)), x)


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
    return _number(x if condition else y, x, y)


@overload
def where(condition: NDArray[np.bool_], x: NDArray[Real], y: NDArray[Real] | float) -> NDArray[Real]: ...
@overload
def where(condition: NDArray[np.bool_], x: float, y: NDArray[Real]) -> NDArray[Real]: ...
@overload
def where(condition: float, x: One, y: Other) -> One | Other: ...
def where(condition: float | NDArray[np.bool_], x: Any, y: Any) -> Any:
    """One of two values, by a condition.

    Parameters
    ----------
    condition : bool or ndarray of bool
        A comparison.
    x, y : float or ndarray
        Numbers or arrays. If the condition is an array, so is at least one of them.

    Returns
    -------
    float or ndarray
        ``x`` where the condition holds, else ``y``.
    """
    if not isinstance(condition, np.ndarray):
        return x if condition else y
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
        ``x**k``; NaN for a number ``x`` and any other ``k``.

    Notes
    -----
    It goes through the bits of ``k`` from the lowest up and only multiplies, so it has the same bits on every machine.

    Examples
    --------
    >>> power(0.5, 3)
    0.125
    """
    if not isinstance(x, np.ndarray):
        return _number(_power(float(x), k), x, k)
    return _power(x, k)


def _power(x: Any, k: float) -> Any:
    if not 0 <= k < 9.2e18 or k != int(k):
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


# What a formula is


class Carried(float):
    """The annotation of a number that a formula carries from update to update.

    The formula takes it after the ``*`` and returns its new value behind the step: ``return step, product * beta``. It
    is state of the parameter, is saved with it, and starts at the value that `Optimizer.initial` gives, or at 0.
    """


def key_of(formula: Formula) -> str:
    """The name by which compiled backends know a formula."""
    return f"{formula.__module__}.{formula.__qualname__}"


class Signature(NamedTuple):
    """The names of a formula's parameters, in their order."""

    arrays: tuple[str, ...]  # without d: the state, and p where it is there
    numbers: tuple[str, ...]
    flags: tuple[str, ...]
    carried: tuple[str, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """All that stands after the ``*``, in the order in which compiled formulas take it."""
        return (*self.numbers, *self.flags, *self.carried)

    @property
    def state(self) -> tuple[str, ...]:
        return tuple(name for name in self.arrays if name != "p")


@lru_cache(maxsize=1000)
def signature(formula: Formula) -> Signature:
    """A formula's parameters by their kinds; raises TypeError where they are not as a formula's have to be."""
    arrays: list[str] = []
    numbers: list[str] = []
    flags: list[str] = []
    carried: list[str] = []
    for name, parameter in inspect.signature(formula).parameters.items():
        if parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise TypeError(
                f"formula {formula.__name__}: {name}: its parameters have no defaults, and no star but the bare one"
            )
        if parameter.kind is not parameter.KEYWORD_ONLY:
            arrays.append(name)
        elif parameter.annotation in (bool, "bool"):
            flags.append(name)
        elif parameter.annotation in (Carried, "Carried"):
            carried.append(name)
        elif parameter.annotation in (parameter.empty, float, "float"):
            numbers.append(name)
        else:
            raise TypeError(
                f"formula {formula.__name__}: {name}: it is a number, without annotation or float; a flag, bool; "
                f"or carried from update to update, Carried"
            )
    if arrays[:1] != ["d"]:
        raise TypeError(f"formula {formula.__name__}: its first parameter is d, the effective gradient")
    return Signature(tuple(arrays[1:]), tuple(numbers), tuple(flags), tuple(carried))


class _Probe(np.ndarray[Any, Any]):
    """An array that notes when it is used."""

    used = False

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple[Any, ...] = (), **kwargs: Any
    ) -> Any:
        if out:
            kwargs["out"] = tuple(map(_seen, out))
        return getattr(ufunc, method)(*map(_seen, inputs), **kwargs)

    def __array_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: Iterable[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        return function(*map(_seen, args), **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return _seen(self)[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        _seen(self)[key] = _seen(value)


def _seen(x: Any) -> Any:
    if not isinstance(x, _Probe):
        return x
    x.used = True
    return np.asarray(x)


@lru_cache(maxsize=1000)
def used_state(formula: Formula, flags: tuple[str, ...]) -> tuple[str, ...]:
    """The state arrays, of those that a formula names, that it uses at its first update when these flags are set.

    Numbers must not decide that, and what is used at one update has to be used at all of them.
    """
    names = signature(formula)
    probes = {name: np.ones(2).view(_Probe) for name in names.arrays}
    numbers = dict.fromkeys((*names.numbers, *names.carried), Unchecked(1))
    with np.errstate(all="ignore"):
        made = formula(np.ones(2), *probes.values(), **numbers, **{name: name in flags for name in names.flags})
    _seen(made[0] if isinstance(made, tuple) else made)
    return tuple(name for name in names.state if probes[name].used)
