"""Options and backends that are refused: an error says which and why, and nothing changed afterwards."""

import numpy as np
import pytest
from helpers import assert_unchanged, snapshot

import fastopt

# Options

OPTIONS = [
    (fastopt.SGD, {"lr": -1e-3}, ValueError, "lr: -0.001 was given; it must be finite and not negative"),
    (fastopt.SGD, {"lr": float("nan")}, ValueError, "lr: nan was given"),
    (fastopt.SGD, {"lr": float("inf")}, ValueError, "lr: inf was given"),
    (
        fastopt.SGD,
        {"lr": "0.1"},
        TypeError,
        "lr: expected a number or a function of the number of updates, found '0.1'",
    ),
    (fastopt.SGD, {"lr": 10**400}, ValueError, "lr: inf was given"),
    (fastopt.SGD, {"lr": None}, TypeError, "lr: expected a number or a function of the number of updates, found None"),
    (fastopt.SGD, {"lr": 1j}, TypeError, "lr: expected a number"),
    (fastopt.SGD, {"lr": np.array([0.1])}, TypeError, "lr: expected a number"),
    (fastopt.SGD, {"momentum": -0.9}, ValueError, "momentum: -0.9 was given"),
    (fastopt.SGD, {"momentum": 0.9, "dampening": float("inf")}, ValueError, "dampening: inf was given"),
    (fastopt.SGD, {"weight_decay": -1}, ValueError, "weight_decay: -1.0 was given"),
    (fastopt.SGD, {"nesterov": True}, ValueError, "nesterov: it needs momentum"),
    (fastopt.SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, ValueError, "dampening: nesterov allows none"),
    (fastopt.SGD, {"nesterov": True, "momentum": 0.9, "momentum_form": "ema"}, ValueError, "nesterov: .* 'ema'"),
    (fastopt.SGD, {"momentum": 1.5, "momentum_form": "ema"}, ValueError, "momentum: momentum_form 'ema' needs it in"),
    (fastopt.SGD, {"momentum": 0.9, "momentum_form": "velocity", "dampening": 0.5}, ValueError, "dampening: only"),
    (fastopt.SGD, {"momentum_form": "heavy"}, ValueError, "'heavy' was given; it must be one of 'torch'"),
    (fastopt.SGD, {"momentum_form": 3}, TypeError, "momentum_form: expected one of"),
    (fastopt.SGD, {"nesterov": 1, "momentum": 0.9}, TypeError, "nesterov: expected True or False, found 1"),
    (fastopt.SGD, {"maximize": "yes"}, TypeError, "maximize: expected True or False, found 'yes'"),
    (fastopt.Adagrad, {"lr_decay": -1}, ValueError, "lr_decay: -1.0 was given"),
    (fastopt.Adagrad, {"initial_accumulator_value": -1}, ValueError, "initial_accumulator_value: -1.0 was given"),
    (fastopt.Adagrad, {"eps": -1}, ValueError, "eps: -1.0 was given"),
    (fastopt.Adagrad, {"eps_placement": "uncorrected"}, ValueError, "eps_placement: 'uncorrected' was given"),
    (fastopt.Adadelta, {"rho": 1}, ValueError, r"rho: 1.0 was given; it must be in \[0, 1\)"),
    (fastopt.RMSprop, {"alpha": 1.1}, ValueError, "alpha: 1.1 was given"),
    (fastopt.RMSprop, {"momentum_form": "ema"}, ValueError, "momentum_form: 'ema' was given"),
    (fastopt.RMSprop, {"centered": None}, TypeError, "centered: expected True or False"),
    (fastopt.Adam, {"betas": (0.9, 1.0)}, ValueError, r"betas\[1\]: 1.0 was given; it must be in \[0, 1\)"),
    (fastopt.Adam, {"betas": (-0.1, 0.999)}, ValueError, r"betas\[0\]: -0.1 was given"),
    (fastopt.Adam, {"betas": (0.9, float("nan"))}, ValueError, r"betas\[1\]: nan was given"),
    (fastopt.Adam, {"betas": 0.9}, TypeError, "betas: expected a pair of numbers, found 0.9"),
    (fastopt.Adam, {"betas": {0.9, 0.999}}, TypeError, "betas: expected a pair of numbers"),
    (fastopt.Adam, {"betas": (0.9, 0.99, 0.999)}, TypeError, "betas: expected a pair"),
    (fastopt.Adam, {"betas": ("a", 0.9)}, TypeError, r"betas\[0\]: expected a number"),
    (fastopt.Adam, {"eps": float("inf")}, ValueError, "eps: inf was given"),
    (fastopt.Adam, {"eps_placement": "in"}, ValueError, "eps_placement: 'in' was given"),
    (fastopt.AdamW, {"weight_decay": float("nan")}, ValueError, "weight_decay: nan was given"),
]


@pytest.mark.parametrize(("rule", "options", "error", "message"), OPTIONS)
def test_options(rule, options, error, message):
    with pytest.raises(error, match=message):
        rule([np.ones(2)], **options)
    with pytest.raises(error, match=message):
        rule([{"params": [np.ones(2)], **options}])


@pytest.mark.parametrize(("rule", "options", "error", "message"), OPTIONS)
def test_options_of_a_live_group(rule, options, error, message, backend):
    start = {"momentum": 0.9} if options.get("momentum") else {}
    opt = rule([np.ones(2)], **start, backend=backend)
    before = snapshot(opt)
    with pytest.raises(error, match=message):
        opt.param_groups[0].update(options)
    assert_unchanged(opt, before)
    opt.step([np.ones(2)])


