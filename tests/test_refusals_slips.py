"""What is most often passed by mistake: the loss, parameters for gradients, names and dicts of other libraries."""

import traceback

import numpy as np
import pytest
from refusals import CODE, followed, refused

import fastopt


def ragged(*arrays):
    together = np.empty(len(arrays), object)
    together[:] = arrays
    return together


@pytest.mark.parametrize("kind", [list, tuple])
def test_gradients_with_their_parameters(kind, backend):
    W, b = np.ones((2, 3)), np.ones(3)
    opt = fastopt.SGD([W, b], backend=backend)
    grads = [np.ones((2, 3)), np.ones(3)]
    with refused(
        opt, "gradient of parameter 0: ", "found the parameter within a list or tuple; pass the gradients alone"
    ):
        opt.step(map(kind, zip(grads, [W, b], strict=True)))
    with refused(
        opt, f"found {kind.__name__}; pass one array for each parameter: ", "nested in another way"
    ) as message:
        opt.step([kind([g]) for g in grads])
    assert not CODE.findall(message[0])
    opt.step(grads)


def test_parameters_for_gradients(backend):
    W = np.ones((2, 3))
    opt = fastopt.SGD(W, backend=backend)
    for given in (W, W.T.T[:]):
        with refused(opt, "shares memory with parameter 0; it is the parameter or a part of it; pass the gradient, or"):
            opt.step(given)
    with refused(opt, "shares memory with the state 'momentum_buffer' of parameter 0; pass `g.copy()`"):
        one = fastopt.SGD(W, momentum=0.9, backend=backend)
        one.step(one.state[0]["momentum_buffer"])


def test_parameters_of_pytorch_for_gradients(backend):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(3, 2)
    opt = fastopt.SGD([p.detach().numpy() for p in model.parameters()], backend=backend)
    model(torch.ones(3)).sum().backward()
    with refused(opt, "gradient of parameter 0: ", "parameters were given; pass their gradients") as message:
        opt.step(model.parameters())
    (code,) = CODE.findall(message[0])
    opt.step(eval(code, {"model": model}))
    with refused(opt, "state_dict: this is no state dict of fastopt"):
        opt.load_state_dict(torch.optim.SGD(model.parameters()).state_dict())


@pytest.mark.parametrize("loss", [3.5, 3, np.float32(3.5), np.array(3.5)])
def test_the_loss_for_gradients(loss, backend):
    for params in ([np.ones(2)], [np.ones(2), np.ones(3)]):
        opt = fastopt.SGD(params, backend=backend)
        with refused(opt, "a number such as the loss is no gradient; pass the derivatives of the loss") as message:
            opt.step(loss)
        assert not CODE.findall(message[0])


def test_gradients_of_groups_without_names(backend):
    W, b, c = np.ones((2, 3)), np.ones(3), np.ones(1)
    opt = fastopt.SGD([{"params": [W, b]}, {"params": [c]}], backend=backend)
    of_groups = [[np.ones((2, 3)), np.ones(3)], [np.ones(1)]]
    with refused(
        opt, "grads: found 2 gradients for 3 parameters", "all in one list, in the order of the groups (2 + 1)"
    ):
        opt.step(of_groups)
    opt.step(of_groups[0] + of_groups[1])


def test_models(backend):
    opt = fastopt.SGD(np.ones(3), backend=backend)
    with refused(opt, "params: ", "or the arrays of a model in a list or dict"):
        fastopt.SGD(opt)


def test_arrays_of_arrays(backend):
    W, b = np.ones((2, 3)), np.ones(3)
    opt = fastopt.SGD([W, b], lr=1.0, backend=backend)
    followed(
        lambda p: fastopt.SGD(p, backend=backend), ragged(W, b), "p", opt, "found object; pass its arrays in a list"
    )
    with refused(opt, "parameter 'layer': ", "found object; pass its arrays in a list"):
        fastopt.SGD({"layer": ragged(W, b)})


def test_numbers_among_parameters(backend):
    W = np.ones((2, 3))
    opt = fastopt.SGD(W, backend=backend)
    with refused(opt, "parameter 'n_hidden': ", "found int; leave it out if it is no parameter"):
        fastopt.SGD({"W": W, "n_hidden": 3})
    with refused(opt, "parameter '0.lr': ", "put options beside 'params' in a group dict"):
        fastopt.SGD([{"parameters": W, "lr": 0.1}])
    fastopt.SGD([{"params": W, "lr": 0.1}])


def test_state_memory_that_is_given_twice(backend):
    memory = np.empty(3)
    opt = fastopt.SGD(np.ones(3), backend=backend)
    with refused(opt, "shares memory with the state 'exp_avg'", "return new memory at each call"):
        fastopt.Adam(np.ones(3), state_memory=lambda *_: memory, backend=backend)


RULES = {
    "AMSGrad": "Adam(params, amsgrad=True)",
    "Momentum": "SGD(params, momentum=0.9)",
    "Nesterov": "SGD(params, momentum=0.9, nesterov=True)",
}


@pytest.mark.parametrize("name", RULES)
def test_rules_that_are_options(name):
    with pytest.raises(AttributeError, match="fastopt has no") as raised:
        getattr(fastopt, name)
    assert str(raised.value).endswith(f"; it is {RULES[name]}")
    eval(RULES[name], {**vars(fastopt), "params": np.ones(3)})


ABSENT = {
    "RMSProp": "fastopt has no 'RMSProp'; did you mean 'RMSprop'?",
    "ADAM": "fastopt has no 'ADAM'; did you mean 'Adam'?",
    "NAdam": "fastopt has no 'NAdam'; it is not among the rules; docs/writing-a-rule.md shows how to write one",
    "clip_grad_norm_": "fastopt has no 'clip_grad_norm_'; it is an option of each rule, clip_grad_norm=1.0",
}


@pytest.mark.parametrize("name", [*ABSENT, *RULES])
def test_names_of_the_package(name):
    """Python adds no guess of its own, which would mislead."""
    with pytest.raises(AttributeError) as raised:
        getattr(fastopt, name)
    last = traceback.format_exception_only(raised.value)[-1].strip()
    assert last == f"AttributeError: {raised.value}"
    assert str(raised.value) == ABSENT.get(name, str(raised.value))
    assert not hasattr(fastopt, name)
    with pytest.raises(ImportError):
        exec(f"from fastopt import {name}")


ATTRIBUTES = {"zero_grad": "`model.zero_grad()`, or the option zero_grads=True", "learning_rate": "it is lr"}
ATTRIBUTES["params"] = "`opt.param_groups[0]['params']`"


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_of_an_optimizer(name, opt):
    with refused(opt, f"{name}: an optimizer has no such attribute; ", ATTRIBUTES[name], error=AttributeError):
        getattr(opt, name)
    with pytest.raises(AttributeError) as raised:
        getattr(opt, name)
    assert traceback.format_exception_only(raised.value)[-1].strip() == f"AttributeError: {raised.value}"
