"""The engine in NumPy: what one step does, written to be read. Its compiled twin is _core/engine.pyx.

A step has two halves. The first checks everything and computes all scalars, and may raise; the second writes. An
engine knows parameters, gradients and formulas, but no rule by its name.
"""

from collections.abc import Callable, Mapping
from contextlib import contextmanager, nullcontext
from inspect import signature
from math import inf, sqrt
from threading import Lock
from typing import NamedTuple

import numpy as np

from fastopt import reference
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

# The scalars that change with the step in the same way for several rules, by the names that rules call them. The
# compiled engine has them too: a small model would feel it if they were computed in Python.
STEP_SCALARS = {
    "lr": lambda lr, c1, c2: lr,
    "lr/c1": lambda lr, c1, c2: lr / c1,
    "lr*sqrt(c2)/c1": lambda lr, c1, c2: lr * sqrt(c2) / c1,
    "1/c1": lambda lr, c1, c2: 1 / c1,
    "1/c2": lambda lr, c1, c2: 1 / c2,
}


class Formula(NamedTuple):
    """What a parameter group's options come to: a kernel, and the scalars that it takes.

    These are ``s, l2, keep``, then `scalars`: numbers, names of `STEP_SCALARS`, and functions of ``(t, lr)``. The
    corrections of the bias are ``c1, c2 = 1 - beta**t`` for the two of `corrected`. Where the kernel needs the ratio of
    two norms, the last scalar is the ratio's coefficient.
    """

    kernel: str
    s: float
    l2: float
    decay: float  # keep = 1 - lr*decay
    lr: float | Callable
    corrected: tuple
    scalars: tuple

    def at(self, t, scale=1.0):
        """The kernel's scalars in step ``t``, of gradients times ``scale``."""
        lr = learning_rate(self.lr, t)
        c1, c2 = (1 - beta**t for beta in self.corrected)
        values = [self.s * scale, self.l2, 1 - lr * self.decay]
        for scalar in self.scalars:
            if callable(scalar):
                scalar = scalar(t, lr)
            elif isinstance(scalar, str):
                scalar = STEP_SCALARS[scalar](lr, c1, c2)
            values.append(scalar)
        return tuple(values)


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


def learning_rate(lr, t):
    """The learning rate of update ``t``, checked: ``lr`` itself, or what it returns when it is a function."""
    if not callable(lr):
        return lr
    return number("lr", lr(t), whose=f" by its function for step {t}")


def check_scalars(group, t, scalars, dtype):
    """Raise if a group's scalars are not finite in the narrowest type of its parameters."""
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.array(scalars).astype(dtype)).all()
    if not finite:
        raise ValueError(
            f"group {group}: at step {t} its options make a factor that {dtype} cannot hold, of {scalars}; "
            f"choose smaller ones"
        )


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


class _Group(NamedTuple):
    """A group's formula, its kernel and what that does before, and the narrowest type of its parameters."""

    formula: Formula
    kernel: Callable
    prepare: Callable | None
    dtype: np.dtype
    largest: float  # that the type holds


