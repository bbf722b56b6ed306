"""Parameters and gradients that are refused: an error says which and why, and nothing changed afterwards."""

import copy
import mmap
import re
from pathlib import Path

import numpy as np
import pytest
from cases import CASES
from helpers import assert_unchanged, snapshot

import fastopt
from fastopt.arrays import mapped


def unaligned(shape, dtype=np.float64):
    size = int(np.prod(shape))
    return np.zeros(size * np.dtype(dtype).itemsize + 1, dtype=np.uint8)[1:].view(dtype).reshape(shape)


def read_only(array):
    array.flags.writeable = False
    return array


class Tensor:
    """Something of another library."""


# Parameters

PARAMETERS = {
    "float16": (np.zeros(3, dtype=np.float16), TypeError, "parameter 1: expected float32 or float64, found float16"),
    "longdouble": (np.zeros(3, dtype=np.longdouble), TypeError, "parameter 1: expected float32 or float64"),
    "int": (np.zeros(3, dtype=np.int64), TypeError, "parameter 1: .* found int64"),
    "bool": (np.zeros(3, dtype=bool), TypeError, "parameter 1: .* found bool"),
    "complex": (np.zeros(3, dtype=np.complex64), TypeError, "parameter 1: .* found complex64"),
    "object": (np.array([1.0, 2.0], dtype=object), TypeError, "parameter 1: .* found object"),
    "structured": (np.zeros(3, dtype=[("x", "f4")]), TypeError, "parameter 1: expected float32 or float64"),
    "swapped": (np.zeros(3, dtype=">f4"), TypeError, "parameter 1: .* found byte-swapped float32"),
    "list": ([1.0, 2.0], TypeError, "parameter 1: expected a NumPy array, found list"),
    "number": (1.0, TypeError, "parameter 1: expected a NumPy array, found float"),
    "scalar": (np.float32(1), TypeError, "parameter 1: expected a NumPy array, found numpy.float32"),
    "none": (None, TypeError, "parameter 1: expected a NumPy array, found NoneType"),
    "tensor": (Tensor(), TypeError, "parameter 1: expected a NumPy array, found .*Tensor"),
    "masked": (np.ma.zeros(3), TypeError, "parameter 1: a masked array's mask would be lost"),
    "read-only": (read_only(np.zeros(3)), ValueError, "parameter 1: the array is read-only"),
    "unaligned": (unaligned(3), ValueError, "parameter 1: the array is not aligned"),
    "strided": (np.zeros(6)[::2], ValueError, "parameter 1: the array is neither C- nor F-contiguous"),
    "reversed": (np.zeros(6)[::-1], ValueError, "parameter 1: the array is neither C- nor F-contiguous"),
    "broadcast": (np.broadcast_to(np.zeros(1), 3), ValueError, "parameter 1: the array is read-only"),
}


@pytest.mark.parametrize(("bad", "error", "message"), PARAMETERS.values(), ids=PARAMETERS)
def test_parameters(bad, error, message, backend):
    good = np.ones(3)
    with pytest.raises(error, match=message):
        fastopt.SGD([good, bad], momentum=0.9, backend=backend)
    with pytest.raises(error, match=message.replace("parameter 1", "parameter 'b'")):
        fastopt.SGD({"W": good, "b": bad}, momentum=0.9, backend=backend)
    opt = fastopt.SGD([good], momentum=0.9, backend=backend)
    before = snapshot(opt)
    with pytest.raises(error, match=message):
        opt.add_param_group({"params": [bad]})
    assert_unchanged(opt, before)
    opt.step([np.ones(3)])


def test_parameters_that_overlap(backend):
    block = np.zeros(10)
    for params in ([block, block], [block[:6], block[5:]], [block[5:], block[:6]], [block, block[3:4]]):
        with pytest.raises(ValueError, match=r"parameter \d: it shares memory with parameter \d"):
            fastopt.SGD(params, backend=backend)
    opt = fastopt.SGD([block[:5]], backend=backend)
    before = snapshot(opt)
    with pytest.raises(ValueError, match="parameter 1: it shares memory with parameter 0"):
        opt.add_param_group({"params": block[4:]})
    assert_unchanged(opt, before)
    opt.add_param_group({"params": block[5:]})


