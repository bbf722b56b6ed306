"""What the translator cannot say exactly it refuses, with file and line."""

import math
import re

import pytest
from formulas import by_text

from fastopt.engines.translator.parts import Refused
from fastopt.engines.translator.reader import translate
from fastopt.engines.translator.writer import write

REFUSED = {
    "return lr * d ** 2": r"d \*\* 2: a formula computes with \+ - \* /; write powers as products",
    "return lr * d // 2": "a formula computes with",
    "return lr * d @ d": "a formula computes with",
    "return lr * exp(d)": r"exp\(d\): the words of a formula are sqrt, .*; others need not have the same bits",
    "return lr * np.exp(d)": r"np.exp\(d\): the words of a formula are sqrt, .*; others need not have the same bits",
    "return lr * max(lr, 1) * d": r"max\(lr, 1\): use the words .*: `from fastopt.formula import larger`",
    "return lr * d ** 0.5": r"d \*\* 0.5: a formula computes with \+ - \* /; write sqrt\(d\)",
    "return lr * power(d, 0.5)": r"power: k: expected a whole number from 0, found 0\.5; write a root as sqrt\(x\)",
    "return power(lr, -2) * d": r"power: k: expected a whole number from 0, found -2; .* 1 / power\(x, k\)",
    "return power(2, 1 / 2) * d": r"power: k: expected a whole number from 0, found 0\.5",
    "return lr * betas[0] * d": r"betas\[0\]: let `inputs` give each number a name of its own, such as beta1, beta2",
    "return lr[0] * d": r"lr\[0\]: let `inputs` give each number a name of its own",
    "return lr * sqrt(d, d)": "sqrt takes values by position, and this many: 1",
    "return lr * larger(x=d, y=d)": "larger takes values by position",
    "return lr * larger(*d)": "larger takes values by position",
    "return lr * d.real": "a formula has no such expression",
    "return lr * d[0]": "a formula has no such expression",
    "return lr * (lambda: d)": "a formula has no such expression",
    "return lr * ~d": "a formula has no such operation",
    "return lr * (0 < d < 1)": "a formula compares two values at a time",
    "return lr * (d > 0)": "it computes with a comparison or a flag; use where",
    "return lr * (d > 0 and d < 1)": "an array decides nothing by itself; use where",
    "return lr * where(d, d, 1)": "where takes a comparison of arrays; else write x if c else y",
    "return where(lr < 1, d, m)": "where takes a comparison of arrays; else write x if c else y",
    "return lr * where(d > 0, 1, 2)": "where takes a comparison and two values, one of them an array",
    "return lr * d if d > 0 else d": "an array decides nothing by itself; use where",
    "return lr * power(d, lr)": "of an array power takes a literal integer from 1 to 64",
    "return power(lr, d)": "of an array power takes a literal integer from 1 to 64",
    "return lr * power(d, 0)": "of an array power takes a literal integer from 1 to 64",
    "return lr * total(lr) * d": "it sums over no array",
    "return lr * 1e39 * d": "literals are numbers that float32 can hold",
    "return lr * 'x'": "literals are numbers",
    "return lr * True": "literals are numbers",
    "return lr * 9007199254740993 * d": "literals are numbers that float64 can hold",
    "return lr * (1 / 0) * d": "1 / 0: division by zero",
    "return lr * (2 * 1e38 * 2) * d": "literals are numbers that float32 can hold",
    "return lr * 'x' * d": "literals are numbers",
    "return (lr if norm(d) > 1 else 2) * d": "a sum chooses between what depends on sums, and literals",
    "sums0 = d * m\n    return lr * sums0": "sums0: the name means something else in a loop",
    "range = d * m\n    return lr * range": "range: the name means something else in a loop",
    "return lr * unknown * d": "unknown: it has no value here; a formula knows its arguments and its own names$",
    "return lr": "what it returns is no array",
    "lr * d": "a formula consists of x = ...",
    "d += lr": "a formula consists of x = ...",
    "for i in d:\n        pass\n    return lr * d": "a formula consists of x = ...",
    "x = y = lr * d\n    return x": "a formula consists of x = ...",
    "x, y = lr, d\n    return x * y": "a formula has no such expression",
    "d[:] = lr * d": r"d\[:\]: whole state arrays are assigned",
    "m[1:] = lr * d\n    return d": r"m\[1:\]: whole state arrays are assigned",
    "x = lr * d\n    x[:] = d\n    return x": "whole state arrays are assigned",
    "m.x = lr * d\n    return d": "names and whole arrays are assigned",
    "m = lr * d\n    return m": r"m: an argument keeps its meaning; write m\[:\] = ...",
    "lr = lr * 2\n    return lr * d": "lr: an argument keeps its meaning",
    "x = lr * 2\n    x = x * 2\n    return x * d": "x: a number is computed once",
    "x = lr * d\n    x = lr\n    return x * d": "x: a number is computed once",
    "x = d > lr\n    return where(x, d, m)": "x: a comparison or a flag has no other name",
    "keep = lr * d\n    return keep": "keep: the name means something else in a loop",
    "cdef = lr * d\n    return cdef": "cdef: the name means something else in a loop",
    "i = lr * d\n    return i": "i: the name means something else in a loop",
    "one_minus_lr = d * m\n    return (1 - lr) * one_minus_lr": r"one_minus_lr: the translator calls 1.0 - lr so",
    "term0 = d * m\n    return lr * term0": "term0: the name means something else in a loop",
    "m[:] = lr * d": r"a formula returns a step, or else assigns p\[:\]",
    "x = norm(d)\n    return lr * norm(x * d) * m": "it sums what depends on a sum",
    "x = norm(m)\n    m[:] = x * d\n    return lr * norm(d) * d": "it depends on a sum, and another sum follows",
    "x = d - m\n    m[:] = d\n    return lr * norm(d) * x": r"x: it is needed after a sum, but m changes in between",
    "if norm(d) > lr:\n        return d\n    return m": "it would choose a loop when half of it has run",
    "x = total(d) + total(m) + total(d * d) + total(m * m) + total(d * m)\n    return lr * x * d": "4 sums at most",
}


