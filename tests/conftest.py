"""Fixtures for all tests."""

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
