"""The command line."""

import pytest
from click.testing import CliRunner

import fastopt
from fastopt import __main__
from fastopt.cli import demo
from fastopt.cli.commands import cli
from fastopt.rules import VARIANTS


def invoke(*arguments):
    return CliRunner().invoke(cli, arguments, env={"COLUMNS": "200", "TERM": "dumb"})


def test_info():
    done = invoke("info")
    assert done.exit_code == 0, done.output
    for name in [fastopt.__version__, *fastopt.backends()]:
        assert name in done.output


def test_bench(backend):
    done = invoke("bench", "--size", "10", "--seconds", "0", "--backend", backend, "--dtype", "float64")
    assert done.exit_code == 0, done.output
    for name in VARIANTS:
        assert name in done.output


def test_bench_refuses_a_backend_that_is_not_there(monkeypatch):
    monkeypatch.setattr("fastopt.engines.choice._available", lambda: ("numpy",))
    done = invoke("bench", "--backend", "avx2")
    assert done.exit_code == 1
    assert "'avx2' is not available here" in done.output


def test_demo(tmp_path):
    picture = tmp_path / "demo.png"
    done = invoke("demo", "--epochs", "2", "--output", str(picture))
    assert done.exit_code == 0, done.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "NO" not in done.output
    for name in VARIANTS:
        assert name in done.output


@pytest.mark.parametrize("name", ["demo.xyz", "nowhere/demo.png"])
def test_demo_refuses_a_picture_that_cannot_be_written(name, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "compare", None)  # it must not get so far
    done = invoke("demo", "--output", str(tmp_path / name))
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")


def test_demo_fails_when_bits_differ(tmp_path, monkeypatch):
    def differ(epochs, tick):
        yield demo.Comparison("SGD", [1.0], 0.5, 2.0, 1.0, False)

    monkeypatch.setattr(demo, "compare", differ)
    done = invoke("demo", "--output", str(tmp_path / "demo.png"))
    assert done.exit_code == 1
    assert "NO" in done.output
    assert "a defect of fastopt" in done.output


def test_demo_learns():
    data = demo.digits()
    for name in VARIANTS:
        trained = demo.train(name, None, data, 3, lambda: None)
        assert trained.losses[-1] < trained.losses[0] / 2
        assert trained.accuracy > 0.85


def test_missing_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fastopt.cli.commands", None)
    with pytest.raises(SystemExit, match=r"pip install 'fastopt\[cli\]'"):
        __main__.main()
