"""An optimizer in one file: `save` and `load`."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from fastopt.arrays.layout import Array
from fastopt.arrays.parameter import Parameter
from fastopt.at_once import Assignment, assign, copying
from fastopt.engines.busy import not_busy
from fastopt.engines.threads import get_num_threads
from fastopt.groups import ParamGroup
from fastopt.options import flag
from fastopt.stages import Stages
from fastopt.state_dict import StateDicts, StateOfOne, checked_state

if TYPE_CHECKING:
    from fastopt.archive import Reader

FORMAT, VERSION = "fastopt checkpoint", 1


class Unmatched(NamedTuple):
    """Names of parameters: those that a file does not have, and those in it that the optimizer does not have."""

    missing: tuple[str, ...]
    unused: tuple[str, ...]


class Checkpoints(StateDicts):
    """An optimizer's ``save`` and ``load``."""

    def save(self, path: str | bytes | os.PathLike[str], *, parameters: bool = True) -> None:
        """Write the parameters, the state and the options to a file.

        Parameters
        ----------
        path : str or path-like
            A file that is there is replaced when the new one is whole and safe on the disk. Whenever the process or
            the machine stops, the path has the old file or the new one.
        parameters : bool, default True
            Whether the parameters are in the file too.

        Raises
        ------
        OSError
            The file cannot be written; one that was there before still is.
        ValueError
            A parameter was resized.
        RuntimeError
            The optimizer is in the middle of a step, or within ``with opt.swap_ema()``.

        See Also
        --------
        load

        Notes
        -----
        `numpy.load` opens the file too: ``"parameters/0"`` is the first parameter, ``"state/0/1"`` the second array of
        its state, and ``"fastopt.json"`` has their names and everything else. Options that JSON cannot hold, such as a
        learning rate that is a function, are left out, and the file says which.
        """
        with not_busy(self._busy):
            self._save(_checked_path(path), flag("parameters", parameters))

    def _save(self, path: str, with_parameters: bool) -> None:
        arrays: dict[str, Array] = {}
        snapshot = self._snapshot()
        header: dict[str, Any] = {"format": FORMAT, "version": VERSION, "rule": type(self).__name__}
        if with_parameters:
            for parameter in self._parameters:
                parameter.check_unchanged(writeable=False)
                arrays[f"parameters/{parameter.index}"] = parameter.view
            header["parameters"] = [{"array": key} for key in arrays]
        state: list[dict[str, Any]] = []
        for parameter, one in zip(self._parameters, snapshot["state"].values(), strict=True):
            keys = {name: f"state/{parameter.index}/{j}" for j, name in enumerate(parameter.state_flats)}
            arrays |= {key: one[name] for name, key in keys.items()}
            state.append({**one, **{name: {"array": key} for name, key in keys.items()}})
        groups = [{name: _plain(value) for name, value in group.items()} for group in snapshot["param_groups"]]
        stages = {name: _plain(value) for name, value in snapshot["stages"].items()}
        header["state_dict"] = {**snapshot, "state": state, "param_groups": groups, "stages": stages}
        from fastopt.archive import write  # only here, for what it imports takes as long as half of the package

        write(path, header, arrays.items(), get_num_threads())

    def load(self, path: str | bytes | os.PathLike[str], *, strict: bool = True) -> Unmatched:
        """Take over what `save` has written, in place: all arrays stay the same objects.

        Parameters
        ----------
        path : str or path-like
            The file.
        strict : bool, default True
            Whether the file has to be of an optimizer with the same rule, groups and parameters. If not, parameters are
            found by their names, and only those that both have are loaded, with their states: options, stages and the
            number of updates stay as they are. A file that was saved in the middle of an accumulation is refused then.

        Returns
        -------
        Unmatched
            The names ``missing`` in the file, and those in it that were ``unused``: both empty if `strict`.

        Raises
        ------
        OSError
            The file cannot be read.
        TypeError, ValueError
            It is damaged, of another optimizer or of a newer fastopt; or a parameter was resized or made read-only.
        RuntimeError
            The optimizer is in the middle of a step, or within ``with opt.swap_ema()``.

        See Also
        --------
        save

        Notes
        -----
        In each of these cases nothing has changed. If the file has no parameters, they stay as they are. So do options
        that were left out of the file, such as functions.
        """
        with not_busy(self._busy):
            return self._load(_checked_path(path), flag("strict", strict))

    def _load(self, path: str, strict: bool) -> Unmatched:
        from fastopt.archive import ASTRAY, Reader

        with Reader(path, get_num_threads()) as reader:
            try:
                saved = _Saved(path, reader)
                matched = self._all_of(saved) if strict else self._part_of(saved)
                for place, parameter, _ in matched.states:
                    saved.check_parameter(place, parameter)
            except ASTRAY as error:
                reader.check()  # a damaged file is called so, whatever it looks like
                if str(error).startswith(path):
                    raise
                what = error if isinstance(error, ValueError) else f"its header is wrong: {error!r}"
                raise ValueError(f"{path}: {what}") from error
            content = reader.read()
        copies = (one for state in matched.states for one in saved.becoming(*state, content))
        assign([*matched.options, *copies])
        return matched.unmatched

    def _all_of(self, saved: "_Saved") -> "_Matched":
        if saved.rule != type(self).__name__:
            raise ValueError(
                f"{saved.path}: it was saved by {saved.rule}, and this is {type(self).__name__}; load it with "
                f"{saved.rule}, or, where both rules keep the same state, by names, with strict=False"
            )
        loaded = self._checked(saved.path, saved.state_dict(self._groups, self._stages))
        states = zip(range(len(self._parameters)), self._parameters, loaded.state, strict=True)
        return _Matched([*self._becoming_options(loaded)], [*states], Unmatched((), ()))

    def _part_of(self, saved: "_Saved") -> "_Matched":
        own = [parameter.name for parameter in self._parameters]
        for whose, names in (("the optimizer's", own), ("the file's", saved.names)):
            if None in names:
                raise ValueError(
                    f"{saved.path}: strict=False goes by names, and {whose} parameters have none; pass params as "
                    f"{{'W': W}} to both optimizers, or load it with strict=True"
                )
        if saved.calls:
            raise ValueError(
                f"{saved.path}: it was saved in the middle of an accumulation, so no part of it can be loaded; save "
                f"after an update"
            )
        places = {name: place for place, name in enumerate(saved.names)}
        states: list[tuple[int, Parameter, StateOfOne]] = []
        for parameter in self._parameters:
            if parameter.name in places:
                place = places[parameter.name]
                state = checked_state(saved.path, parameter, saved.state[place], self._totals.calls)
                states.append((place, parameter, state))
        missing = tuple(str(name) for name in own if name not in places)
        unused = tuple(str(name) for name in saved.names if name not in own)
        return _Matched([], states, Unmatched(missing, unused))


