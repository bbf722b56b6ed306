"""What is refused: each with an error that says where and what, and nothing changed afterwards."""

import copy
import re

import numpy as np
import pytest
from cases import CASES
from helpers import assert_same_bits

import fastopt


def snapshot(opt):
    return [p.copy() for group in opt.param_groups for p in group["params"]], opt.state_dict()


def assert_unchanged(opt, before):
    arrays, state_dict = before
    now, state_now = snapshot(opt)
    for p, q in zip(now, arrays, strict=True):
        assert_same_bits(p, q)
    assert state_now["param_groups"] == state_dict["param_groups"]
    assert state_now["state"].keys() == state_dict["state"].keys()
    for mine, theirs in zip(state_now["state"].values(), state_dict["state"].values(), strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            assert_same_bits(np.asarray(mine[name]), np.asarray(theirs[name]))


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
    "scalar": (np.float32(1), TypeError, "parameter 1: expected a NumPy array, found float32"),
    "none": (None, TypeError, "parameter 1: expected a NumPy array, found NoneType"),
    "tensor": (Tensor(), TypeError, "parameter 1: expected a NumPy array, found Tensor"),
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


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({1.0, 2.0}, TypeError, "params: expected an array, a sequence .* found set"),
        ("W", TypeError, "params: .* found str"),
        (3, TypeError, "params: .* found int"),
        ([{"params": [np.zeros(2)]}, np.zeros(2)], TypeError, "parameter 0: expected a NumPy array, found dict"),
        ([{"lr": 0.1}], ValueError, "group: it has no 'params'"),
        ({3: np.zeros(2)}, TypeError, "params: expected names that are strings, found int"),
        ([("W", np.zeros(2)), ("W", np.zeros(2))], ValueError, "params: the name 'W' is given to 2 parameters"),
        ([{"params": [np.zeros(2)], "param_names": ["a", "b"]}], ValueError, "param_names: 2 names were given for 1"),
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
    "number": (0.5, TypeError, "expected a NumPy array, found float"),
    "tensor": (Tensor(), TypeError, "expected a NumPy array, found Tensor"),
    "masked": (np.ma.zeros((2, 3)), TypeError, "a masked array's mask would be lost"),
    "transposed": (np.zeros((3, 2)), ValueError, r"expected shape \(2, 3\) as its parameter, found \(3, 2\)"),
    "flat": (np.zeros(6), ValueError, r"found \(6,\)"),
    "broadcastable": (np.zeros((1, 3)), ValueError, r"found \(1, 3\)"),
    "scalar": (np.zeros(()), ValueError, r"found \(\)"),
    "deeper": (np.zeros((2, 3, 1)), ValueError, r"found \(2, 3, 1\)"),
    "empty": (np.zeros((0, 3)), ValueError, r"found \(0, 3\)"),
    "unaligned": (unaligned((2, 3)), ValueError, "the array is not aligned"),
}


@pytest.fixture
def opt(backend):
    rng = np.random.default_rng(0)
    parameters = {"W": rng.normal(size=(2, 3)), "b": rng.normal(size=3), "last": rng.normal(size=(2, 3))}
    opt = fastopt.Adam(parameters, backend=backend)
    opt.step([np.ones((2, 3)), np.ones(3), np.ones((2, 3))])
    return opt


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
        ([np.ones((2, 3))], ValueError, "grads: 1 gradients were given for 3 parameters"),
        ([None] * 4, ValueError, "grads: 4 gradients were given for 3 parameters"),
        ([], ValueError, "grads: 0 gradients were given for 3 parameters"),
        (np.ones((3, 2, 3)), ValueError, "grads: one array was given for 3 parameters"),
        ({"W": None, "b": None}, ValueError, "grads: no gradient for parameter 'last'"),
        ({"W": None, "b": None, "last": None, "lst": None}, ValueError, "no parameter 'lst'; did you mean 'last'"),
        (None, TypeError, "grads: expected an array, .* found NoneType"),
        (1.0, TypeError, "grads: expected an array, .* found float"),
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


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (fastopt.SGD, {"lr": 1e39}),
        (fastopt.SGD, {"weight_decay": 1e39}),
        (fastopt.RMSprop, {"momentum": 1e39}),
        (fastopt.AdamW, {"lr": 1e30, "weight_decay": 1e30}),
        (fastopt.Adam, {"eps": 1e39}),
        (fastopt.Adam, {"lr": lambda n: 1e39}),
        (fastopt.LARS, {"trust_coefficient": 1e39}),
    ],
)
def test_factors_that_the_dtype_cannot_hold(rule, options, backend):
    wide, narrow = np.ones(2), np.ones(2, dtype=np.float32)
    opt = rule([{"params": [wide]}, {"params": [narrow]}], **options, backend=backend)
    before = snapshot(opt)
    for _ in range(2):
        opt.step([None, None])
        with pytest.raises(ValueError, match="group 1: at step 1 its options make a factor that float32 cannot hold"):
            opt.step([np.ones(2), np.ones(2, dtype=np.float32)])
    assert_unchanged(opt, before)
    opt.step([np.ones(2), None])


