include "kernels.pxi"
include "stages.pxi"
include "rules.pxi"
