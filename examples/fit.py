"""A fit: the amplitude, damping, frequency and offset of a decaying oscillation.

Needs:   fastopt, scipy
Run:     python fit.py
Prints:  each parameter as fitted, with the truth and what SciPy's curve_fit finds
"""

import math

import numpy as np
from scipy.optimize import curve_fit

import fastopt


def model(t, amplitude, damping, omega, offset):
    return amplitude * np.exp(-damping * t) * np.cos(omega * t) + offset


truth = {"amplitude": 2.0, "damping": 0.3, "omega": 4.0, "offset": 0.5}
t = np.linspace(0, 8, 400)
y = model(t, *truth.values()) + np.random.default_rng(0).normal(scale=0.1, size=t.shape)

# 0-d arrays: a step changes them in place, and they compute like numbers.
params = {"amplitude": np.array(1.0), "damping": np.array(0.1), "omega": np.array(3.8), "offset": np.array(0.0)}
opt = fastopt.Adam(params, lr=lambda n: 0.02 * 0.998**n)
for _ in range(3000):
    a, k, w, c = params.values()
    decay = np.exp(-k * t)
    e = a * decay * np.cos(w * t) + c - y
    d = 2 * e / len(t)
    opt.step(
        {
            "amplitude": (d * decay * np.cos(w * t)).sum(),
            "damping": (-d * a * t * decay * np.cos(w * t)).sum(),
            "omega": (-d * a * t * decay * np.sin(w * t)).sum(),
            "offset": math.fsum(d),  # a Python float does as well
        }
    )

expected, _ = curve_fit(model, t, y, p0=[1.0, 0.1, 3.8, 0.0], xtol=1e-12)
for (name, fitted), best in zip(params.items(), expected, strict=True):
    print(f"{name:9} {fitted:.6f}  truth {truth[name]:.6f}  curve_fit {best:.6f}")

# Both are at the minimum of the same sum of squares, as far as each goes.
np.testing.assert_allclose([*params.values()], expected, atol=1e-5)
