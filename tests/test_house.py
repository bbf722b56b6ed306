"""The house is in order: imports run one way, files are short, and each says what it is."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import fastopt

ROOT = Path(fastopt.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py*")
    if path.suffix in (".py", ".pyx")
}
INCLUDED = re.compile(r'^include "(\w+\.pxi)"', re.MULTILINE)
IMPORTED = re.compile(r"^from (fastopt[\w.]*) import (?:\(([^)]*)\)|([\w, ]+)$)", re.MULTILINE)


def imports(path):
    """The modules of the package that a module imports, at whatever place."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        found = [(one.module, [name.name for name in one.names]) for one in ast.walk(ast.parse(text))
                 if isinstance(one, ast.ImportFrom) and (one.module or "").startswith("fastopt")]  # fmt: skip
    else:
        text += "".join((path.parent / name).read_text(encoding="utf-8") for name in INCLUDED.findall(text)
                        if name != "rules.pxi")  # fmt: skip
        found = [(module, re.findall(r"\w+", several or one)) for module, several, one in IMPORTED.findall(text)]
    for module, names in found:
        inner = {f"{module}.{name}" for name in names} & set(MODULES)
        yield from inner or {module}


GRAPH = {name: set(imports(path)) for name, path in MODULES.items()}


def package_of(name):
    """The folder in which a module lies; those of the uppermost folder stand for themselves."""
    parts = name.split(".")
    return ".".join(parts[:2])


def test_there_is_something_to_look_at():
    assert {"fastopt.rules.adam", "fastopt.optimizer"} <= set(GRAPH)
    engine = {"arrays.addresses", "arrays.forms", "arrays.mapped", "arrays.nesting"}
    engine |= {"engines.busy", "engines.shared", "options", "signature", "stages"}
    assert GRAPH.get("fastopt.engines.compiled.engine", set()) in ({f"fastopt.{name}" for name in engine}, set())
    assert {"fastopt.options", "fastopt.rule", "fastopt.engines.choice"} <= {
        one for group in GRAPH.values() for one in group
    }


def test_imports_run_one_way_between_modules():
    TopologicalSorter(GRAPH).prepare()  # raises CycleError, with the modules


def test_imports_run_one_way_between_packages():
    packages = {}
    for name, imported in GRAPH.items():
        packages.setdefault(package_of(name), set()).update(map(package_of, imported))
    TopologicalSorter({name: others - {name} for name, others in packages.items()}).prepare()


HERE = Path(__file__).parent
FOLDERS = {
    ROOT: ("py", "pxd", "pyx", "pxi", "hpp", "h"),
    **dict.fromkeys((HERE, HERE.parent / "bench", HERE.parent / "examples"), ("py",)),
}
BY_HAND = [
    path
    for folder, endings in FOLDERS.items()
    for ending in endings
    for path in sorted(folder.rglob(f"*.{ending}"))
    if path.name != "rules.pxi"
]


@pytest.mark.parametrize("path", BY_HAND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_files_are_short_and_say_what_they_are(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400
    first = next((line for line in lines if not line.startswith("# distutils")), "")
    assert first.startswith(('"""', "# ", "// ", "/* "))


def test_nothing_but_public_names():
    assert dir(fastopt) == sorted({*fastopt.__all__, "__version__", "formula", "options"})
