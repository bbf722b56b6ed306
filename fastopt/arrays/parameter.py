"""One parameter: the caller's array, what is accepted of it and of its gradient, and its state."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastopt.arrays.addresses import AddressMap
from fastopt.arrays.kinds import LOSS, cure_of_dtype, cure_of_shape, holds, is_scalar, replaced, type_name
from fastopt.arrays.layout import (
    Array,
    check_aligned,
    check_buffer,
    check_floats,
    check_writeable,
    dtype_name,
    flat,
    is_number,
    plain,
    start_of,
    state_blocks,
)
from fastopt.at_once import Assignment, copying
from fastopt.quiet import quietly
from fastopt.stages import COPY, GRAD_SUM

# Called with a parameter's label, and a state array's name, size and dtype.
StateMemory: TypeAlias = Callable[[str, str, int, "np.dtype[Any]"], Array]
# What to do where state does not fit.
SAME = "make the optimizer as the saved one was made"


class Parameter:
    """One parameter: the caller's array, and the state that its rule and the stages keep for it.

    Parameters
    ----------
    name : str or None
    index : int
        Its place among all parameters.
    group : int
        The index of its group.
    array : ndarray
        A float32 or float64 array that can be updated in place; anything else is refused.
    """

    def __init__(self, name: str | None, index: int, group: int, array: Array) -> None:
        self.name = name
        self.index = index
        self.label = f"parameter {index if name is None else name!r}"
        self.group = group
        self.array = array
        given = plain(self.label, array, "p")
        check_floats(self.label, given, "p")
        if not given.flags.writeable:
            raise ValueError(f"{self.label}: the array is read-only; {replaced('p', 'p.copy()')}")
        check_aligned(self.label, given, "p")
        if not given.flags.forc:
            raise ValueError(
                f"{self.label}: the array is neither C- nor F-contiguous (strides {given.strides}); "
                f"pass the whole array that it is a part of, or {replaced('p', 'p.copy()')}"
            )
        # A view of the array as it is now: its shape, type and place may be changed behind our back.
        self.view = given.view()
        self.flat = flat(self.view)
        self.state_flats: dict[str, Array] = {}
        # Of its steps, and of the gradients in their sum.
        self.counts: NDArray[np.int64] = np.zeros(2, dtype=np.int64)
        # The numbers that its rule carries from update to update, in the order of their names.
        self.carried_names: tuple[str, ...] = ()
        self.carried: NDArray[np.float64] = np.zeros(0)
        self._scratch: Array | None = None

    def add_state(
        self, initial: Mapping[str, object], carried: Mapping[str, float], memory: StateMemory | None
    ) -> None:
        """Have room for the state arrays, and make the numbers that are carried, given names and initial values."""
        self.carried_names = tuple(carried)
        self.carried = np.array(list(carried.values()), dtype=np.float64)
        self._initial = dict(initial)
        if memory is None:
            blocks = state_blocks(self.flat, len(initial))
        else:
            blocks = [self._block_from(memory, name) for name in initial]
        self.state_flats = dict(zip(initial, blocks, strict=True))
        for name, value in initial.items():
            if value is not COPY and not np.isfinite(quietly(partial(np.array, value, dtype=self.flat.dtype))):
                raise ValueError(f"{self.label}: its state {name!r} cannot start at {value!r} in {self.flat.dtype}")

    def _block_from(self, memory: StateMemory, name: str) -> Array:
        """A state array in the memory that a user's function gives."""
        size, dtype, label = self.flat.size, self.flat.dtype, f"state_memory: the state {name!r} of {self.label}"
        # A view, because the user may change the shape and type of what was given.
        block = plain(label, memory(self.label, name, size, dtype)).view()
        check_buffer(label, block, dtype, size, "return one as `np.empty(size, dtype)`")
        check_writeable(label, block)
        check_aligned(label, block)
        return block

    def start_state(self) -> None:
        """Write the initial values of the state arrays."""
        for name, value in self._initial.items():
            if value is COPY:
                self.state_flats[name][:] = self.flat
            else:
                quietly(partial(self.state_flats[name].fill, value))

    @property
    def order(self) -> Literal["C", "F"]:
        """``"C"`` or ``"F"``: the order in which the elements lie in memory."""
        return "C" if self.view.flags.c_contiguous else "F"

    @property
    def step(self) -> int:
        return self.count("step")

    @property
    def count_names(self) -> tuple[str, ...]:
        """The names of the counts in the state."""
        return ("step", "accumulated") if GRAD_SUM in self.state_flats else ("step",)

    def blocks(self) -> Iterator[tuple[str, Array]]:
        """All its flat arrays, with labels."""
        yield self.label, self.flat
        for name, block in self.state_flats.items():
            yield f"the state {name!r} of {self.label}", block

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of all that is in the state: counts, numbers that are carried, arrays."""
        return (*self.count_names, *self.carried_names, *self.state_flats)

    def count(self, name: str) -> int:
        """One of the counts."""
        return int(self.counts[self.count_names.index(name)])

    def state(self, name: str) -> Array:
        """A state array in the parameter's shape: a new view each time, because a view's shape can be changed."""
        return self.state_flats[name].reshape(self.view.shape, order=self.order)

    def check_state(self, label: str, array: object) -> Array:
        """What is to become a state array, as a plain array; or raise if it does not fit."""
        dtype, shape = self.view.dtype, self.view.shape
        given = plain(label, array, "x", dtype)
        if given.dtype != dtype:
            raise TypeError(f"{label}: expected {dtype_name(dtype)}, found {dtype_name(given.dtype)}; {SAME}")
        if given.shape != shape:
            raise ValueError(f"{label}: expected shape {shape}, found {given.shape}; {SAME}")
        return given

    def saved_state(self) -> tuple[list[int], list[float], list[Array]]:
        """Copies of counts, carried numbers and flat state arrays."""
        counts: list[int] = self.counts[: len(self.count_names)].tolist()
        carried: list[float] = self.carried.tolist()
        return counts, carried, [block.copy() for block in self.state_flats.values()]

    def becoming(self, counts: Sequence[int], carried: Sequence[float], flats: Iterable[Array]) -> Iterator[Assignment]:
        """The assignments that take over a state, which has been checked, or was saved."""
        yield copying(self.counts[: len(counts)], np.array(counts, dtype=np.int64))
        yield copying(self.carried, np.array(carried, dtype=np.float64))
        for mine, block in zip(self.state_flats.values(), flats, strict=True):
            yield copying(mine, block)

    def check_unchanged(self, writeable: bool = True) -> None:
        """Raise if the array's place, shape or type is not what was given, or if it must be `writeable` and is not."""
        array, view = plain(self.label, self.array, "p"), self.view
        for what in ("dtype", "shape", "strides"):
            found, expected = getattr(array, what), getattr(view, what)
            if found != expected:
                raise ValueError(
                    f"{self.label}: its {what} was {expected} and is now {found}; make a new optimizer for it"
                )
        if start_of(array) != start_of(view):
            raise ValueError(f"{self.label}: its data was moved since it was given; make a new optimizer for it")
        check_aligned(self.label, array, "p")
        if writeable and not array.flags.writeable:
            raise ValueError(
                f"{self.label}: the array is read-only, as it was not before; make it writeable again, as by "
                f"`p.flags.writeable = True`"
            )

    def _number(self, gradient: object, writeable: bool) -> Array:
        """A number that is the gradient of a 0-d parameter, as an array."""
        label, dtype = f"gradient of {self.label}", self.view.dtype
        if type(gradient) not in (float, dtype.type):
            found = type(gradient).__name__
            raise TypeError(
                f"{label}: expected {dtype} as its parameter, or a Python float; found {found}; pass `np.{dtype}(g)`"
            )
        if writeable:
            raise TypeError(
                f"{label}: zero_grads cannot zero the number {gradient!r}; pass an array, "
                f"`np.array(g, dtype=np.{dtype})`"
            )
        return quietly(partial(np.array, gradient, dtype=dtype))

    def check_bound(self, gradient: object) -> None:
        """Raise if a gradient is a number, which could never hold the gradients of later steps."""
        if is_number(gradient):
            raise TypeError(
                f"gradient of {self.label}: a number never changes, so it cannot be bound, found {gradient!r}; bind "
                f"`np.array(g, dtype=np.{self.view.dtype})`, and write into it"
            )

    def check_gradient(self, gradient: object, addresses: AddressMap, writeable: bool) -> Array:
        """The gradient, copied into the parameter's memory order if need be; or raise if it does not fit."""
        label, view = f"gradient of {self.label}", self.view
        if is_number(gradient) and not view.ndim:
            return self._number(gradient, writeable)
        if view.size != 1 and is_scalar(gradient):
            raise ValueError(
                f"{label}: expected shape {view.shape} as its parameter, found one number ({type_name(gradient)}); "
                f"{LOSS}"
            )
        if holds(gradient, self.array):
            raise TypeError(
                f"{label}: expected one array, found the parameter within a list or tuple; pass the gradients alone, "
                f"without the parameters"
            )
        given = plain(label, gradient, "g", view.dtype)
        if given.dtype != view.dtype:
            raise TypeError(
                f"{label}: expected {dtype_name(view.dtype)} as its parameter, found {dtype_name(given.dtype)}; "
                f"{cure_of_dtype('g', given, view.dtype, 2 * given.size == view.size)}"
            )
        if given.shape != view.shape:
            raise ValueError(
                f"{label}: expected shape {view.shape} as its parameter, found {given.shape}; "
                f"{cure_of_shape(given.shape, view.shape)}"
            )
        check_aligned(label, given, "g")
        if writeable and not given.flags.writeable:
            raise ValueError(f"{label}: the array is read-only, so zero_grads cannot zero it; pass `g.copy()`")
        other = addresses.shared_with(given)
        if other is not None:
            is_parameter = other.startswith("parameter")
            advice = "it is the parameter or a part of it; pass the gradient, or if both are equal" * is_parameter
            raise ValueError(f"{label}: it shares memory with {other}; {advice or 'pass'} `g.copy()`")
        if given.flags.c_contiguous if self.order == "C" else given.flags.f_contiguous:
            return given
        if self._scratch is None:
            self._scratch = np.empty_like(view)
        np.copyto(self._scratch, given)
        return self._scratch
