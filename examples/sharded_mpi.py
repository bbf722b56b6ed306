"""Sharded training by MPI: each rank steps its share of the parameters, and has the optimizer's state of that alone.

Needs:   fastopt, mpi4py, mpich
Run:     mpiexec -n 2 python sharded_mpi.py
Prints:  the loss now and then, and how many elements of state a rank has
"""

from math import sqrt

import numpy as np
from mpi4py import MPI

import fastopt

comm = MPI.COMM_WORLD

# Each rank has its own rows of a regression on many features, of which few matter.
rng = np.random.default_rng(comm.rank)
x = rng.normal(size=(500, 101))
y = x[:, 0] - 2 * x[:, 1] + 3 * x[:, 2] + 0.5

buffer, params = fastopt.flatten({"w": np.zeros(x.shape[1]), "b": np.array(0.0)})
grad_buffer, grads = fastopt.flatten(params)

# The shares are as equal as can be.
counts = [len(part) for part in np.array_split(buffer, comm.size)]
share = np.array_split(buffer, comm.size)[comm.rank]  # a view
grad_share = np.empty_like(share)
opt = fastopt.Adam(share, lr=0.02, clip_grad_norm=10.0)

for n in range(601):
    e = x @ params["w"] + params["b"] - y
    d = 2 * e / (len(x) * comm.size)
    np.matmul(x.T, d, out=grads["w"])
    np.sum(d, out=grads["b"])
    comm.Reduce_scatter(grad_buffer, grad_share, counts)
    # No rank has all gradients. The norm of all is made from each rank's sum of squares.
    norm = sqrt(comm.allreduce(fastopt.squares(grad_share)))
    opt.step(grad_share, grad_norm=norm)
    comm.Allgatherv(MPI.IN_PLACE, [buffer, counts])
    if n % 100 == 0:
        loss = comm.allreduce(np.mean(e * e)) / comm.size
        if comm.rank == 0:
            print(f"step {n}: loss {loss:.1e}, norm of the gradients {norm:.1e}")

if comm.rank == 0:
    print(f"{share.size} of {buffer.size} parameters have their state here")
# There is no noise, so what is left is how far Adam has come.
np.testing.assert_allclose(params["w"][:4], [1, -2, 3, 0], atol=1e-3)
np.testing.assert_allclose(params["b"], 0.5, atol=1e-3)
assert len(set(comm.allgather(buffer.tobytes()))) == 1
