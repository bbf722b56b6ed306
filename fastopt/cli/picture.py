"""The demo's picture."""

import os
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fastopt.cli.demo import SIZES, Comparison
from fastopt.engines import choice

# Two that all people tell apart, whatever colours they see.
BLUE, GREY = "#0072b2", "#c8c8c8"
COLUMNS = 4


def check(path: str) -> None:
    """Raise OSError before the work, not after it, if the file cannot be written. It is left as it is."""
    try:
        with open(path, "xb"):
            pass
    except FileExistsError:
        with open(path, "ab"):
            pass
    else:
        os.remove(path)


def draw(comparisons: Sequence[Comparison], path: str) -> None:
    """Draw the losses of each rule in a panel of its own, the others in grey, and bars of the speedups."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=(3, 2))
    left, right = halves
    network = "-".join(map(str, SIZES))
    left.suptitle(f"Training loss on handwritten digits\n{network} network; grey: the other rules")
    left.supxlabel("epoch")
    rows = -(-len(comparisons) // COLUMNS)
    panels = left.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).flat
    for panel, comparison in zip(panels, comparisons, strict=False):
        draw_losses(panel, comparison, comparisons)
    bits = "the same bits as" if all(one.identical for one in comparisons) else "OTHER BITS THAN"
    right.suptitle(f"Times as fast as the same rule in plain NumPy\n{choice.DEFAULT}; {bits} the reference")
    draw_speedups(right.subplots(), comparisons)
    figure.savefig(path, dpi=120)


def draw_losses(panel: Axes, shown: Comparison, comparisons: Sequence[Comparison]) -> None:
    """One rule's curve on top of all."""
    for one in comparisons:
        colour, width, height = (BLUE, 2.5, 3) if one is shown else (GREY, 0.7, 2)
        panel.plot(range(1, len(one.losses) + 1), one.losses, color=colour, linewidth=width, zorder=height)
    # Losses fall, so the corner is free.
    name = shown.name.replace(", ", ",\n")
    panel.text(0.95, 0.95, name, transform=panel.transAxes, ha="right", va="top")
    panel.set(yscale="log")
    panel.xaxis.set_major_locator(MaxNLocator(2, integer=True))
    panel.spines[["top", "right"]].set_visible(False)


def draw_speedups(panel: Axes, comparisons: Sequence[Comparison]) -> None:
    """The bars, beside a line where plain NumPy is."""
    bars = panel.barh([one.name for one in comparisons], [one.speedup for one in comparisons], color=BLUE)
    panel.bar_label(bars, fmt="%.1f×", padding=3)
    panel.axvline(1, color="black", linewidth=1.5)
    panel.invert_yaxis()
    panel.margins(x=0.2, y=0.01)
    panel.set_xticks([1], ["plain NumPy"])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
