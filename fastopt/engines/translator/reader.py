"""Reads a formula as text, and says which loops and numbers it comes to.

Each ``if`` makes a branch of a tree of choices, and so does each ``x if c else y`` that chooses between arrays; those
of numbers alone do not. At each end of the tree stands a loop over the elements, in which a line of the formula is a
line. Each largest expression of numbers alone is taken out of the loop, and becomes one of its numbers.

A sum over an array ends a pass: what stands before it is done and summed in a first loop, what follows in a second, and
what the second needs of the first is computed again.

What C would not say with the same bits is refused, with its file and line.
"""

import ast
import inspect
import operator
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import CellType
from typing import Any, NoReturn, TypeAlias

from fastopt import formula as words
from fastopt.engines.translator.parts import (
    COMPARISONS,
    OPERATORS,
    Choice,
    Line,
    Loop,
    Numbers,
    Refused,
    Sum,
    Translation,
    array_of,
    mangled,
    names_in,
    needed,
    read_of,
)
from fastopt.formula import Formula, key_of, signature

LIMITS = {"state": 8, "numbers": 32, "sums": 4}  # of a formula: the engine has room for so many
_SUMS = {"total": 1, "norm": 1, "dot": 2}
_WORDS = {"sqrt": 1, "absolute": 1, "sign": 1, "larger": 2, "smaller": 2, "where": 3, "power": 2, **_SUMS}
_MEANING = {word: getattr(words, word) for word in _WORDS}
_FRAME_NAMES = {"d", "g", "s", "l2", "keep"}
# What the loops are written with, and what means something to Cython.
_TAKEN = (
    {"i", "n", "inputs", "numbers", "buffers", "sums", "range", "start", "width", "wide", "real", *_WORDS}
    | {"bint", "by", "cdef", "char", "cimport", "const", "cpdef", "ctypedef", "double", "enum", "extern", "float"}
    | {"gil", "include", "inline", "int", "long", "new", "nogil", "restrict", "short", "signed", "sizeof", "struct"}
    | {"union", "unsigned", "void", "volatile", "DEF", "ELIF", "ELSE", "IF", "LANES", "NULL"}
)
_IN_PYTHON: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda x, y: x / y,
}
_FUNCTIONS = (
    {"add_elements", "add_products", "add_squares", "average", "capsule", "clear", "clip", "fold", "folded"}
    | {"formula", "gather", "kernels", "loop", "reductions", "squares", "swap", "wide"}
    | {"fabs", "fabsf", "memset", "sqrt_of_double", "sqrtf"}
)
_OURS = re.compile(r"_|.*__|(lanes|term|sums)\d")
_LARGEST = 3.4028234663852886e38  # that float32 can hold

_Decisions: TypeAlias = Mapping[str, tuple[ast.expr, bool]]  # conditions and their answers, by their text


def translate(formula: Formula) -> Translation:
    """Read a formula.

    Parameters
    ----------
    formula : function
        Its text is looked up in its file, or in its attribute ``text``.

    Returns
    -------
    Translation

    Raises
    ------
    Refused
        It says something that C would not say with the same bits, or its text cannot be found.
    """
    text = _Text(formula)
    loops: list[Loop] = []

    def grow(decisions: _Decisions) -> Choice | Loop:
        """The tree below these decisions. A run that meets an open choice is dropped, and repeated with each answer."""
        try:
            loops.append(_Run(text, decisions).loop())
        except _Undecided as choice:
            yes, no = (grow({**decisions, choice.key: (choice.condition, answer)}) for answer in (True, False))
            return Choice(choice.condition, choice.definitions, yes, no)
        return loops[-1]

    tree = grow({})
    for index, loop in enumerate(loops):
        if loop.name in (other.name for other in loops[:index]):  # long conditions are cut short in names
            loop.name += f"_{index}"
    names = text.signature
    counts = {"state": len(names.state), "numbers": max(len(loop.number_names) for loop in loops)}
    for what, count in counts.items():
        if count > LIMITS[what]:
            text.refuse(text.function, f"a formula has {LIMITS[what]} {what} at most; this one has {count}")
    used = {array_of(name) for loop in loops for line in (*loop.first, *loop.second) for name in line.names}
    used |= {line.array for loop in loops for line in (*loop.first, *loop.second)}
    for name in names.state:
        if name not in used:
            text.refuse(text.function, f"{name}: the array is never used")
    read = {name for loop in loops for name in _numbers_of(loop)} | _conditions(tree)
    for name in names.inputs:
        if name not in read:
            text.refuse(text.function, f"{name}: the number is never used")
    return Translation(key_of(formula), names.state, names.inputs, tree, loops)


