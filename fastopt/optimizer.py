"""The optimizer: parameter groups, state, `step`, and taking both out and in again. It knows no rule by its name."""

import inspect
from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from numbers import Integral

import numpy as np

from fastopt import options
from fastopt.backend import get_backend
from fastopt.engine import BOUND, KernelCall, check_stages, idle
from fastopt.formula import signature, used_state
from fastopt.groups import ParamGroup, State, known
from fastopt.options import nearest
from fastopt.parameters import Memory, Parameter, group_dict, group_dicts
from fastopt.stages import EMA, GRAD_SUM, StageOption, Stages

# What the docstrings of all rules share; each text stands in them as its name in braces.
_DOCS = {
    "params": """\
params : ndarray, iterable of ndarray, mapping of str to ndarray, iterable of (str, ndarray), or iterable of dict
    The parameters, updated in place: float32 or float64 arrays of any shape, C- or F-contiguous, aligned, native
    byte order, writeable, no two sharing memory. Dicts are parameter groups: ``"params"`` in any of the other
    forms, beside the options that differ in the group.""",
    "lr": """\
    The learning rate, not negative; or a function that gives it for the number of updates that the optimizer has
    made before, which is 0 at the first.""",
    "decay": """\
    Not negative. Coupled (L2) decay adds its product with the parameter to the gradient: ``l2 = weight_decay``,
    ``keep = 1``. Decoupled decay shrinks the parameter: ``l2 = 0``, ``keep = 1 - lr*weight_decay``.""",
    "common": """\
maximize : bool, default False
    Ascend: ``s = -1``. Else ``s = 1``.
decoupled_weight_decay : bool
    Whether `weight_decay` is decoupled; the signature has the default.
backend : str, optional
    One of `fastopt.backends()`. By default the first of them, or the one that FASTOPT_BACKEND names.
clip_grad_norm, clip_grad_value, loss_scale, nonfinite, ema_decay, zero_grads, accumulate, flush_subnormals
    The stages around the rule, the same for all groups: see `Optimizer`.""",
    "raises": """\
TypeError
    A parameter or an option has a wrong kind or dtype, or an argument is unknown.
ValueError
    A parameter's layout cannot be used, two parameters share memory, an option is out of its range or, in a
    group's dict, unknown, or the backend is not available here.""",
}