@pytest.mark.parametrize("body", REFUSED)
def test_refused(body):
    """With file and line: here the second, where the text's first line is the first."""
    one = by_text(f"def one(d, m, *, lr):\n    {body}\n")
    with pytest.raises(Refused, match=rf"^.*:\d+: .*{REFUSED[body]}") as refusal:
        translate(one)
    assert re.search(r":[1-6]: ", str(refusal.value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def one(d, m, *, lr):\n    return lr * d", "m: the array is never used"),
        ("def one(d, *, lr, mu):\n    return lr * d", "mu: the number is never used"),
        ("def one(d, *, lr, quick: bool):\n    return lr * d", "quick: the number is never used"),
        ("def one(d, n, *, lr):\n    return lr * d * n", "n: the name means something else"),
        ("def one(d, *, s):\n    return s * d", "s: the name means something else"),
        ("def one(d, *, p):\n    return p * d", "p: the name means something else"),
        ("def one(d, total, *, lr):\n    return lr * d * total", "total: the name means something else"),
        ("def one(d, m=1):\n    return m * d", "no defaults"),
        ("def one(d, p, *, lr):\n    p[:] = lr * d\n    return norm(p) * d", "does both or neither"),
        ("def one(d, p, *, lr):\n    p[:] = lr * d\n    p[:] = p * norm(p)", "p changes before a sum"),
        (
            "def one(d, one_minus_lr, *, lr):\n    return (1 - lr) * d * one_minus_lr",
            "the translator calls 1.0 - lr so",
        ),
        ("def one(d, wide, *, lr):\n    return lr * d * wide", "wide: the name means something else"),
        ("def fabs(d, *, lr):\n    return lr * d", "fabs: compiled loops have a function of this name"),
        ("def clip(d, *, lr):\n    return lr * d", "clip: compiled loops have a function of this name"),
        ("def one(d, a, b, c, e, f, h, j, k, l):\n    return a+b+c+e+f+h+j+k+l", "8 state at most; this one has 9"),
        (
            "def one(d, *, lr):\n    return " + "".join(f"({k} + lr) * (" for k in range(40)) + "d" + ")" * 40,
            "32 numbers",
        ),
        ("one = lambda d: d", "a formula is a def by itself"),
    ],
)
def test_refused_as_a_whole(text, message):
    with pytest.raises(Refused, match=message):
        translate(by_text(text))


