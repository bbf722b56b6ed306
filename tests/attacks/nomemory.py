"""Memory that runs out at each place of each call: what is left is as before the call or as after it.

There are three ways. ``object`` fails one of the allocations of CPython, or several in a row. ``array`` fails one of
NumPy, which go around CPython. ``limit`` lets the process grow no further, for large arrays, threads and what else C++
takes.
"""

import ctypes
import faulthandler
import itertools
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from calls import CALLS, kinds_for, prepared, seen
from failing_arrays import failing_arrays
from report import Row, judged, main, named, references

import fastopt

try:
    import resource
    from _testcapi import remove_mem_hooks, set_nomemory
except ImportError:  # the tests ask before they call
    set_nomemory = None

SECONDS = 30  # long enough for any try: only one that hangs takes longer
ENOUGH = 20  # calls in a row that did not fail: there are no more allocations


def fail_objects(act, scene, start: int, width: int) -> None:
    set_nomemory(start, start + width)
    try:
        act(scene)
    finally:
        remove_mem_hooks()


def fail_arrays(act, scene, start: int, width: int) -> None:
    with failing_arrays(start, start + width):
        act(scene)


def fail_beyond(act, scene, start: int, width: int) -> None:
    """Let the process grow by so many quarters of a megabyte, and no further; helpers are new threads."""
    fastopt.set_num_threads(3)
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + start * 2**18, before[1]))
    try:
        act(scene)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        fastopt.set_num_threads(1)


WAYS = {"object": fail_objects, "array": fail_arrays, "limit": fail_beyond}


def attempt(name: str, kind: str, backend: str, way: str, start: int, width: int) -> tuple[str, tuple[str, str]]:
    """Make the call on a fresh optimizer: what it raised, and what is left."""
    scene, errors = prepared(CALLS[name], kind, backend, way == "limit"), np.geterr()
    error = ""
    try:
        WAYS[way](CALLS[name].act, scene, start, width)
    except Exception as raised:
        error = named(raised, MemoryError)
    found = seen(scene)
    np.seterr(**errors)
    return error, judged(found, *references(name, kind, backend, way == "limit"), bool(error))


def places(attempted: Any, way: str, tries: int | None, rng: random.Random) -> Iterator[int]:
    """The allocations to fail: all of a call, or some of them."""
    if way == "limit":
        yield from sorted(rng.sample(range(100), min(tries or 50, 100)))
    elif tries is None:
        good = 0
        for start in itertools.count():
            yield start
            good = 0 if attempted[-1] else good + 1
            if good == ENOUGH:
                return
    else:
        low, high = 0, 16
        while high < 2**16 and (not attempted or attempted[-1]):
            low, high = high, 4 * high
            yield high
        for _ in range(3):
            middle = (low + high) // 2
            yield middle
            low, high = (middle, high) if attempted[-1] else (low, middle)
        yield from sorted(rng.sample(range(high), min(high, tries)))


def work(name, kind, backend, way, tries, seed, known, crash, pipe) -> None:
    """In a child: try all places but those known from children that ended, and tell each place and what was found."""
    os.dup2(crash.fileno(), 2)
    faulthandler.enable(crash)
    sys.unraisablehook = lambda _: None  # Python can only print what is raised in a finalizer
    rng = random.Random(f"{seed} {name} {kind} {backend} {way}")
    fastopt.set_num_threads(1)
    if way == "limit":
        # What is freed goes back to the system, so that it does not serve what is allocated next.
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 16)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 0)  # M_TRIM_THRESHOLD
    else:
        for _ in range(3):  # caches are filled in the first calls
            CALLS[name].act(prepared(CALLS[name], kind, backend))
    references(name, kind, backend, way == "limit")
    attempted = []
    for start in places(attempted, way, tries, rng):
        # Some failures in a row, too; all from a place on would have Python itself loop for ever.
        width = 1 if tries is None else rng.choice([1, 1, 1, 3, 30, 1000])
        if start not in known:
            signal.alarm(SECONDS)
            pipe.send((start, width, None, None))
            known[start], verdict = attempt(name, kind, backend, way, start, width)
            pipe.send((start, width, known[start], verdict))
        attempted.append(known[start])
    signal.alarm(0)
    pipe.send(None)


def attack(name: str, backend: str, way: str, tries: int | None, seed: int) -> Row:
    """Fail the allocations of a call, in child processes, since some may not survive."""
    row = Row(name, backend, way)
    kinds = kinds_for(CALLS[name], backend)[: 2 if way == "limit" else None]
    for kind in kinds:
        known: dict[int, str] = {}
        arguments = (name, kind, backend, way, tries and -(-tries // len(kinds)), seed)
        while not attacked_to_the_end(row, arguments, known):
            pass
    return row


def attacked_to_the_end(row: Row, arguments: tuple[Any, ...], known: dict[int, str]) -> bool:
    """Have a child attack, and take down what it tells: whether it survived."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    with tempfile.TemporaryFile("w+") as crash:
        child = fork.Process(target=work, args=(*arguments, known, crash, theirs))
        child.start()
        theirs.close()
        kind, start, width = arguments[1], -1, 0
        try:
            while (message := ours.recv()) is not None:
                start, width, error, verdict = message
                if verdict is not None:
                    known[start] = error
                    row.add(f"{kind}, {start}+{width}", error, "MemoryError", verdict)
            return True
        except EOFError:
            child.join()
            crash.seek(0)
            where = re.findall(r'File ".*?([^"/]+)", line (\d+) in (\w+)', said := crash.read())
            if child.exitcode > 0 or start == -1:
                raise RuntimeError(f"the attack itself failed:\n{said}") from None
            known[start] = (
                f"{signal.Signals(-child.exitcode).name} ended the process in {':'.join((where or ['?'])[0])}"
            )
            row.add(f"{kind}, {start}+{width}", known[start], known[start], ("died", ""))
            return False
        finally:
            child.join()


if __name__ == "__main__":
    sys.exit(main(__doc__, list(WAYS), attack, tries=None))
