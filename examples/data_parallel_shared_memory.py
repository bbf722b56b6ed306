"""Data-parallel training by processes that share memory: workers compute gradients, and one process steps.

Install: pip install fastopt
Run:     python data_parallel_shared_memory.py
Prints:  the fitted weights now and then
"""

from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory

import numpy as np

import fastopt

WORKERS, STEPS = 2, 400
TRUE = {"w": np.array([1.0, -2.0, 3.0]), "b": np.array(0.5)}
SIZE = sum(p.size for p in TRUE.values())


def shared_rows(shm):
    """The first row has the parameters, and each further one a worker's gradients."""
    return np.ndarray((1 + WORKERS, SIZE), buffer=shm.buf)


def views(row):
    """What a row holds, as an array for each parameter. All begin as zeros."""
    return fastopt.flatten({name: np.zeros_like(p) for name, p in TRUE.items()}, out=row)[1]


def compute(shm, worker, barrier):
    """Write gradients of this worker's data, again and again."""
    rows = shared_rows(shm)
    params, grads = views(rows[0]), views(rows[1 + worker])
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
    rows = shared_rows(shm)
    params = views(rows[0])
    mean, grads = fastopt.flatten(params)
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
    # It can be closed when no array lies in it any more. All of them, and the optimizer that holds some, lived in
    # functions that take `shm`, and were gone when these returned.
    shm.close()
    for name, p in TRUE.items():
        np.testing.assert_allclose(trained[name], p, atol=1e-3)
