"""What several tests use."""

import gc
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

import fastopt
from fastopt.formula import CHUNK

ALL_STAGES = {
    "clip_grad_norm": 1.0,
    "clip_grad_value": 2e-3,
    "loss_scale": 3.0,
    "nonfinite": "skip",
    "ema_decay": 0.9,
    "zero_grads": True,
    "accumulate": 2,
}


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


def rule_of(formula, **body):
    """A rule of this formula, whose only option is its learning rate."""
    return type("Rule", (fastopt.Optimizer,), {"formula": formula, "lr": 0.1, "__annotations__": {"lr": float}, **body})


def placed(values, start):
    """A copy of a flat array that begins `start` elements behind the start of a cache line."""
    room = np.zeros(len(values) + start + 64, dtype=values.dtype)
    first = (-room.ctypes.data % 64) // values.itemsize + start
    room[first : first + len(values)] = values
    return room[first : first + len(values)]


def python(code, *arguments, **environment):
    """Run code in a new process, away from any source folder and with a time limit: what hangs fails."""
    return subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def copied_package(folder):
    """A copy of the package in a folder, as it is installed."""
    ignored = shutil.ignore_patterns("__pycache__", "*.c", "*.cpp")
    return Path(shutil.copytree(Path(fastopt.__file__).parent, folder / "fastopt", ignore=ignored))


class Interrupt(Exception):
    """What a signal raises, as that of Ctrl-C does."""


def interrupted(call, delay, times):
    """Call so many times, and have a signal raise after the delay: whether it did.

    Not for ever, because Python swallows an exception in some places, such as a finalizer. No garbage is collected
    meanwhile: what collectors call, such as a function of Hypothesis, cannot pass on what is raised in it.
    """
    armed = True

    def interrupt(*_):
        if armed:
            raise Interrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    gc.disable()
    try:
        signal.setitimer(signal.ITIMER_REAL, delay)
        for _ in range(times):
            call()
        armed = False
    except Interrupt:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        gc.enable()
    return False


def outcome(opt, gradients):
    """What is left after these steps: all that could differ."""
    seen = []
    for step in gradients:
        step = [None if g is None else g.copy() for g in step]
        try:
            opt.step(step)
        except ValueError as error:
            seen.append(str(error))
        seen.append((opt.grad_norm, opt.skipped_steps, step))
    return opt, seen


def small_problem(steps=6):
    """Both dtypes, lengths around a chunk, and values of all kinds."""
    rng = np.random.default_rng(0)
    shapes = [(), (0,), (3,), (31, 33), (CHUNK + 1,), (2 * CHUNK,)]
    dtypes = [np.float32, np.float64] * 3
    parameters = [np.asarray(rng.normal(size=s)).astype(d) for s, d in zip(shapes, dtypes, strict=True)]
    gradients = [[np.asarray(rng.normal(size=p.shape) / 50).astype(p.dtype) for p in parameters] for _ in range(steps)]
    gradients[1] = [np.asarray(awkward(rng, p.shape, p.dtype)) for p in parameters]
    gradients[2][2] = gradients[3][2] = gradients[4][4] = None
    return parameters, gradients


def snapshot(opt):
    return [p.copy() for group in opt.param_groups for p in group["params"]], opt.state_dict()


def assert_unchanged(opt, before):
    arrays, state_dict = before
    now, state_now = snapshot(opt)
    for p, q in zip(now, arrays, strict=True):
        assert_same_bits(p, q)
    for entry in ("param_groups", "stages", "updates"):
        assert state_now[entry] == state_dict[entry]
    assert state_now["state"].keys() == state_dict["state"].keys()
    for mine, theirs in zip(state_now["state"].values(), state_dict["state"].values(), strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            assert_same_bits(np.asarray(mine[name]), np.asarray(theirs[name]))


def run(opt, rng, steps):
    """Steps with random gradients for all parameters."""
    arrays = [p for group in opt.param_groups for p in group["params"]]
    for _ in range(steps):
        opt.step([rng.normal(size=p.shape).astype(p.dtype) for p in arrays])
