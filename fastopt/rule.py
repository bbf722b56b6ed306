"""What a rule is: a formula, the options that become its numbers and flags, and the state that it keeps."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, cast

from fastopt import options
from fastopt.declared import Declared, Option, check_defaults
from fastopt.docstrings import completed
from fastopt.number import Number, Unchecked
from fastopt.signature import check_assignments, signature, used_state
from fastopt.stages import EMA, GRAD_SUM, STAGE_NAMES

# The options that the frame around every formula knows: however a rule annotates them, this is how they are checked.
_OF_THE_FRAME = {
    "lr": options.rate,
    "weight_decay": options.number,
    "maximize": options.flag,
    "decoupled_weight_decay": options.flag,
}
_WEIGHT_DECAY = Option("weight_decay", 0.0, options.number)


class KernelCall(NamedTuple):
    """What a parameter group's options come to: a formula, and what it takes."""

    formula: Callable[..., Any]
    arrays: tuple[str | None, ...]  # its state's names in its order: "p" for the parameter, None for those unused
    s: float
    l2: float
    decay: float  # keep = 1 - lr*decay
    lr: float | Callable[[int], float]
    inputs: dict[str, float | bool]  # the formula's numbers and flags by name; those of lr and t come with the step
    carried: dict[str, str]  # the names in the state of the numbers that it carries, by its own

    def frame(self, lr: float, scale: float) -> tuple[float, float, float]:
        """``s, l2, keep`` for gradients times ``scale``."""
        return self.s * scale, self.l2, 1 - lr * self.decay

    def inputs_at(
        self, t: int, lr: float, carried: Iterable[float], kind: type[Number] = Unchecked
    ) -> dict[str, Number | bool]:
        """The formula's inputs in step ``t`` of a parameter: its numbers `Unchecked`, or `Number` to be checked."""
        values = self.inputs | {name: x for name, x in (("lr", lr), ("t", t)) if name in self.inputs}
        values |= dict(zip(self.carried, carried, strict=True))
        return {name: value if isinstance(value, bool) else kind(value) for name, value in values.items()}


class Resolved(NamedTuple):
    """The options of a group, checked, and what they come to: the kernel call, and the initial values of state."""

    options: dict[str, Any]
    call: KernelCall
    arrays: dict[str, float]
    carried: dict[str, float]


