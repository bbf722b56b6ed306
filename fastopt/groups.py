"""Parameter groups and parameters' state, as their users see them."""

from collections.abc import Iterator, Mapping, MutableMapping
from functools import cached_property
from typing import Any, SupportsIndex

from fastopt.arrays.parameter import Parameter
from fastopt.at_once import Assignment, assign
from fastopt.engines.busy import not_busy
from fastopt.engines.totals import Totals
from fastopt.options import at_update, did_you_mean, meant
from fastopt.rule import Resolved, Rule
from fastopt.stages import STAGE_NAMES


class ParamGroup(MutableMapping[str, Any]):
    """One parameter group: a mapping of its options, and of ``"params"`` to its arrays.

    Options may be set at any time and act at the next step. A value that is refused changes nothing, and `update`
    sets several options at once or none.
    """

    def __init__(
        self, rule: type[Rule], index: int, members: dict[str, Any], resolved: Resolved, busy: Any, totals: Totals
    ) -> None:
        self._rule = rule
        self._index = index
        self._members = members
        self._resolved = resolved
        self._busy = busy
        self._totals = totals
        self._engine: Any = None

    def _attached(self, engine: Any) -> Assignment:
        """The assignment after which changes of options go to this engine."""
        return self.__dict__, "_engine", engine

    @property
    def current_lr(self) -> float:
        """The learning rate of the next update: ``lr`` itself, or what its function returns now."""
        return at_update("lr", self["lr"], self._totals.updates)

    @property
    def _options(self) -> dict[str, Any]:
        return self._resolved.options

    def __getitem__(self, key: str) -> Any:
        return self._members[key] if key in self._members else self._options[key]

    def __iter__(self) -> Iterator[str]:
        yield from self._members
        yield from self._options

    def __len__(self) -> int:
        return len(self._members) + len(self._options)

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def update(self, *args: Any, **kwargs: Any) -> None:
        changes = dict(*args, **kwargs)
        for key in changes:
            if key in self._members:
                raise ValueError(f"{key}: the parameters of a group cannot be replaced; use add_param_group")
        with not_busy(self._busy):
            assign(self._becoming(self._changed(known(changes, self._options, self._rule))))

    def _changed(self, changes: Mapping[str, Any]) -> Resolved:
        """The group's options with these changes, checked; nothing is set."""
        old, new = self._resolved, self._rule.resolved({**self._options, **changes})
        if (new.arrays, new.carried) != (old.arrays, old.carried):
            raise ValueError(
                f"{', '.join(changes)}: this would need other state arrays than the parameters have, or other initial "
                f"values; make a new optimizer, or add a group"
            )
        return new

    def _becoming(self, resolved: Resolved) -> Iterator[Assignment]:
        """The assignments that take over options, which have been checked. The busy lock must be held."""
        yield self._engine.groups, self._index, self._engine.group(self._index, resolved.call)
        yield self.__dict__, "_resolved", resolved

    def __delitem__(self, key: str) -> None:
        raise TypeError(f"{key}: an option cannot be removed from a group; set it to another value")

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        # A copy of a group belongs to no optimizer, so it is a dict.
        return dict, (dict(self),)


class State(Mapping[str, Any]):
    """The state of one parameter: its ``"step"`` count, the numbers that it carries, and its arrays, by name.

    Write into the arrays to change it.
    """

    def __init__(self, parameter: Parameter) -> None:
        self._parameter = parameter

    def __getitem__(self, key: str) -> Any:
        if key in self._parameter.count_names:
            return self._parameter.count(key)
        if key in self._parameter.carried_names:
            return float(self._parameter.carried[self._parameter.carried_names.index(key)])
        return self._parameter.state(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameter.state_names)

    def __len__(self) -> int:
        return len(self._parameter.state_names)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return dict, (dict(self),)


class States(tuple[State, ...]):
    """The state of all parameters, by index or by name."""

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            index: SupportsIndex = key  # or a slice
            return super().__getitem__(index)
        if not self._by_name:
            raise KeyError("the parameters have no names; use their indices")
        if key not in self._by_name:
            raise KeyError(f"there is no parameter {key!r}{did_you_mean(key, self._by_name)}")
        return self._by_name[key]

    def __contains__(self, key: object) -> bool:
        return key in self._by_name if isinstance(key, str) else super().__contains__(key)

    @cached_property
    def _by_name(self) -> dict[str, State]:
        return {one._parameter.name: one for one in self if one._parameter.name is not None}

    def __reduce__(self) -> tuple[type, tuple[tuple[State, ...]]]:
        return tuple, (tuple(self),)


def known(given: Mapping[str, Any], options: Mapping[str, Any], rule: type[Rule]) -> Mapping[str, Any]:
    """The given options, if all of them are among a rule's; else an error that names the first that is not."""
    for name in given:
        if name not in options:
            stages = [one for one in meant(name, [*options, *STAGE_NAMES]) if one in STAGE_NAMES]
            hint = f"; {stages[0]!r} is a stage, the same for all groups; set it in the optimizer" if stages else ""
            raise ValueError(f"{rule.__name__}: unknown option {name!r}{hint or did_you_mean(name, options)}")
    return given
