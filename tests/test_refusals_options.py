"""Options that are refused: the message names the option and what was found, and what it allows is taken."""

import math

import numpy as np
import pytest
from refusals import REFUSALS, options_in, refused

import fastopt
from fastopt import options
from fastopt.rules import VARIANTS
from fastopt.stages import STAGE_NAMES
from fastopt.synonyms import ELSEWHERE, SYNONYMS

# For each check what is wrong, the words for it, and whether a value is as they say.
WRONG = {
    options.number: [
        (-1.0, "must be finite and not negative", lambda x: 0 <= x < math.inf),
        (math.nan, "must be finite and not negative", lambda x: 0 <= x < math.inf),
        ("much", "expected a number, found 'much'", lambda x: isinstance(x, float)),
    ],
    options.rate: [
        (-1.0, "must be finite and not negative", lambda x: 0 <= x < math.inf),
        (None, "expected a number or a function of the number of updates", lambda x: callable(x) or x >= 0),
    ],
    options.fraction: [(1.0, "must be in [0, 1)", lambda x: 0 <= x < 1), (None, "expected a number", math.isfinite)],
    options.flag: [(1, "expected True or False", lambda x: x in (True, False))],
    options.scale: [(0.0, "must be positive, from 2**-126 to 2**126", lambda x: 2**-126 <= x <= 2**126)],
    options.count: [
        (0, "must be from 1 to 2**31 - 1", lambda x: 1 <= x < 2**31),
        (1.5, "expected an integer", lambda x: isinstance(x, int)),
    ],
}
# These are None by default, and may be set to a number.
OPTIONAL = {
    "clip_grad_norm": [(0.0, "must be positive, from 2**-126", 1.0), ("much", "expected a number or None", None)],
    "clip_grad_value": [(-1.0, "must be positive, from 2**-126", 1.0), ("much", "expected a number or None", None)],
    "ema_decay": [(1.0, "in [0, 1)", 0.5), ("much", "expected a number", None)],
}


def wrong_values(option, good):
    """What an option refuses: values, words, and a value that is as they say."""
    if option.name in OPTIONAL:
        return OPTIONAL[option.name]
    if isinstance(good, str):
        return [("no", "must be one of", good), (3, "expected one of", good)]
    if isinstance(good, tuple):
        short = (good[:-1], "expected a pair of numbers" if len(good) == 2 else f"expected {len(good)} numbers", good)
        return [short, ((1.5, *good[1:]), "[0]: 1.5 was given; it must be in [0, 1)", good)]
    cases = WRONG[option.check]
    assert all(fits(good) for *_, fits in cases)
    return [(value, words, good) for value, words, _ in cases]


