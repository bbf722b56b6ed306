"""A signal whose handler raises, at random moments of each call: what is left is as before the call or as after it."""

import gc
import random
import signal
import sys
import time

import numpy as np
from calls import CALLS, Scene, kinds_for, prepared, seen
from report import Row, judged, main, named, references


class Interrupt(Exception):
    """What the signal raises, as that of Ctrl-C does."""


def strike(name: str, scene: Scene, delay: float) -> str:
    """Make the call, and have a signal raise after the delay: what the call raised, if anything."""
    act, armed = CALLS[name].act, True

    def interrupt(*_):
        if armed:
            raise Interrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    # Python can only print what is raised in a finalizer, and it is the same to us then as no signal.
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    gc.disable()
    try:
        signal.setitimer(signal.ITIMER_REAL, delay)
        act(scene)
        armed = False
        return ""
    except Exception as error:
        armed = False
        return named(error, Interrupt)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        sys.unraisablehook = hook
        gc.enable()


def duration(name: str, kind: str, backend: str) -> float:
    """The seconds that a call takes on a fresh optimizer."""
    times = []
    for _ in range(5):
        scene, act = prepared(CALLS[name], kind, backend), CALLS[name].act
        start = time.perf_counter()
        act(scene)
        times.append(time.perf_counter() - start)
    return sorted(times)[2]


def attack(name: str, backend: str, way: str, tries: int, seed: int) -> Row:
    """Interrupt a call so many times."""
    row, rng = Row(name, backend, way), random.Random(f"{seed} {name} {backend}")
    kinds = kinds_for(CALLS[name], backend)
    latest = {kind: duration(name, kind, backend) for kind in kinds}
    for i in range(tries if kinds else 0):
        kind = kinds[i % len(kinds)]
        # Most anywhere, and some around the end.
        delay = latest[kind] * rng.uniform(0 if rng.random() < 0.7 else 0.8, 1.1)
        scene, errors = prepared(CALLS[name], kind, backend), np.geterr()
        error = strike(name, scene, max(delay, 1e-6))
        # Timers take their time, too: so the end is where signals begin to come too late.
        if error and delay > 0.9 * latest[kind]:
            latest[kind] *= 1.1
        elif not error:
            latest[kind] *= 0.95
        found = seen(scene)
        np.seterr(**errors)
        verdict = judged(found, *references(name, kind, backend), bool(error))
        row.add(f"{kind}, {1e6 * delay:.0f} µs", error, "Interrupt", verdict)
    return row


if __name__ == "__main__":
    sys.exit(main(__doc__, ["signal"], attack, tries=2000))
