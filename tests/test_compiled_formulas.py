"""Formulas that use every word, compiled: the same bits as by NumPy."""

from types import SimpleNamespace

import numpy as np
import pytest
from formulas import SHAPES
from helpers import assert_same_bits, awkward

import fastopt
from fastopt.engines import cache, choice
from fastopt.engines.choice import COMPILED, Backend, get_backend
from fastopt.engines.translator.reader import translate
from fastopt.engines.translator.writer import write
from fastopt.formula import CHUNK
from fastopt.signature import key_of, signature

pytestmark = pytest.mark.skipif(not COMPILED, reason="there is no compiled engine to run them")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """A module like those of the backends, with the loops of these formulas."""
    folder = tmp_path_factory.mktemp("compiled") / "formulas"
    formulas = dict.fromkeys(one for one, _ in SHAPES)
    cache._build(write(map(translate, formulas)), ["baseline"], folder)
    made = cache.load(folder, "baseline")
    compiled = {one: made.FORMULAS[key_of(one)] for one in formulas}
    return SimpleNamespace(FORMULAS=compiled, STAGES=get_backend("baseline").kernels.STAGES)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("one", "inputs"), SHAPES)
def test_same_bits(one, inputs, dtype, kernels, monkeypatch):
    from fastopt.engines.compiled.engine import Engine, squares

    names = signature(one)
    options = {name: x for name, x in inputs.items() if name not in ("lr", "t")}
    Rule = type(
        "Rule",
        (fastopt.Optimizer,),
        {"formula": one, "lr": 0.1, "__annotations__": {"lr": float}} | {"inputs": staticmethod(lambda o: options)},
    )
    given = {"lr": inputs.get("lr", 0.1), "weight_decay": 0.3, "maximize": True}
    rng = np.random.default_rng(0)
    sizes = (0, 1, 7, 31, 33, 1000, CHUNK + 5)
    parameters = [awkward(rng, n, dtype) if n != 1000 else rng.normal(size=n).astype(dtype) for n in sizes]
    reference = Rule([p.copy() for p in parameters], **given, backend="numpy")
    monkeypatch.setattr(choice, "get_backend", lambda name: Backend("baseline", Engine, squares, kernels))
    opt = Rule(parameters, **given, backend="baseline")
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
