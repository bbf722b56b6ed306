# The checks of gradients: what is plainly in order passes, and the rest goes to the Python methods of the parameter,
# which raise the error or give an array that can be used.

cdef object MISSING = object()


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


cdef void zero(char* start, int axes, const cnp.npy_intp* shape, const cnp.npy_intp* strides, Py_ssize_t itemsize) noexcept:
    """Zero an array with any strides."""
    cdef Py_ssize_t i
    if axes == 0:
        memset(start, 0, itemsize)
        return
    for i in range(shape[0]):
        zero(start + i * strides[0], axes - 1, shape + 1, strides + 1, itemsize)


cdef class GradientChecks:
    """The gradients of the step that is being made, and the parameters that they belong to."""
    cdef Plan plan
    cdef pair[uintptr_t, Py_ssize_t]* order  # of the gradients in memory, as it was last: addresses and indices
    cdef Py_ssize_t count
    cdef list parameters, arrays, views, held, copied, bound
    cdef list mappings  # of the bound gradients, held open
    cdef list number_arrays  # in which numbers become gradients: one for each 0-d parameter, else None
    cdef object tree  # the parameters' nesting, a Branch
    cdef bint flat  # whether the tree holds nothing but parameters
    cdef object addresses
    cdef cnp.ndarray starts_array, ends_array
    cdef const uintptr_t* starts
    cdef const uintptr_t* ends
    cdef Py_ssize_t blocks

    cdef int begin_with(self, list parameters, tree, addresses) except -1:
        """Take over the parameters with their nesting, and where all arrays lie."""
        cdef Py_ssize_t i
        self.parameters, self.tree, self.flat, self.addresses = parameters, tree, is_flat(tree), addresses
        self.count = len(parameters)
        self.arrays = list(map(attrgetter("array"), parameters))
        self.views = list(map(attrgetter("view"), parameters))
        self.held = [None] * self.count
        self.number_arrays = [None] * self.count
        for i in range(self.count):
            if cnp.PyArray_NDIM(<cnp.ndarray>self.views[i]) == 0:
                self.number_arrays[i] = np.empty_like(self.views[i])
        self.starts_array = np.array(addresses.starts, dtype=np.uintp)
        self.ends_array = np.array(addresses.ends, dtype=np.uintp)
        self.starts = <const uintptr_t*>cnp.PyArray_DATA(self.starts_array)
        self.ends = <const uintptr_t*>cnp.PyArray_DATA(self.ends_array)
        self.blocks = len(addresses.starts)
        self.order = <pair[uintptr_t, Py_ssize_t]*>PyMem_Calloc(self.count, sizeof(pair[uintptr_t, Py_ssize_t]))
        if self.order == NULL:
            raise MemoryError
        for i in range(self.count):
            self.order[i].second = i
        return 0

    def __dealloc__(self):
        PyMem_Free(self.order)

    cdef void zero_copied(self) noexcept:
        """Zero the gradients that were copied for the step."""
        cdef cnp.ndarray g
        if self.copied is not None:
            for g in self.copied:
                zero(<char*>cnp.PyArray_DATA(g), cnp.PyArray_NDIM(g), g.shape, g.strides, g.itemsize)

    @cython.boundscheck(True)  # another thread may shorten the list
    cdef int hold(self, grads) except -1:
        """Keep the gradients in the order of the parameters, so that the caller's code cannot free them."""
        cdef Py_ssize_t i
        if grads is BOUND:
            if self.bound is None:
                raise TypeError(UNBOUND)
            grads = self.bound
        elif cnp.PyArray_CheckExact(grads) and self.count == 1:
            grads = [grads]
        elif not (self.flat and (type(grads) is list or type(grads) is tuple) and len(grads) == self.count):
            if self.place(self.tree, grads):
                return 0
            grads = ordered(grads, self.tree, self.parameters)
        for i in range(self.count):
            self.held[i] = grads[i]
        return 0

    @cython.boundscheck(True)
    cdef int place(self, branch, grads) except -1:
        """Keep gradients that are plainly nested as a branch of the parameters. Whether they are."""
        cdef tuple names = (<tuple>branch)[1], items = (<tuple>branch)[2]
        cdef Py_ssize_t j, n = len(items)
        if names is None:
            if not ((type(grads) is list or type(grads) is tuple) and len(grads) == n):
                return False
            for j in range(n):
                if not self.place_one(items[j], grads[j]):
                    return False
        elif type(grads) is dict:
            if len(<dict>grads) != n:
                return False
            for j in range(n):
                if not self.place_one(items[j], (<dict>grads).get(names[j], MISSING)):
                    return False
        else:
            if fields_of(grads) != names or len(<tuple>grads) != n:
                return False
            for j in range(n):
                if not self.place_one(items[j], (<tuple>grads)[j]):
                    return False
        return True

    cdef inline int place_one(self, item, g) except -1:
        if type(item) is int:
            self.held[<Py_ssize_t>item] = g
            return g is not MISSING
        return self.place(item, g)

    cdef void let_go(self) noexcept:
        cdef Py_ssize_t i
        for i in range(self.count):
            self.held[i] = None
        self.copied = None

    cdef int check_gradients(self) except -1:
        """Let through what is plainly in order; have the rest checked, and copied if need be, and look once more."""
        cdef Py_ssize_t i
        cdef bint again = False
        for i in range(self.count):
            if self.plan.tensors[i].active and not self.fits(i) and not self.take_number(i):
                again = True
                break
        if again or self.plan.stages.zeroes and not self.are_disjoint():
            self.check_slowly()
            # Python has run since the first look: nothing that fitted may have changed.
            for i in range(self.count):
                if self.plan.tensors[i].active and not self.fits(i):
                    raise ValueError(f"{self.parameters[i].label}: it or its gradient changed while it was checked")
        return 0

    cdef int check_slowly(self) except -1:
        """Raise what is wrong, or copy what cannot be used as it is."""
        cdef Py_ssize_t i
        cdef list given = list(self.held), copied = []
        for i in range(self.count):
            if self.plan.tensors[i].active and not self.fits(i):
                parameter = self.parameters[i]
                parameter.check_unchanged()
                if given[i] is not None:
                    self.held[i] = parameter.check_gradient(given[i], self.addresses, self.plan.stages.zeroes)
                    if self.held[i] is not given[i]:
                        # Plain arrays, because a subclass may do anything when it is written to.
                        copied.append(np.asarray(given[i]))
        if self.plan.stages.zeroes:
            check_disjoint(map(attrgetter("label"), self.parameters), given)
            self.copied = copied
        return 0

    cdef int take_number(self, Py_ssize_t i) except -1:
        """Put a number that is the gradient of a 0-d parameter into an array. Whether it is that."""
        cdef object g = self.held[i], array = self.number_arrays[i]
        cdef void* start
        if array is None or self.plan.stages.zeroes or not (type(g) is float or type(g) is self.views[i].dtype.type):
            return False
        start = cnp.PyArray_DATA(<cnp.ndarray>array)
        if self.plan.tensors[i].itemsize == 8:
            (<double*>start)[0] = g
        elif type(g) is float:
            (<float*>start)[0] = <double>g
        else:
            cnp.PyArray_ScalarAsCtype(g, start)
        self.held[i] = array
        return self.fits(i)

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
        """Whether a gradient is plainly its parameter's: in type, shape and order, and disjoint from all state."""
        cdef Tensor* tensor = &self.plan.tensors[i]
        cdef cnp.ndarray view = <cnp.ndarray>self.views[i]
        cdef int flags = cnp.NPY_ARRAY_WRITEABLE if self.plan.stages.zeroes else 0
        if not cnp.PyArray_CheckExact(g) or not same_layout(<cnp.ndarray>g, view, flags):
            return False
        if cnp.PyArray_DATA(<cnp.ndarray>g) != tensor.disjoint:
            if not self.is_disjoint(<uintptr_t>cnp.PyArray_DATA(<cnp.ndarray>g), tensor.n * tensor.itemsize):
                return False
            tensor.disjoint = cnp.PyArray_DATA(<cnp.ndarray>g)
        return True

    cdef bint is_disjoint(self, uintptr_t start, Py_ssize_t size) noexcept:
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

    cdef bint are_disjoint(self) noexcept:
        """Whether no two gradients share memory. Their order in memory is most often that of the step before."""
        cdef Py_ssize_t i
        if self.follow_each_other():
            return True
        for i in range(self.count):
            g = self.held[self.order[i].second]
            self.order[i].first = 0 if g is None else <uintptr_t>cnp.PyArray_DATA(<cnp.ndarray>g)
        sort(self.order, self.order + self.count)
        return self.follow_each_other()

    cdef bint follow_each_other(self) noexcept:
        """Whether each gradient begins behind the end of that before, in the order of the last sorting."""
        cdef Py_ssize_t i, one
        cdef uintptr_t start, end = 0
        for i in range(self.count):
            one = self.order[i].second
            if self.held[one] is not None and self.plan.tensors[one].n > 0:
                start = <uintptr_t>cnp.PyArray_DATA(<cnp.ndarray>self.held[one])
                if start < end:
                    return False
                end = start + <uintptr_t>(self.plan.tensors[one].n * self.plan.tensors[one].itemsize)
        return True
