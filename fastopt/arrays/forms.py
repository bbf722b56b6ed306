"""The forms in which parameters and gradients come, brought into one."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np

from fastopt.arrays.layout import Array
from fastopt.arrays.parameter import Parameter
from fastopt.options import did_you_mean

# One Iterable of all kinds of items: of several, checkers would not know which one a list is meant for.
Params: TypeAlias = Array | Mapping[str, Array] | Iterable[Array | tuple[str, Array] | Mapping[str, Any]]
Gradients: TypeAlias = Array | Iterable[Array | None] | Mapping[str, Array | None]


def group_dicts(params: Params) -> list[dict[str, Any]]:
    """``params``, in any of its forms, as group dicts: ``"params"`` a list of arrays, ``"param_names"`` or None.

    A group's other entries are left as they are. Some groups may be empty, but not all.
    """
    kind = type(params).__name__
    if not isinstance(params, np.ndarray | Mapping):
        params = as_list("params", params)
    if isinstance(params, list) and params and all(isinstance(item, Mapping) for item in params):
        groups = [group_dict(item) for item in params]
    else:
        groups = [group_dict({"params": params})]
    if not any(group["params"] for group in groups):
        raise ValueError(
            f"params: expected at least one parameter, found none in a {kind}; pass them, by a new generator if the "
            f"last one was used up"
        )
    return groups


def group_dict(group: Any) -> dict[str, Any]:
    """One group dict in that form; see `group_dicts`."""
    if not isinstance(group, Mapping):
        raise TypeError(f"group: expected a dict with 'params' in it, found {type(group).__name__}")
    mapping = cast(Mapping[str, Any], group)
    if "params" not in mapping:
        raise ValueError("group: it has no 'params'")
    given: Params = mapping["params"]
    params: list[Any]
    if isinstance(given, np.ndarray):
        params = [given]
    elif isinstance(given, Mapping):
        params = list(cast(Mapping[str, Any], given).items())
    else:
        params = as_list("params", given)
    names = mapping.get("param_names")
    named = params and all(isinstance(item, tuple) and len(cast(tuple[object, ...], item)) == 2 for item in params)
    if named and names is not None:
        raise ValueError("param_names: the params have names of their own already")
    if named:
        names, params = [name for name, _ in params], [array for _, array in params]
    elif names is not None:
        # Names beside the arrays, as in PyTorch's groups and in our own.
        names = as_list("param_names", names)
        if len(names) != len(params):
            raise ValueError(f"param_names: {len(names)} names were given for {len(params)} parameters")
    for name in names or ():
        if not isinstance(name, str):
            raise TypeError(f"params: expected names that are strings, found {type(name).__name__}")
    return {**mapping, "params": params, "param_names": names}


_FORMS = {
    "params": "an array, a sequence of arrays, a mapping of names to arrays, (name, array) pairs or group dicts",
    "param_names": "a sequence of names",
    "grads": "an array, a sequence of arrays or a mapping of names to arrays",
}
_NO_SEQUENCES: tuple[type[object], ...] = (str, bytes, set, frozenset)


def as_list(what: str, items: Iterable[Any] | None) -> list[Any]:
    """The items of a sequence or another iterable in a certain order, as a list."""
    if not isinstance(items, Iterable) or isinstance(items, _NO_SEQUENCES):
        raise TypeError(f"{what}: expected {_FORMS[what]}, found {type(items).__name__}")
    return list(items)


def ordered(grads: Gradients, parameters: Sequence[Parameter]) -> list[Any]:
    """The gradients as a list in the order of the parameters, from any of the forms that ``step`` takes."""
    count = len(parameters)
    if isinstance(grads, np.ndarray):
        if count != 1:
            raise ValueError(f"grads: one array was given for {count} parameters; pass a sequence or a mapping")
        return [grads]
    if isinstance(grads, Mapping):
        return _by_name(cast(Mapping[Any, Any], grads), parameters)
    given = as_list("grads", grads)
    if len(given) != count:
        raise ValueError(
            f"grads: {len(given)} gradients were given for {count} parameters; "
            f"pass one for each, None for those to skip"
        )
    return given


def _by_name(grads: Mapping[Any, Any], parameters: Sequence[Parameter]) -> list[Any]:
    names = dict.fromkeys(parameter.name for parameter in parameters)
    if None in names:
        raise TypeError("grads: the parameters have no names, so their gradients come as a sequence, not as a mapping")
    for name in grads:
        if name not in names:
            raise ValueError(f"grads: there is no parameter {name!r}{did_you_mean(name, names)}")
    for name in names:
        if name not in grads:
            raise ValueError(f"grads: no gradient for parameter {name!r}; give None to skip it")
    return [grads[name] for name in names]


def check_names(parameters: Sequence[Parameter]) -> None:
    counts = Counter(parameter.name for parameter in parameters)
    unnamed = counts.pop(None, 0)
    if unnamed and counts:
        raise ValueError(
            "params: some groups have names and some have not; name all, as in {'params': {'W': W}}, or none"
        )
    for name, count in counts.items():
        if count > 1:
            raise ValueError(f"params: the name {name!r} is given to {count} parameters")
