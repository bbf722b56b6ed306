"""The stages: what surrounds a rule in a step, as options of every optimizer. Each is exact when it is off."""

from copy import copy
from dataclasses import KW_ONLY
from typing import Any, Literal

from fastopt.declared import Declared
from fastopt.options import Bound, Count, Decay, Scale

# The state arrays of stages, and what stands for a parameter's own values as their initial ones.
EMA, GRAD_SUM, COPY = "ema", "grad_sum", object()


class StageOptions(Declared):
    """The options of all stages, in the order in which they act, the last one throughout."""

    _: KW_ONLY
    nonfinite: Literal["propagate", "skip", "raise"] = "propagate"
    loss_scale: Scale = 1.0
    accumulate: Count = 1
    clip_grad_norm: Bound | None = None
    clip_grad_value: Bound | None = None
    ema_decay: Decay | None = None
    zero_grads: bool = False
    flush_subnormals: bool = False


STAGE_NAMES = tuple(StageOptions._options)


class Stages(StageOptions):
    """A value for each of them. What is not given is off."""

    def __init__(self, **given: Any) -> None:
        self.__dict__.update(self.checked(self.named((), given)))

    def changed(self, **changes: Any) -> "Stages":
        """These values with some of them changed, each checked."""
        new = copy(self)
        new.__dict__.update(self.checked(changes))
        return new

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @property
    def arrays(self) -> dict[str, object]:
        """The names and initial values of the state arrays that stages need, after those of the rule."""
        arrays: dict[str, object] = {}
        if self.ema_decay is not None:
            arrays[EMA] = COPY
        if self.accumulate > 1:
            arrays[GRAD_SUM] = 0.0
        return arrays