class Optimizer:
    """The base of all rules: it owns the parameter groups and the state, and takes the steps.

    A rule is a subclass. Its `formula` is its arithmetic (see `fastopt.formula`), its ``__init__`` names its options
    with their defaults, `checks` has the check of each option that is the rule's own; `states`, `initial`,
    `inputs` and `check` cover what the defaults do not, given the options ``o`` of a group.

    What surrounds a rule are stages: options of every optimizer, the same for all groups. They act in this order, the
    last one throughout, and can be set as attributes, as in ``opt.loss_scale = 1024``; what needs state arrays of its
    own (`ema_decay`, and `accumulate` above 1) has to be on or off from the beginning.

    Parameters
    ----------
    nonfinite : {"propagate", "skip", "raise"}, default "propagate"
        What a step does when a gradient, as it is given, holds NaN or infinity: it takes it as it is; leaves
        parameters, state and counts alone and counts in `skipped_steps` (`zero_grads` still acts); or raises
        ValueError with the parameter's name, and changes nothing. Sums of finite gradients are not looked at again.
    loss_scale : float, default 1
        Gradients are divided by it: multiplied by ``1/loss_scale``. From 2**-126 to 2**126.
    accumulate : int, default 1
        Every so many calls of `step` update, with the mean of these calls' gradients; the others only add to the
        state ``grad_sum``, and count in ``"gathered"``. A missing gradient adds nothing; a parameter that had none in
        any of the calls is skipped.
    clip_grad_norm : float, optional
        Multiply the gradients by ``min(1, clip_grad_norm/(norm + 1e-6))``, as PyTorch does. ``norm`` is that of all
        gradients of all groups together, in double precision, which only float64 elements beyond 1e154 overflow.
        Infinity changes nothing and measures `grad_norm`.
    clip_grad_value : float, optional
        After that, bring each element of a gradient between ``-clip_grad_value`` and ``clip_grad_value``.
    ema_decay : float, optional
        In [0, 1). Keep averages of the parameters, the state ``ema``: copies at first, and after each update of a
        parameter ``ema = ema_decay*ema + (1-ema_decay)*p``. See `averaged` and `swap_averaged`.
    zero_grads : bool, default False
        Set the gradients to zero when they have been used. They must be writeable and share no memory.
    flush_subnormals : bool, default False
        Take numbers too small for full precision (in float32 below 1.2e-38) for zeros, in all arithmetic of the step.
        For processors that are slow with them: averages of squared gradients get there when gradients vanish. Only
        where the compiled part of fastopt is installed, on x86-64 and 64-bit ARM; then on every backend.

    Attributes
    ----------
    param_groups : tuple of mappings
        Live: setting an option of a group acts at the next step.
    state : tuple of mappings
        For each parameter its ``"step"`` count and its state arrays, by the names that PyTorch uses.
    averaged : dict or tuple
        The averages of the parameters, by name or in order: the state arrays themselves.
    grad_norm : float or None
        The norm that the last update measured, before clipping; None without `clip_grad_norm`.
    skipped_steps : int
    backend : str
    """

    nonfinite = StageOption()
    loss_scale = StageOption()
    accumulate = StageOption()
    clip_grad_norm = StageOption()
    clip_grad_value = StageOption()
    ema_decay = StageOption()
    zero_grads = StageOption()
    flush_subnormals = StageOption()

    states = {}  # the names in the state of what the formula calls otherwise
    checks = {}
    _common_checks = {
        "lr": options.rate,
        "weight_decay": options.number,
        "maximize": options.flag,
        "decoupled_weight_decay": options.flag,
    }

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if callable(formula := cls.__dict__.get("formula")):
            cls.formula = staticmethod(formula)
        if cls.__doc__:
            cls.__doc__ = inspect.cleandoc(cls.__doc__)
            for name, text in _DOCS.items():
                cls.__doc__ = cls.__doc__.replace(f"{{{name}}}\n", f"{text}\n")

    def __new__(cls, *args, **kwargs):
        if cls is Optimizer:
            raise TypeError("Optimizer is the base of the rules; make one of those, such as fastopt.Adam")
        return super().__new__(cls)

    def __init__(self, params, *, backend=None, **given):
        self._start_empty(backend)
        self._stages = Stages().changed(**{name: given.pop(name) for name in Stages._fields if name in given})
        known_names = [*self._common_checks, *self.checks]
        for name in given:
            if name not in known_names:
                hint = nearest(name, [*known_names, *Stages._fields, "backend"])
                raise TypeError(f"{type(self).__name__}: unknown option {name!r}{hint}")
        self._defaults = self.checked(given)
        self._extend(group_dicts(params))

    def __setattr__(self, name, value):
        if name in self.__dict__.get("_defaults", ()):
            raise AttributeError(f"{name}: options are set in a group, as in opt.param_groups[0][{name!r}] = ...")
        # A rule of one's own may have attributes of its own, but not what must be a slip.
        public = not name.startswith("_") and not hasattr(type(self), name)
        if public and get_close_matches(name, Stages._fields, cutoff=0.8):
            raise AttributeError(f"{name}: there is no such option{nearest(name, Stages._fields)}")
        super().__setattr__(name, value)

    # What a rule is

    @staticmethod
    def formula(d):
        """The rule's arithmetic."""
        raise NotImplementedError("a rule is a class with a formula; see fastopt.formula")

    @staticmethod
    def initial(o):
        """The initial values of state arrays, by their names in the state; 0 for those that are not named."""
        return {}

    @staticmethod
    def inputs(o):
        """The formula's numbers and flags that are not the options of the same names."""
        return {}

    @staticmethod
    def check(o):
        """Refuse what only several options together show to be wrong."""

    @classmethod
    def checked(cls, o):
        """Options as the rule uses them, each checked by itself and then all together."""
        checks = cls._common_checks | cls.checks
        o = {name: checks[name](name, value) for name, value in o.items()}
        cls.check(o)
        return o

    @classmethod
    def kernel_call(cls, o):
        """What checked options come to."""
        names = signature(cls.formula)
        cls._check_names(o, names)
        decay, decoupled = o["weight_decay"], o["decoupled_weight_decay"]
        # A formula that names weight_decay does the decoupled decay itself.
        takes_decay = "weight_decay" in names.numbers
        given = {**o, "lr": 0.0, "t": 1, "weight_decay": decay if decoupled else 0.0, **cls.inputs(o)}
        for name in (*names.numbers, *names.flags):
            if name not in given:
                raise TypeError(f"{cls.__name__}: its formula takes {name}, which is no option, nor given by `inputs`")
        inputs = {name: float(given[name]) for name in names.numbers}
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
        )

    @classmethod
    def _check_names(cls, o, names):
        """Raise if what a rule says of its formula does not fit it."""
        public = [cls.states.get(name, name) for name in names.state]
        for name, count in Counter(public).items():
            if count > 1 or name in ("step", "gathered", EMA, GRAD_SUM):
                raise TypeError(f"{cls.__name__}: its state cannot be called {name!r}, for that is the name of another")
        for what, given, expected in (
            ("states", cls.states, names.state),
            ("initial", cls.initial(o), public),
            ("inputs", cls.inputs(o), (*names.numbers, *names.flags)),
        ):
            for name in given:
                if name not in expected:
                    raise TypeError(f"{cls.__name__}: {what} names {name!r}, which its formula does not have")

    @classmethod
    def state_arrays(cls, o):
        """The names and initial values of the state arrays."""
        initial = cls.initial(o)
        return {name: initial.get(name, 0.0) for name in cls.kernel_call(o).arrays if name not in ("p", None)}

    # Steps

    def step(self, grads=BOUND):
        """Update all parameters once, in place.

        Parameters
        ----------
        grads : ndarray, iterable of ndarray, or mapping of str to ndarray; optional after `bind`
            The gradients, in the order of the parameters or by their names; a single array where there is one
            parameter. Each has its parameter's shape and dtype, and any strides. None skips a parameter with its
            state and its step count.

        Raises
        ------
        TypeError
            A gradient has a wrong kind or dtype, none were given and none are bound, or the learning rate's function
            returned no number.
        ValueError
            A gradient has a wrong shape, is missing, belongs to no parameter, is not aligned or shares memory with
            a parameter or its state; with ``nonfinite="raise"`` it is not finite; with `zero_grads` it is read-only or
            shares memory with another; a parameter was resized or made read-only; or the learning rate's function
            returned a negative or non-finite number.
        RuntimeError
            The optimizer is stepping already, or its averages are swapped in.

        Notes
        -----
        All of it is checked before anything is written: a step happens whole or not at all.
        """
        self._engine.step(grads)

    def bind(self, grads):
        """Take these arrays for the gradients of all steps that are given none, which saves looking up names each time.

        Parameters
        ----------
        grads
            As `step` takes them. Each ``step()`` reads what the arrays hold then.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As `step` does; then what was bound before still is.

        Notes
        -----
        `add_param_group` unbinds them. Nothing of them is in `state_dict`, nor in a copy.
        """
        self._engine.bind(grads)

    @property
    def grad_norm(self):
        norm = self._engine.norm
        return None if norm == -1 else norm

    @property
    def skipped_steps(self):
        return self._engine.skipped_steps

    # Averages

    @property
    def averaged(self):
        if self.ema_decay is None:
            raise AttributeError("averaged: the parameters are not averaged; make the optimizer with ema_decay")
        arrays = [parameter.state(EMA) for parameter in self._parameters]
        names = [parameter.name for parameter in self._parameters]
        return tuple(arrays) if None in names else dict(zip(names, arrays, strict=True))

    def swap_averaged(self):
        """Within ``with``, the parameters hold their averages, and `averaged` holds the parameters.

        Returns
        -------
        context manager
            To be used at once: ``with opt.swap_averaged(): ...``

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
        if self.ema_decay is None:
            raise AttributeError("swap_averaged: the parameters are not averaged; make the optimizer with ema_decay")
        return self._engine.swapped()

    # Groups and state

    @property
    def param_groups(self):
        return tuple(self._groups)

    @property
    def state(self):
        return self._state

    @property
    def backend(self):
        return self._backend.name

    def add_param_group(self, group):
        """Append a group of parameters, with a state of their own.

        Parameters
        ----------
        group : mapping
            ``"params"`` in any form that the constructor takes but that of groups, and the options in which the
            group differs from the optimizer's defaults.

        Raises
        ------
        TypeError, ValueError
            As the constructor does; nothing has changed then.
        RuntimeError
            The optimizer is in the middle of a step.
        """
        with idle(self._claim):
            self._extend([group_dict(group)])

    def state_dict(self):
        """A snapshot of state and options, laid out as PyTorch's.

        Returns
        -------
        dict
            ``"state"``: for each parameter's index its ``"step"``, with `accumulate` also how many gradients are
            ``"gathered"``, and copies of its state arrays.
            ``"param_groups"``: for each group its options, with the indices of its parameters as ``"params"``.
            ``"stages"``: their options, and the counts ``"calls"`` since the last update and ``"skipped_steps"``.
            ``"updates"``: their number so far, with which learning rates that are functions are called.
            ``"version"``: that of this layout.

        Raises
        ------
        RuntimeError
            The optimizer is in the middle of a step.
        """
        # By a call: in newer Pythons an interrupt can slip out between a comprehension and the `with` around it.
        with idle(self._claim):
            return self._snapshot()

    def _snapshot(self):
        state = {
            index: {name: value if isinstance(value, int) else value.copy(order="K") for name, value in entries.items()}
            for index, entries in enumerate(self._state)
        }
        groups = []
        indices = iter(state)
        for group in self._groups:
            groups.append({**group, "params": [next(indices) for _ in group["params"]]})
            if "param_names" in group:
                groups[-1]["param_names"] = list(group["param_names"])
        counts = {name: getattr(self._engine, name) for name in _STAGE_COUNTS}
        stages = self._stages._asdict() | counts
        updates = self._engine.updates
        return {"version": VERSION, "updates": updates, "state": state, "param_groups": groups, "stages": stages}

    def load_state_dict(self, state_dict):
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
        with idle(self._claim):
            loaded_options, stages, counts, loaded_state = self._checked_state_dict(state_dict)
            for group, loaded in zip(self._groups, loaded_options, strict=True):
                group._assign(loaded)
            self._set_stages(stages)
            self._set_counts({"norm": -1.0, **counts})
            self._set_state(loaded_state)

    def _checked_state_dict(self, state_dict):
        """The options of each group, those of the stages, and the counts and flat copies of all state."""
        expected = ("version", "updates", "state", "param_groups", "stages")
        version, updates, state, groups, stages = _entries("state_dict", state_dict, expected)
        if type(version) is not int or version != VERSION:
            raise ValueError(f"state_dict['version']: this fastopt reads version {VERSION}, found {version!r}")
        _check_length("state_dict['param_groups']", groups, len(self._groups), "groups")
        loaded_options, keys = [], []
        for index, (mine, loaded) in enumerate(zip(self._groups, groups, strict=True)):
            label = f"state_dict['param_groups'][{index}]"
            loaded = dict(zip(mine, _entries(label, loaded, mine), strict=True))
            members = loaded.pop("params")
            _check_length(f"{label}['params']", members, len(mine["params"]), "parameters")
            for key in members:
                if not isinstance(key, Integral) or isinstance(key, bool):
                    raise TypeError(f"{label}['params']: expected the integers of entries in 'state', found {key!r}")
            keys += members
            if "param_names" in mine:
                names = loaded.pop("param_names")
                _check_length(f"{label}['param_names']", names, len(members), "names")
                for name, expected in zip(names, mine["param_names"], strict=True):
                    if not isinstance(name, str) or name != expected:
                        raise ValueError(f"{label}['param_names']: expected {expected!r}, found {name!r}; {_SAME}")
            loaded_options.append(self.checked(loaded))
            _check_arrays(f"{label}: its options", self.state_arrays(loaded_options[-1]), self.state_arrays(mine))
        for key, count in Counter(keys).items():
            if count > 1:
                raise ValueError(f"state_dict['param_groups']: {key} stands for more than one parameter")
        names = (*Stages._fields, *_STAGE_COUNTS)
        stages = dict(zip(names, _entries("state_dict['stages']", stages, names), strict=True))
        counts = {name: _count(f"state_dict['stages'][{name!r}]", stages.pop(name)) for name in _STAGE_COUNTS}
        counts["updates"] = _count("state_dict['updates']", updates)
        stages = self._stages.changed(**stages)
        _check_arrays("state_dict['stages']: they", stages.arrays, self._stages.arrays)
        check_stages(stages)
        if counts["calls"] and stages.accumulate == 1:
            raise ValueError(f"state_dict['stages']['calls']: without accumulate it is 0, found {counts['calls']}")
        blocks = _entries("state_dict['state']", state, keys)
        loaded_state = []
        for parameter, block in zip(self._parameters, blocks, strict=True):
            label = f"state_dict['state']: {parameter.label}"
            entries = _entries(label, block, (*parameter.count_names, *parameter.state_flats))
            of_parameter = [_count(f"{label}: {name!r}", entries.pop(0)) for name in parameter.count_names]
            if sum(of_parameter[1:]) > counts["calls"]:
                raise ValueError(f"{label}: 'gathered': there were only {counts['calls']} calls for {of_parameter[1]}")
            # Copies, because the arrays may be this optimizer's own in another order.
            flats = [
                parameter.checked_state(f"{label}: {name!r}", array)
                for name, array in zip(parameter.state_flats, entries, strict=True)
            ]
            loaded_state.append((of_parameter, flats))
        return loaded_options, stages, counts, loaded_state

    def __getstate__(self):
        built = {"_parameters", "_groups", "_state", "_counts", "_engine", "_backend", "_claim"}
        kept = {name: value for name, value in self.__dict__.items() if name not in built}
        with idle(self._claim):
            groups, counts, state = self._contents()
        return {"kept": kept, "groups": groups, "counts": counts, "state": state}

    def _contents(self):
        groups = [dict(group) for group in self._groups]
        # Copies, because whoever takes this goes through it when steps are possible again.
        state = [
            (
                parameter.counts[: len(parameter.count_names), parameter.index].tolist(),
                [block.copy() for block in parameter.state_flats.values()],
            )
            for parameter in self._parameters
        ]
        return groups, {name: getattr(self._engine, name) for name in _CARRIED}, state

    def __setstate__(self, pickled):
        self.__dict__.update(pickled["kept"])
        self._start_empty(self._forced)
        self._extend([group_dict(group) for group in pickled["groups"]])
        self._set_counts(pickled["counts"])
        self._set_state(pickled["state"])

    def __repr__(self):
        lines = [f"{type(self).__name__} ({len(self._parameters)} parameters, backend {self.backend!r})"]
        for index, group in enumerate(self._groups):
            listed = ", ".join(f"{name}={value!r}" for name, value in group.items() if not name.startswith("param"))
            lines.append(f"  group {index} ({len(group['params'])} parameters): {listed}")
        off = Stages()
        on = [f"{name}={x!r}" for name, x in self._stages._asdict().items() if x != getattr(off, name)]
        if on:
            lines.append(f"  stages: {', '.join(on)}")
        return "\n".join(lines)

    # Building

    def _start_empty(self, backend):
        self._forced = backend
        self._backend = get_backend(backend)
        # One for the optimizer's life, whatever engines it has: steps and changes hold it.
        self._claim = self._backend.engine.new_claim()
        self._parameters, self._groups, self._engine = [], [], None
        # Of the steps of each parameter, and of the gradients in its sum.
        self._counts = np.zeros((2, 0), dtype=np.int64)

    def _extend(self, dicts):
        """Append groups, given as dicts from `group_dict`. Nothing of the optimizer changes until all is checked."""
        parameters, groups = list(self._parameters), list(self._groups)
        for o in dicts:
            arrays, names = o.pop("params"), o.pop("param_names", None)
            o = self.checked(self._defaults | known(o, self._defaults, type(self)))
            of_rule = self.state_arrays(o)
            for name, array in zip(names or [None] * len(arrays), arrays, strict=True):
                parameters.append(Parameter(name, len(parameters), len(groups), array))
                parameters[-1].add_state(of_rule, self._stages.arrays)
            members = {"params": tuple(arrays)} | ({"param_names": tuple(names)} if names else {})
            groups.append(ParamGroup(type(self), len(groups), members, o, self._claim))
        _check_names(parameters)
        memory = Memory(parameters)
        counts = np.zeros((2, len(parameters)), dtype=np.int64)
        counts[:, : len(self._parameters)] = self._counts
        kernel_calls = [group.kernel_call for group in groups]
        engine = self._backend.engine(
            self._claim, self._backend.kernels, parameters, memory, counts, kernel_calls, self._stages
        )

        if self._engine is not None:
            self._engine.retire()
            for name in _CARRIED:
                setattr(engine, name, getattr(self._engine, name))
        for parameter in parameters:
            parameter.counts = counts
        self._parameters, self._groups, self._counts = parameters, groups, counts
        self._state = tuple(map(State, parameters))
        self._engine = engine
        for group in groups:
            group._attach(engine)

    def _change_stage(self, name, value):
        with idle(self._claim):
            stages = self._stages.changed(**{name: value})
            if stages.arrays.keys() != self._stages.arrays.keys():
                raise ValueError(
                    f"{name}: this would need other state arrays than the parameters have; make a new optimizer"
                )
            self._set_stages(stages)

    def _set_stages(self, stages):
        """Take over checked options of the stages."""
        self._engine.set_stages(stages)
        self._stages = stages

    def _set_counts(self, counts):
        """Take over what another engine has measured and counted."""
        for name, value in counts.items():
            setattr(self._engine, name, value)

    def _set_state(self, state):
        """Take over counts and flat state arrays that have been checked."""
        for index, (parameter, (counts, flats)) in enumerate(zip(self._parameters, state, strict=True)):
            self._counts[: len(counts), index] = counts
            for mine, block in zip(parameter.state_flats.values(), flats, strict=True):
                mine[:] = block


# The layout of state dicts.
VERSION = 1
# The counts that stand under "stages" in a state dict.
_STAGE_COUNTS = ("calls", "skipped_steps")
# What outlives an engine.
_CARRIED = ("norm", "updates", *_STAGE_COUNTS)
_SAME = "make the optimizer as the saved one was made"


def arguments(names):
    """The arguments of an ``__init__``, given its local names."""
    stages = names.pop("stages")
    return {name: value for name, value in names.items() if name not in ("self", "__class__")} | stages


def _count(label, value):
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{label}: expected an int, found {type(value).__name__}")
    if not 0 <= value < 2**62:
        raise ValueError(f"{label}: {value} was given; it must be in [0, 2**62)")
    return int(value)


def _check_length(label, value, length, what):
    if not isinstance(value, list | tuple):
        raise TypeError(f"{label}: expected a list, found {type(value).__name__}")
    if len(value) != length:
        raise ValueError(f"{label}: expected {length} {what}, found {len(value)}; {_SAME}")


def _check_arrays(label, needed, present):
    needed, present = list(needed), list(present)
    if needed != present:
        raise ValueError(f"{label} need other state arrays than this optimizer has: {needed}, not {present}; {_SAME}")


def _check_names(parameters):
    counts = Counter(parameter.name for parameter in parameters)
    unnamed = counts.pop(None, 0)
    if unnamed and counts:
        raise ValueError(
            "params: some groups have names and some have not; name all, as in {'params': {'W': W}}, or none"
        )
    for name, count in counts.items():
        if count > 1:
            raise ValueError(f"params: the name {name!r} is given to {count} parameters")


def _entries(label, mapping, expected):
    """The values of a mapping in the order of the keys that it must have, no more and no fewer."""
    expected = dict.fromkeys(expected)
    if not isinstance(mapping, Mapping):
        raise TypeError(f"{label}: expected a dict, found {type(mapping).__name__}")
    missing = [key for key in expected if key not in mapping]
    if missing:
        raise ValueError(f"{label}: {missing[0]!r} is missing; {_SAME}")
    extra = [key for key in mapping if key not in expected]
    if extra:
        raise ValueError(f"{label}: unknown entry {extra[0]!r}{nearest(extra[0], expected)}")
    return [mapping[key] for key in expected]
