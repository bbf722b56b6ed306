"""The optimizer: parameter groups, state and steps. It knows no rule by its name."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, InitVar
from inspect import Signature, signature
from typing import TYPE_CHECKING, Any, ClassVar

from fastopt.arrays.addresses import AddressMap
from fastopt.arrays.forms import Gradients, Params, check_names, group_dict, group_dicts, joined
from fastopt.arrays.mapped import check_files, held_open
from fastopt.arrays.nesting import Branch
from fastopt.arrays.parameter import Parameter, StateMemory
from fastopt.at_once import Assignment, assign
from fastopt.attributes import Absent, OptionOfGroups, OptionOfStages, check_attribute, with_parts_unbuilt
from fastopt.checkpoint import Checkpoints
from fastopt.engines.busy import BusyLock, not_busy
from fastopt.engines.choice import backend_for
from fastopt.engines.shared import ACCUMULATED, BOUND
from fastopt.engines.totals import Totals
from fastopt.groups import ParamGroup, State, States, known
from fastopt.rule import Rule
from fastopt.stages import STAGE_NAMES, StageOptions, Stages


class Optimizer(Checkpoints, StageOptions, Rule):
    """The base of all rules: it owns the parameter groups and the state, and takes the steps.

    A rule is a subclass. Its `formula` is its arithmetic (see `fastopt.formula`), and its options are annotated class
    attributes with defaults, as in ``beta: float = 0.9``; a rule declares at least ``lr``. The attribute `states` and
    the static methods `initial`, `inputs` and `check` say what the defaults do not.

    Every rule has an option ``weight_decay`` and those below. From `nonfinite` on they are stages: what surrounds a
    rule in a step. Stages are the same for all groups and act in this order, except that `flush_subnormals` holds
    throughout. They can be set between steps, as in ``opt.loss_scale = 1024``; but `ema_decay`, and `accumulate` above
    1, need state arrays of their own, so they are on or off from the beginning.

    Parameters
    ----------
    {params}
    {frame}
    nonfinite : {"propagate", "skip", "raise"}, default "propagate"
        What a step does when a gradient, as it is given, holds NaN or infinity. ``"propagate"`` uses it as it is.
        ``"skip"`` leaves parameters, state and counts alone and counts the call in `skipped_steps`; `zero_grads` still
        acts. ``"raise"`` raises ValueError with the parameter's name, and changes nothing. Sums of finite gradients are
        not looked at again.
    loss_scale : float, default 1
        Gradients are divided by it: multiplied by ``1/loss_scale``. From 2**-126 to 2**126.
    accumulate : int, default 1
        How many calls of `step` make one update, which uses the mean of their gradients. The calls before the last only
        add to the state ``grad_sum``, and count in ``"accumulated"``. A missing gradient adds nothing; a parameter that
        had none in any of the calls is skipped. See `step_accumulated` too.
    clip_grad_norm : float, optional
        Multiply the gradients by ``min(1, clip_grad_norm/(norm + 1e-6))``, as PyTorch does. ``norm`` is that of all
        gradients of all groups together, in double precision; only float64 elements beyond 1e154 make it overflow.
        With infinity, `grad_norm` is measured and nothing is clipped.
    clip_grad_value : float, optional
        After clipping by norm, limit each element of a gradient to ``[-clip_grad_value, clip_grad_value]``.
    ema_decay : float or callable, optional
        In [0, 1). Keep averages of the parameters, the state ``ema``: copies at first, and after each update of a
        parameter ``ema = ema_decay*ema + (1-ema_decay)*p``. A function is given the number of updates that the
        optimizer has made before, as for `lr`. See `ema` and `swap_ema`.
    zero_grads : bool, default False
        Set the gradients to zero when they have been used. They must be writeable and share no memory.
    flush_subnormals : bool, default False
        Treat numbers too small for full precision (in float32 below 1.2e-38) as zeros, in all arithmetic of the step.
        Many processors are slow with them, and averages of squared gradients reach them when gradients vanish. It needs
        the compiled part of fastopt, on x86-64 or 64-bit ARM, and then works on every backend.
    {backend}

    Raises
    ------
    {raises}

    Notes
    -----
    An option can be read and set as an attribute of the optimizer. ``opt.lr`` is the value that all groups agree on,
    and raises ValueError where they differ; ``opt.lr = 1e-4`` sets it in all groups. To change one group, use
    ``opt.param_groups[0]["lr"] = 1e-4``.
    """

    __signature__: ClassVar[Signature]
    _arguments = ("backend", "state_memory")

    params: InitVar[Params]
    _: KW_ONLY
    maximize: bool = False
    decoupled_weight_decay: bool = False
    backend: str | None = None
    state_memory: StateMemory | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        own = set(vars(cls))
        super().__init_subclass__(**kwargs)
        for name in [*RESERVED.intersection(cls._options), *own.intersection(cls._arguments)]:
            raise TypeError(f"{cls.__name__}.{name}: the name means something else in an optimizer; choose another")
        for name, option in cls._options.items():
            kind = OptionOfStages if name in STAGE_NAMES else OptionOfGroups
            setattr(cls, name, kind(name, option.default))
        if "__init__" not in own:
            cls.__signature__ = cls.constructor_signature()
        else:
            cls.__signature__ = Signature([*signature(vars(cls)["__init__"]).parameters.values()][1:])

    if not TYPE_CHECKING:  # type checkers make these of the options

        def __new__(cls, *args, **kwargs):
            if not hasattr(cls, "formula"):
                raise TypeError(
                    f"{cls.__name__} has no formula: it is the base of rules; make one of those, such as fastopt.Adam, "
                    f"or write one, as fastopt.formula says"
                )
            return with_parts_unbuilt(super().__new__(cls))

        def __init__(self, params, *args, backend=None, state_memory=None, **given):
            given = self.named(args, given)
            if not (state_memory is None or callable(state_memory)):
                raise TypeError(f"state_memory: expected a function that returns an array, found {state_memory!r}")
            self._start_empty(backend, Stages(**{name: given.pop(name) for name in STAGE_NAMES}), state_memory)
            self._defaults = self.checked(given)
            self._extend(group_dicts(params))

        def __setattr__(self, name, value):
            check_attribute(type(self), name)
            super().__setattr__(name, value)

    # Steps

    def step(self, grads: Gradients = BOUND, grad_norm: float | None = None) -> None:
        """Update all parameters once, in place.

        Parameters
        ----------
        grads : ndarray, or arrays nested in lists, tuples and mappings; optional after `bind`
            The gradients, nested as the parameters are, or in a flat sequence, or by names; a single array where there
            is one parameter. Each has its parameter's shape and dtype, and any strides. For a 0-d parameter it may be a
            Python float, or one of NumPy's of that dtype. None skips a parameter with its state and its step count; in
            the place of a list, tuple or mapping, it skips all in there.
        grad_norm : float, optional
            The norm of all gradients, where it was computed elsewhere, as by processes of which each has a part of the
            gradients and which add up their `squares`. It replaces the measured norm in `clip_grad_norm` and in the
            property `grad_norm`, so it is that of the gradients divided by `loss_scale`. `nonfinite` looks at it alone,
            not at the gradients: one that is infinite or NaN says that some gradient is not finite. So all processes
            decide alike.

        Raises
        ------
        TypeError
            A gradient has a wrong kind or dtype, none were given and none are bound, or the learning rate's function
            returned no number.
        ValueError
            A gradient has a wrong shape, is missing, belongs to no parameter, is not aligned or shares memory with
            a parameter or its state; with ``nonfinite="raise"`` it is not finite; with `zero_grads` it is read-only or
            shares memory with another; a parameter was resized or made read-only; the learning rate's function
            returned a negative or non-finite number; or `grad_norm` is negative, or was given with `accumulate`.
        RuntimeError
            The optimizer is in the middle of a step or a change, its averages are swapped in, or it is being saved.
        OverflowError
            A count has reached 2**62 - 1, the last that it can.

        Notes
        -----
        All of it is checked before anything is written: a step happens whole or not at all.
        """
        # Not keyword-only: Python takes 10 ns to fill in the default of a keyword-only argument.
        if grad_norm is None:
            self._engines[0].step(grads)
        else:
            self._engines[0].step_with_norm(grads, grad_norm)

    def step_accumulated(self) -> None:
        """Update with what has accumulated so far, as at the end of an epoch.

        The update uses the mean of the gradients since the last one. If there were none, or without `accumulate`,
        nothing happens.

        Raises
        ------
        TypeError, ValueError, RuntimeError, OverflowError
            As `step` does.
        """
        self._engines[0].step(ACCUMULATED)

    def bind(self, grads: Gradients) -> None:
        """Use these arrays in all steps that are given no gradients, which saves looking up names at each step.

        Parameters
        ----------
        grads : ndarray, or arrays nested in lists, tuples and mappings
            As `step` takes them, but no numbers. Each ``step()`` reads what the arrays hold then.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As `step` does; what was bound before stays bound.

        Notes
        -----
        `add_param_group` unbinds them. They are in neither `state_dict` nor a copy.
        """
        self._engine.bind(grads)

    if not TYPE_CHECKING:  # they would show these names
        zero_grad = Absent("use that of the model, `model.zero_grad()`, or the option zero_grads=True")
        params = Absent("they are in the groups, as in `opt.param_groups[0]['params']`")
        learning_rate = Absent("it is lr; current_lr is what a function for it gives next")

    # Averages

    def swap_ema(self) -> AbstractContextManager[None]:
        """Within ``with``, the parameters hold their averages, and `ema` holds the parameters.

        Returns
        -------
        context manager
            To be used at once, as in ``with opt.swap_ema():``.

        Raises
        ------
        AttributeError
            The parameters are not averaged.
        ValueError
            A parameter was resized or made read-only.
        RuntimeError
            The optimizer is in the middle of a step, or within such a ``with`` already. Within it, it can neither step
            nor change, nor give its `state_dict`.
        """
        self._check_ema("swap_ema")
        swapped: AbstractContextManager[None] = self._engine.swapped()
        return swapped

    # Groups and state

    if not TYPE_CHECKING:  # to them it is one of the constructor's arguments

        @property
        def backend(self):
            """The backend in use."""
            return self._backend.name

        @property
        def state_memory(self):
            """What gives the memory for state arrays, or None."""
            return self._state_memory

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Append a group of parameters, with a state of their own.

        Parameters
        ----------
        group : mapping
            ``"params"`` in any form that the constructor takes except that of groups, and the options in which the
            group differs from the optimizer's defaults.

        Raises
        ------
        TypeError, ValueError
            As the constructor does; nothing has changed then.
        RuntimeError
            The optimizer is in the middle of a step.
        """
        with not_busy(self._busy):
            self._extend([group_dict(group)])

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ({len(self._parameters)} parameters, backend {self.backend!r})"]
        for index, group in enumerate(self._groups):
            shown = ", ".join(f"{name}={value!r}" for name, value in group.items() if not name.startswith("param"))
            lines.append(f"  group {index} ({len(group['params'])} parameters): {shown}")
        off = Stages().as_dict()
        on = [f"{name}={x!r}" for name, x in self._stages.as_dict().items() if x != off[name]]
        if on:
            lines.append(f"  stages: {', '.join(on)}")
        return "\n".join(lines)

    # Building and changing

    def _start_empty(self, backend: str | None, stages: Stages, state_memory: StateMemory | None = None) -> None:
        self._forced = backend
        self._state_memory = state_memory
        self._backend = backend_for(type(self), backend)
        # One for the optimizer's life, whatever engines it has: steps and changes hold it.
        self._busy = BusyLock()
        self._totals = Totals()
        self._built = {"parameters": [], "tree": None, "groups": [], "state": States(), "stages": stages}
        self._built["mappings"] = []  # held open
        self._engines = [None]  # the one in use, in a list because that is fastest

    def _extend(self, dicts: Iterable[dict[str, Any]], nesting: Branch | None = None) -> None:
        """Append groups, given as dicts from `group_dict`: all is built, and then put in its place at once.

        The nesting is that of all parameters, where the dicts do not say it.
        """
        parameters, groups = list(self._parameters), list(self._groups)
        trees: list[tuple[Branch, int]] = []
        for o in dicts:
            arrays, names = o.pop("params"), o.pop("param_names")
            trees.append((o.pop("param_tree"), len(parameters)))
            resolved = self.resolved(self._defaults | dict(known(o, self._defaults, type(self))))
            for name, array in zip(names or [None] * len(arrays), arrays, strict=True):
                parameters.append(Parameter(name, len(parameters), len(groups), array))
                parameters[-1].add_state(resolved.arrays | self._stages.arrays, resolved.carried, self._state_memory)
            members = {"params": tuple(arrays)} | ({"param_names": tuple(names)} if names else {})
            groups.append(ParamGroup(type(self), len(groups), members, resolved, self._busy, self._totals))
        check_names(parameters)
        tree = nesting or joined(self._tree, trees)
        blocks = [block for parameter in parameters for block in parameter.blocks()]
        held = held_open(blocks)
        check_files(blocks)
        addresses = AddressMap(blocks)
        for parameter in parameters[len(self._parameters) :]:
            parameter.start_state()
        engine = self._backend.engine(
            self._busy,
            self._backend.kernels,
            parameters,
            tree,
            addresses,
            self._totals,
            [group._resolved.call for group in groups],
            self._stages,
        )
        built = {"parameters": parameters, "tree": tree, "groups": groups, "state": States(map(State, parameters))}
        assign(
            [
                *((self._built, name, value) for name, value in built.items()),
                (self._built, "mappings", held),
                (self._engines, 0, engine),
                *(group._attached(engine) for group in groups),
                *([] if self._engine is None else self._engine.retirement()),
            ]
        )

    def _set_option(self, name: str, value: Any) -> None:
        """Set an option of the rule in all groups, or in none if one of them cannot have it."""
        with not_busy(self._busy):
            new = [group._changed({name: value}) for group in self._groups]
            assign(one for group, resolved in zip(self._groups, new, strict=True) for one in group._becoming(resolved))

    def _set_stage(self, name: str, value: Any) -> None:
        """Set an option of the stages."""
        with not_busy(self._busy):
            stages = self._stages.changed(**{name: value})
            if stages.arrays.keys() != self._stages.arrays.keys():
                raise ValueError(
                    f"{name}: this would need other state arrays than the parameters have; make a new optimizer"
                )
            totals = self._totals if stages.clip_grad_norm is not None else self._totals.changed(norm=-1.0)
            assign([*self._becoming_stages(stages), self._totals.becoming(totals)])

    def _becoming_stages(self, stages: Stages) -> Iterator[Assignment]:
        """The assignments that take over options of the stages, which have been checked."""
        yield self._engine.stages, 0, self._engine.staged(stages)
        yield self._built, "stages", stages


Optimizer.__signature__ = Optimizer.constructor_signature()

# What an option cannot be called.
RESERVED = {"params", "param_names", "backend", "self", "t", *dir(Optimizer)} - set(Optimizer._options)
