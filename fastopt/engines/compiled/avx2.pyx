# The kernels for AVX2.

include "kernels.pxi"
include "stages.pxi"
include "rules.pxi"
