"""The translator by itself: what it reads computes what NumPy computes."""

import os
import re

import numpy as np
import pytest
from formulas import SHAPES, WORDS, by_text, flags, many_numbers, sums
from helpers import assert_same_bits, awkward
from hypothesis import given, settings
from hypothesis import strategies as st

from fastopt.engines.translator.parts import Loop, Refused
from fastopt.engines.translator.reader import LIMITS, translate
from fastopt.formula import LANES
from fastopt.number import Number, Unchecked
from fastopt.signature import signature

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
        "where": lambda condition, x, y: x if condition else y,
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
    names = signature(one)
    numbers = {name: bool(x) if name in names.flags else Unchecked(x) for name, x in inputs.items()}
    d = real(FRAME["s"]) * arrays["g"] + real(FRAME["l2"]) * arrays["p"]
    step = one(d, *(arrays[name] for name in names.arrays), **numbers)
    if step is not None:
        arrays["p"][:] = real(FRAME["keep"]) * arrays["p"] - step


def check(one, inputs, real=np.float32, size=70, seed=0, values=awkward):
    """The same bits by both, twice in a row."""
    rng = np.random.default_rng(seed)
    mine = {name: values(rng, size, real) for name in ("p", "g", *signature(one).state)}
    theirs = {name: x.copy() for name, x in mine.items()}
    made = translate(one)
    with np.errstate(all="ignore"):
        for _ in range(2):
            end = run(made, mine, inputs, real)
            in_numpy(one, theirs, inputs, real)
    for name in mine:
        assert_same_bits(mine[name], theirs[name])
    return end


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
        "return d if lr < mu else m",
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
    one = by_text("def one(d, *, lr):\n    return power(total(d), 2) * (3 if norm(d) > lr else 2) * lr * d\n")
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
