"""The engine in NumPy: what one step does, written to be read. compiled/engine.pyx is the same, compiled.

A step has two halves. The first checks everything and computes all numbers, and may raise; the second writes. Here it
writes to copies, which then take their places at once, so that nothing which interrupts it leaves half a step. An
engine knows parameters, gradients and formulas, but no rule by its name.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import compress
from math import inf, isfinite, sqrt
from typing import Any, TypeAlias

import numpy as np

from fastopt.arrays.addresses import AddressMap, check_disjoint
from fastopt.arrays.forms import Gradients, ordered
from fastopt.arrays.layout import Array, flat
from fastopt.arrays.mapped import held_open
from fastopt.arrays.nesting import Branch
from fastopt.arrays.parameter import Parameter
from fastopt.at_once import Assignment, assign, copying, prepared
from fastopt.engines.busy import BusyLock, Undoing, check_in_place, in_places, not_busy
from fastopt.engines.shared import (
    ACCUMULATED,
    BOUND,
    BUSY,
    UNBOUND,
    Flushed,
    check_numbers,
    check_stages,
    check_step,
    check_totals,
    given_norm,
    nonfinite_error,
)
from fastopt.engines.totals import Totals
from fastopt.formula import dot
from fastopt.number import Number
from fastopt.options import at_update
from fastopt.quiet import quietly
from fastopt.rule import KernelCall
from fastopt.signature import carried_on
from fastopt.stages import EMA, GRAD_SUM, Stages

# The frame's numbers s, l2 and keep, and the formula's.
_Numbers: TypeAlias = tuple[tuple[float, float, float], dict[str, Number | bool]]
# Those of each parameter that takes part in an update, and the decay of the averages.
_StepNumbers: TypeAlias = tuple[list[_Numbers], float]


class _Copies:
    """What a step changes of a parameter, as copies of its arrays and counts.

    Parameters
    ----------
    parameter : Parameter
    names : iterable of str
        Of the state arrays; ``"p"`` stands for the parameter itself.
    """

    def __init__(self, parameter: Parameter, names: Iterable[str]) -> None:
        self.parameter = parameter
        self._originals = {"p": parameter.flat, **parameter.state_flats}
        self.arrays = {name: self._originals[name].copy() for name in names}
        self.carried, self.counts = parameter.carried.copy(), parameter.counts.copy()

    def taking_over(self) -> Iterator[Assignment]:
        """The assignments that put them in the originals' place."""
        for name, array in self.arrays.items():
            yield copying(self._originals[name], array)
        yield copying(self.parameter.carried, self.carried)
        yield copying(self.parameter.counts, self.counts)


