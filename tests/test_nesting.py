"""Nested parameters: lists, tuples and mappings of arrays, or of further ones, and gradients and averages like them."""

import copy
import pickle
from collections import OrderedDict
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pytest
from helpers import assert_same_bits, assert_same_optimizer
from hypothesis import given, settings
from hypothesis import strategies as st

import fastopt
from fastopt.arrays.nesting import leaves, rebuilt

BACKENDS = fastopt.backends()


class Layer(NamedTuple):
    W: np.ndarray
    b: np.ndarray


def ones(n):
    return np.ones(n)


def mapped(function, nest):
    """A nest of the same kinds, with each leaf changed."""
    if isinstance(nest, dict):
        return {name: mapped(function, item) for name, item in nest.items()}
    if isinstance(nest, Layer):
        return Layer(*(mapped(function, item) for item in nest))
    if isinstance(nest, list | tuple):
        return type(nest)(mapped(function, item) for item in nest)
    return function(nest)


LAYOUTS = {
    "layers": ([(ones(2), ones(3)), (ones(4), ones(1))], ("0.0", "0.1", "1.0", "1.1")),
    "a tuple": (((ones(2), ones(3)),), ("0.0", "0.1")),
    "by layer": ({"l0": (ones(2), ones(3)), "l1": [ones(4)]}, ("l0.0", "l0.1", "l1.0")),
    "autograd": ({"rnn": {"Wx": ones(2), "Wh": ones(3)}, "out": {"W": ones(1)}}, ("rnn.Wx", "rnn.Wh", "out.W")),
    "dicts": ([{"W": ones(2)}, {"W": ones(3), "b": ones(1)}], ("0.W", "1.W", "1.b")),
    "named tuple": (Layer(ones(2), ones(3)), ("W", "b")),
    "named tuples": ([Layer(ones(2), ones(3)), Layer(ones(1), ones(1))], ("0.W", "0.b", "1.W", "1.b")),
    "empty layers": ([(), (ones(2), ones(3)), {}, []], ("1.0", "1.1")),
    "deep": ({"a": {"b": [({"c": ones(2)},)]}}, ("a.b.0.0.c",)),
    "called params": ({"params": {"dense": ones(2)}}, ("params.dense",)),
}


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return LAYOUTS[request.param]


def test_names_and_gradients(layout, backend):
    nest, names = layout
    params = mapped(np.copy, nest)
    opt = fastopt.SGD(params, lr=0.5, backend=backend)
    assert opt.param_groups[0]["param_names"] == names
    opt.step(mapped(np.copy, nest))
    assert mapped(np.sum, params) == mapped(lambda p: p.size / 2, nest)
    opt.bind(mapped(np.copy, nest))
    opt.step()
    opt.step(dict.fromkeys(names))  # by their dotted names
    opt.step([np.ones_like(p) for p in opt.param_groups[0]["params"]])  # or in their order
    assert mapped(np.sum, params) == mapped(lambda p: -p.size / 2, nest)
    assert [state["step"] for state in opt.state] == [3] * len(names)


def test_averages_are_nested_alike(layout, backend):
    nest, _ = layout
    opt = fastopt.SGD(mapped(np.copy, nest), ema_decay=0.5, backend=backend)
    same = mapped(lambda _: True, nest)
    assert mapped(lambda p: bool(np.all(p == 1)), opt.ema) == same
    for copied in (copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))):
        copied.step(mapped(np.copy, nest))
        assert mapped(lambda p: bool(np.all(p < 1)), copied.ema) == same


def test_other_mappings_and_iterables(backend):
    params = OrderedDict(l0=MappingProxyType({"W": ones(2)}), l1=(ones(3),))
    opt = fastopt.SGD(params, lr=1.0, backend=backend)
    opt.step(OrderedDict(l1=[ones(3)], l0=MappingProxyType({"W": ones(2)})))
    opt.step(OrderedDict(l1=None, l0=OrderedDict(W=None)))
    assert [state["step"] for state in opt.state] == [1, 1]
    opt = fastopt.SGD(((ones(2), ones(3)) for _ in range(2)), backend=backend)
    opt.step((ones(2), ones(3)) for _ in range(2))
    assert len(opt.state) == 4


def test_none_skips_a_branch(backend):
    opt = fastopt.SGD({"l0": (ones(2), ones(3)), "l1": {"W": ones(1)}}, backend=backend)
    opt.step({"l0": None, "l1": {"W": ones(1)}})
    opt.step({"l0": (None, ones(3)), "l1": None})
    assert [state["step"] for state in opt.state] == [0, 1, 1]


def test_pairs_are_names_only_with_strings(backend):
    opt = fastopt.SGD([("l0", (ones(2), ones(3))), ("l1", ones(1))], backend=backend)
    opt.step({"l0": (ones(2), ones(3)), "l1": ones(1)})
    assert opt.param_groups[0]["param_names"] == ("l0.0", "l0.1", "l1")
    assert [state["step"] for state in opt.state] == [1, 1, 1]


