"""Refusals of the C layer: errors.py knows the class of each, _contract.py how ranges and budgets are worded."""

from stackwarden cimport STACKWARDEN_BAD_RANGE, stackwarden_status, status_text


cdef extern from "Python.h":
    object PyNumber_Index(object number)
    object PyObject_CallFunction(object callable, const char *format, ...)
    unsigned long long PyLong_AsUnsignedLongLong(object number)  # -1, too, where an exception is pending
    PyObject *PyErr_Occurred()


cdef int _refuse(stackwarden_status status, what) except -1:
    raise PyObject_CallFunction(refusal, "isO", <int>status, status_text(status), <PyObject *>what)


cdef int _refuse_range(stackwarden_status status, base, size) except -1:
    raise PyObject_CallFunction(
        refusal_of_range, "isOO", <int>status, status_text(status), <PyObject *>base, <PyObject *>size)


cdef int _check(stackwarden_status status, uintptr_t base, uintptr_t size) except -1:
    """Of a range. Allocates nothing where the call was not refused: its effect stands."""
    return _refuse_range(status, base, size) if status < 0 else 0


cdef bint _fits(number, uintptr_t *value) noexcept:
    """Has an int 64 bits, and no sign?"""
    value[0] = PyLong_AsUnsignedLongLong(number)
    if PyErr_Occurred() == NULL:
        return True
    PyErr_Clear()
    return False


cdef _integer(value, str what):
    """Raises TypeError, which names the parameter."""
    if type(value) is int:
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}: {value!r}")
    return PyNumber_Index(value)


cdef int _read_range(base, size, uintptr_t *low, uintptr_t *length) except -1:
    """Integers that a range in C cannot hold are refused here, with their numbers."""
    base = _integer(base, "base")
    size = _integer(size, "size")
    if not _fits(base, low) or not _fits(size, length):
        _refuse_range(STACKWARDEN_BAD_RANGE, base, size)
    return 0
