# The kernels for every processor of its kind.

include "kernels.pxi"
include "stages.pxi"
include "rules.pxi"
