"""Measures the tables of README.md and writes them into it: ``python bench/readme.py``.

Each figure is the median over pairs of samples that were taken side by side, so that a busy machine slows both.
"""

import argparse
import platform
from pathlib import Path

import numpy as np
from steps import BASELINES, step_of

import fastopt
from fastopt.measure import compare, interleaved, ratio
from fastopt.rules import VARIANTS

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- speedups: made by bench/readme.py -->\n", "<!-- end of speedups -->"
SIZES = (100, 10_000, 1_000_000, 16_000_000)
SECONDS = 1.5


def processor():
    """The processor's name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def speedups(name, n, how=None, dtype=np.float32):
    """How many times faster a step is than each of the baselines."""
    *slow, fast = [step_of(name, one, n, dtype)[0] for one in (*BASELINES, how)]
    *slow, fast = interleaved([*slow, fast], SECONDS)
    return [ratio(samples, fast) for samples in slow]


def table(header, rows):
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cells(name, how=None, dtype=np.float32):
    """A cell for each size: times plain / times careful, and the places where fastopt loses in bold."""
    for n in SIZES:
        yield " / ".join(f"**{x:.2f}**" if x < 1 else f"{x:.1f}" for x in speedups(name, n, how, dtype))


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    sizes = [f"{n:,}" for n in SIZES]
    rules = []
    for name in VARIANTS:
        limit = compare(name, SIZES[-1], seconds=SECONDS)["of_limit"]
        rules.append([name, *cells(name), f"{limit:.2f}"])
        print(rules[-1], flush=True)
    backends = []
    for dtype in ("float32", "float64"):
        for how in fastopt.backends():
            backends.append([f"Adam, {dtype}, `{how}`", *cells("Adam", how, np.dtype(dtype))])
            print(backends[-1], flush=True)
    text = (
        f"{processor()}, one thread, Python {platform.python_version()}, NumPy {np.__version__}. Each cell: times "
        f"faster than the plain NumPy expression / than the careful one. Bold is slower.\n\n"
        + table(["float32, elements", *sizes, "of memory limit"], rules)
        + "\n"
        + table(["backends, elements", *sizes], backends)
    )
    readme = README.read_text(encoding="utf-8")
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}{text}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
