"""What a formula consists of when it has been read: choices, loops, lines and sums."""

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Numbers: TypeAlias = dict[str, ast.expr]  # as syntax trees, by name

OPERATORS: dict[type[ast.operator], str] = {ast.Add: "plus", ast.Sub: "minus", ast.Mult: "times", ast.Div: "over"}
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "below",
    ast.LtE: "upto",
    ast.Gt: "above",
    ast.GtE: "from",
    ast.Eq: "is",
    ast.NotEq: "isnt",
}


class Refused(ValueError):
    """A formula that cannot be translated with the same bits."""


@dataclass
class Line:
    """A line of a loop: what is computed for one element, and what it is assigned to."""

    target: str
    node: ast.expr
    array: str | None = None  # that it writes to
    part: str | None = None  # of a sum: "term", which is added up when a row has been computed, or "lane", where it is

    @property
    def names(self) -> set[str]:
        """What it reads: ``m[i]`` of an array ``m``."""
        return names_in(self.node)

    @property
    def is_local(self) -> bool:
        """Whether it only gives a value to a name."""
        return self.array is None and self.part is None


@dataclass
class Sum:
    """The elements' sum, or that of their products."""

    factors: list[ast.expr]  # one or two
    position: int  # among the lines
    rows: list[str] = field(
        default_factory=list[str]
    )  # the factors' arrays, if a row is added up when it has been computed

    @property
    def is_of_squares(self) -> bool:
        return len(self.factors) == 2 and ast.unparse(self.factors[0]) == ast.unparse(self.factors[1])

    @property
    def distinct_factors(self) -> list[ast.expr]:
        return self.factors[:1] if self.is_of_squares else self.factors


@dataclass
class Loop:
    """An end of the tree: a loop, or two with sums between them. Its numbers are syntax trees by name.

    Of LAMB's numbers ``1/c1`` meets arrays and is known before, ``lr`` is kept for what depends on sums, and
    ``lr*trust`` is known after them; ``c1`` has a definition before, and ``trust`` one after.
    """

    name: str
    comment: str
    first: list[Line]  # of the pass that sums, if there is one
    second: list[Line]
    sums: list[Sum]
    definitions: Numbers
    before: Numbers
    kept: Numbers
    after_definitions: Numbers
    after: Numbers
    carried: list[str]  # the names of the numbers that are carried on to the next update

    @property
    def number_names(self) -> list[str]:
        """The names of all numbers in order: those that depend on sums come last."""
        return [*self.checked_names, *self.after]

    @property
    def checked_names(self) -> list[str]:
        """Those that have to be finite, for they meet arrays or sums."""
        return ["s", "l2", "keep", *self.before, *(name for name in self.kept if name not in self.before)]


@dataclass
class Choice:
    """A branch of the tree."""

    condition: ast.expr
    definitions: Numbers
    yes: "Choice | Loop"
    no: "Choice | Loop"


@dataclass
class Translation:
    """What a formula comes to."""

    key: str  # by which the compiled engine knows it
    state: tuple[str, ...]
    inputs: tuple[str, ...]  # its numbers, then its flags, then the numbers that it carries
    tree: Choice | Loop
    loops: list[Loop]


def names_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def array_of(text: str) -> str | None:
    """The array of an element's text: that of ``m[i]`` is ``m``; None of any other text."""
    return text[:-3] if text.endswith("[i]") else None


def needed(lines: Sequence[Line]) -> list[Line]:
    """Those lines that write arrays or terms of sums, and those whose values they use."""
    return read_of(lines, [line for line in lines if not line.is_local], effects=True)


def read_of(lines: Sequence[Line], readers: Iterable[Line], effects: bool = False) -> list[Line]:
    """Those lines whose values some readers use, directly or by each other; with `effects` those readers too."""
    names = {name for line in readers for name in line.names}
    found: list[Line] = []
    for line in reversed(lines):
        if line.target in names if line.is_local else effects:
            found.append(line)
            names |= line.names
    return found[::-1]


def mangled(node: ast.expr) -> str:
    """A name that says what an expression of numbers is."""
    match node:
        case ast.Name():
            return node.id.replace("[", "").replace("]", "")
        case ast.Constant():
            words: dict[object, str] = {0.0: "zero", 1.0: "one", 2.0: "two"}
            return words.get(node.value) or "c" + repr(node.value).translate(str.maketrans("-.", "m_", "+"))
        case ast.BinOp():
            name = f"{mangled(node.left)}_{OPERATORS[type(node.op)]}_{mangled(node.right)}"
        case ast.Compare():
            name = f"{mangled(node.left)}_{COMPARISONS[type(node.ops[0])]}_{mangled(node.comparators[0])}"
        case ast.UnaryOp():
            name = f"{'not' if isinstance(node.op, ast.Not) else 'minus'}_{mangled(node.operand)}"
        case ast.Call(func=ast.Name(id=word)):
            name = "_".join([word, *map(mangled, node.args)])
        case ast.BoolOp():
            name = ("_and_" if isinstance(node.op, ast.And) else "_or_").join(map(mangled, node.values))
        case ast.IfExp():
            name = f"{mangled(node.body)}_if_{mangled(node.test)}"
        case _:
            raise AssertionError(ast.dump(node))  # the reader lets no others pass
    return name if len(name) <= 40 else f"{name[:36]}_etc"
