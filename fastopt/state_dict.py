"""An optimizer's state and options, out as a dict or a pickle and in again; a dict is checked before."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple, cast

import numpy as np

from fastopt.arrays.forms import group_dict
from fastopt.arrays.kinds import type_name
from fastopt.arrays.layout import Array, flat
from fastopt.arrays.parameter import SAME, Parameter
from fastopt.at_once import Assignment, assign
from fastopt.contents import Contents
from fastopt.engines.busy import not_busy
from fastopt.engines.shared import COUNTS_END, check_stages
from fastopt.engines.totals import Totals
from fastopt.groups import ParamGroup
from fastopt.options import any_number, counted, did_you_mean
from fastopt.rule import Resolved, Rule
from fastopt.stages import STAGE_NAMES, Stages

VERSION = 1  # of the layout
_AS_IT_WAS = "pass it as `state_dict` returned it"
STAGE_COUNTS = ("calls", "skipped_steps")  # those of the totals that stand under "stages"


class StateOfOne(NamedTuple):
    """The state of one parameter, checked."""

    counts: list[int]
    carried: list[float]
    arrays: list[Array]  # as they were given


class Loaded(NamedTuple):
    """What a state dict holds, checked."""

    groups: list[Resolved]
    stages: Stages
    totals: Totals
    state: list[StateOfOne]


class StateDicts(Contents):
    """An optimizer's ``state_dict`` and ``load_state_dict``, and pickling."""

    def state_dict(self) -> dict[str, Any]:
        """A snapshot of state and options, laid out as PyTorch's.

        Returns
        -------
        dict
            ``"state"``: for each parameter's index its ``"step"``, with `accumulate` also how many gradients are
            ``"accumulated"``, the numbers that its rule carries, and copies of its state arrays.
            ``"param_groups"``: for each group its options, with the indices of its parameters as ``"params"``.
            ``"stages"``: their options, and the counts ``"calls"`` since the last update and ``"skipped_steps"``.
            ``"updates"``: the number of updates so far, which functions for the learning rate are called with.
            ``"version"``: the version of this layout.

        Raises
        ------
        RuntimeError
            The optimizer is in the middle of a step.
        """
        # By a call: in newer Pythons an interrupt can slip out between a comprehension and the `with` around it.
        with not_busy(self._busy):
            return self._copied_snapshot()

    def _copied_snapshot(self) -> dict[str, Any]:
        snapshot = self._snapshot()
        for one in snapshot["state"].values():
            for name, value in one.items():
                one[name] = value if isinstance(value, int | float) else value.copy(order="K")
        return snapshot

    def _snapshot(self) -> dict[str, Any]:
        """The state dict with the state arrays themselves."""
        totals = self._totals
        state = {index: dict(one) for index, one in enumerate(self._state)}
        saved: list[dict[str, Any]] = []
        indices = iter(state)
        for group in self._groups:
            saved.append({**group, "params": [next(indices) for _ in group["params"]]})
            if "param_names" in group:
                saved[-1]["param_names"] = list(group["param_names"])
        stages = {**self._stages.as_dict(), "calls": totals.calls, "skipped_steps": totals.skipped_steps}
        return {
            "version": VERSION,
            "updates": totals.updates,
            "state": state,
            "param_groups": saved,
            "stages": stages,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state and the options of a `state_dict`. The parameters themselves are not in it.

        Parameters
        ----------
        state_dict : mapping
            From an optimizer with the same rule, and parameters of the same shapes and dtypes in the same groups.

        Raises
        ------
        TypeError
            An entry has a wrong kind or dtype.
        ValueError
            An entry is missing, unknown, out of range, or has a wrong shape.
        RuntimeError
            The optimizer is in the middle of a step.

        Notes
        -----
        In each of these cases nothing has changed.
        """
        with not_busy(self._busy):
            loaded = self._checked("state_dict", state_dict)
            states = [
                # Copies, because the arrays may be this optimizer's own in another order.
                (counts, carried, [flat(np.array(array, order=parameter.order)) for array in arrays])
                for parameter, (counts, carried, arrays) in zip(self._parameters, loaded.state, strict=True)
            ]
            assign([*self._becoming_options(loaded), *self._becoming_state(states)])

    def _checked(self, source: str, state_dict: Any) -> Loaded:
        """What a state dict holds for this optimizer; raises, with its source, where it does not fit."""
        expected = ("version", "updates", "state", "param_groups", "stages")
        if isinstance(state_dict, Mapping) and not {"version", "stages"} & set(
            cast("Mapping[object, object]", state_dict)
        ):
            raise ValueError(f"{source}: this is no state dict of fastopt; {_AS_IT_WAS}")
        version, updates, state, given, of_stages = _entries(source, state_dict, expected)
        if type(version) is not int or version != VERSION:
            raise ValueError(
                f"{source}['version']: this fastopt reads version {VERSION}, found {version!r}; load it with the one "
                f"that saved it"
            )
        rule = cast(type[Rule], type(self))
        resolved, keys = _check_groups(f"{source}['param_groups']", given, rule, self._groups)
        stages, counts = _check_stages(f"{source}['stages']", of_stages, self._stages)
        totals = Totals(_count(f"{source}['updates']", updates), **counts)
        blocks = _entries(f"{source}['state']", state, keys)
        states = [
            checked_state(source, parameter, block, totals.calls)
            for parameter, block in zip(self._parameters, blocks, strict=True)
        ]
        return Loaded(resolved, stages, totals, states)

    def _becoming_options(self, loaded: Loaded) -> Iterator[Assignment]:
        """The assignments that take over options and totals."""
        for group, resolved in zip(self._groups, loaded.groups, strict=True):
            yield from group._becoming(resolved)
        yield from self._becoming_stages(loaded.stages)
        yield self._totals.becoming(loaded.totals)

    def __getstate__(self) -> dict[str, Any]:
        with not_busy(self._busy):
            return self._contents()

    def _contents(self) -> dict[str, Any]:
        # A function that gave shared memory or a file to this optimizer might give the same to a copy of it.
        built = {"_built", "_engines", "_totals", "_backend", "_busy", "_state_memory"}
        return {
            "kept": {name: value for name, value in self.__dict__.items() if name not in built},
            "stages": self._stages,
            "groups": [dict(group) for group in self._groups],
            "tree": self._tree,
            "totals": self._totals.as_dict(),
            # Copies, because whoever takes this goes through it when steps are possible again.
            "state": [parameter.saved_state() for parameter in self._parameters],
        }

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        for name, value in pickled["kept"].items():
            object.__setattr__(self, name, value)
        self._start_empty(self._forced, pickled["stages"])
        self._extend([group_dict(group) for group in pickled["groups"]], pickled["tree"])
        assign([self._totals.becoming(Totals(**pickled["totals"])), *self._becoming_state(pickled["state"])])

    def _becoming_state(self, state: Sequence[Any]) -> Iterator[Assignment]:
        """The assignments that take over the state of each parameter, which has been checked."""
        for parameter, values in zip(self._parameters, state, strict=True):
            yield from parameter.becoming(*values)


def checked_state(source: str, parameter: Parameter, block: Any, calls: int) -> StateOfOne:
    """What a state dict's entry holds for a parameter, after so many calls of `step` since the last update."""
    label = f"{source}['state']: {parameter.label}"
    entries = dict(zip(parameter.state_names, _entries(label, block, parameter.state_names), strict=True))
    counts = [_count(f"{label}: {name!r}", entries[name]) for name in parameter.count_names]
    if sum(counts[1:]) > calls:
        raise ValueError(
            f"{label}: 'accumulated': {counts[1]} was given; it must not be above 'calls', which is {calls}"
        )
    carried = [_number(f"{label}: {name!r}", entries[name]) for name in parameter.carried_names]
    arrays = [parameter.check_state(f"{label}: {name!r}", entries[name]) for name in parameter.state_flats]
    return StateOfOne(counts, carried, arrays)


def _check_groups(
    source: str, given: Any, rule: type[Rule], groups: Sequence[ParamGroup]
) -> tuple[list[Resolved], list[Any]]:
    """The options of each group, and the keys of all parameters' state."""
    _check_length(source, given, len(groups), "group")
    resolved: list[Resolved] = []
    keys: list[Any] = []
    for index, (mine, loaded) in enumerate(zip(groups, given, strict=True)):
        label = f"{source}[{index}]"
        loaded = dict(zip(mine, _entries(label, loaded, mine), strict=True))
        members = loaded.pop("params")
        _check_length(f"{label}['params']", members, len(mine["params"]), "parameter")
        for key in members:
            if isinstance(key, bool) or not isinstance(key, Integral):
                raise TypeError(f"{label}['params']: expected the integers of entries in 'state', found {key!r}")
        keys += members
        if "param_names" in mine:
            names = loaded.pop("param_names")
            _check_length(f"{label}['param_names']", names, len(members), "name")
            for name, expected in zip(names, mine["param_names"], strict=True):
                if not isinstance(name, str) or name != expected:
                    raise ValueError(f"{label}['param_names']: expected {expected!r}, found {name!r}; {SAME}")
        resolved.append(rule.resolved(loaded))
        _check_arrays(f"{label}: its options", resolved[-1].arrays, mine._resolved.arrays)
    for key, count in Counter(keys).items():
        if count > 1:
            raise ValueError(
                f"{source}: {key} stands for more than one parameter; give each an entry of its own in 'state'"
            )
    return resolved, keys


def _check_stages(source: str, given: Any, present: Stages) -> tuple[Stages, dict[str, int]]:
    """The stages' options and counts."""
    names = (*STAGE_NAMES, *STAGE_COUNTS)
    loaded = dict(zip(names, _entries(source, given, names), strict=True))
    counts = {name: _count(f"{source}[{name!r}]", loaded.pop(name)) for name in STAGE_COUNTS}
    stages = present.changed(**loaded)
    _check_arrays(f"{source}: they", stages.arrays, present.arrays)
    check_stages(stages)
    if counts["calls"] and stages.accumulate == 1:
        raise ValueError(f"{source}['calls']: without accumulate it is 0, found {counts['calls']}; set it to 0")
    return stages, counts


def _count(label: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{label}: expected an int, found {type_name(value)}; pass `int(x)`")
    count = int(value)
    if not 0 <= count < COUNTS_END:
        raise ValueError(f"{label}: {value} was given; it must be in [0, 2**62)")
    return count


def _number(label: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{label}: expected a float, found {type_name(value)}; pass `float(x)`")
    return any_number(label, value)


def _check_length(label: str, value: Any, length: int, what: str) -> None:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{label}: expected a list, found {type_name(value)}; {_AS_IT_WAS}")
    found = len(cast(Sequence[object], value))
    if found != length:
        raise ValueError(f"{label}: expected {counted(length, what)}, found {found}; {SAME}")


def _check_arrays(label: str, needed: Collection[str], present: Collection[str]) -> None:
    needed, present = list(needed), list(present)
    if needed != present:
        raise ValueError(f"{label} need other state arrays than this optimizer has: {needed}, not {present}; {SAME}")


def _entries(label: str, mapping: Any, expected: Iterable[Any]) -> list[Any]:
    """The values of a mapping in the order of the keys that it must have, no more and no fewer."""
    expected = dict.fromkeys(expected)
    if not isinstance(mapping, Mapping):
        raise TypeError(f"{label}: expected a dict, found {type_name(mapping)}; {_AS_IT_WAS}")
    entries = cast(Mapping[object, Any], mapping)
    missing = [key for key in expected if key not in entries]
    if missing:
        raise ValueError(f"{label}: {missing[0]!r} is missing; {SAME}")
    extra = [key for key in entries if key not in expected]
    if extra:
        raise ValueError(f"{label}: unknown entry {extra[0]!r}{did_you_mean(extra[0], expected)}")
    return [entries[key] for key in expected]
