"""``python -m fastopt.rules.translate``: writes engines/compiled/rules.pxi."""

from pathlib import Path

from fastopt import yardsticks
from fastopt.engines.translator.reader import translate
from fastopt.engines.translator.writer import write
from fastopt.rules import VARIANTS

PXI = Path(__file__).parent.parent / "engines" / "compiled" / "rules.pxi"


def made() -> str:
    """The text of rules.pxi, of the formulas as they are now."""
    formulas = dict.fromkeys([*(rule.formula for rule, _ in VARIANTS.values()), *yardsticks.FORMULAS])
    return write(map(translate, formulas))


if __name__ == "__main__":
    PXI.write_text(made(), encoding="utf-8")
    print(f"{PXI}: written; install again to compile it")
