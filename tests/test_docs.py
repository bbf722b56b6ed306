"""The documentation is true: its Python runs as it stands, and nothing public is without a docstring."""

import doctest
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from ast import literal_eval
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType

import pytest

import fastopt
from fastopt.engines.choice import COMPILED
from fastopt.engines.translator.text import WORDS
from fastopt.stages import STAGE_NAMES

ROOT = Path(__file__).resolve().parent.parent
PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if page.exists()]
API = ROOT / "docs" / "api.md"
PACKAGE = Path(fastopt.__file__).parent
RULES = [one for name in fastopt.__all__ if inspect.isclass(one := getattr(fastopt, name)) and hasattr(one, "formula")]
# Class methods are the package's own machinery.
MEMBERS = [
    name
    for name in dir(fastopt.Optimizer)
    if not name.startswith("_")
    and isinstance(inspect.getattr_static(fastopt.Optimizer, name), property | staticmethod | FunctionType)
]
PUBLIC = [
    *(f"fastopt.{name}" for name in fastopt.__all__),
    *(f"fastopt.Optimizer.{name}" for name in MEMBERS),
    *(f"fastopt.formula.{name}" for name in [*WORDS, "Carried"]),
]
needs_pages = pytest.mark.skipif(not API.exists(), reason="the pages are not beside the tests")


# Python in pages


def can_compile():
    """Whether `fastopt.compile` can do its work here."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cl").split()[0]
    tools = all(find_spec(name) for name in ("Cython", "platformdirs", "setuptools"))
    return COMPILED and tools and shutil.which(compiler)


def can_run(block):
    """Whether all that a block needs is here."""
    others = [name for name in ("jax", "torch") if re.search(rf"^import {name}$", block, re.MULTILINE)]
    return all(map(find_spec, others)) and (can_compile() or "fastopt.compile" not in block)


def script(page):
    """A page's Python blocks as one script, each line at its own place; blocks that cannot run here are left out."""
    lines = page.read_text(encoding="utf-8").splitlines()
    kept, block = [""] * len(lines), None
    for number, line in enumerate(lines):
        if block is None and line == "```python":
            block = number + 1
        elif block is not None and line == "```":
            code = lines[block:number]
            if can_run("\n".join(code)):
                kept[block:number] = code
            block = None
    assert block is None, f"{page}:{block}: the block has no end"
    return "\n".join(kept)


@needs_pages
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if "\n```python\n" in page.read_text(encoding="utf-8")],
    ids=lambda page: page.name,
)
def test_python_in_pages_runs(page, tmp_path):
    file = tmp_path / f"{page.stem}.py"
    file.write_text(script(page), encoding="utf-8")
    # What is compiled or saved stays in the temporary folder.
    folders = dict.fromkeys(["HOME", "LOCALAPPDATA", "XDG_CACHE_HOME"], str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-W", "error", file.name],
        cwd=tmp_path,
        env=os.environ | folders,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@needs_pages
def test_no_block_is_overlooked():
    """Python stands in fences that begin a line, under this one name."""
    for page in PAGES:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
            if re.match(r"\s*(```|~~~|:::)\s*\{?(py|code|ipython|pycon)", line):
                assert line == "```python", f"{page}:{number}: {line}"


@needs_pages
def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"


@needs_pages
@pytest.mark.parametrize("rule", RULES)
def test_table_of_rules_is_true(rule):
    """Every option in its order, with its default."""
    rows = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8").splitlines()
    row = next(row for row in rows if row.startswith(f"| `{rule.__name__}` "))
    told = {name: literal_eval(default) for name, default in re.findall(r"`(\w+)=([^`]+)`", row)}
    shared = {"params", "maximize", "decoupled_weight_decay", "backend", "state_memory", *STAGE_NAMES}
    parameters = inspect.signature(rule).parameters
    assert list(told.items()) == [(name, one.default) for name, one in parameters.items() if name not in shared]


@needs_pages
def test_every_stage_is_in_the_table():
    rows = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8").splitlines()
    stages = [row.split("`")[1] for row in rows if row.startswith("| `")]
    assert stages == list(STAGE_NAMES)


# Docstrings

EXAMPLES = [file for file in sorted(PACKAGE.rglob("*.py")) if ">>> " in file.read_text(encoding="utf-8")]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_examples_in_docstrings(file):
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    failed, attempted = doctest.testmod(importlib.import_module(".".join(parts).removesuffix(".__init__")))
    assert attempted
    assert not failed


@pytest.fixture(scope="module")
def validation():
    """The checks that docstrings have to pass, and the names that are checked otherwise."""
    pytest.importorskip("numpydoc", reason="it comes with the extra `docs`")
    tomllib = pytest.importorskip("tomllib")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["numpydoc_validation"]
    return set(settings["checks"]), re.compile("|".join(settings["exclude"]))


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_are_complete(name, validation):
    from numpydoc.validate import validate

    checks, excluded = validation
    if excluded.search(name):
        checks = checks - {"PR01", "PR02"}
    assert [error for error in validate(name)["errors"] if error[0] in checks] == []


def test_optimizer_documents_all_that_rules_share(validation):
    from numpydoc.docscrape import ClassDoc

    documented = [parameter.name for parameter in ClassDoc(fastopt.Optimizer)["Parameters"]]
    assert documented == ["params", "maximize", "decoupled_weight_decay", *STAGE_NAMES, "backend", "state_memory"]


@needs_pages
def test_everything_public_is_on_the_page():
    shown = re.findall(
        r"^ *\.\. auto\w+:: (fastopt\.(?!formula$)[\w.]+)", API.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(shown) == sorted(PUBLIC)
