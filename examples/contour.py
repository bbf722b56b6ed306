"""Five optimizers on the contours of x**2 + 10*y**2, as a picture and as an animation.

Needs:   fastopt, matplotlib
Run:     python contour.py                    writes contour.png
         python contour.py --animate out.gif  writes out.gif too
Prints:  where each optimizer is after 12 steps from (40, 20)
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.patheffects import withStroke

import fastopt

STEPS = 12
# What makes the optimizer; its look, which can be told without colours; and where its name stands: beside which step,
# and by how many points. So few steps want a shorter memory than Adam's defaults have.
RUNS = {
    "SGD": (lambda p: fastopt.SGD(p, lr=0.096), ("#E69F00", "s", "-"), 2, (6, 4)),
    "Momentum": (lambda p: fastopt.SGD(p, lr=0.02, momentum=0.7), ("#0072B2", "o", "--"), 4, (-50, -20)),
    "Nesterov": (lambda p: fastopt.SGD(p, lr=0.02, momentum=0.7, nesterov=True), ("#D55E00", "^", "-."), 1, (8, -8)),
    "RMSprop": (lambda p: fastopt.RMSprop(p, lr=3, alpha=0.9, eps=1e-6), ("#009E73", "D", "-"), 2, (-60, 8)),
    "Adam": (lambda p: fastopt.Adam(p, lr=6, betas=(0.7, 0.9)), ("#000000", "v", ":"), 7, (-40, -12)),
}


def trajectory(make):
    p = np.array([40.0, 20.0])
    opt = make(p)
    points = [p.copy()]
    for _ in range(STEPS):
        opt.step(p * [2, 20])
        points.append(p.copy())
    return np.array(points)


def draw(paths):
    """The figure, and the function that shows the first n steps in it."""
    figure, axes = plt.subplots(figsize=(8, 6.4), layout="constrained")
    x, y = np.meshgrid(np.linspace(-9, 46, 276), np.linspace(-22, 22, 221))
    axes.contour(x, y, x**2 + 10 * y**2, levels=np.geomspace(20, 8000, 9), colors="0.8", linewidths=0.8)
    axes.plot(0, 0, "*", color="0.4", markersize=12)
    axes.set(xlabel="x", ylabel="y", aspect="equal")
    halo = [withStroke(linewidth=3, foreground="white")]
    drawn = []
    for name, (_, (colour, marker, style), step, offset) in RUNS.items():
        (line,) = axes.plot([], [], style, color=colour, marker=marker)
        label = axes.annotate(name, paths[name][step], offset, textcoords="offset points", path_effects=halo)
        label.set(color=colour, weight="bold")
        drawn.append((paths[name], line, label, step))

    def show(n):
        axes.set_title(f"$x^2 + 10\\,y^2$ from (40, 20): step {n}")
        for path, line, label, step in drawn:
            line.set_data(*path[: n + 1].T)
            label.set_visible(n >= step)

    return figure, show


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--animate", metavar="GIF")
    gif = parser.parse_args().animate
    paths = {name: trajectory(make) for name, (make, *_) in RUNS.items()}
    figure, show = draw(paths)
    show(STEPS)
    figure.savefig("contour.png", dpi=120)
    if gif:
        frames = [*range(STEPS + 1), *[STEPS] * 5]
        FuncAnimation(figure, show, frames).save(gif, PillowWriter(fps=2), dpi=80)
    for name, path in paths.items():
        print(f"{name:9} ({path[-1, 0]:6.2f}, {path[-1, 1]:6.2f})")

    assert (np.diff(np.sign(paths["SGD"][:, 1])) != 0).all()  # it steps across the valley each time
    assert abs(paths["RMSprop"][-1]).max() < 3
