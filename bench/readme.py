"""Measures all tables of the documentation and draws its pictures: ``python bench/readme.py``, on a quiet machine.

The tables go into docs/benchmarks.md, and some of their figures into README.md.

Each ratio is the median over pairs of samples of the same round, so that a busy machine slows both. The comparison with
other libraries needs them: ``pip install -e ".[cli,peers]"``.
"""

import argparse
import platform
import subprocess
from importlib.util import find_spec
from pathlib import Path

import limits
import numpy as np
import peers
from steps import BASELINES, step_of

import fastopt
from fastopt.cli.commands import run
from fastopt.cli.timing import interleaved, ratio
from fastopt.rules import VARIANTS

ROOT = Path(__file__).resolve().parent.parent
README, DOCS = ROOT / "README.md", ROOT / "docs"
PAGE = DOCS / "benchmarks.md"
LIBRARIES = ("torch", "deepspeed", "jax", "optax", "thinc", "sklearn", "numba", "matplotlib")
BEGIN, END = "<!-- {}: made by bench/readme.py -->\n", "<!-- end of {} -->"
SIZES = (100, 10_000, 1_000_000, 16_000_000)
# Of the comparison with other libraries, what the README shows.
SHOWN_CASES = {
    "100": "100 elements",
    "10,000": "10,000 elements",
    "1,000,000": "1,000,000 elements",
    "16,000,000": "16,000,000 elements",
    "network": "24 arrays, 35,880 elements in all",
}
SHOWN_PEERS = ("DeepSpeed", "PyTorch, fused", "NumPy expression")
SECONDS = 1.5


def processor():
    """The processor's name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def machine():
    """Where and when the tables are measured."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return (
        f"Measured on {processor()}, {fastopt.get_num_threads()} threads, Python {platform.python_version()}, NumPy "
        f"{np.__version__}, at commit {commit.stdout.strip() or 'unknown'}.\n"
    )


def speedups(name, n, how=None, dtype=np.float32):
    """How many times faster a step is than each of the baselines."""
    steps, arrays = zip(*(step_of(name, one, n, dtype) for one in (*BASELINES, how)), strict=True)
    *slow, fast = interleaved(steps, SECONDS, changed=[x for several in arrays for x in several])
    return [ratio(samples, fast) for samples in slow]


def cells(name, how=None, dtype=np.float32):
    """A cell for each size: times plain / times careful, and the places where fastopt loses in bold."""
    for n in SIZES:
        yield " / ".join(f"**{x:.2f}**" if x < 1 else f"{x:.1f}" for x in speedups(name, n, how, dtype))


def speedup_tables():
    """Rules and backends against NumPy and the memory's limit."""
    sizes = [f"{n:,}" for n in SIZES]
    rules = []
    for name in VARIANTS:
        rules.append([name, *cells(name), *(f"{share:.2f}" for share in limits.rules(name).values())])
        print(rules[-1], flush=True)
    backends = []
    for dtype in ("float32", "float64"):
        for how in fastopt.backends():
            backends.append([f"Adam, {dtype}, `{how}`", *cells("Adam", how, np.dtype(dtype))])
            print(backends[-1], flush=True)
    stages = " and ".join(f"{limits.stages(np.dtype(dtype)):.2f} in {dtype}" for dtype in limits.DTYPES)
    return (
        "Each cell: times faster than the plain NumPy expression / than the careful one. Bold is slower.\n\n"
        + peers.markdown(["float32, elements", *sizes, "of limit, float32", "float64"], rules)
        + "\n"
        + peers.markdown(["backends, elements", *sizes], backends)
        + f"\nClipping by norm, decoupled decay, Adam, averaging and zeroing together take, on 16 million elements and "
        f"in times of a streaming loop that reads the gradient and then reads and writes everything, {stages}. "
        f"Subnormal averages make a step in cache {limits.subnormals(False):.1f} times slower, and with "
        f"`flush_subnormals` {limits.subnormals(True):.1f}.\n"
    )


def peer_tables(results):
    """The other libraries, for each number of threads."""
    return "\n".join(f"Threads: {threads}.\n\n{peers.table(rows)}" for threads, rows in results.items())


def figures(results):
    """Some of them, with the most threads: fastopt's time, and how many times as long others take."""
    rows = list(results.values())[-1]
    lines = []
    for case, title in SHOWN_CASES.items():
        microseconds = rows[case]["fastopt"]["seconds"] * 1e6
        mine = f"{microseconds:,.0f} µs" if microseconds >= 100 else f"{microseconds:.2g} µs"
        ratios = [rows[case][name]["ratio"] for name in SHOWN_PEERS]
        lines.append([title, mine, *(f"{x:.0f}×" if x >= 10 else f"{x:.2f}×" for x in ratios)])
    return peers.markdown(["one step of Adam, float32", "fastopt", *SHOWN_PEERS], lines)


def replace(page, name, text):
    """Put a text between a page's marks of this name."""
    old = page.read_text(encoding="utf-8")
    begin, end = BEGIN.format(name), END.format(name)
    start = old.index(begin) + len(begin)
    page.write_text(old[:start] + text + old[old.index(end, start) :], encoding="utf-8")


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}; they are in the extra [peers]")
    results = peers.measure_all(DOCS)  # with the picture and the JSON in docs/
    replace(PAGE, "peers", peer_tables(results))
    replace(PAGE, "speedups", speedup_tables())
    replace(PAGE, "machine", machine())
    replace(README, "figures", f"{figures(results)}\n{machine()}")
    run(["demo", "--output", str(DOCS / "demo.png")])


if __name__ == "__main__":
    main()
