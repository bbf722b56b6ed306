# distutils: language = c++
"""The compiled engine: checks the gradients of a step, computes its numbers and runs its kernels.

fastopt/engines/numpy.py says what happens and why; this file and what it includes say it fast. The engine knows kernels
by their pointers only, and no rule by its name.
"""

include "rounding.pxi"

cimport cython
cimport numpy as cnp
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport INFINITY, fabs, isfinite
from libc.stdint cimport int64_t, uint64_t, uintptr_t

import numpy as np

from fastopt.arrays.addresses import check_disjoint
from fastopt.arrays.forms import ordered
from fastopt.engines.shared import (
    BOUND, BUSY, UNBOUND, check_numbers, check_stages, learning_rate, loops_of, nonfinite_error
)
from fastopt.signature import key_of
from fastopt.stages import EMA, GRAD_SUM

include "plan.pxi"
include "group.pxi"
include "busy.pxi"
include "gradients.pxi"

cnp.import_array()

cdef enum:
    # Below this many elements, releasing the GIL costs this thread more than it gives to others.
    RELEASE_ELEMENTS = 16384

CHUNK = CHUNK_ELEMENTS
LIMITS = {"state": MAX_BUFFERS - 2, "numbers": MAX_NUMBERS, "sums": MAX_SUMS}  # of a formula

cdef int threads = 1


def set_num_threads(int n):
    """Let steps use up to n threads."""
    global threads
    threads = n