def test_groups_of_the_same_layers(backend):
    """Weights and biases of the same layers in groups of their own: the gradients are nested as the whole is."""
    weights = {"l0": {"W": ones(2)}, "l1": {"W": ones(3)}}
    biases = {"l0": {"b": ones(2)}}
    groups = [{"params": weights, "weight_decay": 0.1}, {"params": biases}]
    opt = fastopt.SGD(groups, lr=0.5, backend=backend)
    opt.add_param_group({"params": {"l2": (ones(1),)}})
    opt.step({"l0": {"W": ones(2), "b": ones(2)}, "l1": {"W": ones(3)}, "l2": (ones(1),)})
    assert [group["param_names"] for group in opt.param_groups] == [("l0.W", "l1.W"), ("l0.b",), ("l2.0",)]
    assert weights["l0"]["W"][0] == 1 - 0.5 * 1.1
    assert biases["l0"]["b"][0] == 0.5


@pytest.mark.parametrize(
    ("grads", "error", "message"),
    [
        ({"l0": (ones(2),), "l1": ones(1)}, ValueError, "grads at 'l0': found 1 for 2; pass one for each"),
        ({"l0": ones(2), "l1": ones(1)}, TypeError, "grads at 'l0': expected a list or tuple, .* found ndarray"),
        ({"l0": {"W": ones(2)}, "l1": ones(1)}, TypeError, "grads at 'l0': expected a list or tuple, .* found dict"),
        ({"l0": (ones(2), ones(3))}, ValueError, "grads: no gradient for parameter 'l1'; pass it, or None to skip it"),
        ({"l0": (ones(2), ones(3)), "l2": ones(1)}, ValueError, "grads: there is no parameter 'l2'; there are l0, l1"),
        ({"l0.0": ones(2), "l0.1": ones(3)}, ValueError, "grads: no gradient for parameter 'l1'"),
        ({"l0.7": ones(2), "l0.1": ones(3)}, ValueError, "there is no parameter 'l0.7'; did you mean 'l0"),
        ({3: ones(2)}, ValueError, "grads: there is no parameter 3"),
        ([(ones(2), ones(3)), ones(1)], TypeError, "grads: expected a mapping with l0, l1, .* found list"),
        (Layer(ones(2), ones(1)), ValueError, "grads: there is no parameter 'W'"),
        ({"l0": ((ones(2),), ones(3)), "l1": ones(1)}, TypeError, "gradient of parameter 'l0.0': .* found tuple"),
    ],
)
def test_refused_gradients(grads, error, message, backend):
    opt = fastopt.Adam({"l0": (ones(2), ones(3)), "l1": ones(1)}, backend=backend)
    before = copy.deepcopy(opt)
    with pytest.raises(error, match=message):
        opt.step(grads)
    assert_same_optimizer(opt, before)


NESTS = st.recursive(
    st.integers(0, 3).map(np.ones),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        st.tuples(inner, inner).map(lambda pair: Layer(*pair)),
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=150)
@given(nest=st.tuples(NESTS, NESTS), numbers=st.randoms(use_true_random=False))
def test_any_nesting(nest, numbers):
    """Nested gradients do what the same ones do in a list, on every backend."""
    found = []
    tree = leaves("params", nest, (), found)
    assert mapped(id, rebuilt(tree, [leaf for _, leaf in found])) == mapped(id, nest)
    if not found:
        return
    grads = mapped(lambda p: None if numbers.random() < 0.2 else np.full(p.shape, numbers.random()), nest)
    of_grads = []
    leaves("params", grads, (), of_grads)
    flat = [leaf.copy() for _, leaf in found]
    expected = fastopt.Adam(flat, ema_decay=0.5, backend="numpy")
    expected.step([g for _, g in of_grads])
    for backend in BACKENDS:
        opt = fastopt.Adam(mapped(np.copy, nest), ema_decay=0.5, backend=backend)
        opt.step(grads)
        for mine, theirs in zip(opt.param_groups[0]["params"], flat, strict=True):
            assert_same_bits(mine, theirs)
        assert mapped(np.shape, opt.ema) == mapped(np.shape, nest)


def test_none_for_branches_is_no_gradient_of_another_parameter(backend):
    """A list that could be in the order of all parameters as well, for there are as many as items at the top."""
    opt = fastopt.SGD([(ones(1), ones(1)), ones(1), ()], backend=backend)
    opt.step([None, ones(1), None])
    assert [state["step"] for state in opt.state] == [0, 0, 1]
    opt.step([None, ones(1), ones(1)])
    assert [state["step"] for state in opt.state] == [0, 1, 2]


@pytest.mark.parametrize("nest", [[("a", [ones(1)]), ("a", {"b": ones(1)})], {"c": [("a", ones(1)), ("a", [])]}])
def test_names_that_are_there_twice(nest):
    for make in (fastopt.SGD, fastopt.flatten):
        with pytest.raises(ValueError, match=r"params: the name '(c\.)?a' is there twice"):
            make(nest)
    with pytest.raises(ValueError, match=r"grads: the name '(c\.)?a' is there twice"):
        fastopt.squares(nest)
    with pytest.raises(TypeError, match="grads: expected names that are strings, found int"):
        fastopt.squares({1: ones(1)})


