"""Compiling a rule of one's own: its loops join those of the package."""

from dataclasses import replace
from typing import Any, TypeVar

from fastopt.engines.choice import COMPILED, backends, get_backend
from fastopt.engines.shared import loops_of
from fastopt.rule import Rule

R = TypeVar("R", bound=type[Rule])


def compile(rule: R) -> R:
    """Make a rule of one's own as fast as a built-in one, with the same bits as on NumPy.

    Its formula is translated and built for every instruction set that runs here. That takes some seconds once; the
    result is kept in the user's cache folder, for this and later processes. Optimizers that exist already go on as
    they are.

    Parameters
    ----------
    rule : subclass of Optimizer
        Its formula has to stand in a file, or in a notebook's cell.

    Returns
    -------
    type
        The rule, so that this is a decorator too.

    Raises
    ------
    TypeError
        It is no rule.
    ValueError
        The formula says something that cannot be compiled with the same bits, or its text cannot be found; the message
        has file and line.
    RuntimeError
        A tool or a C compiler is missing, the compiler failed, fastopt itself was installed without compiled parts,
        or the cache folder cannot be used.
    """
    _check_rule(rule)
    if not COMPILED:
        raise RuntimeError(
            "compile: fastopt was installed without its compiled part; install it again where there is a C compiler"
        )
    kernels: dict[str, Any] = {name: get_backend(name).kernels for name in backends() if name != "numpy"}
    if all(loops_of(module, rule.formula) for module in kernels.values()):
        return rule
    # Only here, for these take longer to import than the rest of the package.
    from fastopt.engines.cache import built, load
    from fastopt.engines.translator.reader import translate
    from fastopt.engines.translator.writer import write

    # Whatever module it is in: a script that is run and imported has two names.
    key = f"user.{rule.formula.__name__}"
    folder = built(write([replace(translate(rule.formula), key=key)]), list(kernels))
    for name, module in kernels.items():
        module.FORMULAS[rule.formula] = load(folder, name).FORMULAS[key]
    return rule


def _check_rule(rule: object) -> None:
    if not (isinstance(rule, type) and issubclass(rule, Rule) and hasattr(rule, "formula")):
        found = repr(rule) if isinstance(rule, type) else f"an object: {type(rule).__name__}"
        raise TypeError(f"compile: expected a rule, which is a class with a formula, found {found}")
