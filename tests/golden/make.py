"""Makes golden.json: what other libraries' optimizers do, in float64, for each case of tests/cases.py.

Needs torch==2.13.0, keras, optax and jax, besides fastopt; the tests themselves need none of them.
Run as ``python tests/golden/make.py``.
"""

import json
import os
import sys
from decimal import Decimal, getcontext
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_ENABLE_X64"] = "1"

import jax.numpy as jnp
import keras
import numpy as np
import optax
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from cases import CASES, falling  # noqa: E402

keras.config.set_floatx("float64")

STEPS = 6
START = [1.5, -0.75, 0.0, 2.25, -3.5, 0.125, 10.0, -1e-3]
_random = np.random.default_rng(20261120)
GRADIENTS = np.round(_random.normal(size=(STEPS, len(START))), 3)
GRADIENTS[:, 2] *= 1e-4  # one element with tiny gradients, and one with large ones
GRADIENTS[:, 6] *= 1e3


def with_torch(rule, *, short=False, **options):
    """torch.optim: its own weight decay, or a decoupled one put before the step by hand, as AdamW does."""
    lr = options.pop("lr", None)
    shrink = options.pop("weight_decay", 0) if options.pop("decoupled_weight_decay", False) else 0
    p = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    first = falling(0) if lr is falling else lr
    optimizer = rule([p], **({} if first is None else {"lr": first}), **options)
    if short:
        # From this count on both corrections of the bias are 1.
        zeros = {name: torch.zeros_like(p) for name in ("exp_avg", "exp_avg_sq")}
        optimizer.state[p] = {"step": torch.tensor(1e9), **zeros}
    for n, g in enumerate(GRADIENTS):
        group = optimizer.param_groups[0]
        if lr is falling:
            group["lr"] = falling(n)
        with torch.no_grad():
            p.mul_(1 - group["lr"] * shrink)
        p.grad = torch.tensor(g)
        optimizer.step()
        yield p.detach().numpy().copy()


def with_keras(rule, **options):
    """keras.optimizers."""
    lr = options.pop("learning_rate")
    variable = keras.Variable(np.array(START), dtype="float64")
    optimizer = rule(learning_rate=lr if lr is not falling else falling(0), **options)
    optimizer.build([variable])
    for n, g in enumerate(GRADIENTS):
        if lr is falling:
            optimizer.learning_rate.assign(falling(n))
        optimizer.apply([jnp.array(g)])
        yield np.array(variable)


def with_optax(transform, *, maximize=False, keep=1.0, late=False):
    """A chain of optax's transformations; `late` begins where both corrections of the bias are 1."""
    p = jnp.array(START)
    state = transform.init(p)
    if late:
        state = tuple(one._replace(count=10**9) if "count" in getattr(one, "_fields", ()) else one for one in state)
    for g in GRADIENTS:
        updates, state = transform.update(jnp.array(-g if maximize else g), state, p)
        p = optax.apply_updates(keep * p, updates)
        yield np.array(p)


def amsgrad_inside(lr, beta1, beta2, eps):
    """No library has this form: in plain Python, with 40 digits."""
    getcontext().prec = 40
    lr, beta1, beta2, eps = map(Decimal, (lr, beta1, beta2, eps))
    p = [Decimal(x) for x in START]
    m, v, h = [Decimal(0)] * len(p), [Decimal(0)] * len(p), [Decimal(0)] * len(p)
    for t, g in enumerate(GRADIENTS.tolist(), start=1):
        for i, d in enumerate(map(Decimal, g)):
            m[i] = beta1 * m[i] + (1 - beta1) * d
            v[i] = beta2 * v[i] + (1 - beta2) * d * d
            h[i] = max(h[i], v[i])
            p[i] -= lr / (1 - beta1**t) * m[i] / (h[i] / (1 - beta2**t) + eps).sqrt()
        yield np.array(p, dtype=float)


def adan(lr=1e-3, betas=(0.98, 0.92, 0.99), eps=1e-8, l2=0, keep=0, sign=1):
    """As the authors' code computes it, which optax does not: in plain Python, with 40 digits."""
    getcontext().prec = 40
    beta1, beta2, beta3 = map(Decimal, betas)
    eps, l2, keep = map(Decimal, (eps, l2, keep))
    p = [Decimal(x) for x in START]
    m, v, q, before = ([Decimal(0)] * len(p) for _ in range(4))
    for t, g in enumerate(GRADIENTS.tolist(), start=1):
        rate = Decimal(lr(t - 1) if lr is falling else lr)
        for i, one in enumerate(map(Decimal, g)):
            d = sign * one + l2 * p[i]
            x = d - before[i] if t > 1 else 0
            m[i] = beta1 * m[i] + (1 - beta1) * d
            v[i] = beta2 * v[i] + (1 - beta2) * x
            q[i] = beta3 * q[i] + (1 - beta3) * (d + beta2 * x) ** 2
            before[i] = d
            moved = m[i] / (1 - beta1**t) + beta2 * v[i] / (1 - beta2**t)
            p[i] = (1 - rate * keep) * p[i] - rate * moved / ((q[i] / (1 - beta3**t)).sqrt() + eps)
        yield np.array(p, dtype=float)


