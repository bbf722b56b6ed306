"""Random programs on one optimizer, right and wrong, on two backends side by side: both do the same, bit for bit."""

import argparse
import copy
import pickle
import sys
import time
import warnings

import numpy as np
from calls import falling, leaves
from cases import CASES

import fastopt

ACTIONS = 40  # of one program
EXPECTED = (TypeError, ValueError, RuntimeError, AttributeError, KeyError, ZeroDivisionError)


class Sub(np.ndarray):
    """A subclass of arrays."""


def broken(n):
    return 1 / 0


def negative(n):
    return -1.0


def unaligned(g):
    room = np.zeros(g.nbytes + 1, np.uint8)[1:].view(g.dtype).reshape(g.shape)
    room[...] = g
    return room


def holding(g, value):
    g.reshape(-1)[-1:] = value
    return g


# What becomes of a good gradient; the second argument is the program that it is for.
GRADIENTS = [
    *[lambda g, _: g] * 40,
    lambda g, _: None,
    lambda g, _: np.asfortranarray(g),
    lambda g, _: np.repeat(g, 2, axis=-1)[..., ::2] if g.ndim else g,
    lambda g, _: g[::-1] if g.ndim else g,
    lambda g, _: np.broadcast_to(g.dtype.type(0.5), g.shape),
    lambda g, _: g.view(Sub),
    lambda g, _: np.ma.masked_array(g),
    lambda g, _: g.astype(np.float16),
    lambda g, _: g.astype(np.float64),
    lambda g, _: g.astype(g.dtype.newbyteorder()),
    lambda g, _: g[..., None],
    lambda g, _: g.reshape(-1),
    lambda g, _: g.tolist(),
    lambda g, _: unaligned(g),
    lambda g, _: g.setflags(write=False) or g,
    lambda g, _: holding(g, np.nan),
    lambda g, _: holding(g, -np.inf),
    lambda g, _: holding(g, np.finfo(g.dtype).max),
    lambda g, _: holding(g, np.finfo(g.dtype).smallest_subnormal),
    lambda g, program: program.choice([*program.parameters(), g]),
    lambda g, program: program.choice([*program.state_arrays(), g]),
]
VALUES = [0.1, 0.5, 0.9, 0.0, 1, 2, 3, True, False, None, falling, (0.9, 0.99), 0.1, 0.5, 0.9]
BAD_VALUES = [-1.0, 1.5, np.nan, np.inf, "x", 1e300, 1e-300, np.float32(0.25), broken, negative, [0.9], "inside"]
STAGES = {
    "nonfinite": ["propagate", "skip", "raise", None, 1],
    "loss_scale": [1, 8.0, 3, 0, -1, np.nan, 2.0**130],
    "accumulate": [2, 1, 3, 0, True, 2.5],
    "clip_grad_norm": [None, 1.0, 0.1, np.inf, 0, -1, np.nan, "x"],
    "clip_grad_value": [None, 0.1, np.inf, 0, np.nan],
    "ema_decay": [0.5, None, 0.9, 1.0, -1],
    "zero_grads": [True, False, 1],
    "flush_subnormals": [True, False, None],
}


