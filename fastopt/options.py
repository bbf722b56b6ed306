"""The checks of options: each gives the value as the rules use it, or raises an error that names the option.

An option's annotation says how it is checked: ``float`` is any finite number, and the names at the end of this file say
more. `check_of` gives the check of an annotation.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, cast, get_args, get_origin

import numpy as np

from fastopt.synonyms import ELSEWHERE, REMARKS, SYNONYMS

Check: TypeAlias = Callable[[str, Any], Any]  # of a name and a value


def meant(name: object, known: Iterable[object], cutoff: float = 0.6) -> list[str]:
    """The known names that an unknown one may stand for: those that it is a synonym of, or the nearest one, or none."""
    names = [str(one) for one in known]
    synonyms = [one for one in SYNONYMS.get(str(name), ()) if one in names]
    return synonyms or difflib.get_close_matches(str(name), names, n=1, cutoff=cutoff)


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """A hint for an error message: the known names that may be meant, or all if there is none.

    Of what takes a tuple it shows one, where ``known`` is a mapping to such values.
    """
    names = [str(one) for one in known]
    if "lr" in names and (remark := ELSEWHERE.get(str(name))):  # these are options, and not the names of parameters
        return f"; {remark}"
    values = cast("dict[object, object]", known) if isinstance(known, dict) else {}
    shown = [
        f"{one!r}, as in {one}={values[one]!r}" if isinstance(values.get(one), tuple) else repr(one)
        for one in meant(name, names)
    ]
    if not shown:
        return f"; there are {', '.join(names)}"
    return f"; did you mean {' or '.join(shown)}{REMARKS.get(str(name), '')}?"


def counted(count: int, what: str) -> str:
    """So many things, as messages say it."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def real(name: str, value: Any, expected: str = "a number", whose: str = "") -> float:
    """A number, or a 0-d array, as a float; one that is too large for a float is infinite."""
    if not _is_real(value):
        raise TypeError(f"{name}: expected {expected}, found {value!r}{whose}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _is_real(value: Any) -> bool:
    """Whether this is a real number, or any library's 0-d array whose dtype says that it holds one."""
    if isinstance(value, Real):
        return not isinstance(value, bool | np.timedelta64)
    dtype = str(getattr(value, "dtype", ""))
    return getattr(value, "shape", None) == () and bool(re.fullmatch(r"(\w+\.)?(u?int|b?float)\w+", dtype))


def number(
    name: str,
    value: object,
    *,
    smallest: float = 0.0,
    below: float | None = None,
    expected: str = "a number",
    whose: str = "",
) -> float:
    """A finite number from `smallest`, as a float; smaller than `below` where that is given."""
    x = real(name, value, expected, whose)
    if not (math.isfinite(x) and x >= smallest and (below is None or x < below)):
        allowed = "finite" if smallest == -math.inf else "finite and not negative"
        if below is not None:
            allowed = f"in [{smallest:g}, {below})"
        raise ValueError(f"{name}: {x!r} was given{whose}; it must be {allowed}")
    return x


def any_number(name: str, value: object) -> float:
    """A finite number."""
    return number(name, value, smallest=-math.inf)


def fraction(name: str, value: object) -> float:
    """A number in [0, 1), such as the decay of a moving average."""
    return number(name, value, below=1)


def rate(name: str, value: object) -> float | Callable[[int], float]:
    """A learning rate: a number, or a function of the number of updates before."""
    if callable(value):
        return cast(Callable[[int], float], value)
    return number(name, value, expected="a number or a function of the number of updates")


def decay(name: str, value: object) -> float | Callable[[int], float]:
    """The decay of a moving average: a number in [0, 1), or a function of the number of updates before."""
    if callable(value):
        return cast(Callable[[int], float], value)
    return number(name, value, below=1, expected="a number or a function of the number of updates")


def at_update(name: str, value: float | Callable[[int], float], updates: int, below: float | None = None) -> float:
    """An option as it is at an update: the number itself, or what its function returns, checked."""
    if not callable(value):
        return value
    return number(name, value(updates), below=below, whose=f" by its function, called with {updates}")


# Positive numbers have to stay positive in float32, and so do their inverses.
_SMALLEST = 2.0**-126


def bound(name: str, value: object) -> float:
    """The largest value allowed: a positive number, or infinity for no limit."""
    x = real(name, value, "a number or None")
    if not x >= _SMALLEST:
        raise ValueError(f"{name}: {x!r} was given; it must be positive, from 2**-126")
    return x


def scale(name: str, value: object) -> float:
    """A positive factor."""
    factor = real(name, value)
    if not _SMALLEST <= factor <= 1 / _SMALLEST:
        raise ValueError(f"{name}: {value!r} was given; it must be positive, from 2**-126 to 2**126")
    return factor


def integer(name: str, value: object) -> int:
    """An integer, as an int."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}: expected an integer, found {value!r}")
    return int(value)


def count(name: str, value: object) -> int:
    """An integer from 1."""
    n = integer(name, value)
    if not 1 <= n < 2**31:
        raise ValueError(f"{name}: {n} was given; it must be from 1 to 2**31 - 1")
    return n


def flag(name: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, found {value!r}")
    return bool(cast(object, value))


def text(name: str, value: object) -> str:
    """A string."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a string, found {value!r}")
    return value