class Engine:
    """Runs the steps of one optimizer.

    Parameters
    ----------
    busy : BusyLock
        The optimizer's, held by steps and by changes of what they use.
    kernels : module
        A backend's, with its compiled formulas and stages. This engine has no use for it.
    parameters : list of Parameter
    tree : Branch
        Their nesting.
    addresses : AddressMap
        Where the parameters and their state lie.
    totals : Totals
        The optimizer's; the engine counts in it.
    kernel_calls : list of KernelCall
        One for each parameter group.
    stages : Stages

    Attributes
    ----------
    groups : list
        What `group` gave for each group.
    stages : list
        What `staged` gave, alone in the list; None when another engine has taken over.
    """

    def __init__(
        self,
        busy: BusyLock,
        kernels: object,
        parameters: Sequence[Parameter],
        tree: Branch,
        addresses: AddressMap,
        totals: Totals,
        kernel_calls: Sequence[KernelCall],
        stages: Stages,
    ) -> None:
        self._busy = busy
        self._parameters = parameters
        self._tree = tree
        self._addresses = addresses
        self._totals = totals
        # The bound gradients, and what holds their mappings open.
        self._bound: tuple[list[Any] | None, list[memoryview]] = None, []
        self.groups = list(kernel_calls)
        self.stages: list[Stages | None] = [self.staged(stages)]
        # The narrowest type of each group's parameters.
        self._dtypes: list[np.dtype[Any]] = [np.dtype(np.float64)] * len(kernel_calls)
        for parameter in parameters:
            if parameter.flat.dtype.itemsize < self._dtypes[parameter.group].itemsize:
                self._dtypes[parameter.group] = parameter.flat.dtype

    def group(self, index: int, call: KernelCall) -> KernelCall:
        """What stands in `groups` for a group's kernel call."""
        return call

    def staged(self, stages: Stages) -> Stages:
        """What stands in `stages`."""
        check_stages(stages)
        return stages

    def retirement(self) -> Iterator[Assignment]:
        """The assignments after which it refuses all further steps, because another engine has taken over."""
        yield self.stages, 0, None

    def _stages_in_use(self) -> Stages:
        """The stages; raises if another engine has taken over, just before the busy lock was taken."""
        stages = self.stages[0]
        if stages is None:
            raise RuntimeError(BUSY)
        return stages

    def bind(self, grads: Gradients) -> None:
        """Keep the gradients for steps that are given none; see `Optimizer.bind`."""
        with not_busy(self._busy):
            stages = self._stages_in_use()
            given = ordered(grads, self._tree, self._parameters)
            active = [parameter for parameter, g in zip(self._parameters, given, strict=True) if g is not None]
            for parameter in active:
                parameter.check_bound(given[parameter.index])
            held = held_open(zip(map("gradient of {.label}".format, self._parameters), given, strict=True))
            self._check_gradients(given, active, stages.zero_grads)
            self._bound = given, held

    def step(self, grads: Gradients) -> None:
        """Update the parameters once; see `Optimizer.step`, and `step_accumulated` for ``grads=ACCUMULATED``."""
        self.step_with_norm(grads, None)

    def step_with_norm(self, grads: Gradients, grad_norm: object) -> None:
        """The same, with a norm of all gradients that was computed elsewhere; without one if it is None."""
        with not_busy(self._busy):
            stages, totals = self._stages_in_use(), self._totals
            if grads is ACCUMULATED and totals.calls == 0:
                return
            given = self._given(grads)
            norm = None if grad_norm is None else given_norm(grad_norm, stages)
            check_totals(totals)
            calls = totals.calls + (grads is not ACCUMULATED)
            # Or is this call for an accumulation only?
            is_update = calls >= stages.accumulate or grads is ACCUMULATED
            active = [
                parameter
                for parameter, g in zip(self._parameters, given, strict=True)
                if g is not None or (is_update and parameter.counts[1] > 0)
            ]
            # Sums are of gradients that have been divided by the loss scale already.
            scale = 1 / (calls if stages.accumulate > 1 else stages.loss_scale)
            # Options that are functions are the caller's code, which may do anything: so they come before the checks.
            numbers = self._numbers(active, scale, stages) if is_update else None
            gradients = self._check_gradients(given, active, stages.zero_grads)
            # Nothing can be refused from here on, but what the gradients hold.
            copies, totals = quietly(lambda: self._computed(given, active, gradients, numbers, scale, norm, stages))
            zeroed = [g for g in given if g is not None] if stages.zero_grads else []
            assign(
                [
                    *(one for copy in copies for one in copy.taking_over()),
                    self._totals.becoming(totals),
                    *_zeroing(zeroed),
                ]
            )

    def _given(self, grads: Gradients) -> list[Any]:
        """The gradients in the order of the parameters: those given, the bound ones, or none."""
        if grads is ACCUMULATED:
            return [None] * len(self._parameters)
        if grads is not BOUND:
            return ordered(grads, self._tree, self._parameters)
        given, _ = self._bound
        if given is None:
            raise TypeError(UNBOUND)
        return given

    def swapped(self) -> AbstractContextManager[None]:
        """Within ``with``, the averages are in the parameters' place, and the busy lock is held."""
        return Undoing(self._busy, self._swap, lambda: check_in_place(self._parameters))

    def _swap(self, undo: list[Any]) -> None:
        """Swap the parameters with their averages; what swaps them back is in the list from the same moment on."""
        self._stages_in_use()
        for parameter in self._parameters:
            parameter.check_unchanged()
        room = np.empty(max((one.flat.nbytes for one in self._parameters), default=0), dtype=np.uint8)
        swaps: list[Assignment] = []
        places: list[tuple[Array, Array]] = []  # for each assignment the array that it needs in its place
        for parameter in self._parameters:
            swaps += _swapping(parameter.state_flats[EMA], parameter.flat, room)
            places += [(parameter.array, parameter.view)] * 3
        back = prepared(compress(swaps, in_places(places)))
        prepared([*swaps, (undo, 0, back)])()

    def _check_gradients(self, given: list[Any], active: list[Parameter], zeroes: bool) -> dict[int, Array]:
        """The gradients of active parameters that have one, flat, by the parameters' indices."""
        gradients: dict[int, Array] = {}
        for parameter in active:
            parameter.check_unchanged()
            g = given[parameter.index]
            if g is not None:
                gradients[parameter.index] = flat(parameter.check_gradient(g, self._addresses, zeroes))
        if zeroes:
            check_disjoint((parameter.label for parameter in self._parameters), given)
        return gradients

    def _numbers(self, active: list[Parameter], scale: float, stages: Stages) -> _StepNumbers:
        """The numbers of an update; the frame's and the formula's are computed once for each group and count."""
        # Where gradients are clipped by value they are scaled before that, and not again by the kernel.
        scale = scale if stages.clip_grad_value is None else 1.0
        rates: dict[int, float] = {}
        known: dict[tuple[Any, ...], _Numbers] = {}
        numbers: list[_Numbers] = []
        for parameter in active:
            group, t = parameter.group, parameter.step + 1
            check_step(parameter, t)
            call = self.groups[group]
            if group not in rates:
                rates[group] = at_update("lr", call.lr, self._totals.updates)
            key = group, t, parameter.carried.tobytes()
            if key not in known:
                lr = rates[group]
                check_numbers(group, call, t, lr, scale, parameter.carried, self._dtypes[group])
                known[key] = call.frame(lr, scale), call.inputs_at(t, lr, parameter.carried)
            numbers.append(known[key])
        ema_decay = 0.0
        if active and stages.ema_decay is not None:
            ema_decay = at_update("ema_decay", stages.ema_decay, self._totals.updates, below=1)
        return numbers, ema_decay

    def _computed(
        self,
        given: list[Any],
        active: list[Parameter],
        gradients: Mapping[int, Array],
        numbers: _StepNumbers | None,
        scale: float,
        norm: float | None,
        stages: Stages,
    ) -> tuple[list[_Copies], Totals]:
        """All that a step changes but the gradients."""
        totals = self._totals
        with Flushed() if stages.flush_subnormals else nullcontext():
            if stages.nonfinite != "propagate" and not _are_finite(gradients.values(), norm):
                if stages.nonfinite == "raise":
                    raise nonfinite_error(self._parameters, given, norm)
                return [], totals.changed(skipped_steps=totals.skipped_steps + 1)
            copies = [_Copies(one, [GRAD_SUM] if numbers is None else ["p", *one.state_flats]) for one in active]
            if stages.accumulate > 1:
                gradients = self._accumulated(copies, gradients, stages)
            if numbers is None:
                return copies, totals.changed(calls=totals.calls + 1)
            norm = self._update(copies, gradients, numbers, scale, norm, stages)
            return copies, totals.changed(updates=totals.updates + bool(active), calls=0, norm=norm)

    def _accumulated(self, copies: list[_Copies], gradients: Mapping[int, Array], stages: Stages) -> dict[int, Array]:
        """The sums of the gradients and of those before, by the parameters' indices."""
        sums: dict[int, Array] = {}
        for copy in copies:
            index, sum = copy.parameter.index, copy.arrays[GRAD_SUM]
            if index in gradients:
                accumulate(sum, gradients[index], sum.dtype.type(1 / stages.loss_scale))
                copy.counts[1] += 1
            sums[index] = sum
        return sums

    def _update(
        self,
        copies: list[_Copies],
        gradients: Mapping[int, Array],
        numbers: _StepNumbers,
        scale: float,
        norm: float | None,
        stages: Stages,
    ) -> float:
        """All stages but the accumulation, and the rules. The norm of the gradients, or -1 where it is not known."""
        of_formulas, ema_decay = numbers
        factor = 1.0
        if stages.clip_grad_norm is not None:
            if norm is None:
                norm = sqrt(squares(None, [gradients[copy.parameter.index] for copy in copies])) * scale
            # With infinity the norm is only measured. A NaN is below no bound, so the factor becomes NaN too.
            if stages.clip_grad_norm != inf and not norm + 1e-6 <= stages.clip_grad_norm:
                factor = stages.clip_grad_norm / (norm + 1e-6)
        for copy, ((s, l2, keep), of_formula) in zip(copies, of_formulas, strict=True):
            p, g = copy.arrays["p"], gradients[copy.parameter.index]
            real, call = p.dtype.type, self.groups[copy.parameter.group]
            if stages.clip_grad_value is None:
                s *= factor
            else:
                g = clip(g, real(scale * factor), real(stages.clip_grad_value))
            d = real(s) * g + real(l2) * p
            state = (None if name is None else copy.arrays[name] for name in call.arrays)
            step, carried = carried_on(call.formula(d, *state, **of_formula))
            if step is not None:
                p[:] = real(keep) * p - step
            copy.carried[:] = carried
            if stages.ema_decay is not None:
                update_ema(copy.arrays[EMA], p, real(ema_decay), real(1 - ema_decay))
            if stages.accumulate > 1:
                copy.arrays[GRAD_SUM][:] = 0
            copy.counts[0] += 1
            copy.counts[1] = 0
        return -1.0 if norm is None else norm


