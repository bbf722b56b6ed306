"""The compiled engine: checks the gradients of a step, computes its scalars and runs its kernels.

It is the twin of fastopt/engine.py, which says what happens; this file says it fast. What is not plainly in order
goes to the Python methods of the parameter, which raise the error or give an array that can be used. It knows
kernels by their pointers only, and no rule by its name.
"""

include "rounding.pxi"

cimport cython
cimport numpy as cnp
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport fabs, pow, sqrt
from libc.stdint cimport int64_t, uintptr_t

import numpy as np

from fastopt.engine import BUSY, check_scalars, learning_rate, ordered

cnp.import_array()

ctypedef void (*Kernel)(void** buffers, const double* scalars, Py_ssize_t n) noexcept nogil

cdef enum:
    MOST_BUFFERS = 5
    MOST_SCALARS = 16
    # Elements a kernel gets at once. Borders depend on a tensor's length alone.
    CHUNK_ELEMENTS = 16384
    # Below this many elements other threads gain less from the GIL than handing it over costs this one.
    RELEASE_ELEMENTS = 16384

CHUNK = CHUNK_ELEMENTS


cdef struct Tensor:
    void* buffers[MOST_BUFFERS]  # parameter, gradient, state
    int count  # of buffers
    Py_ssize_t n
    Py_ssize_t group
    Py_ssize_t itemsize
    bint active  # has a gradient in this step
    Kernel kernel
    const double* scalars  # its own block, or that of an earlier tensor with the same numbers
    double block[MOST_SCALARS]
    int64_t t  # the step that the block is of


cdef enum Kind:
    # What a scalar is: a number, one of engine.STEP_SCALARS, or what a function of (t, lr) gives.
    NUMBER, LR, LR_C1, LR_ROOT_C2_C1, ONE_C2, FUNCTION

KINDS = {"lr": LR, "lr/c1": LR_C1, "lr*sqrt(c2)/c1": LR_ROOT_C2_C1, "1/c2": ONE_C2}


