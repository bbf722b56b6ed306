from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from fastopt.arrays.layout import Array

class BusyLock:
    def locked(self) -> bool: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

class Undoing(AbstractContextManager[None]):
    def __init__(self, busy: BusyLock, do: Callable[[list[Any]], object], check: Callable[[], object]) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

def in_place(array: Array, view: Array) -> bool: ...
