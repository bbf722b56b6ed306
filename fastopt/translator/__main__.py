"""``python -m fastopt.translator``: writes _core/rules.pxi, or with ``--check`` fails when it is stale."""

import argparse
import sys
from pathlib import Path

from fastopt import yardsticks
from fastopt.rules import VARIANTS
from fastopt.translator.reader import translate
from fastopt.translator.writer import write

PXI = Path(__file__).parent.parent / "_core" / "rules.pxi"


def made():
    """The text of rules.pxi, of the formulas as they are now."""
    formulas = dict.fromkeys([*(rule.formula for rule, _ in VARIANTS.values()), *yardsticks.FORMULAS])
    return write(map(translate, formulas))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail when the file is stale")
    if not parser.parse_args().check:
        PXI.write_text(made(), encoding="utf-8")
    elif PXI.read_text(encoding="utf-8") != made():
        sys.exit(f"{PXI.name} is stale: run python -m fastopt.translator")


if __name__ == "__main__":
    main()
