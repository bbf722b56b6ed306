"""Makes compiled loops of formulas: ``python -m fastopt.rules.translate`` writes engines/compiled/rules.pxi anew.

`reader` reads a formula, whose `text` it finds and whose `expressions` it asks for their values, and says of which
`parts` its loops consist; `writer` writes them in Cython.
"""