def _are_finite(gradients: Iterable[Array], norm: float | None) -> bool:
    """Whether all gradients are. A given norm decides alone, because it covers the gradients of other processes too."""
    return all(np.isfinite(g).all() for g in gradients) if norm is None else isfinite(norm)


def squares(kernels: object, blocks: Iterable[Array]) -> float:
    """The sum of the squares of flat arrays: of each by itself, and then of all in their order."""
    total = 0.0
    for block in blocks:
        total += sum_of_squares(block)
    return total


def _swapping(x: Array, y: Array, room: Array) -> list[Assignment]:
    """The assignments that swap two flat arrays, given room for one of them."""
    saved = room[: x.nbytes].view(x.dtype)
    return [copying(saved, x), copying(x, y), copying(y, saved)]


def _zeroing(gradients: Sequence[Array]) -> Iterator[Assignment]:
    """The assignments that zero arrays."""
    zeros = np.zeros(max((g.nbytes for g in gradients), default=0), dtype=np.uint8)
    for given in gradients:
        g = np.asarray(given)  # a plain view, because a subclass may do anything when it is written to
        same = zeros[: g.nbytes].view(g.dtype)
        yield copying(flat(g), same) if g.flags.forc else (g, ..., same.reshape(g.shape))


# The stages' loops on one array. The compiled ones equal them to the last bit, because they do the same operations,
# each rounded once, in the same order. Numbers have the arrays' type.


def sum_of_squares(x: Array) -> float:
    """In double precision and in the one order that all backends keep."""
    return float(dot(x, x))


def accumulate(sum: Array, g: Array, scale: np.floating[Any]) -> None:
    sum[:] = sum + scale * g


def clip(g: Array, scale: np.floating[Any], bound: np.floating[Any]) -> Array:
    """The scaled gradient between -bound and bound; a NaN stays one."""
    clipped: Array = np.maximum(np.minimum(scale * g, bound), -bound)
    return clipped


def update_ema(ema: Array, p: Array, decay: np.floating[Any], decay_rest: np.floating[Any]) -> None:
    ema[:] = decay * ema + decay_rest * p