@pytest.fixture(params=["listed", "unlisted"])
def mapped_file(request, tmp_path, monkeypatch):
    """A file of 10,000 elements, where the system lists mappings and where it does not."""
    if request.param == "unlisted":
        monkeypatch.setattr(mapped, "_MAPS", str(tmp_path / "nowhere"))
    elif not Path(mapped._MAPS).exists():
        pytest.skip("it does not")
    path = tmp_path / "weights"
    np.zeros(10_000).tofile(path)
    return path


def part(path, first, last, mode="r+"):
    return np.memmap(path, dtype=np.float64, mode=mode, offset=8 * first, shape=(last - first,))


def test_files_mapped_twice(mapped_file, backend):
    whole = part(mapped_file, 0, 10_000)
    for params in (
        [whole, part(mapped_file, 0, 10_000)],
        [whole[:100], np.asarray(part(mapped_file, 99, 200))],
        [part(mapped_file, 5000, 6000).reshape(10, 100), whole[:10], whole[10:5001]],
        [whole[100:], part(mapped_file, 0, 10_000)[4000:4001]],
    ):
        with pytest.raises(ValueError, match=r"parameter \d: it shares memory with parameter \d, by a file"):
            fastopt.SGD(params, backend=backend)
    opt = fastopt.SGD([np.zeros(3), whole[:100]], backend=backend)
    before = snapshot(opt)
    with pytest.raises(ValueError, match="parameter 2: it shares memory with parameter 1, by a file"):
        opt.add_param_group({"params": part(mapped_file, 50, 200)})
    assert_unchanged(opt, before)


def test_files_mapped_apart(mapped_file, backend, tmp_path):
    """Beside each other in a file, nowhere in it, or in another file; and mappings that keep what is written."""
    other = tmp_path / "other"
    np.zeros(10_000).tofile(other)
    first, second = part(mapped_file, 0, 100), part(mapped_file, 100, 6000)
    params = [second[1000:], first, second[:1000], second[5:5], part(mapped_file, 6000, 7000)]
    params += [part(other, 0, 10_000, "c"), part(other, 0, 10_000, "c"), part(other, 20, 40, "c")]
    opt = fastopt.SGD(params, lr=1.0, backend=backend)
    opt.step([np.full(p.size, i, dtype=np.float64) for i, p in enumerate(params)])
    for i, p in enumerate(params):
        np.testing.assert_array_equal(p, np.full(p.size, -i, dtype=np.float64))


@pytest.mark.skipif(not Path(mapped._MAPS).exists(), reason="mappings without a file's name are not known here")
def test_memory_mapped_twice(tmp_path):
    """Of a file that has gone, in the form that shared memory of Python has."""
    with open(tmp_path / "memory", "w+b") as file:
        file.write(bytes(8000))
        file.flush()
        (tmp_path / "memory").unlink()
        first, second = (np.frombuffer(memoryview(mmap.mmap(file.fileno(), 8000))) for _ in range(2))
    with pytest.raises(ValueError, match="parameter 'b': it shares memory with parameter 'a', by a file"):
        fastopt.SGD({"a": first[:501], "b": second[500:]})
    fastopt.SGD({"a": first[:500], "b": second[500:]})


