"""What people give in the place of a fitting NumPy array, and how to make one of it: the cures in error messages.

Code stands between backticks. In it ``p`` is what was given for a parameter, ``g`` for a gradient, and ``x`` for state.
"""

import math
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence, Set
from numbers import Number
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray


class Kind(NamedTuple):
    """Objects that are no arrays, and the code that makes arrays of them."""

    types: tuple[str, ...]  # the package and the name of a class, or of one of its bases
    parameter: str
    other: str  # for gradients and state
    is_shared: bool = False  # whether the parameter's array shares the memory of the object


# Most others that hold numbers become arrays by `numpy.array`.
_KINDS = (
    Kind(
        ("torch.Module",),
        "[q.detach().numpy() for q in p.parameters()]",
        "[q.grad.numpy() for q in {x}.parameters()]",
        is_shared=True,
    ),
    Kind(("cupy.ndarray",), "p.get()", "{x}.get()"),
    Kind(("scipy.spmatrix", "scipy.sparray"), "p.toarray()", "{x}.toarray()"),
)
_TRACED = ("jax.Tracer", "autograd.Box")
_FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType)
_NO_NUMBERS = (str, bytes, bytearray, Set, Mapping)
# What is said of lists with arrays in the place of one array, and of objects that are no arrays, such as models.
_NESTED = {
    "p": "pass its arrays in a list without anything else",
    "g": "pass one array for each parameter: the gradients are nested in another way than the parameters",
    "x": "pass one array",
}
_OF_OTHERS = {
    "p": "a NumPy array, or the arrays of a model in a list or dict",
    "g": "a NumPy array, or the gradients of a model in a list or dict",
    "x": "a NumPy array",
}
LOSS = "a number such as the loss is no gradient; pass the derivatives of the loss"
_FLOATS = re.compile("[fF]loat(32|64)")


def type_name(x: object) -> str:
    """What an object's type is called, after its package."""
    package = type(x).__module__.partition(".")[0]
    return type(x).__name__ if package in ("builtins", "__main__") else f"{package}.{type(x).__name__}"


def is_array_like(x: object) -> bool:
    """Whether this is one array, of NumPy or another library, and no list of several."""
    if isinstance(x, Mapping | list | tuple):
        return False  # also where a name in it is "shape"
    return isinstance(x, np.ndarray | memoryview | array) or hasattr(x, "__array__") or hasattr(x, "shape")


def is_scalar(x: Any) -> bool:
    """Whether this is a real number, or any library's array of such that has no axes."""
    is_number = isinstance(x, Number) or (is_array_like(x) and getattr(x, "shape", None) == ())
    return is_number and not _is_complex(cast("object", x))


def _is_complex(x: object) -> bool:
    """Whether this is a complex number, or any library's array of such."""
    return "complex" in str(getattr(x, "dtype", type(x)))


def holds_arrays(x: Any) -> bool:
    """Whether this is a list or tuple with arrays in it, and not of numbers alone."""
    items = cast("Sequence[object]", x) if isinstance(x, list | tuple) else ()
    return any(is_array_like(item) and not is_scalar(item) for item in items)


def holds(x: Any, array: object) -> bool:
    """Whether this is a list or tuple with this very array in it."""
    return isinstance(x, list | tuple) and any(item is array for item in cast("Sequence[object]", x))


def cure(letter: str, x: Any, dtype: np.dtype[Any] | None) -> str:
    """What to do with something that is no array, where one of this dtype, or of any if it is None, is expected."""
    if holds_arrays(x):
        return _NESTED[letter]
    bases = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in type(x).__mro__}
    for kind in _KINDS:
        if not bases.isdisjoint(kind.types):
            code = kind.parameter if letter == "p" else kind.other.format(x=letter)
            return shared(letter, code) if kind.is_shared else replaced(letter, code)
    if "torch.Parameter" in bases and letter == "g":
        return "parameters were given; pass their gradients, as in `[p.grad.numpy() for p in model.parameters()]`"
    if "torch.Tensor" in bases:
        return _cure_of_tensor(letter, x)
    if not bases.isdisjoint(_TRACED):
        return "call fastopt outside of the functions that JAX or autograd transform, such as those under grad or jit"
    if isinstance(x, _FUNCTIONS):
        return f"call it: pass `{letter}()`"
    if _is_buffer(x):
        return shared(letter, f"np.asarray({letter})")
    is_array = is_array_like(x)
    if isinstance(x, tuple) and x and isinstance(x[0], str):
        return "pass names with their arrays as a dict, and not as pairs"
    if x is None and letter == "p":
        return "leave it out, or pass a NumPy array"
    if x is None and letter == "g":
        return "pass a NumPy array; the function that was to make it may lack its return statement"
    if isinstance(x, _NO_NUMBERS):
        return "pass a NumPy array"
    if not (is_array or isinstance(x, Iterable | Number)):
        return f"pass {_OF_OTHERS[letter]}"
    if _is_complex(cast("object", x)):
        return replaced(letter, f"np.array({letter})")  # as which it is told what to do with complex numbers
    items = letter if is_array or isinstance(cast("object", x), Sequence | Number) else f"list({letter})"
    if letter == "p" and isinstance(x, Number):
        rest = replaced(letter, f"np.array({letter}, dtype=float)")
        return f"leave it out if it is no parameter, and put options beside 'params' in a group dict; else {rest}"
    if dtype is not None:
        return replaced(letter, f"np.asarray({items}, dtype=np.{dtype.name})")
    has_floats = is_array and _FLOATS.search(str(getattr(cast("object", x), "dtype", "")))
    return replaced(letter, f"np.array({items})" if has_floats else f"np.array({items}, dtype=float)")


