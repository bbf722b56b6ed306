# The sum of squares of any arrays, by the passes of a step.

def squares(kernels, list blocks):
    """The sum of the squares of flat arrays: of each by itself, and then of all in their order."""
    cdef Py_ssize_t i, chunks = 0, size = 0, count = len(blocks)
    cdef double total = 0
    cdef cnp.ndarray block
    cdef Plan plan
    memset(&plan, 0, sizeof(Plan))
    unpack(kernels.STAGES["sum_of_squares"], "reduction", <void**>plan.sum_of_squares)
    try:
        plan.tensors = <Tensor*>PyMem_Calloc(count, sizeof(Tensor))
        if plan.tensors == NULL:
            raise MemoryError
        for i in range(count):
            block = blocks[i]
            plan.tensors[i].buffers[1], plan.tensors[i].count = cnp.PyArray_DATA(block), 2
            plan.tensors[i].n, plan.tensors[i].itemsize = cnp.PyArray_SIZE(block), block.itemsize
            plan.tensors[i].active, plan.tensors[i].first_chunk = True, chunks
            chunks += (plan.tensors[i].n + CHUNK_ELEMENTS - 1) // CHUNK_ELEMENTS
            size += plan.tensors[i].n * plan.tensors[i].itemsize
        plan.tasks = <Task*>PyMem_Calloc(count + chunks, sizeof(Task))
        plan.sums = <double*>PyMem_Calloc(MAX_SUMS * chunks, sizeof(double))
        if plan.tasks == NULL or plan.sums == NULL:
            raise MemoryError
        plan.task_count = make_tasks(plan.tensors, count, plan.tasks)
        with nogil:
            do_pass(&plan, SUM_SQUARES, threads_for(size))
            for i in range(count):
                total += sum_of(&plan, &plan.tensors[i], 0)
    finally:
        PyMem_Free(plan.tensors)
        PyMem_Free(plan.tasks)
        PyMem_Free(plan.sums)
    return total
