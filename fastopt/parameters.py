"""Parameters and their state as arrays: which arrays are accepted, where they lie, and the forms they come in."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np

from fastopt.stages import COPY, GRAD_SUM

try:
    from numpy.lib.array_utils import byte_bounds
except ImportError:  # NumPy 1.26
    from numpy import byte_bounds

_LINE = 64  # bytes of a cache line
_PAGE = 4096
# Each state array of a parameter starts this many bytes further in its page than the array before. Were they all to
# start at the same place in a page, their loads and stores would get in each other's way: on a Zen 4 processor that
# cost AVX-512 up to a fifth of its speed. Arrays smaller than half a page are not worth the room.
_STAGGER = 13 * _LINE


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
        Updated in place; anything but a float32 or float64 array that can be is refused.
    """

    def __init__(self, name, index, group, array):
        self.name = name
        self.index = index
        self.label = f"parameter {index if name is None else name!r}"
        self.group = group
        self.array = array
        plain = _plain(self.label, array)
        if not (plain.dtype.char in "fd" and plain.dtype.isnative):
            raise TypeError(f"{self.label}: expected float32 or float64, found {_dtype(plain.dtype)}; convert it")
        _check_writeable(self.label, plain)
        _check_aligned(self.label, plain)
        if not plain.flags.forc:
            raise ValueError(
                f"{self.label}: the array is neither C- nor F-contiguous (strides {plain.strides}); "
                f"copy it, or pass the whole array that it is a part of"
            )
        # A view of the array as it is now: its shape, type and place may be changed behind our back.
        self.view = plain.view()
        self.flat = flat(self.view)
        self.state_flats = {}
        self.counts = None  # of all parameters' steps, and of the gradients in their sums; the optimizer's
        self._scratch = None

    def add_state(self, of_rule, of_stages):
        """Make the state arrays, given their names and initial values."""
        initial = of_rule | of_stages
        for (name, value), block in zip(initial.items(), _blocks(self.flat, len(initial)), strict=True):
            if value is COPY:
                block[:] = self.flat
            elif value:
                with np.errstate(over="ignore"):
                    block.fill(value)
                if not np.isfinite(block).all():
                    raise ValueError(f"{self.label}: its state {name!r} cannot start at {value!r} in {block.dtype}")
            self.state_flats[name] = block

    @property
    def order(self):
        """``"C"`` or ``"F"``: the order in which the elements lie in memory."""
        return "C" if self.view.flags.c_contiguous else "F"

    @property
    def step(self):
        return self.count("step")

    @property
    def count_names(self):
        """The names of the counts in the state."""
        return ("step", "gathered") if GRAD_SUM in self.state_flats else ("step",)

    def count(self, name):
        """One of the counts."""
        return int(self.counts[self.count_names.index(name), self.index])

    def state(self, name):
        """A state array in the parameter's shape: a new view each time, because a view's shape can be changed."""
        return self.state_flats[name].reshape(self.view.shape, order=self.order)

    def checked_state(self, label, array):
        """A copy of what is to become a state array, flat in the parameter's order; or raise if it does not fit."""
        array = _plain(label, array)
        if array.dtype != self.view.dtype:
            raise TypeError(f"{label}: expected {_dtype(self.view.dtype)}, found {_dtype(array.dtype)}")
        if array.shape != self.view.shape:
            raise ValueError(f"{label}: expected shape {self.view.shape}, found {array.shape}")
        return flat(np.array(array, order=self.order))

    def check_unchanged(self, writeable=True):
        """Raise if the caller has changed the array's place, shape or type since it was given, or its `writeable`."""
        array, view = _plain(self.label, self.array), self.view
        for what in ("dtype", "shape", "strides"):
            found, expected = getattr(array, what), getattr(view, what)
            if found != expected:
                raise ValueError(
                    f"{self.label}: its {what} was {expected} and is now {found}; make a new optimizer for it"
                )
        if _start(array) != _start(view):
            raise ValueError(f"{self.label}: its data was moved since it was given; make a new optimizer for it")
        _check_aligned(self.label, array)
        if writeable:
            _check_writeable(self.label, array)

    def admit(self, gradient, memory, writeable):
        """The gradient, copied into the parameter's memory order if need be; or raise if it does not fit."""
        label, view = f"gradient of {self.label}", self.view
        gradient = _plain(label, gradient)
        if gradient.dtype != view.dtype:
            raise TypeError(
                f"{label}: expected {_dtype(view.dtype)} as its parameter, found {_dtype(gradient.dtype)}; convert it"
            )
        if gradient.shape != view.shape:
            raise ValueError(f"{label}: expected shape {view.shape} as its parameter, found {gradient.shape}")
        _check_aligned(label, gradient)
        if writeable and not gradient.flags.writeable:
            raise ValueError(f"{label}: the array is read-only, so zero_grads cannot zero it; pass a writeable one")
        other = memory.shared_with(gradient)
        if other is not None:
            raise ValueError(f"{label}: it shares memory with {other}; copy it")
        if gradient.flags.c_contiguous if self.order == "C" else gradient.flags.f_contiguous:
            return gradient
        if self._scratch is None:
            self._scratch = np.empty_like(view)
        np.copyto(self._scratch, gradient)
        return self._scratch


