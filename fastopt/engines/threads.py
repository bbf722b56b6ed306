"""How many threads share a large step."""

import math
import os
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fastopt.engines.choice import COMPILED
from fastopt.options import count

if COMPILED:
    from fastopt.engines.compiled.engine import set_num_threads as _tell_engine
else:

    def _tell_engine(n: int) -> None:
        """NumPy's arithmetic is done in one thread."""


# Where launchers tell each process how many they have started on its machine.
_LAUNCHERS = (
    "MPI_LOCALNRANKS",  # MPICH, Intel MPI and others that start by Hydra
    "MV2_COMM_WORLD_LOCAL_SIZE",  # MVAPICH2
    "OMPI_COMM_WORLD_LOCAL_SIZE",  # Open MPI
    "LOCAL_WORLD_SIZE",  # torchrun
)


def get_num_threads() -> int:
    """How many threads a step may use.

    Returns
    -------
    int
        The number that FASTOPT_NUM_THREADS or `set_num_threads` has set. By default, the number of processors that this
        process may run on, or fewer where its control group's quota or OMP_NUM_THREADS allows no more. Where MPI, Slurm
        or torchrun has started several processes on the machine, each has its share.
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


def available(environment: Mapping[str, str] = os.environ) -> int:
    """How many threads this process may use, beside the others that were started together with it."""
    machine = math.ceil(min([os.cpu_count() or 1, *limits()]))
    # Only what all of them share is divided: a process that is bound to processors has these to itself.
    numbers = [machine // processes(environment)]
    if hasattr(os, "sched_getaffinity"):
        numbers.append(len(os.sched_getaffinity(0)))
    # This is how joblib and others tell workers their share, and how users tell all libraries at once. It may be a
    # list, with a number for each level of nested threads.
    told = environment.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if told.isdecimal() and int(told) > 0:
        numbers.append(int(told))
    return max(1, min(numbers))


def processes(environment: Mapping[str, str]) -> int:
    """How many processes were started together on this machine, as far as their launcher tells."""
    told = [environment.get(name, "") for name in _LAUNCHERS]
    # Slurm lists all machines of a step, as in 4(x2),3. A batch script runs once and has no such list.
    told += re.findall(r"(?:^|,)(\d+)", environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    return max([1, *(int(one) for one in told if one.isdecimal())])


def limits(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> Iterator[float]:
    """How many processors, or how much of their time, Linux allows the control groups that this process is in."""
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
            if not one.is_relative_to(top):
                continue
            words = " ".join(_text(one / file) for file in files).split()
            if len(words) == 2 and all(word.isdecimal() for word in words):  # a group without a limit says max or -1
                yield int(words[0]) / int(words[1])
            ranges = re.findall(r"(\d+)(?:-(\d+))?", _text(one / "cpuset.cpus.effective"))
            if ranges:
                yield sum(int(last or first) - int(first) + 1 for first, last in ranges)


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
