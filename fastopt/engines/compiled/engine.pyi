from contextlib import AbstractContextManager
from types import ModuleType, TracebackType

import numpy as np
from numpy.typing import NDArray

from fastopt.arrays.addresses import AddressMap
from fastopt.arrays.forms import Gradients
from fastopt.arrays.parameter import Parameter
from fastopt.rule import KernelCall
from fastopt.stages import Stages

CHUNK: int
LIMITS: dict[str, int]

def set_num_threads(n: int) -> None: ...

class BusyLock:
    def locked(self) -> bool: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

class Engine:
    new_busy_lock = BusyLock
    norm: float
    updates: int
    calls: int
    skipped_steps: int

    def __init__(
        self,
        busy: BusyLock,
        kernels: ModuleType,
        parameters: list[Parameter],
        addresses: AddressMap,
        counts: NDArray[np.int64],
        kernel_calls: list[KernelCall],
        stages: Stages,
    ) -> None: ...
    def retire(self) -> None: ...
    def set_kernel_call(self, index: int, call: KernelCall) -> None: ...
    def set_stages(self, stages: Stages) -> None: ...
    def step(self, grads: Gradients) -> None: ...
    def bind(self, grads: Gradients) -> None: ...
    def swapped(self) -> AbstractContextManager[None]: ...
