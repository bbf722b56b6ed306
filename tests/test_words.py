"""The words of formulas on all pairs of special values: every backend has NumPy's bits, with subnormals and without."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import assert_same_bits, assert_same_optimizer, rule_of

import fastopt
from fastopt.engines import cache, choice
from fastopt.engines.choice import COMPILED, Backend, get_backend
from fastopt.engines.shared import CAN_FLUSH
from fastopt.engines.translator.reader import translate
from fastopt.engines.translator.writer import write
from fastopt.formula import Carried, absolute, larger, power, sign, smaller, sqrt, where
from fastopt.signature import key_of, signature

pytestmark = pytest.mark.skipif(not COMPILED, reason="there is no compiled engine to run them")
needs_switch = pytest.mark.skipif(not CAN_FLUSH, reason="this processor's switch is not known")


def choices(d, x, y, a, b, c, e, f, *, lr):
    a[:] = larger(x, y)
    b[:] = smaller(x, y)
    c[:] = where(x > y, x, y)
    e[:] = where(x < y, y, x)
    f[:] = where(x >= y, y, -x)
    return lr * d


def choices_beside_numbers(d, x, a, b, c, e, f, h, *, lr):
    a[:] = larger(x, 0)
    b[:] = smaller(-1, x)
    c[:] = larger(lr, x)
    e[:] = smaller(x, 3)
    f[:] = where(x > 0, x, 0)
    h[:] = where(x == 0, 0.5, absolute(x))
    return lr * d


def choices_of_what_is_computed(d, x, y, a, b, c, e, *, lr):
    a[:] = larger(x * y, x)
    b[:] = smaller(x, x + y)
    c[:] = where(x + y < lr * x, -y, larger(x, y))
    e[:] = larger(absolute(x), larger(sign(y), smaller(x, y)))
    return lr * larger(x, y)


def comparisons(d, x, y, zero, a, b, *, lr):
    a[:] = where(x < y, 1, zero) + where(x <= y, 2, zero) + where(x > y, 4, zero) + where(x >= y, 8, zero)
    b[:] = where(x == y, 1, zero) + where(x != y, 2, zero) + where(x == x, 4, zero) + where(y < 0, 8, zero)
    return lr * d


def of_one(d, x, a, b, c, e, f, h, k, *, lr):
    a[:] = absolute(x)
    b[:] = sign(x)
    c[:] = -x
    e[:] = +x
    f[:] = sqrt(x)
    h[:] = power(x, 1)
    k[:] = power(x, 2)
    return lr * d


def numbers(d, a, *, lr, tiny, product: Carried):
    small = tiny * tiny
    a[:] = small / tiny + d if small > 0 else larger(d, product)
    return lr * (1 if product * tiny == 0 else 2) * d, product * tiny


ELEMENTWISE = (choices, choices_beside_numbers, choices_of_what_is_computed, comparisons, of_one)
FORMULAS = (*ELEMENTWISE, numbers)
NAMES = [name for name in fastopt.backends() if name != "numpy"]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """Modules like those of the backends, with the loops of these formulas."""
    folder = tmp_path_factory.mktemp("compiled") / "words"
    cache._build(write(map(translate, FORMULAS)), NAMES, folder)
    made = {}
    for name in NAMES:
        loops = cache.load(folder, name).FORMULAS
        loops = {one: loops[key_of(one)] for one in FORMULAS}
        made[name] = SimpleNamespace(FORMULAS=loops, STAGES=get_backend(name).kernels.STAGES)
    return made


def special_pairs(dtype):
    info = np.finfo(dtype)
    sizes = [0, info.smallest_subnormal, info.smallest_normal / 2, info.smallest_normal, 1.5, 3, info.max, np.inf]
    values = np.array([*sizes, *(-x for x in sizes), np.nan], dtype=dtype)
    return np.array(list(itertools.product(values, values)), dtype=dtype)


def run(rule, pairs, backend, **stages):
    """A step of one long array, for the loops' vectors, and of many short ones, for what they leave over."""
    parts = [pairs, *(pairs[start : start + 3] for start in range(0, len(pairs), 3))]
    opt = rule([part[:, 1].copy() for part in parts], backend=backend, **stages)
    for state, part in zip(opt.state, parts, strict=True):
        for name, values in zip("xy", part.T, strict=True):
            if name in state:
                state[name][:] = values
    opt.step([part[:, 0].copy() for part in parts])
    return opt


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("flush", [False, pytest.param(True, marks=needs_switch)])
@pytest.mark.parametrize("one", ELEMENTWISE, ids=lambda one: one.__name__)
def test_special_values(one, flush, dtype, compiled, kernels, monkeypatch):
    from fastopt.engines.compiled.engine import Engine, squares

    rule, pairs = rule_of(one), special_pairs(dtype)
    reference = run(rule, pairs, "numpy", flush_subnormals=flush)
    monkeypatch.setattr(choice, "get_backend", lambda name: Backend(name, Engine, squares, kernels[name]))
    opt = run(rule, pairs, compiled, flush_subnormals=flush)
    assert opt.backend == compiled
    for mine, theirs in zip(opt.state, reference.state, strict=True):
        for name in signature(one).state:
            assert_same_bits(mine[name], theirs[name])
    for p, q in zip(opt.param_groups[0]["params"], reference.param_groups[0]["params"], strict=True):
        assert_same_bits(p, q)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("flush", [False, pytest.param(True, marks=needs_switch)])
def test_subnormal_numbers(flush, dtype, compiled, kernels, monkeypatch):
    """Those of which a formula computes others, and which it carries."""
    from fastopt.engines.compiled.engine import Engine, squares

    rule = rule_of(numbers, initial=lambda o: {"product": 1.0}, inputs=lambda o: {"tiny": 1e-160})
    made = {}
    for name in ("numpy", compiled):
        made[name] = rule([np.ones(5, dtype)], flush_subnormals=flush, backend=name)
        for _ in range(3):
            made[name].step([np.full(5, 0.25, dtype)])
        monkeypatch.setattr(choice, "get_backend", lambda name: Backend(name, Engine, squares, kernels[name]))
    assert made["numpy"].state[0]["product"] == 0
    assert_same_optimizer(made[compiled], made["numpy"])