def test_state_that_cannot_start_there(backend):
    with pytest.raises(ValueError, match="parameter 0: its state 'sum' cannot start at 1e\\+39 in float32"):
        fastopt.Adagrad(np.ones(2, dtype=np.float32), initial_accumulator_value=1e39, backend=backend)


def other(d, m, *, lr):
    m[:] = d
    return lr * m


def sometimes(d, m, *, lr, t):
    if t > 1:
        m[:] = d
    return lr * d


def test_formulas_that_were_not_compiled(compiled):
    """A rule of one's own is told apart from a compiled one, however it is called, before it can reach any memory."""

    class Other(fastopt.SGD):
        formula = other
        states = {}
        inputs = staticmethod(lambda o: {})

    with pytest.raises(ValueError, match=rf"formula .*\.other is not compiled for the backend '{compiled}'"):
        Other(np.ones(2), backend=compiled)
    p = np.ones(2)
    opt = Other(p, lr=0.5, backend="numpy")
    opt.step(np.ones(2))
    assert_same_bits(p, np.full(2, 0.5))
    assert list(opt.state[0]) == ["step", "m"]


def test_formulas_that_are_not_those_that_were_compiled(compiled, monkeypatch):
    """What calls itself as a compiled one does, but takes other arrays or numbers."""
    like = fastopt.SGD.formula
    monkeypatch.setattr(other, "__module__", like.__module__)
    monkeypatch.setattr(other, "__qualname__", like.__qualname__)

    class Other(fastopt.SGD):
        formula = other
        states = {}
        inputs = staticmethod(lambda o: {})

    with pytest.raises(ValueError, match="it takes other arrays or numbers than when it was compiled"):
        Other(np.ones(2), backend=compiled)


def test_state_that_a_formula_uses_at_some_updates_only():
    class Sometimes(fastopt.SGD):
        formula = sometimes
        states = {}
        inputs = staticmethod(lambda o: {})

    p, q = np.ones(2), np.ones(2)
    opt = Sometimes([p, q], lr=0.5, backend="numpy")
    opt.step([None, np.ones(2)])
    with pytest.raises(TypeError):
        opt.step([np.ones(2), np.ones(2)])
    assert_same_bits(p, np.ones(2))
    assert_same_bits(q, np.full(2, 0.5))


def test_formulas_that_ask_an_array():
    """What a formula may not do is found before the first step, though arrays of one element would let it pass."""

    def asks(d, *, lr):
        return lr * d if d > 0 else d

    class Asks(fastopt.SGD):
        formula = asks
        states = {}
        inputs = staticmethod(lambda o: {})

    with pytest.raises(ValueError, match="truth value of an array"):
        Asks(np.ones(1), backend="numpy")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"states": {"m": "ema"}}, "its state cannot be called 'ema', for that is the name of another"),
        ({"states": {"m": "step"}}, "its state cannot be called 'step'"),
        ({"states": {"v": "x"}}, "states names 'v', which its formula does not have"),
        ({"initial": staticmethod(lambda o: {"v": 1.0})}, "initial names 'v', which its formula does not have"),
        ({"inputs": staticmethod(lambda o: {"mu": 1.0})}, "inputs names 'mu', which its formula does not have"),
    ],
)
def test_rules_that_do_not_fit_their_formula(said, message):
    rule = type("Rule", (fastopt.SGD,), {"formula": other, "states": {}, "inputs": staticmethod(lambda o: {}), **said})
    with pytest.raises(TypeError, match=f"Rule: {message}"):
        rule(np.ones(2), backend="numpy")


