"""Following the cures of error messages literally: code in them stands between backticks."""

import re
from contextlib import contextmanager

import numpy as np
import pytest
from helpers import assert_unchanged, snapshot

CODE = re.compile(r"`([^`]+)`")
HINT = re.compile(r"did you mean '(\w+)'(?:, as in ([^?]+))?")
REFUSALS = (TypeError, ValueError, AttributeError)


@contextmanager
def refused(opt, *words, error=REFUSALS):
    """A list that gets the message of the error that is raised within; it holds these words, and nothing changed."""
    before, message = snapshot(opt), []
    with pytest.raises(error) as raised:
        yield message
    message.append(str(raised.value))
    for word in words:
        assert word in message[0]
    assert_unchanged(opt, before)


def made(message, **given):
    """What the code in a message makes of what was given, under its letter in that code."""
    (code,) = CODE.findall(message)
    if code.startswith(f"{next(iter(given))} = "):
        code = code.partition(" = ")[2]
    return eval(code, {"np": np, **given})


def options_in(message):
    """The options that a message says, in code or as a hint; a hint without a value has None."""
    if hint := HINT.search(message):
        return eval(f"dict({hint[2]})") if hint[2] else {hint[1]: None}
    (code,) = CODE.findall(message)
    return eval(f"dict({code})")


def followed(call, given, letter, opt, *words, refusals=1):
    """Make a call with what was given, and with what each of so many refusals makes of it; then it goes through.

    The first refusal holds these words. Returns what went through.
    """
    for number in range(refusals):
        with refused(opt, *(() if number else words)) as message:
            call(given)
        given = made(message[0], **{letter: given})
    call(given)
    return given


# Stand-ins for objects of other libraries: as far as fastopt looks at them, by the package and name of their type.


def stand_in(name, **attributes):
    package, _, name = name.partition(".")
    return type(name, (), {"__module__": package, **attributes})()


def array_like(name, dtype=np.float64, **attributes):
    """A maker of what NumPy makes an array of, read-only as JAX's or a copy."""

    def as_array(self, dtype=None, copy=None):
        values = np.array([1, 2, 3], dtype or self.dtype)
        values.flags.writeable = bool(copy)
        return values

    return lambda: stand_in(name, __array__=as_array, dtype=np.dtype(dtype), shape=(3,), **attributes)


def torch_tensor(**attributes):
    """Its methods give itself, and `numpy` its memory."""
    memory = np.ones(3)
    methods = dict.fromkeys(("detach", "cpu", "float"), lambda self: self)
    as_array = {"numpy": lambda self: memory, "__array__": lambda self, *_, **__: memory}
    return stand_in("torch.Tensor", **methods, **as_array, shape=(3,), **attributes)