cdef class Group:
    """The formula of one parameter group, unpacked."""
    cdef Kernel kernels[2]  # float32, float64
    cdef int buffers, count  # of state and other arrays, and of scalars
    cdef Py_ssize_t index
    cdef double largest  # that all of its parameters can hold
    cdef double s, l2, decay, beta1, beta2
    cdef object lr
    cdef tuple scalars
    cdef Kind kinds[MOST_SCALARS]
    cdef double numbers[MOST_SCALARS]

    def __cinit__(self, Py_ssize_t index, formula, kernels):
        single, double_, self.buffers, self.count = kernels[formula.kernel]
        self.kernels[0] = <Kernel>PyCapsule_GetPointer(single, "fastopt float32 kernel")
        self.kernels[1] = <Kernel>PyCapsule_GetPointer(double_, "fastopt float64 kernel")
        self.index = index
        self.largest = DBL_MAX
        self.s, self.l2, self.decay = formula.s, formula.l2, formula.decay
        self.beta1, self.beta2 = formula.corrected
        self.lr, self.scalars = formula.lr, formula.scalars
        if 3 + len(self.scalars) != self.count or self.count > MOST_SCALARS:
            raise ValueError(f"kernel {formula.kernel!r}: it takes other scalars than the rule gives")
        for i, scalar in enumerate(self.scalars):
            if callable(scalar):
                self.kinds[i] = FUNCTION
            elif isinstance(scalar, str):
                self.kinds[i] = KINDS[scalar]
            else:
                self.kinds[i], self.numbers[i] = NUMBER, scalar

    cdef int compute(self, int64_t t, double* out) except -1:
        """The scalars of step t."""
        cdef double lr = self.lr if type(self.lr) is float else learning_rate(self.lr, t)
        cdef double c1 = 1 - pow(self.beta1, <double>t), c2 = 1 - pow(self.beta2, <double>t)
        cdef double value
        cdef int i
        cdef bint finite = True
        out[0] = self.s
        out[1] = self.l2
        out[2] = 1 - lr * self.decay
        for i in range(self.count - 3):
            if self.kinds[i] == NUMBER:
                value = self.numbers[i]
            elif self.kinds[i] == LR:
                value = lr
            elif self.kinds[i] == LR_C1:
                value = lr / c1
            elif self.kinds[i] == LR_ROOT_C2_C1:
                value = lr * sqrt(c2) / c1
            elif self.kinds[i] == ONE_C2:
                value = 1 / c2
            else:
                value = self.scalars[i](t, lr)
            out[3 + i] = value
        for i in range(self.count):
            finite = finite and fabs(out[i]) <= self.largest
        if not finite:
            dtype = np.dtype(np.float64 if self.largest == DBL_MAX else np.float32)
            check_scalars(self.index, t, tuple([out[i] for i in range(self.count)]), dtype)
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
    cdef Tensor* tensors
    cdef Tensor** owners  # those whose blocks a step has filled
    cdef Py_ssize_t count
    cdef list parameters, arrays, views, names, groups, held
    cdef object kernels, memory
    cdef cnp.ndarray steps_array, starts_array, ends_array
    cdef int64_t* steps
    cdef const uintptr_t* starts
    cdef const uintptr_t* ends
    cdef Py_ssize_t blocks

    new_claim = Claim

    def __cinit__(self, Claim claim, kernels, list parameters, memory, cnp.ndarray steps, list formulas):
        cdef Py_ssize_t i
        cdef int j
        cdef cnp.ndarray flat
        self.claim, self.kernels, self.parameters, self.memory = claim, kernels, parameters, memory
        self.count = len(parameters)
        self.arrays = [parameter.array for parameter in parameters]
        self.views = [parameter.view for parameter in parameters]
        names = [parameter.name for parameter in parameters]
        self.names = None if None in names else names
        self.groups = [None] * len(formulas)
        self.held = [None] * self.count
        self.steps_array = steps
        self.steps = <int64_t*>cnp.PyArray_DATA(steps)
        self.starts_array = np.array(memory.starts, dtype=np.uintp)
        self.ends_array = np.array(memory.ends, dtype=np.uintp)
        self.starts = <const uintptr_t*>cnp.PyArray_DATA(self.starts_array)
        self.ends = <const uintptr_t*>cnp.PyArray_DATA(self.ends_array)
        self.blocks = len(memory.starts)
        self.tensors = <Tensor*>PyMem_Calloc(self.count, sizeof(Tensor))
        self.owners = <Tensor**>PyMem_Calloc(self.count, sizeof(Tensor*))
        if self.tensors == NULL or self.owners == NULL:
            raise MemoryError
        for i, parameter in enumerate(parameters):
            flats = [parameter.flat, None, *parameter.state_flats.values()]
            if len(flats) > MOST_BUFFERS:
                raise ValueError(f"{parameter.label}: more state arrays than the engine holds; raise MOST_BUFFERS")
            for j, block in enumerate(flats):
                if block is not None:
                    flat = block
                    self.tensors[i].buffers[j] = cnp.PyArray_DATA(flat)
            self.tensors[i].count = len(flats)
            self.tensors[i].n = parameter.flat.size
            self.tensors[i].itemsize = parameter.flat.itemsize
            self.tensors[i].group = parameter.group
        for i in range(len(formulas)):
            self.set_formula(i, formulas[i])

    def __dealloc__(self):
        PyMem_Free(self.tensors)
        PyMem_Free(self.owners)

    def retire(self):
        self.retired = True

    def set_formula(self, Py_ssize_t index, formula):
        cdef Py_ssize_t i
        cdef Group group = Group(index, formula, self.kernels)
        for i in range(self.count):
            if self.tensors[i].group == index:
                if self.tensors[i].count != group.buffers:
                    raise ValueError(f"kernel {formula.kernel!r}: it takes other state arrays than the rule has")
                if self.tensors[i].itemsize == 4:
                    group.largest = FLT_MAX
        self.groups[index] = group
        for i in range(self.count):
            if self.tensors[i].group == index:
                self.tensors[i].kernel = group.kernels[self.tensors[i].itemsize == 8]

    def step(self, grads):
        cdef Py_ssize_t i, total = 0
        self.claim.take()
        try:
            if self.retired:
                raise RuntimeError(BUSY)
            self.hold(grads)
            # Learning rates are the caller's code, which may do anything: so they come before the checks.
            self.compute_scalars()
            self.admit()
            for i in range(self.count):
                if self.tensors[i].active:
                    self.tensors[i].buffers[1] = cnp.PyArray_DATA(<cnp.ndarray>self.held[i])
                    total += self.tensors[i].n
            # Nothing has been written until here, and what follows cannot fail.
            if total < RELEASE_ELEMENTS:
                self.run()
            else:
                with nogil:
                    self.run()
        finally:
            for i in range(self.count):
                self.held[i] = None
            self.claim.drop()

    @cython.boundscheck(True)  # another thread may shorten the list
    cdef int hold(self, grads) except -1:
        """Keep the gradients in the order of the parameters, so that the caller's code cannot free them."""
        cdef Py_ssize_t i
        if type(grads) is dict and self.names is not None and len(<dict>grads) == self.count:
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
            g = grads[i]
            self.held[i] = g
            self.tensors[i].active = g is not None
        return 0

    cdef int compute_scalars(self) except -1:
        """Point each active tensor at its scalars: its own, or those of one before it in the same group and step."""
        cdef Py_ssize_t i, j, owners = 0
        cdef int64_t t
        cdef Tensor* tensor
        for i in range(self.count):
            tensor = &self.tensors[i]
            if not tensor.active:
                continue
            t = self.steps[i] + 1
            # Backwards, for most often the last one will do.
            for j in range(owners - 1, -1, -1):
                if self.owners[j].group == tensor.group and self.owners[j].t == t:
                    tensor.scalars = self.owners[j].block
                    break
            else:
                (<Group>self.groups[tensor.group]).compute(t, tensor.block)
                tensor.scalars = tensor.block
                tensor.t = t
                self.owners[owners] = tensor
                owners += 1
        return 0

    cdef int admit(self) except -1:
        cdef Py_ssize_t i
        cdef bint again = False
        for i in range(self.count):
            if self.tensors[i].active and not self.fits(i):
                parameter = self.parameters[i]
                parameter.check_unchanged()
                self.held[i] = parameter.admit(self.held[i], self.memory)
                again = True
        if again:
            # Python has run since the first look: nothing that fitted may have changed.
            for i in range(self.count):
                if self.tensors[i].active and not self.fits(i):
                    raise ValueError(f"{self.parameters[i].label}: it or its gradient changed while it was checked")
        return 0

    cdef bint fits(self, Py_ssize_t i) noexcept:
        """Whether a parameter is as it was given, and its gradient plainly in order."""
        cdef cnp.ndarray view = <cnp.ndarray>self.views[i]
        cdef cnp.ndarray array = <cnp.ndarray>self.arrays[i]
        g = self.held[i]
        return (
            cnp.PyArray_DATA(array) == cnp.PyArray_DATA(view)
            and same_layout(array, view, cnp.NPY_ARRAY_WRITEABLE)
            and cnp.PyArray_CheckExact(g)
            and same_layout(<cnp.ndarray>g, view, 0)
            and self.is_apart(
                <uintptr_t>cnp.PyArray_DATA(<cnp.ndarray>g), self.tensors[i].n * self.tensors[i].itemsize
            )
        )

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

    cdef void run(self) noexcept nogil:
        cdef Py_ssize_t i, start
        cdef int j
        cdef Tensor* tensor
        cdef void* buffers[MOST_BUFFERS]
        for i in range(self.count):
            tensor = &self.tensors[i]
            if not tensor.active:
                continue
            start = 0
            while start < tensor.n:
                for j in range(tensor.count):
                    buffers[j] = <char*>tensor.buffers[j] + start * tensor.itemsize
                tensor.kernel(buffers, tensor.scalars, min(tensor.n - start, <Py_ssize_t>CHUNK_ELEMENTS))
                start += CHUNK_ELEMENTS
            self.steps[i] += 1
