"""The command ``fastopt``: also ``python -m fastopt``."""

import sys


def main() -> None:
    try:
        from fastopt.cli.commands import cli
    except ModuleNotFoundError as error:
        sys.exit(f"The command line needs {error.name}, which is not installed: pip install 'fastopt[cli]'")
    cli(prog_name="fastopt")


if __name__ == "__main__":
    main()
