"""Switch callbacks in Python: one C callback for each interpreter calls them all. _callbacks.py keeps the list."""

from stackwarden cimport (
    STACKWARDEN_DONE,
    stackwarden_stack,
    stackwarden_status,
    stackwarden_switch_callback,
)


cdef extern from "Python.h":
    void *PyInterpreterState_Get()
    PyObject *PyObject_CallFunctionObjArgs(object callable, ...)
    void PyErr_WriteUnraisable(PyObject *object)
    bint PyErr_ExceptionMatches(object kind)


_switch_callbacks = []  # (callable, serial of a thread or 0)
_is_listening = False
_ended_threads = 0  # those whose callbacks were forgotten


cdef void _call_python_callbacks(
        const stackwarden_stack *left, const stackwarden_stack *entered, void *interpreter) noexcept:
    """A C switch callback, one for each interpreter. Requires: attached."""
    cdef uint64_t thread, serial = this_thread().serial
    cdef tuple callback
    if PyInterpreterState_Get() != interpreter:
        return
    if _ended_threads != sw_process.ended_threads:
        _forget_callbacks_of_ended_threads()
    for callback in tuple(_switch_callbacks):
        thread = callback[1]
        if thread == 0 or thread == serial:
            _call_python_callback(callback[0], _stack(left), _stack(entered))


cdef void _call_python_callback(callback, Stack left, Stack entered) noexcept:
    cdef PyObject *result = PyObject_CallFunctionObjArgs(callback, <PyObject *>left, <PyObject *>entered, NULL)
    if result == NULL:
        if PyErr_ExceptionMatches(StackExit):
            PyErr_Clear()  # a callback that waited is closed with its coroutine, which the adapter sees to
        else:
            PyErr_WriteUnraisable(<PyObject *>callback)
    Py_XDECREF(result)


def _listen():
    """Have the callbacks called while there are any."""
    global _is_listening
    cdef stackwarden_switch_callback call = <stackwarden_switch_callback><void *>_call_python_callbacks
    cdef stackwarden_status status
    if _switch_callbacks and not _is_listening:
        status = sw_table.register_switch_callback(call, PyInterpreterState_Get(), 1)
        if status != STACKWARDEN_DONE:
            _refuse(status, "switch callback")
        _is_listening = True
    elif _is_listening and not _switch_callbacks:
        sw_table.unregister_switch_callback(call, PyInterpreterState_Get())
        _is_listening = False


def _thread_serial():
    """A number that no other thread has, before or after."""
    cdef sw_thread *thread = this_thread()
    if thread == NULL:
        _refuse(why_no_block(), "switch callback")
    return thread.serial


cdef bint _is_of_ended_thread(uint64_t serial) noexcept nogil:
    cdef bint ended
    if not sw_lock():
        return False
    ended = serial != 0 and thread_with_serial(serial) == NULL
    sw_unlock()
    return ended


def _forget_callbacks_of_ended_threads():
    """They are of no use any more."""
    global _ended_threads
    _ended_threads = sw_process.ended_threads
    for callback in tuple(_switch_callbacks):
        if _is_of_ended_thread(callback[1]):
            _forget_callback(callback)
    _listen()


def _forget_callback(callback, /):
    """One step. False: somebody else did it."""
    try:
        _switch_callbacks.remove(callback)
    except ValueError:
        return False
    return True
