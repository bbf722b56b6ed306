"""Arrays that are refused: what the message says to do works, when it is followed literally."""

import array

import numpy as np
import pytest
from refusals import CODE, array_like, followed, refused, stand_in, torch_tensor
from test_bad_arrays import read_only, unaligned

import fastopt


class Net:
    def parameters(self):
        return np.ones(3)


def masked():
    return np.ma.masked_greater([1.0, 2.0, 3.0], 2)


# Makers of what is given for three float64 elements, each with what the message says was found.
KINDS = {
    "list": (lambda: [1.0, 2.0, 3.0], "found list"),
    "list of integers": (lambda: [1, 2, 3], "found list"),
    "tuple": (lambda: (1.0, 2.0, 3.0), "found tuple"),
    "range": (lambda: range(3), "found range"),
    "generator": (lambda: (float(i) for i in range(3)), "found generator"),
    "array.array": (lambda: array.array("d", [1, 2, 3]), "found array.array"),
    "array.array of integers": (lambda: array.array("i", [1, 2, 3]), "found array.array"),
    "memoryview": (lambda: memoryview(np.ones(3)), "found memoryview"),
    "read-only memoryview": (lambda: memoryview(np.ones(3)).toreadonly(), "found memoryview"),
    "function": (lambda: lambda: np.ones(3), "found function"),
    "method": (lambda: Net().parameters, "found method"),
    "PyTorch": (torch_tensor, "found torch.Tensor"),
    "PyTorch, elsewhere": (lambda: torch_tensor(device="cuda:0"), "found torch.Tensor"),
    "JAX": (array_like("jaxlib.ArrayImpl"), "found jaxlib.ArrayImpl"),
    "JAX, integers": (array_like("jaxlib.ArrayImpl", np.int32), "found jaxlib.ArrayImpl"),
    "TensorFlow": (array_like("tensorflow.Variable"), "found tensorflow.Variable"),
    "Keras": (array_like("keras.Variable"), "found keras.Variable"),
    "pandas": (array_like("pandas.Series"), "found pandas.Series"),
    "pandas, integers": (array_like("pandas.Series", np.int64), "found pandas.Series"),
    "CuPy": (lambda: stand_in("cupy.ndarray", get=lambda self: np.ones(3), shape=(3,)), "found cupy.ndarray"),
    "SciPy": (lambda: stand_in("scipy.spmatrix", toarray=lambda self: np.ones(3)), "found scipy.spmatrix"),
    "masked": (masked, "masked"),
    **{
        dtype.lstrip("<>"): (lambda dtype=dtype: np.ones(3, dtype), f"found {np.dtype(dtype).name}")
        for dtype in ("float16", "longdouble", "int8", "int64", "uint8", "bool", "complex64", "complex128", "object")
    },
    "swapped": (lambda: np.ones(3, ">f8"), "found byte-swapped float64"),
    "swapped and complex": (lambda: np.ones(3, ">c16"), "found byte-swapped complex128"),
    "unaligned": (lambda: unaligned(3), "not aligned"),
}
# Arrays that are good as gradients.
LAYOUTS = {
    "float32": (lambda: np.ones(3, np.float32), None),
    "read-only": (lambda: read_only(np.ones(3)), "read-only"),
    "broadcast": (lambda: np.broadcast_to(np.ones(1), 3), "read-only"),
    "strided": (lambda: np.zeros(6)[::2], "neither C- nor F-contiguous"),
    "reversed": (lambda: np.zeros(6)[::-1], "neither C- nor F-contiguous"),
    "number": (lambda: 1.0, "found float"),
    "integer": (lambda: 3, "found int"),
    "scalar": (lambda: np.float64(1), "found numpy.float64"),
}
# Those that take a cure for their kind and one for their dtype, as parameters or as both.
TWICE = {"swapped and complex": 2}
SHARING = ("PyTorch", "memoryview", "array.array", "masked", "complex64", "complex128")
TO_PARAMETERS = {name: case for name, case in {**KINDS, **LAYOUTS}.items() if case[1]}


def memory_of(name, given):
    return np.array(given.detach().numpy() if name == "PyTorch" else np.ma.getdata(given))