def _numbers_of(loop: Loop) -> set[str]:
    """The names that a loop's numbers are computed of."""
    nodes = [*loop.before.values(), *loop.kept.values(), *loop.definitions.values()]
    return {name for node in nodes for name in names_in(node)}


def _conditions(tree: Choice | Loop) -> set[str]:
    """The names that decide."""
    if isinstance(tree, Loop):
        return set()
    return names_in(tree.condition) | _conditions(tree.yes) | _conditions(tree.no)


class _Text:
    """A formula's syntax tree, and where it stands."""

    def __init__(self, formula: Formula) -> None:
        self.file, first = formula.__code__.co_filename, 1
        try:
            text = getattr(formula, "text", None)
            if text is None:
                lines, first = inspect.getsourcelines(formula)
                text = "".join(lines)
        except (OSError, TypeError):
            raise Refused(f"{self.file}: the text of {formula.__name__} cannot be found; write it in a file") from None
        self.offset = first - 1
        self.scope = formula.__globals__ | _closure(formula)
        function: ast.stmt | None
        try:
            (function,) = ast.parse(textwrap.dedent(text)).body
        except (SyntaxError, ValueError):
            function = None
        if not isinstance(function, ast.FunctionDef) or function.decorator_list:
            raise Refused(f"{self.file}:{first}: a formula is a def by itself, without decorators")
        self.function = function
        try:
            self.signature = signature(formula)
        except TypeError as error:
            self.refuse(self.function, str(error))
        name = self.function.name
        if name in _FUNCTIONS or name in _WORDS:
            self.refuse(self.function, f"{name}: compiled loops have a function of this name; choose another")
        for name in self.signature.arrays:
            self.check_name(self.function, name)
        for name in self.signature.inputs:
            self.check_name(self.function, name, ("p",))

    def refuse(self, node: ast.stmt | ast.expr, reason: str) -> NoReturn:
        raise Refused(f"{self.file}:{node.lineno + self.offset}: {reason}")

    def check_name(self, node: ast.stmt, name: str, forbidden: Sequence[str] = ()) -> None:
        if name in _FRAME_NAMES | _TAKEN or name in forbidden or _OURS.match(name):
            self.refuse(node, f"{name}: the name means something else in a loop; choose another")


def _closure(formula: Formula) -> dict[str, Any]:
    """The names that a formula has from the function around it."""
    cells = zip(formula.__code__.co_freevars, formula.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if cell != CellType()}


class _Undecided(Exception):
    """A choice between loops that has not been made yet."""

    def __init__(self, key: str, condition: ast.expr, definitions: Numbers) -> None:
        self.key, self.condition, self.definitions = key, condition, definitions


@dataclass
class _Value:
    """What an expression comes to: in C, as a syntax tree."""

    node: ast.expr
    kind: str  # "array", "number", "mask" (a comparison of arrays) or "condition" (one of numbers, or a flag)
    after_sum: bool = False  # whether it depends on a sum
    array: str | None = None  # that it is another name of
    literal: int | float | None = None  # what Python computes of literals alone


def _name(text: str) -> ast.Name:
    return ast.Name(id=text)


def _call(word: str, nodes: list[ast.expr]) -> ast.Call:
    return ast.Call(_name(word), nodes, [])


