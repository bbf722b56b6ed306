"""The engine in NumPy: what one step does, written to be read. _core/engine.pyx is the same, compiled.

A step has two halves. The first checks everything and computes all numbers, and may raise; the second writes. An
engine knows parameters, gradients and formulas, but no rule by its name.
"""

from collections.abc import Callable, Mapping
from contextlib import contextmanager, nullcontext
from math import inf, sqrt
from threading import Lock
from typing import NamedTuple

import numpy as np

from fastopt import reference
from fastopt.formula import NotFinite, Number, Unchecked
from fastopt.options import nearest, number
from fastopt.parameters import check_apart, flat, listed
from fastopt.stages import EMA, GRAD_SUM

try:
    from fastopt._core.cpu import CAN_FLUSH, Flushed
except ImportError:  # a pure NumPy install
    CAN_FLUSH, Flushed = False, None

BUSY = (
    "this optimizer is in the middle of a step or a change, in another thread or further up this call, or within "
    "`with opt.swap_averaged()`, while its averages are swapped in; let that end first"
)

# What `step` gets in the gradients' place when the bound ones are meant.
BOUND = object()
UNBOUND = "grads: none were given, and none are bound; pass them, or bind them once"


class KernelCall(NamedTuple):
    """What a parameter group's options come to: a formula, and what it takes."""

    formula: Callable
    arrays: tuple  # the names of the state arrays in the formula's order: "p" for the parameter, None for those unused
    s: float
    l2: float
    decay: float  # keep = 1 - lr*decay
    lr: float | Callable
    inputs: dict  # the formula's numbers and flags by name; the values of lr and t come with the step

    def frame(self, lr, scale):
        """``s, l2, keep`` for gradients times ``scale``."""
        return self.s * scale, self.l2, 1 - lr * self.decay

    def inputs_at(self, t, lr, kind=Unchecked):
        """The formula's inputs in step ``t`` of a parameter: its numbers `Unchecked`, or `Number` to be checked."""
        values = self.inputs | {name: x for name, x in (("lr", lr), ("t", t)) if name in self.inputs}
        return {name: value if isinstance(value, bool) else kind(value) for name, value in values.items()}


def idle(claim):
    """A claim, to be held by ``with``; raises if it is held already.

    Claims are written in C, so that no signal's exception can come between taking one and being sure to give it back.
    """
    if claim.locked():
        raise RuntimeError(BUSY)
    return claim


def ordered(grads, parameters):
    """The gradients as a list in the order of the parameters, from any of the forms that ``step`` takes."""
    count = len(parameters)
    if isinstance(grads, np.ndarray):
        if count != 1:
            raise ValueError(f"grads: one array was given for {count} parameters; pass a sequence or a mapping")
        return [grads]
    if isinstance(grads, Mapping):
        return _by_name(grads, parameters)
    grads = listed("grads", grads)
    if len(grads) != count:
        raise ValueError(
            f"grads: {len(grads)} gradients were given for {count} parameters; "
            f"pass one for each, None for those to skip"
        )
    return grads


def _by_name(grads, parameters):
    names = dict.fromkeys(parameter.name for parameter in parameters)
    if None in names:
        raise TypeError("grads: the parameters have no names, so their gradients come as a sequence, not as a mapping")
    for name in grads:
        if name not in names:
            raise ValueError(f"grads: there is no parameter {name!r}{nearest(name, names)}")
    for name in names:
        if name not in grads:
            raise ValueError(f"grads: no gradient for parameter {name!r}; give None to skip it")
    return [grads[name] for name in names]


def learning_rate(lr, updates):
    """The learning rate, checked: ``lr`` itself, or what it returns, when it is a function, after so many updates."""
    if not callable(lr):
        return lr
    return number("lr", lr(updates), whose=f" by its function, called with {updates}")


def check_numbers(group, call, t, lr, scale, dtype):
    """Raise if a number that meets an array is not finite in the narrowest type of a group's parameters.

    The formula is rehearsed on arrays of two ones: what fails in it fails here, before anything is written.
    """
    arrays = [None if name is None else np.ones(2, dtype) for name in call.arrays]
    try:
        with np.errstate(all="ignore"):
            for x in call.frame(lr, scale):
                Number(x).rounded(dtype)
            call.formula(np.ones(2, dtype), *arrays, **call.inputs_at(t, lr, Number))
    except NotFinite as error:
        raise ValueError(
            f"group {group}: at step {t} its options make a factor that {dtype} cannot hold, {error}; choose others"
        ) from None


