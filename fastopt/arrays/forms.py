"""The forms in which parameters and gradients come, brought into one."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from numbers import Number
from typing import Any, TypeAlias, cast

import numpy as np

from fastopt.arrays.kinds import LOSS, cure, is_array_like, is_scalar, type_name
from fastopt.arrays.layout import Array
from fastopt.arrays.nesting import (
    Branch,
    fields_of,
    has_names,
    is_flat,
    leaves,
    may_be_nested,
    merged,
    place,
    shifted,
)
from fastopt.arrays.parameter import Parameter
from fastopt.options import counted

# One Iterable of all kinds of items: of several, checkers would not know which one a list is meant for. What nested
# lists hold is not checked, because lists are invariant: list[Array] is no list[Nested].
Nested: TypeAlias = "Array | Mapping[str, Nested] | list[Any] | tuple[Nested, ...]"
Params: TypeAlias = "Array | Mapping[str, Nested] | Iterable[Nested | tuple[str, Nested] | Mapping[str, Any]]"
Leaf: TypeAlias = Array | float | np.floating[Any] | None
Gradient: TypeAlias = "Leaf | Mapping[str, Gradient] | list[Any] | tuple[Gradient, ...]"
Gradients: TypeAlias = Array | float | np.floating[Any] | Mapping[str, Gradient] | Iterable[Gradient]


def group_dicts(params: Any) -> list[dict[str, Any]]:
    """``params``, in any of its forms, as group dicts; see `group_dict`. Some groups may be empty, but not all."""
    kind = type(params).__name__
    params = nesting_of("params", params)
    if isinstance(params, Mapping) and "params" in params:
        values = cast("Mapping[str, object]", params).values()
        if any(isinstance(value, Number) for value in values):
            raise ValueError("params: found one group, a dict with 'params' and options; groups come in a list: `[p]`")
    items: list[Any] = list(cast("Iterable[object]", params)) if isinstance(params, list | tuple) else []
    are_groups = [isinstance(item, Mapping) and "params" in item for item in items]
    if any(are_groups) and not all(are_groups):
        raise ValueError("params: some items are group dicts, with 'params' in them, and some are not; make all so")
    groups = list(map(group_dict, items if any(are_groups) else [{"params": params}]))
    if not any(group["params"] for group in groups):
        raise ValueError(
            f"params: expected at least one parameter, found none in a {kind}; pass them, by a new generator if the "
            f"last one was used up"
        )
    return groups


def group_dict(group: Any) -> dict[str, Any]:
    """One group dict: ``"params"`` a list of arrays, ``"param_names"`` or None, and ``"param_tree"``, their nesting.

    Its other entries are left as they are.
    """
    if not isinstance(group, Mapping):
        raise TypeError(
            f"group: expected a dict, found {type_name(group)}; pass one as in {{'params': [W, b], 'lr': 0.1}}"
        )
    mapping = cast(Mapping[str, Any], group)
    if "params" not in mapping:
        others = ", ".join(map(repr, mapping)) or "nothing"
        raise ValueError(f"group: it has no 'params', only {others}; add them, as in {{'params': [W, b], 'lr': 0.1}}")
    given: Any = nesting_of("params", mapping["params"])
    if is_array_like(given):
        given = (cast("object", given),)
    found: list[tuple[str, Any]] = []
    tree = cast(Branch, leaves("params", given, (), found))
    params = [array for _, array in found]
    names = [name for name, _ in found] if has_names(tree) else None
    beside = mapping.get("param_names")
    if beside is not None:
        if names:
            raise ValueError("param_names: the params have names of their own already; leave it out")
        # Names beside the arrays, as in PyTorch's groups and in our own.
        names = as_list("param_names", beside)
        if len(names) != len(params):
            raise ValueError(
                f"param_names: found {counted(len(names), 'name')} for {counted(len(params), 'parameter')}; give "
                f"one for each"
            )
        pairs = zip(names, params, strict=True)
        tree = cast(Branch, leaves("params", dict(pairs), (), []))
    return {**mapping, "params": params, "param_names": names, "param_tree": tree}


def joined(tree: Branch | None, others: Iterable[tuple[Branch, int]]) -> Branch:
    """The nesting of all parameters: those before, if any, and those of further groups, from the given indices on."""
    for other, first in others:
        other = cast(Branch, shifted(other, first))
        if tree is None or not tree.items:
            tree = other
        elif not other.items:
            continue
        elif tree.names is None and other.names is None and is_flat(tree) and is_flat(other):
            tree = Branch(tuple, None, tree.items + other.items)
        else:
            tree = cast(Branch, merged(tree, other))
    assert tree is not None  # an optimizer has a group
    return tree


_FORMS = {
    "params": "an array, arrays nested in lists, tuples and mappings, (name, array) pairs or group dicts",
    "like": "an array, or arrays nested in lists, tuples and mappings",
    "param_names": "a sequence of names",
    "grads": "an array, or arrays in the same nesting as the parameters",
}
_LETTERS = {"params": "p", "grads": "g"}
_NO_SEQUENCES: tuple[type[object], ...] = (str, bytes, set, frozenset)


def nesting_of(what: str, items: Any) -> Any:
    """A single array or a nesting as it is; any other ordered iterable as a list."""
    is_one = is_array_like(items) or isinstance(items, Mapping | list | tuple)
    return cast("object", items) if is_one else as_list(what, cast("Iterable[Any]", items))


def as_list(what: str, items: Iterable[Any] | None) -> list[Any]:
    """The items of a sequence or another ordered iterable, as a list."""
    if not isinstance(items, Iterable) or isinstance(items, _NO_SEQUENCES):
        if what == "param_names":
            advice = "pass strings, one for each parameter"
        elif isinstance(items, Set):
            advice = "pass a list, for a set has no order"
        else:
            advice = cure(_LETTERS.get(what, "x"), items, None)
        raise TypeError(f"{what}: expected {_FORMS[what]}, found {type_name(items)}; {advice}")
    return list(items)


def ordered(grads: Any, tree: Branch, parameters: Sequence[Parameter]) -> list[Any]:
    """The gradients as a list in the order of the parameters, from any of the forms that ``step`` takes."""
    count = len(parameters)
    if is_array_like(grads) or isinstance(grads, Number):
        if count != 1 and is_scalar(grads):
            raise TypeError(f"grads: expected {_FORMS['grads']}, found {type_name(grads)}; {LOSS}")
        if count != 1:
            raise ValueError(f"grads: one gradient was given for {count} parameters; pass a sequence or a mapping")
        return [grads]
    given: Any = grads
    if isinstance(grads, Mapping):
        given = dict(cast("Mapping[object, Any]", grads))
        if parameters[0].name is None:
            raise TypeError(
                "grads: the parameters have no names, so their gradients come as a sequence, not as a mapping"
            )
        names = {str(parameter.name): parameter.index for parameter in parameters}
        # By dotted names as well as nested.
        if tree.names is None or any(name in names and name not in tree.names for name in given):
            tree = Branch(dict, tuple(names), tuple(names.values()))
    elif fields_of(grads) is None:
        given = items = as_list("grads", grads)
        if len(items) == count and (is_flat(tree) or not may_be_nested(tree, items)):
            return items  # in their order
        if len(items) != count and is_flat(tree):
            sizes = Counter(parameter.group for parameter in parameters).values()
            order = (
                f", all in one list, in the order of the groups ({' + '.join(map(str, sizes))})"
                if len(sizes) > 1
                else ""
            )
            raise ValueError(
                f"grads: found {counted(len(items), 'gradient')} for {counted(count, 'parameter')}; pass one for each, "
                f"None for those to skip{order}"
            )
    placed: list[Any] = [None] * count
    place(tree, given, "", placed)
    return placed


def check_names(parameters: Sequence[Parameter]) -> None:
    counts = Counter(parameter.name for parameter in parameters)
    unnamed = counts.pop(None, 0)
    if unnamed and counts:
        raise ValueError(
            "params: some groups have names and some have not; name all, as in {'params': {'W': W}}, or none"
        )
    for name, count in counts.items():
        if count > 1:
            raise ValueError(
                f"params: the name {name!r} is given to {count} parameters; give each one of its own, as in "
                f"{{'encoder': ..., 'decoder': ...}}"
            )
