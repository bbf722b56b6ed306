"""Rules that are written wrong: what the error says, at the class, at the first optimizer or at the first step."""

import numpy as np
import pytest
from helpers import rule_of

import fastopt
from fastopt.formula import Carried, power, total


def plain(d, *, lr):
    return lr * d


def stateful(d, m, *, lr):
    m[:] = m + d
    return lr * m


def carrying(d, *, lr, seen: Carried):
    return lr * d, seen + 1


def with_self(self, d, *, lr):
    return lr * d


def without_arrays():
    return 0


def without_step(d, *, lr):
    pass


def a_number(d, *, lr):
    return total(d)


def a_default(d, *, lr=0.1):
    return lr * d


def another_number(d, *, lr, beta):
    return lr * beta * d


def flagged(d, *, lr, big: bool):
    return lr * d if big else d


def rooted(d, *, lr):
    return power(lr, 0.5) * d


def of_nothing():
    pass


def early(self, params):
    self.lr = 0.5
    super(fastopt.Optimizer, self).__init__(params)


def never(self, params):
    self.mine = params


# Each: the formula, the rest of the class, and what the error says.
BROKEN = {
    "a method as formula": (with_self, {}, "first argument is d, .* takes no self; found self, d"),
    "a formula of nothing": (without_arrays, {}, "first argument is d, .*; found none"),
    "no function as formula": (None, {}, r"Rule\.formula: expected a function, found None"),
    "a class method as formula": (
        classmethod(with_self),
        {},
        r"Rule\.formula: expected a function, found <classmethod",
    ),
    "no step": (without_step, {}, "returns a step, or else assigns p"),
    "a number as step": (a_number, {}, r"the step that it returns is an array like d, or None; found 2\.0"),
    "a default": (a_default, {}, "lr: its arguments have no defaults"),
    "a number of no option": (
        another_number,
        {},
        r"takes beta, which is no option; declare it, as in beta: float = \.\.\., or let `inputs` give a number for it",
    ),
    "a flag of no option": (flagged, {}, r"takes big, which is no option; declare it, as in big: bool = \.\.\., or"),
    "a pair for a number": (
        another_number,
        {"inputs": lambda o: {"beta": (0.9, 0.99)}},
        r"takes beta, which is \(0\.9, 0\.99\); let `inputs` give each number a name of its own, such as beta1, beta2",
    ),
    "a power that is not whole": (
        rooted,
        {},
        r"power: k: expected a whole number from 0, found 0\.5; write a root as sqrt\(x\)",
    ),
    "a string for a number": (
        another_number,
        {"inputs": lambda o: {"beta": "a"}},
        "takes beta, which is 'a'; let `inp",
    ),
    "initial of nothing": (
        stateful,
        {"initial": of_nothing},
        r"Rule\.initial: it takes the options alone, .*found the",
    ),
    "inputs with self": (plain, {"inputs": lambda self, o: {}}, r"Rule\.inputs: .* and no self; found .*\(self, o\)"),
    "check that is no function": (plain, {"check": True}, r"Rule\.check: expected a function of the options, found T"),
    "inputs that are no function": (
        plain,
        {"inputs": {}},
        r"Rule\.inputs: expected a function of the options, found {",
    ),
    "initial that is no dict": (stateful, {"initial": lambda o: 1.0}, r"Rule\.initial: expected a dict, found 1\.0"),
    "initial of a strange name": (stateful, {"initial": lambda o: {"v": 1}}, "initial names 'v', .*; it has m"),
    "initial as a word": (
        stateful,
        {"initial": lambda o: {"m": "a"}},
        r"Rule\.initial: m: expected a number, found 'a'",
    ),
    "initial as an array": (
        stateful,
        {"initial": lambda o: {"m": np.ones(2)}},
        "initial: m: expected a number, found ar",
    ),
    "carried from a word": (
        carrying,
        {"initial": lambda o: {"seen": "a"}},
        "initial: seen: expected a number, found 'a'",
    ),
    "carried from NaN": (
        carrying,
        {"initial": lambda o: {"seen": np.nan}},
        "initial: seen: nan was given; it must be fin",
    ),
    "states in a list": (stateful, {"states": ["m"]}, r"Rule\.states: expected a dict, found \['m'\]"),
    "states by numbers": (stateful, {"states": {"m": 3}}, r"Rule\.states\['m'\]: expected a string, found 3"),
    "states of a strange name": (
        stateful,
        {"states": {"v": "exp"}},
        "states names 'v', which it does not have; it has m",
    ),
    "a constructor that uses it early": (
        plain,
        {"__init__": early},
        r"Rule: .* has to call `super\(\)\.__init__\(params",
    ),
    "a constructor that builds nothing": (
        plain,
        {"__init__": never},
        r"Rule: it is not built yet; its __init__ has to",
    ),
    "a constructor of nothing": (plain, {"__init__": of_nothing}, "takes 0 positional arguments but 2 were given"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_rules(name):
    formula, body, message = BROKEN[name]
    p = np.ones(1)
    with pytest.raises((TypeError, ValueError, RuntimeError), match=message):
        rule_of(formula, **body)(p, **({} if "__init__" in body else {"backend": "numpy"})).step(np.ones(1))
    assert p == 1


@pytest.mark.parametrize(
    "use",
    [
        repr,
        lambda opt: opt.step(np.ones(1)),
        lambda opt: opt.bind(np.ones(1)),
        lambda opt: opt.lr,
        lambda opt: setattr(opt, "lr", 0.5),
        lambda opt: setattr(opt, "loss_scale", 2.0),
        lambda opt: opt.param_groups,
        lambda opt: opt.state,
        lambda opt: opt.backend,
        lambda opt: opt.grad_norm,
        lambda opt: opt.state_dict(),
        lambda opt: opt.load_state_dict({}),
        lambda opt: opt.add_param_group({"params": np.ones(1)}),
        lambda opt: opt.save("nowhere"),
    ],
)
def test_optimizers_that_are_not_built(use):
    opt = rule_of(plain, __init__=never)(np.ones(1))
    with pytest.raises(RuntimeError, match=r"Rule: it is not built yet; its __init__ has to call `super"):
        use(opt)


def test_methods_of_any_kind_are_taken():
    class Given(fastopt.Optimizer):
        formula = another_number
        lr: float = 0.5
        inputs = staticmethod(lambda o, beta=0.5: {"beta": beta})

    p = np.ones(1)
    Given(p, backend="numpy").step(np.ones(1))
    assert p == 0.75
