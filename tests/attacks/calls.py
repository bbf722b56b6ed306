"""The calls under attack, the optimizers that they are made on, and all that can be seen of one."""

import copy
import pickle
import shutil
import sys
import tempfile
import weakref
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))  # for own_rules, when a file of this folder is run

from own_rules import Estimated

import fastopt


def falling(n):
    return 0.1 / (1 + n)


def ordinary(label, name, size, dtype):
    return np.ones(size, dtype)


# Each with a different set of stages; the number is how many steps are made before the call.
ALL = {"ema_decay": 0.9, "clip_grad_norm": 1.0, "clip_grad_value": 0.1, "nonfinite": "skip", "zero_grads": True}
FLUSHING = {"flush_subnormals": len(fastopt.backends()) > 1}  # where there is a compiled part
KINDS = {
    "adam": (fastopt.Adam, {"lr": falling, "amsgrad": True, **ALL}, 2),
    "sgd": (fastopt.SGD, {"lr": 0.1, "momentum": 0.9, "accumulate": 2, "zero_grads": True}, 2),
    "lamb": (fastopt.LAMB, {"lr": 0.1, "accumulate": 2, **ALL, "zero_grads": False}, 3),
    "plain": (fastopt.Adam, {"lr": 0.1, **FLUSHING}, 1),
    "nested": (fastopt.SGD, {"momentum": 0.9, "accumulate": 2, "ema_decay": falling, "state_memory": ordinary}, 3),
    "own": (Estimated, {"lr": 0.1, "ema_decay": 0.9, "clip_grad_norm": np.inf}, 2),
}


class Scene:
    """An optimizer after some steps, and what a call on it is given.

    Parameters
    ----------
    kind : str
        One of KINDS.
    backend : str
    large : bool
        Whether one array is so large that helpers share the work on it.
    """

    def __init__(self, kind: str, backend: str, large: bool = False) -> None:
        self.rng = np.random.default_rng(0)
        self.rule, self.options, steps = KINDS[kind]
        self.backend, self.ema, self.nested = backend, "ema_decay" in self.options, kind == "nested"
        f4, f8 = np.float32, np.float64
        self.parameters = {
            "w": self.random((3, 4), f4),
            "fortran": np.asfortranarray(self.random((4, 3), f8)),
            "number": self.random((), f8),
            "empty": self.random((0,), f4),
            "long": self.random((600_000 if large else 70,), f4),
        }
        self.opt: Any = self.construct()
        for _ in range(steps):
            self.opt.step(self.some_gradients())
        # What a call is given or makes, for `seen`.
        self.gradients = self.some_gradients()
        self.extra = self.random((2, 2), f8)
        self.made: Any = None
        self.given: Any = None
        self.folder: Any = None

    def random(self, shape, dtype):
        return np.asarray(self.rng.normal(size=shape)).astype(dtype)

    def some_gradients(self):
        return [np.asarray(self.random(p.shape, p.dtype), order="K") for p in self.parameters.values()]

    def construct(self):
        first, second = ({"params": group} for group in self.grouped(self.parameters.values()))
        return self.rule([first, second | {"weight_decay": 0.01}], backend=self.backend, **self.options)

    def grouped(self, arrays):
        """Arrays as the two groups have them."""
        a, b, c, d, e = arrays
        if self.nested:
            return {"first": (a, {"b": b})}, {"second": [[c], (d, e)]}
        names = list(self.parameters)
        return dict(zip(names, (a, b), strict=False)), dict(zip(names[2:], (c, d, e), strict=True))

    def twin(self, steps):
        """An optimizer of the same kind and parameters of the same values, some steps ahead."""
        other = copy.copy(self)
        other.parameters = {name: p.copy(order="K") for name, p in self.parameters.items()}
        other.rng = np.random.default_rng(1)
        opt = other.construct()
        for _ in range(steps):
            opt.step(other.some_gradients())
        return opt

    def path(self):
        """A path in a folder of its own."""
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp())
            weakref.finalize(self, shutil.rmtree, self.folder, True)
        return self.folder / "saved"


