"""What type checkers and editors see: no error in the package and in good code, and one at each slip."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastopt
from fastopt.stages import STAGE_NAMES

ROOT = Path(__file__).parent.parent
# The package's own files too, unless it is an installed one that is tested.
CHECKED = [name for name in ("fastopt", "tests/typing") if (ROOT / name).is_dir()]
# Formulas are bare in the README too.
BARE = """\
# mypy: allow-untyped-defs
# pyright: strict, reportMissingParameterType=false, reportUnknownParameterType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """What is checked: with the README's snippets, where it is."""
    readme = ROOT / "README.md"
    if not readme.exists():
        return CHECKED
    snippets = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    file = tmp_path_factory.mktemp("typing") / "readme.py"
    file.write_text("\n".join([BARE, *snippets]), encoding="utf-8")
    return [*CHECKED, str(file)]


def pyright(checked):
    pytest.importorskip("pyright")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *checked]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    for found in json.loads(run.stdout)["generalDiagnostics"]:
        yield found["file"], found["range"]["start"]["line"] + 1, found["message"]


def mypy(checked):
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--no-pretty", "--no-color-output", *checked]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    assert run.returncode in (0, 1), run.stdout + run.stderr
    for file, line, message in re.findall(r"^(.+?):(\d+): error: (.*)$", run.stdout, re.MULTILINE):
        yield ROOT / file, int(line), message


@pytest.mark.parametrize("checker", [pyright, mypy])
def test_checkers(checker, checked):
    bad = ROOT / "tests" / "typing" / "bad.py"
    errors = [(Path(file), line, message) for file, line, message in checker(checked)]
    assert [error for error in errors if error[0] != bad] == []
    lines = bad.read_text(encoding="utf-8").splitlines()
    marked = [number for number, line in enumerate(lines, 1) if line.endswith("# wrong")]
    assert sorted(line for _, line, _ in errors) == marked, errors


def test_good_snippets_run():
    """What checkers accept is accepted indeed."""
    folder, environment = ROOT / "tests" / "typing", {**os.environ, "FASTOPT_BACKEND": ""}
    command = [sys.executable, "-W", "ignore", "good.py"]  # it has rules that are not compiled
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8")
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("rule", ["Adam", "SGD"])
def test_completion(rule):
    """An editor that reads the code without running it offers all options, and nothing of ours that is none."""
    jedi = pytest.importorskip("jedi")
    code = f"import fastopt\nfastopt.{rule}("
    offered = {one.name.rstrip("=") for one in jedi.Script(code).complete() if one.name.endswith("=")}
    expected = set(getattr(fastopt, rule).constructor_signature().parameters)
    assert {"lr", "weight_decay", *STAGE_NAMES} <= expected
    assert {name for name in offered if not name.startswith("__")} - {"_"} == expected
