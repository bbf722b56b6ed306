# distutils: language = c++
"""The compiled engine: checks the gradients of a step, computes its numbers and runs its kernels.

fastopt/engines/numpy.py says what happens and why; this file and what it includes say it fast. The engine knows kernels
by their pointers only, and no rule by its name.

No list comprehension here computes its items: where memory runs out, the code that Cython 3.3 makes of them releases a
reference too many.
"""

include "rounding.pxi"

cimport cython
cimport numpy as cnp
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport INFINITY, fabs, isfinite
from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libcpp.algorithm cimport sort
from libcpp.utility cimport pair

from fastopt.engines.compiled.busy cimport BusyLock, in_place

from functools import partial
from operator import attrgetter

import numpy as np

from fastopt.arrays.addresses import check_disjoint
from fastopt.arrays.forms import ordered
from fastopt.arrays.mapped import held_open
from fastopt.arrays.nesting import fields_of, is_flat
from fastopt.engines.busy import Undoing, check_in_place
from fastopt.engines.shared import (
    ACCUMULATED, BOUND, BUSY, COUNTS_END, UNBOUND, check_numbers, check_stages, check_step, check_totals, given_norm,
    loops_of, nonfinite_error
)
from fastopt.options import at_update
from fastopt.signature import key_of
from fastopt.stages import EMA, GRAD_SUM

include "plan.pxi"
include "staged.pxi"
include "group.pxi"
include "gradients.pxi"
include "run.pxi"
include "squares.pxi"

cnp.import_array()

cdef enum:
    # Below this many elements, releasing the GIL costs this thread more than it gives to others.
    RELEASE_ELEMENTS = 16384

CHUNK = CHUNK_ELEMENTS
LIMITS = {"state": MAX_BUFFERS - 2, "numbers": MAX_NUMBERS, "sums": MAX_SUMS}  # of a formula

cdef int64_t counts_end = COUNTS_END


def set_num_threads(int n):
    """Let steps use up to n threads."""
    global threads
    threads = n


