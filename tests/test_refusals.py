"""Refusals of whole calls: the message says what was found and what to do, and who does that gets through."""

from types import SimpleNamespace

import numpy as np
import own_rules
import pytest
from refusals import CODE, made, options_in, refused

import fastopt
from fastopt.engines.choice import COMPILED

ONES = {"W": np.ones((2, 3)), "b": np.ones(3)}


@pytest.fixture
def s(backend, tmp_path):
    """What calls are about: an optimizer after a step, arrays for another one, and a file."""
    rng = np.random.default_rng(0)
    opt = fastopt.Adam({"W": rng.normal(size=(2, 3)), "b": rng.normal(size=3)}, ema_decay=0.5, backend=backend)
    opt.step(ONES)
    file = tmp_path / "file"
    opt.save(file)
    return SimpleNamespace(opt=opt, W=np.ones((2, 3)), b=np.ones(3), file=file, backend=backend)


def spoiled(s, *path, to):
    """The state dict with something else at a place."""
    state_dict = s.opt.state_dict()
    place = state_dict
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return state_dict


def without(mapping, key):
    return {name: value for name, value in mapping.items() if name != key}


def remake(s, params, **options):
    return fastopt.Adam(params, backend=s.backend, **options)


def started(s, rate):
    """An optimizer whose learning rate this function gives, after a step."""
    return remake(s, s.W, lr=rate).step(s.W.copy())


class Other:
    """No rule."""


# Each: the wrong call, what the message says, and the call as it says.
CONSTRUCTOR = {
    "a set": (lambda s: remake(s, {1.0, 2.0}), "params: |found set|pass a list", lambda s: remake(s, [s.W])),
    "a name": (lambda s: remake(s, "W"), "params: |found str|pass a NumPy array", lambda s: remake(s, s.W)),
    "nothing": (lambda s: remake(s, None), "params: |found NoneType|pass a NumPy array", lambda s: remake(s, s.W)),
    "an empty list": (lambda s: remake(s, []), "params: |found none in a list|pass them", lambda s: remake(s, [s.W])),
    "a generator used up": (
        lambda s: remake(s, iter([])),
        "params: |found none in a list_iterator|by a new generator if the last one was used up",
        lambda s: remake(s, iter([s.W])),
    ),
    "numbers as names": (
        lambda s: remake(s, {3: s.W}),
        "params: |found int 3|make it '3'",
        lambda s: remake(s, {"3": s.W}),
    ),
    "one name for two": (
        lambda s: remake(s, [("W", s.W), ("W", s.b)]),
        "params: |'W' is there twice|give each one of its own",
        lambda s: remake(s, [("W", s.W), ("b", s.b)]),
    ),
    "groups and arrays": (
        lambda s: remake(s, [{"params": s.W}, s.b]),
        "params: |some items are group dicts|and some are not; make all so",
        lambda s: remake(s, [{"params": s.W}, {"params": s.b}]),
    ),
    "groups with names and without": (
        lambda s: remake(s, [{"params": {"W": s.W}}, {"params": s.b}]),
        "params: |some groups have names and some have not; name all, as in {'params': {'W': W}}",
        lambda s: remake(s, [{"params": {"W": s.W}}, {"params": {"b": s.b}}]),
    ),
    "tied weights": (
        lambda s: remake(s, [s.W, s.W]),
        "parameter 1: |shares memory with parameter 0|pass a tied array once, and the sum of its gradients for it",
        lambda s: remake(s, [s.W]).step([made_sum(s)]),
    ),
    "parts that overlap": (
        lambda s: remake(s, [s.b[:2], s.b[1:]]),
        "parameter 1: |shares memory with parameter 0|pass the whole array that both are parts of, or copy one of them",
        lambda s: [remake(s, [s.b]), remake(s, [s.b[:2], s.b[1:].copy()])],
    ),
    "too few names": (
        lambda s: remake(s, [{"params": [s.W, s.b], "param_names": ["W"]}]),
        "param_names: |found 1 name for 2 parameters; give one for each",
        lambda s: remake(s, [{"params": [s.W, s.b], "param_names": ["W", "b"]}]),
    ),
    "no names": (
        lambda s: remake(s, [{"params": [s.W], "param_names": 7}]),
        "param_names: |found int|pass strings, one for each parameter",
        lambda s: remake(s, [{"params": [s.W], "param_names": ["W"]}]),
    ),
    "names twice": (
        lambda s: remake(s, [{"params": {"W": s.W}, "param_names": ["W"]}]),
        "param_names: |have names of their own already; leave it out",
        lambda s: remake(s, [{"params": {"W": s.W}}]),
    ),
    "too many by position": (
        lambda s: fastopt.Lion(s.W, 0.1, (0.9, 0.99)),
        "Lion: |2 options were given by position|only lr can be; name the others",
        lambda s: fastopt.Lion(s.W, 0.1, betas=(0.9, 0.99)),
    ),
    "an option twice": (
        lambda s: fastopt.Lion(s.W, 0.1, lr=0.1),
        "Lion: |'lr' was given by position and by name; give it once",
        lambda s: fastopt.Lion(s.W, 0.1),
    ),
    "a rate that falls below 0": (
        lambda s: started(s, lambda n: -0.1),
        "lr: -0.1 was given by its function, called with 0; it must be finite and not negative",
        lambda s: started(s, lambda n: 0.0),
    ),
    "a rate that returns nothing": (
        lambda s: started(s, lambda n: None),
        "lr: expected a number, found None by its function",
        lambda s: started(s, lambda n: 0.1),
    ),
    "a large rate": (
        lambda s: fastopt.SGD(s.W.astype(np.float32), lr=1e39).step(np.ones((2, 3), np.float32)),
        "group 0: |make a factor that float32 cannot hold, 1e+39; choose others",
        lambda s: fastopt.SGD(s.W.astype(np.float32), lr=1e38).step(np.ones((2, 3), np.float32)),
    ),
    "a large initial value": (
        lambda s: fastopt.Adagrad(s.W.astype(np.float32), initial_accumulator_value=1e39),
        "parameter 0: |its state 'sum' cannot start at 1e+39 in float32",
        lambda s: fastopt.Adagrad(s.W.astype(np.float32), initial_accumulator_value=1e38),
    ),
    "a backend's number": (
        lambda s: fastopt.SGD(s.W, backend=2),
        "backend: |found 2|expected the name of a backend",
        lambda s: fastopt.SGD(s.W, backend="numpy"),
    ),
    "the base": (
        lambda s: fastopt.Optimizer(s.W),
        "Optimizer has no formula|make one of those, such as fastopt.Adam",
        lambda s: fastopt.Adam(s.W),
    ),
}


