"""What programs use whose processes share the work: flatten, squares and a norm that is given."""

import math

import numpy as np
import pytest
from helpers import assert_same_bits, assert_same_optimizer, awkward

import fastopt
from fastopt.engines import choice

# flatten


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_flatten(dtype, rng):
    W = rng.normal(size=(2, 3)).astype(dtype)
    params = {"l0": (np.asfortranarray(W), W[:, 1]), "l1": [np.array(7, dtype), np.zeros((0, 3), dtype)]}
    buffer, views = fastopt.flatten(params)
    assert buffer.dtype == dtype
    assert_same_bits(buffer, np.concatenate([W.T.ravel(), W[:, 1], [dtype(7)]]))
    assert views["l0"][0].flags.f_contiguous
    assert_same_bits(views["l0"][0], W)
    assert_same_bits(views["l0"][1], W[:, 1])
    assert views["l1"][0].shape == ()
    assert views["l1"][1].shape == (0, 3)
    buffer[:] = 1
    assert views["l0"][0].sum() == 6
    assert not np.shares_memory(buffer, W)


def test_flattened_parameters_train_alike(backend):
    params = [(np.ones((3, 2)), np.zeros(2)), (np.ones((2, 1)), np.zeros(1))]
    buffer, views = fastopt.flatten(params)
    of_grads, grads = fastopt.flatten(params)
    whole = fastopt.Adam(buffer, backend=backend)
    parts = fastopt.Adam(params, backend=backend)
    for k in range(3):
        of_grads[:] = k - 1.5
        whole.step(of_grads)
        parts.step(grads)
    assert_same_bits(buffer, fastopt.flatten(params)[0])
    fastopt.SGD(views, lr=1.0, backend=backend).step(grads)
    assert_same_bits(buffer, fastopt.flatten(params)[0] - of_grads)


@pytest.mark.parametrize("form", [lambda W: W, lambda W: [W], lambda W: (W for _ in range(1))])
def test_forms_to_flatten(form):
    W = np.arange(3.0)
    buffer, _ = fastopt.flatten(form(W))
    assert_same_bits(buffer, W)


def test_flatten_into_a_buffer():
    out = np.empty(5)
    buffer, (a, _) = fastopt.flatten([np.ones(2), np.zeros(3)], out=out)
    assert buffer is out or np.shares_memory(buffer, out)
    a[:] = 3
    np.testing.assert_array_equal(out, [3, 3, 0, 0, 0])


def test_flatten_parts_of_an_array():
    """Only the same elements twice are refused: not those that begin where an empty part does."""
    whole = np.arange(5.0)
    buffer, views = fastopt.flatten([whole[:0], whole, whole[:0]])
    assert_same_bits(buffer, whole)
    assert [view.size for view in views] == [0, 5, 0]


def test_unflatten(rng):
    params = {"l0": (np.asfortranarray(rng.normal(size=(2, 3))), np.array(7.0)), "l1": [rng.normal(size=4)]}
    buffer, views = fastopt.flatten(params)
    again = fastopt.unflatten(buffer, params)
    assert list(again) == ["l0", "l1"]
    for mine, theirs in zip([*again["l0"], *again["l1"]], [*views["l0"], *views["l1"]], strict=True):
        assert_same_bits(mine, theirs)
        assert mine.strides == theirs.strides
        assert np.shares_memory(mine, buffer)
    with pytest.raises(ValueError, match=r"buffer: expected .* float64 and shape \(11,\), found .* \(12,\)"):
        fastopt.unflatten(np.zeros(12), params)
    with pytest.raises(TypeError, match=r"like: expected an array, or arrays nested .* found str"):
        fastopt.unflatten(buffer, "W")


W = np.ones(2)
READ_ONLY = np.ones(2)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("params", "out", "error", "message"),
    [
        ([], None, ValueError, "params: expected at least one array, found none"),
        ("W", None, TypeError, "params: expected an array, .* found str"),
        ([W, "b"], None, TypeError, "parameter 1: expected a NumPy array, found str"),
        ({"W": W, "b": np.ones(2, int)}, None, TypeError, "parameter 'b': expected float32 or float64, found int"),
        ({"W": W, "b": np.ones(2, "f4")}, None, TypeError, "'b': it is float32, and parameter 'W' is float64; flatten"),
        ({"W": W, "b": W}, None, ValueError, "'b': it is the same array as parameter 'W'; pass it once"),
        (W, np.ones(3), ValueError, r"out: expected .* shape \(2,\), found float64 of shape \(3,\)"),
        (W, np.ones(2, "f4"), ValueError, "out: expected a contiguous array of float64 .* found float32"),
        (W, np.ones(4)[::2], ValueError, "out: expected a contiguous array"),
        (W, READ_ONLY, ValueError, "out: the array is read-only"),
        (W, W, ValueError, "out: it shares memory with what is copied into it"),
        (W, [1.0, 2.0], TypeError, "out: expected a NumPy array, found list"),
    ],
)
def test_refused_by_flatten(params, out, error, message):
    with pytest.raises(error, match=message):
        fastopt.flatten(params, out)
    assert_same_bits(W, np.ones(2))


# squares