@pytest.mark.parametrize("name", TO_PARAMETERS)
def test_parameters(name, backend):
    make, found = TO_PARAMETERS[name]
    opt = fastopt.SGD({"W": np.ones(3)}, lr=0.5, backend=backend)
    others = []

    def construct(p):
        others.append(fastopt.SGD({"W": np.ones(3), "b": p}, lr=0.5, backend=backend))

    times = TWICE.get(name, 1)
    followed(construct, make(), "p", opt, "parameter 'b", found, refusals=times)
    given, add = make(), lambda p: opt.add_param_group({"params": {"b": p}})
    p = followed(add, given, "p", opt, "parameter 'b", found, refusals=times)
    old = np.array(p)
    before = memory_of(name, given) if name in SHARING else None
    opt.step({"W": None, "b": np.ones_like(p)})
    np.testing.assert_array_equal(p, old - 0.5)
    if name in SHARING:
        assert (memory_of(name, given) != before).all()


@pytest.mark.parametrize("name", KINDS)
def test_gradients(name, opt):
    make, found = KINDS[name]
    grads = {"W": np.ones((2, 3)), "last": None}
    for call in (opt.step, opt.bind):
        followed(lambda g: call({**grads, "b": g}), make(), "g", opt, "gradient of parameter 'b'", found)  # noqa: B023


@pytest.mark.parametrize("name", ["list", "PyTorch", "JAX", "pandas", "CuPy", "SciPy", "masked"])
def test_state(name, opt):
    make, found = KINDS[name]

    def load(x):
        state_dict = opt.state_dict()
        state_dict["state"][1]["exp_avg"] = x
        opt.load_state_dict(state_dict)

    followed(load, make(), "x", opt, "parameter 'b': 'exp_avg'", found)


@pytest.mark.parametrize("name", ["PyTorch", "JAX", "JAX, integers", "pandas", "array.array", "memoryview", "CuPy"])
def test_one_array_alone(name, backend):
    """It is one parameter or gradient, and no sequence of its elements."""
    make, found = KINDS[name]
    opt = fastopt.SGD(np.ones(3), backend=backend)
    followed(lambda p: fastopt.SGD(p, backend=backend), make(), "p", opt, "parameter 0: ", found)
    followed(opt.step, make(), "g", opt, "gradient of parameter 0: ", found)


@pytest.mark.parametrize("kind", ["params", "grads"])
def test_things_that_are_called_first(kind, backend):
    opt = fastopt.SGD(np.ones(3), backend=backend)
    call = opt.step if kind == "grads" else lambda p: fastopt.SGD(p, backend=backend)
    followed(call, Net().parameters, kind[0], opt, f"{kind}: expected an array", "found method")


@pytest.mark.parametrize("given", ["W", b"W", {1.0, 2.0}, None, Net()])
def test_what_is_no_array(given, opt):
    """Where nothing can be made of it, the message says to pass an array."""
    found = f"found {type(given).__name__}" if not isinstance(given, Net) else "Net"
    cures = {set: "pass a list", type(None): "may lack its return statement"}
    cure = cures.get(
        type(given), "gradients of a model in a list or dict" if isinstance(given, Net) else "pass a NumPy"
    )
    with refused(opt, "parameter 'b': ", found, "pass a NumPy array", "leave it out" if given is None else ""):
        fastopt.SGD({"b": given})
    if given is not None:  # which skips a parameter
        with refused(opt, "gradient of parameter 'b': ", found, "pass a NumPy array"):
            opt.step({"W": None, "b": given, "last": None})
    if not isinstance(given, bytes):
        with refused(opt, "grads: expected an array", found, cure):
            opt.step(given)


def test_arrays_that_are_traced(opt):
    box = stand_in("autograd.Box", shape=(3,))
    with refused(opt, "gradient of parameter 'b': ", "found autograd.Box", "call fastopt outside of the functions"):
        opt.step({"W": None, "b": box, "last": None})


def test_one_group_alone(opt):
    call = lambda p: fastopt.SGD(p, momentum=0.9)  # noqa: E731
    p = np.ones(3)
    followed(call, {"params": [p], "lr": 0.5}, "p", opt, "params: found one group, a dict with 'params' and options")
    assert fastopt.SGD({"params": p}).param_groups[0]["param_names"] == ("params",)


