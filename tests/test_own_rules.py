"""Rules of one's own: declared in a few lines, and at once on NumPy."""

import inspect
import os
from dataclasses import KW_ONLY
from typing import Literal

import numpy as np
import own_rules
import pytest
from helpers import assert_same_bits, rule_of
from own_rules import Damped, Peaked

import fastopt
from fastopt.engines.choice import COMPILED
from fastopt.formula import Carried

# On NumPy


def test_example():
    """As its formula says, element by element."""
    p, g = np.array([1.0, 2.0]), np.array([0.5, -3.0])
    opt = Peaked(p.copy(), lr=0.1, backend="numpy")
    opt.step(g)
    expected = p - 0.1 / (1 - 0.9) * g / (np.sqrt((0.1 * g) ** 2) + 1e-8)
    np.testing.assert_allclose(opt.param_groups[0]["params"][0], expected, rtol=1e-12)
    assert list(opt.state[0]) == ["step", "m", "h"]
    assert list(Peaked(p, peak=False, backend="numpy").state[0]) == ["step", "m"]


def test_signature():
    names = list(inspect.signature(Damped).parameters)
    assert names[:7] == ["params", "lr", "betas", "mu", "form", "start", "weight_decay"]
    assert {"maximize", "clip_grad_norm", "backend"} <= set(names)
    given = Damped([np.ones(1)], 0.5, (0.5, 0.6), 0.7, start=0.0, backend="numpy").param_groups[0]
    assert (given["lr"], given["betas"], given["mu"], given["start"]) == (0.5, (0.5, 0.6), 0.7, 0.0)
    assert Damped.betas == (0.9, 0.99)


def test_uncompiled_rules_run_on_numpy_and_say_so_once(monkeypatch):
    class Fresh(Peaked):
        formula = lambda d, *, lr: lr * d  # noqa: E731

    if not COMPILED or os.environ.get("FASTOPT_BACKEND"):
        pytest.skip("there is no choice to make")
    with pytest.warns(RuntimeWarning, match=r"Fresh: its formula .* is not compiled .*, so it runs on NumPy") as warned:
        assert Fresh(np.ones(1)).backend == "numpy"
    assert warned[0].filename == __file__
    assert Fresh(np.ones(1)).backend == "numpy"
    assert Fresh(np.ones(1), backend="numpy").backend == "numpy"
    with pytest.raises(ValueError, match=r"call fastopt.compile\(Fresh\) first, or use backend='numpy'"):
        Fresh(np.ones(1), backend=fastopt.backends()[0])
    monkeypatch.setattr("fastopt.engines.choice.FORCED", fastopt.backends()[0])
    with pytest.raises(ValueError, match=r"call fastopt.compile\(Fresh\) first"):
        Fresh(np.ones(1))


def declare(**body):
    annotations = {name: kind for name, (kind, _) in body.items()}
    values = {name: value for name, (_, value) in body.items() if value is not inspect.Parameter.empty}
    return type("Wrong", (fastopt.Optimizer,), {"formula": own_rules.peaked, "__annotations__": annotations, **values})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"beta": (float, 0.9)}, "Wrong: a rule declares its learning rate, as in lr: float = 1e-3"),
        ({"lr": (float, inspect.Parameter.empty)}, r"Wrong\.lr: an option has a default"),
        ({"lr": (float, 0.1), "beta": (set, [])}, r"Wrong\.beta: the annotation .* says no check; options are float"),
        *(
            (
                {"lr": (float, 0.1), "beta": (kind, ())},
                r"says no check; write tuple\[float, float\] for a pair; options",
            )
            for kind in (tuple, list, tuple[float, ...], list[float])
        ),
        ({"lr": (float, 0.1), "step": (float, 0.1)}, r"Wrong\.step: the name means something else in an optimizer"),
        ({"lr": (float, 0.1), "beta": ("Unheard", 0.9)}, r"Wrong\.beta: its annotation 'Unheard' is not known"),
        ({"lr": (float, 0.1), "beta": ("np.foo", 0.9)}, r"Wrong\.beta: its annotation 'np\.foo' is not known"),
        ({"lr": (float, 0.1), "beta": ("a b", 0.9)}, r"Wrong\.beta: its annotation 'a b' is not known"),
        ({"lr": (float, 0.1), "beta": ([], 0.9)}, r"Wrong\.beta: the annotation \[\] says no check"),
        (
            {"lr": (float, 0.1), "beta": (float, "high")},
            r"Wrong\.beta: the default is refused: beta: expected a number",
        ),
        ({"lr": (float, -1)}, r"Wrong\.lr: the default is refused: lr: -1\.0 was given"),
        ({"lr": (float, 0.1), "beta": (tuple[float, float], [1, 2])}, r"could be changed for all at once; use a tuple"),
        ({"lr": (float, 0.1), "backend": (str, "numpy")}, r"Wrong\.backend: the name means something else"),
        ({"lr": (float, 0.1), "t": (float, 7)}, r"Wrong\.t: the name means something else"),
        ({"lr": (float, 0.1), "self": (float, 7)}, r"Wrong\.self: the name means something else"),
    ],
)
def test_declarations_that_are_refused(body, message):
    with pytest.raises(TypeError, match=message):
        declare(**body)