class Memory:
    """Where the parameters and their state lie, in order of address. None of them may overlap.

    Attributes
    ----------
    starts, ends : list of int
        The first address of each, and the first one behind it.
    """

    def __init__(self, parameters):
        blocks = []
        for parameter in parameters:
            blocks.append((parameter.label, parameter.flat))
            for name, block in parameter.state_flats.items():
                blocks.append((f"the state {name!r} of {parameter.label}", block))
        blocks = sorted(((_start(block), label, block) for label, block in blocks if block.size), key=lambda x: x[0])
        self._labels = [label for _, label, _ in blocks]
        self._blocks = [block for _, _, block in blocks]
        self.starts = [start for start, _, _ in blocks]
        self.ends = [start + block.nbytes for start, _, block in blocks]
        for i, j in pairwise(range(len(blocks))):
            if self.starts[j] < self.ends[i]:
                raise ValueError(f"{self._labels[j]}: it shares memory with {self._labels[i]}; copy one of them")

    def shared_with(self, array):
        """The label of what shares memory with an array, or None."""
        low, high = byte_bounds(array)
        i = bisect_left(self.starts, high) - 1
        while i >= 0 and self.ends[i] > low:
            if np.shares_memory(array, self._blocks[i]):
                return self._labels[i]
            i -= 1
        return None


def check_apart(parameters, gradients):
    """Raise if two gradients share memory: then one cannot be zeroed before the other is used."""
    given = [(p.label, np.asarray(g)) for p, g in zip(parameters, gradients, strict=True) if g is not None]
    given = sorted(((byte_bounds(g), label, g) for label, g in given if g.size), key=lambda one: one[0])
    latest = []  # those that may reach further
    for (start, end), label, g in given:
        latest = [one for one in latest if one[0] > start]
        for _, other, h in latest:
            if np.shares_memory(g, h):
                raise ValueError(
                    f"gradient of {label}: it shares memory with that of {other}, so zero_grads cannot zero it; copy it"
                )
        latest.append((end, label, g))


def group_dicts(params):
    """``params``, in any of its forms, as group dicts: ``"params"`` a list of arrays, ``"param_names"`` or None.

    A group's other entries are left as they are.
    """
    if not isinstance(params, np.ndarray | Mapping):
        params = listed("params", params)
        if params and all(isinstance(item, Mapping) for item in params):
            return [group_dict(item) for item in params]
    return [group_dict({"params": params})]


def group_dict(group):
    """One group dict in that form; see `group_dicts`."""
    if not isinstance(group, Mapping):
        raise TypeError(f"group: expected a dict with 'params' in it, found {type(group).__name__}")
    if "params" not in group:
        raise ValueError("group: it has no 'params'")
    params, names = group["params"], group.get("param_names")
    if isinstance(params, np.ndarray):
        params = [params]
    elif isinstance(params, Mapping):
        params = list(params.items())
    else:
        params = listed("params", params)
    named = params and all(isinstance(item, tuple) and len(item) == 2 for item in params)
    if named and names is not None:
        raise ValueError("param_names: the params have names of their own already")
    if named:
        names, params = [name for name, _ in params], [array for _, array in params]
    elif names is not None:
        # Names beside the arrays, as in PyTorch's groups and in our own.
        names = listed("param_names", names)
        if len(names) != len(params):
            raise ValueError(f"param_names: {len(names)} names were given for {len(params)} parameters")
    for name in names or ():
        if not isinstance(name, str):
            raise TypeError(f"params: expected names that are strings, found {type(name).__name__}")
    return {**group, "params": params, "param_names": names}


_FORMS = {
    "params": "an array, a sequence of arrays, a mapping of names to arrays, (name, array) pairs or group dicts",
    "param_names": "a sequence of names",
    "grads": "an array, a sequence of arrays or a mapping of names to arrays",
}


def listed(what, items):
    """The items of a sequence or another iterable in a certain order, as a list."""
    if not isinstance(items, Iterable) or isinstance(items, str | bytes | set | frozenset):
        raise TypeError(f"{what}: expected {_FORMS[what]}, found {type(items).__name__}")
    return list(items)


def _plain(label, array):
    """An array without the class that a subclass puts around it, whose attributes need not be true."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{label}: a masked array's mask would be lost; pass its data or fill it")
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"{label}: expected a NumPy array, found {type(array).__name__}; convert it, as with np.asarray"
        )
    return np.asarray(array)


def _check_writeable(label, array):
    if not array.flags.writeable:
        raise ValueError(f"{label}: the array is read-only; pass a writeable one")


def _check_aligned(label, array):
    if not array.flags.aligned:
        raise ValueError(f"{label}: the array is not aligned in memory; copy it")


def _dtype(dtype):
    return f"{dtype.name}" if dtype.isnative else f"byte-swapped {dtype.name}"


def flat(array):
    """A contiguous array's elements in the order of memory."""
    return (array if array.flags.c_contiguous else array.T).reshape(-1)


def _start(array):
    return array.__array_interface__["data"][0]


def _blocks(like, count):
    """``count`` flat arrays of zeros like another, at the starts of cache lines, staggered over the page."""
    size = -(-like.nbytes // _LINE) * _LINE
    staggered = size >= _PAGE // 2
    room = size + (_PAGE if staggered else 0)
    # Through a memoryview, so that nobody who holds one of the arrays has an owner of the memory to resize.
    block = np.frombuffer(memoryview(np.zeros(count * room + _LINE, dtype=np.uint8)), dtype=np.uint8)
    first = position = _start(block)
    arrays = []
    for i in range(count):
        position = -(-position // _LINE) * _LINE
        if staggered:
            position += ((_start(like) // _LINE * _LINE + (i + 1) * _STAGGER) - position) % _PAGE
        begin = position - first
        arrays.append(block[begin : begin + like.nbytes].view(like.dtype))
        position += size
    return arrays
