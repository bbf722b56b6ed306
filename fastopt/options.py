"""The checks of options: each gives the value as the rules use it, or raises an error that names the option."""

import difflib
import math
import re
from numbers import Integral, Real

import numpy as np


def nearest(name, known):
    """A hint for an error message: the known name that is nearest to an unknown one, or all if none is near."""
    known = [str(name) for name in known]
    matches = difflib.get_close_matches(str(name), known, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else f"; there are {', '.join(known)}"


def _real(name, value, expected="a number", whose=""):
    """A number as a float, of arrays those without axes too; one that is too large for that is infinite."""
    if not _is_real(value):
        raise TypeError(f"{name}: expected {expected}, found {value!r}{whose}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _is_real(value):
    """Also of other libraries' arrays, as far as they say what they hold."""
    if isinstance(value, Real):
        return not isinstance(value, bool | np.timedelta64)
    return getattr(value, "shape", None) == () and bool(re.fullmatch(r"(\w+\.)?(u?int|b?float)\w+", str(value.dtype)))


def number(name, value, *, below=None, expected="a number", whose=""):
    """A finite number that is not negative, as a float; smaller than `below` where that is given."""
    value = _real(name, value, expected, whose)
    if not (math.isfinite(value) and value >= 0 and (below is None or value < below)):
        allowed = "finite and not negative" if below is None else f"in [0, {below})"
        raise ValueError(f"{name}: {value!r} was given{whose}; it must be {allowed}")
    return value


def fraction(name, value):
    """A number in [0, 1), such as the decay of a moving average."""
    return number(name, value, below=1)


def rate(name, value):
    """A learning rate: a number, or a function of the number of updates before."""
    if callable(value):
        return value
    return number(name, value, expected="a number or a function of the number of updates")


# Positive numbers have to stay positive in float32, and so do their inverses.
_SMALLEST = 2.0**-126


def bound(name, value):
    """What something must not exceed: a positive number; infinity changes nothing."""
    value = _real(name, value, "a number or None")
    if not value >= _SMALLEST:
        raise ValueError(f"{name}: {value!r} was given; it must be positive, from 2**-126")
    return value


def scale(name, value):
    """A positive factor."""
    factor = _real(name, value)
    if not _SMALLEST <= factor <= 1 / _SMALLEST:
        raise ValueError(f"{name}: {value!r} was given; it must be positive, from 2**-126 to 2**126")
    return factor


def count(name, value):
    """An integer from 1."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name}: expected an integer, found {value!r}")
    if not 1 <= value < 2**31:
        raise ValueError(f"{name}: {value} was given; it must be from 1 to 2**31 - 1")
    return int(value)


def optional(check):
    """What passes a check, or None."""
    return lambda name, value: None if value is None else check(name, value)


def betas(length):
    """So many decays of moving averages."""
    expected = "a pair of numbers" if length == 2 else f"{length} numbers"

    def check(name, value):
        if not isinstance(value, list | tuple) or len(value) != length:
            raise TypeError(f"{name}: expected {expected}, found {value!r}")
        return tuple(fraction(f"{name}[{index}]", beta) for index, beta in enumerate(value))

    return check


def flag(name, value):
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, found {value!r}")
    return bool(value)


def choice(*allowed):
    """One of a few words."""

    def check(name, value):
        if not isinstance(value, str):
            raise TypeError(f"{name}: expected one of {', '.join(map(repr, allowed))}, found {value!r}")
        if value not in allowed:
            raise ValueError(f"{name}: {value!r} was given; it must be one of {', '.join(map(repr, allowed))}")
        return value

    return check


# Options as formulas take them.


def each_beta(o):
    """The decays, each by its own name."""
    return {f"beta{index}": beta for index, beta in enumerate(o["betas"], start=1)}


def placed_eps(o):
    """eps as what is added inside the root and what outside: 0 is exact in either place."""
    inside = o["eps_placement"] == "inside"
    return {"eps_root": o["eps"] if inside else 0.0, "eps": 0.0 if inside else o["eps"]}
