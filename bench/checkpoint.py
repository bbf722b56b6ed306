"""Saving and loading beside `numpy.save` and `numpy.load` of the same arrays, 1 GB of them by default.

Samples are taken in turn, in one process. NumPy does not wait until a file is safe on the disk, as `save` does: so
there is a second ratio, to `numpy.save` followed by `os.fsync`. On a file system in memory, such as /dev/shm, there is
nothing to wait for.
"""

import argparse
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import numpy as np

import fastopt


def measure(folder, megabytes, rounds):
    """The seconds that each way took in each round."""
    parameters = [np.random.default_rng(i).random(megabytes * 1_000_000 // 96, dtype=np.float32) for i in range(8)]
    opt = fastopt.Adam(parameters)  # three arrays for each, of four bytes an element
    arrays = [x for p, state in zip(parameters, opt.state, strict=True) for x in (p, *state.values()) if np.ndim(x)]
    times = defaultdict(list)

    def timed(what, function):
        start = time.perf_counter()
        function()
        times[what].append(time.perf_counter() - start)

    def numpy_save():
        for i, array in enumerate(arrays):
            np.save(folder / f"{i}.npy", array)

    def numpy_sync():
        for i in range(len(arrays)):
            file = os.open(folder / f"{i}.npy", os.O_RDWR)
            os.fsync(file)
            os.close(file)

    for _ in range(rounds + 1):
        timed("save", lambda: opt.save(folder / "file"))
        timed("numpy.save", numpy_save)
        timed("sync", numpy_sync)
        timed("load", lambda: opt.load(folder / "file"))
        timed("numpy.load", lambda: [np.load(folder / f"{i}.npy") for i in range(len(arrays))])
    return {what: seconds[1:] for what, seconds in times.items()}  # the first filled memory


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        times = measure(Path(folder), given.megabytes, given.rounds)
    synced = [one + sync for one, sync in zip(times["numpy.save"], times["sync"], strict=True)]
    rows = [("save", "numpy.save", times["numpy.save"]), ("save", "numpy.save and fsync", synced)]
    for what, name, theirs in [*rows, ("load", "numpy.load", times["numpy.load"])]:
        ratio = median(x / y for x, y in zip(theirs, times[what], strict=True))
        print(f"{what}: {median(times[what]):.2f} s; {name}: {median(theirs):.2f} s; {ratio:.2f} times its speed")


if __name__ == "__main__":
    main()
