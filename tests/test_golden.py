"""The reference against other libraries: golden/make.py made the values with PyTorch, Keras and optax."""

import json
from pathlib import Path

import numpy as np
import pytest
from cases import CASES

GOLDEN = json.loads((Path(__file__).parent / "golden" / "golden.json").read_text())


def test_every_case_has_golden_values():
    assert list(GOLDEN["expected"]) == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    rule, options = CASES[name]
    p = np.array(GOLDEN["start"])
    opt = rule([p], **options, backend="numpy")
    for g, expected in zip(GOLDEN["gradients"], GOLDEN["expected"][name], strict=True):
        opt.step([np.array(g)])
        # Other libraries round in another order: some units in the last place of a double, no more.
        np.testing.assert_allclose(p, expected, rtol=1e-12, atol=1e-12)
