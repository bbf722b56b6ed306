"""Short runs of the attacks: whatever fails or interrupts a call, the optimizer is as before it or as after it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import fuzz
import kills
import pytest
import signals
from calls import CALLS, kinds_for

import fastopt

HERE = Path(__file__).parent


def can_fail_allocations():
    if not hasattr(os, "fork") or not Path("/proc/self/statm").exists():
        return False
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False  # Python itself dies of it where it is free-threaded, in any of its functions
    return hasattr(pytest.importorskip("_testcapi"), "set_nomemory")


# All compiled backends share one engine.
engines = pytest.mark.parametrize("engine", sorted({"numpy", fastopt.backends()[0]}))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer signals")
@pytest.mark.parametrize("name", CALLS)
@engines
def test_signals(name, engine):
    if not kinds_for(CALLS[name], engine):
        pytest.skip("there is no such call")
    row = signals.attack(name, engine, "signal", tries=40, seed=0)
    assert row.raised > 0
    assert not row.torn, "\n".join(row.examples)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ways", "object,array", "--tries", "10"],
        ["--ways", "limit", "--tries", "4", "--calls", "step,load_state_dict,swap_ema"],
    ],
)
@engines
def test_no_memory(arguments, engine):
    """In a process of its own, and that in others: some may not survive."""
    if not can_fail_allocations():
        pytest.skip("Python has no allocations that can be made to fail")
    if engine == "numpy" and sys.version_info >= (3, 12):
        pytest.skip("Python itself may break where an allocation fails within a comprehension")
    command = [sys.executable, HERE / "attacks/nomemory.py", "--backends", engine, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    rows = [line.split() for line in done.stdout.splitlines()[2:]]
    assert rows, done.stderr
    assert not sum(int(torn) for *_, torn, _ in (row[:9] for row in rows)), done.stdout
    # From 3.12 on, Python itself may die of it, but in no compiled step.
    if sys.version_info < (3, 12):
        assert done.returncode == 0, done.stdout + done.stderr
    assert engine == "numpy" or all(row[8] == "0" for row in rows if row[0] == "step"), done.stdout


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signal")
def test_kills():
    seen = kills.attack(tries=4, n=100_000, seed=0)
    assert seen["old"] + seen["new"] == 4
    assert not seen["torn"] + seen["files that no save removed"]


def test_random_programs(compiled):
    count, wrong = fuzz.fuzz(seed=0, seconds=4, backends=["numpy", compiled])
    assert count > 0
    assert not wrong, "\n".join(wrong.values())
