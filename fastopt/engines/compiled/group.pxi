# The kernel call of one parameter group: how its options become the numbers of a step.

from libc.string cimport memcmp


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
    cdef int first_carried, carried_count  # of the numbers that are carried, which stand behind the other inputs
    cdef uint64_t present  # a bit for each state array of its parameters
    cdef double largest  # that all of its parameters can hold
    cdef object rate
    cdef double s, l2, decay
    # Of the step that is being made: its learning rate, and the last tensor whose numbers were computed, for which t.
    cdef int64_t stamp, t
    cdef double lr
    cdef Tensor* last

    def __cinit__(self, Py_ssize_t index, call, kernels, bint narrow):
        key = key_of(call.formula)
        choose, arrays, inputs, loops = loops_of(kernels, call.formula)
        self.call, self.index, self.largest = call, index, FLT_MAX if narrow else DBL_MAX
        self.choose = <Choose>PyCapsule_GetPointer(choose, b"fastopt numbers")
        names = [name for name in call.arrays if name != "p"]
        if len(names) != len(arrays) or [*call.inputs, *call.carried] != list(inputs):
            raise ValueError(f"formula {key}: it takes other arrays or numbers than when it was compiled")
        if len(names) > MAX_BUFFERS - 2 or any(loop[5] > MAX_NUMBERS or loop[6] > MAX_SUMS for loop in loops):
            raise ValueError(f"formula {key}: it was compiled for an engine with other limits than {LIMITS}")
        for i, name in enumerate(names):
            self.present |= (<uint64_t>(name is not None)) << <int>i
        self.loops = <Loop*>PyMem_Calloc(len(loops), sizeof(Loop))
        self.inputs = <double*>PyMem_Calloc(len(inputs) + 1, sizeof(double))
        if self.loops == NULL or self.inputs == NULL:
            raise MemoryError
        for i, (both, reductions, finishing, used, checked_count, number_count, sum_count, carried) in enumerate(loops):
            unpack(both, "kernel", <void**>self.loops[i].kernels)
            unpack(reductions, "reduction", <void**>self.loops[i].reductions)
            if finishing is not None:
                self.loops[i].finish = <Finish>PyCapsule_GetPointer(finishing, b"fastopt finish")
            self.loops[i].used, self.loops[i].checked_count = used, checked_count
            self.loops[i].number_count, self.loops[i].sum_count = number_count, sum_count
            self.loops[i].carried_count = len(carried)
            for j, place in enumerate(carried):
                self.loops[i].carried[j] = place
        for i, value in enumerate(call.inputs.values()):
            self.inputs[i] = value
        self.first_carried, self.carried_count = len(call.inputs), len(call.carried)
        self.lr_place = inputs.index("lr") if "lr" in inputs else -1
        self.t_place = inputs.index("t") if "t" in inputs else -1
        self.s, self.l2, self.decay, self.rate = call.s, call.l2, call.decay, call.lr
        self.stamp = -1

    def __dealloc__(self):
        PyMem_Free(self.loops)
        PyMem_Free(self.inputs)

    cdef int begin(self, int64_t stamp, int64_t updates) except -1:
        """Compute what is the same for all tensors in a step."""
        self.lr = self.rate if type(self.rate) is float else at_update("lr", self.rate, updates)
        self.last = NULL
        self.stamp = stamp
        return 0

    cdef bint has(self, int64_t t, const Tensor* tensor) noexcept:
        """Whether the last tensor's numbers are this one's too: they are of the same step, and carried the same."""
        return (
            self.last != NULL
            and self.t == t
            and (
                self.carried_count == 0
                or memcmp(self.last.carried, tensor.carried, self.carried_count * sizeof(double)) == 0
            )
        )

    cdef int compute(self, int64_t t, double scale, bint flushes, Tensor* tensor) except -1:
        """Compute a tensor's numbers of step t, of gradients times `scale`, and choose its loop."""
        cdef double* numbers = tensor.own_numbers
        cdef uint64_t before = 0
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
        for i in range(self.carried_count):
            self.inputs[self.first_carried + i] = tensor.carried[i]
        if flushes:
            before = fastopt_mode()
            fastopt_set_mode(fastopt_flushing(before))
        loop = &self.loops[self.choose(self.inputs, numbers)]
        if flushes:
            fastopt_set_mode(before)
        for i in range(loop.checked_count):
            finite = finite and fabs(numbers[i]) <= self.largest
        if not finite:
            dtype = np.dtype(np.float64 if self.largest == DBL_MAX else np.float32)
            # This raises, unless NumPy rounds the number to a finite one, or has no use for it.
            carried = [0.0] * self.carried_count
            for i in range(self.carried_count):
                carried[i] = tensor.carried[i]
            check_numbers(self.index, self.call, t, self.lr, scale, carried, dtype)
        if loop.used & ~self.present:
            raise RuntimeError(
                f"group {self.index}: at step {t} its formula uses a state array that it does not use at the first"
            )
        tensor.loop, tensor.numbers = loop, numbers
        self.t, self.last = t, tensor
        return 0