def replaced(letter: str, code: str) -> str:
    """The advice to pass another array, and to keep it where steps update it."""
    if letter != "p":
        return f"pass `{code}`"
    return f"make a copy, `p = {code}`, then pass and use it: steps update the copy and not the original"


def shared(letter: str, code: str) -> str:
    """The advice to pass an array that shares memory with what was given."""
    return f"pass `{code}`" + (", which shares its memory, so that steps update both" if letter == "p" else "")


def _cure_of_tensor(letter: str, x: Any) -> str:
    """What to do with PyTorch's tensors. NumPy can share those on the CPU whose dtype it has."""
    copies = ".cpu()" if str(getattr(x, "device", "cpu")) != "cpu" else ""
    copies += ".float()" if "float16" in str(getattr(x, "dtype", "")) else ""
    code = f"{letter}.detach(){copies}.numpy()"
    return replaced(letter, code) if copies else shared(letter, code)


def _is_buffer(x: object) -> bool:
    """Whether this is a writeable piece of memory with floats in it, such as a memoryview or an array.array."""
    try:
        view = memoryview(x)  # type: ignore[arg-type]  # it raises where it is none
    except (TypeError, BufferError):
        return False
    return not view.readonly and view.format in ("f", "d", "<f", "<d")


def cure_of_dtype(letter: str, given: NDArray[Any], expected: np.dtype[Any] | None, is_half: bool = False) -> str:
    """What to do with an array of another dtype than the one that is expected; None is for either type of floats.

    A gradient with half as many elements as its parameter may be complex, as what the parameter is a view of.
    """
    found = given.dtype
    if found.fields is not None:
        return "pass an array without fields"
    if found.kind == "O" and any(isinstance(x, np.ndarray) for x in given.flat):
        return f"pass its arrays in a list, `list({letter})`"
    if found.kind == "c" and (letter == "p" or is_half):
        return _cure_of_complex(letter, given)
    is_narrow = found.itemsize <= 4 and "float" in found.name
    name = expected.name if expected is not None else "float32" if is_narrow else "float64"
    return replaced(letter, f"{letter}{'.real' if found.kind == 'c' else ''}.astype(np.{name})")


def _cure_of_complex(letter: str, given: NDArray[Any]) -> str:
    """What to do with complex numbers: views of their real and imaginary parts."""
    if not given.dtype.isnative:
        return replaced(letter, f"{letter}.astype(np.{given.dtype.name})")
    as_floats = f"view(np.float{given.dtype.itemsize * 4})"
    if letter == "p":
        return shared(letter, f"p.{as_floats}" if given.ndim else f"p.reshape(1).{as_floats}")
    # It makes one axis of none; `view` needs one.
    g = "g" if given.ndim and given.flags.c_contiguous else "np.ascontiguousarray(g)"
    return f"pass `{g}.{as_floats}`, or `np.conj({g}).{as_floats}` if JAX or autograd made it, whose are conjugate"


def cure_of_shape(found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """What to do with a gradient of another shape than its parameter's."""
    if found == expected[::-1]:
        return "pass `g.T`"
    if math.prod(found) == math.prod(expected):
        return f"pass `g.reshape({expected})`"
    if len(found) > len(expected) and found[len(found) - len(expected) :] == expected:
        return "sum it, or take its mean, over the axes in front"
    return "pass one with an element for each of the parameter's, and all in the order of the parameters"
