"""Rules of one's own: declared in a few lines, at once on NumPy, and with the same bits when they are compiled."""

import copy
import inspect
import os
import pickle
import subprocess
import sys
from dataclasses import KW_ONLY
from pathlib import Path
from typing import Literal

import numpy as np
import own_rules
import pytest
from helpers import assert_same_optimizer, awkward, python
from own_rules import CASES, RULES, Damped, Estimated, Peaked

import fastopt
from fastopt.engines.choice import COMPILED
from fastopt.formula import CHUNK

STAGES = {"clip_grad_norm": 1.0, "clip_grad_value": 0.5, "loss_scale": 3.0, "nonfinite": "skip", "ema_decay": 0.9}
STAGES |= {"zero_grads": True, "accumulate": 2}
SIZES = (1, 7, 33, CHUNK + 5)

needs_compiler = pytest.mark.skipif(not COMPILED, reason="fastopt itself is not compiled here")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder for this module's compiled rules."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):  # which platformdirs looks at
            patch.setenv(name, str(folder))
        if sys.platform == "darwin":
            patch.setenv("HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def compiled_rules(cache):
    for rule in RULES:
        assert fastopt.compile(rule) is rule


def parameters(rng, dtype):
    return [rng.normal(size=n).astype(dtype) for n in SIZES]


def trained(rule, options, dtype, backend, steps=5):
    rng = np.random.default_rng(0)
    opt = rule(parameters(rng, dtype), **options, backend=backend)
    for step in range(steps):
        grads = parameters(rng, dtype)
        grads[1] = None if step == 2 else awkward(rng, SIZES[1], dtype) if "nonfinite" in options else grads[1]
        opt.step(grads)
    return opt


# On NumPy


def test_example():
    """As its formula says, element by element."""
    p, g = np.array([1.0, 2.0]), np.array([0.5, -3.0])
    opt = Peaked(p.copy(), lr=0.1, backend="numpy")
    opt.step(g)
    expected = p - 0.1 / (1 - 0.9) * g / (np.sqrt((0.1 * g) ** 2) + 1e-8)
    np.testing.assert_allclose(opt.param_groups[0]["params"][0], expected, rtol=1e-12)
    assert list(opt.state[0]) == ["step", "m", "h"]
    assert list(Peaked(p, peak=False, backend="numpy").state[0]) == ["step", "m"]


def test_signature():
    names = list(inspect.signature(Damped).parameters)
    assert names[:7] == ["params", "lr", "betas", "mu", "form", "start", "weight_decay"]
    assert {"maximize", "clip_grad_norm", "backend"} <= set(names)
    given = Damped([np.ones(1)], 0.5, (0.5, 0.6), 0.7, start=0.0, backend="numpy").param_groups[0]
    assert (given["lr"], given["betas"], given["mu"], given["start"]) == (0.5, (0.5, 0.6), 0.7, 0.0)
    assert Damped.betas == (0.9, 0.99)


def test_uncompiled_rules_run_on_numpy_and_say_so_once(monkeypatch):
    class Fresh(Peaked):
        formula = lambda d, *, lr: lr * d  # noqa: E731

    if not COMPILED or os.environ.get("FASTOPT_BACKEND"):
        pytest.skip("there is no choice to make")
    with pytest.warns(RuntimeWarning, match=r"Fresh: its formula .* is not compiled .*, so it runs on NumPy") as warned:
        assert Fresh(np.ones(1)).backend == "numpy"
    assert warned[0].filename == __file__
    assert Fresh(np.ones(1)).backend == "numpy"
    assert Fresh(np.ones(1), backend="numpy").backend == "numpy"
    with pytest.raises(ValueError, match=r"call fastopt.compile\(Fresh\) first, or use backend='numpy'"):
        Fresh(np.ones(1), backend=fastopt.backends()[0])
    monkeypatch.setattr("fastopt.engines.choice.FORCED", fastopt.backends()[0])
    with pytest.raises(ValueError, match=r"call fastopt.compile\(Fresh\) first"):
        Fresh(np.ones(1))


def declare(**body):
    annotations = {name: kind for name, (kind, _) in body.items()}
    values = {name: value for name, (_, value) in body.items() if value is not inspect.Parameter.empty}
    return type("Wrong", (fastopt.Optimizer,), {"formula": own_rules.peaked, "__annotations__": annotations, **values})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"beta": (float, 0.9)}, "Wrong: a rule declares its learning rate, as in lr: float = 1e-3"),
        ({"lr": (float, inspect.Parameter.empty)}, r"Wrong\.lr: an option has a default"),
        ({"lr": (float, 0.1), "beta": (list, [])}, r"Wrong\.beta: the annotation .* says no check; options are float"),
        ({"lr": (float, 0.1), "step": (float, 0.1)}, r"Wrong\.step: the name means something else in an optimizer"),
        ({"lr": (float, 0.1), "beta": ("Unheard", 0.9)}, r"Wrong\.beta: its annotation 'Unheard' is not known"),
    ],
)
def test_declarations_that_are_refused(body, message):
    with pytest.raises(TypeError, match=message):
        declare(**body)


