"""A formula's text, and what its expressions come to."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from types import CellType, CodeType
from typing import Any, NoReturn

from fastopt import formula as words
from fastopt.engines.translator.parts import Refused
from fastopt.signature import Formula, signature

LIMITS = {"state": 8, "numbers": 32, "sums": 4}  # of a formula: the engine has room for so many
SUMS = {"total": 1, "norm": 1, "dot": 2}
WORDS = {"sqrt": 1, "absolute": 1, "sign": 1, "larger": 2, "smaller": 2, "where": 3, "power": 2, **SUMS}
MEANING = {word: getattr(words, word) for word in WORDS}
_FRAME_NAMES = {"d", "g", "s", "l2", "keep"}
# What the loops are written with, and what means something to Cython.
_TAKEN = (
    {"i", "n", "inputs", "numbers", "buffers", "sums", "range", "start", "width", "wide", "real", *WORDS}
    | {"bint", "by", "cdef", "char", "cimport", "const", "cpdef", "ctypedef", "double", "enum", "extern", "float"}
    | {"gil", "include", "inline", "int", "long", "new", "nogil", "restrict", "short", "signed", "sizeof", "struct"}
    | {"union", "unsigned", "void", "volatile", "complex", "operator", "DEF", "ELIF", "ELSE", "IF", "LANES", "NULL"}
)
_FUNCTIONS = (
    {"add_elements", "add_products", "add_squares", "accumulate", "capsule", "clear", "clip", "fold", "folded"}
    | {"formula_entry", "kernels", "loop_entry", "reductions", "sum_of_squares", "swap", "update_ema", "ema", "wide"}
    | {"fabs", "fabsf", "memset", "sqrt_of_double", "sqrtf"}
)
# What Python and NumPy call otherwise.
_WORDS_FOR = {"max": "larger", "maximum": "larger", "min": "smaller", "minimum": "smaller", "abs": "absolute"} | {
    "fabs": "absolute",
    "sum": "total",
    "vdot": "dot",
    "pow": "power",
}
_OURS = re.compile(r"_|.*__|(lanes|term|sums)\d")


class Text:
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
        decorators = [ast.unparse(one) for one in getattr(function, "decorator_list", [])]
        if formula.__name__ == "<lambda>" or decorators not in ([], ["staticmethod"]):
            raise Refused(f"{self.file}:{first}: a formula is a def by itself, without decorators")
        # Before the comparison, for how Python compiles such a call depends on what the rest of the file imports.
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)) if function else ():
            if isinstance(call.func, ast.Attribute) and call.func.attr in formula.__code__.co_names:
                self.refuse_call(call)
        if not isinstance(function, ast.FunctionDef) or not _is_text_of(function, formula):
            raise Refused(
                f"{self.file}:{first}: this is not the text of {formula.__name__} as it was imported; load it again"
            )
        self.function = function
        try:
            self.signature = signature(formula)
        except TypeError as error:
            self.refuse(self.function, str(error))
        name = self.function.name
        if name in _FUNCTIONS or name in WORDS:
            self.refuse(self.function, f"{name}: compiled loops have a function of this name; choose another")
        for name in self.signature.arrays:
            self.check_name(self.function, name)
        for name in self.signature.inputs:
            self.check_name(self.function, name, ("p",))

    def refuse(self, node: ast.stmt | ast.expr, reason: str) -> NoReturn:
        raise Refused(f"{self.file}:{node.lineno + self.offset}: {reason}")

    def refuse_call(self, node: ast.Call) -> NoReturn:
        """Refuse what is called by another name than a word's own, and say which word does the same."""
        name = ast.unparse(node.func).rpartition(".")[2]
        word = name if name in WORDS else _WORDS_FOR.get(name)
        if word:
            hint = f"use the words of fastopt.formula: `from fastopt.formula import {word}`"
        else:
            hint = f"the words of a formula are {', '.join(WORDS)}; others need not have the same bits on every machine"
        self.refuse(node, f"{ast.unparse(node)}: {hint}")

    def check_name(self, node: ast.stmt, name: str, forbidden: Sequence[str] = ()) -> None:
        if name in _FRAME_NAMES | _TAKEN or name in forbidden or _OURS.match(name):
            self.refuse(node, f"{name}: the name means something else in a loop; choose another")


def _closure(formula: Formula) -> dict[str, Any]:
    """The names that a formula has from the function around it."""
    cells = zip(formula.__code__.co_freevars, formula.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if cell != CellType()}


def _is_text_of(function: ast.FunctionDef, formula: Formula) -> bool:
    """Whether a text compiles to a formula's own code: its file may have changed since it was imported."""
    names = formula.__code__.co_freevars
    outer = ast.parse(f"def outer({', '.join(names)}): pass")
    bare = copy(function)
    bare.decorator_list = []
    outer.body[0].body = [bare]  # type: ignore[attr-defined]
    made = compile(outer, "", "exec", dont_inherit=True).co_consts
    code = next(one for one in next(filter(_is_code, made)).co_consts if _is_code(one))
    return _said(code) == _said(formula.__code__)


def _is_code(one: object) -> bool:
    return isinstance(one, CodeType)


def _said(code: CodeType) -> tuple[Any, ...]:
    """What a function does; its docstring, whose indentation may differ, does nothing."""
    constants = [
        _said(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts if not isinstance(one, str)
    ]
    return code.co_name, code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants


@dataclass
class Value:
    """What an expression comes to: in C, as a syntax tree."""

    node: ast.expr
    kind: str  # "array", "number", "mask" (a comparison of arrays) or "condition" (one of numbers, or a flag)
    after_sum: bool = False  # whether it depends on a sum
    array: str | None = None  # that it is another name of
    literal: int | float | None = None  # what Python computes of literals alone


def name_node(text: str) -> ast.Name:
    return ast.Name(id=text)


def call_node(word: str, nodes: list[ast.expr]) -> ast.Call:
    return ast.Call(name_node(word), nodes, [])


def any_after_sum(values: Iterable[Value]) -> bool:
    return any(value.after_sum for value in values)
