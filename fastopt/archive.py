"""One file of arrays and a JSON text: written whole or not at all, and refused if a single byte of it is wrong.

It is a zip file as NumPy's, so that `numpy.load` opens it too, with a hash as the archive's comment: the SHA-256 of the
SHA-256s of all that comes before it, in pieces of 8 MiB. In pieces, because several threads can hash those at once.
"""

import _thread
import errno
import hashlib
import json
import math
import os
import struct
from collections import deque
from collections.abc import Iterable, Mapping
from tokenize import TokenError
from types import TracebackType
from typing import Any, BinaryIO, Literal, NamedTuple, cast
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from fastopt.arrays.layout import Array, flat
from fastopt.replacing import check_regular, replacing

_HEADER = "fastopt.json"
_MARK = b"fastopt, sha256 of 8 MiB pieces: "
_COMMENT = len(_MARK) + 64
_PIECE = 8 << 20
_PATIENCE = 5.0  # seconds to wait for the hash of a piece, which takes some milliseconds
_LOCAL, _LENGTHS = 30, 26  # the size of what stands before a member, and where it says how long its name is


# What wrong bytes and a wrong header lead to; not memory that has run out, nor what a signal raises.
ASTRAY = (
    *(ArithmeticError, AttributeError, BadZipFile, EOFError, LookupError, RecursionError, NotImplementedError),
    *(SyntaxError, TokenError, TypeError, ValueError, struct.error),
)


class Damaged(ValueError):
    """A file is not as it was written."""


