"""For programs whose processes share the work: one buffer for all arrays, and what a norm of all is made from."""

from typing import Any

import numpy as np

from fastopt.arrays.forms import Gradients, Params, nesting_of
from fastopt.arrays.layout import Array, check_buffer, check_floats, check_writeable, flat, is_number, plain, start_of
from fastopt.arrays.nesting import Tree, leaves, rebuilt, shown_names
from fastopt.engines.choice import get_backend
from fastopt.quiet import quietly


def flatten(params: Params, out: Array | None = None) -> tuple[Array, Any]:
    """Copy arrays into one buffer, so that they can be sent, reduced or shared as one.

    Parameters
    ----------
    params : ndarray, or arrays nested in lists, tuples and mappings
        Float32 or float64 arrays, all of one dtype: parameters or gradients.
    out : ndarray, optional
        The buffer, such as shared memory: one-dimensional, contiguous, of that dtype, and with exactly as many elements
        as the arrays have together. By default a new one.

    Returns
    -------
    buffer : ndarray
        The elements of all arrays one after the other, each array's in its memory order: F, or else C.
    views : same nesting as params
        Views into the buffer, with the shapes of the arrays.

    Raises
    ------
    TypeError
        Something is no array, or is neither float32 nor float64, or the arrays differ in dtype.
    ValueError
        An array is there twice, there are none, or `out` has another dtype or shape, is read-only or shares memory with
        them.

    Examples
    --------
    >>> buffer, (W, b) = flatten([np.ones((2, 2)), np.zeros(3)])
    >>> buffer
    array([1., 1., 1., 1., 0., 0., 0.])
    >>> b[:] = 5
    >>> buffer
    array([1., 1., 1., 1., 5., 5., 5.])
    """
    arrays, tree = _arrays_of("params", params)
    if out is None:
        buffer = np.empty(sum(array.size for array in arrays), arrays[0].dtype)
    else:
        buffer = _checked_buffer("out", out, arrays)
        check_writeable("out", buffer)
        if any(np.shares_memory(buffer, array) for array in arrays):
            raise ValueError("out: it shares memory with what is copied into it; pass another buffer")
    views = _views(buffer, arrays)
    for view, array in zip(views, arrays, strict=True):
        view[...] = array
    return buffer, rebuilt(tree, views)


def unflatten(buffer: Array, like: Params) -> Any:
    """Give views into a buffer, as `flatten` does, but copy nothing into it.

    Parameters
    ----------
    buffer : ndarray
        One-dimensional and contiguous, such as shared memory that another process has filled.
    like : ndarray, or arrays nested in lists, tuples and mappings
        Arrays of the buffer's dtype and with as many elements in all, whose shapes and memory orders the views get.

    Returns
    -------
    same nesting as like
        Views into the buffer, with the shapes of the arrays.

    Raises
    ------
    TypeError, ValueError
        As `flatten` does.

    Examples
    --------
    >>> like = {"W": np.zeros((2, 2)), "b": np.zeros(1)}
    >>> unflatten(np.arange(5.0), like)
    {'W': array([[0., 1.],
           [2., 3.]]), 'b': array([4.])}
    """
    arrays, tree = _arrays_of("like", like)
    return rebuilt(tree, _views(_checked_buffer("buffer", buffer, arrays), arrays))


def _views(buffer: Array, arrays: list[Array]) -> list[Array]:
    """Parts of a buffer with the shapes and memory orders of arrays."""
    views: list[Array] = []
    start = 0
    for array in arrays:
        views.append(buffer[start : start + array.size].reshape(array.shape, order="F" if array.flags.fnc else "C"))
        start += array.size
    return views


def _arrays_of(what: str, params: Params) -> tuple[list[Array], Tree]:
    """The arrays that can share a buffer, and their nesting."""
    found: list[tuple[str, Any]] = []
    tree = leaves(what, nesting_of(what, params), (), found)
    labels = [f"parameter {name}" for name in shown_names(tree, found)]
    arrays = [plain(label, array) for label, (_, array) in zip(labels, found, strict=True)]
    if not arrays:
        raise ValueError(f"{what}: expected at least one array, found none; pass some")
    seen: dict[int, str] = {}
    for label, array in zip(labels, arrays, strict=True):
        check_floats(label, array)
        if array.dtype != arrays[0].dtype:
            raise TypeError(
                f"{label}: it is {array.dtype}, and {labels[0]} is {arrays[0].dtype}; flatten those of each dtype apart"
            )
        if array.size and seen.setdefault(start_of(array), label) != label:
            raise ValueError(f"{label}: it is the same array as {seen[start_of(array)]}; pass it once")
    return arrays, tree


def _checked_buffer(what: str, buffer: object, arrays: list[Array]) -> Array:
    given, size = plain(what, buffer), sum(array.size for array in arrays)
    check_buffer(what, given, arrays[0].dtype, size, f"pass one such as `np.empty({size}, np.{arrays[0].dtype})`")
    return given


def squares(grads: Gradients) -> float:
    """Sum the squares of all elements, in the order in which clipping by norm does.

    Parameters
    ----------
    grads : ndarray, or arrays nested in lists, tuples and mappings
        Float32 or float64 arrays, or numbers as `Optimizer.step` takes them, in the order of the parameters. None adds
        nothing.

    Returns
    -------
    float
        In double precision, summed in the one order that all backends keep: for gradients in their parameters' memory
        order, ``sqrt(squares(grads))`` is the norm that `clip_grad_norm` measures, to the last bit.

    Raises
    ------
    TypeError
        Something is no array, or neither float32 nor float64.

    Examples
    --------
    >>> squares([np.array([3.0, 4.0]), np.array([[12.0]])])
    169.0
    """
    found: list[tuple[str, Any]] = []
    tree = leaves("grads", [grads] if is_number(grads) else nesting_of("grads", grads), (), found)
    blocks: list[Array] = []
    for name, (_, g) in zip(shown_names(tree, found), found, strict=True):
        if g is None:
            continue
        label = f"gradient {name}"
        array = np.asarray(g) if is_number(g) else plain(label, g, "g")
        check_floats(label, array, "g")
        blocks.append(flat(array if array.flags.forc and array.flags.aligned else np.array(array, order="C")))
    backend = get_backend()
    return quietly(lambda: backend.squares(backend.kernels, blocks))