@pytest.mark.parametrize(
    ("kind", "good", "bad", "error", "message"),
    [
        (float, [-1, 2.5, np.float32(3)], "fast", TypeError, "x: expected a number, found 'fast'"),
        (float, [0], float("nan"), ValueError, "x: nan was given; it must be finite"),
        (int, [-3, np.int64(4)], 0.5, TypeError, "x: expected an integer, found 0.5"),
        (bool, [True, np.False_], 1, TypeError, "x: expected True or False, found 1"),
        (str, ["any"], 1, TypeError, "x: expected a string, found 1"),
        (Literal["a", "b"], ["a"], "c", ValueError, "x: 'c' was given; it must be one of 'a', 'b'"),
        (Literal[1, 2], [1, 2], "c", TypeError, "x: expected one of 1, 2, found 'c'"),
        (float | None, [None, 1.5], "no", TypeError, "x: expected a number"),
        (tuple[float, int], [(0.5, 2), [0.5, 2]], (0.5,), TypeError, "x: expected a pair of numbers"),
        ("float", [1.5], None, TypeError, "x: expected a number"),
    ],
)
def test_annotations_check_options(kind, good, bad, error, message):
    rule = declare(lr=(float, 0.1), beta=(float, 0.9), eps=(float, 0.1), peak=(bool, True), x=(kind, good[0]))
    for value in good:
        found = rule([np.ones(1)], x=value, backend="numpy").x
        assert found == (tuple(value) if isinstance(value, list) else value)
    with pytest.raises(error, match=message):
        rule([np.ones(1)], x=bad, backend="numpy")


def test_options_by_position_and_by_name():
    with pytest.raises(TypeError, match="Peaked: 'lr' was given by position and by name"):
        Peaked([np.ones(1)], 0.1, lr=0.1, backend="numpy")
    with pytest.raises(TypeError, match="Peaked: 5 options were given by position; only lr, beta, eps, peak can be"):
        Peaked([np.ones(1)], 0.1, 0.9, 0.1, True, 1, backend="numpy")
    with pytest.raises(TypeError, match="Peaked: unknown option 'bata'; did you mean 'beta'"):
        Peaked([np.ones(1)], bata=1, backend="numpy")


def test_keyword_only_options_of_a_subclass():
    class More(Peaked):
        _: KW_ONLY
        extra: float = 1.0

    assert More([np.ones(1)], extra=2, backend="numpy").extra == 2
    with pytest.raises(TypeError, match="5 options were given by position"):
        More([np.ones(1)], 0.1, 0.9, 0.1, True, 2, backend="numpy")


def test_new_defaults_need_no_annotation():
    class Mine(fastopt.AdamW):
        weight_decay = 0.5
        lr = 0.25
        ema_decay = 0.9

    opt = Mine([np.ones(1)], backend="numpy")
    assert (Mine.lr, opt.lr, opt.weight_decay, opt.ema_decay, opt.eps) == (0.25, 0.25, 0.5, 0.9, 1e-8)
    with pytest.raises(TypeError, match=r"Worse\.lr: the default is refused"):
        type("Worse", (Mine,), {"lr": property(lambda self: 1)})
    with pytest.raises(TypeError, match=r"Worse\.backend: the name means something else"):
        type("Worse", (Mine,), {"backend": "numpy"})


