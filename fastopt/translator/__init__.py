"""Makes compiled loops of formulas: ``python -m fastopt.translator`` writes _core/rules.pxi anew.

`reader` reads a formula and says what its loops are; `writer` writes them in Cython.
"""
