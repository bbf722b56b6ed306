"""Options, declared once, as annotated class attributes: from them follow signatures, checks and what editors show."""

import inspect
import sys
from collections.abc import Mapping
from dataclasses import KW_ONLY, InitVar
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, get_origin

from fastopt.options import Check, check_of, did_you_mean

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_):
        """What tells type checkers that subclasses declare options; Python itself has it from 3.11."""
        return lambda cls: cls


class Option(NamedTuple):
    """One option."""

    name: str
    default: Any
    check: Check
    keyword_only: bool = True


# Type checkers look for options in the subclasses of what is decorated, not in itself.
@dataclass_transform(eq_default=False)
class Declared:
    """Subclasses declare options as dataclasses declare fields: ``name: annotation = default``.

    What follows ``_: KW_ONLY`` is given by name only.
    """

    _options: ClassVar[dict[str, Option]] = {}
    _arguments: ClassVar[tuple[str, ...]] = ()  # of the constructor, by name, that are no options

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        inherited: dict[str, Option] = {}
        for base in reversed(cls.__mro__[1:]):
            inherited |= vars(base).get("_options", {})
        cls._options = inherited | _own_options(cls) | _new_defaults(cls, inherited)

    @classmethod
    def checked(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Options as they are used, each checked by itself."""
        return {name: cls._options[name].check(name, value) for name, value in given.items()}

    @classmethod
    def named(cls, positional: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, Any]:
        """All options by name, in their order, from what a call was given; raises TypeError for what is unknown."""
        places = [option.name for option in cls._options.values() if not option.keyword_only]
        if len(positional) > len(places):
            raise TypeError(
                f"{cls.__name__}: {len(positional)} options were given by position; only {', '.join(places)} can be; "
                f"name the others"
            )
        by_position = dict(zip(places, positional, strict=False))
        for name in given:
            if name not in cls._options:
                hint = did_you_mean(name, cls.declared_defaults() | dict.fromkeys(cls._arguments))
                raise TypeError(f"{cls.__name__}: unknown option {name!r}{hint}")
            if name in by_position:
                raise TypeError(f"{cls.__name__}: {name!r} was given by position and by name; give it once")
        return cls.declared_defaults() | by_position | dict(given)

    @classmethod
    def declared_defaults(cls) -> dict[str, Any]:
        return {name: option.default for name, option in cls._options.items()}


def _own_options(cls: type[Declared]) -> dict[str, Option]:
    """What a class itself declares."""
    options: dict[str, Option] = {}
    keyword_only = False
    annotations: dict[str, Any] = inspect.get_annotations(cls)
    for name, annotation in annotations.items():
        if isinstance(annotation, str):
            try:
                scope = getattr(sys.modules.get(cls.__module__), "__dict__", {})
                annotation = eval(annotation, scope, dict(vars(cls)))
            except Exception as error:  # it may be any expression, and wrong in any way
                raise TypeError(f"{cls.__name__}.{name}: its annotation {annotation!r} is not known: {error}") from None
        if annotation is KW_ONLY:
            keyword_only = True
        is_class_variable = annotation is ClassVar or get_origin(annotation) is ClassVar
        if name.startswith("_") or name in cls._arguments or is_class_variable or isinstance(annotation, InitVar):
            continue
        if name not in vars(cls):
            raise TypeError(f"{cls.__name__}.{name}: an option has a default, as in {name}: float = 0.9")
        try:
            check = check_of(annotation)
        except TypeError as error:
            raise TypeError(f"{cls.__name__}.{name}: {error}") from None
        options[name] = Option(name, vars(cls)[name], check, keyword_only)
    return options


def _new_defaults(cls: type, inherited: Mapping[str, Option]) -> dict[str, Option]:
    """The inherited options to which a class gives another default, without saying again what they are."""
    annotated = inspect.get_annotations(cls)
    return {
        name: inherited[name]._replace(default=value)
        for name, value in vars(cls).items()
        if name in inherited and name not in annotated
    }


def check_defaults(cls: type[Declared]) -> None:
    """Raise TypeError for a default that its own option would refuse, or that all objects would share."""
    for name, option in cls._options.items():
        try:
            if type(option.default) in (list, dict, set):
                raise TypeError(f"{name}: {option.default!r} could be changed for all at once; use a tuple, or None")
            option.check(name, option.default)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{cls.__name__}.{name}: the default is refused: {error}") from None
