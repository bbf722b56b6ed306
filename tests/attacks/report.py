"""What attacks have in common: their command line, how what is left is judged, and the table."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from calls import CALLS, prepared, seen

import fastopt


@cache
def references(name: str, kind: str, backend: str, large: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is seen before a call, and after one that nothing disturbed."""
    call = CALLS[name]
    after = prepared(call, kind, backend, large)
    call.act(after)
    return seen(prepared(call, kind, backend, large)), seen(after)


def differences(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """In what two views differ: a few examples."""
    labels = [label for label in {**expected, **found} if found.get(label) != expected.get(label)]
    shown = [f"{x} ({found[x]})" if isinstance(found.get(x), str) else x for x in labels[:3]]
    return ", ".join(shown) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")


def judged(found: dict[str, Any], before: dict[str, Any], after: dict[str, Any], raised: bool) -> tuple[str, str]:
    """Whether what was found is whole, undone or torn, and what is torn."""
    if found == after:
        return "whole", ""
    if not raised:
        return "torn", f"it returned, but not as after: {differences(found, after)}"
    if found == before:
        return "undone", ""
    return "torn", f"not as before: {differences(found, before)}; not as after: {differences(found, after)}"


def named(error: Exception, expected: type[Exception]) -> str:
    """What was raised, with its message if it is not what was meant to be raised."""
    return expected.__name__ if isinstance(error, expected) else f"{type(error).__name__}: {error}"


@dataclass
class Row:
    """What became of all tries of one call."""

    call: str
    backend: str
    way: str
    tries: int = 0
    raised: int = 0
    whole: int = 0  # of those that raised
    odd: int = 0  # raised another error than was meant
    torn: int = 0
    died: int = 0  # the process, most often in one of NumPy's functions
    examples: list[str] = field(default_factory=list)

    def add(self, where: str, error: str, expected: str, verdict: tuple[str, str]) -> None:
        """Count a try: what it raised, if anything, and the name of what was meant to be raised."""
        kind, what = verdict
        self.tries += 1
        self.raised += bool(error)
        self.whole += bool(error) and kind == "whole"
        self.odd += bool(error) and error != expected
        self.torn += kind == "torn"
        self.died += kind == "died"
        if kind in ("torn", "died"):
            self.examples.append(f"{where}: {error or 'no error'}: {what}")
        elif error and error != expected:
            self.examples.append(f"{where}: it raised {error}")


HEADER = (
    f"{'call':18}{'backend':10}{'by':8}{'tries':>7}{'raised':>8}{'whole':>7}{'odd':>5}{'torn':>6}{'died':>6}  the first"
)


def line(row: Row) -> str:
    first = row.examples[0] if row.examples else ""
    counts = f"{row.tries:7}{row.raised:8}{row.whole:7}{row.odd:5}{row.torn:6}{row.died:6}"
    return f"{row.call:18}{row.backend:10}{row.way:8}{counts}  {first}"


def main(description: str, ways: list[str], attack: Callable[..., Row], tries: int | None) -> int:
    """Run an attack as the command line says. 1 if anything was torn or died."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--calls", default=",".join(CALLS), help="names, with commas")
    parser.add_argument("--backends", default=",".join(fastopt.backends()), help="names, with commas")
    parser.add_argument("--ways", default=",".join(ways), help="names, with commas")
    parser.add_argument("--tries", type=int, default=tries, help="of each call; by default %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="print all that was found, not only the first of each call")
    given = parser.parse_args()
    print(f"seed {given.seed}\n{HEADER}", flush=True)
    bad = 0
    for name in given.calls.split(","):
        for backend in given.backends.split(","):
            for way in given.ways.split(","):
                row = attack(name, backend, way, given.tries, given.seed)
                bad += row.torn + row.died
                print(line(row), flush=True)
                for example in row.examples[1:] if given.all else ():
                    print(f"    {example}", flush=True)
    return int(bad > 0)
