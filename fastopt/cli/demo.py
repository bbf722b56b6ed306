"""The demo: a small network learns handwritten digits with every rule, by the reference and by the backend in use."""

from collections.abc import Iterator
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastopt.arrays.layout import Array
from fastopt.cli import plain
from fastopt.cli.network import accuracy, loss_and_gradients, new_network
from fastopt.cli.timing import ratio
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
    seconds: list[float]  # of each step
    in_numpy: list[float]  # of each step in plain NumPy, on the same weights and gradients
    weights: dict[str, Array]


class Comparison(NamedTuple):
    """One rule, trained by the reference and by a backend."""

    name: str
    losses: list[float]
    accuracy: float
    seconds: float  # of a step, the median
    speedup: float  # over plain NumPy
    identical: bool  # all weights, bit for bit


def digits() -> Data:
    """Scikit-learn's 1,797 digits of 8x8 pixels."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    parts: Any = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    return cast(Data, parts)


def train(name: str, backend: str | None, data: Data, epochs: int) -> Training:
    """Train a new network with one rule."""
    images, test_images, labels, test_labels = data
    rng = np.random.default_rng(0)
    weights = new_network(SIZES, np.float32, rng)
    rule, options = VARIANTS[name]
    chosen: dict[str, Any] = {"lr": LEARNING_RATES[name]} if name in LEARNING_RATES else {}
    opt = rule(weights, **{**options, **chosen}, backend=backend)
    copies = [w.copy() for w in weights.values()]
    step_in_numpy, _ = plain.stepper(name, copies)
    losses: list[float] = []
    seconds: list[float] = []
    in_numpy: list[float] = []
    for _ in range(epochs):
        batch_losses: list[float] = []
        for batch in np.array_split(rng.permutation(len(images)), len(images) // BATCH):
            loss, gradients = loss_and_gradients(weights, images[batch], labels[batch])
            in_order = [gradients[key] for key in weights]
            start = perf_counter()
            opt.step(gradients)
            middle = perf_counter()
            step_in_numpy(in_order)
            end = perf_counter()
            seconds.append(middle - start)
            in_numpy.append(end - middle)
            for copy, w in zip(copies, weights.values(), strict=True):
                np.copyto(copy, w)
            batch_losses.append(loss)
        losses.append(float(np.mean(batch_losses)))
    return Training(losses, accuracy(weights, test_images, test_labels), seconds, in_numpy, weights)


def compare(epochs: int) -> Iterator[Comparison]:
    """Train with every rule, by the reference and by the backend in use, and yield the comparisons."""
    data = digits()
    for name in VARIANTS:
        reference = train(name, "numpy", data, epochs)
        mine = train(name, None, data, epochs)
        identical = all(w.tobytes() == mine.weights[key].tobytes() for key, w in reference.weights.items())
        speedup = ratio(mine.in_numpy, mine.seconds)
        yield Comparison(name, mine.losses, mine.accuracy, median(mine.seconds), speedup, identical)