class Rule(Declared):
    """A formula with options and state: what its subclasses say, and the kernel calls that follow from it.

    Attributes
    ----------
    formula : function
        The arithmetic: see `fastopt.formula`.
    states : dict
        The public names of state that the formula calls otherwise, as in ``{"m": "exp_avg"}``.
    """

    formula: ClassVar[Callable[..., Any]]
    states: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "formula" in vars(cls):
            formula: Any = vars(cls)["formula"]
            formula = formula.__func__ if isinstance(formula, staticmethod) else formula
            if not inspect.isfunction(formula):
                raise TypeError(f"{cls.__name__}.formula: expected a function, found {formula!r}")
            cls.formula = staticmethod(formula)
            check_assignments(formula)
            for name in signature(formula).arrays:
                if name in (*cls._options, *_OF_THE_FRAME, "t"):
                    raise TypeError(
                        f"{cls.__name__}: its formula has {name} among the arrays; numbers stand after the *"
                    )
        for name in ("initial", "inputs", "check"):
            if name in vars(cls):
                _check_method(f"{cls.__name__}.{name}", vars(cls)[name])
                setattr(cls, name, staticmethod(getattr(cls, name)))
        if hasattr(cls, "formula"):
            if "lr" not in cls._options:
                raise TypeError(f"{cls.__name__}: a rule declares its learning rate, as in lr: float = 1e-3")
            cls._options.setdefault("weight_decay", _WEIGHT_DECAY)
        for name, check in _OF_THE_FRAME.items():
            if name in cls._options:
                cls._options[name] = cls._options[name]._replace(check=check)
        cls._options = _in_order(cls._options)
        check_defaults(cls)
        if cls.__doc__:
            cls.__doc__ = completed(cls.__doc__)

    @staticmethod
    def initial(o: Mapping[str, Any]) -> dict[str, Any]:
        """The initial values of state.

        Parameters
        ----------
        o : mapping
            The options of a group.

        Returns
        -------
        dict
            Numbers by the public names of state; what is not named starts at 0.
        """
        return {}

    @staticmethod
    def inputs(o: Mapping[str, Any]) -> dict[str, Any]:
        """The formula's numbers and flags that are not the options of the same names.

        Parameters
        ----------
        o : mapping
            The options of a group.

        Returns
        -------
        dict
            Numbers and flags by the formula's names.
        """
        return {}

    @staticmethod
    def check(o: Mapping[str, Any]) -> None:
        """Raise ValueError for options that are wrong only in combination.

        Parameters
        ----------
        o : mapping
            The options of a group, each of them checked by itself.
        """

    @classmethod
    def checked(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Options as the rule uses them, each checked by itself and then all together."""
        o = super().checked(given)
        cls.check(o)
        return o

    @classmethod
    def resolved(cls, given: Mapping[str, Any]) -> Resolved:
        """Check options, and say what they come to."""
        o = cls.checked(given)
        initial, inputs = cls.initial(o), cls.inputs(o)
        cls._check_names(initial, inputs)
        call = cls._kernel_call(o, inputs)
        return Resolved(
            options=o,
            call=call,
            arrays={name: initial.get(name, 0.0) for name in call.arrays if name not in ("p", None)},
            carried={name: float(initial.get(name, 0.0)) for name in call.carried.values()},
        )

    @classmethod
    def _kernel_call(cls, o: Mapping[str, Any], own_inputs: Mapping[str, Any]) -> KernelCall:
        names = signature(cls.formula)
        decay, decoupled = o["weight_decay"], o["decoupled_weight_decay"]
        # A formula that names weight_decay does the decoupled decay itself.
        takes_decay = "weight_decay" in names.numbers
        given = {**o, "lr": 0.0, "t": 1, "weight_decay": decay if decoupled else 0.0, **own_inputs}
        for name in (*names.numbers, *names.flags):
            if not isinstance(given.get(name), int | float):
                if hasattr(cls, name) and name not in given:
                    raise TypeError(f"{cls.__name__}: {name} is no option without annotation: {name}: float = ...")
                kind = "bool" if name in names.flags else "float"
                found = f"which is {given[name]!r}" if name in given else "which is no option"
                hint = f"declare it, as in {name}: {kind} = ..., or let `inputs` give a number for it"
                if isinstance(given.get(name), tuple):
                    hint = "let `inputs` give each number a name of its own, such as beta1, beta2"
                elif name in given:
                    hint = "let `inputs` give a number for it"
                raise TypeError(f"{cls.__name__}: its formula takes {name}, {found}; {hint}")
        inputs: dict[str, float | bool] = {name: float(given[name]) for name in names.numbers}
        inputs |= {name: bool(given[name]) for name in names.flags}
        used = used_state(cls.formula, tuple(name for name in names.flags if inputs[name]))
        return KernelCall(
            formula=cls.formula,
            arrays=tuple(
                name if name == "p" else cls.states.get(name, name) if name in used else None for name in names.arrays
            ),
            s=-1.0 if o["maximize"] else 1.0,
            l2=0.0 if decoupled else decay,
            decay=decay if decoupled and not takes_decay else 0.0,
            lr=o["lr"],
            inputs=inputs,
            carried={name: cls.states.get(name, name) for name in names.carried},
        )

    @classmethod
    def _check_names(cls, initial: Any, inputs: Any) -> None:
        """Raise if what a rule says of its formula does not fit it."""
        names = signature(cls.formula)
        for what, given in (("states", cls.states), ("initial", initial), ("inputs", inputs)):
            if not isinstance(cast("object", given), Mapping):
                raise TypeError(f"{cls.__name__}.{what}: expected a dict, found {given!r}")
        public = [cls.states.get(name, name) for name in (*names.state, *names.carried)]
        for name, count in Counter(public).items():
            if count > 1 or name in ("step", "accumulated", EMA, GRAD_SUM):
                raise TypeError(f"{cls.__name__}: its state cannot be called {name!r}, for that is the name of another")
        said: tuple[tuple[str, Any, Iterable[str]], ...] = (
            ("states", cls.states, (*names.state, *names.carried)),
            ("initial", initial, public),
            ("inputs", inputs, (*names.numbers, *names.flags)),
        )
        for what, given, expected in said:
            for name in given:
                if name not in expected:
                    known = ", ".join(expected) or "nothing"
                    raise TypeError(f"{cls.__name__}: {what} names {name!r}, which it does not have; it has {known}")
        for name in cls.states:
            options.text(f"{cls.__name__}.states[{name!r}]", cls.states[name])
        for name in initial:
            options.any_number(f"{cls.__name__}.initial: {name}", initial[name])

    @classmethod
    def constructor_signature(cls) -> inspect.Signature:
        """That of the constructor."""
        by_place, by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
        given = [
            inspect.Parameter(one.name, by_name if one.keyword_only else by_place, default=one.default)
            for one in cls._options.values()
        ]
        others = [inspect.Parameter(name, by_name, default=None) for name in cls._arguments]
        return inspect.Signature([inspect.Parameter("params", by_place), *given, *others])


def _check_method(label: str, method: Any) -> None:
    """Raise TypeError if what a rule has as one of its methods is no function of the options alone."""
    function = method.__func__ if isinstance(method, staticmethod) else method
    if not callable(function):
        raise TypeError(f"{label}: expected a function of the options, found {method!r}")
    if inspect.isfunction(function):
        parameters = list(inspect.signature(function).parameters)
        try:
            inspect.signature(function).bind({})
        except TypeError:
            found = ", ".join(parameters)
            raise TypeError(
                f"{label}: it takes the options alone, and no self; found the parameters ({found})"
            ) from None


def _in_order(options: Mapping[str, Option]) -> dict[str, Option]:
    """Options in the order of the signature: by position, by name, those of the frame, the stages."""

    def place(option: Option) -> tuple[bool, bool, bool]:
        of_stages = option.name in STAGE_NAMES
        return option.keyword_only, of_stages or option.name in ("maximize", "decoupled_weight_decay"), of_stages

    return {option.name: option for option in sorted(options.values(), key=place)}
