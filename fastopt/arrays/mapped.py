"""Arrays in mapped files and in memory that processes share: which of them overlap, and what holds them open."""

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from fastopt.arrays.addresses import cure_of_sharing
from fastopt.arrays.layout import Array, start_of

_MAPS = "/proc/self/maps"  # where Linux lists the mappings of this process


def check_files(blocks: Iterable[tuple[str, Array]]) -> None:
    """Raise if two flat arrays, at addresses apart, share a part of a file, or of memory that processes share.

    They come with their labels.
    """
    mapped = [(label, block, mapping) for label, block in blocks if (mapping := _mapping_of(block)) is not None]
    if len({id(mapping) for _, _, mapping in mapped}) < 2:
        return  # in one mapping addresses tell enough
    labels = [label for label, block, _ in mapped if block.size]
    arrays = [block for _, block, _ in mapped if block.size]
    try:
        places = _listed_places(arrays)
    except OSError:
        places = [_place_of_memmap(array) for array in arrays]
    placed = sorted((*place, one.nbytes, label) for place, one, label in zip(places, arrays, labels, strict=True))
    for (file, start, size, label), (next_file, next_start, next_size, next_label) in pairwise(placed):
        if file == next_file and next_start < start + size:
            raise ValueError(
                f"{next_label}: it shares memory with {label}, by a file that is mapped twice; "
                f"{cure_of_sharing(next_label, label, (start, size) == (next_start, next_size))}"
            )


def held_open(arrays: Iterable[tuple[str, Array | None]]) -> list[memoryview]:
    """Views that hold the mappings of arrays open: as long as they live, closing one raises BufferError.

    NumPy itself lets them be closed, and the next access ends the process. So this comes before any. The arrays come
    with their labels.
    """
    held: dict[int, memoryview] = {}
    for label, array in arrays:
        try:
            mapping = _mapping_of(array)
            if mapping is not None and id(mapping) not in held:
                held[id(mapping)] = memoryview(mapping)
        except ValueError:  # also of a memoryview that was released
            raise ValueError(
                f"{label}: its memory is gone, because what it lay in is closed; pass an array in open memory"
            ) from None
    return list(held.values())


def _mapping_of(array: Array | None) -> mmap.mmap | None:
    """The mapping that an array is a part of, or None."""
    owner: Any = array if isinstance(array, np.ndarray) else None
    while owner is not None:
        if isinstance(owner, np.ndarray):
            owner = owner.base
        elif isinstance(owner, memoryview):
            owner = owner.obj
        else:
            return owner if isinstance(owner, mmap.mmap) else None
    return None


# A place is a file and a position in it; or "" and the address, of memory that no other mapping shows.


def _listed_places(arrays: Iterable[Array]) -> list[tuple[str, int]]:
    """The places of arrays, where the system lists mappings with their files."""
    mappings: list[tuple[int, str, int]] = []  # the address and the place where each starts
    with open(_MAPS, errors="replace") as lines:
        for line in lines:
            addresses, access, offset, device, inode, *_ = line.split()
            first = int(addresses.partition("-")[0], 16)
            is_shared = access.endswith("s")
            mappings.append((first, f"{device} {inode}", int(offset, 16)) if is_shared else (first, "", first))
    places: list[tuple[str, int]] = []
    for address in map(start_of, arrays):
        first, file, position = mappings[bisect_left(mappings, (address + 1,)) - 1]
        places.append((file, position + address - first))
    return places


def _place_of_memmap(array: Array) -> tuple[str, int]:
    """The place of an array, where nothing but NumPy's own mappings know their files."""
    whole = array
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    if isinstance(whole, np.memmap) and whole.mode != "c" and whole.filename is not None:
        return os.path.realpath(whole.filename), whole.offset + start_of(array) - start_of(whole)
    return "", start_of(array)