cdef class Engine(Runner):
    cdef BusyLock busy
    cdef readonly list groups  # a Group for each
    cdef readonly list stages  # a Staged; or None, when another engine has taken over
    cdef object kernels
    cdef set narrow  # the groups with float32 parameters
    cdef object python_totals
    cdef void* scratch_block
    cdef Py_ssize_t longest  # of the tensors
    cdef int scratches  # the threads that it has room for
    cdef int64_t stamp  # of the step that computed numbers last

    def __cinit__(self, BusyLock busy, kernels, list parameters, tree, addresses, totals, list kernel_calls, stages):
        cdef Py_ssize_t i, chunks = 0
        cdef int j
        cdef Tensor* tensor
        self.begin_with(parameters, tree, addresses)
        self.busy, self.kernels, self.python_totals = busy, kernels, totals
        self.totals = <Totals*>data_of(totals.array)
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
            tensor.counts = <int64_t*>data_of(parameter.counts)
            tensor.n = parameter.flat.size
            tensor.itemsize = parameter.flat.itemsize
            tensor.group = parameter.group
            tensor.first_chunk = chunks
            chunks += (tensor.n + CHUNK_ELEMENTS - 1) // CHUNK_ELEMENTS
            self.longest = max(self.longest, tensor.n)
            names = [name for name in kernel_calls[tensor.group].arrays if name != "p"]
            tensor.count, tensor.array_count = <int>len(names) + 2, 2
            for j in range(tensor.count - 2):
                tensor.buffers[2 + j] = data_of(parameter.state_flats.get(names[j]))
                tensor.array_count += tensor.buffers[2 + j] != NULL
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
        self.narrow = {parameter.group for parameter in parameters if parameter.flat.itemsize == 4}
        self.groups = [None] * len(kernel_calls)
        for i in range(len(kernel_calls)):
            self.groups[i] = self.group(i, kernel_calls[i])
        self.stages = [self.staged(stages)]

    def __dealloc__(self):
        PyMem_Free(self.plan.tensors)
        PyMem_Free(self.plan.tasks)
        PyMem_Free(self.plan.sums)
        PyMem_Free(self.owners)
        PyMem_Free(self.scratch_block)

    def group(self, Py_ssize_t index, call):
        """What stands in `groups` for a group's kernel call."""
        return Group(index, call, self.kernels, index in self.narrow)

    def staged(self, stages):
        """What stands in `stages`."""
        return Staged(stages)

    def retirement(self):
        """The assignments after which it refuses all further steps, because another engine has taken over."""
        return [(self.stages, 0, None)]

    cdef int enter(self) except -1:
        """Take the busy lock, and have the stages at hand; unless another engine has taken over."""
        self.busy.take()
        staged = self.stages[0]
        if staged is None:
            self.busy.drop()
            raise RuntimeError(BUSY)
        self.plan.stages = &(<Staged>staged).numbers
        return 0

    # Two methods, because a call with one argument costs less than one that may have two.

    def step(self, grads):
        self.take_step(grads, None)

    def step_with_norm(self, grads, grad_norm):
        self.take_step(grads, grad_norm)

    cdef int take_step(self, grads, grad_norm) except -1:
        cdef Py_ssize_t i, elements = 0, size = 0
        cdef int threads_used
        cdef bint of_accumulated = grads is ACCUMULATED
        cdef bint finite = True, is_update  # or is this call for an accumulation only?
        cdef int64_t calls
        cdef Tensor* tensor
        self.enter()
        try:
            if not of_accumulated:
                self.hold(grads)
            elif self.totals.calls == 0:
                return 0
            self.norm_is_given = grad_norm is not None
            if self.norm_is_given:
                self.norm = given_norm(grad_norm, (<Staged>self.stages[0]).stages)
            if max(self.totals.updates, self.totals.calls, self.totals.skipped_steps) + 1 >= counts_end:
                check_totals(self.python_totals)  # which raises
            calls = self.totals.calls + (not of_accumulated)
            is_update = of_accumulated or calls >= self.plan.stages.accumulate
            for i in range(self.count):
                tensor = &self.plan.tensors[i]
                tensor.active = self.held[i] is not None or is_update and tensor.counts[1] > 0
            if is_update:
                self.scale = 1 / (<double>calls if self.plan.stages.accumulates else self.plan.stages.loss_scale)
                self.plan.clip_numbers[0], self.plan.clip_numbers[1] = self.scale, self.plan.stages.clip_bound
                self.compute_numbers()
            self.check_gradients()
            for i in range(self.count):
                tensor = &self.plan.tensors[i]
                if tensor.active:
                    tensor.gradient = NULL if self.held[i] is None else cnp.PyArray_DATA(<cnp.ndarray>self.held[i])
                    tensor.buffers[1] = tensor.grad_sum if self.plan.stages.accumulates else tensor.gradient
                    elements += tensor.n
                    size += tensor.n * tensor.itemsize * tensor.array_count
            threads_used = threads_for(size)
            if self.plan.stages.clips_value:
                self.make_scratch(max(threads_used, 1))
            # From here on nothing can fail, and only gradients that are not finite can be refused.
            if elements < RELEASE_ELEMENTS:
                finite = self.run(is_update, threads_used)
            else:
                with nogil:
                    finite = self.run(is_update, threads_used)
            if not finite and not self.plan.stages.skips:
                raise nonfinite_error(self.parameters, self.held, self.norm if self.norm_is_given else None)
            self.zero_copied()
        finally:
            self.let_go()
            self.busy.drop()
        return 0

    def bind(self, grads):
        """Keep the gradients for steps that are given none."""
        self.enter()
        try:
            self.hold(grads)
            bound = list(self.held)
            for i in range(self.count):
                self.plan.tensors[i].active = bound[i] is not None
                self.parameters[i].check_bound(bound[i])
            mappings = held_open(zip(map("gradient of {.label}".format, self.parameters), bound))
            self.check_gradients()
            self.bound, self.mappings = bound, mappings
        finally:
            self.let_go()
            self.busy.drop()

    def swapped(self):
        """Within ``with``, the averages are in the parameters' place, and the busy lock is held."""
        return Undoing(self.busy, self.swap_in, partial(check_in_place, self.parameters))

    def swap_in(self, list undo):
        """Swap the parameters with their averages; what swaps them back is in the list from the same moment on."""
        cdef Py_ssize_t i
        if self.stages[0] is None:
            raise RuntimeError(BUSY)
        for i in range(self.count):
            if not self.is_unchanged(i, cnp.NPY_ARRAY_WRITEABLE):
                self.parameters[i].check_unchanged()
            self.plan.tensors[i].active = True
        undo[0] = self.swap_back
        self.swap()

    def swap_back(self):
        """Put the parameters back, whatever became of their shapes: all whose memory is where it was."""
        cdef Py_ssize_t i
        for i in range(self.count):
            self.plan.tensors[i].active = in_place(<cnp.ndarray>self.arrays[i], <cnp.ndarray>self.views[i])
        self.swap()

    cdef void swap(self) noexcept:
        """Swap the active tensors with their averages."""
        cdef Py_ssize_t i, size = 0
        for i in range(self.count):
            if self.plan.tensors[i].active:
                size += self.plan.tensors[i].n * self.plan.tensors[i].itemsize
        with nogil:
            do_pass(&self.plan, SWAP, threads_for(size))

    cdef int make_scratch(self, int count) except -1:
        """Have room for a chunk in each of so many threads."""
        cdef Py_ssize_t size = (min(self.longest, <Py_ssize_t>CHUNK_ELEMENTS) + 7) // 8 * 8  # whole cache lines
        cdef void* block
        if count <= self.scratches:
            return 0
        block = PyMem_Malloc(count * size * sizeof(double) + 64)
        if block == NULL:
            raise MemoryError
        PyMem_Free(self.scratch_block)
        self.scratch_block = block
        self.plan.scratch = <double*>((<uintptr_t>block + 63) // 64 * 64)
        self.plan.scratch_size, self.scratches = size, count
        return 0

    cdef int compute_numbers(self) except -1:
        """Point each active tensor at its numbers: its own, or those of one before it in the same group and step."""
        cdef Py_ssize_t i
        cdef int64_t t
        cdef Tensor* tensor
        cdef Group group
        cdef double scale = 1 if self.plan.stages.clips_value else self.scale
        self.owned, self.reduces = 0, False
        self.stamp += 1
        for i in range(self.count):
            tensor = &self.plan.tensors[i]
            if not tensor.active:
                continue
            t = tensor.counts[0] + 1
            if t >= counts_end:
                check_step(self.parameters[i], t)  # which raises
            group = <Group>self.groups[tensor.group]
            if group.stamp != self.stamp:
                group.begin(self.stamp, self.totals.updates)
            if group.has(t, tensor):
                tensor.loop, tensor.numbers = group.last.loop, group.last.own_numbers
            else:
                group.compute(t, scale, self.plan.stages.flushes, tensor)
                self.owners[self.owned] = tensor
                self.owned += 1
            self.reduces = self.reduces or tensor.loop.sum_count > 0
        if self.plan.stages.keeps_ema and self.owned > 0:
            decay = (<Staged>self.stages[0]).ema_decay
            if type(decay) is not float:
                decay = at_update("ema_decay", decay, self.totals.updates, 1)
            self.plan.ema_numbers[0], self.plan.ema_numbers[1] = decay, 1 - <double>decay
        return 0


cdef void* data_of(block) noexcept:
    """Of an array, or NULL for None."""
    return NULL if block is None else cnp.PyArray_DATA(<cnp.ndarray>block)
