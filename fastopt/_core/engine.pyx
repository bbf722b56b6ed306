# distutils: language = c++
"""The compiled engine: checks the gradients of a step, computes its numbers and runs its kernels.

fastopt/engine.py says what happens; this file says it fast. What is not plainly in order
goes to the Python methods of the parameter, which raise the error or give an array that can be used. It knows
kernels by their pointers only, and no rule by its name.
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

from fastopt.engine import BOUND, BUSY, UNBOUND, check_numbers, check_stages, learning_rate, nonfinite_error, ordered
from fastopt.formula import key_of
from fastopt.parameters import check_apart
from fastopt.stages import EMA, GRAD_SUM

include "plan.pxi"

cnp.import_array()

cdef enum:
    # Below this many elements other threads gain less from the GIL than handing it over costs this one.
    RELEASE_ELEMENTS = 16384

CHUNK = CHUNK_ELEMENTS
LIMITS = {"state": MAX_BUFFERS - 2, "numbers": MAX_NUMBERS, "sums": MAX_SUMS}  # of a formula

cdef int threads = 1


def set_num_threads(int n):
    """Let steps use up to n threads."""
    global threads
    threads = n


cdef void unpack(capsules, kind, void** out) except *:
    """The pointers for float32 and float64."""
    for i, real in enumerate(("float32", "float64")):
        out[i] = NULL if capsules[i] is None else PyCapsule_GetPointer(capsules[i], f"fastopt {real} {kind}".encode())


cdef class Group:
    """The kernel call of one parameter group, unpacked."""
    cdef object call
    cdef Py_ssize_t index
    cdef Choose choose
    cdef Loop* loops
    cdef double* inputs
    cdef int lr_place, t_place  # among the inputs; -1 where the formula does not name it
    cdef uint64_t present  # a bit for each state array of its parameters
    cdef double largest  # that all of its parameters can hold
    cdef object rate
    cdef double s, l2, decay
    # Of the step that is being made: its learning rate, and the last tensor whose numbers were computed, for which t.
    cdef int64_t stamp, t
    cdef double lr
    cdef Tensor* last

    def __cinit__(self, Py_ssize_t index, call, kernels):
        key = key_of(call.formula)
        if key not in kernels.FORMULAS:
            raise ValueError(f"formula {key}: it is not compiled; use backend='numpy'")
        choose, arrays, inputs, loops = kernels.FORMULAS[key]
        self.call, self.index, self.largest = call, index, DBL_MAX
        self.choose = <Choose>PyCapsule_GetPointer(choose, b"fastopt numbers")
        names = [name for name in call.arrays if name != "p"]
        if len(names) != len(arrays) or list(call.inputs) != list(inputs):
            raise ValueError(f"formula {key}: it takes other arrays or numbers than when it was compiled")
        for i, name in enumerate(names):
            self.present |= (<uint64_t>(name is not None)) << <int>i
        self.loops = <Loop*>PyMem_Calloc(len(loops), sizeof(Loop))
        self.inputs = <double*>PyMem_Calloc(len(inputs) + 1, sizeof(double))
        if self.loops == NULL or self.inputs == NULL:
            raise MemoryError
        for i, (both, reductions, finishing, used, checked_count, number_count, sum_count) in enumerate(loops):
            unpack(both, "kernel", <void**>self.loops[i].kernels)
            unpack(reductions, "reduction", <void**>self.loops[i].reductions)
            if finishing is not None:
                self.loops[i].finish = <Finish>PyCapsule_GetPointer(finishing, b"fastopt finish")
            self.loops[i].used, self.loops[i].checked_count = used, checked_count
            self.loops[i].number_count, self.loops[i].sum_count = number_count, sum_count
            if len(names) > MAX_BUFFERS - 2 or number_count > MAX_NUMBERS or sum_count > MAX_SUMS:
                raise ValueError(f"formula {key}: it was compiled for an engine with other limits than {LIMITS}")
        for i, value in enumerate(call.inputs.values()):
            self.inputs[i] = value
        self.lr_place = inputs.index("lr") if "lr" in inputs else -1
        self.t_place = inputs.index("t") if "t" in inputs else -1
        self.s, self.l2, self.decay, self.rate = call.s, call.l2, call.decay, call.lr
        self.stamp = -1

    def __dealloc__(self):
        PyMem_Free(self.loops)
        PyMem_Free(self.inputs)

    cdef int begin(self, int64_t stamp, int64_t updates) except -1:
        """Compute what is the same for all tensors in a step."""
        self.lr = self.rate if type(self.rate) is float else learning_rate(self.rate, updates)
        self.last = NULL
        self.stamp = stamp
        return 0

    cdef int compute(self, int64_t t, double scale, Tensor* tensor) except -1:
        """Compute a tensor's numbers of step t, of gradients times `scale`, and choose its loop."""
        cdef double* numbers = tensor.own_numbers
        cdef const Loop* loop
        cdef int i
        cdef bint finite = True
        numbers[0] = self.s * scale
        numbers[1] = self.l2
        numbers[2] = 1 - self.lr * self.decay
        if self.lr_place >= 0:
            self.inputs[self.lr_place] = self.lr
        if self.t_place >= 0:
            self.inputs[self.t_place] = <double>t
        loop = &self.loops[self.choose(self.inputs, numbers)]
        for i in range(loop.checked_count):
            finite = finite and fabs(numbers[i]) <= self.largest
        if not finite:
            dtype = np.dtype(np.float64 if self.largest == DBL_MAX else np.float32)
            # This raises, but where NumPy rounds a number to a finite one, or has no use for it.
            check_numbers(self.index, self.call, t, self.lr, scale, dtype)
        if loop.used & ~self.present:
            raise RuntimeError(
                f"group {self.index}: at step {t} its formula uses a state array that it does not use at the first"
            )
        tensor.loop, tensor.numbers = loop, numbers
        self.t, self.last = t, tensor
        return 0


