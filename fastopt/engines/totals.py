"""What all steps of an optimizer have counted and measured."""

from typing import Any

import numpy as np

from fastopt.at_once import Assignment, copying


class Totals:
    """What outlives an optimizer's engines: they read and write it in place.

    Parameters
    ----------
    updates : int
        How many updates there were.
    calls : int
        How many calls of `step` there were since the last update.
    skipped_steps : int
        How many calls of `step` were skipped.
    norm : float
        The norm of the gradients in the last update; -1 before one was measured.
    """

    def __init__(self, updates: int = 0, calls: int = 0, skipped_steps: int = 0, norm: float = -1.0) -> None:
        # The compiled engine has the same as a struct.
        self.array = np.array([updates, calls, skipped_steps, 0], dtype=np.int64)
        self.array[3:].view(np.float64)[0] = norm

    @property
    def updates(self) -> int:
        return int(self.array[0])

    @property
    def calls(self) -> int:
        return int(self.array[1])

    @property
    def skipped_steps(self) -> int:
        return int(self.array[2])

    @property
    def norm(self) -> float:
        return float(self.array[3:].view(np.float64)[0])

    def becoming(self, other: "Totals") -> Assignment:
        """The assignment that makes them equal to others."""
        return copying(self.array, other.array)

    def changed(self, **changes: Any) -> "Totals":
        """These with some of them changed."""
        return Totals(**{**self.as_dict(), **changes})

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("updates", "calls", "skipped_steps", "norm")}
