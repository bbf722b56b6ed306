"""The engine in NumPy: what one step does, written to be read. compiled/engine.pyx is the same, compiled.

A step has two halves. The first checks everything and computes all numbers, and may raise; the second writes. An
engine knows parameters, gradients and formulas, but no rule by its name.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from math import inf, sqrt
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastopt.arrays.addresses import AddressMap, check_disjoint
from fastopt.arrays.forms import Gradients, ordered
from fastopt.arrays.layout import Array, flat
from fastopt.arrays.parameter import Parameter
from fastopt.engines.shared import (
    BOUND,
    BUSY,
    UNBOUND,
    Busy,
    Flushed,
    check_numbers,
    check_stages,
    learning_rate,
    nonfinite_error,
    not_busy,
)
from fastopt.formula import dot
from fastopt.number import Number
from fastopt.rule import KernelCall
from fastopt.signature import carried_on
from fastopt.stages import EMA, GRAD_SUM, Stages

# The frame's numbers s, l2 and keep, and the formula's.
_Numbers: TypeAlias = tuple[tuple[float, float, float], dict[str, Number | bool]]


class Engine:
    """Runs the steps of one optimizer.

    Parameters
    ----------
    busy : from `new_busy_lock`
        The optimizer's, held by steps and by changes of what they use.
    kernels : module
        A backend's, with its compiled formulas and stages. This engine has no use for it.
    parameters : list of Parameter
    addresses : AddressMap
        Where the parameters and their state lie.
    counts : ndarray of int64, (2, number of parameters)
        Of the steps of each parameter, and of the gradients in its sum; the engine counts in it.
    kernel_calls : list of KernelCall
        One for each parameter group.
    stages : Stages

    Attributes
    ----------
    norm : float
        The norm of the gradients in the last step; -1 before one was measured.
    updates : int
        How many updates there were.
    calls : int
        How many calls of `step` there were since the last update.
    skipped_steps : int
    """

    new_busy_lock = Lock

    def __init__(
        self,
        busy: Busy,
        kernels: object,
        parameters: Sequence[Parameter],
        addresses: AddressMap,
        counts: NDArray[np.int64],
        kernel_calls: Sequence[KernelCall],
        stages: Stages,
    ) -> None:
        self._busy = busy
        self._retired = False
        self._parameters = parameters
        self._addresses = addresses
        self._counts = counts
        self._bound: list[Any] | None = None
        self._kernel_calls = list(kernel_calls)
        # The narrowest type of each group's parameters.
        self._dtypes: list[np.dtype[Any]] = [np.dtype(np.float64)] * len(kernel_calls)
        for parameter in parameters:
            if parameter.flat.dtype.itemsize < self._dtypes[parameter.group].itemsize:
                self._dtypes[parameter.group] = parameter.flat.dtype
        self.norm, self.updates, self.calls, self.skipped_steps = -1.0, 0, 0, 0
        self.set_stages(stages)

    def retire(self) -> None:
        """Refuse all further steps, because another engine has taken over."""
        self._retired = True

    def set_kernel_call(self, index: int, call: KernelCall) -> None:
        """Use another formula, or other numbers, for a group. The busy lock must be held."""
        self._kernel_calls[index] = call

    def set_stages(self, stages: Stages) -> None:
        """Use other stages. The busy lock must be held."""
        check_stages(stages)
        self._stages = stages
        if stages.clip_grad_norm is None:
            self.norm = -1.0

    def _check_in_use(self) -> None:
        """Raise if another engine has taken over, just before the busy lock was taken."""
        if self._retired:
            raise RuntimeError(BUSY)

    def bind(self, grads: Gradients) -> None:
        """Keep the gradients for steps that are given none; see `Optimizer.bind`."""
        with not_busy(self._busy):
            self._check_in_use()
            given = ordered(grads, self._parameters)
            self._check_gradients(given, [p for p, g in zip(self._parameters, given, strict=True) if g is not None])
            self._bound = given

    def step(self, grads: Gradients) -> None:
        """Update the parameters once; see `Optimizer.step`."""
        with not_busy(self._busy):
            self._check_in_use()
            given = self._bound if grads is BOUND else ordered(grads, self._parameters)
            if given is None:
                raise TypeError(UNBOUND)
            stages = self._stages
            is_update = self.calls + 1 >= stages.accumulate  # or is this call for an accumulation only?
            active = [
                parameter
                for parameter, g in zip(self._parameters, given, strict=True)
                if g is not None or (is_update and self._counts[1, parameter.index] > 0)
            ]
            # Sums are of gradients that have been divided by the loss scale already.
            scale = 1 / (self.calls + 1 if stages.accumulate > 1 else stages.loss_scale)
            # Learning rates are the caller's code, which may do anything: so they come before the checks.
            numbers = self._numbers(active, scale) if is_update else []
            gradients = self._check_gradients(given, active)
            # Plain views, because a subclass may do anything when it is written to.
            zeroed = [np.asarray(g) for g in given if g is not None] if stages.zero_grads else []
            # Nothing has been written until here, and what follows only writes.
            with np.errstate(all="ignore"), Flushed() if stages.flush_subnormals else nullcontext():
                finite = stages.nonfinite == "propagate" or all(np.isfinite(g).all() for g in gradients.values())
                if finite and stages.accumulate > 1:
                    gradients = self._accumulate(active, gradients)
                if finite and is_update:
                    self._update(active, gradients, numbers, scale)
            if not finite and stages.nonfinite == "raise":
                raise nonfinite_error(self._parameters, given)
            if not finite:
                self.skipped_steps += 1
            else:
                self.calls = 0 if is_update else self.calls + 1
            for g in zeroed:
                g.fill(0)

    @contextmanager
    def swapped(self) -> Generator[None, None, None]:
        """Within ``with``, the averages are in the parameters' place, and the busy lock is held."""
        with not_busy(self._busy):
            self._check_in_use()
            self._swap(writeable=True)
            try:
                yield
            finally:
                # Nothing may stop it but memory that is gone.
                self._swap(writeable=False)

    def _swap(self, writeable: bool) -> None:
        for parameter in self._parameters:
            parameter.check_unchanged(writeable)
        for parameter in self._parameters:
            swap(parameter.state_flats[EMA], parameter.flat)

    def _check_gradients(self, given: list[Any], active: list[Parameter]) -> dict[int, Array]:
        """The gradients of active parameters that have one, flat, by the parameters' indices."""
        zeroes = self._stages.zero_grads
        gradients: dict[int, Array] = {}
        for parameter in active:
            parameter.check_unchanged()
            g = given[parameter.index]
            if g is not None:
                gradients[parameter.index] = flat(parameter.check_gradient(g, self._addresses, zeroes))
        if zeroes:
            check_disjoint((parameter.label for parameter in self._parameters), given)
        return gradients

    def _numbers(self, active: list[Parameter], scale: float) -> list[_Numbers]:
        """The frame's and the formula's numbers for each active parameter, those of a group and count computed once."""
        # Where gradients are clipped by value they are scaled before that, and not again by the kernel.
        scale = scale if self._stages.clip_grad_value is None else 1.0
        rates: dict[int, float] = {}
        known: dict[tuple[Any, ...], _Numbers] = {}
        numbers: list[_Numbers] = []
        for parameter in active:
            group, t = parameter.group, parameter.step + 1
            call = self._kernel_calls[group]
            if group not in rates:
                rates[group] = learning_rate(call.lr, self.updates)
            key = group, t, parameter.carried.tobytes()
            if key not in known:
                lr = rates[group]
                check_numbers(group, call, t, lr, scale, parameter.carried, self._dtypes[group])
                known[key] = call.frame(lr, scale), call.inputs_at(t, lr, parameter.carried)
            numbers.append(known[key])
        return numbers

    def _accumulate(self, active: list[Parameter], gradients: dict[int, Array]) -> dict[int, Array]:
        """Add the gradients to the sums of those before; these sums, by the parameters' indices."""
        for index, g in gradients.items():
            parameter = self._parameters[index]
            accumulate(parameter.state_flats[GRAD_SUM], g, g.dtype.type(1 / self._stages.loss_scale))
            self._counts[1, index] += 1
        return {parameter.index: parameter.state_flats[GRAD_SUM] for parameter in active}

    def _update(
        self, active: list[Parameter], gradients: dict[int, Array], numbers: list[_Numbers], scale: float
    ) -> None:
        """Change the parameters: all stages but the accumulation, and the rules."""
        stages = self._stages
        factor = 1.0
        if stages.clip_grad_norm is not None:
            total = 0.0
            for parameter in active:
                total += sum_of_squares(gradients[parameter.index])
            self.norm = sqrt(total) * scale
            # With infinity the norm is only measured. A NaN is below no bound, so the factor becomes NaN too.
            if stages.clip_grad_norm != inf and not self.norm + 1e-6 <= stages.clip_grad_norm:
                factor = stages.clip_grad_norm / (self.norm + 1e-6)
        for parameter, ((s, l2, keep), of_formula) in zip(active, numbers, strict=True):
            p, g, real = parameter.flat, gradients[parameter.index], parameter.flat.dtype.type
            call = self._kernel_calls[parameter.group]
            if stages.clip_grad_value is None:
                s *= factor
            else:
                g = clip(g, real(scale * factor), real(stages.clip_grad_value))
            d = real(s) * g + real(l2) * p
            state: dict[Any, Array | None] = {"p": p, None: None, **parameter.state_flats}
            step, carried = carried_on(call.formula(d, *(state[name] for name in call.arrays), **of_formula))
            if step is not None:
                p[:] = real(keep) * p - step
            parameter.carried[:] = carried
            if stages.ema_decay is not None:
                update_ema(parameter.state_flats[EMA], p, real(stages.ema_decay), real(1 - stages.ema_decay))
            if stages.accumulate > 1:
                gradients[parameter.index][:] = 0
            self._counts[0, parameter.index] += 1
            self._counts[1, parameter.index] = 0
        self.updates += bool(active)


# The stages' loops on one array. The compiled ones equal them to the last bit, because they do the same operations,
# each rounded once, in the same order. Numbers have the arrays' type.


def sum_of_squares(x: Array) -> float:
    """In double precision and in the one order that all backends keep."""
    return float(dot(x, x))


def accumulate(sum: Array, g: Array, scale: np.floating[Any]) -> None:
    sum[:] = sum + scale * g


def clip(g: Array, scale: np.floating[Any], bound: np.floating[Any]) -> Array:
    """The scaled gradient between -bound and bound; a NaN stays one."""
    x = scale * g
    x = np.where(bound < x, bound, x)
    return np.where(-bound > x, -bound, x)


def update_ema(ema: Array, p: Array, decay: np.floating[Any], decay_rest: np.floating[Any]) -> None:
    ema[:] = decay * ema + decay_rest * p


def swap(x: Array, y: Array) -> None:
    x[:], y[:] = y.copy(), x.copy()
