"""A multilayer perceptron in plain NumPy: what the demo trains. Its gradients are written out, with no framework."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastopt.arrays.layout import Array


def new_network(sizes: Sequence[int], dtype: DTypeLike, rng: np.random.Generator) -> dict[str, Array]:
    """Weights ``W1, b1, W2, ...`` of a network with layers of the given sizes, scaled for rectified linear units."""
    weights: dict[str, Array] = {}
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        weights[f"W{layer}"] = (rng.normal(size=(fan_in, fan_out)) * np.sqrt(2 / fan_in)).astype(dtype)
        weights[f"b{layer}"] = np.zeros(fan_out, dtype=dtype)
    return weights


def forward(weights: Mapping[str, Array], x: Array) -> list[Array]:
    """The activations of all layers, the input first and the scores of the classes last."""
    activations = [x]
    depth = len(weights) // 2
    for layer in range(1, depth + 1):
        z = activations[-1] @ weights[f"W{layer}"] + weights[f"b{layer}"]
        activations.append(np.maximum(z, 0) if layer < depth else z)
    return activations


def loss_and_gradients(
    weights: Mapping[str, Array], x: Array, labels: NDArray[np.integer[Any]]
) -> tuple[float, dict[str, Array]]:
    """The mean cross-entropy of the softmax of the scores, and its gradient for each of the weights."""
    activations = forward(weights, x)
    scores = activations[-1] - activations[-1].max(axis=1, keepdims=True)
    log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    rows = np.arange(len(labels))
    loss = -log_p[rows, labels].mean()

    delta = np.exp(log_p)
    delta[rows, labels] -= 1
    delta /= len(labels)
    gradients: dict[str, Array] = {}
    for layer in range(len(weights) // 2, 0, -1):
        below = activations[layer - 1]
        gradients[f"W{layer}"] = below.T @ delta
        gradients[f"b{layer}"] = delta.sum(axis=0)
        if layer > 1:
            delta = (delta @ weights[f"W{layer}"].T) * (below > 0)
    return float(loss), gradients


def accuracy(weights: Mapping[str, Array], x: Array, labels: NDArray[np.integer[Any]]) -> float:
    """The share of rows that are given their label."""
    return float((forward(weights, x)[-1].argmax(axis=1) == labels).mean())
