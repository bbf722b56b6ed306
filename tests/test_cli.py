"""The command line, in processes of its own where it has to do with terminals, pipes and signals."""

import json
import os
import platform
import signal
import struct
import subprocess
import sys
from contextlib import suppress

import pytest

import fastopt
from fastopt import __main__
from fastopt.cli import commands, timing
from fastopt.engines import choice
from fastopt.rules import VARIANTS

QUICK = ("bench", "--size", "10", "--seconds", "0")
on_posix = pytest.mark.skipif(os.name != "posix", reason="Windows has other terminals and signals")


@pytest.fixture
def invoke(capsys):
    """Run a command here: its exit code, what it printed, and what it complained about."""

    def run(*arguments):
        try:
            __main__.main(arguments)
            code = 0
        except SystemExit as end:  # with a code, or with what is printed in its place
            code = end.code if isinstance(end.code, int | None) else 1
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
        printed, complained = capsys.readouterr()
        return code or 0, printed, complained

    return run


def start(*arguments, **options):
    """Start a command in a process of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8", "bufsize": 1} | options
    environment = os.environ | {"PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": ""}  # buffered, as it usually is
    if os.name == "posix":
        # Shells have the jobs that they put into the background ignore Ctrl-C, and their children with them.
        pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen([sys.executable, "-m", "fastopt", *arguments], env=environment, **pipes)


# What is printed


def test_info(invoke):
    code, printed, _ = invoke("info")
    assert code == 0
    for word in [fastopt.__version__, *fastopt.backends(), platform.python_version()]:
        assert word in printed


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_names_the_commands(invoke, arguments):
    code, printed, _ = invoke(*arguments)
    assert code == 0
    for command in ("info", "bench", "demo"):
        assert command in printed


def test_version(invoke):
    assert invoke("--version") == (0, f"fastopt {fastopt.__version__}\n", "")


def test_bench(invoke, backend):
    code, printed, _ = invoke(*QUICK, "--backend", backend, "--dtype", "float64", "--threads", "1")
    assert code == 0
    title, *rows = printed.splitlines()
    assert title.startswith(f"One step, float64, {backend}, ")
    assert title.endswith("threads: 1")
    for name in VARIANTS:
        assert [row for row in rows if row.startswith(f"{name}  ")]


def test_bench_with_its_defaults(invoke, monkeypatch):
    """Every size with every rule, and a time that each of them gets."""
    calls = []

    def quick(name, n, dtype, backend, seconds):
        calls.append((n, name, str(dtype), backend, seconds))
        return original(name, 10, dtype, backend, 0)

    original = timing.compare
    monkeypatch.setattr(timing, "compare", quick)
    code, printed, _ = invoke("bench")
    assert code == 0
    assert calls == [(n, name, "float32", choice.DEFAULT, 0.5) for n in commands.SIZES for name in VARIANTS]
    assert "\n16,000,000 elements " in printed


def test_bench_runs_for_as_long_as_by_default(invoke):
    """LARS left the finite numbers within ten thousand steps, and a compiled one takes half a million here."""
    code, printed, _ = invoke("bench", "--size", "10", "--rule", "LARS", "--rule", "lamb")
    assert code == 0
    assert [row.split()[0] for row in printed.splitlines()[-2:]] == ["LARS", "LAMB"]


def test_bench_for_scripts(invoke):
    rules = ["--rule", "Adam", "--rule", "rmsprop, centered"]
    code, printed, _ = invoke(*QUICK, "--size", "1_0", "--size", "2e1", "--json", "--threads", "3", *rules)
    assert code == 0
    rows = [json.loads(line) for line in printed.splitlines()]
    names = ["Adam", "RMSprop, centered"]
    assert [(row["elements"], row["rule"]) for row in rows] == [(n, name) for n in (10, 10, 20) for name in names]
    for row in rows:
        assert (row["dtype"], row["backend"], row["threads"]) == ("float32", choice.DEFAULT, 3)
        assert row["seconds"] > 0
        assert row["speedup"] > 0
    assert fastopt.get_num_threads() != 3 or os.cpu_count() == 3  # only while it ran


def test_rows_appear_as_they_are_finished():
    with start("bench", "--size", "10", "--seconds", "0.1", "--json") as process:
        first = process.stdout.readline()
        process.kill()
        rest = process.stdout.readlines()
    assert json.loads(first)["rule"] == next(iter(VARIANTS))
    assert len(rest) < len(VARIANTS) - 1


@on_posix
def test_a_narrow_terminal():
    """Of 60 columns: nothing is broken or cut off, and there is nothing but text."""
    import fcntl
    import pty
    import termios

    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 60, 0, 0))
    with start(*QUICK, stdout=theirs) as process, open(mine, "rb", buffering=0) as terminal:
        os.close(theirs)
        printed = b""
        with suppress(OSError):  # by which Linux says that there is no more
            while some := terminal.read(4096):
                printed += some
    assert process.returncode == 0
    lines = printed.decode().splitlines()
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) <= 60
    assert [line for line in lines if line.startswith("RMSprop, centered, momentum ")]


def test_a_file_in_an_encoding_without_greek(tmp_path):
    file = tmp_path / "rows.txt"
    with open(file, "wb") as out:
        command = [sys.executable, "-m", "fastopt", *QUICK]
        done = subprocess.run(command, stdout=out, env=os.environ | {"PYTHONIOENCODING": "ascii"}, timeout=120)
    assert done.returncode == 0
    assert all(len(line) <= 60 for line in file.read_text("ascii").splitlines())


# What is refused


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["bench", "--size", "1.5"], "--size: expected a whole number"),
        (["bench", "--size", "0"], "--size: expected a whole number"),
        (["bench", "--size", "many"], "--size: expected a whole number"),
        (["bench", "--size", "1e400"], "--size: expected a whole number"),
        (["bench", "--threads", "-1"], "--threads: expected a whole number"),
        (["bench", "--seconds", "nan"], "--seconds: expected a number of seconds from 0"),
        (["bench", "--seconds", "soon"], "--seconds: expected a number of seconds from 0"),
        (["bench", "--rule", "Adm"], "there is no rule 'Adm'; did you mean 'Adam'?"),
        (["bench", "--dtype", "float16"], "--dtype: invalid choice: 'float16'"),
        (["bench", "--speed"], "there is no option --speed; did you mean"),
        (["demo", "--epochs", "0"], "--epochs: expected a whole number"),
        (["demo", "--output", "demo.xyz"], "--output: expected a name that ends in .png, .svg or .pdf"),
        (["dance"], "invalid choice: 'dance'"),
    ],
)
def test_slips_are_answered_in_one_line(invoke, arguments, complaint):
    code, printed, complained = invoke(*arguments)
    assert (code, printed) == (2, "")
    assert complaint in complained
    assert complained.startswith("fastopt")
    assert complained.count("\n") == 1


def test_bench_refuses_a_backend_that_is_not_there(invoke, monkeypatch):
    monkeypatch.setattr("fastopt.engines.choice._available", lambda: ("numpy",))
    code, _, complained = invoke("bench", "--backend", "avx2")
    assert code == 1
    assert complained == "fastopt bench: backend: 'avx2' is not available here; there are numpy\n"


def test_bench_that_does_not_fit_into_memory(invoke, monkeypatch):
    def compare(name, n, *others):
        if n > 10:
            raise MemoryError
        return original(name, n, *others)

    original = timing.compare
    monkeypatch.setattr(timing, "compare", compare)
    code, printed, complained = invoke(*QUICK, "--size", "1000", "--rule", "Adam", "--json")
    assert (code, printed.count("\n")) == (1, 1)
    assert complained == "fastopt bench: there is not enough memory for 1,000 elements; choose a smaller --size\n"


# What ends it


@on_posix
@pytest.mark.parametrize("arguments", [["bench", "--json", "--size", "10"], ["demo", "--epochs", "3"]])
def test_ctrl_c(arguments, tmp_path):
    if "demo" in arguments:
        pytest.importorskip("matplotlib")
        pytest.importorskip("sklearn")
    with start(*arguments, cwd=tmp_path) as process:
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, complained = process.communicate(timeout=120)
    assert process.returncode == 130
    assert complained == ""
    if "--json" in arguments:
        assert all(json.loads(line) for line in [first, *rest.splitlines()])
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_modules_are_imported(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "run", interrupt)
    with pytest.raises(SystemExit) as end:
        __main__.main(["info"])
    assert end.value.code == 130


@on_posix
@pytest.mark.parametrize("arguments", [QUICK, ["info"]])
def test_a_pipe_that_is_closed(arguments):
    out, into = os.pipe()
    os.close(out)
    with start(*arguments, stdout=into) as process:
        os.close(into)
        _, complained = process.communicate(timeout=120)
    assert complained == ""
    assert process.returncode == 1


# Without the extra

WITHOUT = """
import sys
sys.modules |= dict.fromkeys(sys.argv[1].split(","))
sys.argv[0:2] = ["fastopt"]
from fastopt.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("missing", "arguments", "code"),
    [
        ("matplotlib,sklearn,scipy", ["info"], 0),
        ("matplotlib,sklearn,scipy", ["--version"], 0),
        ("matplotlib,sklearn,scipy", ["--help"], 0),
        ("matplotlib,sklearn,scipy", [], 0),
        ("matplotlib,sklearn,scipy", QUICK, 0),
        ("matplotlib", ["demo"], 1),
        ("sklearn", ["demo"], 1),
    ],
)
def test_only_the_demo_needs_the_extra(missing, arguments, code):
    command = [sys.executable, "-c", WITHOUT, missing, *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == code, done.stderr
    if code:
        assert done.stderr.startswith("fastopt demo: ")
        assert done.stderr.endswith("which is not installed: pip install 'fastopt[cli]'\n")
        assert done.stderr.count("\n") == 1
    assert (done.stdout == "") == bool(code)
