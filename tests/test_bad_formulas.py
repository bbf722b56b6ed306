"""Rules of one's own that are refused: formulas that do not fit, are not compiled, or fail."""

import numpy as np
import pytest
from helpers import assert_same_bits

import fastopt


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
    """What calls itself as a compiled one does, but takes other arrays or numbers."""
    like = fastopt.SGD.formula
    monkeypatch.setattr(other, "__module__", like.__module__)
    monkeypatch.setattr(other, "__qualname__", like.__qualname__)

    class Other(fastopt.SGD):
        formula = other
        states = {}
        inputs = staticmethod(lambda o: {})

    with pytest.raises(ValueError, match="it takes other arrays or numbers than when it was compiled"):
        Other(np.ones(2), backend=compiled)


def test_state_that_a_formula_uses_at_some_updates_only():
    class Sometimes(fastopt.SGD):
        formula = sometimes
        states = {}
        inputs = staticmethod(lambda o: {})

    p, q = np.ones(2), np.ones(2)
    opt = Sometimes([p, q], lr=0.5, backend="numpy")
    opt.step([None, np.ones(2)])
    with pytest.raises(TypeError):
        opt.step([np.ones(2), np.ones(2)])
    assert_same_bits(p, np.ones(2))
    assert_same_bits(q, np.full(2, 0.5))


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
        ({"states": {"v": "x"}}, "states names 'v', which its formula does not have"),
        ({"initial": staticmethod(lambda o: {"v": 1.0})}, "initial names 'v', which its formula does not have"),
        ({"inputs": staticmethod(lambda o: {"mu": 1.0})}, "inputs names 'mu', which its formula does not have"),
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
        TypeError, match="Takes: its formula takes gamma, which is no option; let `inputs` give a number for it"
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
