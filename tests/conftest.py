"""Fixtures for all tests."""

import sys

import numpy as np
import own_rules
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


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A cache folder for the compiled rules of the tests."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):  # which platformdirs looks at
            patch.setenv(name, str(folder))
        if sys.platform == "darwin":
            patch.setenv("HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def compiled_rules(cache):
    for rule in own_rules.RULES:
        assert fastopt.compile(rule) is rule