cdef inline bint same_shape(cnp.ndarray a, cnp.ndarray b) noexcept:
    cdef int axis
    if cnp.PyArray_NDIM(a) != cnp.PyArray_NDIM(b):
        return False
    for axis in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_DIM(a, axis) != cnp.PyArray_DIM(b, axis):
            return False
    return True


cdef inline bint same_layout(cnp.ndarray a, cnp.ndarray view, int also) noexcept:
    """Whether `a` has the type, shape and memory order of a parameter's `view`, is aligned and native, and `also`."""
    cdef int layout = cnp.PyArray_FLAGS(view) & (cnp.NPY_ARRAY_C_CONTIGUOUS | cnp.NPY_ARRAY_F_CONTIGUOUS)
    return (
        cnp.PyArray_TYPE(a) == cnp.PyArray_TYPE(view)
        and cnp.PyArray_CHKFLAGS(a, layout | cnp.NPY_ARRAY_ALIGNED | also)
        and cnp.PyArray_ISNOTSWAPPED(a)
        and same_shape(a, view)
    )


cdef class Claim:
    """Held by whoever steps or changes an optimizer; taking it when it is held raises."""
    cdef bint held

    # The critical sections let one thread at a time look and set, on a Python without GIL too.

    cdef int take(self) except -1:
        with cython.critical_section(self):
            if self.held:
                raise RuntimeError(BUSY)
            self.held = True
        return 0

    cdef int drop(self) except -1:
        with cython.critical_section(self):
            self.held = False
        return 0

    def locked(self):
        return self.held

    def __enter__(self):
        self.take()

    def __exit__(self, *error):
        self.drop()


