"""The demo: a small network learns handwritten digits with every rule, by the reference and by the backend in use."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
from click import ClickException
from matplotlib import colormaps
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastopt.arrays.layout import Array
from fastopt.cli.network import accuracy, loss_and_gradients, new_network
from fastopt.engines import choice
from fastopt.rules import VARIANTS

SIZES = (64, 128, 64, 10)
BATCH = 32
# Where the default would be too slow for so short a training.
LEARNING_RATES = {
    "SGD": 0.1,
    "Momentum": 0.03,
    "Nesterov": 0.03,
    "RMSprop": 1e-3,
    "RMSprop, centered": 1e-3,
    "RMSprop, momentum": 2e-4,
    "RMSprop, centered, momentum": 2e-4,
    "LAMB": 3e-3,
    "Lion": 1e-3,
}

Data: TypeAlias = tuple[Array, Array, Array, Array]  # training images, test images, training labels, test labels


class Training(NamedTuple):
    """What one training came to."""

    losses: list[float]  # the mean loss of each epoch
    accuracy: float  # of the test set
    seconds: float  # in the optimizer, the median of the steps
    weights: dict[str, Array]


class Comparison(NamedTuple):
    """One rule, trained by the reference and by a backend."""

    name: str
    losses: list[float]
    accuracy: float
    reference_seconds: float
    seconds: float
    identical: bool  # all weights, bit for bit

    @property
    def speedup(self) -> float:
        return self.reference_seconds / self.seconds


def digits() -> Data:
    """Scikit-learn's 1,797 digits of 8x8 pixels."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    parts: Any = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    return cast(Data, parts)


def train(name: str, backend: str | None, data: Data, epochs: int, tick: Callable[[], object]) -> Training:
    """Train a new network with one rule; `tick` is called after each epoch."""
    images, test_images, labels, test_labels = data
    rng = np.random.default_rng(0)
    weights = new_network(SIZES, np.float32, rng)
    rule, options = VARIANTS[name]
    chosen: dict[str, Any] = {"lr": LEARNING_RATES[name]} if name in LEARNING_RATES else {}
    opt = rule(weights, **{**options, **chosen}, backend=backend)
    losses: list[float] = []
    seconds: list[float] = []
    for _ in range(epochs):
        batch_losses: list[float] = []
        for batch in np.array_split(rng.permutation(len(images)), len(images) // BATCH):
            loss, gradients = loss_and_gradients(weights, images[batch], labels[batch])
            start = perf_counter()
            opt.step(gradients)
            seconds.append(perf_counter() - start)
            batch_losses.append(loss)
        losses.append(float(np.mean(batch_losses)))
        tick()
    return Training(losses, accuracy(weights, test_images, test_labels), median(seconds), weights)


def compare(epochs: int, tick: Callable[[], object]) -> Iterator[Comparison]:
    """Train with every rule, by the reference and by the backend in use, and yield the comparisons."""
    data = digits()
    for name in VARIANTS:
        reference = train(name, "numpy", data, epochs, tick)
        mine = train(name, None, data, epochs, tick)
        identical = all(w.tobytes() == mine.weights[key].tobytes() for key, w in reference.weights.items())
        yield Comparison(name, mine.losses, mine.accuracy, reference.seconds, mine.seconds, identical)


def check_picture(name: str) -> None:
    """Raise before the work, not after it, if the picture cannot be written."""
    path = Path(name)
    formats = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:] not in formats:
        raise ClickException(f"{path}: the picture's name must end in one of {', '.join(formats)}")
    if not path.parent.is_dir():
        raise ClickException(f"{path}: there is no folder {path.parent}")


def draw(comparisons: Sequence[Comparison], path: str) -> None:
    """The picture: loss curves, and bars of the speedups in the same colours."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    curves, bars = figure.subplots(1, 2, width_ratios=(3, 2))
    colours = cast(Any, colormaps["tab20"]).colors
    for comparison, colour in zip(comparisons, colours, strict=False):
        epochs = range(1, len(comparison.losses) + 1)
        curves.plot(epochs, comparison.losses, color=colour, label=comparison.name, linewidth=1.5)
    curves.set(yscale="log", xlabel="epoch", ylabel="training loss", title="Handwritten digits, a 64-128-64-10 network")
    curves.xaxis.get_major_locator().set_params(integer=True)
    curves.legend(fontsize="small", ncols=2)
    curves.grid(alpha=0.3)

    names = [comparison.name for comparison in comparisons]
    drawn = bars.barh(names, [comparison.speedup for comparison in comparisons], color=colours[: len(comparisons)])
    bars.bar_label(drawn, fmt="%.0f×", padding=3)
    bars.invert_yaxis()
    bars.margins(x=0.12)
    bits = "same bits" if all(comparison.identical for comparison in comparisons) else "OTHER BITS"
    bars.set(xlabel=f"times faster than the NumPy reference ({choice.DEFAULT})", title=f"Time of a step, {bits}")
    figure.savefig(path, dpi=110)
