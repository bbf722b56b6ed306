"""The loops of users' rules: built once, in the user's cache folder, and loaded from there."""

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from importlib.machinery import ExtensionFileLoader
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).parent
_TOOLS = ("cython", "setuptools", "platformdirs")
_SUMS = "sums.json"  # of the files in an entry
_BUILDING = "building-"  # with which the names of folders begin that are being built
_SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def built(loops: str, names: list[str]) -> Path:
    """The folder of the extensions with these loops, one for each backend; built if they are not there."""
    versions: dict[str, str] = {}
    for tool in _TOOLS:
        try:
            versions[tool] = version(tool)
        except PackageNotFoundError:
            raise RuntimeError(
                f"compile: it needs {', '.join(_TOOLS)}, and {tool} is not installed; pip install 'fastopt[compile]'"
            ) from None
    import platformdirs

    cache = platformdirs.user_cache_path("fastopt", appauthor=False)
    folder = cache / _key(loops, names, versions["cython"])
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(cache)
        if not _is_whole(folder):
            _remove_leftovers(cache)
            _build(loops, names, folder)
        _check_private(folder)
    except OSError as error:
        raise RuntimeError(
            f"compile: the cache folder {cache} cannot be used ({error.strerror or error}); "
            f"make it writable, or let XDG_CACHE_HOME name another place"
        ) from error
    return folder


def _key(loops: str, names: list[str], cython: str) -> str:
    """What decides over the built code: the loops and all that they are built with, and for which processor."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "")
    path = shutil.which(compiler[0]) if compiler else None
    status = os.stat(path) if path else None
    facts = [
        loops,
        *(
            (_HERE / "compiled" / f"{name}.pxi").read_text(encoding="utf-8")
            for name in ("kernels", "words", "rounding")
        ),
        (_HERE / "build.py").read_text(encoding="utf-8"),
        *(names, cython, sys.version, _SUFFIX, platform.machine()),
        *(compiler, path and os.path.realpath(path), status and (status.st_size, status.st_mtime_ns)),
        *(os.environ.get(name) for name in ("CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED", "ARCHFLAGS")),
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _check_private(folder: Path) -> None:
    """Raise if anyone else could put code into a folder from which code is loaded."""
    if os.name != "posix":
        return  # the folder is in the user's profile, which the system protects
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise RuntimeError(f"compile: {folder} belongs to another user, and code from it would be run; remove it")
    if status.st_mode & 0o022:
        raise RuntimeError(f"compile: others may write to {folder}, and code from it would be run; chmod 700 {folder}")


def _is_whole(folder: Path) -> bool:
    """Whether an entry is there, and its files are as they were built: a broken one could kill the process."""
    try:
        sums = json.loads((folder / _SUMS).read_text(encoding="utf-8"))
        return all(_sum_of(folder / name) == known for name, known in sums.items())
    except (OSError, ValueError):
        return False


def _sum_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _remove_leftovers(cache: Path) -> None:
    """Remove what processes left that were killed while they built, a day ago or more."""
    for folder in cache.glob(f"{_BUILDING}*"):
        if folder.stat().st_mtime < time.time() - 86400:
            shutil.rmtree(folder, ignore_errors=True)


def _tools_path() -> str:
    """Where the tools are installed; the user's own folders might hold modules of the same names."""
    return os.pathsep.join(dict.fromkeys(str(distribution(tool).locate_file("")) for tool in _TOOLS))


def _build(loops: str, names: list[str], folder: Path) -> None:
    """Build the extensions beside the folder, and put it in its place by one renaming.

    Of two processes that build the same at once the first wins, and the other takes what is there.
    """
    with tempfile.TemporaryDirectory(prefix=_BUILDING, dir=folder.parent) as name:
        work = Path(name)
        done = work / "done"
        done.mkdir(mode=0o700)
        (work / "loops.pxi").write_text(loops, encoding="utf-8")
        sources: dict[str, str] = {}
        for backend in names:
            source = work / f"{_module(folder.name, backend)}.pyx"
            source.write_text('include "kernels.pxi"\ninclude "loops.pxi"\n', encoding="utf-8")
            sources[source.stem] = str(source)
        settings = {"sources": sources, "include": [str(_HERE / "compiled"), str(work)], "folder": str(done)}
        (work / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        # Not as a script, whose folder would come first in the path: it has a numpy.py.
        code = f"import runpy; runpy.run_path({str(_HERE / 'build.py')!r}, run_name='__main__')"
        made = subprocess.run(
            [sys.executable, "-c", code, str(work / "settings.json")],
            cwd=work,
            env=os.environ | {"PYTHONPATH": _tools_path()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        files = [done / f"{_module(folder.name, backend)}{_SUFFIX}" for backend in names]
        if made.returncode or not all(file.exists() for file in files):
            said = "\n".join((made.stdout + made.stderr).strip().splitlines()[-15:])
            raise RuntimeError(f"compile: building failed:\n\n{said}\n\nIs there a C compiler, with Python's headers?")
        (done / _SUMS).write_text(json.dumps({file.name: _sum_of(file) for file in files}), encoding="utf-8")
        try:
            if folder.exists() and not _is_whole(folder):
                os.rename(folder, work / "broken")
            os.rename(done, folder)
        except OSError:
            if not _is_whole(folder):
                raise


def _module(key: str, backend: str) -> str:
    return f"fastopt_{key}_{backend}"


def load(folder: Path, backend: str) -> ModuleType:
    """The extension of a backend in such a folder."""
    name = _module(folder.name, backend)
    loader = ExtensionFileLoader(name, str(folder / f"{name}{_SUFFIX}"))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module