cdef class Engine(GradientChecks):
    cdef BusyLock busy
    cdef bint retired
    cdef Tensor** owners  # those whose own numbers a step has computed
    cdef Py_ssize_t owned
    cdef list groups, members
    cdef object kernels
    cdef cnp.ndarray counts
    cdef int64_t* steps
    cdef int64_t* accumulated
    cdef double clip_norm, loss_scale, scale
    cdef int64_t accumulate
    cdef bint checks_finite, skips, reduces
    cdef int64_t stamp  # of the step that computed numbers last
    cdef public double norm  # of the gradients in the last step, or -1
    cdef public int64_t updates
    cdef public int64_t calls  # since the last update
    cdef public int64_t skipped_steps

    new_busy_lock = BusyLock

    def __cinit__(self, BusyLock busy, kernels, list parameters, addresses, cnp.ndarray counts, list kernel_calls, stages):
        cdef Py_ssize_t i, chunks = 0
        self.begin_with(parameters, addresses)
        self.busy, self.kernels, self.counts = busy, kernels, counts
        self.groups = [None] * len(kernel_calls)
        self.steps = <int64_t*>cnp.PyArray_DATA(counts)
        self.accumulated = self.steps + self.count
        self.plan.tensors = <Tensor*>PyMem_Calloc(self.count, sizeof(Tensor))
        self.owners = <Tensor**>PyMem_Calloc(self.count, sizeof(Tensor*))
        if self.plan.tensors == NULL or self.owners == NULL:
            raise MemoryError
        for i, parameter in enumerate(parameters):
            tensor = &self.plan.tensors[i]
            tensor.buffers[0] = data_of(parameter.flat)
            tensor.ema = data_of(parameter.state_flats.get(EMA))
            tensor.grad_sum = data_of(parameter.state_flats.get(GRAD_SUM))
            tensor.carried = <double*>data_of(parameter.carried)
            tensor.n = parameter.flat.size
            tensor.itemsize = parameter.flat.itemsize
            tensor.group = parameter.group
            tensor.first_chunk = chunks
            chunks += (tensor.n + CHUNK_ELEMENTS - 1) // CHUNK_ELEMENTS
        self.plan.tasks = <Task*>PyMem_Calloc(self.count + chunks, sizeof(Task))
        self.plan.sums = <double*>PyMem_Calloc(MAX_SUMS * chunks, sizeof(double))
        if self.plan.tasks == NULL or self.plan.sums == NULL:
            raise MemoryError
        self.plan.task_count = make_tasks(self.plan.tensors, self.count, self.plan.tasks)
        unpack(kernels.STAGES["sum_of_squares"], "reduction", <void**>self.plan.sum_of_squares)
        unpack(kernels.STAGES["accumulate"], "kernel", <void**>self.plan.accumulate)
        unpack(kernels.STAGES["clip"], "kernel", <void**>self.plan.clip)
        unpack(kernels.STAGES["update_ema"], "kernel", <void**>self.plan.update_ema)
        unpack(kernels.STAGES["swap"], "kernel", <void**>self.plan.swap)
        members = [[] for _ in kernel_calls]
        for i in range(self.count):
            members[self.plan.tensors[i].group].append(i)
        self.members = members
        for i in range(len(kernel_calls)):
            self.set_kernel_call(i, kernel_calls[i])
        self.norm = -1
        self.set_stages(stages)

    def __dealloc__(self):
        PyMem_Free(self.plan.tensors)
        PyMem_Free(self.plan.tasks)
        PyMem_Free(self.plan.sums)
        PyMem_Free(self.owners)

    def retire(self):
        self.retired = True

    def set_kernel_call(self, Py_ssize_t index, call):
        cdef Py_ssize_t i
        cdef int j
        cdef Group group = Group(index, call, self.kernels)
        cdef Tensor* tensor
        names = [name for name in call.arrays if name != "p"]
        for i in self.members[index]:
            tensor = &self.plan.tensors[i]
            state = self.parameters[i].state_flats
            tensor.count, tensor.array_count = <int>len(names) + 2, 2
            for j in range(tensor.count - 2):
                tensor.buffers[2 + j] = data_of(state.get(names[j]))
                tensor.array_count += tensor.buffers[2 + j] != NULL
            if tensor.itemsize == 4:
                group.largest = FLT_MAX
        self.groups[index] = group

    def set_stages(self, stages):
        check_stages(stages)
        self.loss_scale, self.accumulate = stages.loss_scale, stages.accumulate
        self.plan.accumulate_scale = 1 / self.loss_scale
        if stages.clip_grad_norm is None:
            self.norm = self.clip_norm = -1
        else:
            self.clip_norm = stages.clip_grad_norm
        self.checks_finite, self.skips = stages.nonfinite != "propagate", stages.nonfinite == "skip"
        self.plan.accumulates = stages.accumulate > 1
        self.plan.clips_value = stages.clip_grad_value is not None
        self.plan.keeps_ema = stages.ema_decay is not None
        self.plan.zeroes, self.plan.flushes = stages.zero_grads, stages.flush_subnormals
        if self.plan.clips_value:
            self.plan.clip_numbers[1] = stages.clip_grad_value
        if self.plan.keeps_ema:
            self.plan.ema_numbers[0], self.plan.ema_numbers[1] = stages.ema_decay, 1 - stages.ema_decay

    cdef int enter(self) except -1:
        """Take the busy lock, unless another engine has taken over."""
        self.busy.take()
        if self.retired:
            self.busy.drop()
            raise RuntimeError(BUSY)
        return 0

    def step(self, grads):
        cdef Py_ssize_t i, elements = 0, size = 0
        cdef int threads_used
        cdef bint finite = True, is_update  # or is this call for an accumulation only?
        cdef Tensor* tensor
        self.enter()
        try:
            self.hold(grads)
            is_update = self.calls + 1 >= self.accumulate
            for i in range(self.count):
                self.plan.tensors[i].active = self.held[i] is not None or is_update and self.accumulated[i] > 0
            if is_update:
                self.scale = 1 / (<double>(self.calls + 1) if self.plan.accumulates else self.loss_scale)
                self.plan.clip_numbers[0] = self.scale
                self.compute_numbers()
            self.check_gradients()
            for i in range(self.count):
                tensor = &self.plan.tensors[i]
                if tensor.active:
                    tensor.gradient = NULL if self.held[i] is None else cnp.PyArray_DATA(<cnp.ndarray>self.held[i])
                    tensor.buffers[1] = tensor.grad_sum if self.plan.accumulates else tensor.gradient
                    elements += tensor.n
                    size += tensor.n * tensor.itemsize * tensor.array_count
            # From here on nothing can fail.
            threads_used = self.threads_for(size)
            if elements < RELEASE_ELEMENTS:
                finite = self.run(is_update, threads_used)
            else:
                with nogil:
                    finite = self.run(is_update, threads_used)
            if not finite and not self.skips:
                raise nonfinite_error(self.parameters, self.held)
            if self.copied is not None:
                for g in self.copied:
                    g.fill(0)
        finally:
            self.let_go()
            self.busy.drop()

    def bind(self, grads):
        """Keep the gradients for steps that are given none."""
        self.enter()
        try:
            self.hold(grads)
            bound = list(self.held)
            for i in range(self.count):
                self.plan.tensors[i].active = bound[i] is not None
            self.check_gradients()
            self.bound = bound
        finally:
            self.let_go()
            self.busy.drop()

    def swapped(self):
        return Swapped(self)

    cdef int swap(self, bint back) except -1:
        """Put the averages in the parameters' place, or back."""
        cdef Py_ssize_t i, size = 0
        for i in range(self.count):
            if not self.is_unchanged(i, 0 if back else cnp.NPY_ARRAY_WRITEABLE):
                self.parameters[i].check_unchanged(not back)
        for i in range(self.count):
            self.plan.tensors[i].active = True
            size += self.plan.tensors[i].n * self.plan.tensors[i].itemsize
        with nogil:
            do_pass(&self.plan, SWAP, self.threads_for(size))
        return 0

    cdef int compute_numbers(self) except -1:
        """Point each active tensor at its numbers: its own, or those of one before it in the same group and step."""
        cdef Py_ssize_t i
        cdef int64_t t
        cdef Tensor* tensor
        cdef Group group
        cdef double scale = 1 if self.plan.clips_value else self.scale
        self.owned, self.reduces = 0, False
        self.stamp += 1
        for i in range(self.count):
            tensor = &self.plan.tensors[i]
            if not tensor.active:
                continue
            t = self.steps[i] + 1
            group = <Group>self.groups[tensor.group]
            if group.stamp != self.stamp:
                group.begin(self.stamp, self.updates)
            if group.has(t, tensor):
                tensor.loop, tensor.numbers = group.last.loop, group.last.own_numbers
            else:
                group.compute(t, scale, self.plan.flushes, tensor)
                self.owners[self.owned] = tensor
                self.owned += 1
            self.reduces = self.reduces or tensor.loop.sum_count > 0
        return 0

    cdef int threads_for(self, Py_ssize_t size) noexcept nogil:
        """How many threads pay for work on this many bytes; below 2 there is no work for helpers."""
        return <int>min(<Py_ssize_t>threads, size // THREAD_BYTES)

    cdef bint run(self, bint is_update, int threads_used) noexcept nogil:
        """All that a step does once it is checked. Whether the gradients were found fit for an update."""
        cdef Py_ssize_t i
        cdef uint64_t before = 0
        cdef bint finite
        if self.plan.flushes:
            before = fastopt_mode()
            fastopt_set_mode(fastopt_flushing(before))
        finite = not self.checks_finite or self.are_finite(threads_used)
        if finite and is_update:
            self.update(threads_used)
        elif finite:
            do_pass(&self.plan, ACCUMULATE, threads_used)
            self.calls += 1
            for i in range(self.count):
                self.accumulated[i] += self.plan.tensors[i].active
        elif self.skips:
            self.skipped_steps += 1
            for i in range(self.count):
                if self.plan.zeroes and self.plan.tensors[i].active and self.plan.tensors[i].gradient != NULL:
                    memset(self.plan.tensors[i].gradient, 0, self.plan.tensors[i].n * self.plan.tensors[i].itemsize)
        if self.plan.flushes:
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
        cdef int accumulate = ACCUMULATE if plan.accumulates else 0
        if self.clip_norm >= 0:
            if plan.accumulates or not self.checks_finite:
                do_pass(plan, accumulate | SUM_SQUARES, threads_used)
                accumulate = 0
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
                self.steps[i] += 1
                self.accumulated[i] = 0
                carry_on(&plan.tensors[i])
        self.updates += self.owned > 0
        self.calls = 0

    cdef void clip_by_norm(self) noexcept nogil:
        """Multiply the scale of all gradients by what their norm demands."""
        cdef Py_ssize_t i
        cdef double total = 0, factor = 1
        for i in range(self.count):
            if self.plan.tensors[i].active:
                total += sum_of(&self.plan, &self.plan.tensors[i], 0)
        self.norm = sqrt(total) * self.scale
        if self.clip_norm != INFINITY and not self.norm + 1e-6 <= self.clip_norm:
            factor = self.clip_norm / (self.norm + 1e-6)
        self.plan.clip_numbers[0] *= factor
        if not self.plan.clips_value:
            for i in range(self.owned):
                self.owners[i].own_numbers[0] *= factor


cdef class Swapped:
    """Within ``with``, the averages are in the parameters' place, and the busy lock is held.

    As with busy locks, no signal's exception comes between what happens here and the ``with`` that it belongs to.
    """
    cdef Engine engine

    def __cinit__(self, Engine engine):
        self.engine = engine

    def __enter__(self):
        self.engine.enter()
        try:
            self.engine.swap(False)
        except BaseException:  # whatever it is: where ``with`` is not entered, nobody else gives the lock back
            self.engine.busy.drop()
            raise

    def __exit__(self, *error):
        try:
            self.engine.swap(True)
        finally:
            self.engine.busy.drop()


cdef void* data_of(block) noexcept:
    """Of an array, or NULL for None."""
    return NULL if block is None else cnp.PyArray_DATA(<cnp.ndarray>block)