def made_sum(s):
    """What the code of the message about tied weights makes of two gradients."""
    with refused(s.opt, "tied") as message:
        remake(s, [s.W, s.W])
    (code,) = CODE.findall(message[0])
    both = eval(code, {"g_in": ONES["W"], "g_out": ONES["W"]})
    assert (both == 2).all()
    return both


GROUPS = {
    "no dict": (
        lambda s: s.opt.add_param_group(np.ones(2)),
        "group: |expected a dict, found numpy.ndarray|as in {'params': [W, b], 'lr': 0.1}",
        lambda s: s.opt.add_param_group({"params": [("c", np.ones(2))], "lr": 0.1}),
    ),
    "no params": (
        lambda s: s.opt.add_param_group({"lr": 0.1}),
        "group: |it has no 'params', only 'lr'; add them, as in {'params': [W, b], 'lr': 0.1}",
        lambda s: s.opt.add_param_group({"params": {"c": np.ones(2)}, "lr": 0.1}),
    ),
    "the same array": (
        lambda s: s.opt.add_param_group({"params": {"c": s.opt.param_groups[0]["params"][0]}}),
        "parameter 'c': it shares memory with parameter 'W'|copy one of them",
        lambda s: s.opt.add_param_group({"params": {"c": s.opt.param_groups[0]["params"][0].copy()}}),
    ),
    "a stage": (
        lambda s: s.opt.add_param_group({"params": {"c": np.ones(2)}, "clip_grad_norm": 1.0}),
        "Adam: |'clip_grad_norm' is a stage, the same for all groups; set it in the optimizer",
        lambda s: setattr(s.opt, "clip_grad_norm", 1.0),
    ),
    "params replaced": (
        lambda s: s.opt.param_groups[0].update(params=[np.ones(2)]),
        "params: |cannot be replaced; use add_param_group",
        lambda s: s.opt.add_param_group({"params": {"c": np.ones(2)}}),
    ),
    "an option removed": (
        lambda s: s.opt.param_groups[0].pop("lr"),
        "lr: |cannot be removed from a group; set it to another value",
        lambda s: s.opt.param_groups[0].update(lr=0.0),
    ),
    "one good and one bad": (
        lambda s: s.opt.param_groups[0].update(lr=0.5, eps=-1.0),
        "eps: -1.0 was given|not negative",
        lambda s: s.opt.param_groups[0].update(lr=0.5, eps=1.0),
    ),
    "other state": (
        lambda s: s.opt.param_groups[0].update(amsgrad=True),
        "amsgrad: |other state arrays than the parameters have|add a group",
        lambda s: s.opt.add_param_group({"params": {"c": np.ones(2)}, "amsgrad": True}),
    ),
    "other state by a stage": (
        lambda s: setattr(s.opt, "accumulate", 2),
        "accumulate: |other state arrays than the parameters have; make a new optimizer",
        lambda s: remake(s, s.W, accumulate=2),
    ),
    "a value that groups differ in": (
        lambda s: different(s).lr,
        "lr: the groups differ in it; look at each, as in opt.param_groups[0]['lr']",
        lambda s: different(s).param_groups[0]["lr"],
    ),
}


