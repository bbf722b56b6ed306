"""The translator by itself: what it reads computes what NumPy computes, and what it cannot say exactly it refuses."""

import math
import os
import re

import numpy as np
import pytest
from formulas import SHAPES, flags, many_numbers, sums
from helpers import assert_same_bits, awkward
from hypothesis import given, settings
from hypothesis import strategies as st

from fastopt import formula
from fastopt.engines.translator.parts import Loop, Refused
from fastopt.engines.translator.reader import LIMITS, translate
from fastopt.engines.translator.writer import write
from fastopt.formula import LANES, Number, absolute, dot, larger, norm, power, sign, smaller, sqrt, total, where

WORDS = {one.__name__: one for one in (sqrt, absolute, sign, larger, smaller, where, power, total, norm, dot)}
FRAME = {"s": -0.5, "l2": 0.25, "keep": 0.875}


# A machine that runs what was read: line by line and element by element, as C would.


def scalar_words(real):
    def apply(name):
        return lambda *values: real(float(WORDS[name](*map(Number, values))))

    words = {name: apply(name) for name in ("absolute", "sign", "power")}
    return words | {
        "sqrt": np.sqrt,
        "larger": lambda x, y: x if x > y else y,
        "smaller": lambda x, y: x if x < y else y,
        "wide": np.float64,
        "real": real,
    }


def text_of(node):
    import ast

    return re.sub(r"<real>([0-9.e+-]+)", r"real(\1)", ast.unparse(node))


def compute(node, scope):
    return eval(text_of(node), {"__builtins__": {}}, scope)


def run(made, arrays, inputs, real):
    """Run a translation on arrays by name, ``p`` and ``g`` among them."""
    numbers = scalar_words(np.float64) | {name: np.float64(value) for name, value in inputs.items()}
    end = made.tree
    while not isinstance(end, Loop):
        scope = dict(numbers)
        for name, node in end.definitions.items():
            scope[name] = compute(node, scope)
        end = end.yes if compute(end.condition, scope) else end.no
    for name, node in end.definitions.items():
        numbers[name] = compute(node, numbers)
    places = {name: compute(node, numbers) for name, node in {**end.before, **end.kept}.items()}
    if end.sums:
        numbers["sums"] = summed(end, arrays, FRAME | places, real)
        numbers |= {name: places[name] for name in end.kept}
        for name, node in end.after_definitions.items():
            numbers[name] = compute(node, numbers)
        places |= {name: compute(node, numbers) for name, node in end.after.items()}
    loop(end.second, arrays, FRAME | places, real)
    return end


def loop(lines, arrays, places, real):
    scope = scalar_words(real) | {name: real(value) for name, value in places.items()} | arrays
    for i in range(arrays["p"].size):
        scope["i"] = i
        for line in lines:
            value = compute(line.node, scope)
            if line.is_local:
                scope[line.target] = value
            else:
                scope[line.target[:-3]][i] = value


def summed(end, arrays, places, real):
    lanes = {f"lanes{k}": np.zeros(LANES) for k in range(len(end.sums))}
    for start in range(0, arrays["p"].size, LANES):
        row = {name: x[start : start + LANES] for name, x in arrays.items()}
        terms = {f"term{k}{x}": np.zeros(LANES, dtype=real) for k in range(LIMITS["sums"]) for x in "ab"}
        loop(end.first, {**row, **terms, **lanes}, places, real)
        size = row["p"].size
        for name, one in zip(lanes, end.sums, strict=True):
            if one.rows:
                x, y = ({**row, **terms}[one.rows[k]][:size].astype(np.float64) for k in (0, -1))
                lanes[name][:size] += x * y if len(one.factors) == 2 else x
    return [folded(one) for one in lanes.values()]