@pytest.mark.parametrize(
    ("kind", "good", "bad", "error", "message"),
    [
        (float, [-1, 2.5, np.float32(3)], "fast", TypeError, "x: expected a number, found 'fast'"),
        (float, [0], float("nan"), ValueError, "x: nan was given; it must be finite"),
        (int, [-3, np.int64(4)], 0.5, TypeError, "x: expected an integer, found 0.5"),
        (bool, [True, np.False_], 1, TypeError, "x: expected True or False, found 1"),
        (str, ["any"], 1, TypeError, "x: expected a string, found 1"),
        (Literal["a", "b"], ["a"], "c", ValueError, "x: 'c' was given; it must be one of 'a', 'b'"),
        (float | None, [None, 1.5], "no", TypeError, "x: expected a number"),
        (tuple[float, int], [(0.5, 2), [0.5, 2]], (0.5,), TypeError, "x: expected a pair of numbers"),
        ("float", [1.5], None, TypeError, "x: expected a number"),
    ],
)
def test_annotations_check_options(kind, good, bad, error, message):
    rule = declare(lr=(float, 0.1), beta=(float, 0.9), eps=(float, 0.1), peak=(bool, True), x=(kind, good[0]))
    for value in good:
        found = rule([np.ones(1)], x=value, backend="numpy").x
        assert found == (tuple(value) if isinstance(value, list) else value)
    with pytest.raises(error, match=message):
        rule([np.ones(1)], x=bad, backend="numpy")


def test_options_by_position_and_by_name():
    with pytest.raises(TypeError, match="Peaked: 'lr' was given by position and by name"):
        Peaked([np.ones(1)], 0.1, lr=0.1, backend="numpy")
    with pytest.raises(TypeError, match="Peaked: 5 options were given by position; it takes lr, beta, eps, peak so"):
        Peaked([np.ones(1)], 0.1, 0.9, 0.1, True, 1, backend="numpy")
    with pytest.raises(TypeError, match="Peaked: unknown option 'bata'; did you mean 'beta'"):
        Peaked([np.ones(1)], bata=1, backend="numpy")


def test_keyword_only_options_of_a_subclass():
    class More(Peaked):
        _: KW_ONLY
        extra: float = 1.0

    assert More([np.ones(1)], extra=2, backend="numpy").extra == 2
    with pytest.raises(TypeError, match="5 options were given by position"):
        More([np.ones(1)], 0.1, 0.9, 0.1, True, 2, backend="numpy")


# Compiled


