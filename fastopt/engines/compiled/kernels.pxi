# What loops are made with. One stub for each instruction set includes this file and then loops, and is compiled with that
# set's flags, without contraction of products and sums into one rounding.

include "rounding.pxi"
include "words.pxi"

from cpython.pycapsule cimport PyCapsule_New


cdef object capsule(void* pointer, const char* name):
    # The engine asks for a capsule by its name, so that it can never call one kind of function as another.
    return None if pointer == NULL else PyCapsule_New(pointer, name, NULL)


cdef tuple kernels(void* float32, void* float64):
    return capsule(float32, "fastopt float32 kernel"), capsule(float64, "fastopt float64 kernel")


cdef tuple reductions(void* float32, void* float64):
    return capsule(float32, "fastopt float32 reduction"), capsule(float64, "fastopt float64 reduction")


cdef tuple loop_entry(
    void* float32, void* float64, void* sums32, void* sums64, void* finish, int used, int checked_count, int number_count,
    int sum_count, tuple carried
):
    """A loop for both types, what runs in the pass before it, and what computes numbers between them.

    Then the state arrays that it uses, a bit for each; how many numbers there are that must be finite, and how many in
    all; how many sums; and which of the numbers are carried on to the next update.
    """
    return (
        kernels(float32, float64), reductions(sums32, sums64), capsule(finish, "fastopt finish"), used, checked_count,
        number_count, sum_count, carried,
    )


cdef tuple formula_entry(void* numbers, str arrays, str inputs, tuple loops):
    return capsule(numbers, "fastopt numbers"), tuple(arrays.split()), tuple(inputs.split()), loops


FORMULAS = {}  # by their names; those that `fastopt.compile` adds by the functions themselves