def choice(*allowed: object) -> Check:
    """One of a few words."""

    def check(name: str, value: object) -> object:
        if not isinstance(value, tuple(map(type, allowed))):
            raise TypeError(f"{name}: expected one of {', '.join(map(repr, allowed))}, found {value!r}")
        if value not in allowed:
            raise ValueError(f"{name}: {value!r} was given; it must be one of {', '.join(map(repr, allowed))}")
        return value

    return check


def each(checks: list[Check]) -> Check:
    """So many values, each with a check of its own."""
    expected = "a pair of numbers" if len(checks) == 2 else f"{len(checks)} numbers"

    def check(name: str, value: object) -> tuple[Any, ...]:
        given = cast(Sequence[object], value) if isinstance(value, list | tuple) else ()
        if len(given) != len(checks):
            raise TypeError(f"{name}: expected {expected}, found {value!r}")
        return tuple(one(f"{name}[{i}]", x) for i, (one, x) in enumerate(zip(checks, given, strict=True)))

    return check


def optional(check: Check) -> Check:
    """What passes a check, or None."""
    return lambda name, value: None if value is None else check(name, value)


# Annotations of options, with their checks. To type checkers they are plain numbers.
NonNegative = Annotated[float, number]
Fraction = Annotated[float, fraction]
Bound = Annotated[float, bound]
Scale = Annotated[float, scale]
Count = Annotated[int, count]
LearningRate = Annotated[float | Callable[[int], float], rate]
Decay = Annotated[float | Callable[[int], float], decay]

_CHECKS: dict[object, Check] = {float: any_number, int: integer, bool: flag, str: text}


def check_of(annotation: Any) -> Check:
    """The check that an annotation says; raises TypeError where it says none."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and annotation in _CHECKS:
        return _CHECKS[annotation]
    if origin is Annotated and callable(arguments[1]):
        check: Check = arguments[1]
        return check
    if origin is Literal:
        return choice(*arguments)
    if origin is tuple and Ellipsis not in arguments:
        return each([check_of(one) for one in arguments])
    if origin in (Union, UnionType) and len(arguments) == 2 and NoneType in arguments:
        return optional(check_of(arguments[arguments[0] is NoneType]))
    is_sequence = (origin or annotation) is tuple or (origin or annotation) is list
    hint = "write tuple[float, float] for a pair; " if is_sequence else ""
    raise TypeError(
        f"the annotation {annotation!r} says no check; {hint}options are float, int, bool, str, Literal, a tuple of "
        f"these, one of these or None, or Annotated[type, check] with a check(name, value) that returns the value"
    )


# Options as formulas take them.


def each_beta(o: Mapping[str, Any]) -> dict[str, Any]:
    """The option ``betas`` as ``beta1``, ``beta2`` and so on."""
    return {f"beta{index}": beta for index, beta in enumerate(o["betas"], start=1)}


def placed_eps(o: Mapping[str, Any]) -> dict[str, Any]:
    """eps as what is added inside the root and what outside: 0 is exact in either place."""
    inside = o["eps_placement"] == "inside"
    return {"eps_root": o["eps"] if inside else 0.0, "eps": 0.0 if inside else o["eps"]}
