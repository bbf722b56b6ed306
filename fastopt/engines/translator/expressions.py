"""Reads a formula's expressions: what each comes to, which choices it asks for, and where its numbers are computed."""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn, TypeAlias

from fastopt.engines.translator.parts import COMPARISONS, OPERATORS, Line, Numbers, Sum, mangled, names_in
from fastopt.engines.translator.text import (
    LIMITS,
    MEANING,
    SUMS,
    WORDS,
    Text,
    Value,
    any_after_sum,
    call_node,
    name_node,
)

_IN_PYTHON: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda x, y: x / y,
}
_LARGEST = 3.4028234663852886e38  # that float32 can hold

Decisions: TypeAlias = Mapping[str, tuple[ast.expr, bool]]  # conditions and their answers, by their text


class Undecided(Exception):
    """A choice between loops that has not been made yet."""

    def __init__(self, key: str, condition: ast.expr, definitions: Numbers) -> None:
        self.key, self.condition, self.definitions = key, condition, definitions


class Expressions(ast.NodeVisitor):
    """Visiting an expression gives its value. What a formula's statements do with it is the reader's."""

    def __init__(self, text: Text, decisions: Decisions) -> None:
        self.text, self.decisions = text, decisions
        self.known = {name: Value(name_node(f"{name}[i]"), "array", array=name) for name in text.signature.arrays}
        numbers = (*text.signature.numbers, *text.signature.carried)
        self.known |= {name: Value(name_node(name), "number") for name in numbers}
        self.known |= {name: Value(name_node(name), "condition") for name in text.signature.flags}
        self.known["d"] = Value(name_node("d"), "array")
        self.parameters = set(self.known)
        pairs = ("s", "g[i]"), ("l2", "p[i]")
        scaled, decayed = (ast.BinOp(name_node(x), ast.Mult(), name_node(y)) for x, y in pairs)
        self.lines = [Line("d", ast.BinOp(scaled, ast.Add(), decayed))]
        self.versions: dict[str, int] = {}  # of the names of the loop's own values
        self.sums: list[Sum] = []
        self.definitions: Numbers = {}
        self.after_definitions: Numbers = {}
        self.before: Numbers = {}
        self.kept: Numbers = {}
        self.after: Numbers = {}
        self.returned: Value | None = None
        self.carried: list[str] = []

    def refuse(self, node: ast.stmt | ast.expr, reason: str) -> NoReturn:
        self.text.refuse(node, reason)

    def value(self, node: ast.expr) -> Value:
        """What an expression comes to."""
        value: Value = self.visit(node)
        return value

    def generic_visit(self, node: Any) -> NoReturn:
        self.refuse(node, f"{ast.unparse(node)}: a formula has no such expression")

    def visit_Constant(self, node: ast.Constant) -> Value:
        return self.literal(node, lambda: node.value)

    def literal(self, node: ast.expr, compute: Callable[..., Any], *literals: object) -> Value:
        """A literal, or what is computed of literals alone: by Python, for whole numbers are exact there."""
        try:
            value = compute(*literals)
        except ArithmeticError as error:
            self.refuse(node, f"{ast.unparse(node)}: {error}")
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= _LARGEST:
            self.refuse(node, f"{ast.unparse(node)}: a formula's literals are numbers that float32 can hold")
        if float(value) != value:
            self.refuse(node, f"{ast.unparse(node)}: a formula's literals are numbers that float64 can hold")
        return Value(ast.Constant(float(value)), "number", literal=value)

    def visit_Name(self, node: ast.Name) -> Value:
        if node.id not in self.known:
            is_constant = isinstance(self.text.scope.get(node.id), int | float)
            hint = "; make it an option, and take it after the *" if is_constant else ""
            self.refuse(node, f"{node.id}: it has no value here; a formula knows its arguments and its own names{hint}")
        return self.known[node.id]

    def visit_Subscript(self, node: ast.Subscript) -> Value:
        if self.mentions_array(node.value):
            self.generic_visit(node)
        self.refuse(node, f"{ast.unparse(node)}: let `inputs` give each number a name of its own, such as beta1, beta2")

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Value:
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
        return Value(ast.UnaryOp(node.op, value.node), value.kind, value.after_sum)

    def visit_BinOp(self, node: ast.BinOp) -> Value:
        if type(node.op) not in OPERATORS:
            hint = ""
            if isinstance(node.op, ast.Pow):
                root = f"sqrt({ast.unparse(node.left)})"
                hint = f"; write {root if ast.unparse(node.right) == '0.5' else 'powers as products, or power(x, k)'}"
            self.refuse(node, f"{ast.unparse(node)}: a formula computes with + - * /{hint}")
        values = self.value(node.left), self.value(node.right)
        return self.combined(
            node, values, lambda nodes: ast.BinOp(nodes[0], node.op, nodes[1]), _IN_PYTHON[type(node.op)]
        )

    def visit_Compare(self, node: ast.Compare) -> Value:
        if len(node.ops) != 1 or type(node.ops[0]) not in COMPARISONS:
            self.refuse(node, f"{ast.unparse(node)}: a formula compares two values at a time")
        values = self.value(node.left), self.value(node.comparators[0])
        made = self.combined(node, values, lambda nodes: ast.Compare(nodes[0], node.ops, [nodes[1]]), None)
        return replace(made, kind="mask" if made.kind == "array" else "condition")

    def visit_BoolOp(self, node: ast.BoolOp) -> Value:
        values = self.side_by_side([self.condition(one) for one in node.values])
        return Value(ast.BoolOp(node.op, [one.node for one in values]), "condition", any_after_sum(values))

    def visit_IfExp(self, node: ast.IfExp) -> Value:
        return self.chosen(node, self.condition(node.test), node.body, node.orelse)

    def visit_Call(self, node: ast.Call) -> Value:
        word = node.func.id if isinstance(node.func, ast.Name) else None
        if word is None or word not in WORDS or self.text.scope.get(word) is not MEANING[word]:
            self.text.refuse_call(node)
        if len(node.args) != WORDS[word] or node.keywords or any(isinstance(one, ast.Starred) for one in node.args):
            self.refuse(node, f"{ast.unparse(node)}: {word} takes values by position, and this many: {WORDS[word]}")
        if word in SUMS:
            return self.sum(node, word)
        if word == "where":
            return self.where(node)
        values = [self.value(one) for one in node.args]
        if word == "power" and values[1].literal is not None:
            try:
                MEANING[word](1.0, values[1].literal)
            except ValueError as error:
                self.refuse(node, str(error))
        if word == "power" and any(value.kind == "array" for value in values):
            return self.power(node, values[0])
        return self.combined(node, values, lambda nodes: call_node(word, nodes), MEANING[word])

    def combined(
        self,
        node: ast.expr,
        values: Sequence[Value],
        make: Callable[[list[ast.expr]], ast.expr],
        compute: Callable[..., Any] | None,
    ) -> Value:
        """An operation on numbers, or on arrays and perhaps numbers, which are rounded there."""
        if any(value.kind not in ("array", "number") for value in values):
            self.refuse(node, f"{ast.unparse(node)}: it computes with a comparison or a flag; use where, or if")
        if any(value.kind == "array" for value in values):
            return Value(make([self.element(node, value) for value in values]), "array")
        if compute and all(value.literal is not None for value in values):
            return self.literal(node, compute, *(value.literal for value in values))
        values = self.side_by_side(values)
        return Value(make([value.node for value in values]), "number", any_after_sum(values))

    def where(self, node: ast.Call) -> Value:
        test, *arms = node.args
        condition = self.value(test)
        if condition.kind != "mask":
            self.refuse(node, f"{ast.unparse(node)}: where takes a comparison of arrays; else write x if c else y")
        values = [self.value(one) for one in arms]
        if all(value.kind != "array" for value in values):
            self.refuse(node, f"{ast.unparse(node)}: where takes a comparison and two values, one of them an array")
        yes, no = (self.element(node, value) for value in values)
        return Value(call_node("where", [condition.node, yes, no]), "array")

    def power(self, node: ast.Call, x: Value) -> Value:
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
        return Value(result, "array")

    def sum(self, node: ast.Call, word: str) -> Value:
        values = [self.value(one) for one in node.args]
        if any(value.kind != "array" for value in values):
            self.refuse(node, f"{ast.unparse(node)}: it sums over no array")
        factors = [value.node for value in values] * (2 if word == "norm" else 1)
        if any(names_in(factor) & set(self.after) for factor in factors):
            self.refuse(node, f"{ast.unparse(node)}: it sums what depends on a sum, and that needs a pass more")
        if len(self.sums) == LIMITS["sums"]:
            self.refuse(node, f"{ast.unparse(node)}: a formula has {LIMITS['sums']} sums at most")
        result = name_node(f"sums[{len(self.sums)}]")
        self.sums.append(Sum(factors, len(self.lines)))
        return Value(call_node("sqrt", [result]) if word == "norm" else result, "number", after_sum=True)

    # Choices

    def condition(self, node: ast.expr) -> Value:
        """What decides: a flag, a comparison of numbers, or a number, which counts where it is not 0."""
        value = self.value(node)
        if value.kind == "number":
            return replace(value, node=ast.Compare(value.node, [ast.NotEq()], [ast.Constant(0.0)]), kind="condition")
        if value.kind != "condition":
            self.refuse(node, f"{ast.unparse(node)}: an array decides nothing by itself; use where")
        return value

    def chosen(self, node: ast.expr, condition: Value, body: ast.expr, orelse: ast.expr) -> Value:
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
        return Value(ast.IfExp(test, yes, no), "number", any_after_sum(values))

    def decide(self, node: ast.stmt | ast.expr, condition: Value) -> bool:
        """How a choice between loops is made on the way to this end."""
        if isinstance(condition.node, ast.UnaryOp):
            return not self.decide(node, replace(condition, node=condition.node.operand))
        if condition.after_sum:
            found = ast.unparse(condition.node)
            self.refuse(node, f"{found}: it would choose a loop when half of it has run; let it choose a number")
        # A condition keeps its answer: numbers do not change on the way.
        key = ast.unparse(condition.node)
        if key not in self.decisions:
            raise Undecided(key, condition.node, dict(self.definitions))
        return self.decisions[key][1]

    def mentions_array(self, node: ast.AST) -> bool:
        """Whether arrays stand in an expression, but for those that it sums."""
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in SUMS:
            return False
        if isinstance(node, ast.Name):
            return node.id in self.known and self.known[node.id].kind == "array"
        return any(map(self.mentions_array, ast.iter_child_nodes(node)))

    # Numbers

    def element(self, node: ast.stmt | ast.expr, value: Value) -> ast.expr:
        """A value as it stands in a loop: a number is rounded to the arrays' type."""
        if value.kind == "array":
            return value.node
        if value.kind != "number":
            self.refuse(node, f"{ast.unparse(node)}: a comparison or a flag is no number; use where, or if")
        if value.literal is not None:
            return name_node(f"<real>{ast.unparse(value.node)}")
        return self.place(self.after if value.after_sum else self.before, value.node)

    def side_by_side(self, values: Sequence[Value]) -> Sequence[Value]:
        """Where one of several depends on a sum, the others are kept until it is known."""
        if not any_after_sum(values):
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
        return name_node(name)
