"""Rules of one's own that are refused: formulas that do not fit, are not compiled, or fail."""

import numpy as np
import pytest
from helpers import assert_same_bits, rule_of

import fastopt
from fastopt.engines.choice import get_backend
from fastopt.formula import Carried
from fastopt.signature import key_of


def other(d, m, *, lr):
    m[:] = d
    return lr * m


def sometimes(d, m, *, lr, t):
    if t > 1:
        m[:] = d
    return lr * d


def test_formulas_that_were_not_compiled(compiled):
    """A rule of one's own is told apart from a compiled one, however it is called, before it can reach any memory."""

    class Other(fastopt.SGD):
        formula = other
        states = {}
        inputs = staticmethod(lambda o: {})

    with pytest.raises(ValueError, match=rf"formula .*\.other is not compiled for the backend '{compiled}'"):
        Other(np.ones(2), backend=compiled)
    p = np.ones(2)
    opt = Other(p, lr=0.5, backend="numpy")
    opt.step(np.ones(2))
    assert_same_bits(p, np.full(2, 0.5))
    assert list(opt.state[0]) == ["step", "m"]


def test_formulas_that_are_not_those_that_were_compiled(compiled, monkeypatch):
    """What has the name of a compiled one, and what was compiled for other arrays or numbers."""
    like = fastopt.SGD.formula
    monkeypatch.setattr(other, "__module__", like.__module__)
    monkeypatch.setattr(other, "__qualname__", like.__qualname__)

    class Other(fastopt.SGD):
        formula = other
        states = {}
        inputs = staticmethod(lambda o: {})

    with pytest.raises(ValueError, match="is not compiled for the backend"):
        Other(np.ones(2), backend=compiled)
    made = get_backend(compiled).kernels.FORMULAS
    monkeypatch.setitem(made, other, made[key_of(like)])
    with pytest.raises(ValueError, match="it takes other arrays or numbers than when it was compiled"):
        Other(np.ones(2), backend=compiled)


def test_state_that_a_formula_uses_at_some_updates_only():
    class Sometimes(fastopt.SGD):
        formula = sometimes
        states = {}
        inputs = staticmethod(lambda o: {})

    p = np.ones(2)
    opt = Sometimes(p, lr=0.5, backend="numpy")
    assert list(opt.state[0]) == ["step", "m"]
    for _ in range(2):
        opt.step(np.ones(2))
    assert_same_bits(p, np.zeros(2))
    assert_same_bits(opt.state[0]["m"], np.ones(2))


def returns_no_array(d, *, lr):
    return lr


def widens(d, *, lr):
    return (lr * d).astype("f8")


def carries_nothing(d, m, *, lr, a: Carried):
    m[:] = m + d
    return lr * d


def carries_one_of_two(d, m, *, lr, a: Carried, b: Carried):
    m[:] = m + d
    return lr * d, a


def carries_a_word(d, m, *, lr, a: Carried):
    m[:] = m + d
    return lr * d, "a"


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (returns_no_array, "returns_no_array: the step that it returns is an array like d, or None; found 0.1"),
        (widens, r"widens: the step that it returns is an array like d, or None; found float64 of shape \(2,\)"),
        (carries_nothing, r"behind the step it returns the numbers that it carries, a; found \[\]"),
        (carries_one_of_two, r"behind the step it returns the numbers that it carries, a, b; found \[0.0\]"),
        (carries_a_word, r"behind the step it returns the numbers that it carries, a; found \['a'\]"),
    ],
)
def test_what_formulas_return(one, message):
    """It is looked at before the first write."""
    rule = rule_of(one)
    p = np.ones(2, np.float32)
    opt = rule(p, backend="numpy")
    with pytest.raises(TypeError, match=message):
        opt.step(np.ones(2, np.float32))
    assert_same_bits(p, np.ones(2, np.float32))
    assert all(not np.any(x) for x in opt.state[0].values())


def neither(d, m, *, lr):
    m[:] = lr * d


def both(d, p, *, lr):
    p[:] = p - lr * d
    return lr * d


@pytest.mark.parametrize("one", [neither, both])
def test_formulas_that_step_twice_or_never(one):
    rule = rule_of(one)
    with pytest.raises(TypeError, match=r"returns a step, or else assigns p\[:\]; this one does neither, or both"):
        rule(np.ones(2), backend="numpy")


def test_formulas_that_ask_an_array():
    """What a formula may not do is found before the first step, though arrays of one element would let it pass."""

    def asks(d, *, lr):
        return lr * d if d > 0 else d

    class Asks(fastopt.SGD):
        formula = asks
        states = {}
        inputs = staticmethod(lambda o: {})

    with pytest.raises(ValueError, match="truth value of an array"):
        Asks(np.ones(1), backend="numpy")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"states": {"m": "ema"}}, "its state cannot be called 'ema', for that is the name of another"),
        ({"states": {"m": "step"}}, "its state cannot be called 'step'"),
        ({"states": {"v": "x"}}, "states names 'v', which it does not have; it has"),
        ({"initial": staticmethod(lambda o: {"v": 1.0})}, "initial names 'v', which it does not have; it has"),
        ({"inputs": staticmethod(lambda o: {"mu": 1.0})}, "inputs names 'mu', which it does not have; it has"),
    ],
)
def test_rules_that_do_not_fit_their_formula(said, message):
    rule = type("Rule", (fastopt.SGD,), {"formula": other, "states": {}, "inputs": staticmethod(lambda o: {}), **said})
    with pytest.raises(TypeError, match=f"Rule: {message}"):
        rule(np.ones(2), backend="numpy")


def test_formulas_that_take_what_nobody_gives():
    def takes(d, *, lr, gamma):
        return lr * gamma * d

    class Takes(fastopt.SGD):
        formula = takes
        states = {}
        inputs = staticmethod(lambda o: {})

    with pytest.raises(
        TypeError, match="Takes: its formula takes gamma, which is no option; declare it, as in gamma: float ="
    ):
        Takes(np.ones(1), backend="numpy")


def test_formulas_that_fail(backend):
    """What raises in a formula raises before anything is written."""

    def fails(d, m, *, lr):
        m[:] = d
        if lr > 1:
            raise KeyError("lr")
        return lr * m

    class Fails(fastopt.SGD):
        formula = fails
        states = {}
        inputs = staticmethod(lambda o: {})

    p = np.ones(2)
    opt = Fails(p, lr=0.5, backend="numpy")
    opt.param_groups[0]["lr"] = 2.0
    with pytest.raises(KeyError, match="lr"):
        opt.step(np.ones(2))
    assert_same_bits(p, np.ones(2))
    assert_same_bits(opt.state[0]["m"], np.zeros(2))