@needs_compiler
@pytest.mark.usefixtures("compiled_rules")
@pytest.mark.parametrize("stages", [{}, STAGES], ids=["bare", "stages"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_same_bits(case, dtype, stages, compiled):
    rule, options = CASES[case]
    mine = trained(rule, options | stages, dtype, compiled)
    assert mine.backend == compiled
    assert_same_optimizer(mine, trained(rule, options | stages, dtype, "numpy"))


@pytest.mark.usefixtures("compiled_rules" if COMPILED else "cache")
@pytest.mark.parametrize("case", CASES)
def test_state_dict_and_copies(case, backend):
    rule, options = CASES[case]
    opt = trained(rule, options, np.float32, backend)
    fresh = rule([p.copy() for p in opt.param_groups[0]["params"]], **options, backend=backend)
    fresh.load_state_dict(opt.state_dict())
    copies = [fresh, copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))]
    grads = parameters(np.random.default_rng(1), np.float32)
    for one in (opt, *copies):
        one.step(grads)
    for one in copies:
        assert_same_optimizer(one, opt)


@pytest.mark.usefixtures("compiled_rules" if COMPILED else "cache")
def test_carried_numbers_advance_with_the_count_alone(backend):
    """A parameter that is skipped, and a step that is, move none of them."""
    opt = Damped([np.ones(2), np.ones(3)], mu=0.5, nonfinite="skip", backend=backend)
    assert [state["mu_product"] for state in opt.state] == [1.0, 1.0]
    opt.step([np.ones(2), np.ones(3)])
    opt.step([np.ones(2), None])
    opt.step([np.full(2, np.nan), np.ones(3)])
    assert [state["mu_product"] for state in opt.state] == [0.25, 0.5]
    assert [state["step"] for state in opt.state] == [2, 1]
    assert list(opt.state[0]) == ["step", "mu_product", "exp_avg", "v"]
    saved = opt.state_dict()
    assert saved["state"][0]["mu_product"] == 0.25
    for wrong, error in ((None, TypeError), (np.inf, ValueError)):
        saved["state"][0]["mu_product"] = wrong
        with pytest.raises(error, match="'mu_product'"):
            opt.load_state_dict(saved)
    saved["state"][0]["mu_product"] = 0.75
    opt.load_state_dict(saved)
    assert opt.state[0]["mu_product"] == 0.75


@pytest.mark.usefixtures("compiled_rules" if COMPILED else "cache")
def test_carried_numbers_have_to_be_finite(backend):
    opt = Estimated([np.ones(2)], backend=backend)
    saved = opt.state_dict()
    saved["state"][0]["seen"] = 1e308
    opt.load_state_dict(saved)
    opt.step([np.ones(2)])  # in float64 all is well
    opt = Estimated([np.ones(2, np.float32)], backend=backend)
    opt.load_state_dict(saved | {"state": {0: {**opt.state_dict()["state"][0], "seen": 1e308}}})
    with pytest.raises(ValueError, match="its options make a factor that float32 cannot hold"):
        opt.step([np.ones(2, np.float32)])


IN_ANOTHER_PROCESS = """
import importlib.util, pickle, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import fastopt, own_rules
from fastopt.engines import cache
if "--build" not in sys.argv:
    def refuse(*_): raise AssertionError("it was built again")
    cache._build = refuse
fastopt.compile(own_rules.Peaked)
with open(sys.argv[2], "rb") as file:
    opt = pickle.load(file)
opt.step([np.ones(5, np.float32)])
print(opt.backend, opt.param_groups[0]["params"][0].tobytes().hex())
"""


@needs_compiler
@pytest.mark.usefixtures("compiled_rules")
def test_pickle_in_another_process(compiled, tmp_path):
    """Which loads what this one has compiled."""
    opt = Peaked([np.linspace(0, 1, 5, dtype=np.float32)], backend=compiled)
    opt.step([np.ones(5, np.float32)])
    (tmp_path / "opt.pickle").write_bytes(pickle.dumps(opt))
    done = python(IN_ANOTHER_PROCESS, str(Path(own_rules.__file__).parent), str(tmp_path / "opt.pickle"))
    opt.step([np.ones(5, np.float32)])
    expected = f"{compiled} {opt.param_groups[0]['params'][0].tobytes().hex()}"
    assert done.stdout.strip() == expected, done.stderr


