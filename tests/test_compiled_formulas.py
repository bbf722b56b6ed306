"""Formulas that use every word, compiled: the same bits as by NumPy."""

import shutil
import sys

import numpy as np
import pytest
from formulas import SHAPES
from helpers import assert_same_bits, awkward, python

import fastopt
from fastopt import optimizer
from fastopt.engines.choice import COMPILED, Backend
from fastopt.formula import CHUNK, signature
from fastopt.engines.translator.__main__ import PXI
from fastopt.engines.translator.reader import translate
from fastopt.engines.translator.writer import write

pytestmark = pytest.mark.skipif(not COMPILED, reason="there is no compiled engine to run them")

SETUP = """
import sys
from Cython.Build import cythonize
from setuptools import Extension, setup
source, core = sys.argv[1:3]
flags = ["/O2", "/fp:precise"] if sys.platform == "win32" else [
    "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"
]
directives = {"language_level": 3, "cdivision": True, "boundscheck": False, "wraparound": False}
ext = Extension("compiled_formulas", [source], extra_compile_args=flags)
sys.argv[1:] = ["-q", "build_ext", "--inplace"]
setup(ext_modules=cythonize([ext], include_path=[core], compiler_directives=directives, quiet=True))
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """A module like those of the backends, with the loops of these formulas."""
    folder = tmp_path_factory.mktemp("compiled")
    for name in ("kernels", "words", "stages", "rounding"):
        shutil.copy(PXI.parent / f"{name}.pxi", folder)
    formulas = dict.fromkeys(one for one, _ in SHAPES)
    (folder / "rules.pxi").write_text(write(map(translate, formulas)), encoding="utf-8")
    source = folder / "compiled_formulas.pyx"
    source.write_text('include "kernels.pxi"\n', encoding="utf-8")
    done = python(f"import os; os.chdir({str(folder)!r})\n" + SETUP, str(source), str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    try:
        import compiled_formulas
    finally:
        sys.path.remove(str(folder))
    return compiled_formulas


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("one", "inputs"), SHAPES)
def test_same_bits(one, inputs, dtype, kernels, monkeypatch):
    from fastopt.engines.compiled.engine import Engine

    names = signature(one)
    options = {name: x for name, x in inputs.items() if name not in ("lr", "t")}
    checks = {name: lambda name, value: value for name in options}

    class Rule(fastopt.Optimizer):
        formula = one

        def __init__(self, params, backend):
            frame = {
                "lr": inputs.get("lr", 0.1),
                "weight_decay": 0.3,
                "maximize": True,
                "decoupled_weight_decay": False,
            }
            super().__init__(params, **frame, **options, backend=backend)

    Rule.checks = checks
    rng = np.random.default_rng(0)
    sizes = (0, 1, 7, 31, 33, 1000, CHUNK + 5)
    parameters = [awkward(rng, n, dtype) if n != 1000 else rng.normal(size=n).astype(dtype) for n in sizes]
    reference = Rule([p.copy() for p in parameters], "numpy")
    monkeypatch.setattr(optimizer, "get_backend", lambda name: Backend("baseline", Engine, kernels))
    opt = Rule(parameters, "baseline")
    for _ in range(3):
        gradients = [
            awkward(rng, p.size, dtype) if p.size != 1000 else rng.normal(size=1000).astype(dtype) for p in parameters
        ]
        opt.step(gradients)
        reference.step(gradients)
        for mine, theirs in zip(opt.state, reference.state, strict=True):
            for name in names.state:
                if name in mine:
                    assert_same_bits(mine[name], theirs[name])
        for p, q in zip(parameters, reference.param_groups[0]["params"], strict=True):
            assert_same_bits(p, q)
