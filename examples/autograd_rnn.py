"""A recurrent network whose gradients autograd computes learns to write a sentence.

Needs:   fastopt, autograd
Run:     python autograd_rnn.py
Prints:  the loss now and then, and at last what the network writes after the first letter
"""

from itertools import pairwise

import autograd.numpy as np
import numpy.random as npr
from autograd import value_and_grad

import fastopt

TEXT = "the quick brown fox jumps over the lazy dog"
LETTERS = sorted(set(TEXT))
SIZE, HIDDEN = len(LETTERS), 32


def new_params(rng):
    return {
        "rnn": {
            "Wx": rng.normal(size=(SIZE, HIDDEN)) * 0.3,
            "Wh": np.linalg.qr(rng.normal(size=(HIDDEN, HIDDEN)))[0],
            "b": np.zeros(HIDDEN),
        },
        "out": {"W": rng.normal(size=(HIDDEN, SIZE)) * 0.1, "b": np.zeros(SIZE)},
    }


def advance(params, h, letter):
    """The hidden state after a letter, and the log-probabilities of the next one."""
    rnn, out = params["rnn"], params["out"]
    h = np.tanh(rnn["Wx"][letter] + h @ rnn["Wh"] + rnn["b"])
    scores = h @ out["W"] + out["b"]
    return h, scores - np.log(np.sum(np.exp(scores)))


def loss(params, letters):
    h, total = np.zeros(HIDDEN), 0.0
    for letter, following in pairwise(letters):
        h, log_p = advance(params, h, letter)
        total = total - log_p[following]
    return total / (len(letters) - 1)


def write(params, letter, length):
    h, letters = np.zeros(HIDDEN), [letter]
    while len(letters) < length:
        h, log_p = advance(params, h, letters[-1])
        letters.append(int(np.argmax(log_p)))
    return "".join(LETTERS[letter] for letter in letters)


letters = [LETTERS.index(letter) for letter in TEXT]
params = new_params(npr.default_rng(0))
opt = fastopt.Adam(params, lr=0.01, clip_grad_norm=1.0)
gradients = value_and_grad(loss)  # gradients are nested like the parameters
for n in range(101):
    value, grads = gradients(params, letters)
    opt.step(grads)
    if n % 20 == 0:
        print(f"step {n}: loss {value:.4f}, norm of the gradients {opt.grad_norm:.3f}")

written = write(params, letters[0], len(letters))
print(written)
assert written == TEXT