@pytest.mark.parametrize(
    "params", [[], (), {}, (p for p in ()), map(np.zeros, ()), [{"params": []}], [{"params": {}}, {"params": ()}]]
)
def test_no_parameters(params, backend):
    message = f"params: expected at least one parameter, found none in a {type(params).__name__}; pass them"
    with pytest.raises(ValueError, match=message):
        fastopt.Adam(params, backend=backend)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({1.0, 2.0}, TypeError, "params: expected an array, arrays nested .* found set"),
        ("W", TypeError, "params: .* found str"),
        (3, TypeError, "params: .* found int"),
        ([{"params": [np.zeros(2)]}, np.zeros(2)], ValueError, "params: some items are group dicts, .* some are not"),
        ([{"lr": 0.1}], TypeError, "parameter '0.lr': expected a NumPy array, found float"),
        ([[np.zeros(2), "W"]], TypeError, "parameter '0.1': expected a NumPy array, found str"),
        ({"a.b": np.zeros(2), "a": {"b": np.zeros(2)}}, ValueError, "params: the name 'a.b' is given to 2 parameters"),
        ([{"params": [[np.zeros(2)]]}, {"params": [[np.zeros(2)]]}], ValueError, "the name '0.0' is given to 2 param"),
        ([{"params": {"a": np.zeros(2)}}, {"params": {"a": [np.zeros(2)]}}], ValueError, "ways that do not fit"),
        ([{"params": [[np.zeros(2)]]}, {"params": {"a": np.zeros(2)}}], ValueError, "ways that do not fit together"),
        ({3: np.zeros(2)}, TypeError, "params: expected names that are strings, found int"),
        ([("W", np.zeros(2)), ("W", np.zeros(2))], ValueError, "params: the name 'W' is there twice; give each one"),
        ([{"params": [np.zeros(2)], "param_names": ["a", "b"]}], ValueError, "param_names: found 2 names for 1"),
        ([{"params": {"W": np.zeros(2)}, "param_names": ["W"]}], ValueError, "param_names: the params have names"),
        ([{"params": [np.zeros(2)], "param_names": 7}], TypeError, "param_names: expected .* found int"),
        ([{"params": {"W": np.zeros(2)}}, {"params": np.zeros(2)}], ValueError, "params: some groups have names"),
        ([{"params": np.zeros(2), "momentun": 0.5}], ValueError, "SGD: unknown option 'momentun'; did you mean 'mom"),
        ([{"params": np.zeros(2), "lr": -1}], ValueError, "lr: -1.0 was given"),
    ],
)
def test_forms_of_parameters(params, error, message, backend):
    with pytest.raises(error, match=message):
        fastopt.SGD(params, backend=backend)


# Gradients

GRADIENTS = {
    "float32": (np.zeros((2, 3), dtype=np.float32), TypeError, "expected float64 as its parameter, found float32"),
    "int": (np.zeros((2, 3), dtype=int), TypeError, "expected float64 as its parameter, found int64"),
    "complex": (np.zeros((2, 3), dtype=complex), TypeError, "expected float64 as its parameter, found complex128"),
    "object": (np.zeros((2, 3), dtype=object), TypeError, "expected float64 as its parameter, found object"),
    "swapped": (np.zeros((2, 3), dtype=">f8"), TypeError, "found byte-swapped float64"),
    "list": ([[0.0] * 3] * 2, TypeError, "expected a NumPy array, found list"),
    "number": (0.5, ValueError, r"found one number \(float\)"),
    "tensor": (Tensor(), TypeError, "expected a NumPy array, found .*Tensor"),
    "masked": (np.ma.zeros((2, 3)), TypeError, "a masked array's mask would be lost"),
    "transposed": (np.zeros((3, 2)), ValueError, r"expected shape \(2, 3\) as its parameter, found \(3, 2\)"),
    "flat": (np.zeros(6), ValueError, r"found \(6,\)"),
    "broadcastable": (np.zeros((1, 3)), ValueError, r"found \(1, 3\)"),
    "scalar": (np.zeros(()), ValueError, r"found one number \(numpy.ndarray\)"),
    "deeper": (np.zeros((2, 3, 1)), ValueError, r"found \(2, 3, 1\)"),
    "empty": (np.zeros((0, 3)), ValueError, r"found \(0, 3\)"),
    "unaligned": (unaligned((2, 3)), ValueError, "the array is not aligned"),
}