class Stored(NamedTuple):
    """Where an array lies in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: Literal["C", "F"]
    start: int
    stop: int

    def like(self) -> Array:
        """An array of this shape and type that takes no memory."""
        return np.broadcast_to(np.zeros((), self.dtype.newbyteorder("=")), self.shape)

    def flat(self, content: Array, order: Literal["C", "F"]) -> Array:
        """The array in the bytes of the file, flat, with its elements in this order."""
        stored = content[self.start : self.stop].view(self.dtype)
        if order == self.order and self.dtype.isnative:
            return stored
        return flat(np.array(stored.reshape(self.shape, order=self.order), self.dtype.newbyteorder("="), order=order))


def write(path: str, header: Mapping[str, Any], arrays: Iterable[tuple[str, Array]], threads: int) -> None:
    """Write a file, or replace one: a reader finds the old file or the new one, even after a crash.

    Parameters
    ----------
    path : str
    header : mapping
        What JSON can hold.
    arrays : iterable of (str, ndarray)
        Contiguous arrays of float32 or float64, by their names in the file.
    threads : int
        How many threads may hash.
    """
    text = json.dumps(header).encode()
    with replacing(path) as file:
        sums = _PieceHashes(threads)
        hashing = _HashingFile(file, sums)
        archive = ZipFile(cast(BinaryIO, hashing), "w")
        try:
            archive.comment = bytes(_COMMENT)
            archive.writestr(ZipInfo(_HEADER), text)
            for name, array in arrays:
                _write_member(archive, name, array)
            archive.close()
        except BaseException:
            archive.fp = None  # or it would raise another error for the member that was begun
            raise
        hashing.end()
        file.seek(-_COMMENT, os.SEEK_END)
        file.write(_MARK + sums.digest())


def _write_member(archive: ZipFile, name: str, array: Array) -> None:
    member = archive.open(ZipInfo(f"{name}.npy"), "w", force_zip64=True)
    npy.write_array_header_1_0(member, npy.header_data_from_array_1_0(array))
    data = flat(array).view(np.uint8)
    for start in range(0, len(data), _PIECE):
        # A copy, so that all sums are of the same bytes, whoever writes to the array meanwhile.
        member.write(data[start : start + _PIECE].copy().data)
    member.close()


class Reader:
    """A file opened for reading: its header, and where its arrays lie. `read` checks all of it.

    Parameters
    ----------
    path : str
    threads : int
        How many threads may hash.

    Raises
    ------
    Damaged
        It is not as it was written, or was not written by `write`.
    OSError
        It cannot be opened.

    Attributes
    ----------
    header : dict
        Trust this, and `arrays`, only after `read` or `check` has returned.
    arrays : dict of str to Stored
    """

    header: dict[str, Any]
    arrays: dict[str, Stored]

    def __init__(self, path: str, threads: int) -> None:
        check_regular(path)
        self._path = path
        self._threads = threads
        self._file = open(path, "rb")  # noqa: SIM115 - closed by `with`
        try:
            self._status = os.fstat(self._file.fileno())
            self._read_directory()
        except BaseException as error:
            with self:
                misplaced = isinstance(error, OSError) and error.errno == errno.EINVAL
                if not misplaced and not isinstance(error, ASTRAY):
                    raise
                self.check()  # most often a wrong byte has led to it
                raise ValueError(f"{path}: it is no checkpoint of fastopt: {error!r}") from error

    def _damaged(self) -> Damaged:
        return Damaged(f"{self._path}: it is damaged, or was not written by `save`; nothing was loaded")

    def _read_directory(self) -> None:
        with ZipFile(self._file) as archive:
            if archive.comment[: len(_MARK)] != _MARK or len(archive.comment) != _COMMENT:
                raise self._damaged()
            self.arrays = {}
            for info in archive.infolist():
                if info.compress_type != ZIP_STORED or not info.file_size == info.compress_size < self._status.st_size:
                    raise self._damaged()
                if info.filename != _HEADER:
                    with archive.open(info) as member:
                        self.arrays[info.filename.removesuffix(".npy")] = self._located(info, member)
            held = sum(info.file_size for info in archive.infolist())
            if self._status.st_size > held + 1024 * (len(archive.infolist()) + 1):
                raise self._damaged()  # there is something else in it, which may be large
            self.header = json.loads(archive.read(_HEADER))

    def _located(self, info: ZipInfo, member: Any) -> Stored:
        """Where the data of an array begin and end, behind two headers."""
        if npy.read_magic(member) != (1, 0):
            raise self._damaged()
        shape, fortran_order, dtype = npy.read_array_header_1_0(member)
        position = self._file.tell()
        self._file.seek(info.header_offset + _LENGTHS)
        start = info.header_offset + _LOCAL + sum(struct.unpack("<HH", self._file.read(4))) + member.tell()
        self._file.seek(position)
        stop = start + info.file_size - member.tell()
        if dtype.kind != "f" or stop - start != math.prod(shape) * dtype.itemsize:
            raise self._damaged()
        return Stored(shape, dtype, "F" if fortran_order else "C", start, stop)

    def check(self) -> None:
        """Raise Damaged if a byte is wrong."""
        self._check(np.empty(_PIECE, dtype=np.uint8) for _ in self._starts())

    def read(self) -> Array:
        """All bytes of the file, checked."""
        content = np.empty(self._status.st_size, dtype=np.uint8)
        self._check(content[start : start + _PIECE] for start in self._starts())
        return content

    def _starts(self) -> range:
        return range(0, self._status.st_size, _PIECE)

    def _check(self, pieces: Iterable[Array]) -> None:
        """Read the file into pieces of memory, and raise Damaged if a byte is wrong."""
        self._file.seek(0)
        left = self._status.st_size - _COMMENT  # to be hashed
        end = b""
        sums = _PieceHashes(self._threads)
        for piece in pieces:
            size = self._file.readinto(piece.data)
            data = piece.data[:size]
            if left > 0:
                sums.add([data[:left]])
            end = (end + bytes(data[-_COMMENT:]))[-_COMMENT:]
            left -= size
        now = os.fstat(self._file.fileno())
        # Not the time of its status, which a file that takes its place changes too.
        unchanged = (now.st_size, now.st_mtime_ns) == (self._status.st_size, self._status.st_mtime_ns)
        if not unchanged or end != _MARK + sums.digest():
            raise self._damaged()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


class _PieceHashes:
    """The hash of the hashes of pieces, which threads compute where that is allowed."""

    def __init__(self, threads: int) -> None:
        self._threads = min(threads, 4)
        self._pending: deque[_PieceHash] = deque()
        self._total = hashlib.sha256()

    def add(self, slices: list[memoryview]) -> None:
        """Hash one more piece, which comes in slices."""
        self._pending.append(_PieceHash(slices, self._threads > 1))
        self._take(self._threads)

    def _take(self, left: int) -> None:
        """Take over the oldest hashes, until no more than so many are left."""
        while len(self._pending) > left:
            self._total.update(self._pending[0].result())
            self._pending.popleft()

    def digest(self) -> bytes:
        """The hash of all, in hexadecimal digits."""
        self._take(0)
        return self._total.hexdigest().encode()


class _PieceHash:
    """A piece that is being hashed, in a thread of its own if it may and can.

    By `_thread`, because an interrupt within `threading.Thread.start` can leave a thread that waits for ever, and then
    Python does not end.
    """

    def __init__(self, slices: list[memoryview], threaded: bool) -> None:
        self._slices = slices
        self._result = b""
        self._running = _thread.allocate_lock()
        if threaded:
            self._running.acquire()
            try:
                _thread.start_new_thread(self._run, ())
            except RuntimeError:  # there can be none, as when Python ends
                self._running.release()

    def _run(self) -> None:
        try:
            self._result = _hash(self._slices)
        finally:
            self._running.release()

    def result(self) -> bytes:
        # A thread that could not even begin, because memory ran out, does not come back.
        self._running.acquire(timeout=_PATIENCE)
        return self._result or _hash(self._slices)


def _hash(slices: Iterable[memoryview]) -> bytes:
    total = hashlib.sha256()
    for one in slices:
        total.update(one)
    return total.digest()


class _HashingFile:
    """A file that hashes what is written to it, except its last bytes, the comment of the zip file."""

    def __init__(self, file: BinaryIO, sums: _PieceHashes) -> None:
        self._file = file
        self._sums = sums
        self._slices: deque[memoryview] = deque()  # that are not hashed yet
        self._size = 0  # of them together

    def write(self, data: bytes | memoryview) -> int:
        self._file.write(data)
        self._slices.append(memoryview(data))
        self._size += len(data)
        while self._size >= _PIECE + _COMMENT:
            self._add(_PIECE)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def end(self) -> None:
        """Hash what is left, when all is written."""
        if self._size > _COMMENT:
            self._add(self._size - _COMMENT)

    def _add(self, size: int) -> None:
        """Have so many bytes hashed as one piece."""
        piece: list[memoryview] = []
        self._size -= size
        while size:
            part = self._slices.popleft()
            piece.append(part[:size])
            if len(part) > size:
                self._slices.appendleft(part[size:])
            size -= len(piece[-1])
        self._sums.add(piece)
