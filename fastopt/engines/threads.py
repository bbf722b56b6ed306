"""How many threads share a large step."""

import math
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastopt.engines.choice import COMPILED
from fastopt.options import count

if COMPILED:
    from fastopt.engines.compiled.engine import set_num_threads as _tell_engine
else:

    def _tell_engine(n: int) -> None:
        """NumPy's arithmetic is done in one thread."""


def get_num_threads() -> int:
    """How many threads a step may use.

    Returns
    -------
    int
        The number that FASTOPT_NUM_THREADS or `set_num_threads` has set. By default, the number of processors that this
        process may run on, or fewer where its control group's quota allows no more.
    """
    return _number


def set_num_threads(n: int) -> None:
    """Let each step use up to ``n`` threads, in the whole process.

    Only large steps use more than one: each thread takes at least 2 MiB of arrays. Nothing but speed depends on the
    number. It has no effect on the ``numpy`` backend.

    Parameters
    ----------
    n : int
        From 1.

    Raises
    ------
    TypeError, ValueError
        ``n`` is not such a number.
    """
    global _number
    n = count("n", n)
    _tell_engine(n)
    _number = n


@contextmanager
def num_threads(n: int) -> Generator[None, None, None]:
    """Set the number of threads within ``with``, and restore it afterwards.

    Parameters
    ----------
    n : int
        As for `set_num_threads`.

    Raises
    ------
    TypeError, ValueError
        ``n`` is not such a number.

    Examples
    --------
    >>> before = get_num_threads()
    >>> with num_threads(1):
    ...     get_num_threads()
    1
    >>> get_num_threads() == before
    True
    """
    before = _number
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)


def available() -> int:
    """The processors that this process may use, by its affinity and by the quota of its control group."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min([processors, *quotas()])))


def quotas(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> Iterator[float]:
    """How many processors' time Linux allows the control groups that this process is in, where it limits them."""
    for line in _text(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            top, files = root, ["cpu.max"]
        elif "cpu" in controllers.split(","):
            top, files = root / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        group = Path(os.path.normpath(top / path.strip("/")))
        for one in dict.fromkeys([group, *group.parents, top]):
            words = " ".join(_text(one / file) for file in files).split() if one.is_relative_to(top) else []
            if len(words) == 2 and all(word.isdecimal() for word in words):  # a group without a limit says max or -1
                yield int(words[0]) / int(words[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _chosen() -> int:
    wanted = os.environ.get("FASTOPT_NUM_THREADS")
    if not wanted:
        return available()
    try:
        return count("FASTOPT_NUM_THREADS", int(wanted))
    except ValueError:
        raise ValueError(f"FASTOPT_NUM_THREADS: expected a positive integer, found {wanted!r}") from None


_number = _chosen()
_tell_engine(_number)
