"""The tasks of this project: ``nox -l`` lists them, ``nox -s NAME`` does one, in a virtual environment of its own.

What stands behind ``--`` is handed on, as in ``nox -s tests -- -k Adam``.
"""

import nox

nox.needs_version = ">=2024.3"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]


@nox.session
def tests(session):
    """The tests, on all backends that run here."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def clang(session):
    """The tests and the vectors of a build by clang."""
    compiler = {"CC": "clang", "CXX": "clang++", "LDSHARED": "clang -shared", "LDCXXSHARED": "clang++ -shared"}
    session.install("--no-cache-dir", ".[test]", env=compiler)
    session.run("python", "bench/vectorised.py", "--compiler", "clang")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session):
    """The style, of what is in the folder; ``pre-commit`` does the same for what is committed."""
    session.install("ruff==0.17.5")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session):
    """The types, by both checkers."""
    session.install("-e", ".[dev]")
    session.run("mypy")
    session.run("pyright")


@nox.session
def docs(session):
    """The site, in docs/_build/html; a warning fails it."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "docs", "docs/_build/html", *session.posargs)


@nox.session
def translate(session):
    """The compiled loops of the formulas, written anew: then install again."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "fastopt.rules.translate")


@nox.session
def digest(session):
    """The number that stands for all bits, from each backend: it belongs into tests/digest.txt."""
    session.install("-e", ".[test]")
    session.run("python", "tests/digest.py")


@nox.session
def golden(session):
    """What other libraries compute, into tests/golden/golden.json."""
    session.install("-e", ".", "torch==2.13.0", "keras", "optax", "jax")
    session.run("python", "tests/golden/make.py")


@nox.session
def vectors(session):
    """Whether every loop is vectorised, by each compiler here."""
    session.install("cython", "numpy", "setuptools>=77")
    session.run("python", "bench/vectorised.py", *session.posargs)


@nox.session
def gate(session):
    """The gate on speed."""
    session.install("-e", ".[test]")
    session.run("pytest", "bench/test_gate.py", *session.posargs)


@nox.session(venv_backend="none")
def asan(session):
    """The tests of a build that watches memory and undefined behaviour."""
    session.run("bash", ".ci/sanitize", "address", str(session.cache_dir / "asan"))


@nox.session(venv_backend="none")
def tsan(session):
    """The tests of threads, of a build that watches for data races."""
    session.run("bash", ".ci/sanitize", "thread", str(session.cache_dir / "tsan"))


@nox.session
def attacks(session):
    """Attacks on optimizers: exhausted memory, signals, kills and random programs."""
    session.install("-e", ".[test]")
    session.run("python", "tests/attacks/nomemory.py", "--tries", "500")
    session.run("python", "tests/attacks/signals.py", "--tries", "2000")
    session.run("python", "tests/attacks/kills.py", "--tries", "1000")
    session.run("python", "tests/attacks/fuzz.py", "--seconds", "300")


@nox.session(venv_backend="none")
def freethreaded(session):
    """The tests on a free-threaded Python."""
    session.run("bash", ".ci/freethreaded", str(session.cache_dir / "freethreaded"))


@nox.session
def build(session):
    """The sdist, and the wheel made of it, in dist/."""
    session.install("build")
    session.run("python", "-m", "build")


@nox.session(venv_backend="none")
def ci(session):
    """What CI's last job does."""
    session.run("bash", ".ci/run")


@nox.session(venv_backend="none")
def full(session):
    """What takes longer: before a release, and after changes of formulas, loops or the translator."""
    session.run("bash", ".ci/full")