def folded(lanes):
    while lanes.size > 1:
        lanes = lanes[: lanes.size // 2] + lanes[lanes.size // 2 :]
    return lanes[0]


def in_numpy(one, arrays, inputs, real):
    """What the engine does with a formula in NumPy."""
    names = formula.signature(one)
    numbers = {name: bool(x) if name in names.flags else formula.Unchecked(x) for name, x in inputs.items()}
    d = real(FRAME["s"]) * arrays["g"] + real(FRAME["l2"]) * arrays["p"]
    step = one(d, *(arrays[name] for name in names.arrays), **numbers)
    if step is not None:
        arrays["p"][:] = real(FRAME["keep"]) * arrays["p"] - step


def check(one, inputs, real=np.float32, size=70, seed=0, values=awkward):
    """The same bits by both, twice in a row."""
    rng = np.random.default_rng(seed)
    mine = {name: values(rng, size, real) for name in ("p", "g", *formula.signature(one).state)}
    theirs = {name: x.copy() for name, x in mine.items()}
    made = translate(one)
    with np.errstate(all="ignore"):
        for _ in range(2):
            end = run(made, mine, inputs, real)
            in_numpy(one, theirs, inputs, real)
    for name in mine:
        assert_same_bits(mine[name], theirs[name])
    return end


def by_text(text):
    """A formula from its text."""
    scope = dict(WORDS)
    exec(text, scope)
    one = next(value for name, value in scope.items() if name not in WORDS and callable(value))
    one.text = text
    return one


@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize(
    "line",
    [
        "return lr * d / mu * m",
        "return lr / mu * d",
        "return lr * (mu * d)",
        "return d - (m - lr) - mu",
        "return d - m - lr",
        "return d / (m / lr)",
        "return -d * -lr",
        "return (9007199254740990 + 1 - 9007199254740990) * d - lr",
        "return (0 * -1) * d + -0 * m + power(5, 12) * lr * d",
        "x = 3\n    return (x - 1 / 3) * lr * d",
        "return -(d + m)",
        "return +m",
        "return 0.1 * d + 1 / 3 * m",
        "return (1 - mu) * d + mu * m",
        "return sqrt(absolute(d)) / sqrt(lr)",
        "return sign(d) * larger(m, lr) * smaller(mu, d)",
        "return larger(lr, mu) * sign(mu - lr) * d",
        "return where(d > m, d, lr)",
        "return where(d == 0, m, where(m != m, 0.5, d))",
        "return where(lr < mu, d, m)",
        "return where(d <= lr, -1, m) * 2",
        "return power(d, 5) + power(m, 1) * power(d, 2)",
        "return power(lr, 3) * d",
        "return absolute(lr - mu) * d",
        "return larger(d, m) - larger(m, d)",
        "return (mu if lr > 0.25 else 2) * d",
        "return (mu if not lr > 0.25 and mu or 0 else 2) * d",
        "return (d if quick else m) * lr",
        "return d if lr == mu else m",
    ],
)
def test_expressions(line, real):
    used = {name for name in ("m", "lr", "mu", "quick") if re.search(rf"\b{name}\b", line)}
    head = ", ".join(["d", *(["m"] if "m" in used else [])])
    numbers = ", ".join([x for x in ("lr", "mu") if x in used] + (["quick: bool"] if "quick" in used else []))
    one = by_text(f"def one({head}{', *, ' + numbers if numbers else ''}):\n    {line}\n")
    inputs = {"lr": 0.1, "mu": 0.3, "quick": 0.0}
    for quick in (0.0, 1.0):
        check(one, {name: x for name, x in (inputs | {"quick": quick}).items() if name in used}, real)


@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize(("one", "inputs"), SHAPES)
def test_shapes(one, inputs, real):
    check(one, inputs, real)
    check(one, inputs, real, values=lambda rng, size, real: rng.normal(size=size).astype(real))


def test_ends_of_the_tree():
    """A flag that is not asked on the way to an end makes no loop of its own, and numbers alone none at all."""
    names = [loop.name for loop in translate(flags).loops]
    assert names == [
        "flags_big_small_t_above_two",
        "flags_big_small_t_is_one",
        "flags_big_small",
        "flags_big_t_is_one",
        "flags_big",
        "flags",
    ]
    assert [loop.name for loop in translate(many_numbers).loops] == ["many_numbers"]


def test_a_choice_that_is_made_twice():
    """It has the answer that it had, and makes no loops that nothing reaches."""
    one = by_text(
        "def one(d, m, h, *, lr, q: bool):\n    if q:\n        m[:] = d\n    x = h if q else m\n    return lr * x\n"
    )
    assert [loop.name for loop in translate(one).loops] == ["one_q", "one"]
    for q in (0.0, 1.0):
        check(one, {"lr": 0.1, "q": q})


def test_a_sum_within_a_power():
    one = by_text("def one(d, *, lr):\n    return power(total(d), 2) * where(norm(d) > lr, 3, 2) * lr * d\n")
    assert len(translate(one).loops[0].sums) == 2
    check(one, {"lr": 0.1})


def test_names_of_long_conditions():
    """They are cut short, and told apart."""
    test = "lr * lr * lr * lr * lr * lr * lr * lr > {}"
    choices = "".join(f"    if {test.format(k)}:\n        return {k} * d\n" for k in (1, 2))
    one = by_text(f"def one(d, *, lr):\n{choices}    return -d\n")
    names = [loop.name for loop in translate(one).loops]
    assert len(set(names)) == 3


def test_what_a_second_pass_reads():
    """It computes again what it needs, from the state, and reads no gradient that it does not need."""
    one = translate(sums).loops[0]
    assert [line.target for line in one.second] == ["u", "v[i]", "p[i]"]
    assert "g[i]" not in {name for line in one.second for name in line.names}


@st.composite
def texts(draw):
    """Formulas of random lines: operations on arrays, numbers, locals, aliases, flags and sums."""
    arrays, numbers, lines = ["d", "m", "v", "p"], ["lr", "mu", "0.5", "3"], []
    sums_allowed = draw(st.booleans())

    def number():
        x, y, sign = draw(st.sampled_from(numbers)), draw(st.sampled_from(numbers[:2])), draw(st.sampled_from("+-*/"))
        forms = [x, f"({x} {sign} {y})", f"({y} {sign} {x})", f"sqrt({x})", f"({x} if {y} > 0.2 else {y})"]
        return draw(st.sampled_from(forms))

    def array(depth):
        kind = draw(st.integers(0, 5)) if depth else 0
        if kind == 0:
            return draw(st.sampled_from(arrays))
        if kind == 1:
            return f"({number()} {draw(st.sampled_from('+-*/'))} {array(depth - 1)})"
        if kind == 2:
            return f"({array(depth - 1)} {draw(st.sampled_from('+-*/'))} {array(depth - 1)})"
        if kind == 3:
            word = draw(st.sampled_from(["sqrt", "absolute", "sign", "-", "+"]))
            return f"{word}({array(depth - 1)})"
        if kind == 4:
            word = draw(st.sampled_from(["larger", "smaller"]))
            return f"{word}({array(depth - 1)}, {draw(st.sampled_from([number(), array(depth - 1)]))})"
        return f"where({array(depth - 1)} > {number()}, {array(depth - 1)}, {number()})"

    for k in range(draw(st.integers(1, 5))):
        kind = draw(st.integers(0, 4))
        if kind == 0:
            lines.append(f"{draw(st.sampled_from('mv'))}[:] = {array(2)}")
        elif kind == 1:
            lines.append(f"x{k} = {array(2)}")
            arrays.append(f"x{k}")
        elif kind == 2:
            lines.append(f"x{k} = {draw(st.sampled_from('mv'))}")
            arrays.append(f"x{k}")
        elif kind == 3:
            lines.append(f"n{k} = {number()} * lr")
            numbers.append(f"n{k}")
        elif sums_allowed:
            lines.append(f"n{k} = {draw(st.sampled_from(['total', 'norm']))}({array(1)})")
            numbers.append(f"n{k}")
        else:
            lines += ["if flag:", f"    m[:] = {array(1)}"]
    body = "".join(f"    {line}\n" for line in [*lines, f"return {array(3)} + lr * mu * (m + v) * (p if flag else d)"])
    return f"def one(d, p, m, v, *, lr, mu, flag: bool):\n{body}"


@settings(max_examples=int(os.environ.get("FASTOPT_EXAMPLES", 150)), deadline=None)
@given(text=texts(), real=st.sampled_from([np.float32, np.float64]), flag=st.booleans(), seed=st.integers(0, 99))
def test_any_formula(text, real, flag, seed):
    """What is read computes the same bits as NumPy; what is refused is refused for a sum, and for nothing else."""
    one = by_text(text)
    try:
        translate(one)
    except Refused as refusal:
        refused = str(refusal)
    else:
        refused = None
        check(one, {"lr": 0.1, "mu": 0.3, "flag": float(flag)}, real, size=40, seed=seed)
    assert refused is None or "sum" in refused, text


# Refused

REFUSED = {
    "return lr * d ** 2": r"d \*\* 2: a formula computes with \+ - \* /; write powers as products",
    "return lr * d // 2": "a formula computes with",
    "return lr * d @ d": "a formula computes with",
    "return lr * exp(d)": r"exp\(d\): the words of a formula are sqrt, .*; others need not have the same bits",
    "return lr * np.sqrt(d)": "the words of a formula are",
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
    "return lr * where(d, d, 1)": "where takes a comparison and two values",
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
    "return lr * unknown * d": "unknown: it has no value here",
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
    "m = lr * d\n    return m": r"m: a parameter keeps its meaning; write m\[:\] = ...",
    "lr = lr * 2\n    return lr * d": "lr: a parameter keeps its meaning",
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
    "x = d - m\n    m[:] = d\n    return lr * norm(d) * x": r"x: it is needed behind a sum, but m changes in between",
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


def test_words_that_mean_something_else():
    """By their names alone they would be taken for others."""

    def one(d, *, lr):
        return lr * sqrt(d)

    def sqrt(x):
        return x

    with pytest.raises(Refused, match="the words of a formula are"):
        translate(one)


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

    with pytest.raises(Refused, match=rf"test_translator.py:{one.__code__.co_firstlineno + 1}: d \*\* 2"):
        translate(one)


def test_infinite_literals_do_not_slip_in():
    assert math.isinf(1e999)
    with pytest.raises(Refused, match="literals are numbers that float32 can hold"):
        translate(by_text("def one(d):\n    return 1e999 * d"))
