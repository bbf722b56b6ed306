# The plan of a step, and its passes: what happens without the GIL once nothing can fail any more.
#
# A plan cuts the tensors into chunks that stay in cache, and does all stages of a pass on one chunk before the next.
# A task, which a thread takes at once, is a chunk of a large tensor or several small tensors.
# The borders of chunks depend on a tensor's length alone, and what is summed is summed by chunks and then in their
# order: so the bits do not depend on how many threads share the work.

from libc.math cimport sqrt
from libc.string cimport memset

cdef extern from "pool.hpp":
    void for_each "fastopt::Pool::for_each"(
        int threads, Py_ssize_t count, void (*work)(void*, Py_ssize_t, int) noexcept nogil, void* context
    ) noexcept nogil

cdef extern from "subnormals.h":
    uint64_t fastopt_mode() noexcept nogil
    void fastopt_set_mode(uint64_t) noexcept nogil
    uint64_t fastopt_flushing(uint64_t) noexcept nogil

ctypedef int (*Choose)(const double* inputs, double* numbers) noexcept nogil  # a loop, and compute its numbers
ctypedef void (*Kernel)(void** buffers, const double* numbers, Py_ssize_t n) noexcept nogil
ctypedef void (*Reduction)(void** buffers, const double* numbers, Py_ssize_t n, double* sums) noexcept nogil
ctypedef void (*Finish)(const double* sums, double* numbers) noexcept nogil

cdef extern from *:
    """
    // The elements of a chunk, and the most of a task.
    #define CHUNK_ELEMENTS 16384
    """
    enum:
        CHUNK_ELEMENTS

cdef enum:
    MAX_BUFFERS = 10
    MAX_NUMBERS = 32
    MAX_SUMS = 4
    # The bytes of a step's arrays for each thread that takes part. With fewer, the work is over before a thread wakes up.
    THREAD_BYTES = 2 << 20

cdef enum Part:
    # Bits of a pass, which does some of its parts, in this order.
    CHECK_FINITE = 1  # sum the squares of gradients as they are given: not finite if one of them is not
    ACCUMULATE = 2  # add the gradients to the sums of those before
    SUM_SQUARES = 4  # sum the squares of the gradients that the rule will get
    REDUCE = 8  # the first loops of rules that need sums
    UPDATE = 16  # the kernels, and what comes after them
    SWAP = 32  # parameters with their averages

cdef struct Loop:
    Kernel kernels[2]  # float32, float64
    Reduction reductions[2]  # or NULL
    Finish finish  # or NULL: of the numbers that depend on what was reduced
    uint64_t used  # a bit for each state array
    int checked_count, number_count  # how many numbers have to be finite, and how many there are
    int sum_count
    int carried[MAX_NUMBERS], carried_count  # which of the numbers are carried on to the next update


cdef struct Tensor:
    void* buffers[MAX_BUFFERS]  # parameter, gradient for the kernel, state: NULL where the formula does not use it
    void* gradient  # as it is given; NULL for none
    void* disjoint  # where a gradient was found to share no memory with parameters and state: the next is often there
    void* grad_sum  # or NULL
    void* ema  # or NULL
    double* carried  # the numbers that the rule carries from update to update
    int64_t* counts  # of steps, and of the gradients in their sum
    int count  # of buffers
    int array_count  # of those that are there
    Py_ssize_t n
    Py_ssize_t group
    Py_ssize_t itemsize
    Py_ssize_t first_chunk  # its place among the chunks of all tensors
    bint active  # takes part in this step
    const Loop* loop
    # Tensors of one group and step count have the same numbers: most often they stand in the `own_numbers` of the first
    # of them alone, and the others point there. Only those that depend on sums are each tensor's own.
    const double* numbers
    double own_numbers[MAX_NUMBERS]


cdef struct Task:
    Py_ssize_t first, last  # tensors
    Py_ssize_t start  # of the chunk, where it is one tensor


cdef struct StageNumbers:
    # The options of the stages, and what follows from them.
    int64_t accumulate
    bint accumulates, checks_finite, skips, clips_value, keeps_ema, zeroes, flushes
    double loss_scale, accumulate_scale
    double clip_norm  # or -1
    double clip_bound


cdef struct Plan:
    Tensor* tensors
    Task* tasks
    double* sums  # MAX_SUMS for each chunk
    Py_ssize_t task_count
    double* scratch  # room for a chunk of clipped gradients, for each thread
    Py_ssize_t scratch_size  # of one of them, in elements
    # The stages for float32 and float64, and their options.
    Reduction sum_of_squares[2]
    Kernel accumulate[2]
    Kernel clip[2]
    Kernel update_ema[2]
    Kernel swap[2]
    const StageNumbers* stages
    double clip_numbers[2]  # scale and bound
    double ema_numbers[2]  # the decay, and 1 less that
    int parts  # that the pass does
    uint64_t mode  # of the arithmetic of the thread that steps