@pytest.mark.parametrize("n", [0, 1, 7, 16_383, 16_384, 16_385, 300_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_squares_on_every_backend(n, dtype, rng, monkeypatch):
    blocks = [rng.normal(size=n).astype(dtype), awkward(rng, 5, dtype), rng.normal(size=3)]
    for given in (blocks, blocks[::2]):
        sums = set()
        for name in fastopt.backends():
            monkeypatch.setattr(choice, "DEFAULT", name)
            sums.add(str(fastopt.squares(given)))
        assert len(sums) == 1


def test_squares_is_what_clipping_measures(backend, rng):
    grads = {"W": rng.normal(size=(300, 200)), "b": rng.normal(size=7).astype(np.float32), "c": np.array(0.5)}
    opt = fastopt.SGD({name: np.zeros_like(g) for name, g in grads.items()}, clip_grad_norm=np.inf, backend=backend)
    opt.step(grads)
    assert math.sqrt(fastopt.squares(grads)) == opt.grad_norm


def test_forms_of_squares():
    assert fastopt.squares(np.array([3.0, 4.0])) == 25
    assert fastopt.squares([(np.array([3.0]), None), {"a": 2.0, "b": np.float32(1)}]) == 14
    assert fastopt.squares(2.0) == 4
    assert fastopt.squares(np.ones((4, 6))[:, ::2]) == 12
    assert fastopt.squares(np.frombuffer(b"\0" + np.ones(3).tobytes(), offset=1)) == 3  # not aligned
    assert fastopt.squares([]) == 0


@pytest.mark.parametrize("g", [3, np.ones(2, int), np.ones(2, ">f8"), np.ma.ones(2), "x", None])
def test_refused_by_squares(g):
    with pytest.raises(TypeError, match=r"(gradient 'W'|grads): "):
        fastopt.squares({"W": g} if isinstance(g, np.ndarray) else g)


# A norm that is given


def pair(backend, **stages):
    """Two equal optimizers, and gradients for them."""
    rng = np.random.default_rng(0)
    params, grads = [rng.normal(size=(4, 5)), rng.normal(size=3)], [rng.normal(size=(4, 5)), rng.normal(size=3)]
    return [fastopt.Adam([p.copy() for p in params], **stages, backend=backend) for _ in range(2)], grads


@pytest.mark.parametrize("stages", [{}, {"clip_grad_value": 0.1}, {"nonfinite": "skip"}, {"loss_scale": 8.0}])
def test_the_measured_norm_given(stages, backend):
    (given, measuring), grads = pair(backend, clip_grad_norm=0.5, **stages)
    measuring.step(grads)
    given.step(grads, grad_norm=math.sqrt(fastopt.squares(grads)) / stages.get("loss_scale", 1))
    assert_same_optimizer(given, measuring)
    assert given.grad_norm == measuring.grad_norm


def test_shards_clip_as_the_whole_does(backend):
    """Two processes, each with one of the parameters."""
    (whole, _), grads = pair(backend, clip_grad_norm=0.5)
    (first, second), _ = pair(backend, clip_grad_norm=0.5)
    norm = math.sqrt(sum(fastopt.squares(g) for g in grads))
    first.step([grads[0], None], grad_norm=norm)
    second.step([None, grads[1]], grad_norm=norm)
    whole.step(grads)
    assert_same_bits(first.param_groups[0]["params"][0], whole.param_groups[0]["params"][0])
    assert_same_bits(second.param_groups[0]["params"][1], whole.param_groups[0]["params"][1])


@pytest.mark.parametrize("norm", [np.inf, np.nan])
def test_not_finite_elsewhere(norm, backend):
    (opt, before), grads = pair(backend, nonfinite="skip", clip_grad_norm=0.5)
    opt.step(grads, grad_norm=norm)
    assert opt.skipped_steps == 1
    opt.nonfinite = before.nonfinite = "raise"
    with pytest.raises(ValueError, match=f"grad_norm: {norm} was given, so a gradient elsewhere is not finite"):
        opt.step(grads, grad_norm=norm)
    grads[1][2] = np.nan
    with pytest.raises(ValueError, match="gradient of parameter 1: it holds nan"):
        opt.step(grads, grad_norm=norm)
    assert opt.updates == 0


def test_a_finite_norm_alone_decides(backend):
    """Even where the gradients here are not finite: all processes have to do the same."""
    (opt, same), grads = pair(backend, nonfinite="skip")
    grads[0][0, 0] = np.inf
    opt.step(grads, grad_norm=3.0)
    same.nonfinite = "propagate"
    same.step(grads)
    assert (opt.updates, opt.skipped_steps) == (1, 0)
    assert_same_bits(opt.param_groups[0]["params"][0], same.param_groups[0]["params"][0])


def test_norms_without_clipping(backend):
    (opt, same), grads = pair(backend)
    opt.step(grads, grad_norm=3)
    same.step(grads)
    assert opt.grad_norm == 3.0
    assert_same_optimizer(opt, same)
    opt.step(grads)
    assert opt.grad_norm is None


@pytest.mark.parametrize(
    ("norm", "stages", "error", "message"),
    [
        (-1.0, {}, ValueError, "grad_norm: -1.0 was given; a norm is not negative"),
        ("2", {}, TypeError, "grad_norm: expected a number, found '2'"),
        (True, {}, TypeError, "grad_norm: expected a number, found True"),
        (np.ones(2), {}, TypeError, "grad_norm: expected a number"),
        (2.0, {"accumulate": 2}, ValueError, "grad_norm: with accumulate .* leave it out"),
    ],
)
def test_refused_norms(norm, stages, error, message, backend):
    (opt, before), grads = pair(backend, **stages)
    with pytest.raises(error, match=message):
        opt.step(grads, grad_norm=norm)
    assert_same_optimizer(opt, before)