class Program:
    """One optimizer and the random numbers that say what is done with it: equal ones do equal things."""

    def __init__(self, seed, backend):
        self.rng = np.random.default_rng(seed)
        self.log = []
        self.bound = []
        rule, options = CASES[self.choice(list(CASES))]
        stages = {name: self.choice(values[:2]) for name, values in STAGES.items() if self.rng.random() < 0.4}
        self.named = self.rng.random() < 0.7
        shapes = [(), (0,), (3,), (2, 3), (40,), (5, 4, 3)]
        arrays = [self.array(self.choice(shapes)) for _ in range(self.rng.integers(1, 6))]
        # An array alone is a form of its own.
        groups = [{"params": self.with_names(part)} for part in (arrays[:2], arrays[2:]) if part]
        params = groups if self.rng.random() < 0.5 else self.with_names(arrays)
        self.log.append(f"{rule.__name__}(..., {options | stages})")
        self.opt = rule(params, backend=backend, **(options | stages))
        self.saved = [self.opt.state_dict()]

    def choice(self, options):
        return options[self.rng.integers(len(options))]

    def array(self, shape, dtype=None):
        array = np.asarray(self.rng.normal(size=shape)).astype(dtype or self.choice([np.float32, np.float64]))
        return np.asarray(array, order=self.choice(["C", "F"]))

    def with_names(self, arrays):
        return {f"p{self.rng.integers(10**9)}": p for p in arrays} if self.named else arrays

    def parameters(self):
        return [p for group in self.opt.param_groups for p in group["params"]]

    def names(self):
        return [name for group in self.opt.param_groups for name in group.get("param_names", ())]

    def state_arrays(self):
        return [x for state in self.opt.state for x in state.values() if isinstance(x, np.ndarray)]

    def gradients(self):
        """For all parameters, most of them in order, and in some form."""
        grads = [self.array(p.shape, p.dtype) for p in self.parameters()]
        if self.rng.random() < 0.4:
            grads = [self.choice(GRADIENTS)(g, self) for g in grads]
        if self.rng.random() < 0.1:
            grads[-1] = grads[0]
        if len(grads) > 1 and self.rng.random() < 0.05:
            grads = grads[1:]
        forms = [lambda grads: dict(zip(self.names(), grads, strict=False)) if self.named else grads] * 6
        forms += [list, tuple, iter, lambda grads: grads[0]]
        form = self.choice(forms)
        self.log[-1] += f" of {[g if g is None else getattr(g, 'strides', g) for g in grads]}"
        return grads, form(grads)

    # Actions

    def step(self):
        grads, given = self.gradients()
        try:
            self.opt.step(given)
        finally:
            self.log[-1] += f", {len(grads)} in all"
        return grads

    def bind(self):
        grads, given = self.gradients()
        self.opt.bind(given)
        self.bound = grads

    def step_bound(self):
        if not self.bound:
            self.bind()
        for g in self.bound:
            if g is not None and g.flags.writeable and not any(np.shares_memory(g, p) for p in self.parameters()):
                g += g.dtype.type(0.25)
        self.opt.step()
        return self.bound

    def set_option(self):
        group = self.choice(self.opt.param_groups)
        names = [*(name for name in group if name != "params"), "nosuch", "accumulate", "params"]
        changes = {self.choice(names): self.value() for _ in range(self.rng.integers(1, 3))}
        self.log[-1] += f" {changes}"
        group.update(changes)

    def set_all(self):
        name = self.choice([*type(self.opt)._options, "lr", "lr", "weight_decay"])
        value = self.value()
        self.log[-1] += f" {name}={value}"
        setattr(self.opt, name, value)

    def value(self):
        return self.choice(VALUES) if self.rng.random() < 0.7 else self.choice(BAD_VALUES)

    def set_stage(self):
        name = self.choice(list(STAGES))
        value = self.choice(STAGES[name])
        self.log[-1] += f" {name}={value}"
        setattr(self.opt, name, value)

    def save(self):
        self.saved.append(self.opt.state_dict())

    def load(self):
        self.opt.load_state_dict(self.choice(self.saved))

    def load_wrong(self):
        """With one entry, anywhere, changed or missing."""
        wrong = copy.deepcopy(self.choice(self.saved))
        place, where = wrong, []
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = self.choice(keys)
            where.append(key)
            if self.rng.random() < 0.2 or not isinstance(place[key], dict | list):
                if self.rng.random() < 0.3:
                    del place[key]
                else:
                    place[key] = self.choice([*VALUES, *BAD_VALUES, np.ones(3), {}, []])
                break
            place = place[key]
        self.log[-1] += f" at {where}"
        self.opt.load_state_dict(wrong)

    def add_group(self):
        params = [self.array(self.choice([(), (3,), (2, 5)])) for _ in range(self.rng.integers(0, 3))]
        if self.rng.random() < 0.3:
            params.append(self.choice([self.parameters()[0], np.ones(3, int), np.ones((4, 4))[::2, ::2], "x", None]))
        group = {"params": self.with_names(params)}
        if self.rng.random() < 0.5:
            group[self.choice(["lr", "weight_decay", "nosuch", "eps"])] = self.value()
        self.opt.add_param_group(group)
        self.bound = []

    def swap(self):
        with self.opt.swap_ema():
            action = self.choice([self.step, self.bind, self.set_option, self.set_stage, self.save, self.load])
            try:
                action()
            except Exception as error:
                return str(error)

    def freeze(self):
        """Make a parameter read-only, or no longer."""
        p = self.choice(self.parameters())
        p.flags.writeable = not p.flags.writeable

    def thaw(self):
        for p in self.parameters():
            p.flags.writeable = True

    def copied(self):
        self.opt, self.bound = copy.deepcopy(self.opt), []

    def pickled(self):
        self.opt, self.bound = pickle.loads(pickle.dumps(self.opt)), []

    def view(self):
        """All that can be seen of the optimizer, in a form that can be compared."""
        opt = self.opt
        found = {"parameters": self.parameters(), "state": opt.state_dict(), "repr": repr(opt).split("\n")[1:]}
        found |= {"norm": opt.grad_norm, "skipped": opt.skipped_steps, "saved": self.saved, "bound": self.bound}
        found["ema"] = opt.ema if opt.ema_decay is not None else None
        return dict(leaves("", found))


