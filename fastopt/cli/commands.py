"""The command line: what is here, how fast it is, and what it does. It needs nothing but NumPy; the demo needs more."""

import io
import json
import os
import platform
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence

import numpy as np

import fastopt
from fastopt.cli import timing
from fastopt.cli.arguments import Parser, duration, picture_name, rule, whole
from fastopt.engines import choice
from fastopt.rules import VARIANTS

SIZES = (100, 10_000, 1_000_000, 16_000_000)
# Tables fit into 60 columns, and so into every terminal.
BENCH = """\
One step, {dtype}, {backend}, {machine}, threads: {threads}
limit: share of the speed of a loop that only moves memory
NumPy: how many times as fast as the rule in plain NumPy"""
DEMO = """\
Handwritten digits, {backend}, epochs: {epochs}
test:  accuracy on images that were not trained with
NumPy: how many times as fast a step is as in plain NumPy
bits:  whether the NumPy reference trained the same weights
"""


def info(given: Namespace) -> None:
    backends = [f"{name} (default)" if name == choice.DEFAULT else name for name in fastopt.backends()]
    features = ", ".join(choice.features()) or "none beyond the baseline"
    rows = {
        "fastopt": fastopt.__version__,
        "Python, NumPy": f"{platform.python_version()}, {np.__version__}",
        "system": f"{platform.system()} {platform.machine()}",
        "backends": ", ".join(backends),
        "processor features": features if choice.COMPILED else "unknown, as nothing is compiled",
        "threads": f"up to {fastopt.get_num_threads()} for a step, of {os.cpu_count()}",
    }
    for name, value in rows.items():
        print(f"{name:<20}{value}")


def bench(given: Namespace) -> None:
    try:
        backend = choice.get_backend(given.backend).name
    except ValueError as error:
        sys.exit(f"fastopt bench: {error}")
    what = {"dtype": given.dtype, "backend": backend, "threads": given.threads}
    if not given.json:
        print(BENCH.format(machine=platform.machine(), **what))
    with fastopt.num_threads(given.threads):
        for n in given.sizes or SIZES:
            if not given.json:
                print(f"\n{f'{n:,} elements':<27}{'µs':>11}{'GB/s':>7}{'limit':>7}{'NumPy':>8}", flush=True)
            for name in given.rules or VARIANTS:
                try:
                    row = timing.compare(name, n, np.dtype(given.dtype), backend, given.seconds)
                except MemoryError:
                    sys.exit(f"fastopt bench: there is not enough memory for {n:,} elements; choose a smaller --size")
                shown = json.dumps({"rule": name, "elements": n, **what, **row}) if given.json else line(name, row)
                print(shown, flush=True)


def line(name: str, row: timing.Measured) -> str:
    """A row of the table."""
    limit = "-" if row["of_limit"] is None else f"{row['of_limit']:.2f}"
    speed = f"{row['seconds'] * 1e6:>11,.2f}{row['bandwidth'] / 1e9:>7.1f}"
    return f"{name:<27}{speed}{limit:>7}{row['speedup']:>8.1f}"


def demo(given: Namespace) -> None:
    try:
        from fastopt.cli import demo as training
        from fastopt.cli import picture
    except ModuleNotFoundError as error:
        sys.exit(f"fastopt demo: it needs {error.name}, which is not installed: pip install 'fastopt[cli]'")
    try:
        picture.check(given.output)
    except OSError as error:
        sys.exit(f"fastopt demo: --output: {given.output} cannot be written ({error.strerror}); name another file")
    print(DEMO.format(backend=choice.DEFAULT, epochs=given.epochs))
    if choice.DEFAULT == "numpy":
        print("The backend is numpy: the reference is compared with itself.\n")
    print(f"{'rule':<27}{'loss':>8}{'test':>7}{'µs':>6}{'NumPy':>7}{'bits':>5}", flush=True)
    rows: list[training.Comparison] = []
    for row in training.compare(given.epochs):
        rows.append(row)
        figures = f"{row.losses[-1]:>8.4f}{row.accuracy:>7.1%}{row.seconds * 1e6:>6.1f}{row.speedup:>7.1f}"
        print(f"{row.name:<27}{figures}{'yes' if row.identical else 'NO':>5}", flush=True)
    picture.draw(rows, given.output)
    print(f"\nPicture: {given.output}")
    if not all(row.identical for row in rows):
        sys.exit(
            "fastopt demo: the trained weights differ. Unless matrix products differ from run to run on this machine, "
            "this is a defect of fastopt."
        )


def new_parser() -> Parser:
    parser = Parser("fastopt", description="Optimizer steps for NumPy arrays.")
    parser.add_argument("--version", action="version", version=f"fastopt {fastopt.__version__}")

    def without_command(given: Namespace) -> None:
        parser.print_help()

    parser.set_defaults(run=without_command, parser=parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(run: Callable[[Namespace], None], title: str, more: str = "") -> ArgumentParser:
        new = commands.add_parser(run.__name__, help=title, description=f"{title[0].upper()}{title[1:]}.{more}")
        new.set_defaults(run=run, parser=new)
        return new

    command(info, "show the version, the backends and the processor's features")

    timed = command(
        bench,
        "time a step of each rule",
        " It is compared with the same rule in plain NumPy, and with a loop that only moves as much memory.",
    )
    add = timed.add_argument
    sizes, rules = " ".join(map(str, SIZES)), "; ".join(f'"{name}"' if " " in name else name for name in VARIANTS)
    add("--size", dest="sizes", type=whole, action="append", metavar="N", help=f"repeatable; default: {sizes}")
    add("--rule", dest="rules", type=rule, action="append", metavar="RULE", help=f"repeatable; default: {rules}")
    add("--dtype", choices=("float32", "float64"), default="float32", help="default: %(default)s")
    add("--backend", choices=choice.NAMES, help=f"default: {choice.DEFAULT}")
    add("--threads", type=whole, default=fastopt.get_num_threads(), metavar="N", help="default: %(default)s")
    add("--seconds", type=duration, default=0.5, metavar="S", help="for each row; default: %(default)s")
    add(
        "--json",
        action="store_true",
        help="JSON Lines to standard output: each row one object, with seconds for a step, numpy_seconds for one in "
        "plain NumPy and the speedup over it, bandwidth in bytes per second, and of_limit (null for numpy)",
    )

    shown = command(
        demo,
        "train a network on handwritten digits with every rule",
        " It is trained by the NumPy reference and by the best backend, or the one that FASTOPT_BACKEND names. Fails "
        "unless the trained weights are the same to the last bit.",
    )
    add = shown.add_argument
    add("--epochs", type=whole, default=20, metavar="N", help="default: %(default)s")
    add(
        "--output",
        type=picture_name,
        default="fastopt-demo.png",
        metavar="FILE",
        help="the picture: .png, .svg or .pdf; default: %(default)s",
    )
    return parser


def run(arguments: Sequence[str] | None = None) -> None:
    """Run a command; by default the one that the process was given."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not all encodings have a µ
    given, others = new_parser().parse_known_args(arguments)
    if others:
        given.parser.refuse(others[0])
    given.run(given)
