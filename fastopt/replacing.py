"""Replacing a file as a whole: whenever the process or the machine stops, the old file or the new one is there."""

import errno
import os
import secrets
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":  # Windows does not remove open files, so no lock is needed there
    import fcntl

_PARTIAL = ".fastopt-partial"  # the ending of unfinished files


@contextmanager
def replacing(path: str) -> Generator[BinaryIO]:
    """A new file, which takes the path's place when it is written and safe on the disk."""
    target = Path(os.path.realpath(path))
    mode = None
    if target.exists():
        check_regular(path)
        mode = target.stat().st_mode & 0o777
    _remove_leftovers(target.parent)
    with _synced(target.parent):
        file, partial = _new_partial(target.parent, path)
        try:
            with file:
                if mode is not None:
                    os.chmod(partial, mode)  # before there is anything in it
                yield file
                file.flush()
                os.fsync(file.fileno())
                if sys.platform != "win32":
                    os.replace(partial, target)  # while it is locked
            if sys.platform == "win32":
                os.replace(partial, target)  # which cannot be while it is open
        except BaseException:
            with _tolerated():
                partial.unlink()
            raise


@contextmanager
def _synced(folder: Path) -> Generator[None]:
    """At the end of ``with`` what was renamed in a folder is on the disk too, where the system can do that."""
    opened = -1
    if sys.platform != "win32":
        with _tolerated():  # a folder may be writeable and not readable
            opened = os.open(folder, os.O_RDONLY)
    try:
        yield
        with _tolerated():  # not all file systems can
            os.fsync(opened)
    finally:
        if opened != -1:
            os.close(opened)


def check_regular(path: str) -> None:
    """Raise if the path is no file with contents of its own: a folder, a device, which must stay, or a pipe."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file; name one", path)


def _new_partial(folder: Path, path: str) -> tuple[BinaryIO, Path]:
    """A new file for a path, locked as long as it is open."""
    while True:
        partial = folder / f".{secrets.token_hex(8)}{_PARTIAL}"
        try:
            file = open(partial, "xb")  # noqa: SIM115 - the caller closes it
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error  # of the kind that it was
        if sys.platform != "win32":
            with _tolerated():  # not all file systems have locks
                fcntl.flock(file, fcntl.LOCK_EX)
        if partial.exists():
            return file, partial
        file.close()  # another process took it for a leftover before it was locked


@contextmanager
def _tolerated() -> Generator[None]:
    """Suppress errors of the system; not those that a signal raises, such as a TimeoutError of the user's."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes have left that were killed while they wrote."""
    for partial in folder.glob(f".*{_PARTIAL}"):
        if not partial.is_file():
            continue
        with _tolerated():  # it belongs to a living process
            if sys.platform == "win32":
                partial.unlink()  # which fails while it is open
            else:
                with open(partial, "rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    partial.unlink()