def test_pairs_are_no_gradients_by_name(backend):
    """Whatever the parameters are, and on every backend alike."""
    opt = fastopt.SGD([[ones(1), ones(1)], [ones(1), ones(1)]], backend=backend)
    with pytest.raises(TypeError, match=r"gradient of parameter '0.0': expected a NumPy array, found str"):
        opt.step([("x", ones(1)), ("y", ones(1))])


@pytest.mark.parametrize("fields", [["W", "b"], ("W",), 5, None])
def test_other_fields_make_no_named_tuple(fields, backend):
    kind = type("Kind", (tuple,), {"_fields": fields})
    opt = fastopt.SGD(kind([ones(1), ones(1)]), lr=1.0, backend=backend)
    opt.step(kind([ones(1), None]))
    assert [state["step"] for state in opt.state] == [1, 0]


def test_empty_branches(backend):
    class Nothing(NamedTuple):
        pass

    nest = {"a": Nothing(), "b": ones(1), "c": {}}
    _, views = fastopt.flatten(nest)
    assert type(views["a"]) is Nothing
    opt = fastopt.SGD(nest, backend=backend)
    opt.step({"a": Nothing(), "b": ones(1), "c": {}})
    opt.step({"a": {}, "b": ones(1), "c": None})
    assert opt.updates == 2
    with pytest.raises(TypeError, match=r"grads at 'c': expected a mapping with nothing in it, .* found tuple"):
        opt.step({"a": None, "b": ones(1), "c": ()})


# Numbers as gradients


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_are_gradients_of_parameters_without_axes(dtype, backend):
    scale, offset, W = np.array(0.5, dtype), np.array(1.5, dtype), np.ones(3, dtype)
    opt = fastopt.Adam({"scale": scale, "offset": offset, "W": W}, backend=backend)
    same = fastopt.Adam({"scale": scale.copy(), "offset": offset.copy(), "W": W.copy()}, backend="numpy")
    for t in range(1, 5):
        g, sum, gW = 0.1 * t, np.full(3, t, dtype).sum(), np.ones(3, dtype)
        assert isinstance(sum, np.generic)
        opt.step({"scale": g, "offset": sum, "W": gW})
        same.step({"scale": np.array(g, dtype), "offset": np.array(sum), "W": gW})
    assert_same_optimizer(opt, same)


@pytest.mark.parametrize("g", [1e300, -1e300, np.nan, np.inf, 1e-45])
def test_floats_are_rounded_to_the_type(g, backend):
    p = np.array(0.5, np.float32)
    opt = fastopt.SGD(p, lr=1.0, backend=backend)
    opt.step(g)
    with np.errstate(over="ignore"):
        assert_same_bits(p, np.asarray(np.float32(0.5) - np.float32(g)))


def test_numbers_that_are_not_finite(backend):
    p = np.array(0.5)
    opt = fastopt.SGD({"p": p}, lr=1.0, nonfinite="raise", backend=backend)
    with pytest.raises(ValueError, match=r"gradient of parameter 'p': it holds nan at \(\); nothing was changed"):
        opt.step({"p": np.nan})
    opt.nonfinite = "skip"
    opt.step({"p": np.inf})
    assert (p, opt.skipped_steps) == (0.5, 1)


def test_floats_that_float32_cannot_hold(backend):
    """They are infinite when they are checked, whatever was given."""
    opt = fastopt.SGD({"p": np.array(0.5, np.float32)}, nonfinite="raise", backend=backend)
    with pytest.raises(ValueError, match=r"gradient of parameter 'p': it holds inf at \(\); nothing was changed"):
        opt.step({"p": 1e300})


def test_accumulated_numbers(backend):
    p = np.array(0.5)
    opt = fastopt.SGD(p, lr=1.0, accumulate=2, backend=backend)
    opt.step(1.0)
    opt.step(np.float64(2.0))
    assert p == -1.0


@pytest.mark.parametrize("g", [1, True, np.float16(1), 1j, "1", np.ones(1)])
def test_other_numbers_are_refused(g, backend):
    opt = fastopt.SGD({"p": np.array(0.5)}, backend=backend)
    with pytest.raises((TypeError, ValueError), match="gradient of parameter 'p': expected "):
        opt.step({"p": g})
    opt = fastopt.SGD({"p": np.array(0.5, np.float32)}, backend=backend)
    with pytest.raises(TypeError, match=r"gradient of parameter 'p': expected float32 .*; found float64"):
        opt.step({"p": np.float64(1)})


def test_numbers_are_neither_bound_nor_zeroed(backend):
    opt = fastopt.SGD({"p": np.array(0.5)}, backend=backend)
    with pytest.raises(TypeError, match=r"gradient of parameter 'p': a number .* cannot be bound, found 0\.25; bind `"):
        opt.bind({"p": 0.25})
    opt.zero_grads = True
    with pytest.raises(TypeError, match=r"zero_grads cannot zero the number 0\.25; pass an array, `np.array"):
        opt.step({"p": 0.25})
