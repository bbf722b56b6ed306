"""Deep Q-learning on a small chain of states, with the optimizer's averages as the target network.

An agent walks left or right on ten states. The left end pays a little, and the right end pays much; either ends
the episode. It has to learn that the long way pays.

Needs:   fastopt
Run:     python dqn.py
Prints:  the values that the network gives to both actions in each state
"""

import numpy as np

import fastopt

STATES, GAMMA, HIDDEN = 10, 0.9, 32
rng = np.random.default_rng(0)
X = np.eye(STATES)  # what the network sees of a state


def walk(state, action):
    """The next state, the reward, and whether the episode is over."""
    state += 2 * action - 1
    if state == 0:
        return state, 0.1, True
    if state == STATES - 1:
        return state, 1.0, True
    return state, 0.0, False


def forward(params, x):
    (W1, b1), (W2, b2) = params
    h = np.maximum(x @ W1 + b1, 0)
    return h, h @ W2 + b2


def gradients(params, x, action, target):
    h, q = forward(params, x)
    d = np.zeros_like(q)
    rows = np.arange(len(x))
    d[rows, action] = (q[rows, action] - target) / len(x)
    d_h = d @ params[1][0].T * (h > 0)
    return [(x.T @ d_h, d_h.sum(axis=0)), (h.T @ d, d.sum(axis=0))]


params = [
    (rng.normal(size=(STATES, HIDDEN)) * 0.5, np.zeros(HIDDEN)),
    (rng.normal(size=(HIDDEN, 2)) * 0.1, np.zeros(2)),
]
# The averages follow the network slowly: that is what a target network is for. They are nested like the parameters.
opt = fastopt.Adam(params, lr=3e-3, ema_decay=0.98)

replay = []
state = STATES // 2
for n in range(4000):
    epsilon = max(0.1, 1 - n / 1000)
    action = int(rng.integers(2) if rng.random() < epsilon else forward(params, X[state])[1].argmax())
    next_state, reward, done = walk(state, action)
    replay.append((state, action, reward, next_state, done))
    state = int(rng.integers(1, STATES - 1)) if done else next_state
    if n >= 200:
        s, a, r, s_next, d = map(np.array, zip(*(replay[i] for i in rng.integers(len(replay), size=32)), strict=True))
        target = r + GAMMA * ~d * forward(opt.ema, X[s_next])[1].max(axis=1)
        opt.step(gradients(params, X[s], a, target))

_, q = forward(params, X)
best = GAMMA ** np.arange(STATES - 3, -1, -1.0)  # of the way to the right end
for state in range(1, STATES - 1):
    print(f"state {state}: left {q[state, 0]:.3f}, right {q[state, 1]:.3f} (exact: {best[state - 1]:.3f})")
assert (q[1:-1].argmax(axis=1) == 1).all()
assert abs(q[1:-1, 1] - best).max() < 0.02
