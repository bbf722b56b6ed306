"""Where arrays lie among each other: parameters, state and gradients may not overlap."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from fastopt.arrays.layout import Array, bounds_of, start_of


def cure_of_sharing(one: str, other: str, is_same: bool) -> str:
    """What to do with two arrays that share memory, all of it or a part, given their labels."""
    if not (one.startswith("parameter") and other.startswith("parameter")):
        return "state needs memory of its own; where `state_memory` gives it, return new memory at each call"
    if is_same:
        return (
            "pass a tied array once, and the sum of its gradients for it, which is `g_in + g_out` if your library does "
            "not sum them; or copy one of them"
        )
    return "pass the whole array that both are parts of, or copy one of them"


class AddressMap:
    """Where the parameters and their state lie, in order of address. None of them may overlap.

    Parameters
    ----------
    blocks : iterable of (str, ndarray)
        All of them, flat, with their labels.

    Attributes
    ----------
    starts, ends : list of int
        The first address of each, and the first one behind it.
    """

    def __init__(self, blocks: Iterable[tuple[str, Array]]) -> None:
        placed = sorted(((start_of(block), label, block) for label, block in blocks if block.size), key=lambda x: x[0])
        self._labels = [label for _, label, _ in placed]
        self._blocks = [block for _, _, block in placed]
        self.starts = [start for start, _, _ in placed]
        self.ends = [start + block.nbytes for start, _, block in placed]
        for i, j in pairwise(range(len(placed))):
            if self.starts[j] < self.ends[i]:
                is_same = (self.starts[i], self.ends[i]) == (self.starts[j], self.ends[j])
                one, other = self._labels[j], self._labels[i]
                raise ValueError(f"{one}: it shares memory with {other}; {cure_of_sharing(one, other, is_same)}")

    def shared_with(self, array: Array) -> str | None:
        """The label of what shares memory with an array, or None."""
        low, high = bounds_of(array)
        i = bisect_left(self.starts, high) - 1
        while i >= 0 and self.ends[i] > low:
            if np.shares_memory(array, self._blocks[i]):
                return self._labels[i]
            i -= 1
        return None


def check_disjoint(labels: Iterable[str], gradients: Sequence[Array | None]) -> None:
    """Raise if two gradients share memory: then one cannot be zeroed before the other is used."""
    given = [(label, np.asarray(g)) for label, g in zip(labels, gradients, strict=True) if g is not None]
    placed = sorted(((bounds_of(g), label, g) for label, g in given if g.size), key=lambda one: one[0])
    latest: list[tuple[int, str, Array]] = []  # those that may reach further
    for (start, end), label, g in placed:
        latest = [one for one in latest if one[0] > start]
        for _, other, h in latest:
            if np.shares_memory(g, h):
                raise ValueError(
                    f"gradient of {label}: it shares memory with that of {other}, so zero_grads cannot zero it; "
                    f"pass `g.copy()`"
                )
        latest.append((end, label, g))
