"""The choice of a backend, at import and by hand, with and without compiled kernels."""

import os
import subprocess
import sys

import numpy as np
import pytest

import fastopt
from fastopt import backend as backends


def run(code, **environment):
    """Run Python in a process of its own, away from any source folder."""
    environment = {**{k: v for k, v in os.environ.items() if k != "FASTOPT_BACKEND"}, **environment}
    return subprocess.run(
        [sys.executable, "-I", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_backends_are_listed_best_first():
    listed = fastopt.backends()
    assert listed[-1] == "numpy"
    assert listed == [name for name in backends.NAMES if name in listed]
    listed.clear()
    assert fastopt.backends()


def test_environment_forces_a_backend(backend):
    code = "import fastopt, numpy as np; print(fastopt.SGD(np.ones(2)).backend)"
    done = run(code, FASTOPT_BACKEND=backend)
    assert done.stdout.strip() == backend, done.stderr
    code = "import fastopt, numpy as np; print(fastopt.SGD(np.ones(2), backend='numpy').backend)"
    assert run(code, FASTOPT_BACKEND=backend).stdout.strip() == "numpy"


def test_default_is_the_best():
    done = run("import fastopt, numpy as np; print(fastopt.SGD(np.ones(2)).backend == fastopt.backends()[0])")
    assert done.stdout.strip() == "True", done.stderr


def test_environment_that_cannot_be_met():
    done = run("import fastopt", FASTOPT_BACKEND="sse9")
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
importlib.util.find_spec = lambda name, *rest: None if "_core." in name else find(name, *rest)
import fastopt, numpy as np
p = np.ones(2)
fastopt.SGD(p, lr=0.5).step(np.ones(2))
print(fastopt.backends(), p)
"""


def test_without_extensions():
    done = run(WITHOUT_EXTENSIONS)
    assert done.stdout.strip() == "['numpy'] [0.5 0.5]", done.stderr
    assert done.stderr.count("RuntimeWarning: fastopt was installed without its compiled kernels") == 1
    meant = run(WITHOUT_EXTENSIONS, FASTOPT_BACKEND="numpy")
    assert (meant.stdout, meant.stderr) == (done.stdout, "")
    forced = run(WITHOUT_EXTENSIONS, FASTOPT_BACKEND="baseline")
    assert "FASTOPT_BACKEND: 'baseline' is not available here; there are numpy" in forced.stderr


def test_import_needs_numpy_alone():
    code = """
import sys, fastopt
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"click", "rich", "matplotlib", "sklearn", "scipy", "hypothesis", "Cython"}))
"""
    done = run(code)
    assert done.stdout.strip() == "[]", done.stderr