def test_formulas_that_take_what_nobody_gives():
    def takes(d, *, lr, gamma):
        return lr * gamma * d

    class Takes(fastopt.SGD):
        formula = takes
        states = {}
        inputs = staticmethod(lambda o: {})

    with pytest.raises(
        TypeError, match="Takes: its formula takes gamma, which is no option; let `inputs` give a number for it"
    ):
        Takes(np.ones(1), backend="numpy")


def test_formulas_that_fail(backend):
    """What raises in a formula raises before anything is written."""

    def fails(d, m, *, lr):
        m[:] = d
        if lr > 1:
            raise KeyError("lr")
        return lr * m

    class Fails(fastopt.SGD):
        formula = fails
        states = {}
        inputs = staticmethod(lambda o: {})

    p = np.ones(2)
    opt = Fails(p, lr=0.5, backend="numpy")
    opt.param_groups[0]["lr"] = 2.0
    with pytest.raises(KeyError, match="lr"):
        opt.step(np.ones(2))
    assert_same_bits(p, np.ones(2))
    assert_same_bits(opt.state[0]["m"], np.zeros(2))


# Options

OPTIONS = [
    (fastopt.SGD, {"lr": -1e-3}, ValueError, "lr: -0.001 was given; it must be finite and not negative"),
    (fastopt.SGD, {"lr": float("nan")}, ValueError, "lr: nan was given"),
    (fastopt.SGD, {"lr": float("inf")}, ValueError, "lr: inf was given"),
    (
        fastopt.SGD,
        {"lr": "0.1"},
        TypeError,
        "lr: expected a number or a function of the number of updates, found '0.1'",
    ),
    (fastopt.SGD, {"lr": 10**400}, ValueError, "lr: inf was given"),
    (fastopt.SGD, {"lr": None}, TypeError, "lr: expected a number or a function of the number of updates, found None"),
    (fastopt.SGD, {"lr": 1j}, TypeError, "lr: expected a number"),
    (fastopt.SGD, {"lr": np.array([0.1])}, TypeError, "lr: expected a number"),
    (fastopt.SGD, {"momentum": -0.9}, ValueError, "momentum: -0.9 was given"),
    (fastopt.SGD, {"momentum": 0.9, "dampening": float("inf")}, ValueError, "dampening: inf was given"),
    (fastopt.SGD, {"weight_decay": -1}, ValueError, "weight_decay: -1.0 was given"),
    (fastopt.SGD, {"nesterov": True}, ValueError, "nesterov: it needs momentum"),
    (fastopt.SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, ValueError, "dampening: nesterov needs it"),
    (fastopt.SGD, {"nesterov": True, "momentum": 0.9, "momentum_form": "ema"}, ValueError, "nesterov: .* 'ema'"),
    (fastopt.SGD, {"momentum": 1.5, "momentum_form": "ema"}, ValueError, "momentum: momentum_form 'ema' needs it in"),
    (fastopt.SGD, {"momentum": 0.9, "momentum_form": "velocity", "dampening": 0.5}, ValueError, "dampening: only"),
    (fastopt.SGD, {"momentum_form": "heavy"}, ValueError, "'heavy' was given; it must be one of 'torch'"),
    (fastopt.SGD, {"momentum_form": 3}, TypeError, "momentum_form: expected one of"),
    (fastopt.SGD, {"nesterov": 1, "momentum": 0.9}, TypeError, "nesterov: expected True or False, found 1"),
    (fastopt.SGD, {"maximize": "yes"}, TypeError, "maximize: expected True or False, found 'yes'"),
    (fastopt.Adagrad, {"lr_decay": -1}, ValueError, "lr_decay: -1.0 was given"),
    (fastopt.Adagrad, {"initial_accumulator_value": -1}, ValueError, "initial_accumulator_value: -1.0 was given"),
    (fastopt.Adagrad, {"eps": -1}, ValueError, "eps: -1.0 was given"),
    (fastopt.Adagrad, {"eps_placement": "uncorrected"}, ValueError, "eps_placement: 'uncorrected' was given"),
    (fastopt.Adadelta, {"rho": 1}, ValueError, r"rho: 1.0 was given; it must be in \[0, 1\)"),
    (fastopt.RMSprop, {"alpha": 1.1}, ValueError, "alpha: 1.1 was given"),
    (fastopt.RMSprop, {"momentum_form": "ema"}, ValueError, "momentum_form: 'ema' was given"),
    (fastopt.RMSprop, {"centered": None}, TypeError, "centered: expected True or False"),
    (fastopt.Adam, {"betas": (0.9, 1.0)}, ValueError, r"betas\[1\]: 1.0 was given; it must be in \[0, 1\)"),
    (fastopt.Adam, {"betas": (-0.1, 0.999)}, ValueError, r"betas\[0\]: -0.1 was given"),
    (fastopt.Adam, {"betas": (0.9, float("nan"))}, ValueError, r"betas\[1\]: nan was given"),
    (fastopt.Adam, {"betas": 0.9}, TypeError, "betas: expected a pair of numbers, found 0.9"),
    (fastopt.Adam, {"betas": {0.9, 0.999}}, TypeError, "betas: expected a pair of numbers"),
    (fastopt.Adam, {"betas": (0.9, 0.99, 0.999)}, TypeError, "betas: expected a pair"),
    (fastopt.Adam, {"betas": ("a", 0.9)}, TypeError, r"betas\[0\]: expected a number"),
    (fastopt.Adam, {"eps": float("inf")}, ValueError, "eps: inf was given"),
    (fastopt.Adam, {"eps_placement": "in"}, ValueError, "eps_placement: 'in' was given"),
    (fastopt.AdamW, {"weight_decay": float("nan")}, ValueError, "weight_decay: nan was given"),
]


