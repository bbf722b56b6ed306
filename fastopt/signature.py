"""What a formula takes: its arrays, numbers and flags, and the state that it uses."""

import dis
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from fastopt.formula import Carried
from fastopt.number import Unchecked
from fastopt.quiet import quietly

Formula: TypeAlias = Callable[..., Any]


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
    for name, parameter in inspect.signature(formula, follow_wrapped=False).parameters.items():
        annotation = _known(parameter.annotation, formula)
        if parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise TypeError(
                f"formula {formula.__name__}: {name}: its arguments have no defaults, and no star but the bare one"
            )
        if parameter.kind is not parameter.KEYWORD_ONLY and annotation in (bool, float, Carried):
            raise TypeError(f"formula {formula.__name__}: {name}: numbers and flags stand after the *")
        if parameter.kind is not parameter.KEYWORD_ONLY:
            arrays.append(name)
        elif annotation is bool:
            flags.append(name)
        elif annotation is Carried:
            carried.append(name)
        elif annotation in (parameter.empty, float):
            numbers.append(name)
        else:
            raise TypeError(
                f"formula {formula.__name__}: {name}: it is a number, without annotation or float; a flag, bool; "
                f"or carried from update to update, Carried"
            )
    if arrays[:1] != ["d"]:
        found = ", ".join(arrays) or "none"
        raise TypeError(
            f"formula {formula.__name__}: its first argument is d, the effective gradient, also in a class, where it "
            f"takes no self; found {found}"
        )
    return Signature(tuple(arrays[1:]), tuple(numbers), tuple(flags), tuple(carried))


def _known(annotation: Any, formula: Formula) -> Any:
    """An annotation, also where it was written as a string."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, formula.__globals__)
    except Exception:  # whatever is wrong with it, it is none of those that mean something
        return annotation


def check_assignments(formula: Formula) -> None:
    """Raise TypeError if a formula gives one of its parameters another meaning: ``m = ...`` would update nothing."""
    code = formula.__code__
    parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    for instruction in dis.get_instructions(code):
        if not instruction.opname.startswith("STORE_FAST"):
            continue
        # Newer Pythons may store two at once, or store one and load another.
        stored = cast("str | tuple[str, ...]", instruction.argval)
        stored = (stored,) if isinstance(stored, str) else stored
        for name in stored[:1] if instruction.opname.endswith("LOAD_FAST") else stored:
            if name in parameters:
                raise TypeError(
                    f"formula {formula.__name__}: {name} = ...: an argument keeps its meaning; an array is updated by "
                    f"{name}[:] = ..., and other values have other names"
                )


class _Probe(np.ndarray[Any, Any]):
    """An array that notes when it is used."""

    used = False
    written = False

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple[Any, ...] = (), **kwargs: Any
    ) -> Any:
        if out:
            for one in out:
                one.written = True
            kwargs["out"] = tuple(map(_seen, out))
        return getattr(ufunc, method)(*map(_seen, inputs), **kwargs)

    def __array_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: Iterable[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        return function(*map(_seen, args), **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return _seen(self)[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.written = True
        _seen(self)[key] = _seen(value)


def _seen(x: Any) -> Any:
    if not isinstance(x, _Probe):
        return x
    x.used = True
    return np.asarray(x)


class _Open(Unchecked):
    """A number whose comparisons come out both ways, one after the other."""

    script: list[bool] = []  # how the first comparisons of this run come out
    trail: list[bool] = []  # how all of them did

    def __bool__(self) -> bool:
        answer = self.script[len(self.trail)] if len(self.trail) < len(self.script) else True
        self.trail.append(answer)
        return answer

    __hash__ = Unchecked.__hash__


def _open(of_number: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The method of a comparison: with a number it is open, with an array it is what it was."""
    return lambda self, other: bool(self) if isinstance(other, int | float) else of_number(self, other)


for _name in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"):
    setattr(_Open, _name, _open(getattr(Unchecked, _name)))


def _next_script(trail: list[bool]) -> list[bool] | None:
    """The script of the next run, when one has gone this way; None after the last."""
    while trail and not trail[-1]:
        trail.pop()
    return [*trail[:-1], False] if trail else None


def carried_on(made: NDArray[Any] | tuple[Any, ...] | None) -> tuple[Any, list[Any]]:
    """What a formula returned: its step or None, and the numbers that it carries on to the next update."""
    step, *carried = made if isinstance(made, tuple) and made else (made,)
    return step, carried


_MAX_RUNS = 1000
# What a formula may raise where numbers lead it astray; not memory that has run out, nor what a signal raises.
_ASTRAY = (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError)


@lru_cache(maxsize=1000)
def used_state(formula: Formula, flags: tuple[str, ...]) -> tuple[str, ...]:
    """The state arrays, of those that a formula names, that it uses at any update when these flags are set.

    It is run on probes, and numbers decide both ways, for they may change from update to update. Raises TypeError if it
    never returns a step, nor assigns p, and where it does both.
    """
    names = signature(formula)
    used: set[str] = set()
    errors: list[Exception] = []
    given = {name: name in flags for name in names.flags}
    script: list[bool] | None = []
    fine = False
    for _ in range(_MAX_RUNS):
        trail: list[bool] = []
        kind: Any = type("Open", (_Open,), {"script": script, "trail": trail})
        probes = {name: np.ones(2).view(_Probe) for name in names.arrays}
        numbers = {name: kind(1) for name in (*names.numbers, *names.carried)}
        try:
            made: Any = quietly(partial(formula, np.ones(2), *probes.values(), **numbers, **given))
            step: object = carried_on(made)[0]
            fine = fine or (step is None) == ("p" in probes and probes["p"].written)
            _seen(step)
        except _ASTRAY as error:
            errors.append(error)
        used |= {name for name in names.state if probes[name].used}
        script = _next_script(trail)
        if script is None:
            break
    what = f"formula {formula.__name__}"
    if not fine and errors:
        if isinstance(errors[0], TypeError):
            hint = "it computes with + - * /, comparisons and the words of fastopt.formula"
            raise TypeError(f"{what}: {errors[0]}; {hint}") from errors[0]
        raise errors[0]
    if not fine:
        raise TypeError(f"{what}: a formula returns a step, or else assigns p[:]; this one does neither, or both")
    return tuple(name for name in names.state if name in used)
