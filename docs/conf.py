"""The site: ``sphinx-build -W docs docs/_build``, with the extra ``docs`` and Python 3.11 or later."""

from pathlib import Path

import tomllib

import fastopt

project = "fastopt"
author = "The fastopt developers"
copyright = "The fastopt developers"
version = release = fastopt.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["_build"]
nitpicky = True
default_role = "code"
myst_heading_anchors = 3

autodoc_typehints = "none"  # docstrings say it in words
numpydoc_show_class_members = False  # api.md lists them
_pyproject = tomllib.loads(Path(__file__).parent.with_name("pyproject.toml").read_text())
_validation = _pyproject["tool"]["numpydoc_validation"]
numpydoc_validation_checks = set(_validation["checks"])
numpydoc_validation_exclude = set(_validation["exclude"])

html_theme = "pydata_sphinx_theme"
html_title = f"fastopt {release}"
html_show_sourcelink = False
html_sidebars = {"**": []}  # the pages are few: the bar at the top has them all
html_theme_options = {
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "show_prev_next": False,
    "show_toc_level": 2,
}