class Call(NamedTuple):
    """A call: what is done before it, what it is, and whether it can be made on a scene."""

    act: Callable[[Scene], Any]
    prepare: Callable[[Scene], Any] = lambda s: None
    fits: Callable[[Scene], bool] = lambda s: True


def construct(s):
    s.made = s.construct()


def without_optimizer(s):
    s.opt = None


def step_list(s):
    s.opt.step(s.gradients)


def by_name(s):
    first, second = s.grouped(s.gradients)
    s.given = first | second


def as_number(s):
    s.gradients[2] = s.gradients[2][()]


def strided(s):
    s.gradients = [np.repeat(g, 2, axis=-1)[..., ::2] if g.ndim else g for g in s.gradients]
    s.gradients[0] = np.asfortranarray(s.gradients[0])


def without_some(s):
    s.gradients[0] = s.gradients[-1] = None


def not_finite(s):
    s.gradients[1][0] = np.nan


def step_given(s):
    s.opt.step(s.given)


def step_with_norm(s):
    s.opt.step(s.gradients, grad_norm=3.0)


def step_accumulated(s):
    s.opt.step_accumulated()


def step_bound(s):
    s.opt.step()


def bind(s):
    s.opt.bind(s.gradients)


def add_group(s):
    s.opt.add_param_group({"params": {"extra": s.extra}, "lr": 0.3})


def set_one(s):
    s.opt.param_groups[0]["lr"] = 0.25


def update_one(s):
    s.opt.param_groups[1].update(lr=0.25, weight_decay=0.125)


def set_all(s):
    s.opt.lr = 0.25


def set_scale(s):
    s.opt.loss_scale = 8.0


def set_clipping(s):
    s.opt.clip_grad_norm = None


def saved_twin(s):
    s.given = s.twin(3).state_dict()


def load_state_dict(s):
    s.opt.load_state_dict(s.given)


def state_dict(s):
    s.made = s.opt.state_dict()


def swap(s):
    with s.opt.swap_ema():
        pass


def deepcopy(s):
    s.made = copy.deepcopy(s.opt)


def dumps(s):
    s.made = pickle.dumps(s.opt)


def pickled(s):
    s.given = pickle.dumps(s.opt)


def loads(s):
    s.made = pickle.loads(s.given)


def saved_file(s):
    s.twin(3).save(s.path())


def save(s):
    s.opt.save(s.path())


def load(s):
    s.opt.load(s.path())


def load_by_name(s):
    s.opt.load(s.path(), strict=False)


CALLS = {
    "construct": Call(construct, without_optimizer),
    "step": Call(step_list),
    "step_dict": Call(step_given, by_name),
    "step_number": Call(step_list, as_number, lambda s: not s.options.get("zero_grads")),
    "step_with_norm": Call(step_with_norm, fits=lambda s: "accumulate" not in s.options),
    "step_accumulated": Call(step_accumulated, fits=lambda s: "accumulate" in s.options),
    "step_bound": Call(step_bound, bind),
    "step_strided": Call(step_list, strided),
    "step_without": Call(step_list, without_some),
    "step_skipped": Call(step_list, not_finite, lambda s: s.options.get("nonfinite") == "skip"),
    "bind": Call(bind),
    "add_param_group": Call(add_group),
    "set_one": Call(set_one),
    "update_one": Call(update_one),
    "set_all": Call(set_all),
    "loss_scale": Call(set_scale),
    "clip_grad_norm": Call(set_clipping),
    "load_state_dict": Call(load_state_dict, saved_twin),
    "swap_ema": Call(swap, fits=lambda s: s.ema),
    "state_dict": Call(state_dict),
    "deepcopy": Call(deepcopy),
    "dumps": Call(dumps),
    "loads": Call(loads, pickled),
    "save": Call(save, saved_file),
    "load": Call(load, saved_file),
    "load_by_name": Call(load_by_name, saved_file, lambda s: "accumulate" not in s.options),
}


