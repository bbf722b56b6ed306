"""What stands for attributes of an optimizer: its options; and its parts, before they are built."""

from typing import Any

from fastopt.declared import Declared
from fastopt.options import did_you_mean, meant
from fastopt.synonyms import absent


class OptionOfGroups:
    """An option of the rule: the value that all groups agree on; setting it sets all groups."""

    def __init__(self, name: str, default: Any) -> None:
        self._name = name
        self._default = default

    def __get__(self, opt: Any, owner: type | None = None) -> Any:
        if opt is None:
            return self._default
        first, *others = [group[self._name] for group in opt.param_groups]
        if any(other is not first and other != first for other in others):
            raise ValueError(
                f"{self._name}: the groups differ in it; look at each, as in opt.param_groups[0][{self._name!r}]"
            )
        return first

    def __set__(self, opt: Any, value: Any) -> None:
        opt._set_option(self._name, value)


class OptionOfStages:
    """An option of the stages, which is the same for all groups."""

    def __init__(self, name: str, default: Any) -> None:
        self._name = name
        self._default = default

    def __get__(self, opt: Any, owner: type | None = None) -> Any:
        return self._default if opt is None else getattr(opt._stages, self._name)

    def __set__(self, opt: Any, value: Any) -> None:
        opt._set_stage(self._name, value)


class Absent:
    """An attribute that people look for by its name elsewhere: it raises AttributeError with what to use."""

    def __init__(self, advice: str) -> None:
        self._advice = advice

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, opt: Any, owner: type | None = None) -> Any:
        raise absent(self._name, f"{self._name}: an optimizer has no such attribute; {self._advice}")


def check_attribute(rule: type[Declared], name: str) -> None:
    """Raise AttributeError for an attribute whose name must be a slip, because it is so close to an option's.

    Others are left alone, for a user's rule may have attributes of its own.
    """
    if not name.startswith("_") and not hasattr(rule, name) and meant(name, rule._options, cutoff=0.8):
        hint = did_you_mean(name, rule.declared_defaults())
        raise AttributeError(f"{name}: {rule.__name__} has no such option{hint} Choose another name for anything else")


class Unbuilt:
    """What an optimizer has in the place of its parts until it is built: any use raises RuntimeError."""

    def __init__(self, rule: str) -> None:
        self._rule = rule

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # as those who only ask what this is expect, such as copy
        raise self._error()

    def __getitem__(self, key: object) -> Any:
        raise self._error()

    def _error(self) -> RuntimeError:
        return RuntimeError(
            f"{self._rule}: it is not built yet; its __init__ has to call `super().__init__(params)`, with the "
            f"options, before it uses the optimizer"
        )


def with_parts_unbuilt(opt: Any) -> Any:
    """A new optimizer that says so wherever it is used before it is built."""
    parts = Unbuilt(type(opt).__name__)
    # Not by its dict, because attributes are slower once somebody has asked for that.
    for name in ("_backend", "_built", "_busy", "_engines", "_totals"):
        object.__setattr__(opt, name, parts)
    return opt
