"""The command line: what is here, how fast it is, and what it does."""

import os
import platform
import sys

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import fastopt
from fastopt.cli import timing
from fastopt.engines import choice
from fastopt.rules import VARIANTS

CAPTION = (
    "of limit: speed as a share of a plain streaming loop with the same traffic; "
    "reference: the numpy backend, which is made for reading and slower than plain NumPy"
)

console = Console()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(fastopt.__version__)
def cli() -> None:
    """Fused optimizer steps for NumPy arrays."""


@cli.command()
def info() -> None:
    """Show the version, the backends and the processor's features."""
    table = Table(show_header=False, box=None)
    chosen = " ".join(f"[bold]{name} (default)[/]" if name == choice.DEFAULT else name for name in fastopt.backends())
    table.add_row("fastopt", fastopt.__version__)
    table.add_row("Python, NumPy", f"{platform.python_version()}, {np.__version__}")
    table.add_row("system", f"{platform.system()} {platform.machine()}")
    table.add_row("backends", chosen)
    features = " ".join(choice.features()) or "none beyond the baseline"
    table.add_row("processor features", features if choice.COMPILED else "unknown, as nothing is compiled")
    table.add_row("threads", f"up to {fastopt.get_num_threads()} for a step, of {os.cpu_count()}")
    console.print(table)


@cli.command()
@click.option("--size", "sizes", type=click.IntRange(min=1), multiple=True, help="Elements; may be given repeatedly.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
@click.option("--backend", "name", type=click.Choice(choice.NAMES), help="Default: the one that fastopt chooses.")
@click.option("--seconds", type=click.FloatRange(min=0), default=0.5, show_default=True, help="For each row.")
def bench(sizes: tuple[int, ...], dtype: str, name: str | None, seconds: float) -> None:
    """Time each rule's step against the NumPy reference and against the machine's memory limit."""
    sizes = sizes or (100, 10_000, 1_000_000, 16_000_000)
    try:
        used = choice.get_backend(name).name
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    title = f"One step, {dtype}, {used}, {platform.machine()}"
    table = Table(title=title, caption=CAPTION)
    table.add_column("rule")
    for column in ("elements", "µs", "GB/s", "of limit", "x reference"):
        table.add_column(column, justify="right")
    with progress() as bar:
        task = bar.add_task("", total=len(sizes) * len(VARIANTS))
        for size in sizes:
            for rule in VARIANTS:
                bar.update(task, description=f"{rule}, {size:,}")
                row = timing.compare(rule, size, np.dtype(dtype), name, seconds)
                limit = "-" if row["of_limit"] is None else f"{row['of_limit']:.2f}"
                table.add_row(
                    rule,
                    f"{size:,}",
                    f"{row['seconds'] * 1e6:,.2f}",
                    f"{row['bandwidth'] / 1e9:.1f}",
                    limit,
                    f"{row['speedup']:.1f}",
                    end_section=rule == list(VARIANTS)[-1],
                )
                bar.advance(task)
    console.print(table)


@cli.command()
@click.option("--epochs", type=click.IntRange(min=1), default=20, show_default=True)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True),
    default="fastopt-demo.png",
    show_default=True,
    help="The picture.",
)
def demo(epochs: int, output: str) -> None:
    """Train a network on handwritten digits with every rule, by the NumPy reference and by the best backend.

    FASTOPT_BACKEND chooses another backend. Fails unless the trained weights are identical bit for bit.
    """
    from fastopt.cli import demo as training

    training.check_picture(output)
    used = choice.DEFAULT
    if used == "numpy":
        console.print("The backend is numpy: the reference is compared with itself.")
    table = Table(title=f"Handwritten digits, epochs: {epochs}", caption="µs: the median time of a step")
    table.add_column("rule")
    for column in ("final loss", "test accuracy", "numpy, µs", f"{used}, µs", "speedup", "same bits"):
        table.add_column(column, justify="right")
    comparisons: list[training.Comparison] = []
    with progress() as bar:
        task = bar.add_task("training", total=2 * epochs * len(VARIANTS))
        for row in training.compare(epochs, lambda: bar.advance(task)):
            comparisons.append(row)
            bar.update(task, description=row.name)
            table.add_row(
                row.name,
                f"{row.losses[-1]:.4f}",
                f"{row.accuracy:.1%}",
                f"{row.reference_seconds * 1e6:.1f}",
                f"{row.seconds * 1e6:.1f}",
                f"{row.speedup:.1f}x",
                "[green]yes[/]" if row.identical else "[bold red]NO[/]",
            )
    console.print(table)
    training.draw(comparisons, output)
    console.print(f"Picture: {output}")
    if not all(row.identical for row in comparisons):
        console.print("[bold red]The trained weights differ.[/]")
        console.print("Unless matrix products differ from run to run on this machine, this is a defect of fastopt.")
        sys.exit(1)


def progress() -> Progress:
    """A progress bar that goes away when the work is done."""
    columns = (TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)
