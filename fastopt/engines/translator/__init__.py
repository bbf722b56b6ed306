"""Makes compiled loops of formulas: ``python -m fastopt.engines.translator`` writes engines/compiled/rules.pxi anew.

`reader` reads a formula and says of which `parts` its loops consist; `writer` writes them in Cython.
"""
