# The plan of a step, and its passes: what happens without the GIL once nothing can fail any more.
#
# A plan cuts the tensors into chunks that stay in cache, and does all stages of a pass on one chunk before the next.
# The borders of chunks depend on a tensor's length alone, and what is summed is summed by chunks and then in their
# order: so the bits do not depend on how many threads share the work.

from libc.math cimport sqrt
from libc.string cimport memset

cdef extern from "pool.hpp":
    void for_each "fastopt::Pool::for_each"(
        int threads, Py_ssize_t count, void (*work)(void*, Py_ssize_t) noexcept nogil, void* context
    ) noexcept nogil

    double* scratch "fastopt::scratch<CHUNK_ELEMENTS>"() noexcept nogil

cdef extern from "subnormals.h":
    uint64_t fastopt_flush() noexcept nogil
    void fastopt_restore(uint64_t) noexcept nogil

ctypedef void (*Kernel)(void** buffers, const double* scalars, Py_ssize_t n) noexcept nogil
ctypedef void (*Reduction)(void** buffers, const double* scalars, Py_ssize_t n, double* sums) noexcept nogil

cdef extern from *:
    """
    // Elements that a kernel gets at once.
    #define CHUNK_ELEMENTS 16384
    """
    enum:
        CHUNK_ELEMENTS

cdef enum:
    MOST_BUFFERS = 5
    MOST_SCALARS = 16
    # What threads take at once: many chunks, or many small tensors.
    TASK_ELEMENTS = 16384
    # The bytes of a step's arrays for each thread that takes part. Fewer are done before a thread is awake.
    THREAD_BYTES = 2 << 20

cdef enum Stage:
    # Bits: a pass does some of them, in this order.
    EXAMINE = 1  # sum the squares of gradients as they are given
    GATHER = 2  # add the gradients to the sums of those before
    MEASURE = 4  # sum the squares of the gradients that the rule will get
    PREPARE = 8  # the reductions of kernels that have one
    UPDATE = 16  # the kernels, and what comes after them
    SWAP = 32  # parameters with their averages

cdef struct Tensor:
    void* buffers[MOST_BUFFERS]  # parameter, gradient for the kernel, state
    void* gradient  # as it is given; NULL for none
    void* gathered  # the sum of gradients, or NULL
    void* average  # of the parameter, or NULL
    int count  # of buffers
    Py_ssize_t n
    Py_ssize_t group
    Py_ssize_t itemsize
    Py_ssize_t chunks  # before this one, in the tensors before it
    bint active  # takes part in this step
    Kernel kernel
    Reduction norms  # or NULL
    double coefficient  # of their ratio
    int slot  # of the ratio among the scalars
    const double* scalars  # its own block, or that of an earlier tensor with the same numbers
    double block[MOST_SCALARS]
    int64_t t  # the step that the block is of


cdef struct Task:
    Py_ssize_t first, last  # tensors
    Py_ssize_t start, stop  # elements, of each of them


cdef struct Plan:
    Tensor* tensors
    Task* tasks
    double* sums  # two for each chunk
    Py_ssize_t count, task_count
    # The stages for float32 and float64, and which of them are on.
    Reduction squares[2]
    Kernel gather[2]
    Kernel clip[2]
    Kernel average[2]
    Kernel swap[2]
    bint gathers, clips, averages, zeroes, flushes
    double clip_scalars[2]
    double average_scalars[2]
    int stages  # of the pass


