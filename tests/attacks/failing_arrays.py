"""NumPy's memory for arrays, some of whose allocations fail; `_testcapi.set_nomemory` does not see them."""

import contextlib
import ctypes
from collections.abc import Iterator

try:
    from numpy._core._multiarray_umath import _ARRAY_API
except ImportError:  # NumPy 1
    from numpy.core._multiarray_umath import _ARRAY_API

from fastopt import quiet

_SET_HANDLER = 304  # PyDataMem_SetHandler's place in NumPy's table of functions

_pointer, _size = ctypes.c_void_p, ctypes.c_size_t
# With the GIL held, as NumPy calls them.
_MALLOC = ctypes.PYFUNCTYPE(_pointer, _pointer, _size)
_CALLOC = ctypes.PYFUNCTYPE(_pointer, _pointer, _size, _size)
_REALLOC = ctypes.PYFUNCTYPE(_pointer, _pointer, _pointer, _size)


class _Handler(ctypes.Structure):
    """PyDataMem_Handler."""

    _fields_ = [
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", _pointer),
        ("malloc", _MALLOC),
        ("calloc", _CALLOC),
        ("realloc", _REALLOC),
        ("free", _pointer),
    ]


_python = ctypes.pythonapi
_python.PyCapsule_GetPointer.restype = _pointer
_python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_python.PyCapsule_New.restype = ctypes.py_object
_python.PyCapsule_New.argtypes = [_pointer, _pointer, _pointer]
_table = ctypes.cast(_python.PyCapsule_GetPointer(_ARRAY_API, None), ctypes.POINTER(_pointer))
_set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(_table[_SET_HANDLER])

_default_capsule = _set_handler(ctypes.py_object())  # NULL, which sets the default, and returns what was set
_default = _Handler.from_address(_python.PyCapsule_GetPointer(_default_capsule, b"mem_handler"))
_failing, _seen = range(0), 0


def _unless_failing(function, kind):
    def allocate(*arguments):
        global _seen
        _seen += 1
        return None if _seen - 1 in _failing else function(*arguments)

    return kind(allocate)


# What frees is NumPy's own: it is called while exceptions are on their way, when no Python may run.
_handler = _Handler(
    b"failing",
    1,
    _default.context,
    _unless_failing(_default.malloc, _MALLOC),
    _unless_failing(_default.calloc, _CALLOC),
    _unless_failing(_default.realloc, _REALLOC),
    _default.free,
)
_name = ctypes.create_string_buffer(b"mem_handler")
_capsule = _python.PyCapsule_New(ctypes.addressof(_handler), ctypes.addressof(_name), None)


@contextlib.contextmanager
def failing_arrays(start: int, stop: int) -> Iterator[None]:
    """Within ``with``, the allocations of arrays from one number to another fail."""
    global _failing, _seen
    _set_handler(_capsule)
    quiet._quiet.run(_set_handler, _capsule)  # a context of its own has a handler of its own
    _failing, _seen = range(start, stop), 0
    try:
        yield
    finally:
        _failing = range(0)
        _set_handler(_default_capsule)
        quiet._quiet.run(_set_handler, _default_capsule)
