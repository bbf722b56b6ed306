"""Nothing is missing: each rule has its kernel, its twin, its docstring with the formula, and its golden values."""

import doctest
import inspect

import numpy as np
import pytest
from cases import CASES

import fastopt
from fastopt import reference
from fastopt.backend import get_backend
from fastopt.engine import STEP_SCALARS
from fastopt.rules import VARIANTS

PUBLIC = [getattr(fastopt, name) for name in fastopt.__all__]
RULES = [one for one in PUBLIC if inspect.isclass(one) and one.__base__ is not object]


def kernel_of(rule, options):
    group = rule([np.ones(1)], **options, backend="numpy").param_groups[0]
    return group.formula.kernel


def options_of(rule):
    return [name for name in inspect.signature(rule).parameters if name not in ("params", "backend", "stages")]


def subclasses(cls):
    for subclass in cls.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def test_every_rule_is_public():
    defined = {cls for cls in subclasses(fastopt.Optimizer) if cls.__module__ == "fastopt.rules"}
    assert defined == set(RULES)


def test_example_of_the_package():
    assert doctest.testmod(fastopt) == (0, 6)  # failed, attempted


def test_every_kernel_has_a_twin(compiled):
    kernels = get_backend(compiled).kernels
    assert {name for name in kernels.KERNELS if not name.startswith("stream")} == set(reference.KERNELS)
    for name, twin in reference.KERNELS.items():
        *_, buffers, scalars = kernels.KERNELS[name]
        names = list(inspect.signature(twin).parameters)
        assert (names.index("s"), len(names)) == (buffers, buffers + scalars)
    assert {name for name in kernels.PREPARE if not name.startswith("stream")} == set(reference.PREPARE)
    for name, prepare in reference.PREPARE.items():
        assert inspect.signature(prepare) == inspect.signature(reference.KERNELS[name])
    assert all(callable(getattr(reference, name)) for name in kernels.STAGES)


def test_every_step_scalar_is_in_both_engines(compiled):
    from fastopt._core import engine

    assert set(engine.KINDS) == set(STEP_SCALARS)


@pytest.mark.parametrize("table", [VARIANTS, CASES], ids=["VARIANTS", "CASES"])
def test_every_kernel_and_rule_is_in_the_tables(table):
    assert {kernel_of(rule, options) for rule, options in table.values()} == set(reference.KERNELS)
    assert {rule for rule, _ in table.values()} == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_every_option_is_in_a_case(rule):
    """With a value that is not its default, so that the bitwise and golden tests see it act."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(rule).parameters.items()}
    tried = {
        name for case, options in CASES.values() if case is rule for name in options if options[name] != defaults[name]
    }
    inherited = set(options_of(fastopt.Adam)) if rule is fastopt.AdamW else set()
    assert set(options_of(rule)) - inherited <= tried


@pytest.mark.parametrize("kernel", reference.KERNELS)
def test_every_scalar_acts_in_a_case(kernel):
    """In each kernel every scalar takes, in some case, a value that is not the neutral one.

    But what LAMB keeps, which is all, for its decay is in its update; and the coefficient of its ratio, which is 1.
    """
    neutral = {"s": 1, "l2": 0, "keep": 1, "e_in": 0, "e_out": 0, "gain": 1, "carry": 0, "rate": 1, "trust": 1}
    acting, names = set(), ()
    for rule, options in CASES.values():
        group = rule([np.ones(1)], **options, backend="numpy").param_groups[0]
        formula = group.formula
        if formula.kernel == kernel:
            names = list(inspect.signature(reference.KERNELS[kernel]).parameters)[2 + len(rule.states(group)) :]
            values = formula.at(2)
            acting |= {name for name, value in zip(names, values, strict=True) if value != neutral.get(name)}
    assert acting == set(names) - ({"keep", "trust"} if kernel == "lamb" else set()) != set()


@pytest.mark.parametrize("name", CASES)
def test_twins_take_what_the_formula_gives(name):
    rule, options = CASES[name]
    group = rule([np.ones(1)], **options, backend="numpy").param_groups[0]
    formula = group.formula
    scalars = len(formula.at(1))
    buffers = 2 + len(rule.states(group))
    twin = inspect.signature(reference.KERNELS[formula.kernel]).parameters
    assert len(twin) == buffers + scalars
    assert list(twin)[buffers : buffers + 3] == ["s", "l2", "keep"]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_documented(rule):
    text = inspect.getdoc(rule)
    for heading in ("Parameters\n---", "Raises\n---", "References\n---"):
        assert heading in text
    assert "p = keep*p - " in text
    assert "{" not in text.replace('{"', "")  # every shared text was put in
    heads = [line.split(" : ")[0] for line in text.splitlines() if not line.startswith(" ")]
    described = {name for head in heads for name in head.split(", ")}
    assert {*options_of(rule), "params", "backend"} <= described


@pytest.mark.parametrize("rule", RULES)
def test_documented_defaults_are_true(rule):
    text = inspect.getdoc(rule)
    for name, parameter in inspect.signature(rule).parameters.items():
        lines = [line for line in text.splitlines() if line.startswith(f"{name} : ") and ", default " in line]
        for line in lines:
            documented = line.split(", default ")[1]
            assert eval(documented) == parameter.default, line
