"""The backends: which of them run here, best first, and the choice among them."""

import os
import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

from fastopt import engine, reference
from fastopt.options import nearest

NAMES = ("avx512", "avx2", "baseline", "numpy")
COMPILED = find_spec("fastopt._core.engine") is not None


class Backend(NamedTuple):
    """An engine, and the module of the kernels that it runs by name."""

    name: str
    engine: type
    kernels: ModuleType


def features():
    """The instruction sets beyond the baseline that kernels can use here.

    Returns
    -------
    list of str
        What the processor offers and the operating system allows, of those that there are kernels for.
    """
    return import_module("fastopt._core.cpu").features() if COMPILED else []


@cache
def _available():
    found = features()
    # On processors other than x86 the wide kernels are not built.
    wide = [name for name in ("avx512", "avx2") if name in found and find_spec(f"fastopt._core.{name}")]
    return (*wide, *(["baseline"] if COMPILED else []), "numpy")


def backends():
    """The backends that run here.

    Returns
    -------
    list of str
        Best first: of ``"avx512"``, ``"avx2"``, ``"baseline"`` (compiled for every processor of this kind) and
        ``"numpy"`` (the reference), those that were built and that the processor can run.
    """
    return list(_available())


def get_backend(name=None):
    """The backend of a name, or the one chosen at import for None."""
    name = default if name is None else name
    _check("backend", name)
    if name == "numpy":
        return Backend(name, engine.Engine, reference)
    compiled_engine = import_module("fastopt._core.engine").Engine
    return Backend(name, compiled_engine, import_module(f"fastopt._core.{name}"))


def _check(what, name):
    if not isinstance(name, str):
        raise TypeError(f"{what}: expected the name of a backend, found {name!r}")
    if name not in NAMES:
        raise ValueError(f"{what}: there is no backend {name!r}{nearest(name, NAMES)}")
    if name not in _available():
        raise ValueError(f"{what}: {name!r} is not available here; there are {', '.join(_available())}")


def _choose():
    forced = os.environ.get("FASTOPT_BACKEND")
    if forced:
        _check("FASTOPT_BACKEND", forced)
        return forced
    if not COMPILED:
        warnings.warn(
            "fastopt was installed without its compiled kernels and runs on NumPy, many times slower; "
            "FASTOPT_BACKEND=numpy says that this is meant",
            RuntimeWarning,
            stacklevel=4,  # where fastopt is imported
        )
    return _available()[0]


default = _choose()