def test_text_that_cannot_be_found():
    scope = {}
    exec("def one(d, *, lr):\n    return lr * d", scope)
    with pytest.raises(Refused, match="the text of one cannot be found; write it in a file"):
        translate(scope["one"])


@pytest.mark.parametrize("changed", ["2 * lr * d", "lr * np.sqrt(d)"])
def test_text_that_is_another(changed):
    """Whatever it says, what is wrong is that it was not imported."""
    one = by_text("def one(d, *, lr):\n    return lr * d\n")
    one.text = one.text.replace("lr * d", changed)
    with pytest.raises(Refused, match="this is not the text of one as it was imported; load it again"):
        translate(one)


def test_words_that_mean_something_else():
    """By their names alone they would be taken for others."""

    def one(d, *, lr):
        return lr * sqrt(d)

    def sqrt(x):
        return x

    with pytest.raises(Refused, match=r"use the words of .*: `from fastopt\.formula import sqrt`"):
        translate(one)


CONSTANT = 3.0


def test_constants_of_the_module():
    def one(d, *, lr):
        return lr * CONSTANT * d

    with pytest.raises(Refused, match=r"CONSTANT: it has no value here; .*; make it an option, and take it after"):
        translate(one)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        ("np.sign(d)", "sign"),
        ("np.maximum(d, lr)", "larger"),
        ("numpy.minimum(d, lr)", "smaller"),
        ("np.abs(d)", "absolute"),
        ("math.sqrt(lr) * d", "sqrt"),
        ("words.where(d > 0, d, 0)", "where"),
        ("np.linalg.norm(d) * d", "norm"),
    ],
)
def test_words_by_another_name(call, word, tmp_path):
    """In a file, for Python compiles a call of a module's function otherwise where the module is imported beside it."""
    file, scope = tmp_path / "formulas.py", {}
    head = "import math\nimport numpy\nimport numpy as np\nimport fastopt.formula as words\n"
    file.write_text(f"{head}def one(d, *, lr):\n    return {call}\n", encoding="utf-8")
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), scope)
    message = rf"formulas\.py:6: .*: use the words of fastopt\.formula: `from fastopt\.formula import {word}`$"
    with pytest.raises(Refused, match=message):
        translate(scope["one"])


def test_names_of_two_formulas():
    first = by_text("def one(d, *, lr, big: bool):\n    return lr * d if big else d")
    second = by_text("def one_big(d, *, lr):\n    return lr * d")
    with pytest.raises(Refused, match="one_big: loops of two formulas would have this name"):
        write([translate(first), translate(second)])
    with pytest.raises(Refused, match="one_big: loops of two formulas would have this name"):
        write([translate(second), translate(second)])


def test_file_and_line():
    def one(d, *, lr):
        return lr * d**2

    with pytest.raises(Refused, match=rf"test_refused_formulas.py:{one.__code__.co_firstlineno + 1}: d \*\* 2"):
        translate(one)


def test_infinite_literals_do_not_slip_in():
    assert math.isinf(1e999)
    with pytest.raises(Refused, match="literals are numbers that float32 can hold"):
        translate(by_text("def one(d):\n    return 1e999 * d"))
