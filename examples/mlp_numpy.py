"""A network in plain NumPy, with its own forward and backward pass, learns handwritten digits.

Needs:   fastopt, scikit-learn
Run:     python mlp_numpy.py
Prints:  the training loss of every fifth epoch, and the accuracy on digits that were held out
"""

from itertools import pairwise

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastopt

rng = np.random.default_rng(0)


def new_layers(*sizes):
    return [(rng.normal(size=(m, n)) * np.sqrt(2 / m), np.zeros(n)) for m, n in pairwise(sizes)]


def forward(layers, x):
    """The inputs of all layers, and the scores of the classes last."""
    inputs = [x]
    for W, b in layers[:-1]:
        inputs.append(np.maximum(inputs[-1] @ W + b, 0))
    W, b = layers[-1]
    return [*inputs, inputs[-1] @ W + b]


def backward(layers, x, labels):
    """The loss, and a pair of gradients for each layer."""
    *inputs, scores = forward(layers, x)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(p[rows, labels]).mean()
    p[rows, labels] -= 1
    d = p / len(labels)
    grads = []
    for (W, _), below in zip(reversed(layers), reversed(inputs), strict=True):
        grads.append((below.T @ d, d.sum(axis=0)))
        d = (d @ W.T) * (below > 0)
    return loss, grads[::-1]


images, labels = load_digits(return_X_y=True)
x, x_test, y, y_test = train_test_split(images / 16, labels, random_state=0)
layers = new_layers(64, 64, 32, 10)
opt = fastopt.AdamW(layers, lr=3e-3)
for epoch in range(1, 21):
    losses = []
    for batch in np.array_split(rng.permutation(len(x)), 40):
        loss, grads = backward(layers, x[batch], y[batch])
        opt.step(grads)
        losses.append(loss)
    if epoch % 5 == 0:
        print(f"epoch {epoch}: loss {np.mean(losses):.4f}")

accuracy = (forward(layers, x_test)[-1].argmax(axis=1) == y_test).mean()
print(f"accuracy: {accuracy:.1%}")
assert accuracy > 0.95
