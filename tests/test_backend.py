"""The choice of a backend, at import and by hand, with and without compiled kernels."""

import platform
from pathlib import Path

import numpy as np
import pytest
from helpers import copied_package, python

import fastopt
from fastopt.engines import choice as backends


def test_backends_are_listed_best_first():
    listed = fastopt.backends()
    assert listed[-1] == "numpy"
    assert listed == [name for name in backends.NAMES if name in listed]
    listed.clear()
    assert fastopt.backends()


CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not backends.COMPILED, reason="there is nothing to choose")
@pytest.mark.skipif(not CPUINFO.exists() or platform.machine() != "x86_64", reason="only Linux tells, and only of x86")
def test_backends_are_what_the_processor_says():
    """Whatever compiler built this: Linux lists what the processor has, less what it does not save."""
    lines = [line for line in CPUINFO.read_text().splitlines() if line.startswith("flags")]
    flags = set(lines[0].partition(":")[2].split())
    wide = {"avx512": {"avx512f", "avx512dq", "avx512bw", "avx512vl"}, "avx2": {"avx2"}}
    expected = [name for name, needed in wide.items() if needed <= flags]
    assert fastopt.backends() == [*expected, "baseline", "numpy"]
    assert backends.features() == expected[::-1]


def test_environment_forces_a_backend(backend):
    code = "import fastopt, numpy as np; print(fastopt.SGD(np.ones(2)).backend)"
    done = python(code, FASTOPT_BACKEND=backend)
    assert done.stdout.strip() == backend, done.stderr
    code = "import fastopt, numpy as np; print(fastopt.SGD(np.ones(2), backend='numpy').backend)"
    assert python(code, FASTOPT_BACKEND=backend).stdout.strip() == "numpy"


def test_default_is_the_best():
    code = "import fastopt, numpy as np; print(fastopt.SGD(np.ones(2)).backend == fastopt.backends()[0])"
    done = python(code, FASTOPT_BACKEND="")
    assert done.stdout.strip() == "True", done.stderr


def test_environment_that_cannot_be_met():
    done = python("import fastopt", FASTOPT_BACKEND="sse9")
    assert done.returncode != 0
    assert "FASTOPT_BACKEND: there is no backend 'sse9'" in done.stderr


def test_backend_that_is_not_available(monkeypatch):
    monkeypatch.setattr(backends, "_available", lambda: ("baseline", "numpy"))
    with pytest.raises(ValueError, match="backend: 'avx512' is not available here; there are baseline, numpy"):
        fastopt.SGD(np.ones(2), backend="avx512")


def test_processor_that_lacks_instructions(monkeypatch):
    monkeypatch.setattr(backends, "features", lambda: ["avx2"])
    backends._available.cache_clear()
    try:
        assert "avx512" not in fastopt.backends()
    finally:
        monkeypatch.undo()
        backends._available.cache_clear()


WITHOUT_EXTENSIONS = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if ".compiled." in name else find(name, *rest)
import fastopt, numpy as np
p = np.ones(2)
fastopt.SGD(p, lr=0.5).step(np.ones(2))
print(fastopt.backends(), p)
"""


def test_without_extensions():
    done = python(WITHOUT_EXTENSIONS, FASTOPT_BACKEND="")
    assert done.stdout.strip() == "['numpy'] [0.5 0.5]", done.stderr
    assert done.stderr.count("RuntimeWarning: fastopt runs on NumPy, many times slower, because ") == 1
    meant = python(WITHOUT_EXTENSIONS, FASTOPT_BACKEND="numpy")
    assert (meant.stdout, meant.stderr) == (done.stdout, "")
    forced = python(WITHOUT_EXTENSIONS, FASTOPT_BACKEND="baseline")
    assert "FASTOPT_BACKEND: 'baseline' is not available here; there are numpy" in forced.stderr


WITHOUT_METADATA = """
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
import numpy  # before the folder that it is in goes
sys.path[:] = [sys.argv[1], *(path for path in sys.path if not [*Path(path).glob("fastopt*-info")])]
try:
    print(version("fastopt"))
except PackageNotFoundError:
    import fastopt
    print(fastopt.__file__, fastopt.__version__)
"""


def test_without_metadata(tmp_path):
    """A plain folder, as an archive of the source or a program that brings its packages has it."""
    done = python(WITHOUT_METADATA, str(copied_package(tmp_path).parent))
    assert done.stdout.split() == [str(tmp_path / "fastopt" / "__init__.py"), fastopt.__version__], done.stderr


def test_import_needs_numpy_alone():
    code = """
import sys, fastopt
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"matplotlib", "sklearn", "scipy", "hypothesis", "Cython"}))
"""
    done = python(code)
    assert done.stdout.strip() == "[]", done.stderr


ARITHMETIC = """
import sys
import numpy as np
smallest = np.float64(5e-324)

def kept():
    single = np.full(100, 1e-40, np.float32)
    return smallest * 1.0 == smallest and 5e-324 * 1.0 == 5e-324 and (single * np.float32(0.5) != 0).all()

assert kept()
import fastopt
assert kept()
fastopt.Adam(np.ones(3), flush_subnormals=len(fastopt.backends()) > 1).step(np.ones(3))
assert kept()
"""


def test_importing_changes_no_arithmetic():
    """As a build with fast math would, in the whole process."""
    done = python(ARITHMETIC, FASTOPT_BACKEND=fastopt.backends()[0])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("is_source", "reason"),
    [
        (False, "because it was installed without compiled kernels; FASTOPT_BACKEND=numpy says"),
        (
            True,
            "because this is its source folder .*; run Python in another folder, or install by `pip install -e .`; ",
        ),
    ],
)
def test_why_there_are_no_kernels(is_source, reason, tmp_path, monkeypatch):
    if is_source:
        (tmp_path / "setup.py").touch()
    monkeypatch.setattr(backends, "__file__", str(tmp_path / "fastopt" / "engines" / "choice.py"))
    monkeypatch.setattr(backends, "COMPILED", False)
    monkeypatch.setattr(backends, "FORCED", None)
    with pytest.warns(RuntimeWarning, match=reason):
        backends._choose()
