"""What the engines have in common: what they say, and the checks that come before a step."""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastopt.arrays.layout import Array
from fastopt.arrays.parameter import Parameter
from fastopt.engines.totals import Totals
from fastopt.number import NotFinite, Number
from fastopt.options import real
from fastopt.quiet import quietly
from fastopt.rule import KernelCall
from fastopt.signature import Formula, carried_on, key_of
from fastopt.stages import Stages

if TYPE_CHECKING or find_spec("fastopt.engines.compiled.cpu"):
    from fastopt.engines.compiled.cpu import CAN_FLUSH
    from fastopt.engines.compiled.cpu import Flushed as Flushed
else:  # a pure NumPy install
    CAN_FLUSH, Flushed = False, None

BUSY = (
    "this optimizer is in the middle of a step or a change, in another thread or further up the call stack, or within "
    "`with opt.swap_ema()`, while its averages are swapped in; let that end first. In a forked process it may never "
    "end, if another thread was in the middle of one; make a new optimizer there and load a checkpoint"
)

# No count gets as far: then none can overflow, and what was saved can be loaded.
COUNTS_END = 2**62


class _Word:
    """Stands in the place of gradients, and is shown as what it means."""

    def __init__(self, meaning: str) -> None:
        self._meaning = meaning

    def __repr__(self) -> str:
        return self._meaning


# What `step` gets in the gradients' place when the bound ones are meant.
BOUND: Any = _Word("those bound")
UNBOUND = "grads: none were given, and none are bound; pass them, or bind them once"

# What it gets when an update is to be made of what has accumulated.
ACCUMULATED: Any = _Word("those accumulated")


def check_numbers(
    group: int, call: KernelCall, t: int, lr: float, scale: float, carried: Iterable[float], dtype: np.dtype[Any]
) -> None:
    """Raise if a number that meets an array is not finite in the narrowest type of a group's parameters.

    The formula is rehearsed on arrays of two ones: what fails in it fails here, before anything is written.
    """
    arrays = [None if name is None else np.ones(2, dtype) for name in call.arrays]

    def rehearse() -> None:
        for x in call.frame(lr, scale):
            Number(x).rounded(dtype)
        made = call.formula(np.ones(2, dtype), *arrays, **call.inputs_at(t, lr, carried, Number))
        for x in _checked(call, dtype, *carried_on(made)):
            (x if isinstance(x, Number) else Number(x)).rounded(dtype)

    try:
        quietly(rehearse)
    except NotFinite as error:
        raise ValueError(
            f"group {group}: at step {t} its options make a factor that {dtype} cannot hold, {error}; choose others"
        ) from None


def _checked(call: KernelCall, dtype: np.dtype[Any], step: Any, carried: list[Any]) -> list[Any]:
    """The numbers that a formula returned; raises TypeError where these or the step are not what they have to be."""
    name = call.formula.__name__
    if step is None and "p" not in call.arrays:
        raise TypeError(f"formula {name}: with these numbers it returns no step")
    is_array, array = isinstance(step, np.ndarray), cast("Array", step)
    if not (step is None or (is_array and array.shape == (2,) and array.dtype == dtype)):
        found = f"{array.dtype} of shape {array.shape}" if is_array else repr(array)
        raise TypeError(f"formula {name}: the step that it returns is an array like d, or None; found {found}")
    if len(carried) != len(call.carried) or not all(isinstance(x, int | float) for x in carried):
        expected = ", ".join(call.carried) or "none"
        raise TypeError(
            f"formula {name}: behind the step it returns the numbers that it carries, {expected}; found {carried}"
        )
    return carried


def loops_of(kernels: Any, formula: Formula) -> Any:
    """What a backend has compiled of a formula: one of our own, by its name, or one that `compile` added; or None."""
    # Others may bear a name of ours, as those do that functools.wraps makes.
    ours = str(formula.__globals__.get("__name__")).startswith("fastopt.")
    return kernels.FORMULAS.get(formula) or (kernels.FORMULAS.get(key_of(formula)) if ours else None)


def check_stages(stages: Stages) -> None:
    """Raise if this machine cannot do them."""
    if stages.flush_subnormals and not CAN_FLUSH:
        raise ValueError(
            "flush_subnormals: it needs the compiled part of fastopt, on x86-64 or 64-bit ARM; leave it off"
        )


def given_norm(grad_norm: object, stages: Stages) -> float:
    """The norm that was given to `step`, checked. It may be NaN or infinite: then some gradient is not finite."""
    if stages.accumulate > 1:
        raise ValueError(
            "grad_norm: with accumulate an update uses the mean of several gradients, and this is not its norm; leave "
            "it out"
        )
    norm = real("grad_norm", grad_norm)
    if norm < 0:
        raise ValueError(f"grad_norm: {norm!r} was given; a norm is not negative")
    return norm


def nonfinite_error(
    parameters: Sequence[Parameter], gradients: Sequence[Array | None], grad_norm: float | None
) -> ValueError:
    """The error that names the first gradient that is not finite, and where."""
    for parameter, g in zip(parameters, gradients, strict=True):
        if g is None:
            continue
        array = np.asarray(g, parameter.view.dtype)  # also a number, as the step has rounded it
        if not np.isfinite(array).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            return ValueError(f"gradient of {parameter.label}: it holds {array[place]} at {place}; nothing was changed")
    if grad_norm is not None:
        return ValueError(
            f"grad_norm: {grad_norm} was given, so a gradient elsewhere is not finite; nothing was changed"
        )
    return ValueError("grads: one was not finite when it was checked, and has been written to since; no step was taken")


def check_totals(totals: Totals) -> None:
    """Raise if there were too many steps to count another one."""
    if max(totals.updates, totals.calls, totals.skipped_steps) + 1 >= COUNTS_END:
        raise OverflowError("this optimizer has made 2**62 - 1 steps, and can count no further; make a new one")


def check_step(parameter: Parameter, t: int) -> None:
    """Raise if a parameter's step has too large a count."""
    if t >= COUNTS_END:
        raise OverflowError(
            f"{parameter.label}: it has made 2**62 - 1 steps, and can count no further; make a new optimizer"
        )
