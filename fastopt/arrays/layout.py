"""How an array lies in memory: the checks of one array, and the room that state arrays get."""

from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from fastopt.arrays.kinds import cure, cure_of_dtype, replaced, shared, type_name

Array: TypeAlias = NDArray[Any]

_LINE = 64  # bytes of a cache line
_PAGE = 4096
# Each state array of a parameter starts this many bytes further in its page than the array before. Were they all to
# start at the same place in a page, their loads and stores would get in each other's way: on a Zen 4 processor that
# cost AVX-512 up to a fifth of its speed. Arrays smaller than half a page are not worth the room.
_STAGGER = 13 * _LINE


def plain(label: str, array: object, letter: str = "x", dtype: np.dtype[Any] | None = None) -> Array:
    """The array as a plain ndarray, because the attributes of a subclass need not be true.

    Errors call it by its letter in code; see `fastopt.arrays.kinds`, also for the dtype.
    """
    if isinstance(array, np.ma.MaskedArray):
        advice = shared("p", "p.data") if letter == "p" else replaced(letter, f"{letter}.filled(0)")
        raise TypeError(f"{label}: a masked array's mask would be lost; {advice}")
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{label}: expected a NumPy array, found {type_name(array)}; {cure(letter, array, dtype)}")
    return np.asarray(cast(Array, array))


def is_number(gradient: object) -> bool:
    """Whether it is one of the numbers that can be the gradient of a 0-d parameter."""
    return isinstance(gradient, float | np.floating)


def check_floats(label: str, array: Array, letter: str = "x") -> None:
    if not (array.dtype.char in "fd" and array.dtype.isnative):
        raise TypeError(
            f"{label}: expected float32 or float64, found {dtype_name(array.dtype)}; "
            f"{cure_of_dtype(letter, array, None)}"
        )


def check_buffer(label: str, array: Array, dtype: np.dtype[Any], size: int, advice: str) -> None:
    """Raise unless it is a contiguous array with one axis, of this dtype and size."""
    if array.dtype != dtype or array.shape != (size,) or not array.flags.c_contiguous:
        raise ValueError(
            f"{label}: expected a contiguous array of {dtype} and shape {(size,)}, found {dtype_name(array.dtype)} of "
            f"shape {array.shape} and strides {array.strides}; {advice}"
        )


def check_writeable(label: str, array: Array) -> None:
    if not array.flags.writeable:
        raise ValueError(f"{label}: the array is read-only; pass a writeable one")


def check_aligned(label: str, array: Array, letter: str = "x") -> None:
    if not array.flags.aligned:
        raise ValueError(f"{label}: the array is not aligned in memory; {replaced(letter, f'{letter}.copy()')}")


def dtype_name(dtype: np.dtype[Any]) -> str:
    return dtype.name if dtype.isnative else f"byte-swapped {dtype.name}"


def flat(array: Array) -> Array:
    """A contiguous array's elements in the order of memory."""
    return (array if array.flags.c_contiguous else array.T).reshape(-1)


def start_of(array: Array) -> int:
    """The address of the first element."""
    # Not by `__array_interface__`, which kills the process where memory has run out.
    return array.ctypes.data


def bounds_of(array: Array) -> tuple[int, int]:
    """The address of the first byte in use, and of the first one behind; strides may be negative."""
    start = end = start_of(array)
    if not array.size:
        return start, end
    for length, stride in zip(array.shape, array.strides, strict=True):
        reach = (length - 1) * stride
        start, end = start + min(reach, 0), end + max(reach, 0)
    return start, end + array.itemsize


def state_blocks(like: Array, count: int) -> list[Array]:
    """``count`` flat arrays of zeros like another, at the starts of cache lines, staggered over the page."""
    size = -(-like.nbytes // _LINE) * _LINE
    staggered = size >= _PAGE // 2
    room = size + (_PAGE if staggered else 0)
    # Through a memoryview, so that nobody who holds one of the arrays has an owner of the memory to resize.
    block = np.frombuffer(np.zeros(count * room + _LINE, dtype=np.uint8).data, dtype=np.uint8)
    first = position = start_of(block)
    arrays: list[Array] = []
    for i in range(count):
        position = -(-position // _LINE) * _LINE
        if staggered:
            position += ((start_of(like) // _LINE * _LINE + (i + 1) * _STAGGER) - position) % _PAGE
        begin = position - first
        arrays.append(block[begin : begin + like.nbytes].view(like.dtype))
        position += size
    return arrays
