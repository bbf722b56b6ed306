"""Writes the loops and the numbers of a formula in Cython."""

import ast
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence

from fastopt.engines.translator.parts import (
    Choice,
    Line,
    Loop,
    Numbers,
    Refused,
    Translation,
    array_of,
    names_in,
)

WIDTH = 120
HEAD = """\
# The loops and numbers of formulas, made of their text by the translator. For those in fastopt/rules that is done by
# `python -m fastopt.rules.translate`: change those, and run it. A test fails when rules.pxi is stale.
#
# A loop takes its arrays as `restrict` parameters, for on local names compilers ignore that; the function behind it has
# the signature that the engine calls. Numbers come in double precision, and are rounded once, to the arrays' type.
"""


def write(translations: Iterable[Translation]) -> str:
    """The text of rules.pxi."""
    translations = list(translations)
    names = Counter(loop.name for one in translations for loop in one.loops)
    names.update({one.key.rpartition(".")[2] for one in translations} - set(names))
    for name, count in names.items():
        if count > 1:
            raise Refused(f"{name}: loops of two formulas would have this name; choose another for one of them")
    return "\n\n".join([HEAD, *(_Writer(one).text() for one in translations)])


class _Writer:
    def __init__(self, translation: Translation) -> None:
        self.made = translation
        self.function = translation.key.rpartition(".")[2]
        self.states = translation.state
        self.buffers = ("p", "g", *self.states)
        self.lines: list[str] = []
        self.defined: dict[str, bool] = {}  # the numbers that have names of their own, in order

    def text(self) -> str:
        self.put(0, f"# {self.made.key}", "")
        for loop in self.made.loops:
            if loop.comment:
                self.put(0, f"# {loop.comment}")
            if loop.sums:
                self.first_pass(loop)
            self.second_pass(loop)
        self.numbers()
        for loop in self.made.loops:
            if loop.sums:
                self.finish(loop)
        self.entry()
        return "\n".join(self.lines) + "\n"

    def put(self, indent: int, *lines: str) -> None:
        self.lines += ["    " * indent + line if line else "" for line in lines]

    def put_call(self, indent: int, start: str, items: Iterable[str], end: str) -> None:
        """A call or a head, over several lines when it does not fit on one."""
        line = f"{start}({', '.join(items)}){end}"
        if 4 * indent + len(line) <= WIDTH:
            self.put(indent, line)
            return
        # NUL stands for the blanks within an item, so that lines break between items only.
        wrapped = textwrap.wrap("; ".join(items).replace(" ", "\0").replace(";\0", ", "), WIDTH - 4 * indent - 4)
        self.put(indent, f"{start}(")
        self.put(indent + 1, *(part.replace("\0", " ") for part in wrapped))
        self.put(indent, f"){end}")

    # Loops

    def arguments(self, loop: Loop, lines: list[Line]) -> tuple[list[str], list[str], set[str]]:
        """The arrays and the numbers that lines use, and the arrays that they write."""
        read = {name for line in lines for name in line.names}
        written = {line.array for line in lines if line.array}
        used = {array_of(name) for name in read} | written
        if lines is loop.first:
            used |= {name for one in loop.sums for name in one.rows}
        arrays = [name for name in self.buffers if name in used]
        return arrays, [name for name in loop.number_names if name in read], written

    def loop(self, name: str, loop: Loop, lines: list[Line], extra: Sequence[str] = ()) -> tuple[list[str], list[str]]:
        """The function that loops, up to the end of its loop."""
        arrays, numbers, written = self.arguments(loop, lines)
        parameters = [f"{'' if array in written else 'const '}real *restrict {array}" for array in arrays]
        parameters += [*extra, *(f"real {number}" for number in numbers), "Py_ssize_t n"]
        self.put_call(0, f"cdef inline void {name}", parameters, " noexcept nogil:")
        own = [line.target for line in lines if line.is_local]
        terms = [line.target.replace("[i]", "[LANES]") for line in lines if line.part == "term"]
        if own + terms:
            self.put(1, f"cdef real {', '.join(own + terms)}")
        if lines:
            self.put(1, "cdef Py_ssize_t i", "for i in range(n):")
            self.put(2, *(f"{line.target} = {ast.unparse(line.node)}" for line in lines))
        pointers = [f"buffers[{self.buffers.index(array)}]" for array in arrays]
        if not written:
            pointers = [f"<const real*>{pointer}" for pointer in pointers]  # else Cython cannot tell which type
        return pointers, [f"<real>numbers[{loop.number_names.index(number)}]" for number in numbers]

    def second_pass(self, loop: Loop) -> None:
        pointers, numbers = self.loop(f"{loop.name}_loop", loop, loop.second)
        self.put(0, "", "")
        parameters = ["real** buffers", "const double* numbers", "Py_ssize_t n"]
        self.put_call(0, f"cdef void {loop.name}", parameters, " noexcept nogil:")
        self.put_call(1, f"{loop.name}_loop", [*pointers, *numbers, "n"], "")
        self.put(0, "", "")

    def first_pass(self, loop: Loop) -> None:
        """Row by row, for memory likes to be read in order, and a row's terms stay in the nearest cache."""
        lanes = [f"lanes{index}" for index in range(len(loop.sums))]
        extra = [f"double *restrict {name}" for name in lanes]
        pointers, numbers = self.loop(f"{loop.name}_row", loop, loop.first, extra)
        for name, one in zip(lanes, loop.sums, strict=True):
            if not one.rows:
                continue
            word = "squares" if one.is_of_squares else "products" if len(one.factors) == 2 else "elements"
            sources = [f"<const real*>{array}" for array in one.rows]
            self.put(1, f"add_{word}({', '.join([*sources, name])}, n)")
        self.put(0, "", "")
        parameters = ["real** buffers", "const double* numbers", "Py_ssize_t n", "double* sums"]
        self.put_call(0, f"cdef void {loop.name}_sums", parameters, " noexcept nogil:")
        self.put(1, *(f"cdef double {name}[LANES]" for name in lanes), "cdef Py_ssize_t start = 0, width = 0")
        self.put(1, *(f"width = clear({name}, n)" for name in lanes), "while start + LANES <= n:")
        shifted = [f"{pointer} + start" for pointer in pointers]
        self.put_call(2, f"{loop.name}_row", [*shifted, *lanes, *numbers, "LANES"], "")
        self.put(2, "start += LANES")
        self.put_call(1, f"{loop.name}_row", [*shifted, *lanes, *numbers, "n - start"], "")
        self.put(1, *(f"sums[{index}] = folded({name}, width)" for index, name in enumerate(lanes)))
        self.put(0, "", "")

    # Numbers

    def numbers(self) -> None:
        """The function that chooses the loop and computes its numbers."""
        parameters = ["const double* inputs", "double* numbers"]
        self.put_call(0, f"cdef int {self.function}_numbers", parameters, " noexcept nogil:")
        self.put(1, *(f"cdef double {name} = inputs[{index}]" for index, name in enumerate(self.made.inputs)))
        declarations, self.lines = self.lines, []
        self.branch(self.made.tree, set())
        body, self.lines = self.lines, declarations
        if self.defined:
            self.put(1, f"cdef double {', '.join(self.defined)}")
        self.lines += body
        self.put(0, "", "")

    def branch(self, tree: Choice | Loop, written: set[str], indent: int = 1) -> None:
        if isinstance(tree, Choice):
            self.define([tree.condition], tree.definitions, written, indent)
            self.put(indent, f"if {ast.unparse(tree.condition)}:")
            self.branch(tree.yes, set(written), indent + 1)
            self.branch(tree.no, written, indent)
            return
        numbers = tree.before | tree.kept
        self.define(numbers.values(), tree.definitions, written, indent)
        for name, node in numbers.items():
            self.put(indent, f"numbers[{tree.number_names.index(name)}] = {ast.unparse(node)}")
        self.put(indent, f"return {self.made.loops.index(tree)}")

    def define(self, nodes: Iterable[ast.expr], definitions: Numbers, written: set[str], indent: int) -> None:
        """Compute the named numbers that some others need, each once."""
        names = {name for node in nodes for name in names_in(node)}
        for name, node in reversed(definitions.items()):
            if name in names:
                names |= names_in(node)
        for name, node in definitions.items():
            if name in names and name not in written:
                self.put(indent, f"{name} = {ast.unparse(node)}")
                written.add(name)
                self.defined[name] = True

    def finish(self, loop: Loop) -> None:
        """The function that computes the numbers that depend on sums."""
        parameters = ["const double* sums", "double* numbers"]
        self.put_call(0, f"cdef void {loop.name}_finish", parameters, " noexcept nogil:")
        names = {name for node in (*loop.after_definitions.values(), *loop.after.values()) for name in names_in(node)}
        for name in loop.kept:
            if name in names:
                self.put(1, f"cdef double {name} = numbers[{loop.number_names.index(name)}]")
        self.put(1, *(f"cdef double {name} = {ast.unparse(node)}" for name, node in loop.after_definitions.items()))
        for name, node in loop.after.items():
            self.put(1, f"numbers[{loop.number_names.index(name)}] = {ast.unparse(node)}")
        if not loop.after:
            self.put(1, "pass")
        self.put(0, "", "")

    def entry(self) -> None:
        """What the engine is told: the numbers' function, the names, and all loops."""
        self.put(0, f"FORMULAS[{_quoted(self.made.key)}] = formula_entry(")
        self.put(1, f"<void*>{self.function}_numbers,")
        self.put(1, _quoted(" ".join(self.states)) + ",", _quoted(" ".join(self.made.inputs)) + ",")
        self.put(1, "(")
        for loop in self.made.loops:
            arrays = {name for lines in (loop.first, loop.second) for name in self.arguments(loop, lines)[0]}
            used = sum(1 << index for index, name in enumerate(self.states) if name in arrays)
            first = (f"<void*>{loop.name}_sums[{real}]" for real in ("float", "double"))
            items = [f"<void*>{loop.name}[float]", f"<void*>{loop.name}[double]"]
            items += [*first, f"<void*>{loop.name}_finish"] if loop.sums else ["NULL", "NULL", "NULL"]
            counts = len(loop.checked_names), len(loop.number_names), len(loop.sums)
            carried = tuple(loop.number_names.index(name) for name in loop.carried)
            self.put_call(2, "loop_entry", [*items, bin(used), *map(str, counts), str(carried)], ",")
        self.put(1, "),")
        self.put(0, ")")


def _quoted(text: str) -> str:
    return f'"{text}"'
