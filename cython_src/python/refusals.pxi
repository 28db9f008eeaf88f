"""Refusals of the C layer: errors.py knows the class of each, _contract.py how ranges are worded."""

from stackwarden cimport STACKWARDEN_BAD_RANGE, stackwarden_status, status_text


cdef extern from "Python.h":
    object PyNumber_Index(object number)
    unsigned long long PyLong_AsUnsignedLongLong(object number) except? <unsigned long long>-1


cdef int _refuse(stackwarden_status status, str what) except -1:
    raise refusal(<int>status, status_text(status).decode(), what)


cdef int _check(stackwarden_status status, base, size) except -1:
    if status < 0:
        raise refusal_of_range(<int>status, status_text(status).decode(), base, size)
    return 0


cdef int _read_range(base, size, uintptr_t *low, size_t *length) except -1:
    """Integers that a range in C cannot hold are refused here, with their numbers."""
    base = PyNumber_Index(base)
    size = PyNumber_Index(size)
    try:
        low[0] = PyLong_AsUnsignedLongLong(base)
        length[0] = PyLong_AsUnsignedLongLong(size)
    except OverflowError:
        _check(STACKWARDEN_BAD_RANGE, base, size)
    return 0
