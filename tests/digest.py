"""One number for all bits: ``python tests/digest.py`` prints it for each backend that runs here.

It is the same on every processor, with every compiler: formulas consist of operations that IEEE 754 rounds correctly,
and of powers that are multiplications.
"""

import hashlib

import numpy as np
from cases import CASES

import fastopt

ELEMENTS, STEPS = 20_011, 5  # more than a chunk, and not a whole number of vectors


def numbers(seed, dtype):
    """Numbers of many magnitudes and both signs, by arithmetic on integers: the same with every NumPy."""
    x = (np.arange(ELEMENTS, dtype=np.uint64) + np.uint64(1 + seed)) * np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(29)
    mantissa = (x >> np.uint64(8)).astype(np.int64) % 2**21 - 2**20
    exponent = (x >> np.uint64(40)).astype(np.int64) % 12 - 24
    return np.ldexp(mantissa.astype(np.float64), exponent.astype(np.int32)).astype(dtype)


def digest(backend):
    """Of the parameters and the states that all rule cases come to."""
    result = hashlib.sha256()
    for rule, options in CASES.values():
        for dtype in ("<f4", "<f8"):
            native = np.dtype(dtype).newbyteorder("=")
            p = numbers(0, native)
            opt = rule([p], **options, backend=backend)
            for step in range(1, 1 + STEPS):
                opt.step([numbers(step, native)])
            arrays = [x for x in opt.state[0].values() if isinstance(x, np.ndarray)]
            for array in (p, *arrays):
                assert np.isfinite(array).all()
                result.update(array.astype(dtype).tobytes())
    return result.hexdigest()


if __name__ == "__main__":
    for backend in fastopt.backends():
        print(digest(backend), backend)
