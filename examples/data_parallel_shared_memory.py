"""Data-parallel training by processes that share memory: workers compute gradients, and one process steps.

Needs:   fastopt
Run:     python data_parallel_shared_memory.py
Prints:  the fitted weights now and then
"""

from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory

import numpy as np

import fastopt

WORKERS, STEPS = 2, 400
TRUE = {"w": np.array([1.0, -2.0, 3.0]), "b": np.array(0.5)}
START = {name: np.zeros_like(p) for name, p in TRUE.items()}
SIZE = sum(p.size for p in START.values())


def rows_of(shm):
    """A row for the parameters, and one for each worker's gradients."""
    # Arrays made by np.frombuffer do not let the memory be closed under them; others crash when it is.
    return np.frombuffer(shm.buf, count=(1 + WORKERS) * SIZE).reshape(1 + WORKERS, SIZE)


def compute(shm, worker, barrier):
    """Write the gradients of this worker's data, again and again."""
    rows = rows_of(shm)
    params, grads = fastopt.unflatten(rows[0], START), fastopt.unflatten(rows[1 + worker], START)
    rng = np.random.default_rng(worker)
    for _ in range(STEPS):
        x = rng.normal(size=(64, 3))
        y = x @ TRUE["w"] + TRUE["b"]
        barrier.wait()  # the parameters are there
        d = 2 * (x @ params["w"] + params["b"] - y) / len(x)
        np.matmul(x.T, d, out=grads["w"])
        np.sum(d, out=grads["b"])
        barrier.wait()  # the gradients are there


def work(name, worker, barrier):
    shm = SharedMemory(name)
    compute(shm, worker, barrier)
    shm.close()


def train(shm, barrier):
    """Step by the mean of the workers' gradients, and return the parameters, copied out of shared memory."""
    rows = rows_of(shm)
    _, params = fastopt.flatten(START, out=rows[0])
    mean, grads = fastopt.flatten(START)
    opt = fastopt.Adam(params, lr=0.05)
    opt.bind(grads)
    for n in range(STEPS):
        barrier.wait()
        barrier.wait()
        rows[1:].mean(axis=0, out=mean)
        opt.step()
        if n % 100 == 99:
            print(f"step {n + 1}: w {params['w'].round(4)}, b {params['b'].round(4)}")
    return {name: p.copy() for name, p in params.items()}


if __name__ == "__main__":
    context = get_context("spawn")
    barrier = context.Barrier(WORKERS + 1, timeout=60)
    shm = SharedMemory(create=True, size=8 * (1 + WORKERS) * SIZE)
    try:
        workers = [context.Process(target=work, args=(shm.name, i, barrier), daemon=True) for i in range(WORKERS)]
        for worker in workers:
            worker.start()
        trained = train(shm, barrier)
        for worker in workers:
            worker.join()
    finally:
        shm.unlink()  # takes its name away: the memory stays until all have closed it
    shm.close()  # all arrays, and the optimizer that has some, were gone when `train` returned
    # There is no noise, so what is left is how far Adam has come.
    for name, p in TRUE.items():
        np.testing.assert_allclose(trained[name], p, atol=1e-3)