def test_formulas_in_the_class():
    class Inside(fastopt.Optimizer):
        @staticmethod
        def formula(d, *, lr):
            return lr * d

        lr: float = 0.5

    p = np.ones(2)
    Inside(p, backend="numpy").step(np.ones(2))
    assert_same_bits(p, np.full(2, 0.5))
    if COMPILED:
        fastopt.compile(Inside)(p).step(np.ones(2))
        assert_same_bits(p, np.zeros(2))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (3, r"Rule\.formula: expected a function, found 3"),
        (len, r"Rule\.formula: expected a function"),
        (lambda m, d: d, "its first argument is d"),
    ],
)
def test_what_is_no_formula(wrong, message):
    with pytest.raises(TypeError, match=message):
        rule_of(wrong)


def test_signature_of_ones_own_constructor():
    class Warm(Peaked):
        def __init__(self, params, steps, **options):
            super().__init__(params, lr=lambda n: 0.1 * min(1, (n + 1) / steps), **options)

    assert list(inspect.signature(Warm).parameters) == ["params", "steps", "options"]
    assert list(inspect.signature(fastopt.Optimizer).parameters)[:3] == ["params", "maximize", "decoupled_weight_decay"]


def test_state_that_a_number_decides():
    def decided(d, m, *, lr, mu):
        if mu == 1:
            return lr * d
        m[:] = mu * m + d
        return lr * m

    class Decided(fastopt.Optimizer):
        formula = decided
        lr: float = 0.1
        mu: float = 0.9

    opt = Decided([np.ones(2)], mu=1, backend="numpy")
    assert list(opt.state[0]) == ["step", "m"]
    opt.step([np.ones(2)])
    opt.mu = 0.5
    opt.step([np.ones(2)])
    assert_same_bits(opt.state[0]["m"], np.ones(2))


# Slips


def loses_its_state(d, m, *, lr):
    m = 0.9 * m + d
    return lr * m


def without_star(d, m, lr):
    m[:] = m + d
    return lr * m


def carried_before_the_star(d, m: Carried, *, lr):
    return lr * m * d


def late(d, *, lr, t):
    if t > 1:
        return lr * d


def calls_numpy(d, *, lr):
    return np.exp(lr) * d


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (loses_its_state, r"m = \.\.\.: an argument keeps its meaning; an array is updated by m\[:\] = \.\.\."),
        (without_star, r"Rule: its formula has lr among the arrays; numbers stand after the \*"),
        (carried_before_the_star, r"m: numbers and flags stand after the \*"),
    ],
)
def test_slips_that_the_class_shows(one, message):
    with pytest.raises(TypeError, match=message):
        rule_of(one)


def test_formulas_that_return_no_step_at_first():
    p = np.ones(1)
    opt = rule_of(late)(p, backend="numpy")
    with pytest.raises(TypeError, match="formula late: with these numbers it returns no step"):
        opt.step(np.ones(1))
    assert_same_bits(p, np.ones(1))


def test_slips_that_the_first_optimizer_shows():
    with pytest.raises(TypeError, match=r"calls_numpy: .*; it computes with \+ - \* /, comparisons and the words of"):
        rule_of(calls_numpy)(np.ones(1), backend="numpy")
    with pytest.raises(TypeError, match=r"Rule: beta is no option without annotation: beta: float = \.\.\."):
        rule_of(own_rules.peaked, beta=0.9, eps=1e-8, peak=True)(np.ones(1), backend="numpy")
    with pytest.raises(TypeError, match=r"Rule\.inputs: expected a dict, found None"):
        rule_of(late, inputs=lambda o: None)(np.ones(1), backend="numpy")


def test_methods_need_no_decorator():
    """Of a rule's own methods each takes the options alone."""

    class Plain(fastopt.Optimizer):
        formula = own_rules.peaked
        lr: float = 0.1
        eps: float = 1e-8
        peak: bool = True

        def inputs(o):
            return {"beta": 0.5}

        def initial(o):
            return {"m": 2.0}

    assert Plain(np.ones(1), backend="numpy").state[0]["m"] == 2.0
