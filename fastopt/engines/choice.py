"""The backends: which of them run here, best first, and the choice among them."""

import os
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from weakref import WeakSet

from fastopt.arrays.layout import Array
from fastopt.engines import numpy
from fastopt.engines.freshness import warn_if_stale
from fastopt.engines.shared import loops_of
from fastopt.options import did_you_mean
from fastopt.rule import Rule
from fastopt.signature import key_of

NAMES = ("avx512", "avx2", "baseline", "numpy")
_ENGINE = find_spec("fastopt.engines.compiled.engine")
COMPILED = _ENGINE is not None
FORCED = os.environ.get("FASTOPT_BACKEND")
_warned: WeakSet[type[Rule]] = WeakSet()  # rules that run on NumPy because they are not compiled


class Backend(NamedTuple):
    """An engine, its sum of squares, and the module of its kernels; None for NumPy, which needs none."""

    name: str
    engine: Any
    squares: Callable[[Any, list[Array]], float]
    kernels: ModuleType | None


def features() -> list[str]:
    """The instruction sets beyond the baseline that kernels can use here.

    Returns
    -------
    list of str
        Those that the processor offers, the operating system allows and fastopt has kernels for.
    """
    return import_module("fastopt.engines.compiled.cpu").features() if COMPILED else []


@cache
def _available() -> tuple[str, ...]:
    found = features()
    # On processors other than x86 the wide kernels are not built.
    wide = [name for name in ("avx512", "avx2") if name in found and find_spec(f"fastopt.engines.compiled.{name}")]
    return (*wide, *(["baseline"] if COMPILED else []), "numpy")


def backends() -> list[str]:
    """The backends that run here.

    Returns
    -------
    list of str
        Best first: of ``"avx512"``, ``"avx2"``, ``"baseline"`` (compiled for every processor of this kind) and
        ``"numpy"`` (the reference), those that were built and that the processor can run.
    """
    return list(_available())


def get_backend(name: str | None = None) -> Backend:
    """The backend of a name, or the one chosen at import for None."""
    name = DEFAULT if name is None else name
    _check("backend", name)
    if name == "numpy":
        return Backend(name, numpy.Engine, numpy.squares, None)
    compiled = import_module("fastopt.engines.compiled.engine")
    return Backend(name, compiled.Engine, compiled.squares, import_module(f"fastopt.engines.compiled.{name}"))


def backend_for(rule: type[Rule], name: str | None) -> Backend:
    """The backend for a rule. Rules that are not compiled get NumPy's, after a warning, unless a backend is forced."""
    backend = get_backend(name)
    if backend.kernels is None or loops_of(backend.kernels, rule.formula) is not None:
        return backend
    what = f"{rule.__name__}: its formula {key_of(rule.formula)} is not compiled for the backend {backend.name!r}"
    if name is not None or FORCED:
        raise ValueError(f"{what}; call fastopt.compile({rule.__name__}) first, or use backend='numpy'")
    if rule not in _warned:
        _warned.add(rule)
        warnings.warn(
            f"{what}, so it runs on NumPy, many times slower; fastopt.compile({rule.__name__}) compiles it, and "
            f"backend='numpy' says that this is intended",
            RuntimeWarning,
            stacklevel=4,  # where the optimizer is made
        )
    return get_backend("numpy")


def _check(what: str, name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{what}: expected the name of a backend, found {name!r}")
    if name not in NAMES:
        raise ValueError(f"{what}: there is no backend {name!r}{did_you_mean(name, NAMES)}")
    if name not in _available():
        raise ValueError(f"{what}: {name!r} is not available here; there are {', '.join(_available())}")


def _choose() -> str:
    if FORCED:
        _check("FASTOPT_BACKEND", FORCED)
        return FORCED
    if not COMPILED:
        reason, cure = "it was installed without compiled kernels", ""
        folder = Path(__file__).parents[2]
        if (folder / "setup.py").exists():
            # Python looks into the folder that it is run in before it looks at what is installed.
            reason = f"this is its source folder {folder}, and not what pip has installed"
            cure = "run Python in another folder, or install by `pip install -e .`; "
        warnings.warn(
            f"fastopt runs on NumPy, many times slower, because {reason}; {cure}FASTOPT_BACKEND=numpy says that this "
            f"is intended",
            RuntimeWarning,
            stacklevel=4,  # where fastopt is imported
        )
    return _available()[0]


if _ENGINE is not None and _ENGINE.origin is not None:
    warn_if_stale(_ENGINE.origin)
DEFAULT = _choose()
