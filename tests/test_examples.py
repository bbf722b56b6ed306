"""The examples run as their docstrings say, check their own results, and are all on their page.

Those whose libraries are missing are skipped; the extra `examples` has all libraries.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
COMMAND = re.compile(r"^(?:Run:)? +((?:mpiexec -n 2 )?python \w+\.py(?: --\w+ [\w.]+)?)", re.MULTILINE)
# Where pip puts commands.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def docstring(example):
    return ast.get_docstring(ast.parse(example.read_text(encoding="utf-8")))


def imported(example):
    """The packages that a program imports."""
    for node in ast.walk(ast.parse(example.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name.split(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


RUNS = [(example, command) for example in EXAMPLES for command in COMMAND.findall(docstring(example))]


@pytest.mark.parametrize(("example", "command"), RUNS, ids=[command for _, command in RUNS])
def test_example(example, command, tmp_path):
    for name in imported(example):
        if find_spec(name) is None:
            pytest.skip(f"needs {name}")
    first, *others = (str(example) if word == example.name else word for word in command.split())
    program = sys.executable if first == "python" else shutil.which(first, path=PATH)
    if program is None:
        pytest.skip(f"needs {first}")
    words = [program, *(sys.executable if word == "python" else word for word in others)]
    done = subprocess.run(
        words, cwd=tmp_path, env=os.environ | {"MPLBACKEND": "Agg"}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert all((tmp_path / word).stat().st_size for word in words if word.endswith(".gif"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_says_how_it_is_run(example):
    assert example in dict(RUNS)
    assert re.search(r"^Needs: +fastopt", docstring(example), re.MULTILINE)
    assert re.search(r"^Prints: +\S", docstring(example), re.MULTILINE)


@pytest.mark.skipif(not (ROOT / "docs").exists(), reason="the pages are not beside the tests")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_is_on_the_page(example):
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert f"| [{example.name}](../examples/{example.name}) | " in page