@needs_compiler
@pytest.mark.usefixtures("cache")
def test_two_processes_that_compile_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "opt.pickle").write_bytes(pickle.dumps(Peaked([np.ones(5, np.float32)], backend="numpy")))
    arguments = [str(Path(own_rules.__file__).parent), str(tmp_path / "opt.pickle"), "--build"]
    command = [sys.executable, "-I", "-c", IN_ANOTHER_PROCESS, *arguments]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    if sys.platform == "linux":
        assert len(list((tmp_path / "fastopt").iterdir())) == 1  # and nothing of the building is left


@needs_compiler
def test_formulas_without_text():
    code = """
import fastopt
def plain(d, *, lr): return lr * d
class Plain(fastopt.Optimizer):
    formula = plain
    lr: float = 0.1
fastopt.compile(Plain)
"""
    done = python(code)
    assert "the text of plain cannot be found; write it in a file" in done.stderr


@pytest.fixture
def fresh():
    """A rule that is not compiled, with a text that no other has."""

    def fresh_formula(d, *, lr):
        return lr * d / 3

    return type("Fresh", (fastopt.Optimizer,), {"formula": fresh_formula, "lr": 0.1, "__annotations__": {"lr": float}})


@needs_compiler
@pytest.mark.skipif(sys.platform == "win32", reason="CC does not choose the compiler there")
def test_no_compiler(fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
    with pytest.raises(RuntimeError, match="is there a C compiler, and Python's headers") as raised:
        fastopt.compile(fresh)
    assert "no-such-compiler" in str(raised.value)


@needs_compiler
@pytest.mark.skipif(sys.platform != "linux", reason="only there the variable names the folder")
def test_cache_that_cannot_be_used(fresh, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(RuntimeError, match=r"the cache folder .* cannot be used"):
        fastopt.compile(fresh)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "fastopt").mkdir()
    (tmp_path / "fastopt").chmod(0o777)
    with pytest.raises(RuntimeError, match=r"others may write to .*, and code from it would be run; chmod 700"):
        fastopt.compile(fresh)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(RuntimeError, match="belongs to another user"):
        fastopt.compile(fresh)


@needs_compiler
def test_missing_tools(fresh, monkeypatch):
    monkeypatch.setattr("fastopt.engines.cache._TOOLS", ("cython", "no-such-tool"))
    with pytest.raises(RuntimeError, match=r"no-such-tool is not installed; pip install 'fastopt\[compile\]'"):
        fastopt.compile(fresh)


@pytest.mark.skipif(COMPILED, reason="it is")
def test_fastopt_that_is_not_compiled():
    with pytest.raises(RuntimeError, match="fastopt was installed without its compiled part"):
        fastopt.compile(Peaked)


@pytest.mark.parametrize("wrong", [3, dict, fastopt.Optimizer, own_rules.peaked])
def test_what_is_no_rule(wrong):
    with pytest.raises(TypeError, match="compile: expected a rule"):
        fastopt.compile(wrong)


@needs_compiler
def test_built_in_rules_are_compiled_already(monkeypatch):
    monkeypatch.setattr("fastopt.engines.cache.built", None)
    for rule in (fastopt.Adam, fastopt.AdamW, type("Mine", (fastopt.SGD,), {})):
        assert fastopt.compile(rule) is rule


@needs_compiler
def test_refused_formulas_are_named():
    def cubed(d, *, lr):
        return lr * d**3

    rule = type("Cubed", (fastopt.Optimizer,), {"formula": cubed, "lr": 0.1, "__annotations__": {"lr": float}})
    with pytest.raises(ValueError, match=r"test_own_rules.py:\d+: d \*\* 3: a formula computes with"):
        fastopt.compile(rule)
