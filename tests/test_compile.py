"""Rules of one's own, compiled: the same bits, kept in a cache, with errors that say what to do."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import own_rules
import pytest
from helpers import ALL_STAGES, assert_same_optimizer, awkward, python, rule_of
from own_rules import CASES, Damped, Estimated, Peaked

import fastopt
from fastopt.engines.choice import COMPILED
from fastopt.formula import CHUNK

SIZES = (1, 7, 33, CHUNK + 5)

needs_compiler = pytest.mark.skipif(not COMPILED, reason="fastopt itself is not compiled here")


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


@needs_compiler
@pytest.mark.usefixtures("compiled_rules")
@pytest.mark.parametrize("stages", [{}, ALL_STAGES], ids=["bare", "stages"])
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
    saved["state"][0]["mu_product"] = None
    with pytest.raises(TypeError, match="'mu_product': expected a float"):
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
    """As those of a console, whose lines Pythons before 3.13 do not keep."""
    code = """
import fastopt
exec(compile("def plain(d, *, lr): return lr * d", "<console>", "exec"))
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

    return rule_of(fresh_formula)


CHANGED = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
TEXT = 'import fastopt\\n' + ''.join(
    f'def {n}(d, *, lr):\\n    return {n[1]} * lr * d\\n'
    f'class C{n}(fastopt.Optimizer):\\n    formula = {n}\\n    lr: float = 0.25\\n'
    for n in ("a1", "a2")
)
path = sys.argv[1] + "/changing.py"
open(path, "w").write(TEXT)
import changing, fastopt, numpy as np
open(path, "w").write("# a line\\n" * 5 + TEXT)
try:
    fastopt.compile(changing.Ca2)
except ValueError as error:
    print(error)
importlib.reload(changing)
p = np.ones(2)
fastopt.compile(changing.Ca2)(p, backend=sys.argv[2]).step(np.ones(2))
print(p[0])
"""


@needs_compiler
@pytest.mark.usefixtures("cache")
def test_files_that_change_after_import(compiled, tmp_path):
    """What is compiled is what runs on NumPy, or nothing."""
    done = python(CHANGED, str(tmp_path), compiled)
    assert "this is not the text of a2 as it was imported; load it again" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "0.5"


FAST_MATH = """
import sys
sys.path.insert(0, sys.argv[1])
import fastopt, own_rules
fastopt.compile(own_rules.Estimated)
print(5e-324 * 1.0)
"""


@needs_compiler
@pytest.mark.skipif(sys.platform == "win32", reason="the flags are others")
@pytest.mark.parametrize("flags", ["-ffast-math", "-Ofast"])
def test_fast_math_in_the_environment(flags, tmp_path):
    """It does not reach the bits, nor the arithmetic of the process."""
    folder = str(Path(own_rules.__file__).parent)
    done = python(FAST_MATH, folder, CFLAGS=flags, XDG_CACHE_HOME=str(tmp_path))
    assert done.stdout.strip() == "5e-324", done.stderr


@needs_compiler
@pytest.mark.skipif(sys.platform != "linux", reason="only there the variable names the folder")
@pytest.mark.parametrize("harm", ["missing", "truncated", "no sums"])
def test_broken_entries_are_built_again(harm, tmp_path):
    code = FAST_MATH.replace("5e-324 * 1.0", "'fine'")
    folder = str(Path(own_rules.__file__).parent)
    assert python(code, folder, XDG_CACHE_HOME=str(tmp_path)).stdout.strip() == "fine"
    (entry,) = (tmp_path / "fastopt").iterdir()
    library = next(entry.glob("*_baseline*"))
    if harm == "truncated":
        library.write_bytes(library.read_bytes()[:20000])
    else:
        (library if harm == "missing" else entry / "sums.json").unlink()
    again = python(code, folder, XDG_CACHE_HOME=str(tmp_path))
    assert again.stdout.strip() == "fine", again.stderr
    assert list((tmp_path / "fastopt").iterdir()) == [entry]


@needs_compiler
@pytest.mark.skipif(sys.platform != "linux", reason="only there the variable names the folder")
def test_leftovers_are_removed(fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    old, new = (tmp_path / "fastopt" / f"building-{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(mode=0o700, parents=True)
    (tmp_path / "fastopt").chmod(0o700)
    os.utime(old, (0, 0))
    fastopt.compile(fresh)
    assert (old.exists(), new.exists()) == (False, True)


@needs_compiler
@pytest.mark.skipif(sys.platform == "win32", reason="CC does not choose the compiler there")
def test_no_compiler(fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
    with pytest.raises(RuntimeError, match="Is there a C compiler, with Python's headers") as raised:
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

    rule = rule_of(cubed)
    with pytest.raises(ValueError, match=r"test_compile.py:\d+: d \*\* 3: a formula computes with"):
        fastopt.compile(rule)