def different(s):
    return remake(s, [{"params": np.ones(2), "lr": 0.1}, {"params": np.ones(2)}])


STEPS = {
    "too few": (
        lambda s: s.opt.step([s.W]),
        "grads: found 1 gradient for 2 parameters; pass one for each, None for those to skip",
        lambda s: s.opt.step([s.W, None]),
    ),
    "one for two": (
        lambda s: s.opt.step(s.W),
        "grads: one gradient was given for 2 parameters; pass a sequence or a mapping",
        lambda s: [s.opt.step([s.W, None]), s.opt.step({"W": s.W, "b": None})],
    ),
    "one missing": (
        lambda s: s.opt.step({"W": s.W}),
        "grads: no gradient for parameter 'b'; pass it, or None to skip it",
        lambda s: s.opt.step({"W": s.W, "b": None}),
    ),
    "one unknown": (
        lambda s: s.opt.step({"W": s.W, "b": s.b, "ww": s.W}),
        "grads: there is no parameter 'ww'|there are W, b",
        lambda s: s.opt.step({"W": s.W, "b": s.b}),
    ),
    "by names of nameless ones": (
        lambda s: remake(s, [s.W]).step({"W": s.W.copy()}),
        "grads: the parameters have no names, so their gradients come as a sequence",
        lambda s: remake(s, [s.W]).step([s.W.copy()]),
    ),
    "none": (
        lambda s: s.opt.step(),
        "grads: none were given, and none are bound; pass them, or bind them once",
        lambda s: [s.opt.step(ONES), s.opt.bind(ONES), s.opt.step()],
    ),
    "no number": (
        lambda s: remake(s, s.W, nonfinite="raise").step(s.W * np.nan),
        "gradient of parameter 0: it holds nan at (0, 0)",
        lambda s: remake(s, s.W, nonfinite="raise").step(s.W * 1),
    ),
    "a parameter made read-only": (
        lambda s: [s.opt.param_groups[0]["params"][1].setflags(write=False), s.opt.step(ONES)],
        "parameter 'b': the array is read-only|make it writeable again, as by `p.flags.writeable = True`",
        lambda s: [s.opt.param_groups[0]["params"][1].setflags(write=True), s.opt.step(ONES)],
    ),
    "no averages": (
        lambda s: remake(s, s.W).swap_ema(),
        "swap_ema: the parameters are not averaged; make the optimizer with `ema_decay=0.999`",
        lambda s: remake(s, s.W, ema_decay=0.999).swap_ema(),
    ),
}
LOADS = {
    "nothing": (
        lambda s: s.opt.load_state_dict(None),
        "state_dict: expected a dict, found NoneType; pass it as `state_dict` returned it",
        lambda s: s.opt.load_state_dict(s.opt.state_dict()),
    ),
    "a part": (
        lambda s: s.opt.load_state_dict(without(s.opt.state_dict(), "stages")),
        "state_dict: 'stages' is missing",
        lambda s: s.opt.load_state_dict(s.opt.state_dict()),
    ),
    "an entry too many": (
        lambda s: s.opt.load_state_dict(spoiled(s, "states", to={})),
        "state_dict: unknown entry 'states'; did you mean 'state'?",
        lambda s: s.opt.load_state_dict(s.opt.state_dict()),
    ),
    "another version": (
        lambda s: s.opt.load_state_dict(spoiled(s, "version", to=99)),
        "state_dict['version']: this fastopt reads version 1, found 99; load it with the one that saved it",
        lambda s: s.opt.load_state_dict(spoiled(s, "version", to=1)),
    ),
    "another group": (
        lambda s: s.opt.load_state_dict(different(s).state_dict()),
        "state_dict['param_groups']: expected 1 group, found 2; make the optimizer as the saved one was made",
        lambda s: different(s).load_state_dict(different(s).state_dict()),
    ),
    "another dtype": (
        lambda s: s.opt.load_state_dict(spoiled(s, "state", 1, "exp_avg", to=np.ones(3, np.float32))),
        "parameter 'b': 'exp_avg': expected float64, found float32; make the optimizer as the saved one was made",
        lambda s: s.opt.load_state_dict(spoiled(s, "state", 1, "exp_avg", to=np.ones(3))),
    ),
    "another shape": (
        lambda s: s.opt.load_state_dict(spoiled(s, "state", 1, "exp_avg", to=np.ones(4))),
        "parameter 'b': 'exp_avg': expected shape (3,), found (4,); make the optimizer as the saved one was made",
        lambda s: s.opt.load_state_dict(spoiled(s, "state", 1, "exp_avg", to=np.ones(3))),
    ),
    "a count that is a float": (
        lambda s: s.opt.load_state_dict(spoiled(s, "state", 1, "step", to=3.0)),
        "parameter 'b': 'step': expected an int, found float; pass `int(x)`",
        lambda s: s.opt.load_state_dict(spoiled(s, "state", 1, "step", to=made("`int(x)`", x=3.0))),
    ),
    "a number for a path": (
        lambda s: s.opt.save(3),
        "path: |found 3|pass the file's name",
        lambda s: s.opt.save(s.file),
    ),
    "no path": (lambda s: s.opt.load(None), "path: |found None|pass the file's name", lambda s: s.opt.load(s.file)),
    "a word for a flag": (
        lambda s: s.opt.load(s.file, strict="no"),
        "strict: expected True or False, found 'no'",
        lambda s: s.opt.load(s.file, strict=False),
    ),
    "another rule": (
        lambda s: fastopt.AdamW({"W": s.W, "b": s.b}, ema_decay=0.5).load(s.file),
        "file: it was saved by Adam, and this is AdamW|where both rules keep the same state, by names",
        lambda s: fastopt.AdamW({"W": s.W, "b": s.b}, ema_decay=0.5).load(s.file, strict=False),
    ),
    "without names": (
        lambda s: remake(s, [s.W, s.b], ema_decay=0.5).load(s.file, strict=False),
        "file: |the optimizer's parameters have none|pass params as {'W': W}",
        lambda s: remake(s, {"W": s.W, "b": s.b}, ema_decay=0.5).load(s.file, strict=False),
    ),
}