def test_unknown_options(backend):
    with pytest.raises(TypeError, match="Adam: unknown option 'beta'; did you mean 'betas'"):
        fastopt.Adam([np.ones(2)], beta=(0.9, 0.99), backend=backend)
    with pytest.raises(TypeError, match="SGD: unknown option 'nestrov'; did you mean 'nesterov'"):
        fastopt.SGD([np.ones(2)], nestrov=True, backend=backend)
    opt = fastopt.Adam([np.ones(2)], backend=backend)
    before = snapshot(opt)
    with pytest.raises(ValueError, match="Adam: unknown option 'learning_rate'"):
        opt.param_groups[0]["learning_rate"] = 0.1
    with pytest.raises(ValueError, match="params: the parameters of a group cannot be replaced"):
        opt.param_groups[0]["params"] = [np.ones(2)]
    with pytest.raises(TypeError, match="lr: an option cannot be removed"):
        del opt.param_groups[0]["lr"]
    assert_unchanged(opt, before)


@pytest.mark.parametrize(
    ("rule", "start", "change"),
    [
        (fastopt.SGD, {}, {"momentum": 0.9}),
        (fastopt.SGD, {"momentum": 0.9}, {"momentum": 0.0}),
        (fastopt.RMSprop, {}, {"centered": True}),
        (fastopt.Adam, {}, {"amsgrad": True}),
        (fastopt.Adagrad, {}, {"initial_accumulator_value": 1.0}),
    ],
)
def test_options_that_need_other_state(rule, start, change, backend):
    opt = rule([np.ones(2)], **start, backend=backend)
    before = snapshot(opt)
    with pytest.raises(ValueError, match=f"{next(iter(change))}: this would need other state arrays"):
        opt.param_groups[0].update(change)
    assert_unchanged(opt, before)


@pytest.mark.parametrize(
    ("lr", "error", "message"),
    [
        (lambda n: -0.1, ValueError, "lr: -0.1 was given by its function, called with 1"),
        (lambda n: float("nan"), ValueError, "lr: nan was given by its function, called with 1"),
        (lambda n: None, TypeError, "lr: expected a number, found None by its function, called with 1"),
        (lambda n: 1j, TypeError, "lr: expected a number, found 1j by its function"),
        (lambda n: True, TypeError, "lr: expected a number, found True by its function"),
        (lambda n: np.array(True), TypeError, "lr: expected a number"),
        (lambda n: np.array(1j), TypeError, "lr: expected a number"),
        (lambda n: np.array("1"), TypeError, "lr: expected a number"),
        (lambda n: np.timedelta64(3, "s"), TypeError, "lr: expected a number"),
        (lambda n: np.zeros((), dtype=[("point", "f4")]), TypeError, "lr: expected a number"),
        (lambda n: np.array([0.1]), TypeError, "lr: expected a number"),
        (lambda n: 1 / 0, ZeroDivisionError, "division"),
    ],
)
def test_bad_learning_rates(lr, error, message, opt):
    opt.param_groups[0]["lr"] = lr
    before = snapshot(opt)
    with pytest.raises(error, match=message):
        opt.step([np.ones((2, 3)), np.ones(3), np.ones((2, 3))])
    assert_unchanged(opt, before)


def test_learning_rate_that_meddles(opt):
    """A learning rate's function is called in the middle of a step; there it may look, but not change."""
    attempts = []

    def meddle(n):
        group = opt.param_groups[0]
        for attempt in (
            lambda: opt.step([None] * 3),
            lambda: group.update(lr=0.5),
            lambda: opt.add_param_group({"params": np.ones(2)}),
            opt.state_dict,
            lambda: opt.load_state_dict({}),
        ):
            with pytest.raises(RuntimeError, match="in the middle of a step"):
                attempt()
            attempts.append(attempt)
        return 0.1

    opt.param_groups[0]["lr"] = meddle
    opt.step([np.ones((2, 3)), np.ones(3), np.ones((2, 3))])
    assert len(attempts) == 5
    assert [state["step"] for state in opt.state] == [2, 2, 2]


# Backends


def test_unknown_backends():
    with pytest.raises(ValueError, match="backend: there is no backend 'avx'; did you mean 'avx2'"):
        fastopt.SGD([np.ones(2)], backend="avx")
    with pytest.raises(TypeError, match="backend: expected the name of a backend, found 2"):
        fastopt.SGD([np.ones(2)], backend=2)


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (fastopt.SGD, {"lr": 1e39}),
        (fastopt.SGD, {"weight_decay": 1e39}),
        (fastopt.RMSprop, {"momentum": 1e39}),
        (fastopt.AdamW, {"lr": 1e30, "weight_decay": 1e30}),
        (fastopt.Adam, {"eps": 1e39}),
        (fastopt.Adam, {"lr": lambda n: 1e39}),
        (fastopt.LARS, {"trust_coefficient": 1e39}),
    ],
)
def test_factors_that_the_dtype_cannot_hold(rule, options, backend):
    wide, narrow = np.ones(2), np.ones(2, dtype=np.float32)
    opt = rule([{"params": [wide]}, {"params": [narrow]}], **options, backend=backend)
    before = snapshot(opt)
    for _ in range(2):
        opt.step([None, None])
        with pytest.raises(ValueError, match="group 1: at step 1 its options make a factor that float32 cannot hold"):
            opt.step([np.ones(2), np.ones(2, dtype=np.float32)])
    assert_unchanged(opt, before)
    opt.step([np.ones(2), None])


def test_state_that_cannot_start_there(backend):
    with pytest.raises(ValueError, match="parameter 0: its state 'sum' cannot start at 1e\\+39 in float32"):
        fastopt.Adagrad(np.ones(2, dtype=np.float32), initial_accumulator_value=1e39, backend=backend)
