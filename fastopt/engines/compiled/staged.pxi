# The options of the stages as the numbers of a step.


cdef class Staged:
    """The options of the stages, unpacked."""
    cdef StageNumbers numbers
    cdef object stages, ema_decay

    def __cinit__(self, stages):
        check_stages(stages)
        self.stages, self.ema_decay = stages, stages.ema_decay
        self.numbers.loss_scale, self.numbers.accumulate = stages.loss_scale, stages.accumulate
        self.numbers.accumulate_scale, self.numbers.accumulates = 1 / self.numbers.loss_scale, stages.accumulate > 1
        self.numbers.checks_finite = stages.nonfinite != "propagate"
        self.numbers.skips = stages.nonfinite == "skip"
        self.numbers.clip_norm = -1 if stages.clip_grad_norm is None else stages.clip_grad_norm
        self.numbers.clips_value = stages.clip_grad_value is not None
        if self.numbers.clips_value:
            self.numbers.clip_bound = stages.clip_grad_value
        self.numbers.keeps_ema = stages.ema_decay is not None
        self.numbers.zeroes, self.numbers.flushes = stages.zero_grads, stages.flush_subnormals