def arrays(opt):
    return opt.param_groups[0]["params"]


@pytest.mark.parametrize(("bad", "error", "message"), GRADIENTS.values(), ids=GRADIENTS)
def test_gradients(bad, error, message, opt):
    before = snapshot(opt)
    # The last of three, so that a step that checks as it goes would have written the others.
    with pytest.raises(error, match="gradient of parameter 'last': .*" + message):
        opt.step({"W": np.ones((2, 3)), "b": np.ones(3), "last": bad})
    assert_unchanged(opt, before)
    opt.step([np.ones((2, 3)), np.ones(3), np.ones((2, 3))])
    assert opt.state[2]["step"] == 2


@pytest.mark.parametrize(
    ("grads", "error", "message"),
    [
        ([np.ones((2, 3))], ValueError, "grads: found 1 gradient for 3 parameters"),
        ([None] * 4, ValueError, "grads: found 4 gradients for 3 parameters"),
        ([], ValueError, "grads: found 0 gradients for 3 parameters"),
        (np.ones((3, 2, 3)), ValueError, "grads: one gradient was given for 3 parameters"),
        ({"W": None, "b": None}, ValueError, "grads: no gradient for parameter 'last'"),
        ({"W": None, "b": None, "last": None, "lst": None}, ValueError, "no parameter 'lst'; did you mean 'last'"),
        (None, TypeError, "grads: expected an array, .* found NoneType"),
        (1, TypeError, "grads: expected an array, .* found int"),
        (1.0, TypeError, "found float; a number such as the loss is no gradient"),
        ("Wbl", TypeError, "grads: expected an array, .* found str"),
        ({1, 2, 3}, TypeError, "grads: expected an array, .* found set"),
    ],
)
def test_forms_of_gradients(grads, error, message, opt):
    before = snapshot(opt)
    with pytest.raises(error, match=message):
        opt.step(grads)
    assert_unchanged(opt, before)


def test_gradients_by_name_of_nameless_parameters(backend):
    opt = fastopt.SGD([np.ones(2)], backend=backend)
    with pytest.raises(TypeError, match="grads: the parameters have no names"):
        opt.step({"W": np.ones(2)})


def test_gradients_that_overlap(opt):
    W, b, last = arrays(opt)
    before = snapshot(opt)
    bad = {
        "parameter 'W'": W,
        "parameter 'last'": last,
        "the state 'exp_avg' of parameter 'W'": opt.state[0]["exp_avg"],
        "the state 'exp_avg_sq' of parameter 'last'": opt.state[2]["exp_avg_sq"],
        "parameter 'b'": np.broadcast_to(b, (2, 3)),
    }
    for label, g in bad.items():
        with pytest.raises(ValueError, match=f"gradient of parameter 'last': it shares memory with {label}"):
            opt.step([np.ones((2, 3)), np.ones(3), g])
        assert_unchanged(opt, before)


class Liar(np.ndarray):
    """A subclass whose attributes are not true."""

    shape = property(lambda self: (1_000_000,))


def test_subclasses_cannot_lie(backend):
    p = np.ones(1_000_000)
    opt = fastopt.SGD(p, backend=backend)
    before = snapshot(opt)
    with pytest.raises(ValueError, match=r"expected shape \(1000000,\) as its parameter, found \(3,\)"):
        opt.step([np.ones(3).view(Liar)])
    assert_unchanged(opt, before)
    q = np.ones(3)
    fastopt.SGD(q.view(Liar), lr=0.5, backend=backend).step(np.ones(3))
    np.testing.assert_array_equal(q, np.full(3, 0.5))


def test_gradients_beside_a_parameter_are_apart(backend):
    """Within the bounds of an array, but not in its elements; and right before and behind it."""
    block = np.zeros((10, 4))
    opt = fastopt.SGD(block[4:6], backend=backend)
    opt.step(block[0:10:9])
    opt.step(block[2:4])
    opt.step(block[6:8])
    assert opt.state[0]["step"] == 3