cdef void do_chunk(Plan* plan, Tensor* tensor, Py_ssize_t start, int thread) noexcept nogil:
    cdef int j, parts = plan.parts, double_ = tensor.itemsize == 8
    cdef Py_ssize_t n = min(tensor.n - start, <Py_ssize_t>CHUNK_ELEMENTS)
    cdef Py_ssize_t offset = start * tensor.itemsize, size = n * tensor.itemsize
    cdef double* sums = plan.sums + MAX_SUMS * (tensor.first_chunk + start // CHUNK_ELEMENTS)
    cdef void* buffers[MAX_BUFFERS]
    cdef void* pair[2]
    cdef void* given = NULL if tensor.gradient == NULL else <char*>tensor.gradient + offset
    cdef void* gradient  # that the rule is given: `given`, or the sum of gradients
    if parts & CHECK_FINITE and given != NULL:
        plan.sum_of_squares[double_](&given, NULL, n, sums)
    if parts & ACCUMULATE and given != NULL:
        pair[0], pair[1] = <char*>tensor.grad_sum + offset, given
        plan.accumulate[double_](pair, &plan.stages.accumulate_scale, n)
        if plan.stages.zeroes:
            memset(given, 0, size)
    if not parts & (SUM_SQUARES | REDUCE | UPDATE | SWAP):
        return
    for j in range(tensor.count):
        buffers[j] = NULL if tensor.buffers[j] == NULL else <char*>tensor.buffers[j] + offset
    gradient = buffers[1]
    if parts & SUM_SQUARES:
        plan.sum_of_squares[double_](&gradient, NULL, n, sums)
    if parts & (REDUCE | UPDATE) and plan.stages.clips_value:
        buffers[1] = plan.scratch + thread * plan.scratch_size
        pair[0], pair[1] = buffers[1], gradient
        plan.clip[double_](pair, plan.clip_numbers, n)
    if parts & REDUCE and tensor.loop.sum_count > 0:
        tensor.loop.reductions[double_](buffers, tensor.numbers, n, sums)
    if parts & UPDATE:
        tensor.loop.kernels[double_](buffers, tensor.numbers, n)
        if plan.stages.keeps_ema:
            pair[0], pair[1] = <char*>tensor.ema + offset, buffers[0]
            plan.update_ema[double_](pair, plan.ema_numbers, n)
        # A sum has to start again from zero, whatever becomes of the gradients.
        if plan.stages.accumulates or plan.stages.zeroes:
            memset(gradient, 0, size)
    if parts & SWAP:
        pair[0], pair[1] = <char*>tensor.ema + offset, buffers[0]
        plan.swap[double_](pair, NULL, n)


cdef void do_task(void* context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Plan* plan = <Plan*>context
    cdef Task* task = &plan.tasks[index]
    cdef Py_ssize_t i
    for i in range(task.first, task.last):
        if plan.tensors[i].active and task.start < plan.tensors[i].n:
            do_chunk(plan, &plan.tensors[i], task.start, thread)


cdef void do_task_in_mode(void* context, Py_ssize_t index, int thread) noexcept nogil:
    """Where there are helpers: they have their mode from the thread that made them, which need not be this caller."""
    cdef uint64_t before = fastopt_mode()
    fastopt_set_mode((<Plan*>context).mode)
    do_task(context, index, thread)
    fastopt_set_mode(before)


cdef void do_pass(Plan* plan, int parts, int threads) noexcept nogil:
    """Do these parts on every chunk of the active tensors."""
    plan.parts = parts
    if threads > 1:
        plan.mode = fastopt_mode()
    for_each(threads, plan.task_count, do_task_in_mode if threads > 1 else do_task, plan)


cdef double sum_of(Plan* plan, Tensor* tensor, int which) noexcept nogil:
    """One of the sums of a tensor, in the order of its chunks."""
    cdef Py_ssize_t i
    cdef double total = 0
    for i in range((tensor.n + CHUNK_ELEMENTS - 1) // CHUNK_ELEMENTS):
        total += plan.sums[MAX_SUMS * (tensor.first_chunk + i) + which]
    return total


cdef void finish(Plan* plan, Tensor* tensor) noexcept nogil:
    """Give a tensor numbers of its own, with those that depend on its sums."""
    cdef double sums[MAX_SUMS]
    cdef int i
    for i in range(tensor.loop.sum_count):
        sums[i] = sum_of(plan, tensor, i)
    if tensor.numbers != tensor.own_numbers:
        for i in range(tensor.loop.checked_count):
            tensor.own_numbers[i] = tensor.numbers[i]
        tensor.numbers = tensor.own_numbers
    tensor.loop.finish(sums, tensor.own_numbers)


cdef void carry_on(Tensor* tensor) noexcept nogil:
    """Keep the numbers that the rule carries, when an update has been made."""
    cdef int i
    for i in range(tensor.loop.carried_count):
        tensor.carried[i] = tensor.numbers[tensor.loop.carried[i]]


cdef Py_ssize_t make_tasks(Tensor* tensors, Py_ssize_t count, Task* tasks) noexcept:
    """Make tasks of the tensors, and count them; there must be room for one a tensor and one a chunk."""
    cdef Py_ssize_t i, start, room = 0, made = 0
    for i in range(count):
        if tensors[i].n > CHUNK_ELEMENTS:
            for start in range(0, tensors[i].n, CHUNK_ELEMENTS):
                tasks[made] = Task(i, i + 1, start)
                made += 1
            room = 0
        elif made > 0 and tensors[i].n <= room:
            tasks[made - 1].last = i + 1
            room -= tensors[i].n
        else:
            tasks[made] = Task(i, i + 1, 0)
            made += 1
            room = CHUNK_ELEMENTS - tensors[i].n
    return made
