"""The command ``fastopt``: also ``python -m fastopt``."""

import os
import sys
from collections.abc import Sequence
from signal import SIGINT


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, and end it quietly where Ctrl-C, or the end of what reads the output, ends it."""
    try:
        try:
            from fastopt.cli.commands import run

            run(arguments)
        finally:
            print(end="", flush=True)  # here, where a broken pipe is expected, and not when Python exits
    except KeyboardInterrupt:
        sys.exit(128 + SIGINT)
    except OSError as error:
        # What is left in the buffer goes nowhere, or Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1 if isinstance(error, BrokenPipeError) else f"fastopt: {error}")


if __name__ == "__main__":
    main()
