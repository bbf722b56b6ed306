"""The stages: what surrounds a rule in a step, as options of every optimizer. Each is exact when it is off."""

from typing import NamedTuple

from fastopt import options

# The state arrays of stages, and what stands for a parameter's own values as their initial ones.
EMA, GRAD_SUM, COPY = "ema", "grad_sum", object()


class Stages(NamedTuple):
    """The options of all stages, checked, in the order in which they act, the last one throughout."""

    nonfinite: str = "propagate"
    loss_scale: float = 1.0
    accumulate: int = 1
    clip_grad_norm: float | None = None
    clip_grad_value: float | None = None
    ema_decay: float | None = None
    zero_grads: bool = False
    flush_subnormals: bool = False

    def changed(self, **changes):
        """These options with others among them, each checked."""
        return self._replace(**{name: _CHECKS[name](name, value) for name, value in changes.items()})

    @property
    def arrays(self):
        """The names and initial values of the state arrays that stages need, after those of the rule."""
        arrays = {}
        if self.ema_decay is not None:
            arrays[EMA] = COPY
        if self.accumulate > 1:
            arrays[GRAD_SUM] = 0.0
        return arrays


_CHECKS = {
    "nonfinite": options.choice("propagate", "skip", "raise"),
    "loss_scale": options.scale,
    "accumulate": options.count,
    "clip_grad_norm": options.optional(options.bound),
    "clip_grad_value": options.optional(options.bound),
    "ema_decay": options.optional(options.fraction),
    "zero_grads": options.flag,
    "flush_subnormals": options.flag,
}


class StageOption:
    """One of these options as an attribute of an optimizer."""

    def __set_name__(self, owner, name):
        self._name = name
        self.__doc__ = f"The option {name}; setting it acts at the next step."

    def __get__(self, opt, owner=None):
        return self if opt is None else getattr(opt._stages, self._name)

    def __set__(self, opt, value):
        opt._change_stage(self._name, value)