SHAPES = [((3, 2), None), ((6,), None), ((1, 6, 1), None), ((4, 2, 3), lambda g: g.sum(axis=0))]


@pytest.mark.parametrize(("shape", "by_words"), SHAPES)
def test_shapes_of_gradients(shape, by_words, opt):
    call = lambda g: opt.step({"W": g, "b": None, "last": None})  # noqa: E731
    words = ("gradient of parameter 'W'", "expected shape (2, 3)", f"found {shape}")
    if by_words:
        with refused(opt, *words, "sum it, or take its mean, over the axes in front"):
            call(np.ones(shape))
        call(by_words(np.ones(shape)))
    else:
        followed(call, np.ones(shape), "g", opt, *words)
    with refused(opt, "found (5,)", "an element for each of the parameter's"):
        call(np.ones(5))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", [np.float32(1), np.float64(1), 1, True, 1.0])
def test_numbers_for_a_parameter_without_axes(given, dtype, backend):
    p = np.zeros((), dtype)
    opt = fastopt.SGD(p, lr=1.0, backend=backend)
    if type(given) in (float, p.dtype.type):
        opt.zero_grads = True
        followed(lambda g: opt.step([g]), given, "g", opt, "zero_grads cannot zero the number")
    else:
        followed(lambda g: opt.step([g]), given, "g", opt, "gradient of parameter 0", type(given).__name__)
    assert p == -1
    followed(lambda g: opt.bind([g]), p.dtype.type(1), "g", opt, "gradient of parameter 0", "cannot be bound, found")


def test_arrays_for_the_rest(backend):
    """Of `flatten`, `squares` and the memory for state."""
    opt = fastopt.SGD(np.ones(3), backend=backend)
    for name in ("range", "int64", "PyTorch", "JAX, integers", "swapped"):
        make, found = KINDS[name]
        followed(lambda x: fastopt.flatten({"a": [x]}), make(), "x", opt, "parameter 'a.0': ", found)
        followed(lambda g: fastopt.squares({"a": g}), make(), "g", opt, "gradient ", found)
    with refused(opt, "out: expected a contiguous array of float64 and shape (2,), found float32 of shape (3,)"):
        fastopt.flatten([np.ones(2)], out=np.ones(3, np.float32))
    fastopt.flatten([np.ones(2)], out=np.ones(2))
    with refused(opt, "state_memory: the state 'exp_avg' of parameter 0: ", "found float64 of shape (2,)") as message:
        fastopt.Adam(np.ones(3), state_memory=lambda *_: np.ones(2), backend=backend)
    (code,) = CODE.findall(message[0])
    memory = eval(f"lambda label, name, size, dtype: {code}", {"np": np})
    fastopt.Adam(np.ones(3), state_memory=memory, backend=backend)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_parameters(dtype, backend):
    """As views of real and imaginary parts, with gradients alike."""
    z, g = np.ones(3, dtype), np.full(3, 1 + 2j, dtype)
    made = []
    opt = fastopt.SGD(np.ones(3), backend=backend)
    followed(lambda p: made.append(fastopt.SGD([p], lr=1.0, backend=backend)), z, "p", opt, f"found {dtype}")
    with refused(opt, f"found {dtype}", "if JAX or autograd made it") as message:
        made[0].step(g)
    for code, given in zip(CODE.findall(message[0]), (g, np.conj(g)), strict=True):
        z[:] = 1
        made[0].step(eval(code, {"np": np, "g": given}))
        np.testing.assert_array_equal(z, np.full(3, -2j, dtype))


@pytest.mark.parametrize("given", [1 + 2j, np.complex128(1 + 2j), np.array(1 + 2j)])
def test_complex_numbers(given, backend):
    """Parameters without axes, and their gradients."""
    z = np.ones((), complex)
    made = []
    opt = fastopt.SGD(np.ones(3), backend=backend)
    followed(lambda p: made.append(fastopt.SGD([p], lr=1.0, backend=backend)), z, "p", opt, "found complex128")
    if not isinstance(given, np.ndarray):
        with refused(opt, "found ") as message:
            made[0].step([given])
        given = eval(*CODE.findall(message[0]), {"np": np, "g": given})
    with refused(opt, "found complex128") as message:
        made[0].step([given])
    made[0].step([eval(CODE.findall(message[0])[0], {"np": np, "g": given})])
    assert z == -2j