@pytest.mark.parametrize(("rule", "options", "error", "message"), OPTIONS)
def test_options(rule, options, error, message):
    with pytest.raises(error, match=message):
        rule([np.ones(2)], **options)
    with pytest.raises(error, match=message):
        rule([{"params": [np.ones(2)], **options}])


@pytest.mark.parametrize(("rule", "options", "error", "message"), OPTIONS)
def test_options_of_a_live_group(rule, options, error, message, backend):
    start = {"momentum": 0.9} if options.get("momentum") else {}
    opt = rule([np.ones(2)], **start, backend=backend)
    before = snapshot(opt)
    with pytest.raises(error, match=message):
        opt.param_groups[0].update(options)
    assert_unchanged(opt, before)
    opt.step([np.ones(2)])


def test_unknown_options(backend):
    with pytest.raises(TypeError, match="Adam: unknown option 'beta'; did you mean 'betas'"):
        fastopt.Adam([np.ones(2)], beta=(0.9, 0.99), backend=backend)
    with pytest.raises(TypeError, match="SGD: unknown option 'nestrov'; did you mean 'nesterov'"):
        fastopt.SGD([np.ones(2)], nestrov=True, backend=backend)
    opt = fastopt.Adam([np.ones(2)], backend=backend)
    before = snapshot(opt)
    with pytest.raises(ValueError, match="Adam: unknown option 'learning_rate'"):
        opt.param_groups[0]["learning_rate"] = 0.1
    with pytest.raises(ValueError, match="params: the parameters of a group cannot be replaced"):
        opt.param_groups[0]["params"] = [np.ones(2)]
    with pytest.raises(TypeError, match="lr: an option cannot be removed"):
        del opt.param_groups[0]["lr"]
    assert_unchanged(opt, before)


@pytest.mark.parametrize(
    ("rule", "start", "change"),
    [
        (fastopt.SGD, {}, {"momentum": 0.9}),
        (fastopt.SGD, {"momentum": 0.9}, {"momentum": 0.0}),
        (fastopt.RMSprop, {}, {"centered": True}),
        (fastopt.Adam, {}, {"amsgrad": True}),
        (fastopt.Adagrad, {}, {"initial_accumulator_value": 1.0}),
    ],
)
def test_options_that_need_other_state(rule, start, change, backend):
    opt = rule([np.ones(2)], **start, backend=backend)
    before = snapshot(opt)
    with pytest.raises(ValueError, match=f"{next(iter(change))}: this would need other state arrays"):
        opt.param_groups[0].update(change)
    assert_unchanged(opt, before)


