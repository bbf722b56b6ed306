"""The numbers that a formula is given: they compute as C does, and are rounded where they meet an array."""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
        return number_of(-float(self), self)

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


def number_of(value: float, *made_of: object) -> Number:
    """What an operation on numbers gives."""
    unchecked = [x for x in made_of if isinstance(x, Unchecked)]
    if not unchecked:
        return Number(value)
    result = next((type(x) for x in unchecked if type(x) is not Unchecked), Unchecked)(value)
    result.dtype = next((x.dtype for x in unchecked if x.dtype is not None), None)
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
    setattr(Number, f"__{_name}__", _meeting(_operate, number_of))
    setattr(Number, f"__r{_name}__", _meeting(_reflected(_operate), number_of))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Number, f"__{_name}__", _meeting(getattr(operator, _name), _truth))
