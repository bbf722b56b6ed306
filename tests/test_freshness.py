"""The warning that the compiled part is older than its sources, on copies of the package."""

import os
from pathlib import Path

import pytest
from helpers import copied_package, python

from fastopt.engines.choice import COMPILED
from fastopt.engines.freshness import warn_if_stale

SUFFIX = ".cpython-399-pdp11.so"
BUILT, BEFORE, AFTER = 2_000_000_000, 1_900_000_000, 2_100_000_000


def touch(path, time):
    path.touch()
    os.utime(path, (time, time))


@pytest.fixture
def engine(tmp_path):
    """The engine of an editable install, built after all its sources."""
    folder = tmp_path / "compiled"
    folder.mkdir()
    for name in ("engine.pyx", "words.pxi", "pool.hpp", "subnormals.h", "../build.py"):
        touch(folder / name, BEFORE)
    for name in ("engine", "avx2"):
        touch(folder / (name + SUFFIX), BUILT)
    return folder / f"engine{SUFFIX}"


@pytest.mark.parametrize("name", ["engine.pyx", "words.pxi", "pool.hpp", "subnormals.h", "../build.py"])
def test_newer_source(engine, name):
    source = Path(os.path.normpath(engine.parent / name))
    touch(source, AFTER)
    with pytest.warns(RuntimeWarning, match=r"has changed since fastopt was compiled.*pip install -e") as caught:
        warn_if_stale(str(engine))
    assert len(caught) == 1
    assert str(caught[0].message).startswith(str(source))


@pytest.mark.parametrize("name", ["engine.cpp", "avx2.c", "__init__.py", "engine.cpython-398-pdp11.so"])
def test_other_files_do_not_matter(engine, name):
    """What is generated, what is not compiled, and what was built for another Python."""
    touch(engine.parent / name, AFTER)
    warn_if_stale(str(engine))


def test_built_in_parts(engine):
    """Only what has changed is built again: one new extension is enough."""
    touch(engine.parent / "words.pxi", AFTER)
    touch(engine.parent / f"avx2{SUFFIX}", AFTER)
    warn_if_stale(str(engine))


def test_wheel(engine):
    """There the engine's source is missing, and nothing is compared."""
    (engine.parent / "engine.pyx").unlink()
    touch(engine.parent / "words.pxi", AFTER)
    warn_if_stale(str(engine))


IMPORT = "import sys; sys.path.insert(0, sys.argv[1]); import fastopt; print(fastopt.__file__)"


@pytest.mark.skipif(not COMPILED, reason="nothing was compiled")
def test_import_warns_once(tmp_path):
    copy = copied_package(tmp_path)
    source = copy / "engines" / "compiled" / "engine.pyx"
    for path in [*copy.rglob("*.*"), source]:
        touch(path, BEFORE)
    done = python(IMPORT, str(tmp_path))
    assert done.stdout.strip() == str(copy / "__init__.py")
    assert done.stderr == ""
    touch(source, AFTER)
    done = python(IMPORT, str(tmp_path))
    assert done.stdout.strip() == str(copy / "__init__.py")
    assert done.stderr.count("RuntimeWarning") == 1
    assert "<string>:1: RuntimeWarning: " in done.stderr  # it points to the import
    assert "pip install -e ." in done.stderr