cdef class Engine:
    cdef Claim claim
    cdef bint retired
    cdef Plan plan
    cdef Tensor** owners  # those whose own numbers a step has computed
    cdef Py_ssize_t* order  # of the gradients in memory, as it was last
    cdef Py_ssize_t count, owned
    cdef list parameters, arrays, views, names, groups, members, held, copied, bound
    cdef object kernels, memory
    cdef cnp.ndarray counts, starts_array, ends_array
    cdef int64_t* steps
    cdef int64_t* gathered
    cdef const uintptr_t* starts
    cdef const uintptr_t* ends
    cdef Py_ssize_t blocks
    cdef double clip_norm, loss_scale, scale
    cdef int64_t accumulate
    cdef bint examines, skips, reduces
    cdef int64_t stamp  # of the step that computed numbers last
    cdef public double norm  # of the gradients in the last step, or -1
    cdef public int64_t updates
    cdef public int64_t calls  # since the last update
    cdef public int64_t skipped_steps

    new_claim = Claim

    def __cinit__(self, Claim claim, kernels, list parameters, memory, cnp.ndarray counts, list kernel_calls, stages):
        cdef Py_ssize_t i, chunks = 0
        self.claim, self.kernels, self.parameters, self.memory = claim, kernels, parameters, memory
        self.count = len(parameters)
        self.arrays = [parameter.array for parameter in parameters]
        self.views = [parameter.view for parameter in parameters]
        names = [parameter.name for parameter in parameters]
        self.names = None if None in names else names
        self.groups = [None] * len(kernel_calls)
        self.held = [None] * self.count
        self.counts = counts
        self.steps = <int64_t*>cnp.PyArray_DATA(counts)
        self.gathered = self.steps + self.count
        self.starts_array = np.array(memory.starts, dtype=np.uintp)
        self.ends_array = np.array(memory.ends, dtype=np.uintp)
        self.starts = <const uintptr_t*>cnp.PyArray_DATA(self.starts_array)
        self.ends = <const uintptr_t*>cnp.PyArray_DATA(self.ends_array)
        self.blocks = len(memory.starts)
        self.plan.tensors = <Tensor*>PyMem_Calloc(self.count, sizeof(Tensor))
        self.owners = <Tensor**>PyMem_Calloc(self.count, sizeof(Tensor*))
        self.order = <Py_ssize_t*>PyMem_Calloc(self.count, sizeof(Py_ssize_t))
        if self.plan.tensors == NULL or self.owners == NULL or self.order == NULL:
            raise MemoryError
        for i, parameter in enumerate(parameters):
            tensor = &self.plan.tensors[i]
            tensor.buffers[0] = data_of(parameter.flat)
            tensor.ema = data_of(parameter.state_flats.get(EMA))
            tensor.grad_sum = data_of(parameter.state_flats.get(GRAD_SUM))
            tensor.n = parameter.flat.size
            tensor.itemsize = parameter.flat.itemsize
            tensor.group = parameter.group
            tensor.first_chunk = chunks
            chunks += (tensor.n + CHUNK_ELEMENTS - 1) // CHUNK_ELEMENTS
            self.order[i] = i
        self.plan.tasks = <Task*>PyMem_Calloc(self.count + chunks, sizeof(Task))
        self.plan.sums = <double*>PyMem_Calloc(MAX_SUMS * chunks, sizeof(double))
        if self.plan.tasks == NULL or self.plan.sums == NULL:
            raise MemoryError
        self.plan.task_count = cut(self.plan.tensors, self.count, self.plan.tasks)
        unpack(kernels.STAGES["squares"], "reduction", <void**>self.plan.squares)
        unpack(kernels.STAGES["gather"], "kernel", <void**>self.plan.gather)
        unpack(kernels.STAGES["clip"], "kernel", <void**>self.plan.clip)
        unpack(kernels.STAGES["average"], "kernel", <void**>self.plan.average)
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
        PyMem_Free(self.order)

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
        self.plan.gather_scale = 1 / self.loss_scale
        if stages.clip_grad_norm is None:
            self.norm = self.clip_norm = -1
        else:
            self.clip_norm = stages.clip_grad_norm
        self.examines, self.skips = stages.nonfinite != "propagate", stages.nonfinite == "skip"
        self.plan.gathers = stages.accumulate > 1
        self.plan.clips_value = stages.clip_grad_value is not None
        self.plan.averages = stages.ema_decay is not None
        self.plan.zeroes, self.plan.flushes = stages.zero_grads, stages.flush_subnormals
        if self.plan.clips_value:
            self.plan.clip_numbers[1] = stages.clip_grad_value
        if self.plan.averages:
            self.plan.average_numbers[0], self.plan.average_numbers[1] = stages.ema_decay, 1 - stages.ema_decay

    cdef int enter(self) except -1:
        """Take the claim, unless another engine has taken over."""
        self.claim.take()
        if self.retired:
            self.claim.drop()
            raise RuntimeError(BUSY)
        return 0

    def step(self, grads):
        cdef Py_ssize_t i, elements = 0, size = 0
        cdef int threads_used
        cdef bint finite = True, updates  # or is this call for an accumulation only?
        cdef Tensor* tensor
        self.enter()
        try:
            self.hold(grads)
            updates = self.calls + 1 >= self.accumulate
            for i in range(self.count):
                self.plan.tensors[i].active = self.held[i] is not None or updates and self.gathered[i] > 0
            if updates:
                # Sums are of gradients that have been divided by the loss scale already.
                self.scale = 1 / (<double>(self.calls + 1) if self.plan.gathers else self.loss_scale)
                self.plan.clip_numbers[0] = self.scale
                # Learning rates are the caller's code, which may do anything: so they come before the checks.
                self.compute_numbers()
            self.admit()
            for i in range(self.count):
                tensor = &self.plan.tensors[i]
                if tensor.active:
                    tensor.gradient = NULL if self.held[i] is None else cnp.PyArray_DATA(<cnp.ndarray>self.held[i])
                    tensor.buffers[1] = tensor.grad_sum if self.plan.gathers else tensor.gradient
                    elements += tensor.n
                    size += tensor.n * tensor.itemsize * tensor.array_count
            # Nothing has been written until here, and what follows cannot fail.
            threads_used = self.threads_for(size)
            if elements < RELEASE_ELEMENTS:
                finite = self.run(updates, threads_used)
            else:
                with nogil:
                    finite = self.run(updates, threads_used)
            if not finite and not self.skips:
                raise nonfinite_error(self.parameters, self.held)
            if self.copied is not None:
                for g in self.copied:
                    g.fill(0)
        finally:
            self.let_go()
            self.claim.drop()

    def bind(self, grads):
        """Keep the gradients for steps that are given none."""
        self.enter()
        try:
            self.hold(grads)
            bound = list(self.held)
            for i in range(self.count):
                self.plan.tensors[i].active = bound[i] is not None
            self.admit()
            self.bound = bound
        finally:
            self.let_go()
            self.claim.drop()

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

    @cython.boundscheck(True)  # another thread may shorten the list
    cdef int hold(self, grads) except -1:
        """Keep the gradients in the order of the parameters, so that the caller's code cannot free them."""
        cdef Py_ssize_t i
        if grads is BOUND:
            if self.bound is None:
                raise TypeError(UNBOUND)
            grads = self.bound
        elif type(grads) is dict and self.names is not None and len(<dict>grads) == self.count:
            for i in range(self.count):
                if self.names[i] not in <dict>grads:
                    break
                self.held[i] = (<dict>grads)[self.names[i]]
            else:
                grads = self.held
        elif cnp.PyArray_CheckExact(grads) and self.count == 1:
            grads = [grads]
        if not (type(grads) is list or type(grads) is tuple) or len(grads) != self.count:
            grads = ordered(grads, self.parameters)
        for i in range(self.count):
            self.held[i] = grads[i]
        return 0

    cdef void let_go(self) noexcept:
        cdef Py_ssize_t i
        for i in range(self.count):
            self.held[i] = None
        self.copied = None

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
            if group.last != NULL and group.t == t:
                tensor.loop, tensor.numbers = group.last.loop, group.last.own_numbers
            else:
                group.compute(t, scale, tensor)
                self.owners[self.owned] = tensor
                self.owned += 1
            self.reduces = self.reduces or tensor.loop.sum_count > 0
        return 0

    cdef int admit(self) except -1:
        """Let through what is plainly in order; have the rest checked, and copied if need be, and look once more."""
        cdef Py_ssize_t i
        cdef bint again = False
        for i in range(self.count):
            if self.plan.tensors[i].active and not self.fits(i):
                again = True
                break
        if again or self.plan.zeroes and not self.are_apart():
            self.admit_slowly()
            # Python has run since the first look: nothing that fitted may have changed.
            for i in range(self.count):
                if self.plan.tensors[i].active and not self.fits(i):
                    raise ValueError(f"{self.parameters[i].label}: it or its gradient changed while it was checked")
        return 0

    cdef int admit_slowly(self) except -1:
        """Raise what is wrong, or copy what cannot be used as it is."""
        cdef Py_ssize_t i
        cdef list given = list(self.held)
        for i in range(self.count):
            if self.plan.tensors[i].active and not self.fits(i):
                parameter = self.parameters[i]
                parameter.check_unchanged()
                if given[i] is not None:
                    self.held[i] = parameter.admit(given[i], self.memory, self.plan.zeroes)
        if self.plan.zeroes:
            check_apart(self.parameters, given)
            # Plain views, because a subclass may do anything when it is written to.
            self.copied = [np.asarray(g) for g, held in zip(given, self.held) if g is not held]
        return 0

    # The following look at arrays by NumPy's macros alone, which cannot raise: so they are `noexcept`.

    cdef bint fits(self, Py_ssize_t i) noexcept:
        """Whether a parameter is as it was given, and its gradient plainly in order."""
        g = self.held[i]
        return self.is_unchanged(i, cnp.NPY_ARRAY_WRITEABLE) and (g is None or self.gradient_fits(i, g))

    cdef bint is_unchanged(self, Py_ssize_t i, int flags) noexcept:
        """Whether a parameter's array has its place, type and shape still, and these flags."""
        cdef cnp.ndarray view = <cnp.ndarray>self.views[i]
        cdef cnp.ndarray array = <cnp.ndarray>self.arrays[i]
        return cnp.PyArray_DATA(array) == cnp.PyArray_DATA(view) and same_layout(array, view, flags)

    cdef bint gradient_fits(self, Py_ssize_t i, g) noexcept:
        """Whether a gradient is plainly its parameter's: in type, shape and order, and apart from all state."""
        cdef Tensor* tensor = &self.plan.tensors[i]
        cdef cnp.ndarray view = <cnp.ndarray>self.views[i]
        cdef int flags = cnp.NPY_ARRAY_WRITEABLE if self.plan.zeroes else 0
        if not cnp.PyArray_CheckExact(g) or not same_layout(<cnp.ndarray>g, view, flags):
            return False
        if cnp.PyArray_DATA(<cnp.ndarray>g) != tensor.apart:
            if not self.is_apart(<uintptr_t>cnp.PyArray_DATA(<cnp.ndarray>g), tensor.n * tensor.itemsize):
                return False
            tensor.apart = cnp.PyArray_DATA(<cnp.ndarray>g)
        return True

    cdef bint is_apart(self, uintptr_t start, Py_ssize_t size) noexcept:
        """Whether the bytes touch no parameter and no state: the last block that begins before their end decides."""
        cdef Py_ssize_t low = 0, high = self.blocks, middle
        if size == 0:
            return True
        while low < high:
            middle = (low + high) // 2
            if self.starts[middle] < start + <uintptr_t>size:
                low = middle + 1
            else:
                high = middle
        return low == 0 or self.ends[low - 1] <= start

    cdef bint are_apart(self) noexcept:
        """Whether no two gradients share memory. Their order in memory is most often that of the step before."""
        cdef Py_ssize_t i, j, one
        cdef uintptr_t end = 0
        for i in range(1, self.count):
            one = self.order[i]
            j = i
            while j > 0 and self.address(self.order[j - 1]) > self.address(one):
                self.order[j] = self.order[j - 1]
                j -= 1
            self.order[j] = one
        for i in range(self.count):
            one = self.order[i]
            if self.held[one] is not None and self.plan.tensors[one].n > 0:
                if self.address(one) < end:
                    return False
                end = self.address(one) + <uintptr_t>(self.plan.tensors[one].n * self.plan.tensors[one].itemsize)
        return True

    cdef inline uintptr_t address(self, Py_ssize_t i) noexcept:
        return 0 if self.held[i] is None else <uintptr_t>cnp.PyArray_DATA(<cnp.ndarray>self.held[i])

    cdef int threads_for(self, Py_ssize_t size) noexcept nogil:
        """How many threads pay for work on this many bytes; below 2 there is no work for helpers."""
        return <int>min(<Py_ssize_t>threads, size // THREAD_BYTES)

    cdef bint run(self, bint updates, int threads_used) noexcept nogil:
        """All that a step does once it is checked. Whether the gradients were found fit for an update."""
        cdef Py_ssize_t i
        cdef uint64_t before = 0
        cdef bint finite
        if self.plan.flushes:
            before = fastopt_mode()
            fastopt_set_mode(fastopt_flushing(before))
        finite = not self.examines or self.are_finite(threads_used)
        if finite and updates:
            self.update(threads_used)
        elif finite:
            do_pass(&self.plan, GATHER, threads_used)
            self.calls += 1
            for i in range(self.count):
                self.gathered[i] += self.plan.tensors[i].active
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
        do_pass(&self.plan, EXAMINE, threads_used)
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
        cdef int gather = GATHER if plan.gathers else 0
        if self.clip_norm >= 0:
            if plan.gathers or not self.examines:
                do_pass(plan, gather | MEASURE, threads_used)
                gather = 0
            self.clip_by_norm()
        if self.reduces:
            do_pass(plan, gather | REDUCE, threads_used)
            gather = 0
            for i in range(self.count):
                if plan.tensors[i].active and plan.tensors[i].loop.sum_count > 0:
                    finish(plan, &plan.tensors[i])
        do_pass(plan, gather | UPDATE, threads_used)
        for i in range(self.count):
            if plan.tensors[i].active:
                self.steps[i] += 1
                self.gathered[i] = 0
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
        # Infinity only measures; a norm that is NaN does not stay below anything.
        if self.clip_norm != INFINITY and not self.norm + 1e-6 <= self.clip_norm:
            factor = self.clip_norm / (self.norm + 1e-6)
        self.plan.clip_numbers[0] *= factor
        if not self.plan.clips_value:
            for i in range(self.owned):
                self.owners[i].own_numbers[0] *= factor


cdef class Swapped:
    """Within ``with``, the averages are in the parameters' place, and the optimizer is claimed.

    As with claims, no signal's exception comes between what happens here and the ``with`` that it belongs to.
    """
    cdef Engine engine

    def __cinit__(self, Engine engine):
        self.engine = engine

    def __enter__(self):
        self.engine.enter()
        try:
            self.engine.swap(False)
        except BaseException:  # whatever it is: where ``with`` is not entered, nobody else gives the claim back
            self.engine.claim.drop()
            raise

    def __exit__(self, *error):
        try:
            self.engine.swap(True)
        finally:
            self.engine.claim.drop()


cdef void* data_of(block) noexcept:
    """Of an array, or NULL for None."""
    return NULL if block is None else cnp.PyArray_DATA(<cnp.ndarray>block)
