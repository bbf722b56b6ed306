"""The stages around a rule: all backends and thread counts compute them with the same bits."""

from functools import cache

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from helpers import ALL_STAGES, assert_same_bits, assert_same_optimizer, outcome, small_problem
from hypothesis import given, settings
from hypothesis import strategies as st

import fastopt
from fastopt.engines.shared import CAN_FLUSH
from fastopt.rules import VARIANTS

COMBINATIONS = {
    "none": {},
    **{name: {name: value} for name, value in ALL_STAGES.items()},
    "all": ALL_STAGES,
    "all but accumulate": {**ALL_STAGES, "accumulate": 1},
    "norm and value": {"clip_grad_norm": 0.5, "clip_grad_value": 1e-2},
    "accumulate and zero": {"accumulate": 3, "zero_grads": True, "ema_decay": 0.5},
    "raise": {"nonfinite": "raise", "clip_grad_norm": 1.0, "loss_scale": 0.5},
}
if CAN_FLUSH:
    COMBINATIONS["flush"] = {"flush_subnormals": True}
    COMBINATIONS["all, flush"] = {**ALL_STAGES, "flush_subnormals": True}


def assert_same_outcome(mine, theirs):
    assert_same_optimizer(mine[0], theirs[0])
    for actual, expected in zip(mine[1], theirs[1], strict=True):
        if isinstance(expected, str):
            assert actual == expected
            continue
        assert_same_bits(np.float64(actual[0] or 0), np.float64(expected[0] or 0))
        assert actual[1] == expected[1]
        for g, h in zip(actual[2], expected[2], strict=True):
            assert (g is None) == (h is None)
            if g is not None:
                assert_same_bits(g, h)


@pytest.mark.parametrize("name", ["Adam", "AMSGrad", "Nesterov", "LAMB", "LARS"])
@pytest.mark.parametrize("combination", COMBINATIONS)
def test_same_bits(combination, name, compiled):
    def run(backend):
        parameters, gradients = small_problem()
        rule, options = VARIANTS[name]
        groups = [{"params": parameters[:3]}, {"params": parameters[3:], "weight_decay": 0.1, "maximize": True}]
        return outcome(rule(groups, **options, backend=backend, **COMBINATIONS[combination]), gradients)

    assert_same_outcome(run(compiled), run("numpy"))


def run_large(name, stages, backend):
    """Steps on enough bytes that 7 threads all take part: each takes 2 MiB."""
    rng = np.random.default_rng(1)
    rule, options = VARIANTS[name]
    parameters = [rng.normal(size=n).astype(d) for n, d in ((900_001, "f4"), (5, "f4"), (450_000, "f8"), (2000, "f8"))]
    opt = rule(parameters, **options, backend=backend, **stages)
    gradients = [[rng.normal(size=p.size).astype(p.dtype) for p in parameters] for _ in range(3)]
    return outcome(opt, gradients)


@cache
def large_reference(name, combination):
    return run_large(name, COMBINATIONS[combination], "numpy")


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("combination", COMBINATIONS)
def test_same_bits_in_threads(combination, threads, compiled):
    name = "LAMB" if "all" in combination else "Adam"
    with fastopt.num_threads(threads):
        mine = run_large(name, COMBINATIONS[combination], compiled)
    assert_same_outcome(mine, large_reference(name, combination))


@pytest.mark.parametrize("threads", [2, 7])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_rule_in_threads(name, threads, compiled):
    with fastopt.num_threads(threads):
        mine = run_large(name, {}, compiled)
    assert_same_outcome(mine, large_reference(name, "none"))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]))
def test_same_bits_property(data, dtype):
    stages = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "clip_grad_norm": st.floats(1e-6, 1e6) | st.just(np.inf),
                "clip_grad_value": st.floats(1e-6, 1e6),
                "loss_scale": st.floats(1e-6, 1e6),
                "nonfinite": st.sampled_from(["propagate", "skip", "raise"]),
                "ema_decay": st.floats(0, 0.999),
                "zero_grads": st.booleans(),
                "accumulate": st.integers(1, 3),
            },
        )
    )
    name = data.draw(st.sampled_from(["Adam", "LAMB", "LARS", "SGD"]))
    shapes = [data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=80)) for _ in range(2)]
    arrays = [hnp.arrays(dtype, shape, elements=hnp.from_dtype(np.dtype(dtype))) for shape in shapes]
    parameters = [data.draw(one) for one in arrays]
    gradients = data.draw(st.lists(st.tuples(*(st.none() | one for one in arrays)), min_size=1, max_size=4))

    def run(backend):
        rule, options = VARIANTS[name]
        return outcome(rule([p.copy() for p in parameters], **options, backend=backend, **stages), gradients)

    reference = run("numpy")
    for backend in fastopt.backends():
        assert_same_outcome(run(backend), reference)