@pytest.mark.parametrize(
    ("lr", "error", "message"),
    [
        (lambda n: -0.1, ValueError, "lr: -0.1 was given by its function, called with 1"),
        (lambda n: float("nan"), ValueError, "lr: nan was given by its function, called with 1"),
        (lambda n: None, TypeError, "lr: expected a number, found None by its function, called with 1"),
        (lambda n: 1j, TypeError, "lr: expected a number, found 1j by its function"),
        (lambda n: True, TypeError, "lr: expected a number, found True by its function"),
        (lambda n: np.array(True), TypeError, "lr: expected a number"),
        (lambda n: np.array(1j), TypeError, "lr: expected a number"),
        (lambda n: np.array("1"), TypeError, "lr: expected a number"),
        (lambda n: np.timedelta64(3), TypeError, "lr: expected a number"),
        (lambda n: np.zeros((), dtype=[("point", "f4")]), TypeError, "lr: expected a number"),
        (lambda n: np.array([0.1]), TypeError, "lr: expected a number"),
        (lambda n: 1 / 0, ZeroDivisionError, "division"),
    ],
)
def test_bad_learning_rates(lr, error, message, opt):
    opt.param_groups[0]["lr"] = lr
    before = snapshot(opt)
    with pytest.raises(error, match=message):
        opt.step([np.ones((2, 3)), np.ones(3), np.ones((2, 3))])
    assert_unchanged(opt, before)


def test_learning_rate_that_meddles(opt):
    """A learning rate's function is called in the middle of a step; there it may look, but not change."""
    attempts = []

    def meddle(n):
        group = opt.param_groups[0]
        for attempt in (
            lambda: opt.step([None] * 3),
            lambda: group.update(lr=0.5),
            lambda: opt.add_param_group({"params": np.ones(2)}),
            opt.state_dict,
            lambda: opt.load_state_dict({}),
        ):
            with pytest.raises(RuntimeError, match="in the middle of a step"):
                attempt()
            attempts.append(attempt)
        return 0.1

    opt.param_groups[0]["lr"] = meddle
    opt.step([np.ones((2, 3)), np.ones(3), np.ones((2, 3))])
    assert len(attempts) == 5
    assert [state["step"] for state in opt.state] == [2, 2, 2]


# Backends


def test_unknown_backends():
    with pytest.raises(ValueError, match="backend: there is no backend 'avx'; did you mean 'avx2'"):
        fastopt.SGD([np.ones(2)], backend="avx")
    with pytest.raises(TypeError, match="backend: expected the name of a backend, found 2"):
        fastopt.SGD([np.ones(2)], backend=2)


# State dicts


def change(path, value):
    def apply(d):
        *way, last = path
        for key in way:
            d = d[key]
        d[last] = value

    return apply


def remove(*path):
    def apply(d):
        *way, last = path
        for key in way:
            d = d[key]
        del d[last]

    return apply


