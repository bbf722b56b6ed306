"""What a formula consists of when it has been read: choices, loops, lines and sums."""

import ast
from dataclasses import dataclass, field

OPERATORS = {ast.Add: "plus", ast.Sub: "minus", ast.Mult: "times", ast.Div: "over"}
COMPARISONS = {ast.Lt: "below", ast.LtE: "upto", ast.Gt: "above", ast.GtE: "from", ast.Eq: "is", ast.NotEq: "isnt"}


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
    def names(self):
        """What it reads: ``m[i]`` of an array ``m``."""
        return names_in(self.node)

    @property
    def is_local(self):
        """Whether it only gives a value to a name."""
        return self.array is None and self.part is None


@dataclass
class Sum:
    """The elements' sum, or that of their products."""

    factors: list  # one or two
    position: int  # among the lines
    rows: list = field(default_factory=list)  # the factors' arrays, if a row is added up when it has been computed

    @property
    def is_of_squares(self):
        return len(self.factors) == 2 and ast.unparse(self.factors[0]) == ast.unparse(self.factors[1])

    @property
    def distinct_factors(self):
        return self.factors[:1] if self.is_of_squares else self.factors


@dataclass
class Loop:
    """An end of the tree: a loop, or two with sums between them. Its numbers are syntax trees by name.

    Of LAMB's numbers ``1/c1`` meets arrays and is known before, ``lr`` is kept for what depends on sums, and
    ``lr*trust`` is known after them; ``c1`` has a definition before, and ``trust`` one after.
    """

    name: str
    comment: str
    first: list  # lines of the pass that sums, if there is one
    second: list
    sums: list
    definitions: dict
    before: dict
    kept: dict
    after_definitions: dict
    after: dict
    carried: list  # the names of the numbers that are carried on to the next update

    @property
    def number_names(self):
        """The names of all numbers in order: those that depend on sums come last."""
        return [*self.checked_names, *self.after]

    @property
    def checked_names(self):
        """Those that have to be finite, for they meet arrays or sums."""
        return ["s", "l2", "keep", *self.before, *(name for name in self.kept if name not in self.before)]


@dataclass
class Choice:
    """A branch of the tree."""

    condition: ast.expr
    definitions: dict
    yes: "Choice | Loop"
    no: "Choice | Loop"


@dataclass
class Translation:
    """What a formula comes to."""

    key: str  # by which the compiled engine knows it
    state: tuple
    inputs: tuple  # its numbers, then its flags, then the numbers that it carries
    tree: Choice | Loop
    loops: list


def names_in(node):
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def array_of(text):
    """The array of an element's text: that of ``m[i]`` is ``m``; None of any other text."""
    return text[:-3] if text.endswith("[i]") else None


def needed(lines):
    """Those lines that write arrays or terms of sums, and those whose values they use."""
    return read_of(lines, [line for line in lines if not line.is_local], effects=True)


def read_of(lines, readers, effects=False):
    """Those lines whose values some readers use, directly or by each other; with `effects` those readers too."""
    names, found = {name for line in readers for name in line.names}, []
    for line in reversed(lines):
        if line.target in names if line.is_local else effects:
            found.append(line)
            names |= line.names
    return found[::-1]


def mangled(node):
    """A name that says what an expression of numbers is."""
    match node:
        case ast.Name():
            return node.id.replace("[", "").replace("]", "")
        case ast.Constant():
            words = {0.0: "zero", 1.0: "one", 2.0: "two"}
            return words.get(node.value) or "c" + repr(node.value).translate(
                str.maketrans({"+": "", "-": "m", ".": "_"})
            )
        case ast.BinOp():
            name = f"{mangled(node.left)}_{OPERATORS[type(node.op)]}_{mangled(node.right)}"
        case ast.Compare():
            name = f"{mangled(node.left)}_{COMPARISONS[type(node.ops[0])]}_{mangled(node.comparators[0])}"
        case ast.UnaryOp():
            name = f"{'not' if isinstance(node.op, ast.Not) else 'minus'}_{mangled(node.operand)}"
        case ast.Call():
            name = "_".join([node.func.id, *map(mangled, node.args)])
        case ast.BoolOp():
            name = ("_and_" if isinstance(node.op, ast.And) else "_or_").join(map(mangled, node.values))
        case ast.IfExp():
            name = f"{mangled(node.body)}_if_{mangled(node.test)}"
    return name if len(name) <= 40 else f"{name[:36]}_etc"