SGD, Adagrad, Adadelta = torch.optim.SGD, torch.optim.Adagrad, torch.optim.Adadelta
RMSprop, Adam, AdamW = torch.optim.RMSprop, torch.optim.Adam, torch.optim.AdamW
TORCH = {"SGD": SGD, "Adagrad": Adagrad, "Adadelta": Adadelta, "RMSprop": RMSprop, "Adam": Adam, "AdamW": AdamW}

# The cases that are not a form of PyTorch's.
OTHERS = {
    "momentum-velocity": lambda: with_keras(keras.optimizers.SGD, learning_rate=falling, momentum=0.9),
    "nesterov-velocity": lambda: with_keras(keras.optimizers.SGD, learning_rate=falling, momentum=0.9, nesterov=True),
    "momentum-ema": lambda: with_optax(
        optax.chain(optax.ema(0.9, debias=False), optax.scale_by_learning_rate(falling))
    ),
    "adagrad-inside": lambda: with_optax(optax.adagrad(0.1, initial_accumulator_value=0.1, eps=1e-2)),
    "rmsprop-initial": lambda: with_optax(
        optax.rmsprop(0.1, decay=0.9, eps=1e-3, initial_scale=0.3, eps_in_sqrt=False)
    ),
    "rmsprop-inside": lambda: with_keras(keras.optimizers.RMSprop, learning_rate=falling, rho=0.9, epsilon=1e-2),
    "rmsprop-centered-inside": lambda: with_optax(
        optax.rmsprop(0.1, decay=0.9, eps=1e-2, centered=True, eps_in_sqrt=True)
    ),
    "rmsprop-momentum-velocity": lambda: with_keras(
        keras.optimizers.RMSprop, learning_rate=falling, rho=0.9, epsilon=1e-2, momentum=0.8
    ),
    "rmsprop-centered-momentum-velocity": lambda: with_keras(
        keras.optimizers.RMSprop, learning_rate=falling, rho=0.9, epsilon=1e-2, momentum=0.8, centered=True
    ),
    "adam-uncorrected": lambda: with_keras(keras.optimizers.Adam, learning_rate=falling, epsilon=1e-3),
    "adam-inside": lambda: with_optax(optax.adam(falling, eps=0.0, eps_root=1e-3)),
    "adam-short": lambda: with_torch(Adam, lr=0.1, short=True),
    "lamb": lambda: with_optax(optax.lamb(1e-3)),
    "lamb-options": lambda: with_optax(
        optax.lamb(falling, b1=0.8, b2=0.95, eps=1e-3, weight_decay=0.05), maximize=True
    ),
    "lamb-l2": lambda: with_optax(
        optax.chain(
            optax.add_decayed_weights(0.05),
            optax.scale_by_adam(eps=1e-6),
            optax.scale_by_trust_ratio(),
            optax.scale_by_learning_rate(0.1),
        ),
        late=True,
    ),
    "lars": lambda: with_optax(optax.lars(1.0)),
    "lars-options": lambda: with_optax(
        optax.lars(falling, weight_decay=0.05, trust_coefficient=0.02, momentum=0.8), maximize=True
    ),
    "lars-decoupled": lambda: with_optax(optax.lars(2.0, momentum=0.0), keep=1 - 2.0 * 0.05),
    "lion": lambda: with_optax(optax.lion(1e-4, weight_decay=0)),
    "lion-options": lambda: with_optax(optax.lion(falling, b1=0.8, b2=0.7, weight_decay=0.05), maximize=True),
    "lion-l2": lambda: with_optax(optax.chain(optax.add_decayed_weights(0.05), optax.lion(0.1, weight_decay=0))),
    "adan": lambda: adan(),
    "adan-options": lambda: adan(falling, (0.8, 0.7, 0.6), 1e-3, keep=0.05, sign=-1),
    "adan-l2": lambda: adan(0.1, l2=0.05),
    "amsgrad-inside": lambda: amsgrad_inside(0.1, 0.8, 0.6, 1e-3),
    "amsgrad-uncorrected": lambda: with_keras(
        keras.optimizers.Adam, learning_rate=0.1, beta_1=0.8, beta_2=0.6, epsilon=1e-3, amsgrad=True
    ),
}


def main():
    expected = {}
    for name, (rule, options) in CASES.items():
        steps = OTHERS[name]() if name in OTHERS else with_torch(TORCH[rule.__name__], **options)
        expected[name] = [step.tolist() for step in steps]
    golden = {"start": START, "gradients": GRADIENTS.tolist(), "expected": expected}
    text = json.dumps(golden).replace("], [", "],\n[").replace('": [', '":\n[')
    (HERE / "golden.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
