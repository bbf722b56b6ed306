"""What rules are measured against: loops with their reads and writes, and next to no arithmetic of their own.

They are formulas, so that their loops are made as the rules' are. `STREAMS` read the gradient, and read and write the
parameter and up to four state arrays; with `rooted` they take a root and divide once for each element, as most rules
do.
"""

from typing import Any

from fastopt.formula import absolute, sqrt, total
from fastopt.signature import Formula

_STREAM = """\
def stream{count}(d{arrays}, *, rooted: bool):
{lines}    return d / sqrt(absolute(d) + 1) if rooted else d
"""


def _stream(count: int) -> Formula:
    """The formula with this number of state arrays."""
    names = [f"x{i}" for i in range(count)]
    lines = "".join(f"    {name}[:] = {name} + d\n" for name in names)
    text = _STREAM.format(count=count, arrays="".join(f", {name}" for name in names), lines=lines)
    scope: dict[str, Any] = {"__name__": __name__, "absolute": absolute, "sqrt": sqrt}
    exec(text, scope)
    formula: Formula = scope[f"stream{count}"]
    vars(formula)["text"] = text  # for the translator, which cannot find it in a file
    return formula


STREAMS = [_stream(count) for count in range(5)]


def stream_lamb(d, p, x0, x1, *, rooted: bool):
    """The two passes of LAMB: of what only has to be read, a sum is made."""
    x0[:] = x0 + d
    x1[:] = x1 + d
    u = x0 / sqrt(absolute(x1) + 1) if rooted else x0 + x1
    nothing = 0 * (total(p) + total(u))
    return nothing * u


def stream_lars(d, p, x0):
    """Those of LARS."""
    nothing = 0 * (total(p) + total(d))
    x0[:] = x0 + d
    return nothing * x0


def stream_stages(d, x0, x1, x2, x3):
    """Those of Adam with clipping by norm, averaging and zeroing, where ``x0`` stands for the gradient.

    It is read; then it and everything else are read and written.
    """
    nothing = 0 * total(x0)
    x0[:] = x0 + nothing
    x1[:] = x1 + nothing
    x2[:] = x2 + nothing
    x3[:] = x3 + nothing
    return nothing * x0


FORMULAS: list[Formula] = [*STREAMS, stream_lamb, stream_lars, stream_stages]
