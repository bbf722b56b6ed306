"""Makes compiled loops of formulas: ``python -m fastopt.translator`` writes _core/rules.pxi anew.

`reader` reads a formula and says of which `parts` its loops consist; `writer` writes them in Cython.
"""
