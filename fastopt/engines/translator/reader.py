"""Reads a formula as text, and says which loops and numbers it comes to.

Each ``if`` makes a branch of a tree of choices, and so does each ``x if c else y`` that chooses between arrays; those
of numbers alone do not. Each end of the tree is a loop over the elements, with one line for each line of the
formula. Each largest expression of numbers alone is taken out of the loop, and becomes one of its numbers.

A sum over an array ends a pass: what stands before it is done and summed in a first loop, what follows in a second, and
what the second needs of the first is computed again.

What C would not say with the same bits is refused, with its file and line.
"""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import replace

from fastopt.engines.translator.expressions import Decisions, Expressions, Undecided
from fastopt.engines.translator.parts import (
    Choice,
    Line,
    Loop,
    Sum,
    Translation,
    array_of,
    mangled,
    names_in,
    needed,
    read_of,
)
from fastopt.engines.translator.text import LIMITS, Text, Value, call_node, name_node
from fastopt.signature import Formula, key_of


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
    text = Text(formula)
    loops: list[Loop] = []

    def grow(decisions: Decisions) -> Choice | Loop:
        """The tree below these decisions. A run that meets an open choice is dropped, and repeated with each answer."""
        try:
            loops.append(Run(text, decisions).loop())
        except Undecided as choice:
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


class Run(Expressions):
    """Follows a formula to one end of its tree."""

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
            self.refuse(function, f"a formula returns its carried numbers after the step, all in order; found {found}")
        if self.returned is not None:
            kept = ast.BinOp(name_node("keep"), ast.Mult(), name_node("p[i]"))
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
                    self.refuse(function, f"{line.target}: it is needed after a sum, but {array} changes in between")
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
                factor = name_node(lines[-1].target)
            wide.append(call_node("wide", [factor]))
        wide *= 2 if one.is_of_squares else 1
        product = ast.BinOp(wide[0], ast.Mult(), wide[1]) if len(wide) == 2 else wide[0]
        lane = f"lanes{index}[i]"
        return [*lines, Line(lane, ast.BinOp(name_node(lane), ast.Add(), product), part="lane")]

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

    def assign(self, statement: ast.stmt, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Subscript):
            self.assign_array(statement, target, value)
            return
        if not isinstance(target, ast.Name):
            self.refuse(statement, f"{ast.unparse(target)}: names and whole arrays are assigned, one at a time")
        name = target.id
        if name in self.parameters:
            self.refuse(statement, f"{name}: an argument keeps its meaning; write {name}[:] = ... for a state array")
        self.text.check_name(statement, name, ("p",))
        if value.kind in ("mask", "condition"):
            self.refuse(statement, f"{name}: a comparison or a flag has no other name; write it where it decides")
        if name in self.known and "number" in (value.kind, self.known[name].kind):
            self.refuse(statement, f"{name}: a number is computed once and has one name; choose another")
        if value.kind == "number":
            if value.literal is None:
                (self.after_definitions if value.after_sum else self.definitions)[name] = value.node
                value = replace(value, node=name_node(name))
        elif value.array is None:
            version = self.versions[name] = self.versions.get(name, 0) + 1
            own = name if version == 1 else f"{name}__{version}"
            self.lines.append(Line(own, value.node))
            value = Value(name_node(own), "array")
        self.known[name] = value  # as in NumPy, perhaps another name of the same array

    def assign_array(self, statement: ast.stmt, target: ast.Subscript, value: Value) -> None:
        part = target.slice
        whole = isinstance(part, ast.Slice) and part.lower is part.upper is part.step is None
        known = self.known.get(target.value.id) if isinstance(target.value, ast.Name) else None
        if not whole or known is None or known.array is None:
            self.refuse(statement, f"{ast.unparse(target)}: whole state arrays are assigned, as in m[:] = ..., and p")
        self.lines.append(Line(f"{known.array}[i]", self.element(statement, value), known.array))