@pytest.mark.parametrize("name", CASES)
def test_every_rule_refuses_a_bad_gradient(name, backend):
    rule, options = CASES[name]
    opt = rule([np.ones(3), np.ones(3)], **options, backend=backend)
    opt.step([np.ones(3)] * 2)
    before = snapshot(opt)
    with pytest.raises(ValueError, match="gradient of parameter 1"):
        opt.step([np.ones(3), np.ones(4)])
    assert_unchanged(opt, before)


# Parameters that change behind the optimizer's back


def test_parameter_made_read_only(opt):
    arrays(opt)[1].flags.writeable = False
    before = snapshot(opt)
    with pytest.raises(ValueError, match="parameter 'b': the array is read-only"):
        opt.step([np.ones((2, 3)), np.ones(3), np.ones((2, 3))])
    assert_unchanged(opt, before)


@pytest.mark.parametrize("size", [2, 100_000])
def test_parameter_resized(size, opt):
    b = arrays(opt)[1]
    b.resize(size, refcheck=False)
    before = snapshot(opt)
    for g in (np.ones(3), np.ones(size)):
        with pytest.raises(ValueError, match=re.escape(f"parameter 'b': its shape was (3,) and is now ({size},)")):
            opt.step([np.ones((2, 3)), g, np.ones((2, 3))])
    assert_unchanged(opt, before)


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
def test_parameter_reshaped_and_retyped(opt):
    W, b, _ = arrays(opt)
    before = snapshot(opt)
    W.shape = (3, 2)
    with pytest.raises(ValueError, match=re.escape("parameter 'W': its shape was (2, 3) and is now (3, 2)")):
        opt.step([np.ones((3, 2)), np.ones(3), np.ones((2, 3))])
    W.shape = (2, 3)
    b.dtype = np.int64
    with pytest.raises(ValueError, match="parameter 'b': its dtype was float64 and is now int64"):
        opt.step([np.ones((2, 3)), np.ones(3), np.ones((2, 3))])
    b.dtype = np.float64
    assert_unchanged(opt, before)


def test_state_arrays_cannot_be_resized_or_replaced(opt):
    array = opt.state[0]["exp_avg"]
    with pytest.raises(ValueError, match="resize"):
        array.resize(100, refcheck=False)
    assert not isinstance(array.base, np.ndarray) or not array.base.flags.owndata
    with pytest.raises(TypeError):
        opt.state[0]["exp_avg"] = np.zeros(100)
    with pytest.raises(TypeError):
        opt.state[0]["step"] = -1


def test_views_of_the_state_may_be_changed(opt):
    """Their shape and flags are theirs alone."""
    saved = copy.deepcopy(opt.state_dict())
    array = opt.state[0]["exp_avg"]
    array.flags.writeable = False
    opt.step([np.ones((2, 3)), np.ones(3), np.ones((2, 3))])
    opt.load_state_dict(saved)
    assert opt.state[0]["exp_avg"].flags.writeable
    assert opt.state[0]["step"] == 1


class Meddler(np.ndarray):
    """A gradient with which other arrays are resized as soon as a subclass's code runs."""

    victim = None

    @property
    def flags(self):
        self.victim.resize(0, refcheck=False)
        return super().flags

    def __array_finalize__(self, parent):
        if self.victim is not None:
            self.victim.resize(0, refcheck=False)


def test_arrays_that_change_while_they_are_checked(backend):
    p, q, g = np.zeros(1000), np.zeros(4), np.ones(1000)
    meddler = np.ones(4).view(Meddler)
    opt = fastopt.SGD([p, q], lr=1.0, backend=backend)
    for victim in (g, p):
        meddler.victim = victim
        try:
            opt.step([g, meddler])
        except ValueError:
            assert opt.state[0]["step"] == opt.state[1]["step"]
    assert (q == -opt.state[1]["step"]).all()