def check_stages(stages):
    """Raise if this machine cannot do them."""
    if stages.flush_subnormals and not CAN_FLUSH:
        raise ValueError(
            "flush_subnormals: it needs the compiled part of fastopt, on x86-64 or 64-bit ARM; leave it off"
        )


def nonfinite_error(parameters, gradients):
    """The error that names the first gradient that is not finite, and where."""
    for parameter, g in zip(parameters, gradients, strict=True):
        if g is not None and not np.isfinite(g).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(g))[0])
            return ValueError(f"gradient of {parameter.label}: it holds {g[place]} at {place}; nothing was changed")
    return ValueError("grads: one was not finite, and was changed meanwhile; nothing was changed")


class Engine:
    """Runs the steps of one optimizer.

    Parameters
    ----------
    claim : from `new_claim`
        The optimizer's, held by steps and by changes of what they use.
    kernels : module
        A backend's, with its compiled formulas and stages. This engine has no use for it.
    parameters : list of Parameter
    memory : Memory
        Where the parameters and their state lie.
    counts : ndarray of int64, (2, number of parameters)
        Of the steps of each parameter, and of the gradients in its sum; the engine counts in it.
    kernel_calls : list of KernelCall
        One for each parameter group.
    stages : Stages

    Attributes
    ----------
    norm : float
        That of the gradients in the last step; -1 before one was measured.
    updates : int
        How many there were.
    calls : int
        Of `step` since the last update.
    skipped_steps : int
    """

    new_claim = Lock

    def __init__(self, claim, kernels, parameters, memory, counts, kernel_calls, stages):
        self._claim = claim
        self._retired = False
        self._parameters = parameters
        self._memory = memory
        self._counts = counts
        self._bound = None
        self._kernel_calls = list(kernel_calls)
        # The narrowest type of each group's parameters.
        self._dtypes = [np.dtype(np.float64)] * len(kernel_calls)
        for parameter in parameters:
            if parameter.flat.dtype.itemsize < self._dtypes[parameter.group].itemsize:
                self._dtypes[parameter.group] = parameter.flat.dtype
        self.norm, self.updates, self.calls, self.skipped_steps = -1.0, 0, 0, 0
        self.set_stages(stages)

    def retire(self):
        """Refuse all further steps, because another engine has taken over."""
        self._retired = True

    def set_kernel_call(self, index, call):
        """Use another formula, or other numbers, for a group. The optimizer must be claimed."""
        self._kernel_calls[index] = call

    def set_stages(self, stages):
        """Use other stages. The optimizer must be claimed."""
        check_stages(stages)
        self._stages = stages
        if stages.clip_grad_norm is None:
            self.norm = -1.0

    def _check_in_use(self):
        """Raise if another engine has taken over, just before this one was claimed."""
        if self._retired:
            raise RuntimeError(BUSY)

    def bind(self, grads):
        """Keep the gradients for steps that are given none; see `Optimizer.bind`."""
        with idle(self._claim):
            self._check_in_use()
            grads = ordered(grads, self._parameters)
            self._admit(grads, [p for p, g in zip(self._parameters, grads, strict=True) if g is not None])
            self._bound = grads

    def step(self, grads):
        """Update the parameters once; see `Optimizer.step`."""
        with idle(self._claim):
            self._check_in_use()
            given = self._bound if grads is BOUND else ordered(grads, self._parameters)
            if given is None:
                raise TypeError(UNBOUND)
            stages = self._stages
            updates = self.calls + 1 >= stages.accumulate  # or is this call for an accumulation only?
            active = [
                parameter
                for parameter, g in zip(self._parameters, given, strict=True)
                if g is not None or (updates and self._counts[1, parameter.index] > 0)
            ]
            # Sums are of gradients that have been divided by the loss scale already.
            scale = 1 / (self.calls + 1 if stages.accumulate > 1 else stages.loss_scale)
            # Learning rates are the caller's code, which may do anything: so they come before the checks.
            numbers = self._numbers(active, scale) if updates else None
            gradients = self._admit(given, active)
            # Plain views, because a subclass may do anything when it is written to.
            zeroed = [np.asarray(g) for g in given if g is not None] if stages.zero_grads else []
            # Nothing has been written until here, and what follows only writes.
            with np.errstate(all="ignore"), Flushed() if stages.flush_subnormals else nullcontext():
                finite = stages.nonfinite == "propagate" or all(np.isfinite(g).all() for g in gradients.values())
                if finite and stages.accumulate > 1:
                    gradients = self._gather(active, gradients)
                if finite and updates:
                    self._update(active, gradients, numbers, scale)
            if not finite and stages.nonfinite == "raise":
                raise nonfinite_error(self._parameters, given)
            if not finite:
                self.skipped_steps += 1
            else:
                self.calls = 0 if updates else self.calls + 1
            for g in zeroed:
                g.fill(0)

    @contextmanager
    def swapped(self):
        """Within ``with``, the averages are in the parameters' place, and the optimizer is claimed."""
        with idle(self._claim):
            self._check_in_use()
            self._swap(writeable=True)
            try:
                yield
            finally:
                # Nothing may stop it but memory that is gone.
                self._swap(writeable=False)

    def _swap(self, writeable):
        for parameter in self._parameters:
            parameter.check_unchanged(writeable)
        for parameter in self._parameters:
            reference.swap(parameter.state_flats[EMA], parameter.flat)

    def _admit(self, given, active):
        """The gradients of active parameters that have one, flat, by the parameters' indices."""
        zeroes = self._stages.zero_grads
        gradients = {}
        for parameter in active:
            parameter.check_unchanged()
            g = given[parameter.index]
            if g is not None:
                gradients[parameter.index] = flat(parameter.admit(g, self._memory, zeroes))
        if zeroes:
            check_apart(self._parameters, given)
        return gradients

    def _numbers(self, active, scale):
        """The frame's and the formula's numbers for each active parameter, those of a group and count computed once."""
        # Where gradients are clipped by value they are scaled before that, and not again by the kernel.
        scale = scale if self._stages.clip_grad_value is None else 1.0
        rates, known = {}, {}
        for parameter in active:
            group, t = parameter.group, parameter.step + 1
            call = self._kernel_calls[group]
            if group not in rates:
                rates[group] = learning_rate(call.lr, self.updates)
            if (group, t) not in known:
                lr = rates[group]
                check_numbers(group, call, t, lr, scale, self._dtypes[group])
                known[group, t] = call.frame(lr, scale), call.inputs_at(t, lr)
        return [known[parameter.group, parameter.step + 1] for parameter in active]

    def _gather(self, active, gradients):
        """Add the gradients to the sums of those before; these sums, by the parameters' indices."""
        for index, g in gradients.items():
            parameter = self._parameters[index]
            reference.gather(parameter.state_flats[GRAD_SUM], g, g.dtype.type(1 / self._stages.loss_scale))
            self._counts[1, index] += 1
        return {parameter.index: parameter.state_flats[GRAD_SUM] for parameter in active}

    def _update(self, active, gradients, numbers, scale):
        """Change the parameters: all stages but the gathering, and the rules."""
        stages = self._stages
        factor = 1.0
        if stages.clip_grad_norm is not None:
            total = 0.0
            for parameter in active:
                total += reference.squares(gradients[parameter.index])
            self.norm = sqrt(total) * scale
            # Infinity only measures; a norm that is NaN does not stay below anything.
            if stages.clip_grad_norm != inf and not self.norm + 1e-6 <= stages.clip_grad_norm:
                factor = stages.clip_grad_norm / (self.norm + 1e-6)
        for parameter, ((s, l2, keep), of_formula) in zip(active, numbers, strict=True):
            p, g, real = parameter.flat, gradients[parameter.index], parameter.flat.dtype.type
            call = self._kernel_calls[parameter.group]
            if stages.clip_grad_value is None:
                s *= factor
            else:
                g = reference.clip(g, real(scale * factor), real(stages.clip_grad_value))
            d = real(s) * g + real(l2) * p
            state = {"p": p, None: None} | parameter.state_flats
            step = call.formula(d, *(state[name] for name in call.arrays), **of_formula)
            if step is not None:
                p[:] = real(keep) * p - step
            if stages.ema_decay is not None:
                reference.average(parameter.state_flats[EMA], p, real(stages.ema_decay), real(1 - stages.ema_decay))
            if stages.accumulate > 1:
                gradients[parameter.index][:] = 0
            self._counts[0, parameter.index] += 1
            self._counts[1, parameter.index] = 0
        self.updates += bool(active)