PROGRAM = [Program.step] * 10 + [Program.thaw] * 4
PROGRAM += [Program.bind, Program.step_bound, Program.step_bound, Program.save, Program.load, Program.load_wrong]
PROGRAM += [Program.set_option, Program.set_all, Program.set_stage, Program.set_stage, Program.add_group]
PROGRAM += [Program.swap, Program.freeze, Program.copied, Program.pickled]


def act(program, action):
    """Do one thing: what it returned or raised, and the view then. A refused one must not have changed anything."""
    before = program.view()
    program.log.append(action.__name__)
    try:
        result = dict(leaves("returned", action(program)))
    except EXPECTED as error:
        result = {"raised": f"{type(error).__name__}: {error}"}
        after = program.view()
        # The program itself adds to what is bound.
        changed = [key for key in before if after.get(key) != before[key] and not key.startswith("['bound']")]
        if changed:
            result["changed all the same"] = changed
    program.log[-1] += f": {result.get('raised', 'done')}"
    return result


def run(seed, backends):
    """One program: what went wrong, or None."""
    first, second = (Program(seed, backend) for backend in backends)
    for i in range(ACTIONS):
        action = PROGRAM[np.random.default_rng([seed, i]).integers(len(PROGRAM))]
        one, two = act(first, action), act(second, action)
        differing = [key for key in one if two.get(key) != one[key]] or [key for key in two if key not in one]
        mine, theirs = first.view(), second.view()
        differing += [key for key in mine if theirs.get(key) != mine[key]]
        if differing or "changed all the same" in one:
            what = {key: (one.get(key, mine.get(key)), two.get(key, theirs.get(key))) for key in differing[:5]}
            log = "\n  ".join(first.log)
            return f"{what or one}, last of\n  {log}"
    return None


def fuzz(seed, seconds, backends):
    """Programs from a seed on, for so long: how many, and the seeds and descriptions of those that went wrong."""
    wrong, end, count = {}, time.monotonic() + seconds, 0
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of NumPy, about what the programs themselves compute
        while time.monotonic() < end:
            what = run(seed + count, backends)
            if what:
                wrong[seed + count] = what
            count += 1
    return count, wrong


def main():
    """Run from the command line; 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the first program")
    parser.add_argument("--backends", default=f"numpy,{fastopt.backends()[0]}", help="two, with a comma")
    given = parser.parse_args()
    count, wrong = fuzz(given.seed, given.seconds, given.backends.split(","))
    for seed, what in list(wrong.items())[:10]:
        print(f"seed {seed}: {what}")
    print(f"{count} programs from seed {given.seed}, {len(wrong)} of which went wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
