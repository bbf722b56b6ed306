"""Gradients by JAX, compiled, for parameters that stay NumPy arrays.

Needs:   fastopt, jax
Run:     python jax_gradients.py
Prints:  the loss now and then
"""

import jax
import jax.numpy as jnp
import numpy as np

import fastopt

rng = np.random.default_rng(0)
x = rng.uniform(-2, 2, size=(1024, 2)).astype(np.float32)
y = np.sin(x[:, 0]) * np.cos(x[:, 1])


def new_layer(m, n):
    return {"W": rng.normal(size=(m, n)).astype(np.float32) / np.sqrt(np.float32(m)), "b": np.zeros(n, np.float32)}


params = {"hidden": [new_layer(2, 64), new_layer(64, 64)], "out": new_layer(64, 1)}


@jax.jit
@jax.value_and_grad
def loss_and_gradients(params, x, y):
    h = x
    for layer in params["hidden"]:
        h = jnp.tanh(h @ layer["W"] + layer["b"])
    prediction = (h @ params["out"]["W"] + params["out"]["b"])[:, 0]
    return jnp.mean((prediction - y) ** 2)


opt = fastopt.Adam(params, lr=lambda n: 0.01 * 0.998**n)
for n in range(401):
    # A call of JAX returns before its work is done, and the work may read the NumPy arrays themselves, not copies. So
    # wait for all that was computed from the parameters before a step changes them.
    loss, grads = jax.block_until_ready(loss_and_gradients(params, x, y))
    opt.step(jax.tree.map(np.asarray, grads))
    if n % 50 == 0:
        print(f"step {n}: loss {loss:.5f}")

assert loss < 0.002  # it was 0.67