class _Run(ast.NodeVisitor):
    """Follows a formula to one end of its tree. Visiting an expression gives its value."""

    def __init__(self, text: _Text, decisions: _Decisions) -> None:
        self.text, self.decisions = text, decisions
        self.known = {name: _Value(_name(f"{name}[i]"), "array", array=name) for name in text.signature.arrays}
        numbers = (*text.signature.numbers, *text.signature.carried)
        self.known |= {name: _Value(_name(name), "number") for name in numbers}
        self.known |= {name: _Value(_name(name), "condition") for name in text.signature.flags}
        self.known["d"] = _Value(_name("d"), "array")
        self.parameters = set(self.known)
        scaled, decayed = (ast.BinOp(_name(x), ast.Mult(), _name(y)) for x, y in (("s", "g[i]"), ("l2", "p[i]")))
        self.lines = [Line("d", ast.BinOp(scaled, ast.Add(), decayed))]
        self.versions: dict[str, int] = {}  # of the names of the loop's own values
        self.sums: list[Sum] = []
        self.definitions: Numbers = {}
        self.after_definitions: Numbers = {}
        self.before: Numbers = {}
        self.kept: Numbers = {}
        self.after: Numbers = {}
        self.returned: _Value | None = None
        self.carried: list[str] = []

    def refuse(self, node: ast.stmt | ast.expr, reason: str) -> NoReturn:
        self.text.refuse(node, reason)

    def loop(self) -> Loop:
        """The loop at the end."""
        function = self.text.function
        self.follow(function.body)
        assigns = any(line.array == "p" for line in self.lines)
        if assigns == (self.returned is not None):
            self.refuse(function, "a formula returns a step, or else assigns p[:]; this one does both or neither")
        names = self.text.signature.carried
        if len(self.carried) != len(names):
            found = f"{len(self.carried)} of {len(names)}: {', '.join(names)}"
            self.refuse(function, f"a formula returns its carried numbers behind the step, all in order; found {found}")
        if self.returned is not None:
            kept = ast.BinOp(_name("keep"), ast.Mult(), _name("p[i]"))
            self.lines.append(Line("p[i]", ast.BinOp(kept, ast.Sub(), self.returned.node), "p"))
        first, second = self.passes()
        own = (
            {line.target for line in (*first, *second)} | set(self.after_definitions) | set(self.text.signature.arrays)
        )
        for name, node in [*self.before.items(), *self.after.items(), *self.kept.items()]:
            if name in own and not isinstance(node, ast.Name):
                self.refuse(function, f"{name}: the translator calls {ast.unparse(node)} so; choose another name")
        path = self.decisions.values()
        yes = [mangled(condition) for condition, answer in path if answer]
        comment = ", ".join(ast.unparse(c if answer else ast.UnaryOp(ast.Not(), c)) for c, answer in path)
        return Loop(
            name="_".join([function.name, *yes]),
            comment=comment,
            first=first,
            second=second,
            sums=self.sums,
            definitions=self.definitions,
            before=self.before,
            kept=self.kept,
            after_definitions=self.after_definitions,
            after=self.after,
            carried=self.carried,
        )

    def passes(self) -> tuple[list[Line], list[Line]]:
        """The lines of the pass that sums, and of the one that updates."""
        if not self.sums:
            return [], needed(self.lines)
        function = self.text.function
        barrier = max(one.position for one in self.sums)
        first, second = self.lines[:barrier], self.lines[barrier:]
        written: dict[str, int] = {}
        for index, line in enumerate(first):
            if line.array == "p":
                self.refuse(function, "p changes before a sum; sum first")
            if line.names & set(self.after):
                self.refuse(function, f"{line.target}: it depends on a sum, and another sum follows; sum all before")
            if line.array:
                written[line.array] = index
        again = read_of(first, second)
        for index, line in enumerate(first):
            for array in sorted(filter(None, map(array_of, line.names))) if line in again else ():
                if written.get(array, -1) > index:
                    self.refuse(function, f"{line.target}: it is needed behind a sum, but {array} changes in between")
        with_terms = list(first)
        for index, one in reversed(list(enumerate(self.sums))):
            add = self.terms if written else self.lanes
            with_terms[one.position : one.position] = add(index, one, written)
        return needed(with_terms), needed([*again, *second])

    def terms(self, index: int, one: Sum, written: Mapping[str, int]) -> list[Line]:
        """The lines for a sum that is added up after each row: beside updates it would make their vectors narrower."""
        lines: list[Line] = []
        for factor in one.distinct_factors:
            array = array_of(factor.id) if isinstance(factor, ast.Name) else None
            if array is None or written.get(array, -1) >= one.position:
                array = f"term{index}{'ab'[len(lines)]}"
                lines.append(Line(f"{array}[i]", factor, part="term"))
            one.rows.append(array)
        return lines

    def lanes(self, index: int, one: Sum, written: Mapping[str, int]) -> list[Line]:
        """The lines for a sum that is added up as it is computed."""
        lines: list[Line] = []
        wide: list[ast.expr] = []
        for factor in one.distinct_factors:
            if not isinstance(factor, ast.Name):
                lines.append(Line(f"term{index}{'ab'[len(lines)]}", factor))
                factor = _name(lines[-1].target)
            wide.append(_call("wide", [factor]))
        wide *= 2 if one.is_of_squares else 1
        product = ast.BinOp(wide[0], ast.Mult(), wide[1]) if len(wide) == 2 else wide[0]
        lane = f"lanes{index}[i]"
        return [*lines, Line(lane, ast.BinOp(_name(lane), ast.Add(), product), part="lane")]

    # Statements

    def follow(self, body: Iterable[ast.stmt]) -> bool:
        """Follow statements; whether one of them returned."""
        for statement in body:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue  # a docstring
            if isinstance(statement, ast.Return):
                self.give_back(statement)
                return True
            if isinstance(statement, ast.If):
                decided = self.decide(statement, self.condition(statement.test))
                if self.follow(statement.body if decided else statement.orelse):
                    return True
            elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                self.assign(statement, statement.targets[0], self.value(statement.value))
            elif not isinstance(statement, ast.Pass):
                start = ast.unparse(statement).splitlines()[0]
                self.refuse(statement, f"{start}: a formula consists of x = ..., x[:] = ..., if and return")
        return False

    def give_back(self, statement: ast.Return) -> None:
        """What a formula returns: a step, or none, and behind it the numbers that it carries on."""
        made = statement.value
        step, carried = (made.elts[0], made.elts[1:]) if isinstance(made, ast.Tuple) and made.elts else (made, [])
        if not (step is None or (isinstance(step, ast.Constant) and step.value is None)):
            self.returned = returned = self.value(step)
            if returned.kind != "array":
                self.refuse(statement, f"{ast.unparse(statement)}: what it returns is no array")
        for node in carried:
            value = self.value(node)
            if value.kind != "number":
                self.refuse(statement, f"{ast.unparse(node)}: what is carried on is a number")
            place = self.place(self.after if value.after_sum else self.kept, value.node)
            self.carried.append(place.id)

    def assign(self, statement: ast.stmt, target: ast.expr, value: _Value) -> None:
        if isinstance(target, ast.Subscript):
            self.assign_array(statement, target, value)
            return
        if not isinstance(target, ast.Name):
            self.refuse(statement, f"{ast.unparse(target)}: names and whole arrays are assigned, one at a time")
        name = target.id
        if name in self.parameters:
            self.refuse(statement, f"{name}: a parameter keeps its meaning; write {name}[:] = ... for a state array")
        self.text.check_name(statement, name, ("p",))
        if value.kind in ("mask", "condition"):
            self.refuse(statement, f"{name}: a comparison or a flag has no other name; write it where it decides")
        if name in self.known and "number" in (value.kind, self.known[name].kind):
            self.refuse(statement, f"{name}: a number is computed once and has one name; choose another")
        if value.kind == "number":
            if value.literal is None:
                (self.after_definitions if value.after_sum else self.definitions)[name] = value.node
                value = replace(value, node=_name(name))
        elif value.array is None:
            version = self.versions[name] = self.versions.get(name, 0) + 1
            own = name if version == 1 else f"{name}__{version}"
            self.lines.append(Line(own, value.node))
            value = _Value(_name(own), "array")
        self.known[name] = value  # as in NumPy, perhaps another name of the same array

    def assign_array(self, statement: ast.stmt, target: ast.Subscript, value: _Value) -> None:
        part = target.slice
        whole = isinstance(part, ast.Slice) and part.lower is part.upper is part.step is None
        known = self.known.get(target.value.id) if isinstance(target.value, ast.Name) else None
        if not whole or known is None or known.array is None:
            self.refuse(statement, f"{ast.unparse(target)}: whole state arrays are assigned, as in m[:] = ..., and p")
        self.lines.append(Line(f"{known.array}[i]", self.element(statement, value), known.array))

    # Expressions

    def value(self, node: ast.expr) -> _Value:
        """What an expression comes to."""
        value: _Value = self.visit(node)
        return value

    def generic_visit(self, node: Any) -> NoReturn:
        self.refuse(node, f"{ast.unparse(node)}: a formula has no such expression")

    def visit_Constant(self, node: ast.Constant) -> _Value:
        return self.literal(node, lambda: node.value)

    def literal(self, node: ast.expr, compute: Callable[..., Any], *literals: object) -> _Value:
        """A literal, or what is computed of literals alone: by Python, for whole numbers are exact there."""
        try:
            value = compute(*literals)
        except ArithmeticError as error:
            self.refuse(node, f"{ast.unparse(node)}: {error}")
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= _LARGEST:
            self.refuse(node, f"{ast.unparse(node)}: a formula's literals are numbers that float32 can hold")
        if float(value) != value:
            self.refuse(node, f"{ast.unparse(node)}: a formula's literals are numbers that float64 can hold")
        return _Value(ast.Constant(float(value)), "number", literal=value)

    def visit_Name(self, node: ast.Name) -> _Value:
        if node.id not in self.known:
            self.refuse(node, f"{node.id}: it has no value here; a formula knows its parameters and its own names")
        return self.known[node.id]

    def visit_UnaryOp(self, node: ast.UnaryOp) -> _Value:
        if isinstance(node.op, ast.Not):
            value = self.condition(node.operand)
        else:
            value = self.value(node.operand)
            if value.kind not in ("array", "number") or not isinstance(node.op, ast.USub | ast.UAdd):
                self.refuse(node, f"{ast.unparse(node)}: a formula has no such operation")
            if isinstance(node.op, ast.UAdd):
                return replace(value, array=None)  # in NumPy a copy
        if value.literal is not None:
            return self.literal(node, operator.neg, value.literal)
        return _Value(ast.UnaryOp(node.op, value.node), value.kind, value.after_sum)

    def visit_BinOp(self, node: ast.BinOp) -> _Value:
        if type(node.op) not in OPERATORS:
            hint = "; write powers as products, or power(x, k)" if isinstance(node.op, ast.Pow) else ""
            self.refuse(node, f"{ast.unparse(node)}: a formula computes with + - * /{hint}")
        values = self.value(node.left), self.value(node.right)
        return self.combined(
            node, values, lambda nodes: ast.BinOp(nodes[0], node.op, nodes[1]), _IN_PYTHON[type(node.op)]
        )

    def visit_Compare(self, node: ast.Compare) -> _Value:
        if len(node.ops) != 1 or type(node.ops[0]) not in COMPARISONS:
            self.refuse(node, f"{ast.unparse(node)}: a formula compares two values at a time")
        values = self.value(node.left), self.value(node.comparators[0])
        made = self.combined(node, values, lambda nodes: ast.Compare(nodes[0], node.ops, [nodes[1]]), None)
        return replace(made, kind="mask" if made.kind == "array" else "condition")

    def visit_BoolOp(self, node: ast.BoolOp) -> _Value:
        values = self.side_by_side([self.condition(one) for one in node.values])
        return _Value(ast.BoolOp(node.op, [one.node for one in values]), "condition", _any_after_sum(values))

    def visit_IfExp(self, node: ast.IfExp) -> _Value:
        return self.chosen(node, self.condition(node.test), node.body, node.orelse)

    def visit_Call(self, node: ast.Call) -> _Value:
        word = node.func.id if isinstance(node.func, ast.Name) else None
        if word is None or word not in _WORDS or self.text.scope.get(word) is not _MEANING[word]:
            reason = "others need not have the same bits on every machine"
            self.refuse(node, f"{ast.unparse(node)}: the words of a formula are {', '.join(_WORDS)}; {reason}")
        if len(node.args) != _WORDS[word] or node.keywords or any(isinstance(one, ast.Starred) for one in node.args):
            self.refuse(node, f"{ast.unparse(node)}: {word} takes values by position, and this many: {_WORDS[word]}")
        if word in _SUMS:
            return self.sum(node, word)
        if word == "where":
            return self.where(node)
        values = [self.value(one) for one in node.args]
        if word == "power" and any(value.kind == "array" for value in values):
            return self.power(node, values[0])
        return self.combined(node, values, lambda nodes: _call(word, nodes), _MEANING[word])

    def combined(
        self,
        node: ast.expr,
        values: Sequence[_Value],
        make: Callable[[list[ast.expr]], ast.expr],
        compute: Callable[..., Any] | None,
    ) -> _Value:
        """An operation on numbers, or on arrays and perhaps numbers, which are rounded there."""
        if any(value.kind not in ("array", "number") for value in values):
            self.refuse(node, f"{ast.unparse(node)}: it computes with a comparison or a flag; use where, or if")
        if any(value.kind == "array" for value in values):
            return _Value(make([self.element(node, value) for value in values]), "array")
        if compute and all(value.literal is not None for value in values):
            return self.literal(node, compute, *(value.literal for value in values))
        values = self.side_by_side(values)
        return _Value(make([value.node for value in values]), "number", _any_after_sum(values))

    def where(self, node: ast.Call) -> _Value:
        test, *arms = node.args
        condition = self.value(test)
        if condition.kind == "condition":
            return self.chosen(node, condition, *arms)
        values = [self.value(one) for one in arms]
        if condition.kind != "mask" or all(value.kind != "array" for value in values):
            self.refuse(node, f"{ast.unparse(node)}: where takes a comparison and two values, one of them an array")
        yes, no = (self.element(node, value) for value in values)
        return _Value(ast.IfExp(condition.node, yes, no), "array")

    def power(self, node: ast.Call, x: _Value) -> _Value:
        """An array's, as `fastopt.formula.power` computes it."""
        square, k = x.node, getattr(node.args[1], "value", None)
        result: Any = None
        if x.kind != "array" or type(k) is not int or not 1 <= k <= 64:
            self.refuse(node, f"{ast.unparse(node)}: of an array power takes a literal integer from 1 to 64")
        while k:
            if k & 1:
                result = square if result is None else ast.BinOp(result, ast.Mult(), square)
            k >>= 1
            square = ast.BinOp(square, ast.Mult(), square)
        return _Value(result, "array")

    def sum(self, node: ast.Call, word: str) -> _Value:
        values = [self.value(one) for one in node.args]
        if any(value.kind != "array" for value in values):
            self.refuse(node, f"{ast.unparse(node)}: it sums over no array")
        factors = [value.node for value in values] * (2 if word == "norm" else 1)
        if any(names_in(factor) & set(self.after) for factor in factors):
            self.refuse(node, f"{ast.unparse(node)}: it sums what depends on a sum, and that needs a pass more")
        if len(self.sums) == LIMITS["sums"]:
            self.refuse(node, f"{ast.unparse(node)}: a formula has {LIMITS['sums']} sums at most")
        result = _name(f"sums[{len(self.sums)}]")
        self.sums.append(Sum(factors, len(self.lines)))
        return _Value(_call("sqrt", [result]) if word == "norm" else result, "number", after_sum=True)

    # Choices

    def condition(self, node: ast.expr) -> _Value:
        """What decides: a flag, a comparison of numbers, or a number, which counts where it is not 0."""
        value = self.value(node)
        if value.kind == "number":
            return replace(value, node=ast.Compare(value.node, [ast.NotEq()], [ast.Constant(0.0)]), kind="condition")
        if value.kind != "condition":
            self.refuse(node, f"{ast.unparse(node)}: an array decides nothing by itself; use where")
        return value

    def chosen(self, node: ast.expr, condition: _Value, body: ast.expr, orelse: ast.expr) -> _Value:
        """One of two: of numbers it is a number, of arrays a choice between loops."""
        if any(self.mentions_array(one) for one in (body, orelse)):
            return self.value(body if self.decide(node, condition) else orelse)
        arms = [self.value(body), self.value(orelse)]
        if any(value.kind != "number" for value in arms):
            self.refuse(node, f"{ast.unparse(node)}: it gives neither an array nor a number")
        if condition.after_sum and not all(one.after_sum or one.literal is not None for one in arms):
            # NumPy would ask such a number whether it fits, and C would not.
            self.refuse(node, f"{ast.unparse(node)}: a sum chooses between what depends on sums, and literals")
        values = self.side_by_side([condition, *arms])
        test, yes, no = (value.node for value in values)
        return _Value(ast.IfExp(test, yes, no), "number", _any_after_sum(values))

    def decide(self, node: ast.stmt | ast.expr, condition: _Value) -> bool:
        """How a choice between loops is made on the way to this end."""
        if isinstance(condition.node, ast.UnaryOp):
            return not self.decide(node, replace(condition, node=condition.node.operand))
        if condition.after_sum:
            found = ast.unparse(condition.node)
            self.refuse(node, f"{found}: it would choose a loop when half of it has run; let it choose a number")
        # A condition keeps its answer: numbers do not change on the way.
        key = ast.unparse(condition.node)
        if key not in self.decisions:
            raise _Undecided(key, condition.node, dict(self.definitions))
        return self.decisions[key][1]

    def mentions_array(self, node: ast.AST) -> bool:
        """Whether arrays stand in an expression, but for those that it sums."""
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in _SUMS:
            return False
        if isinstance(node, ast.Name):
            return node.id in self.known and self.known[node.id].kind == "array"
        return any(map(self.mentions_array, ast.iter_child_nodes(node)))

    # Numbers

    def element(self, node: ast.stmt | ast.expr, value: _Value) -> ast.expr:
        """A value as it stands in a loop: a number is rounded to the arrays' type."""
        if value.kind == "array":
            return value.node
        if value.kind != "number":
            self.refuse(node, f"{ast.unparse(node)}: a comparison or a flag is no number; use where, or if")
        if value.literal is not None:
            return _name(f"<real>{ast.unparse(value.node)}")
        return self.place(self.after if value.after_sum else self.before, value.node)

    def side_by_side(self, values: Sequence[_Value]) -> Sequence[_Value]:
        """Where one of several depends on a sum, the others are kept until it is known."""
        if not _any_after_sum(values):
            return values
        return [
            value
            if value.after_sum or value.literal is not None
            else replace(value, node=self.place(self.kept, value.node))
            for value in values
        ]

    def place(self, places: Numbers, node: ast.expr) -> ast.Name:
        """The name of a number's place, new or known."""
        name, text = mangled(node), ast.unparse(node)
        everywhere = self.kept | self.after | self.before
        while name in everywhere and ast.unparse(everywhere[name]) != text:
            name += "_"
        places[name] = node
        return _name(name)


def _any_after_sum(values: Iterable[_Value]) -> bool:
    return any(value.after_sum for value in values)
