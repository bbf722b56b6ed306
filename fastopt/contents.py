"""What an optimizer holds, and what can be read of it."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from fastopt.arrays.nesting import Branch, rebuilt
from fastopt.arrays.parameter import Parameter, StateMemory
from fastopt.at_once import Assignment
from fastopt.engines.busy import BusyLock
from fastopt.engines.totals import Totals
from fastopt.groups import ParamGroup, States
from fastopt.stages import EMA, Stages


class Contents:
    """An optimizer's groups, state, counts and averages."""

    if TYPE_CHECKING:

        def _of_the_optimizer(self) -> None:
            # Declared within a function, because editors would take annotations of the class for options.
            self._built: dict[str, Any]
            self._busy: BusyLock
            self._defaults: dict[str, Any]
            self._engines: list[Any]
            self._forced: str | None
            self._totals: Totals
            self.ema_decay: Any

        def _start_empty(
            self, backend: str | None, stages: Stages, state_memory: StateMemory | None = None
        ) -> None: ...
        def _extend(self, dicts: Iterable[dict[str, Any]], nesting: Branch | None = None) -> None: ...
        def _becoming_stages(self, stages: Stages) -> Iterator[Assignment]: ...

    # What is replaced as a whole stands in a dict: assignments to attributes are no calls in C, and attributes would be
    # slower once somebody had asked for the dict that they are in.

    @property
    def _parameters(self) -> list[Parameter]:
        return cast(list[Parameter], self._built["parameters"])

    @property
    def _tree(self) -> Branch | None:
        return cast("Branch | None", self._built["tree"])

    @property
    def _groups(self) -> list[ParamGroup]:
        return cast(list[ParamGroup], self._built["groups"])

    @property
    def _state(self) -> States:
        return cast(States, self._built["state"])

    @property
    def _stages(self) -> Stages:
        return cast(Stages, self._built["stages"])

    @property
    def _engine(self) -> Any:
        return self._engines[0]

    @property
    def grad_norm(self) -> float | None:
        """The norm of the gradients in the last update, before clipping: measured, or given to `step`.

        None without either, before the first update and after loading.
        """
        norm = self._totals.norm
        return None if norm == -1 else norm

    @property
    def updates(self) -> int:
        """How many updates there were: what functions for options are called with at the next one."""
        return self._totals.updates

    @property
    def current_lr(self) -> float:
        """The learning rate of the next update: `lr` itself, or what its function returns for `updates`.

        Where the groups differ in it, ``opt.param_groups[0].current_lr`` is that of one; here it raises ValueError.
        """
        first, *others = [group.current_lr for group in self._groups]
        if any(other != first for other in others):
            raise ValueError("current_lr: the groups differ in it; look at each, as in opt.param_groups[0].current_lr")
        return first

    @property
    def skipped_steps(self) -> int:
        """How many calls of `step` were skipped, with ``nonfinite="skip"``."""
        return self._totals.skipped_steps

    @property
    def param_groups(self) -> tuple[ParamGroup, ...]:
        """The parameter groups as mappings, live: setting an option of a group acts at the next step."""
        return tuple(self._groups)

    @property
    def state(self) -> States:
        """For each parameter, by its index or name, its counts, the numbers that it carries and its state arrays.

        They have PyTorch's names.
        """
        return self._state

    @property
    def ema(self) -> Any:
        """The averages of the parameters: the state arrays themselves, nested as the parameters are.

        Those of parameters without names, which are one array or a flat sequence, are a tuple.
        """
        self._check_ema("ema")
        arrays = [parameter.state(EMA) for parameter in self._parameters]
        return tuple(arrays) if self._parameters[0].name is None else rebuilt(self._built["tree"], arrays)

    def _check_ema(self, what: str) -> None:
        if self.ema_decay is None:
            raise AttributeError(
                f"{what}: the parameters are not averaged; make the optimizer with `ema_decay=0.999`, or another"
            )
