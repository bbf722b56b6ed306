"""Timing: interleaved in one process, compared in pairs, and the memory limit that a rule is measured against."""

import gc
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import TypedDict, cast

import numpy as np
from numpy.typing import DTypeLike

from fastopt import yardsticks
from fastopt.arrays.forms import Params
from fastopt.arrays.layout import Array
from fastopt.cli import plain
from fastopt.optimizer import Optimizer
from fastopt.rules import VARIANTS

# Long enough for the clock, short enough that a disturbance spoils few samples.
_SAMPLE_SECONDS = 100e-6
# On the same gradient again and again LARS multiplies its parameter by 20,000 in so many steps, and no rule by more.
FRESH_STEPS = 1000


def interleaved(
    functions: Sequence[Callable[[], object]],
    seconds: float = 0.3,
    rounds: int = 7,
    sample: float = _SAMPLE_SECONDS,
    settle: float = 0.0,
    changed: Sequence[Array] = (),
) -> list[list[float]]:
    """Times functions side by side.

    Parameters
    ----------
    functions : list of callables without arguments
    seconds : float
        How long to go on, for all of them together.
    rounds : int
        How often each is timed at least.
    sample : float
        How long a sample lasts: as many calls as fit, from one to `FRESH_STEPS`.
    settle : float
        Seconds to wait before each sample, and then to call the function once untimed: OpenMP's threads spin for some
        milliseconds after their work, and would be in the way of the next function's. This thread keeps busy
        meanwhile: after a sleep it may wake where another library's thread is.
    changed : list of ndarray
        Arrays that the functions change. Untimed, they get back the values that they have now: in the end, and so often
        that no function is called more than `FRESH_STEPS` times in between.

    Returns
    -------
    list of list of float
        For each function its seconds per call, round by round.
    """
    kept = [(array, array.copy() if array.any() else 0) for array in changed]  # new state is zero, and needs no copy

    def restore() -> None:
        for array, values in kept:
            np.copyto(array, values)

    counts: list[int] = []
    for function in functions:
        function()
        start = perf_counter()
        function()
        counts.append(max(1, min(FRESH_STEPS, int(sample / (perf_counter() - start + 1e-9)))))
    samples: list[list[float]] = [[] for _ in functions]
    timed = list(zip(functions, counts, samples, strict=True))
    most = max(counts)
    since = FRESH_STEPS  # calls of one function since the arrays were given back
    collects = gc.isenabled()
    gc.disable()
    try:
        end = perf_counter() + seconds
        while len(samples[0]) < rounds or perf_counter() < end:
            if since + most > FRESH_STEPS:
                restore()
                since = 0
            since += most
            # Forwards and backwards in turn, so that what a function leaves in the caches falls to both neighbours.
            for function, count, times in timed[:: -1 if len(samples[0]) % 2 else 1]:
                repeats = range(count)
                if settle:
                    start = perf_counter()
                    while perf_counter() < start + settle:
                        pass
                    function()
                start = perf_counter()
                for _ in repeats:
                    function()
                times.append((perf_counter() - start) / count)
    finally:
        restore()
        if collects:
            gc.enable()
    return samples


def ratio(times: Sequence[float], base: Sequence[float]) -> float:
    """How many times as long the first takes as the second: the median over pairs of samples of the same round."""
    return median(t / b for t, b in zip(times, base, strict=True))


class Stream(Optimizer):
    """No rule, but one of the `yardsticks`: the memory traffic of a rule, and next to no arithmetic."""

    lr: float = 0.0
    rooted: bool = False


YARDSTICKS = {
    one.__name__: cast(type[Stream], type(one.__name__, (Stream,), {"formula": one})) for one in yardsticks.FORMULAS
}


def stream_like(opt: Optimizer, params: Params, rooted: bool = False) -> Stream:
    """The yardstick with the traffic of an optimizer; `rooted`, it also takes a root and divides for each element."""
    name = f"stream_{opt.formula.__name__}"
    if name not in YARDSTICKS:
        name = f"stream{len(opt.state[0]) - 1}"
    return YARDSTICKS[name](params, rooted=rooted, backend=opt.backend)


def problem(n: int, dtype: DTypeLike) -> tuple[Array, Array]:
    """A parameter and a gradient of ``n`` elements."""
    rng = np.random.default_rng(0)
    return _placed(rng.normal(size=n).astype(dtype), 0), _placed(1e-3 * rng.normal(size=n).astype(dtype), 1088)


def _placed(array: Array, place: int) -> Array:
    """A copy that begins at a place in a page of memory: else speed would depend on where it happens to be."""
    room = np.zeros(array.nbytes + 4096 + place, dtype=np.uint8)
    first = -room.ctypes.data % 4096 + place
    copy = room[first : first + array.nbytes].view(array.dtype)
    copy[:] = array
    return copy


def arrays_of(opt: Optimizer) -> list[Array]:
    """The arrays that a step changes: the parameters and their state."""
    parameters = [p for group in opt.param_groups for p in group["params"]]
    return [*parameters, *(x for state in opt.state for x in state.values() if isinstance(x, np.ndarray))]


def bytes_moved(opt: Optimizer) -> int:
    """The bytes that a step has to read and to write: all arrays read, all but the gradient written."""
    p: Array = opt.param_groups[0]["params"][0]
    arrays = 1 + len(opt.state[0])  # "step" stands for the gradient
    transfers = {"lamb": 4 + 2 + 3 + 1, "lars": 2 + 3 + 2}  # what each of two passes reads and writes
    return transfers.get(opt.formula.__name__, 2 * arrays - 1) * p.nbytes


class Measured(TypedDict):
    """What `compare` gives."""

    seconds: float
    numpy_seconds: float
    bandwidth: float
    of_limit: float | None
    speedup: float


def compare(
    name: str, n: int, dtype: DTypeLike = np.float32, backend: str | None = None, seconds: float = 0.3
) -> Measured:
    """One rule against plain NumPy and the streaming loop of the same traffic.

    Parameters
    ----------
    name : str
        A key of `fastopt.rules.VARIANTS`.
    n : int
        Elements.
    dtype : dtype
    backend : str, optional
    seconds : float
        How long to measure.

    Returns
    -------
    dict
        ``"seconds"`` a step, ``"numpy_seconds"`` one in plain NumPy, ``"bandwidth"`` in bytes per second,
        ``"of_limit"`` as a share of the streaming loop's speed (None on the numpy backend, where it is not measured)
        and ``"speedup"`` over plain NumPy, from pairs of samples.
    """
    rule, rule_options = VARIANTS[name]
    p, g = problem(n, dtype)
    opt = rule([p], **rule_options, backend=backend)
    q, h = problem(n, dtype)
    in_numpy, changed = plain.stepper(name, [q])
    steps: list[Callable[[], object]] = [lambda: opt.step([g]), lambda: in_numpy([h])]
    if opt.backend != "numpy":
        r, i = problem(n, dtype)
        limit = stream_like(opt, [r])
        steps.append(lambda: limit.step([i]))
    mine, slow, *stream = interleaved(steps, seconds, changed=[*arrays_of(opt), *changed])
    taken = median(mine)
    return {
        "seconds": taken,
        "numpy_seconds": median(slow),
        "bandwidth": bytes_moved(opt) / taken,
        "of_limit": ratio(stream[0], mine) if stream else None,
        "speedup": ratio(slow, mine),
    }
