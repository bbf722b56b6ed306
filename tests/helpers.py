"""What several tests use."""

import numpy as np


def assert_same_bits(actual, expected):
    """Equal to the last bit, the sign of zeros included; of a NaN only that it is one, for its bits carry no value."""
    np.testing.assert_array_equal(actual, expected, strict=True)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual)[numbers], np.signbit(expected)[numbers])


def assert_same_optimizer(actual, expected):
    """The same parameters, state and counts, bit for bit."""
    for mine, theirs in zip(actual.param_groups, expected.param_groups, strict=True):
        for p, q in zip(mine["params"], theirs["params"], strict=True):
            assert_same_bits(p, q)
    for mine, theirs in zip(actual.state, expected.state, strict=True):
        assert list(mine) == list(theirs)
        for name in mine:
            assert_same_bits(np.asarray(mine[name]), np.asarray(theirs[name]))
    assert actual.state_dict()["stages"] == expected.state_dict()["stages"]


def awkward(rng, shape, dtype):
    """Numbers of all magnitudes, with NaN, infinities, zeros of both signs and subnormals among them."""
    values = rng.normal(size=shape) * 10.0 ** rng.integers(-6, 6, size=shape)
    info = np.finfo(dtype)
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, info.smallest_subnormal, -info.smallest_normal / 8, info.max]
    spots = rng.random(size=shape) < 0.2
    with np.errstate(over="ignore"):
        return np.where(spots, rng.choice(special, size=shape), values).astype(dtype)


def placed(values, start):
    """A copy of a flat array that begins `start` elements behind the start of a cache line."""
    room = np.zeros(len(values) + start + 64, dtype=values.dtype)
    first = (-room.ctypes.data % 64) // values.itemsize + start
    room[first : first + len(values)] = values
    return room[first : first + len(values)]
