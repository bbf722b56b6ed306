"""What type checkers have to accept: the calls of the README and of the docstrings."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from own_rule import Peaked

import fastopt
from fastopt.formula import larger, norm, power, sqrt, where

W: NDArray[np.float32] = np.zeros((3, 2), np.float32)
b: NDArray[np.float32] = np.zeros(2, np.float32)
named: dict[str, NDArray[np.float32]] = {"W": W, "b": b}
gW, gb = np.ones_like(W), np.ones_like(b)
gradients: dict[str, NDArray[np.float32]] = {"W": gW, "b": gb}
groups: list[dict[str, object]] = [{"params": {"W": W}, "lr": 0.1}, {"params": {"b": b}}]

# PyTorch's order, and names.
fastopt.SGD([W], 0.1, 0.9, 0.0, 1e-4, True)
fastopt.SGD([W], momentum=0.9, momentum_form="velocity", clip_grad_norm=1.0, zero_grads=True)
fastopt.Adam([W], 1e-3, (0.9, 0.999), 1e-8, 0.0, True, bias_correction=False)
fastopt.Adan([W], betas=(0.98, 0.92, 0.99), backend="numpy")
fastopt.Lion([W], lr=lambda n: 0.1 / (n + 1))
fastopt.AdamW([W], ema_decay=None, nonfinite="skip", loss_scale=1024, accumulate=2)

# The forms of parameters and of gradients.
fastopt.SGD(W).step(gW)
fastopt.SGD([W, b]).step([gW, None])
fastopt.SGD((W, b)).step((gW, gb))
fastopt.SGD(named).step(gradients)
fastopt.SGD({"W": np.zeros((3, 2)), "b": np.zeros(2)}).step({"W": np.ones((3, 2)), "b": None})
fastopt.SGD([("W", W), ("b", b)]).step({"W": gW, "b": gb})
fastopt.SGD(named.items()).step(gradients.values())
fastopt.SGD(array for array in (W, b)).step(g for g in (gW, gb))
fastopt.SGD([{"params": [W], "weight_decay": 1e-4}, {"params": [b]}], lr=0.1, momentum=0.9)
fastopt.SGD(groups).step(gradients)

# Nested ones, and numbers as gradients of 0-d parameters.
layers = [(W, b), (W.copy(), b.copy())]
fastopt.SGD(layers).step([(gW, gb), None])
fastopt.SGD({"l0": (W, b), "l1": (W.copy(), b.copy())}).step({"l0": (gW, None), "l1": (gW, gb)})
fastopt.SGD({"rnn": {"W": W, "b": b}}).step({"rnn": gradients})
fastopt.SGD([{"W": W, "b": b}]).step([gradients])
fastopt.SGD([[W, b]]).step([[gW, gb]])
fastopt.SGD({"a": np.array(0.5), "b": np.array(0.5)}).step({"a": 0.1, "b": np.ones(3).sum()})

opt = fastopt.Adam(named, ema_decay=0.9)
opt.step(gradients)
opt.bind(gradients)
opt.step()
opt.lr = lambda n: 0.1
opt.lr = 0.1
opt.loss_scale = 1024
opt.betas = (0.8, 0.9)
opt.param_groups[0]["lr"] = 1e-4
opt.add_param_group({"params": {"a": np.zeros(2)}, "lr": 0.1})
with opt.swap_ema():
    opt.state[0]["exp_avg"][:] = 0
saved: dict[str, Any] = opt.state_dict()
opt.load_state_dict(saved)
measured: float | None = opt.grad_norm
with fastopt.num_threads(2):
    threads: int = fastopt.get_num_threads()
backends: list[str] = fastopt.backends()


def annotated(d: NDArray[np.float64], m: NDArray[np.float64], *, lr: float, t: float, mu: float) -> NDArray[np.float64]:
    """A formula need not be annotated, but can be."""
    m[:] = mu * m + (1 - mu) * d
    c: float = sqrt(1 - power(mu, t))
    size: float = larger(lr, 1e-3) / (c + norm(m))
    return size * where(d != 0, larger(0, m), power(d, 2)) / (sqrt(m) + 1)


class Annotated(fastopt.Optimizer):
    formula = annotated
    lr: float = 1e-3
    mu: float = 0.9


Peaked(W, 0.1, 0.9, 1e-8, False).step(gW)
Peaked({"W": W}, beta=0.5, peak=False, ema_decay=0.9, maximize=True, backend="numpy")
Annotated([np.ones(3)], lr=0.1, mu=0.5, clip_grad_norm=1.0).step([np.ones(3)])
rules: list[type[fastopt.Optimizer]] = [fastopt.SGD, Peaked]