class _Matched(NamedTuple):
    """What is to be loaded: options; and of each parameter its place in the file, and its state."""

    options: list[Assignment]
    states: list[tuple[int, Parameter, StateOfOne]]
    unmatched: Unmatched


class _Saved:
    """What is in a file. It is checked with arrays that have only shapes and types; `becoming` has the real ones."""

    def __init__(self, path: str, reader: "Reader") -> None:
        header = reader.header
        found = header["format"], header["version"]
        if found != (FORMAT, VERSION):
            raise ValueError(f"{path}: this fastopt reads {FORMAT!r} {VERSION}, found {found[0]!r} {found[1]!r}")
        self.path = path
        self.rule = header["rule"]
        self.calls = header["state_dict"]["stages"]["calls"]
        self._arrays = reader.arrays
        self._parameters: list[dict[str, str]] | None = header.get("parameters")
        self._state: list[dict[str, Any]] = header["state_dict"]["state"]
        self._groups: list[dict[str, Any]] = header["state_dict"]["param_groups"]
        self._others = header["state_dict"]
        self.state = [{name: self._like(value) for name, value in one.items()} for one in self._state]
        self.names: list[str | None] = []
        members: list[int] = []
        for group in self._groups:
            members += group["params"]
            self.names += group.get("param_names") or [None] * len(group["params"])
        unique = [name for name in self.names if name is not None]
        if members != [*range(len(self._state))] or len(self.names) != len(members) or len({*unique}) < len(unique):
            raise ValueError(f"{path}: its groups do not say which parameter is which")

    def _like(self, value: Any) -> Any:
        return self._arrays[value["array"]].like() if isinstance(value, dict) else value

    def state_dict(self, groups: Sequence[ParamGroup], stages: Stages) -> dict[str, Any]:
        """All of it. Options that were left out are as these groups and stages have them."""
        saved = [dict(group) for group in self._groups]
        for group, present in zip(saved, groups, strict=False):
            for name, value in group.items():
                if name not in ("params", "param_names"):
                    group[name] = present.get(name) if isinstance(value, dict) else _restored(value)
        of_stages = {
            name: getattr(stages, name) if isinstance(value, dict) else value
            for name, value in self._others["stages"].items()
        }
        return {**self._others, "state": dict(enumerate(self.state)), "param_groups": saved, "stages": of_stages}

    def check_parameter(self, place: int, parameter: Parameter) -> None:
        """Raise if what the file has does not fit a parameter."""
        if self._parameters is not None:
            parameter.check_unchanged()
            parameter.check_state(f"{self.path}: {parameter.label}", self._like(self._parameters[place]))

    def becoming(self, place: int, parameter: Parameter, state: StateOfOne, content: Array) -> Iterator[Assignment]:
        """The assignments that take over a parameter's state, and the parameter itself."""

        def stored(reference: dict[str, str]) -> Array:
            return self._arrays[reference["array"]].flat(content, parameter.order)

        flats = [stored(self._state[place][name]) for name in parameter.state_flats]
        yield from parameter.becoming(state.counts, state.carried, flats)
        if self._parameters is not None:
            yield copying(parameter.flat, stored(self._parameters[place]))


def _checked_path(path: object) -> str:
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"path: expected a string or a path, found {path!r}; pass the file's name")
    return os.fsdecode(cast("str | bytes | os.PathLike[str]", path))


def _plain(value: Any) -> Any:
    """An option as JSON can hold it; of others, such as functions, what they are called."""
    if isinstance(value, np.generic):
        value = cast(Any, value).item()
    return value if _is_plain(value) else {"left_out": getattr(value, "__qualname__", type(value).__qualname__)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, cast(Sequence[Any], value)))
    return value is None or isinstance(value, bool | int | float | str)


def _restored(value: Any) -> Any:
    """An option as it was: JSON has no tuples."""
    return tuple(map(_restored, cast(Sequence[Any], value))) if isinstance(value, list) else value