def test_memory_of_gradients(opt):
    W = opt.param_groups[0]["params"][0]
    followed(lambda g: opt.step([g, None, None]), W, "g", opt, "gradient of parameter 'W': it shares memory")
    opt.zero_grads = True
    g = np.ones((2, 3))
    followed(lambda g: opt.step([g, None, None]), read_only(np.ones((2, 3))), "g", opt, "read-only, so zero_grads")
    followed(lambda h: opt.step([g, None, h]), g, "g", opt, "gradient of parameter 'last': it shares memory with that")


# The libraries themselves, where they are installed


def test_pytorch(backend):
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(3, 2)
    opt = fastopt.SGD(np.ones(3), backend=backend)
    before = [p.detach().clone() for p in net.parameters()]
    made = []
    followed(
        lambda p: made.append(fastopt.SGD(p, lr=1.0, backend=backend)), net, "p", opt, "params: ", "found torch.Linear"
    )
    net(torch.ones(3)).sum().backward()
    followed(made[0].step, net, "g", opt, "grads: ", "found torch.Linear")
    for p, old in zip(net.parameters(), before, strict=True):
        assert torch.equal(p, old - 1)
    for dtype in (torch.bfloat16, torch.float16):
        followed(lambda p: fastopt.SGD([p]), net.weight.to(dtype), "p", opt, "parameter 0: ", "found torch.Tensor")
    followed(lambda p: fastopt.SGD([p]), net.weight, "p", opt, "parameter 0: ", "found torch.Parameter")
    with refused(opt, "parameter 0: ", "found torch.Parameter"):
        fastopt.SGD(net.parameters())
    with refused(opt, "parameter 'weight': ", "found torch.Parameter"):
        fastopt.SGD(net.named_parameters())


def test_jax(backend):
    jax = pytest.importorskip("jax")
    opt = fastopt.SGD(np.ones(3, np.float32), backend=backend)
    x = jax.numpy.ones(3)
    p = followed(lambda p: fastopt.SGD([p]), x, "p", opt, "parameter 0: ", "found jaxlib.ArrayImpl")
    assert p.dtype == np.float32
    followed(lambda p: fastopt.SGD([p]), x.astype("bfloat16"), "p", opt, "parameter 0: ", "found jaxlib.ArrayImpl")
    followed(opt.step, x, "g", opt, "gradient of parameter 0: ", "found jaxlib.ArrayImpl")

    def step(g):
        with refused(
            opt, "gradient of parameter 0: ", "Tracer", "outside of the functions that JAX or autograd transform"
        ):
            opt.step(g)
        return g.sum()

    jax.jit(step)(x)
    jax.grad(step)(x)


def test_scipy(backend):
    sparse = pytest.importorskip("scipy.sparse")
    opt = fastopt.SGD(np.eye(3), backend=backend)
    for make in (sparse.csr_matrix, sparse.csr_array, sparse.coo_array):
        followed(lambda p: fastopt.SGD([p]), make(np.eye(3)), "p", opt, "parameter 0: ", "found scipy.")
        followed(opt.step, make(np.eye(3)), "g", opt, "gradient of parameter 0: ", "found scipy.")


def test_pandas(backend):
    pandas = pytest.importorskip("pandas")
    opt = fastopt.SGD(np.ones((3, 2)), backend=backend)
    for data in (np.ones((3, 2)), {"a": [1, 2, 3], "b": [1.0, 2.0, 3.0]}):
        frame = pandas.DataFrame(data)
        for given in (frame, frame["a"] if "a" in frame else frame[0], frame.index):
            followed(lambda p: fastopt.SGD(p), given, "p", opt, "parameter 0: ", "found pandas.")
        followed(opt.step, frame, "g", opt, "gradient of parameter 0: ", "found pandas.DataFrame")


def test_autograd(backend):
    autograd = pytest.importorskip("autograd")
    opt = fastopt.SGD(np.ones(3), backend=backend)

    def loss(p):
        with refused(opt, "gradient of parameter 0: ", "found autograd.ArrayBox", "outside of the functions"):
            opt.step(p)
        return (p * p).sum()

    autograd.grad(loss)(np.ones(3))
