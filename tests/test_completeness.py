"""Nothing is missing: each rule has its loops, its docstring with the formula, and its cases."""

import ast
import doctest
import inspect

import numpy as np
import pytest
from cases import CASES

import fastopt
from fastopt import yardsticks
from fastopt.engines.choice import get_backend
from fastopt.engines.translator.parts import Loop
from fastopt.engines.translator.reader import LIMITS, translate
from fastopt.rules import VARIANTS
from fastopt.rules import translate as translator
from fastopt.signature import key_of, signature
from fastopt.stages import STAGE_NAMES

PUBLIC = [getattr(fastopt, name) for name in fastopt.__all__]
RULES = [one for one in PUBLIC if hasattr(one, "formula")]


FORMULAS = list(dict.fromkeys(rule.formula for rule in RULES))


def call_of(rule, options):
    """The kernel call that options come to."""
    return rule([np.ones(1)], **options, backend="numpy").param_groups[0]._resolved.call


def options_of(rule):
    return [
        name
        for name in inspect.signature(rule).parameters
        if name not in ("params", "backend", "state_memory", *STAGE_NAMES)
    ]


def subclasses(cls):
    for subclass in cls.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def test_every_rule_is_public():
    defined = {cls for cls in subclasses(fastopt.Optimizer) if cls.__module__.startswith("fastopt.rules.")}
    assert defined == set(RULES)


def test_example_of_the_package():
    assert doctest.testmod(fastopt) == (0, 6)  # failed, attempted


def test_loops_are_fresh():
    """What is compiled was made of the formulas as they are: if not, run python -m fastopt.rules.translate."""
    assert translator.PXI.read_text(encoding="utf-8") == translator.made()


def test_every_formula_is_compiled(compiled):
    made = get_backend(compiled).kernels.FORMULAS
    assert {key for key in made if isinstance(key, str)} == {key_of(one) for one in [*FORMULAS, *yardsticks.FORMULAS]}
    for one in FORMULAS:
        _, arrays, inputs, loops = made[key_of(one)]
        names = signature(one)
        assert (arrays, inputs) == (names.state, names.inputs)
        assert len(loops) == len(translate(one).loops)


def test_limits_are_the_engines(compiled):
    from fastopt.engines.compiled import engine

    assert engine.LIMITS == LIMITS


@pytest.mark.parametrize("table", [VARIANTS, CASES], ids=["VARIANTS", "CASES"])
def test_every_rule_is_in_the_tables(table):
    assert {rule for rule, _ in table.values()} == set(RULES)


def ends(one, cases):
    """At which loops of a formula these cases end, in their first steps."""
    for rule, options in cases:
        for t in (1.0, 2.0, 3.0) if rule.formula is one else ():
            values, tree = {**call_of(rule, options).inputs, "t": t}, translate(one).tree
            while not isinstance(tree, Loop):
                tree = tree.yes if eval(ast.unparse(tree.condition), {}, values) else tree.no
            yield tree.name


@pytest.mark.parametrize("one", FORMULAS, ids=key_of)
def test_every_loop_is_in_a_case(one):
    assert set(ends(one, CASES.values())) == {loop.name for loop in translate(one).loops}


@pytest.mark.parametrize("rule", RULES)
def test_every_option_is_in_a_case(rule):
    """With a value that is not its default, so that the bitwise and golden tests see it act."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(rule).parameters.items()}
    tried = {
        name for case, options in CASES.values() if case is rule for name in options if options[name] != defaults[name]
    }
    inherited = set(options_of(fastopt.Adam)) if rule is fastopt.AdamW else set()
    assert set(options_of(rule)) - inherited <= tried


@pytest.mark.parametrize("one", FORMULAS, ids=key_of)
def test_every_number_acts_in_a_case(one):
    """Each takes, in some case, a value that is not 0, or for the sign not 1: so do those of the frame."""
    acting = set()
    for rule, options in CASES.values():
        if rule.formula is one:
            call = call_of(rule, options)
            values = {"s": call.s - 1, "l2": call.l2, "decay": call.decay, **call.inputs, "lr": 1.0}
            acting |= {name for name, value in values.items() if value}
    names = signature(one)
    takes_decay = "weight_decay" in names.numbers
    assert acting == {"s", "l2", "lr", *names.numbers, *names.flags} | (set() if takes_decay else {"decay"})


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_documented(rule):
    text = inspect.getdoc(rule)
    for heading in ("Parameters\n---", "Raises\n---", "References\n---"):
        assert heading in text
    assert "p = keep*p - " in text
    assert "{" not in text.replace('{"', "")  # every shared text was put in
    heads = [line.split(" : ")[0] for line in text.splitlines() if not line.startswith(" ")]
    described = {name for head in heads for name in head.split(", ")}
    assert {*options_of(rule), "params", "backend", "state_memory"} <= described


@pytest.mark.parametrize("rule", RULES)
def test_documented_defaults_are_true(rule):
    text = inspect.getdoc(rule)
    for name, parameter in inspect.signature(rule).parameters.items():
        lines = [line for line in text.splitlines() if line.startswith(f"{name} : ") and ", default " in line]
        for line in lines:
            documented = line.split(", default ")[1]
            assert eval(documented) == parameter.default, line
