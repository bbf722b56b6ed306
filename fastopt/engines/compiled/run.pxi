# The second half of a step: what happens once everything is checked. Nothing in it can fail.

cdef int threads = 1  # that a step may use


cdef int threads_for(Py_ssize_t size) noexcept nogil:
    """How many threads pay for work on this many bytes; below 2 there is no work for helpers."""
    return <int>min(<Py_ssize_t>threads, size // THREAD_BYTES)


cdef struct Totals:
    # As the Python class of this name has them in its array.
    int64_t updates, calls, skipped_steps
    double norm


cdef class Runner(GradientChecks):
    """Runs the passes of a step."""
    cdef Totals* totals
    cdef Tensor** owners  # those whose own numbers a step has computed
    cdef Py_ssize_t owned
    cdef double scale
    cdef bint reduces
    cdef bint norm_is_given  # to this step
    cdef double norm

    cdef bint run(self, bint is_update, int threads_used) noexcept nogil:
        """All that a step does once it is checked. Whether the gradients were found fit for an update."""
        cdef Py_ssize_t i
        cdef uint64_t before = 0
        cdef bint finite
        cdef Tensor* tensor
        if self.plan.stages.flushes:
            before = fastopt_mode()
            fastopt_set_mode(fastopt_flushing(before))
        finite = not self.plan.stages.checks_finite or (
            isfinite(self.norm) != 0 if self.norm_is_given else self.are_finite(threads_used)
        )
        if finite and is_update:
            self.update(threads_used)
        elif finite:
            do_pass(&self.plan, ACCUMULATE, threads_used)
            self.totals.calls += 1
            for i in range(self.count):
                self.plan.tensors[i].counts[1] += self.plan.tensors[i].active
        elif self.plan.stages.skips:
            self.totals.skipped_steps += 1
            for i in range(self.count):
                tensor = &self.plan.tensors[i]
                if self.plan.stages.zeroes and tensor.active and tensor.gradient != NULL:
                    memset(tensor.gradient, 0, tensor.n * tensor.itemsize)
        if self.plan.stages.flushes:
            fastopt_set_mode(before)
        return finite

    cdef bint are_finite(self, int threads_used) noexcept nogil:
        cdef Py_ssize_t i, j
        cdef Tensor* tensor
        do_pass(&self.plan, CHECK_FINITE, threads_used)
        for i in range(self.count):
            tensor = &self.plan.tensors[i]
            if not tensor.active or tensor.gradient == NULL or isfinite(sum_of(&self.plan, tensor, 0)):
                continue
            if tensor.itemsize == 4:
                return False
            # Here the sum of the squares may have overflowed though all elements are finite.
            for j in range(tensor.n):
                if not isfinite((<const double*>tensor.gradient)[j]):
                    return False
        return True

    cdef void update(self, int threads_used) noexcept nogil:
        """The passes of a step that changes the parameters."""
        cdef Py_ssize_t i
        cdef Tensor* tensor
        cdef Plan* plan = &self.plan
        cdef int accumulate = ACCUMULATE if plan.stages.accumulates else 0
        if self.norm_is_given:
            self.totals.norm = self.norm
        elif plan.stages.clip_norm >= 0:
            if plan.stages.accumulates or not plan.stages.checks_finite:
                do_pass(plan, accumulate | SUM_SQUARES, threads_used)
                accumulate = 0
            self.totals.norm = sqrt(self.total_of_squares()) * self.scale
        else:
            self.totals.norm = -1
        if plan.stages.clip_norm >= 0:
            self.clip_by_norm()
        if self.reduces:
            do_pass(plan, accumulate | REDUCE, threads_used)
            accumulate = 0
            for i in range(self.count):
                if plan.tensors[i].active and plan.tensors[i].loop.sum_count > 0:
                    finish(plan, &plan.tensors[i])
        do_pass(plan, accumulate | UPDATE, threads_used)
        for i in range(self.count):
            if plan.tensors[i].active:
                plan.tensors[i].counts[0] += 1
                plan.tensors[i].counts[1] = 0
                carry_on(&plan.tensors[i])
        self.totals.updates += self.owned > 0
        self.totals.calls = 0

    cdef double total_of_squares(self) noexcept nogil:
        """That of all gradients, whose chunks have been summed."""
        cdef Py_ssize_t i
        cdef double total = 0
        for i in range(self.count):
            if self.plan.tensors[i].active:
                total += sum_of(&self.plan, &self.plan.tensors[i], 0)
        return total

    cdef void clip_by_norm(self) noexcept nogil:
        """Multiply the scale of all gradients by what their norm demands."""
        cdef Py_ssize_t i
        cdef double factor = 1, bound = self.plan.stages.clip_norm
        if bound != INFINITY and not self.totals.norm + 1e-6 <= bound:
            factor = bound / (self.totals.norm + 1e-6)
        self.plan.clip_numbers[0] *= factor
        if not self.plan.stages.clips_value:
            for i in range(self.owned):
                self.owners[i].own_numbers[0] *= factor
