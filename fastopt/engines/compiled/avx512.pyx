# The kernels for AVX-512.

include "kernels.pxi"
include "stages.pxi"
include "rules.pxi"
