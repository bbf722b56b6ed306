"""How the command line reads what it is given: what is wrong is said in one line."""

import math
from argparse import ArgumentParser, ArgumentTypeError
from typing import NoReturn

from fastopt.options import did_you_mean
from fastopt.rules import VARIANTS


class Parser(ArgumentParser):
    """Ends without the usage, which is what `--help` is for."""

    def refuse(self, argument: str) -> NoReturn:
        """End because of an argument that it does not know."""
        known = [name for name in self._option_string_actions if name.startswith("--")]
        if argument.startswith("-"):
            self.error(f"there is no option {argument}{did_you_mean(argument, known)}")
        self.error(f"unexpected {argument!r}; an option takes one value, and is given again for another")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def whole(text: str) -> int:
    """A whole number from 1, as people write it."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (number.is_integer() and 1 <= number < 2**31):
        raise ArgumentTypeError(f"expected a whole number from 1 to 2**31 - 1, found {text!r}")
    return int(number)


def duration(text: str) -> float:
    """Seconds: a finite number from 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ArgumentTypeError(f"expected a number of seconds from 0, found {text!r}")
    return seconds


def rule(text: str) -> str:
    """The name of a rule, in capitals or not."""
    names = {name.lower(): name for name in VARIANTS}
    if text.lower() not in names:
        raise ArgumentTypeError(f"there is no rule {text!r}{did_you_mean(text, list(VARIANTS))}")
    return names[text.lower()]


def picture_name(text: str) -> str:
    """A name by which the format of a picture is known."""
    if not text.lower().endswith((".png", ".svg", ".pdf")):
        raise ArgumentTypeError(f"expected a name that ends in .png, .svg or .pdf, found {text!r}")
    return text
