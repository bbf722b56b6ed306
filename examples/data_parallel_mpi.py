"""Data-parallel training by MPI: each rank has a part of the data, and one Allreduce per step sums all gradients.

Needs:   fastopt, mpi4py, mpich
Run:     mpiexec -n 2 python data_parallel_mpi.py
Prints:  the loss now and then, and whether the parameters of all ranks have the same bits
"""

import numpy as np
from mpi4py import MPI

import fastopt

comm = MPI.COMM_WORLD

# All ranks begin with the same parameters, and each has its own part of the data.
rng = np.random.default_rng(0)
params = {
    "hidden": (rng.normal(size=(1, 32)), rng.normal(size=32)),
    "out": (rng.normal(size=(32, 1)) / 6, np.zeros(1)),
}
x = np.linspace(-3, 3, 512)[comm.rank :: comm.size, None]
y = np.sin(2 * x)

# The gradients lie side by side in one buffer, and are views into it.
buffer, grads = fastopt.flatten(params)


def backward(params, grads):
    """Write the gradients of this rank's data, and return its loss."""
    (W1, b1), (W2, b2) = params["hidden"], params["out"]
    (gW1, gb1), (gW2, gb2) = grads["hidden"], grads["out"]
    h = np.tanh(x @ W1 + b1)
    e = h @ W2 + b2 - y
    d = 2 * e / len(x)
    d_h = d @ W2.T * (1 - h * h)
    np.matmul(x.T, d_h, out=gW1)
    np.sum(d_h, axis=0, out=gb1)
    np.matmul(h.T, d, out=gW2)
    np.sum(d, axis=0, out=gb2)
    return np.mean(e * e)


# After the Allreduce all ranks have the same gradients, so they measure the same norm and take the same step.
opt = fastopt.Adam(params, lr=0.01, clip_grad_norm=1.0)
opt.bind(grads)
for n in range(1001):
    loss = backward(params, grads)
    comm.Allreduce(MPI.IN_PLACE, buffer)
    buffer /= comm.size
    opt.step()
    if n % 200 == 0:
        loss = comm.allreduce(loss) / comm.size
        if comm.rank == 0:
            print(f"step {n}: loss {loss:.5f}, norm of the gradients {opt.grad_norm:.4f}")

bits = comm.allgather(fastopt.flatten(params)[0].tobytes())
if comm.rank == 0:
    print(f"{comm.size} ranks, equal bits: {len(set(bits)) == 1}")
assert len(set(bits)) == 1
assert loss < 0.001
