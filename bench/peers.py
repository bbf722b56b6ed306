"""Adam's step in fastopt and in other libraries, side by side: ``python bench/peers.py``.

Prints a table for each number of threads, and writes peers.json and peers.png. Each library that is missing is named,
and left out; ``pip install -e ".[peers]"`` installs them all. Each ratio is the median over pairs of samples of the
same round, in one process; each number of threads has a process of its own, because some libraries take theirs from the
environment, once.
"""

import argparse
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

import fastopt
from fastopt.cli import plain
from fastopt.cli.timing import YARDSTICKS, interleaved, ratio

THREADS = (1, 2)
SECONDS = 8.0  # for each case, all libraries together
# A pause before each sample, so that no library's threads are in the way of the next one's; and enough calls in each
# for its own threads to be awake, and its arrays where they stay between steps.
SETTLE, SAMPLE = 0.02, 5e-3
# 71 inputs, 11 hidden layers of 55 units, 20 outputs: weights and biases, 35,880 elements.
_WIDTHS = (71, *[55] * 11, 20)
NETWORK = [shape for i, o in pairwise(_WIDTHS) for shape in ((i, o), (o,))]
CASES = {
    **{f"{n:,}": [(n,)] for n in (100, 1_000, 10_000, 100_000, 1_000_000, 16_000_000)},
    "24 x 10": [(10,)] * 24,
    "network": NETWORK,
}
LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8
OURS, LIMIT = ("fastopt", "fastopt, bound"), "memory limit"
# Two that all people tell apart, whatever colours they see.
BLUE, ORANGE = "#0072b2", "#d55e00"


# Each takes lists of arrays, and gives a function that does one step, and the parameters to look at afterwards.


def fastopt_step(parameters, gradients):
    opt = fastopt.Adam(parameters)
    return lambda: opt.step(gradients), parameters


def fastopt_bound(parameters, gradients):
    opt = fastopt.Adam(parameters)
    opt.bind(gradients)
    return lambda: opt.step(), parameters  # a call of a method in a loop, as the one above


def plain_numpy(parameters, gradients):
    step, _ = plain.stepper("Adam", parameters)
    return lambda: step(gradients), parameters


def _torch(rule, parameters, gradients, **options):
    import torch

    tensors = [torch.from_numpy(p).requires_grad_() for p in parameters]
    for tensor, g in zip(tensors, gradients, strict=True):
        tensor.grad = torch.from_numpy(g)
    return rule(tensors, lr=LR, **options).step, parameters


def torch_loop(parameters, gradients):
    import torch

    return _torch(torch.optim.Adam, parameters, gradients, foreach=False)


def torch_foreach(parameters, gradients):
    import torch

    return _torch(torch.optim.Adam, parameters, gradients, foreach=True)


def torch_fused(parameters, gradients):
    import torch

    return _torch(torch.optim.Adam, parameters, gradients, fused=True)


def deepspeed(parameters, gradients):
    # It compiles its kernel with a ninja that it looks for in the path.
    os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    from deepspeed.ops.adam import DeepSpeedCPUAdam

    return _torch(DeepSpeedCPUAdam, parameters, gradients, adamw_mode=False)


def optax_jit(parameters, gradients):
    import jax
    import optax

    transform = optax.adam(LR)

    def update(p, state, g):
        updates, state = transform.update(g, state, p)
        return optax.apply_updates(p, updates), state

    jitted = jax.jit(update, donate_argnums=(0, 1))
    p, g = [jax.numpy.array(p) for p in parameters], [jax.numpy.array(g) for g in gradients]
    state = transform.init(p)

    def step():
        nonlocal p, state
        p, state = jitted(p, state, g)
        jax.block_until_ready(p)
        kept[:] = p

    kept = []
    return step, kept


def thinc(parameters, gradients):
    from thinc.api import Adam

    opt = Adam(LR, use_averages=False, grad_clip=0.0)
    own = [g.copy() for g in gradients]

    def step():
        for i, (p, g, original) in enumerate(zip(parameters, own, gradients, strict=True)):
            np.copyto(g, original)  # the step overwrites it
            opt((i, "p"), p, g)

    return step, parameters


def scikit_learn(parameters, gradients):
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

    opt = AdamOptimizer(parameters, LR)
    return lambda: opt.update_params(parameters, gradients), parameters


def numba_loop(parameters, gradients):
    import numba

    @numba.njit
    def adam(p, g, m, v, a, b):
        for i in range(p.size):
            m[i] = np.float32(BETA1) * m[i] + np.float32(1 - BETA1) * g[i]
            v[i] = np.float32(BETA2) * v[i] + np.float32(1 - BETA2) * g[i] * g[i]
            p[i] -= a * m[i] / (np.sqrt(v[i] * b) + np.float32(EPS))

    flat = [
        (p.reshape(-1), g.reshape(-1), np.zeros(p.size, p.dtype), np.zeros(p.size, p.dtype))
        for p, g in zip(parameters, gradients, strict=True)
    ]
    t = 0

    def step():
        nonlocal t
        t += 1
        a, b = np.float32(LR / (1 - BETA1**t)), np.float32(1 / (1 - BETA2**t))
        for arrays in flat:
            adam(*arrays, a, b)

    return step, parameters


def memory_limit(parameters, gradients):
    """No rule: the streaming loop with the same reads and writes."""
    opt = YARDSTICKS["stream2"](parameters)
    opt.bind(gradients)
    return opt.step, None


