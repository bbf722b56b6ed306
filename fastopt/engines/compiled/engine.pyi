from contextlib import AbstractContextManager
from types import ModuleType

from fastopt.arrays.addresses import AddressMap
from fastopt.arrays.forms import Gradients
from fastopt.arrays.layout import Array
from fastopt.arrays.nesting import Branch
from fastopt.arrays.parameter import Parameter
from fastopt.at_once import Assignment
from fastopt.engines.compiled.busy import BusyLock
from fastopt.engines.totals import Totals
from fastopt.rule import KernelCall
from fastopt.stages import Stages

CHUNK: int
LIMITS: dict[str, int]

def set_num_threads(n: int) -> None: ...
def squares(kernels: ModuleType, blocks: list[Array]) -> float: ...

class Engine:
    groups: list[object]
    stages: list[object]

    def __init__(
        self,
        busy: BusyLock,
        kernels: ModuleType,
        parameters: list[Parameter],
        tree: Branch,
        addresses: AddressMap,
        totals: Totals,
        kernel_calls: list[KernelCall],
        stages: Stages,
    ) -> None: ...
    def group(self, index: int, call: KernelCall) -> object: ...
    def staged(self, stages: Stages) -> object: ...
    def retirement(self) -> list[Assignment]: ...
    def step(self, grads: Gradients) -> None: ...
    def step_with_norm(self, grads: Gradients, grad_norm: object) -> None: ...
    def bind(self, grads: Gradients) -> None: ...
    def swapped(self) -> AbstractContextManager[None]: ...
