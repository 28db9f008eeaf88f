"""sizes.py for compiled callers: an int within the bounds is accepted without a call of Python.

    from stackwarden.sizes cimport size_of
    cdef size_t size = size_of(stack_size, "stack_size")          # with the GIL
"""

from libc.stddef cimport size_t


cdef extern from "Python.h":
    bint PyLong_CheckExact(object size)
    long long PyLong_AsLongLongAndOverflow(object size, int *overflow)


cdef inline size_t size_of(size, str what) except 0:
    """Bytes, of a number or a text. Raises StackRangeError, TypeError; `what` is in the text."""
    cdef int overflow = 0
    cdef long long number = PyLong_AsLongLongAndOverflow(size, &overflow) if PyLong_CheckExact(size) else 0
    if 0 < number <= 1LL << 40:  # where it overflows it is -1
        return <size_t>number
    from stackwarden import sizes
    return sizes.size_of(size, what)
