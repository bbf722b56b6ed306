"""What options and rules are called elsewhere: in Keras, optax, scikit-learn, PyTorch's utilities, and papers."""

from collections.abc import Iterable

_GROUPS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("learning_rate", "learning_rate_init", "step_size", "stepsize", "eta", "eta0", "schedule"): ("lr",),
    ("alpha",): ("rho", "lr"),
    ("rho",): ("alpha",),
    ("decay",): ("alpha", "rho", "lr_decay", "weight_decay"),
    ("weight_decay_rate", "wd", "l2"): ("weight_decay",),
    ("epsilon",): ("eps",),
    ("beta", "beta1", "beta_1", "b1"): ("betas", "momentum"),
    ("beta2", "beta_2", "b2", "beta3", "beta_3", "b3"): ("betas", "alpha", "rho"),
    ("momentum",): ("betas",),
    ("mu",): ("momentum",),
    ("nesterovs_momentum",): ("nesterov",),
    ("clipnorm", "clip_norm", "global_clipnorm", "max_norm", "max_grad_norm"): ("clip_grad_norm",),
    ("clip", "grad_clip"): ("clip_grad_norm", "clip_grad_value"),
    ("clipvalue", "clip_value"): ("clip_grad_value",),
    ("ema_momentum", "ema", "use_ema"): ("ema_decay",),
    ("gradient_accumulation_steps",): ("accumulate",),
}
# The options that each may stand for; of these a rule has some, or none.
SYNONYMS = {name: options for names, options in _GROUPS.items() for name in names}
# What is no option here.
_THREADS = "threads are set for all optimizers by fastopt.set_num_threads"
_PYTORCH = "it is PyTorch's, leave it out"
ELSEWHERE = {
    **dict.fromkeys(("threads", "num_threads", "n_jobs"), _THREADS),
    **dict.fromkeys(("foreach", "fused", "capturable", "differentiable"), _PYTORCH),
}
# Rules and functions of other libraries, in small letters: what does the same here.
NAMES = {
    "amsgrad": "it is Adam(params, amsgrad=True)",
    "momentum": "it is SGD(params, momentum=0.9)",
    "nesterov": "it is SGD(params, momentum=0.9, nesterov=True)",
    **dict.fromkeys(("clip_grad_norm", "clip_grad_norm_"), "it is an option of each rule, clip_grad_norm=1.0"),
    **dict.fromkeys(("clip_grad_value", "clip_grad_value_"), "it is an option of each rule, clip_grad_value=1.0"),
    **dict.fromkeys(
        ("nadam", "adamax", "radam", "adafactor", "asgd", "rprop"),
        "it is not among the rules; docs/writing-a-rule.md shows how to write one",
    ),
}
# What is not the same all the same.
REMARKS = {"clipnorm": ", which takes all gradients together"}


def absent(name: str, message: str) -> AttributeError:
    """The error for an attribute that is not there, to which Python adds no guess of its own."""
    error = AttributeError(message)
    error.name, error.obj = name, None  # Python guesses among the names of this object
    return error


def unknown_name(name: str, known: Iterable[str]) -> AttributeError:
    """The error for a name that the package does not have, with what may be meant."""
    found = f"fastopt has no {name!r}"
    small = name.lower()
    if small in NAMES:
        return absent(name, f"{found}; {NAMES[small]}")
    for one in known:
        if one.lower() == small:
            return absent(name, f"{found}; did you mean {one!r}?")
    return AttributeError(found)  # Python adds the nearest name
