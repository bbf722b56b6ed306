"""The engine in NumPy: what one step does, written to be read. Its compiled twin is _core/engine.pyx.

A step has two halves. The first checks everything and computes all scalars, and may raise; the second writes. An
engine knows parameters, gradients and formulas, but no rule by its name.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from math import sqrt
from threading import Lock
from typing import NamedTuple

import numpy as np

from fastopt.options import nearest, number
from fastopt.parameters import flat, listed

BUSY = "this optimizer is in the middle of a step or a change, in another thread or further up this call"

# The scalars that change with the step in the same way for several rules, by the names that rules call them. The
# compiled engine has them too: a small model would feel it if they were computed in Python.
STEP_SCALARS = {
    "lr": lambda lr, c1, c2: lr,
    "lr/c1": lambda lr, c1, c2: lr / c1,
    "lr*sqrt(c2)/c1": lambda lr, c1, c2: lr * sqrt(c2) / c1,
    "1/c2": lambda lr, c1, c2: 1 / c2,
}


class Formula(NamedTuple):
    """What a parameter group's options come to: a kernel, and the scalars that it takes.

    These are ``s, l2, keep``, then `scalars`: numbers, names of `STEP_SCALARS`, and functions of ``(t, lr)``. The
    corrections of the bias are ``c1, c2 = 1 - beta**t`` for the two of `corrected`.
    """

    kernel: str
    s: float
    l2: float
    decay: float  # keep = 1 - lr*decay
    lr: float | Callable
    corrected: tuple
    scalars: tuple

    def at(self, t):
        """The kernel's scalars in step ``t``."""
        lr = learning_rate(self.lr, t)
        c1, c2 = (1 - beta**t for beta in self.corrected)
        values = [self.s, self.l2, 1 - lr * self.decay]
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


class _Group(NamedTuple):
    """A group's formula, its kernel, and the narrowest type of its parameters."""

    formula: Formula
    kernel: Callable
    dtype: np.dtype
    largest: float  # that the type holds


class Engine:
    """Runs the steps of one optimizer.

    Parameters
    ----------
    claim : from `new_claim`
        The optimizer's, held by steps and by changes of what they use.
    kernels : mapping of str to callable
        The kernels of a backend by name.
    parameters : list of Parameter
    memory : Memory
        Where the parameters and their state lie.
    steps : ndarray of int64
        The step count of each parameter; the engine counts in it.
    formulas : list of Formula
        One for each parameter group.
    """

    new_claim = Lock

    def __init__(self, claim, kernels, parameters, memory, steps, formulas):
        self._claim = claim
        self._retired = False
        self._kernels = kernels
        self._parameters = parameters
        self._memory = memory
        self._steps = steps
        self._groups = [None] * len(formulas)
        for index, formula in enumerate(formulas):
            self.set_formula(index, formula)

    def retire(self):
        """Refuse all further steps, because another engine has taken over."""
        self._retired = True

    def set_formula(self, index, formula):
        """Use another formula for a group. The optimizer must be claimed."""
        kernel = self._kernels[formula.kernel]
        names = list(signature(kernel).parameters)
        buffers = names.index("s")
        members = [parameter for parameter in self._parameters if parameter.group == index]
        if any(2 + len(parameter.state_flats) != buffers for parameter in members):
            raise ValueError(f"kernel {formula.kernel!r}: it takes other state arrays than the rule has")
        if buffers + 3 + len(formula.scalars) != len(names):
            raise ValueError(f"kernel {formula.kernel!r}: it takes other scalars than the rule gives")
        dtypes = {parameter.flat.dtype for parameter in members}
        dtype = min(dtypes, key=lambda dtype: dtype.itemsize, default=np.dtype(np.float64))
        largest = float(np.finfo(dtype).max)
        self._groups[index] = _Group(formula, kernel, dtype, largest)

    def step(self, grads):
        """Update the parameters once; see `Optimizer.step`."""
        with idle(self._claim):
            if self._retired:
                raise RuntimeError(BUSY)
            grads = ordered(grads, self._parameters)
            active = [parameter for parameter, g in zip(self._parameters, grads, strict=True) if g is not None]
            # Learning rates are the caller's code, which may do anything: so they come before the checks.
            scalars = self._scalars(active)
            gradients = []
            for parameter in active:
                parameter.check_unchanged()
                gradients.append(parameter.admit(grads[parameter.index], self._memory))
            # Nothing has been written until here, and what follows only writes.
            with np.errstate(all="ignore"):
                for parameter, g, values in zip(active, gradients, scalars, strict=True):
                    p = parameter.flat
                    kernel = self._groups[parameter.group].kernel
                    kernel(p, flat(g), *parameter.state_flats.values(), *map(p.dtype.type, values))
                    self._steps[parameter.index] += 1

    def _scalars(self, active):
        """The scalars of each active parameter; those of one group with one step count are computed once."""
        known = {}
        for parameter in active:
            t = parameter.step + 1
            key = parameter.group, t
            if key not in known:
                group = self._groups[parameter.group]
                scalars = group.formula.at(t)
                if not all(abs(x) <= group.largest for x in scalars):
                    check_scalars(*key, scalars, group.dtype)
                known[key] = scalars
        return [known[parameter.group, parameter.step + 1] for parameter in active]