def names_what_was_found(message, option, value):
    assert message.startswith(option)
    assert any(repr(x) in message for x in (value if isinstance(value, tuple) else [value]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_option_of_every_variant(variant):
    rule, given = VARIANTS[variant]
    opt = rule([np.ones(2)], **given)
    for name, option in rule._options.items():
        for value, words, good in wrong_values(option, getattr(opt, name)):
            calls = [lambda x, name=name: rule([np.ones(2)], **given | {name: x})]
            calls.append(lambda x, name=name: setattr(opt, name, x))
            if name not in STAGE_NAMES:
                calls.append(lambda x, name=name: opt.param_groups[0].update({name: x}))
                calls.append(lambda x, name=name: opt.add_param_group({"params": np.ones(2), name: x}))
            for call in calls:
                with refused(opt, words) as message:
                    call(value)
                names_what_was_found(message[0], name, value)
            for call in calls[: 1 if good != getattr(opt, name) else 3]:
                call(good)


# Names from elsewhere

# But `ema`, which is another attribute of an optimizer.
FOREIGN = [
    (rule, name)
    for rule in dict.fromkeys(rule for rule, _ in VARIANTS.values())
    for name in SYNONYMS
    if name != "ema" and name not in rule._options and not rule._options.keys().isdisjoint(SYNONYMS[name])
]


@pytest.mark.parametrize(("rule", "name"), FOREIGN)
def test_names_of_other_libraries(rule, name):
    opt = rule([np.ones(2)])
    with refused(opt, f"{rule.__name__}: unknown option {name!r}; did you mean '") as message:
        rule([np.ones(2)], **{name: 0.5})
    with refused(opt, f"{name}: {rule.__name__} has no such option; did you mean '") as of_attribute:
        setattr(opt, name, 0.5)
    assert options_in(message[0]) == options_in(of_attribute[0])
    ((meant, value),) = options_in(message[0]).items()
    value = getattr(opt, meant) if value is None else value
    rule([np.ones(2)], **{meant: value})
    setattr(opt, meant, value)
    with refused(opt, f"{rule.__name__}: unknown option {name!r}; ", repr(meant)) as message:
        rule([{"params": [np.ones(2)], name: 0.5}])
    if meant in STAGE_NAMES:
        assert f"{meant!r} is a stage, the same for all groups; set it in the optimizer" in message[0]
    else:
        rule([{"params": [np.ones(2)], meant: value}])


@pytest.mark.parametrize(
    ("rule", "name", "meant"),
    [
        (fastopt.SGD, "learning_rate", {"lr": None}),
        (fastopt.SGD, "beta", {"momentum": None}),
        (fastopt.SGD, "ema", {"ema_decay": None}),
        (fastopt.SGD, "max_norm", {"clip_grad_norm": None}),
        (fastopt.SGD, "clipvalue", {"clip_grad_value": None}),
        (fastopt.Adam, "epsilon", {"eps": None}),
        (fastopt.Adam, "alpha", {"lr": None}),
        (fastopt.Adam, "beta_1", {"betas": (0.9, 0.999)}),
        (fastopt.Adan, "b3", {"betas": (0.98, 0.92, 0.99)}),
        (fastopt.AdamW, "weight_decay_rate", {"weight_decay": None}),
        (fastopt.RMSprop, "rho", {"alpha": None}),
    ],
)
def test_what_names_of_other_libraries_mean(rule, name, meant):
    with refused(rule([np.ones(2)]), name) as message:
        rule([np.ones(2)], **{name: 0.5})
    assert options_in(message[0]) == meant


def test_names_that_may_be_several():
    opt = fastopt.RMSprop([np.ones(2)])
    with refused(opt, "did you mean 'alpha' or 'weight_decay'?"):
        fastopt.RMSprop([np.ones(2)], decay=0.9)
    with refused(opt, "did you mean 'clip_grad_norm' or 'clip_grad_value'?"):
        fastopt.RMSprop([np.ones(2)], grad_clip=1.0)
    with refused(opt, "did you mean 'clip_grad_norm', which takes all gradients together?"):
        fastopt.RMSprop([np.ones(2)], clipnorm=1.0)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_no_option_here(name):
    opt = fastopt.SGD([np.ones(2)])
    for params, given in (([np.ones(2)], {name: 1}), ([{"params": np.ones(2), name: 1}], {})):
        with refused(opt, f"SGD: unknown option {name!r}; {ELSEWHERE[name]}"):
            fastopt.SGD(params, **given)
    by_name = fastopt.SGD({"W": np.ones(2)})
    with refused(by_name, f"grads: there is no parameter {name!r}; there are W"):
        by_name.step({"W": np.ones(2), name: np.ones(2)})


def test_every_synonym_is_of_an_option():
    known = {name for rule, _ in VARIANTS.values() for name in rule._options}
    assert {name for names in SYNONYMS.values() for name in names} <= known
    assert {name for _, name in FOREIGN} == set(SYNONYMS) - {"ema"}


def test_attributes_of_ones_own_are_left_alone():
    opt = fastopt.Adam([np.ones(2)])
    opt.history = []
    opt.rho = 0.5  # which stands for no option of Adam's
    assert (opt.history, opt.rho) == ([], 0.5)


# Options that are wrong together: the cure is code

TOGETHER = [
    ({"nesterov": True}, "nesterov: it needs momentum, found 0"),
    ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "dampening: nesterov allows none, found 0.1"),
    (
        {"nesterov": True, "momentum": 0.9, "momentum_form": "ema"},
        "nesterov: it is not defined for momentum_form 'ema'",
    ),
    ({"momentum": 0.9, "momentum_form": "velocity", "dampening": 0.5}, "only momentum_form 'torch' has it, found 0.5"),
    ({"momentum": 0.9, "momentum_form": "ema", "dampening": 0.5}, "only momentum_form 'torch' has it, found 0.5"),
    ({"momentum": 1.5, "momentum_form": "ema"}, "momentum: momentum_form 'ema' needs it in [0, 1), found 1.5"),
]


@pytest.mark.parametrize(("given", "words"), TOGETHER)
def test_options_together(given, words):
    opt = fastopt.SGD([np.ones(2)])
    with refused(opt, words, error=REFUSALS) as message:
        fastopt.SGD([np.ones(2)], **given)
    cured = {"momentum": 0.5} if "needs it in [0, 1)" in words else options_in(message[0])
    fastopt.SGD([np.ones(2)], **given | cured)
