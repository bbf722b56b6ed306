"""Fixtures for all tests."""

import numpy as np
import pytest

import fastopt

BACKENDS = fastopt.backends()


@pytest.fixture(params=BACKENDS)
def backend(request):
    """Each backend that runs here."""
    return request.param


@pytest.fixture(params=[name for name in BACKENDS if name != "numpy"])
def compiled(request):
    """Each compiled backend that runs here: none on a pure NumPy install."""
    return request.param


@pytest.fixture
def opt(backend):
    """An optimizer of three parameters, after a step."""
    rng = np.random.default_rng(0)
    parameters = {"W": rng.normal(size=(2, 3)), "b": rng.normal(size=3), "last": rng.normal(size=(2, 3))}
    opt = fastopt.Adam(parameters, backend=backend)
    opt.step([np.ones((2, 3)), np.ones(3), np.ones((2, 3))])
    return opt


@pytest.fixture
def rng():
    """Random numbers, the same in every run."""
    return np.random.default_rng(0)
