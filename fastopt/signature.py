"""What a formula takes: its arrays, numbers and flags, and the state that it uses."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fastopt.formula import Carried
from fastopt.numbers import Unchecked

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