cdef void do_chunk(Plan* plan, Tensor* tensor, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    cdef int j, stages = plan.stages, double_ = tensor.itemsize == 8
    cdef Py_ssize_t offset = start * tensor.itemsize, size = n * tensor.itemsize
    cdef double* sums = plan.sums + 2 * (tensor.chunks + start // CHUNK_ELEMENTS)
    cdef void* buffers[MOST_BUFFERS]
    cdef void* pair[2]
    cdef void* gradient = NULL if tensor.gradient == NULL else <char*>tensor.gradient + offset
    if stages & EXAMINE and gradient != NULL:
        plan.squares[double_](&gradient, NULL, n, sums)
    if stages & GATHER and gradient != NULL:
        pair[0], pair[1] = <char*>tensor.gathered + offset, gradient
        plan.gather[double_](pair, NULL, n)
        if plan.zeroes:
            memset(gradient, 0, size)
    if not stages & (MEASURE | PREPARE | UPDATE | SWAP):
        return
    for j in range(tensor.count):
        buffers[j] = <char*>tensor.buffers[j] + offset
    gradient = buffers[1]
    if stages & MEASURE:
        plan.squares[double_](&gradient, NULL, n, sums)
    if plan.clips and stages & (PREPARE | UPDATE):
        buffers[1] = scratch()
        pair[0], pair[1] = buffers[1], gradient
        plan.clip[double_](pair, plan.clip_scalars, n)
    if stages & PREPARE and tensor.norms != NULL:
        tensor.norms(buffers, tensor.scalars, n, sums)
    if stages & UPDATE:
        tensor.kernel(buffers, tensor.scalars, n)
        if plan.averages:
            pair[0], pair[1] = <char*>tensor.average + offset, buffers[0]
            plan.average[double_](pair, plan.average_scalars, n)
        if plan.gathers or plan.zeroes:
            memset(gradient, 0, size)
    if stages & SWAP:
        pair[0], pair[1] = <char*>tensor.average + offset, buffers[0]
        plan.swap[double_](pair, NULL, n)


cdef void do_task(void* context, Py_ssize_t index) noexcept nogil:
    cdef Plan* plan = <Plan*>context
    cdef Task* task = &plan.tasks[index]
    cdef Tensor* tensor
    cdef Py_ssize_t i, start, stop
    cdef uint64_t before = 0
    if plan.flushes:
        before = fastopt_flush()
    for i in range(task.first, task.last):
        tensor = &plan.tensors[i]
        if not tensor.active:
            continue
        start, stop = task.start, min(task.stop, tensor.n)
        while start < stop:
            do_chunk(plan, tensor, start, min(stop - start, <Py_ssize_t>CHUNK_ELEMENTS))
            start += CHUNK_ELEMENTS
    if plan.flushes:
        fastopt_restore(before)


cdef void do_pass(Plan* plan, int stages, int threads) noexcept nogil:
    """Do these stages on every chunk of the active tensors."""
    plan.stages = stages
    for_each(threads, plan.task_count, do_task, plan)


cdef double sum_of(Plan* plan, Tensor* tensor, int which) noexcept nogil:
    """One of the sums of a tensor, in the order of its chunks."""
    cdef Py_ssize_t i
    cdef double total = 0
    for i in range((tensor.n + CHUNK_ELEMENTS - 1) // CHUNK_ELEMENTS):
        total += plan.sums[2 * (tensor.chunks + i) + which]
    return total


cdef void set_trust(Plan* plan, Tensor* tensor) noexcept nogil:
    """Give a tensor scalars of its own, with the ratio of its norms among them."""
    cdef double ratio = 1, of_p = sum_of(plan, tensor, 0), of_update = sum_of(plan, tensor, 1)
    cdef int i
    if of_p != 0 and of_update != 0:
        ratio = tensor.coefficient * sqrt(of_p) / sqrt(of_update)
    if tensor.scalars != tensor.block:
        for i in range(tensor.slot):
            tensor.block[i] = tensor.scalars[i]
        tensor.scalars = tensor.block
    tensor.block[tensor.slot] = ratio


cdef Py_ssize_t cut(Tensor* tensors, Py_ssize_t count, Task* tasks) noexcept:
    """Cut the tensors into tasks and count those; without `tasks` only count."""
    cdef Py_ssize_t i, start, room = 0, made = 0
    for i in range(count):
        if tensors[i].n > TASK_ELEMENTS:
            for start in range(0, tensors[i].n, TASK_ELEMENTS):
                if tasks != NULL:
                    tasks[made] = Task(i, i + 1, start, start + TASK_ELEMENTS)
                made += 1
            room = 0
        elif made > 0 and tensors[i].n <= room:
            if tasks != NULL:
                tasks[made - 1].last = i + 1
            room -= tensors[i].n
        else:
            if tasks != NULL:
                tasks[made] = Task(i, i + 1, 0, TASK_ELEMENTS)
            made += 1
            room = TASK_ELEMENTS - tensors[i].n
    return made