class Engine:
    """Runs the steps of one optimizer.

    Parameters
    ----------
    claim : from `new_claim`
        The optimizer's, held by steps and by changes of what they use.
    kernels : module
        A backend's, with its ``KERNELS``, ``PREPARE`` and stages by name. Of this engine: `fastopt.reference`.
    parameters : list of Parameter
    memory : Memory
        Where the parameters and their state lie.
    counts : ndarray of int64, (2, number of parameters)
        Of the steps of each parameter, and of the gradients in its sum; the engine counts in it.
    formulas : list of Formula
        One for each parameter group.
    stages : Stages

    Attributes
    ----------
    norm : float
        That of the gradients in the last step; -1 before one was measured.
    calls : int
        Of `step` since the last update.
    skipped_steps : int
    """

    new_claim = Lock

    def __init__(self, claim, kernels, parameters, memory, counts, formulas, stages):
        self._claim = claim
        self._retired = False
        self._kernels = kernels
        self._parameters = parameters
        self._memory = memory
        self._counts = counts
        self._bound = None
        self._groups = [None] * len(formulas)
        for index, formula in enumerate(formulas):
            self.set_formula(index, formula)
        self.norm, self.calls, self.skipped_steps = -1.0, 0, 0
        self.set_stages(stages)

    def retire(self):
        """Refuse all further steps, because another engine has taken over."""
        self._retired = True

    def set_formula(self, index, formula):
        """Use another formula for a group. The optimizer must be claimed."""
        kernel = self._kernels.KERNELS[formula.kernel]
        names = list(signature(kernel).parameters)
        buffers = names.index("s")
        members = [parameter for parameter in self._parameters if parameter.group == index]
        if any(2 + len(parameter.kernel_flats) != buffers for parameter in members):
            raise ValueError(f"kernel {formula.kernel!r}: it takes other state arrays than the rule has")
        if buffers + 3 + len(formula.scalars) != len(names):
            raise ValueError(f"kernel {formula.kernel!r}: it takes other scalars than the rule gives")
        dtypes = {parameter.flat.dtype for parameter in members}
        dtype = min(dtypes, key=lambda dtype: dtype.itemsize, default=np.dtype(np.float64))
        largest = float(np.finfo(dtype).max)
        self._groups[index] = _Group(formula, kernel, self._kernels.PREPARE.get(formula.kernel), dtype, largest)

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
            scalars = self._scalars(active, scale) if updates else None
            gradients = self._admit(given, active)
            # Plain views, because a subclass may do anything when it is written to.
            zeroed = [np.asarray(g) for g in given if g is not None] if stages.zero_grads else []
            # Nothing has been written until here, and what follows only writes.
            with np.errstate(all="ignore"), Flushed() if stages.flush_subnormals else nullcontext():
                finite = stages.nonfinite == "propagate" or all(np.isfinite(g).all() for g in gradients.values())
                if finite and stages.accumulate > 1:
                    gradients = self._gather(active, gradients)
                if finite and updates:
                    self._update(active, gradients, scalars, scale)
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

    def _scalars(self, active, scale):
        """The scalars of each active parameter; those of one group with one step count are computed once."""
        # Where gradients are clipped by value they are scaled before that, and not again by the kernel.
        scale = scale if self._stages.clip_grad_value is None else 1.0
        known = {}
        for parameter in active:
            t = parameter.step + 1
            key = parameter.group, t
            if key not in known:
                group = self._groups[parameter.group]
                scalars = group.formula.at(t, scale)
                if not all(abs(x) <= group.largest for x in scalars):
                    check_scalars(*key, scalars, group.dtype)
                known[key] = scalars
        return [known[parameter.group, parameter.step + 1] for parameter in active]

    def _gather(self, active, gradients):
        """Add the gradients to the sums of those before; these sums, by the parameters' indices."""
        for index, g in gradients.items():
            parameter = self._parameters[index]
            reference.gather(parameter.state_flats[GRAD_SUM], g, g.dtype.type(1 / self._stages.loss_scale))
            self._counts[1, index] += 1
        return {parameter.index: parameter.state_flats[GRAD_SUM] for parameter in active}

    def _update(self, active, gradients, scalars, scale):
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
        for parameter, (s, *others) in zip(active, scalars, strict=True):
            p, g, real = parameter.flat, gradients[parameter.index], parameter.flat.dtype.type
            group = self._groups[parameter.group]
            if stages.clip_grad_value is None:
                s *= factor
            else:
                g = reference.clip(g, real(scale * factor), real(stages.clip_grad_value))
            values = [real(value) for value in (s, *others)]
            if group.prepare is not None:
                x, y = map(reference.squares, group.prepare(p, g, *parameter.kernel_flats, *values))
                values[-1] = real(others[-1] * sqrt(x) / sqrt(y) if x != 0 and y != 0 else 1.0)
            group.kernel(p, g, *parameter.kernel_flats, *values)
            if stages.ema_decay is not None:
                reference.average(parameter.state_flats[EMA], p, real(stages.ema_decay), real(1 - stages.ema_decay))
            if stages.accumulate > 1:
                gradients[parameter.index][:] = 0
            self._counts[0, parameter.index] += 1
            self._counts[1, parameter.index] = 0
