from types import TracebackType

CAN_FLUSH: bool

def features() -> list[str]: ...

class Flushed:
    def __enter__(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