def within(context):
    with context:
        pass


OTHERS = {
    "no threads": (
        lambda s: fastopt.set_num_threads(0),
        "n: 0 was given; it must be from 1",
        lambda s: fastopt.set_num_threads(fastopt.get_num_threads()),
    ),
    "half a thread": (
        lambda s: fastopt.set_num_threads(1.5),
        "n: expected an integer, found 1.5",
        lambda s: fastopt.set_num_threads(fastopt.get_num_threads()),
    ),
    "no threads for a while": (
        lambda s: within(fastopt.num_threads(0)),
        "n: 0 was given; it must be from 1",
        lambda s: within(fastopt.num_threads(1)),
    ),
    "an object compiled": (
        lambda s: fastopt.compile(s.opt),
        "compile: expected a rule, which is a class with a formula|found an object: Adam",
        lambda s: COMPILED and fastopt.compile(type(s.opt)),
    ),
    "another class compiled": (
        lambda s: fastopt.compile(Other),
        "compile: expected a rule, which is a class with a formula|Other",
        lambda s: COMPILED and fastopt.compile(fastopt.Adam),
    ),
}
CALLS = {f"{what}: {name}": case for what, table in {
    "constructor": CONSTRUCTOR, "groups": GROUPS, "steps": STEPS, "loads": LOADS, "others": OTHERS
}.items() for name, case in table.items()}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_calls(name, s):
    wrong, words, cured = CALLS[name]
    with refused(s.opt, *words.split("|")):
        wrong(s)
    cured(s)


def test_backends_by_hints(s):
    with refused(s.opt, "backend: there is no backend 'nunpy'") as message:
        fastopt.SGD(s.W, backend="nunpy")
    (meant,) = options_in(message[0])
    assert fastopt.SGD(s.W, backend=meant).backend == "numpy"


def test_uncompiled_rules(s):
    class Fresh(own_rules.Peaked):
        formula = lambda d, *, lr: lr * d  # noqa: E731

    if s.backend == "numpy":
        return
    with refused(s.opt, "Fresh: ", "is not compiled", "call fastopt.compile(Fresh) first, or use backend='numpy'"):
        Fresh(s.b, backend=s.backend)
    Fresh(s.b, backend="numpy")