PEERS = {
    "fastopt": fastopt_step,
    "fastopt, bound": fastopt_bound,
    "memory limit": memory_limit,
    "NumPy expression": plain_numpy,
    "PyTorch, loop": torch_loop,
    "PyTorch, foreach": torch_foreach,
    "PyTorch, fused": torch_fused,
    "DeepSpeed": deepspeed,
    "optax, jit": optax_jit,
    "thinc": thinc,
    "scikit-learn": scikit_learn,
    "numba": numba_loop,
}


def problem(shapes):
    """Gradients away from zero: near it, the libraries' different places for eps would tell."""
    rng = np.random.default_rng(0)
    parameters = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    return parameters, [(1e-3 * rng.uniform(1, 2, shape) * rng.choice([-1, 1], shape)).astype("f4") for shape in shapes]


def steps_of(shapes):
    """The step of each library that is here, once its first two are found equal to those of fastopt, which is first."""
    steps = {}
    for name, make in PEERS.items():
        parameters, gradients = problem(shapes)
        try:
            step, result = make(parameters, gradients)
        except ImportError as error:
            print(f"{name}: not here ({error})", file=sys.stderr)
            continue
        step()
        step()
        if name == "fastopt":
            expected = [p.copy() for p in result]
        elif result is not None:
            for mine, theirs in zip(expected, result, strict=True):
                # Of two steps of 1e-3 each: some add eps elsewhere, and all round in another order.
                np.testing.assert_allclose(theirs, mine, rtol=0, atol=5e-6, err_msg=name)
        steps[name] = step
    return steps


def measure():
    """For each case and library the seconds of a step, and how many times faster fastopt is."""
    rows = {}
    for case, shapes in CASES.items():
        steps = steps_of(shapes)
        samples = dict(
            zip(steps, interleaved(list(steps.values()), SECONDS, sample=SAMPLE, settle=SETTLE), strict=True)
        )
        rows[case] = {
            name: {"seconds": median(times), "ratio": ratio(times, samples["fastopt"])}
            for name, times in samples.items()
        }
        for name, row in rows[case].items():
            print(f"{case:>12} {name:<20} {row['seconds'] * 1e6:>12.2f} us {row['ratio']:>9.2f}", file=sys.stderr)
    return rows


def measure_with(threads):
    """The same in a process of its own, in which all libraries that use several threads use so many."""
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "FASTOPT_NUM_THREADS": str(threads),
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}",
        "DS_ACCELERATOR": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--here"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def markdown(header, rows):
    """A table, its first column of names."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def table(rows):
    """Microseconds, and in brackets how many times as long as fastopt; bold where another library wins."""
    lines = []
    for name in PEERS:
        if not any(name in row for row in rows.values()):
            continue
        cells = []
        for row in rows.values():
            if name not in row:
                cells.append("")
                continue
            microseconds = row[name]["seconds"] * 1e6
            text = f"{microseconds:,.0f}" if microseconds >= 100 else f"{microseconds:.3g}"
            times = row[name]["ratio"]
            wins = times < 0.995 and not name.startswith(("fastopt", "memory"))
            cells.append(
                text if name == "fastopt" else f"**{text} ({times:.2f})**" if wins else f"{text} ({times:.3g})"
            )
        lines.append([name, *cells])
    return markdown(["library", *rows], lines)


def draw(results, path):
    """Time against size with the most threads: a panel for each other library, with fastopt and the limit beside it."""
    from matplotlib.figure import Figure

    threads, rows = list(results.items())[-1]
    sizes = {int(case.replace(",", "")): case for case in CASES if case[0].isdigit() and " " not in case}
    others = [name for name in PEERS if name not in (*OURS, LIMIT) and any(name in row for row in rows.values())]
    columns = min(3, len(others))
    figure = Figure(figsize=(10, 8), layout="constrained")
    figure.suptitle(
        f"One step of Adam in float32, threads: {threads}\nNumbers: the library's time divided by fastopt's"
    )
    figure.supxlabel("elements")
    figure.supylabel("µs")
    panels = figure.subplots(-(-len(others) // columns), columns, sharex=True, sharey=True, squeeze=False).flat

    def line(panel, name, **style):
        """A library's line; a case that it does not have is left out."""
        points = [(n, rows[case][name]["seconds"] * 1e6) for n, case in sizes.items() if name in rows[case]]
        panel.loglog(*zip(*points, strict=True), **style)
        return points

    for panel, name in zip(panels, others, strict=False):
        for n, y in line(panel, name, color=ORANGE, linestyle="--", linewidth=2, marker="o", markersize=5):
            times = rows[sizes[n]][name]["ratio"]
            shown = f"{times:.0f}×" if times >= 10 else f"{times:.1f}×"
            panel.annotate(shown, (n, y), (6, 6), textcoords="offset points", ha="right")
        *_, place, _, _, _ = line(panel, LIMIT, color="black", linestyle=":", linewidth=1.5)
        panel.annotate(LIMIT, place, (8, 2), textcoords="offset points", va="top")
        *_, place, _ = line(panel, "fastopt", color=BLUE, linewidth=3)
        panel.annotate("fastopt", place, (8, 2), textcoords="offset points", va="top", color=BLUE)
        panel.set_title(name, color=ORANGE)
        panel.margins(x=0.15, y=0.12)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def measure_all(folder):
    """The rows for each number of threads; the JSON and the picture of them into a folder."""
    results = {str(threads): measure_with(threads) for threads in THREADS}
    (folder / "peers.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(results, folder / "peers.png")
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--here", action="store_true", help="measure in this process, and print JSON")
    parser.add_argument("--output", type=Path, default=Path(), help="the folder for the JSON and the picture")
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(measure()))
        return
    for threads, rows in measure_all(arguments.output).items():
        print(f"\nthreads: {threads}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
