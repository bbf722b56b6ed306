"""Several threads: on optimizers of their own at the same time, and in each other's way on one."""

import signal
import threading
import time

import numpy as np
import pytest
from helpers import assert_same_optimizer

import fastopt

SECONDS = 30  # long enough for any machine: only a deadlock takes longer


class Gate:
    """A learning rate whose function waits in the middle of a step until it is let through."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, t):
        self.reached.set()
        assert self.opened.wait(SECONDS)
        return 0.5


@pytest.mark.parametrize(
    "attempt",
    [
        lambda opt: opt.step([np.ones(2)]),
        lambda opt: opt.param_groups[0].update(lr=0.1),
        lambda opt: opt.add_param_group({"params": np.ones(2)}),
        lambda opt: opt.state_dict(),
        lambda opt: opt.load_state_dict(opt.state_dict()),
        lambda opt: opt.__getstate__(),
    ],
)
def test_in_the_middle_of_a_step(attempt, backend):
    p, gate = np.ones(2), Gate()
    opt = fastopt.SGD(p, lr=gate, backend=backend)
    thread = threading.Thread(target=opt.step, args=([np.ones(2)],))
    thread.start()
    assert gate.reached.wait(SECONDS)
    with pytest.raises(RuntimeError, match="in the middle of a step"):
        attempt(opt)
    gate.opened.set()
    thread.join(SECONDS)
    np.testing.assert_array_equal(p, [0.5, 0.5])
    assert opt.state[0]["step"] == 1
    assert len(opt.param_groups) == 1


def test_engine_of_before_a_group_was_added(backend):
    """A thread may be about to call it just then: it must not step what another engine counts."""
    p = np.ones(2)
    opt = fastopt.SGD(p, lr=1.0, backend=backend)
    before = opt._engine
    opt.add_param_group({"params": np.ones(3)})
    with pytest.raises(RuntimeError, match="in the middle of a step or a change"):
        before.step([np.ones(2)])
    np.testing.assert_array_equal(p, [1.0, 1.0])
    opt.step([np.ones(2), None])
    assert opt.state[0]["step"] == 1


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer signals")
@pytest.mark.parametrize(
    "call",
    [
        lambda opt: opt.step([np.ones(2)]),
        lambda opt: opt.param_groups[0].update(lr=0.1),
        lambda opt: opt.state_dict(),
        lambda opt: opt.__getstate__(),
    ],
)
def test_interrupts_leave_no_claim(call, backend):
    """A signal's exception, such as that of Ctrl-C, may strike anywhere: the next step works all the same."""
    opt = fastopt.SGD(np.ones(2), backend=backend)

    class Interrupt(Exception):
        pass

    def interrupt(*_):
        if armed:
            raise Interrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    armed, interrupts = False, 0
    try:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, 20e-6 + 1e-6 * (interrupts % 50))
                # Not for ever: Python itself swallows an exception in some places, such as a finalizer.
                for _ in range(500):
                    call(opt)
                armed = False
            except Interrupt:
                armed = False
                interrupts += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert interrupts > 10
    opt.step([np.ones(2)])


def in_threads(*functions):
    """Run functions at once; what they raise is raised."""
    errors, start = [], threading.Barrier(len(functions))

    def run(function):
        try:
            start.wait(SECONDS)
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_one_optimizer_in_two_threads(backend):
    """A step that another thread is in the way of raises; all others happen whole."""
    p, g = np.zeros(100_000), np.ones(100_000)
    opt = fastopt.SGD(p, lr=1.0, backend=backend)
    done = []

    def run():
        for _ in range(50):
            try:
                opt.step(g)
            except RuntimeError:
                continue
            done.append(1)

    in_threads(run, run)
    assert opt.state[0]["step"] == len(done) >= 50
    np.testing.assert_array_equal(p, np.full_like(p, -len(done)))


def test_two_optimizers_in_two_threads(backend):
    def make():
        return fastopt.Adam(np.linspace(-1, 1, 100_000), backend=backend)

    g = np.linspace(1, 2, 100_000)
    together, alone = [make(), make()], make()

    def run(opt):
        for _ in range(20):
            opt.step(g)

    in_threads(lambda: run(together[0]), lambda: run(together[1]))
    run(alone)
    for opt in together:
        assert_same_optimizer(opt, alone)


def test_changes_beside_steps(backend):
    """Groups and states that come and go while another thread steps: each refused, or whole."""
    p, g = np.zeros(100_000), np.ones(100_000)
    opt = fastopt.SGD([p], lr=1.0, backend=backend)
    stepped, added = [], []

    def step():
        for _ in range(200):
            try:
                opt.step([g] + [None] * (len(opt.state) - 1))
            except (RuntimeError, ValueError):  # ValueError: another group has come in between
                continue
            stepped.append(1)

    def change():
        for _ in range(50):
            try:
                opt.add_param_group({"params": np.ones(3)})
            except RuntimeError:
                continue
            added.append(1)

    in_threads(step, change)
    assert opt.state[0]["step"] == len(stepped)
    assert len(opt.param_groups) == 1 + len(added)
    np.testing.assert_array_equal(p, np.full_like(p, -len(stepped)))
