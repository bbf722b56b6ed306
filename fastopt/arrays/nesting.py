"""How parameters are nested: lists, tuples and mappings of arrays, or of further ones."""

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any, NamedTuple, TypeAlias, cast

from fastopt.arrays.kinds import type_name
from fastopt.options import did_you_mean


class Branch(NamedTuple):
    """A list, tuple or mapping among the parameters.

    The compiled engine takes its fields by their places.
    """

    kind: type[Any]  # what is made of it again: dict, list, tuple or a named tuple
    names: tuple[str, ...] | None  # of its items, where it is a mapping or a named tuple
    items: tuple["Tree", ...]


Tree: TypeAlias = int | Branch  # a parameter's index, or more than one


def opened(item: Any) -> tuple[type[Any], tuple[Any, ...] | None, list[Any]] | None:
    """The kind, the names and the items of a list, tuple or mapping; None for anything else.

    Pairs whose first is a string are names with their items.
    """
    if isinstance(item, Mapping):
        mapping = cast("Mapping[object, Any]", item)
        return dict, tuple(mapping), list(mapping.values())
    if not isinstance(item, list | tuple):
        return None
    items: list[Any] = list(cast("Sequence[object]", item))
    kind: type[Any] = type(cast("object", item))
    if (fields := fields_of(item)) is not None:
        return kind, fields, items
    if items and all(map(_is_pair, items)):
        return dict, tuple(name for name, _ in items), [value for _, value in items]
    return (tuple if issubclass(kind, tuple) else list), None, items


def fields_of(item: Any) -> tuple[str, ...] | None:
    """The names of a named tuple's items; None for anything else."""
    fields: object = getattr(item, "_fields", None)
    if not (isinstance(item, tuple) and isinstance(fields, tuple)):
        return None
    names = cast("tuple[str, ...]", fields)
    return names if len(names) == len(cast("Sequence[object]", item)) else None


def is_named(item: Any) -> bool:
    """Whether it is a mapping or a named tuple."""
    return isinstance(item, Mapping) or fields_of(item) is not None


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(cast("Sequence[object]", item)) == 2 and isinstance(item[0], str)


def leaves(what: str, items: Any, path: tuple[str, ...], found: list[tuple[str, Any]]) -> Tree:
    """The tree of parameters; they are appended to `found`, with their dotted names.

    A list of numbers within was meant as an array, so it is one leaf; but among ``"grads"`` numbers are leaves.
    """
    branch = opened(items)
    numbers = what == "grads"
    if branch is None or (path and not numbers and branch[1] is None and any(isinstance(x, Number) for x in branch[2])):
        found.append((".".join(path), items))
        return len(found) - 1
    kind, names, items = branch
    seen: set[str] = set()
    for name in names or ():
        if not isinstance(name, str):
            raise TypeError(
                f"{what}: expected names that are strings, found {type_name(name)} {name!r}; make it {str(name)!r}"
            )
        if name in seen:
            raise ValueError(f"{what}: the name {'.'.join((*path, name))!r} is there twice; give each one of its own")
        seen.add(name)
    keys = map(str, range(len(items))) if names is None else names
    pairs = zip(keys, items, strict=True)
    return Branch(kind, names, tuple(leaves(what, item, (*path, key), found) for key, item in pairs))


def has_names(tree: Tree) -> bool:
    """Whether parameters are called by names: those in one flat list are not."""
    return isinstance(tree, Branch) and not (tree.names is None and is_flat(tree))


def shown_names(tree: Tree, found: Sequence[tuple[str, Any]]) -> list[str]:
    """What messages call the leaves that were found."""
    return [repr(name) if has_names(tree) else str(index) for index, (name, _) in enumerate(found)]


def is_flat(tree: Branch) -> bool:
    """Whether there is nothing but parameters in it."""
    return all(isinstance(item, int) for item in tree.items)


def may_be_nested(tree: Branch, grads: Sequence[Any]) -> bool:
    """Whether gradients in a sequence can be nested as parameters are: None stands for a whole branch too."""
    return (
        tree.names is None
        and len(grads) == len(tree.items)
        and all(isinstance(item, int) or g is None or opened(g) for item, g in zip(tree.items, grads, strict=True))
    )


def shifted(tree: Tree, by: int) -> Tree:
    """The same tree, with `by` added to all indices."""
    return tree + by if isinstance(tree, int) else tree._replace(items=tuple(shifted(item, by) for item in tree.items))


def merged(one: Tree, other: Tree) -> Tree:
    """Two trees with names as one: those of parameter groups, which may have parts of the same layers."""
    if isinstance(one, int) or isinstance(other, int) or one.names is None or other.names is None:
        raise ValueError(
            "params: the groups are nested in ways that do not fit together; nest all by names, as in "
            "{'params': {'encoder': ...}}"
        )
    items = dict(zip(one.names, one.items, strict=True))
    for name, item in zip(other.names, other.items, strict=True):
        items[name] = merged(items[name], item) if name in items else item
    return Branch(dict, tuple(items), tuple(items.values()))


def rebuilt(tree: Tree, leaves: Sequence[Any]) -> Any:
    """Lists, tuples and mappings nested as the parameters are, with other leaves."""
    if isinstance(tree, int):
        return leaves[tree]
    items = [rebuilt(item, leaves) for item in tree.items]
    if tree.names is None:
        return tree.kind(items)
    return dict(zip(tree.names, items, strict=True)) if tree.kind is dict else tree.kind(*items)


def place(tree: Tree, grads: Any, where: str, placed: list[Any]) -> None:
    """Put gradients, nested as the parameters are, in their parameters' places; None stands for a whole branch too.

    ``where`` is the path to them: an empty string at the top, else with a dot at its end.
    """
    if isinstance(tree, int):
        placed[tree] = grads
    elif grads is not None and tree.names is None:
        _place_sequence(tree, grads, where, placed)
    elif grads is not None:
        _place_by_name(tree, tree.names or (), grads, where, placed)


def _place_sequence(tree: Branch, grads: Any, where: str, placed: list[Any]) -> None:
    found = type(grads).__name__
    if not isinstance(grads, list | tuple) or is_named(grads):
        raise TypeError(f"grads{_at(where)}: expected a list or tuple, as the parameters are nested, found {found}")
    items = list(cast("Sequence[object]", grads))
    if len(items) != len(tree.items):
        raise ValueError(
            f"grads{_at(where)}: found {len(items)} for {len(tree.items)}; pass one for each, None for those to skip"
        )
    for index, (item, g) in enumerate(zip(tree.items, items, strict=True)):
        place(item, g, f"{where}{index}.", placed)


def _place_by_name(tree: Branch, names: tuple[str, ...], grads: Any, where: str, placed: list[Any]) -> None:
    found = opened(grads) if is_named(grads) else None
    if found is None:
        raise TypeError(
            f"grads{_at(where)}: expected a mapping with {', '.join(names) or 'nothing in it'}, as the parameters are "
            f"nested, found {type(grads).__name__}"
        )
    _, of_grads, items = found
    given: dict[Any, Any] = dict(zip(of_grads or (), items, strict=True))
    for name in given:
        if name not in names:
            full = f"{where}{name}" if isinstance(name, str) else name
            hint = did_you_mean(full, [where + one for one in names])
            raise ValueError(f"grads: there is no parameter {full!r}{hint}")
    for name, item in zip(names, tree.items, strict=True):
        if name not in given:
            raise ValueError(f"grads: no gradient for parameter {where + name!r}; pass it, or None to skip it")
        place(item, given[name], f"{where}{name}.", placed)


def _at(where: str) -> str:
    return f" at {where[:-1]!r}" if where else ""