STATE_DICTS = [
    (remove("state"), ValueError, "state_dict: 'state' is missing"),
    (remove("version"), ValueError, "state_dict: 'version' is missing"),
    (change(["version"], True), ValueError, r"state_dict\['version'\]: .* found True"),
    (change(["version"], 2), ValueError, r"state_dict\['version'\]: this fastopt reads version 1, found 2"),
    (change(["updates"], -1), ValueError, r"state_dict\['updates'\]: -1 was given"),
    (change(["updates"], None), TypeError, r"state_dict\['updates'\]: expected an int, found NoneType"),
    (change(["extra"], 1), ValueError, "state_dict: unknown entry 'extra'"),
    (change(["state"], []), TypeError, r"state_dict\['state'\]: expected a dict, found list"),
    (remove("state", 1), ValueError, r"state_dict\['state'\]: 1 is missing"),
    (change(["state", 7], {}), ValueError, r"state_dict\['state'\]: unknown entry 7"),
    (change(["state", 1], None), TypeError, r"parameter 'b': expected a dict, found NoneType"),
    (remove("state", 1, "step"), ValueError, "parameter 'b': 'step' is missing"),
    (remove("state", 1, "exp_avg"), ValueError, "parameter 'b': 'exp_avg' is missing"),
    (change(["state", 1, "exp_av"], 1), ValueError, "unknown entry 'exp_av'; did you mean 'exp_avg'"),
    (change(["state", 1, "step"], -1), ValueError, "'step': -1 was given"),
    (change(["state", 1, "step"], 1.0), TypeError, "'step': expected an int, found float"),
    (change(["state", 1, "step"], 2**63), ValueError, "'step': 9223372036854775808 was given"),
    (change(["state", 2, "exp_avg"], np.zeros(6)), ValueError, r"'exp_avg': expected shape \(2, 3\), found \(6,\)"),
    (change(["state", 2, "exp_avg"], np.zeros((2, 2))), ValueError, r"'exp_avg': .* found \(2, 2\)"),
    (change(["state", 2, "exp_avg"], np.zeros((2, 3), np.float32)), TypeError, "'exp_avg': expected float64, found"),
    (
        change(["state", 2, "exp_avg"], np.zeros((2, 3), ">f8")),
        TypeError,
        "expected float64, found byte-swapped",
    ),
    (change(["state", 2, "exp_avg"], [[0.0] * 3] * 2), TypeError, "'exp_avg': expected a NumPy array, found list"),
    (change(["state", 2, "exp_avg"], np.ma.zeros((2, 3))), TypeError, "'exp_avg': a masked array's mask would be lost"),
    (change(["param_groups"], {}), TypeError, r"state_dict\['param_groups'\]: expected a list, found dict"),
    (change(["param_groups"], []), ValueError, r"state_dict\['param_groups'\]: expected 1 groups, found 0; make the"),
    (remove("param_groups", 0, "lr"), ValueError, "'lr' is missing"),
    (change(["param_groups", 0, "momentum"], 0.9), ValueError, "unknown entry 'momentum'"),
    (change(["param_groups", 0, "lr"], -1.0), ValueError, "lr: -1.0 was given"),
    (change(["param_groups", 0, "amsgrad"], True), ValueError, "need other state arrays .*, not .*; make the opt"),
    (change(["param_groups", 0, "params"], [0, 1]), ValueError, "expected 3 parameters, found 2; make the"),
    (change(["param_groups", 0, "params"], [0, 1, 1]), ValueError, "1 stands for more than one parameter"),
    (change(["param_groups", 0, "params"], [0, 1, []]), TypeError, "expected the integers"),
    (change(["param_groups", 0, "params"], [False, True, 2]), TypeError, "expected the integers"),
    (
        change(["param_groups", 0, "param_names"], ["W", "b", "c"]),
        ValueError,
        r"\['param_names'\]: expected 'last', found 'c'",
    ),
    (change(["param_groups", 0, "param_names"], 7), TypeError, r"\['param_names'\]: expected a list, found int"),
]


@pytest.mark.parametrize(("spoil", "error", "message"), STATE_DICTS)
def test_state_dicts(spoil, error, message, opt):
    state_dict = copy.deepcopy(opt.state_dict())
    state_dict["param_groups"][0]["lr"] = 0.5
    state_dict["state"][0]["exp_avg"] += 1
    spoil(state_dict)
    before = snapshot(opt)
    with pytest.raises(error, match=message):
        opt.load_state_dict(state_dict)
    assert_unchanged(opt, before)


def test_state_dict_of_another_kind(opt):
    before = snapshot(opt)
    with pytest.raises(TypeError, match="state_dict: expected a dict, found NoneType"):
        opt.load_state_dict(None)
    assert_unchanged(opt, before)


@pytest.mark.parametrize("name", CASES)
def test_every_rule_refuses_a_bad_gradient(name, backend):
    rule, options = CASES[name]
    opt = rule([np.ones(3), np.ones(3)], **options, backend=backend)
    opt.step([np.ones(3)] * 2)
    before = snapshot(opt)
    with pytest.raises(ValueError, match="gradient of parameter 1"):
        opt.step([np.ones(3), np.ones(4)])
    assert_unchanged(opt, before)
