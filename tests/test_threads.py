"""Several threads: on optimizers of their own at the same time, and in each other's way on one."""

import gc
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_same_bits, assert_same_optimizer, interrupted

import fastopt

SECONDS = 30  # long enough for any machine: only a deadlock takes longer


class Gate:
    """A learning rate whose function waits in the middle of a step until it is let through."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, n):
        self.reached.set()
        assert self.opened.wait(SECONDS)
        return 0.5


@pytest.mark.parametrize(
    "attempt",
    [
        lambda opt: opt.step([np.ones(2)]),
        lambda opt: opt.bind([np.ones(2)]),
        lambda opt: opt.swap_ema().__enter__(),
        lambda opt: setattr(opt, "loss_scale", 2.0),
        lambda opt: opt.param_groups[0].update(lr=0.1),
        lambda opt: opt.add_param_group({"params": np.ones(2)}),
        lambda opt: opt.state_dict(),
        lambda opt: opt.load_state_dict(opt.state_dict()),
        lambda opt: opt.__getstate__(),
    ],
)
def test_in_the_middle_of_a_step(attempt, backend):
    p, gate = np.ones(2), Gate()
    opt = fastopt.SGD(p, lr=gate, ema_decay=0.5, backend=backend)
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
    with pytest.raises(RuntimeError, match="in the middle of a step or a change"):
        before.bind([np.ones(2)])
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
def test_interrupts_leave_no_busy_lock(call, backend):
    """A signal's exception, such as that of Ctrl-C, may strike anywhere: the next step works all the same."""
    opt = fastopt.SGD(np.ones(2), backend=backend)

    interrupts, end = 0, time.monotonic() + 0.5
    while time.monotonic() < end:
        interrupts += interrupted(lambda: call(opt), 20e-6 + 1e-6 * (interrupts % 50), times=500)
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


@pytest.mark.parametrize("engine", sorted({"numpy", fastopt.backends()[0]}))  # all compiled backends share one
def test_everything_beside_everything(engine, tmp_path):
    """Each call is refused or whole: all elements of a parameter stay equal, and its state goes with it."""
    p, g = np.zeros(50_000), np.ones(50_000)
    opt = fastopt.SGD({"p": p}, lr=1.0, momentum=0.5, ema_decay=0.5, backend=engine)
    saved = opt.state_dict()
    opt.save(tmp_path / "file")
    torn = []

    def swap():
        with opt.swap_ema():
            torn.extend({p[0], p[-1]} if len(set(p)) > 1 else ())

    calls = [
        lambda: opt.step({"p": g}),
        lambda: opt.load_state_dict(saved),
        lambda: opt.load(tmp_path / "file"),
        lambda: opt.save(tmp_path / "other"),
        lambda: setattr(opt, "lr", 0.5),
        lambda: opt.param_groups[0].update(momentum=0.25),
        lambda: setattr(opt, "loss_scale", 2.0),
        lambda: opt.state_dict(),
        swap,
    ]
    done = [0] * len(calls)
    end = time.monotonic() + SECONDS

    def run(k):
        while min(done) < 5 and time.monotonic() < end:
            try:
                calls[k]()
            except RuntimeError as error:
                assert "in the middle of a step" in str(error)  # noqa: PT017 - most of them are refused
            else:
                done[k] += 1
                time.sleep(1e-3)  # so that the others have their turn, too

    in_threads(*(lambda k=k: run(k) for k in range(len(calls))))
    assert min(done) >= 5
    assert not torn
    for array in (p, *(x for x in opt.state[0].values() if isinstance(x, np.ndarray))):
        assert_same_bits(array, np.full_like(array, array[0]))
    opt.load(tmp_path / "file")
    assert_same_bits(p, np.zeros_like(p))
    opt.step({"p": g})


def test_many_steps_in_four_threads(compiled):
    """100,000 steps of many optimizers, small and large, with and without stages; memory does not grow."""
    stages = {"clip_grad_norm": 1.0, "ema_decay": 0.9, "nonfinite": "skip"}
    small, large = np.full(50, 0.1), np.full(300_000, 0.1)

    def make():
        yield fastopt.Adam(np.ones(50), backend=compiled), [small]
        yield fastopt.SGD({"p": np.ones(50)}, momentum=0.9, backend=compiled, **stages), {"p": small}
        yield fastopt.LAMB([np.ones(50)], accumulate=2, backend=compiled), (small,)
        yield fastopt.Adam(np.ones(300_000), backend=compiled, **stages), large

    fours = [list(make()) for _ in range(4)]

    def run(four, count):
        for k in range(count):
            opt, grads = four[3 if k % 500 == 0 else k % 3]
            opt.step(grads)

    with fastopt.num_threads(3):
        in_threads(*(lambda four=four: run(four, 1000) for four in fours))
        before = resident()
        in_threads(*(lambda four=four: run(four, 25_000) for four in fours))
        assert resident() - before < 5e6  # some 50 bytes a step
    for four in fours:
        for (opt, _), (other, _) in zip(four, fours[0], strict=True):
            assert_same_optimizer(opt, other)
        assert sum(opt.state_dict()["stages"]["skipped_steps"] for opt, _ in four) == 0
    assert fours[0][3][0].state[0]["step"] == 2 + 50


def test_optimizers_come_and_go(backend):
    """They give back what they took: 300 of them would be 700 MB."""
    before = resident()
    for _ in range(300):
        opt = fastopt.Adam(np.ones(100_000), ema_decay=0.9, backend=backend)
        opt.step(np.ones(100_000))
        opt.bind(np.ones(100_000))
    del opt
    gc.collect()
    assert resident() - before < 100e6


def resident():
    """The bytes of memory in use, where the system tells them."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def test_large_steps_at_the_same_time(compiled):
    """Four optimizers in four threads, all with work for helpers: one at a time gets them, and all bits are as ever."""
    n = 1_000_000

    def run(into):
        opt = fastopt.Adam(np.linspace(-1, 1, n), backend=compiled, clip_grad_norm=1.0)
        for k in range(10):
            opt.step(np.linspace(k, 1, n))
        into.append(opt.param_groups[0]["params"][0])

    results = []
    with fastopt.num_threads(4):
        in_threads(*[lambda: run(results)] * 4)
    with fastopt.num_threads(1):
        run(results)
    for p in results[:4]:
        assert_same_bits(p, results[4])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer signals")
def test_interrupted_large_step_is_whole(compiled):
    """A signal's exception waits until the step is done."""
    p = np.zeros(4_000_000)
    opt = fastopt.SGD(p, lr=1.0, backend=compiled, clip_grad_norm=np.inf)

    g = np.ones_like(p)
    for k in range(20):
        assert interrupted(lambda: opt.step(g), 1e-3 + 1e-4 * k, times=1000)
        assert_same_bits(p, np.full_like(p, -opt.state[0]["step"]))
