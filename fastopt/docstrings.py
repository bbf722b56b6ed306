"""What the docstrings of all rules share: each text stands in them as its name in braces.

A text may hold the names of those that follow it.
"""

import inspect

_TEXTS = {
    "params": """\
params : ndarray, arrays nested in lists, tuples and mappings, or iterable of dict
    The parameters, updated in place: float32 or float64 arrays of any shape, C- or F-contiguous, aligned, native
    byte order, writeable, no two sharing memory. ``(name, array)`` pairs are a mapping too. Names are those of a
    mapping or of a named tuple, and in nestings paths, as in ``"encoder.0.W"``. Dicts that all have ``"params"`` are
    parameter groups: under it they have parameters in any of the other forms, and beside it the options that differ
    in the group.""",
    "lr": """\
    The learning rate, not negative; or a function that returns it, given the number of updates that the optimizer
    has made before: 0 at the first.""",
    "decay": """\
    Not negative. Coupled (L2) decay adds ``weight_decay*p`` to the gradient: ``l2 = weight_decay``, ``keep = 1``.
    Decoupled decay shrinks the parameter itself: ``l2 = 0``, ``keep = 1 - lr*weight_decay``.""",
    "common": """\
{frame}
nonfinite, loss_scale, accumulate, clip_grad_norm, clip_grad_value, ema_decay, zero_grads, flush_subnormals : stages
    What surrounds the rule in a step, the same for all groups. `Optimizer` explains each of them.
{backend}""",
    "frame": """\
maximize : bool, default False
    Ascend instead of descending: ``s = -1``. Otherwise ``s = 1``.
decoupled_weight_decay : bool
    Whether `weight_decay` is decoupled; the signature has the default.""",
    "backend": """\
backend : str, optional
    One of `fastopt.backends()`. By default the first of them, or the one that FASTOPT_BACKEND names.
state_memory : callable, optional
    Gives the memory for state arrays, such as shared memory or a memory map:
    ``state_memory(label, name, size, dtype)`` returns a flat array of that size and dtype, for the state ``name`` of
    the parameter that messages call ``label``, as in ``"parameter 'W'"``. The initial values are written into it.
    Copies of the optimizer have ordinary memory.""",
    "raises": """\
TypeError
    A parameter or an option has a wrong kind or dtype, or an argument is unknown.
ValueError
    There are no parameters, a parameter's layout cannot be used, two parameters share memory, an option is out of its
    range or, in a group's dict, unknown, or the backend is not available here.""",
}


def completed(docstring: str) -> str:
    """A docstring without its indentation, and with the texts in their places."""
    docstring = inspect.cleandoc(docstring)
    for name, text in _TEXTS.items():
        docstring = docstring.replace(f"{{{name}}}\n", f"{text}\n")
    return docstring
