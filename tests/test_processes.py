"""What happens to a process: forks, signals to its threads, and memory that is exhausted."""

import os
import signal
from pathlib import Path

import pytest
from helpers import python

FORK = """
import hashlib, os, signal, sys
import numpy as np
import fastopt

signal.alarm(60)  # what hangs is killed; the child needs an alarm of its own
fastopt.set_num_threads(3)
p = np.linspace(-1, 1, 2_000_000)
g = np.linspace(1, 2, 2_000_000)
opt = fastopt.Adam(p, clip_grad_norm=1.0)

def digest():
    opt.step(g)
    return hashlib.sha256(p.tobytes()).hexdigest().encode()

if sys.argv[1] == "used":
    opt.step(g)
here, there = os.pipe()
child = os.fork()
if child == 0:
    signal.alarm(60)
    os.write(there, digest())
    os._exit(0)
mine = digest()
assert os.waitpid(child, 0)[1] == 0
assert os.read(here, 1000) == mine
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.parametrize("when", ["unused", "used"])
def test_fork(when):
    """Before and after threads were used, a step in the child and one in the parent: both finish, and are equal."""
    done = python(FORK, when)
    assert done.returncode == 0, done.stderr


FORK_WITHIN = """
import os, threading
import numpy as np
import fastopt

reached, opened = threading.Event(), threading.Event()

def rate(n):
    reached.set()
    assert opened.wait(30)
    return 0.5

p = np.ones(2)
opt = fastopt.SGD(p, lr=rate)
thread = threading.Thread(target=opt.step, args=([np.ones(2)],))
thread.start()
assert reached.wait(30)
child = os.fork()
if child == 0:
    try:
        opt.step([np.ones(2)])
    except RuntimeError as error:
        assert "forked" in str(error) and "make a new optimizer" in str(error)
        fastopt.SGD(p, lr=0.5).step([np.ones(2)])
        os._exit(0 if p[0] == 0.5 else 1)
    os._exit(2)
opened.set()
thread.join()
assert os.waitpid(child, 0)[1] == 0
opt.step([np.ones(2)])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_fork_in_the_middle_of_a_step():
    """The child's optimizer is busy for ever, and says how to go on."""
    done = python(FORK_WITHIN)
    assert done.returncode == 0, done.stderr


NO_ROOM = """
import resource
import numpy as np
import fastopt

fastopt.set_num_threads(3)
p, g = np.zeros(2_000_000), np.ones(2_000_000)
opt = fastopt.SGD(p, lr=1.0)
opt.step(g)  # helpers are there
clipping = fastopt.SGD(p, lr=1.0, clip_grad_value=0.5)
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
held = []
try:
    while True:
        held.append(bytearray(1000))
except MemoryError:
    pass
try:
    clipping.step(g)
    expected = -1.5
except MemoryError:
    expected = -1.0
del held
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert p[0] == p[-1] == expected
clipping.step(g)
assert p[0] == p[-1] == expected - 0.5
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells how much memory is in use")
def test_clipping_without_memory():
    """What it needs is there before anything is written, in all threads."""
    done = python(NO_ROOM, MALLOC_ARENA_MAX="1")
    assert done.returncode == 0, (done.returncode, done.stderr)


SIGNAL = """
import os, signal
import numpy as np
import fastopt

fastopt.set_num_threads(3)
fastopt.SGD(np.ones(2_000_000)).step(np.ones(2_000_000))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.kill(os.getpid(), signal.SIGTERM)
assert signal.sigtimedwait([signal.SIGTERM], 30).si_signo == signal.SIGTERM
"""


@pytest.mark.skipif(not hasattr(signal, "sigtimedwait"), reason="macOS and Windows do not have it")
def test_helpers_take_no_signals():
    """Those are for the threads that expect them. NumPy's own threads would take them, so they are off."""
    done = python(SIGNAL, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