def kinds_for(call: Call, backend: str) -> list[str]:
    """The optimizers that a call is made on."""
    return [kind for kind in KINDS if (kind != "own" or backend == "numpy") and call.fits(Scene(kind, backend))]


def prepared(call: Call, kind: str, backend: str, large: bool = False) -> Scene:
    """A fresh scene in which the call can be made."""
    scene = Scene(kind, backend, large)
    call.prepare(scene)
    return scene


def leaves(label, value):
    """All that a nested value holds, by paths, in a form that can be compared."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f" and np.isnan(value).any():  # the bits of a NaN carry no value
            value = np.where(np.isnan(value), value.dtype.type(np.nan), value)
        yield label, (value.dtype.str, value.shape, zlib.crc32(np.ascontiguousarray(value)))
    elif isinstance(value, dict | fastopt.optimizer.ParamGroup | fastopt.optimizer.State):
        for key, one in value.items():
            yield from leaves(f"{label}[{key!r}]", one)
    elif isinstance(value, list | tuple):
        for i, one in enumerate(value):
            yield from leaves(f"{label}[{i}]", one)
    else:
        yield label, getattr(value, "__qualname__", repr(value))


def seen(s: Scene) -> dict[str, Any]:
    """All that can be seen of a scene, last of all what further steps do: this uses it up."""
    found: dict[str, Any] = {}

    def look(label, function):
        try:
            found.update(leaves(label, function()))
        except Exception as error:  # a busy lock that is held, for instance
            found[label] = f"{type(error).__name__}: {error}"

    look("np.geterr()", np.geterr)
    look("flushing", lambda: np.float32(1e-38) * np.float32(0.125) == 0)
    look("gradients", lambda: s.gradients)
    look("parameters", lambda: [*s.parameters.values(), s.extra])
    if isinstance(s.made, bytes):
        s.made = pickle.loads(s.made)
    elif isinstance(s.made, dict):
        look("made", lambda: s.made)
    if s.folder is not None:
        look("file", lambda: state_in_file(s))
        # What an interrupted save could not remove, the next one does.
        look("another", lambda: s.twin(0).save(s.folder / "another"))
        look("files", lambda: sorted(file.name for file in s.folder.iterdir()))
    for name, opt in (("opt", s.opt), ("made", s.made)):
        if isinstance(opt, fastopt.Optimizer):
            look_at(opt, name, s, look)
    return found


def state_in_file(s):
    opt = s.twin(0)
    opt.load(s.path())
    return opt.state_dict()


def look_at(opt, name, s, look):
    """What is seen of an optimizer, and what it does."""

    def look_now(when):
        look(f"{name}{when}.params", lambda: [list(group["params"]) for group in opt.param_groups])
        look(f"{name}{when}.state_dict()", opt.state_dict)
        look(f"{name}{when}.grad_norm", lambda: opt.grad_norm)
        look(f"{name}{when}.skipped_steps", lambda: opt.skipped_steps)
        if s.ema:
            look(f"{name}{when}.ema", lambda: opt.ema)

    def swapped():
        with opt.swap_ema():
            return [group["params"] for group in opt.param_groups]

    look_now("")
    if s.ema:
        look(f"{name}.swap_ema()", swapped)
        look_now(" after swap_ema()")
    rng = np.random.default_rng(2)
    arrays = [p for group in opt.param_groups for p in group["params"]]
    for i in range(3):
        gradients = [np.asarray(rng.normal(size=p.shape)).astype(p.dtype) for p in arrays]
        look(f"{name}.step({i})", lambda gradients=gradients: opt.step(gradients))
        look(f"{name}.step({i}) gradients", lambda gradients=gradients: gradients)
        look_now(f" after step({i})")
    look(f"{name}.step()", opt.step)
    look_now(" after step()")
    look(f"{name}.step() gradients", lambda: s.gradients)
