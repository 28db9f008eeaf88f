"""Switch callbacks in Python: one C callback for each interpreter calls them all."""

from stackwarden cimport (
    STACKWARDEN_DONE,
    STACKWARDEN_NOT_REGISTERED,
    stackwarden_stack,
    stackwarden_status,
    stackwarden_switch_callback,
)


cdef extern from "Python.h":
    void *PyInterpreterState_Get()
    PyObject *PyObject_CallFunctionObjArgs(object callable, ...)
    void PyErr_WriteUnraisable(PyObject *object)


_switch_callbacks = []  # (callable, serial of a thread or 0)


cdef void _call_python_callbacks(
        const stackwarden_stack *left, const stackwarden_stack *entered, void *interpreter) noexcept:
    """A C switch callback, one for each interpreter. Requires: attached."""
    if PyInterpreterState_Get() != interpreter:
        return
    serial = this_thread().serial
    for callback, thread in _switch_callbacks[:]:
        if thread == 0 or thread == serial:
            _call_python_callback(callback, _stack(left), _stack(entered))


cdef void _call_python_callback(callback, Stack left, Stack entered) noexcept:
    cdef PyObject *result = PyObject_CallFunctionObjArgs(callback, <PyObject *>left, <PyObject *>entered, NULL)
    if result == NULL:
        PyErr_WriteUnraisable(<PyObject *>callback)
    Py_XDECREF(result)


def _forget_ended_threads():
    """Callbacks for threads that have ended are of no use any more."""
    alive = {0}
    cdef sw_thread *thread = sw_process.threads
    while thread != NULL:
        if thread.ident:
            alive.add(thread.serial)
        thread = thread.next
    _switch_callbacks[:] = [entry for entry in _switch_callbacks if entry[1] in alive]


def _forget_callbacks():
    """This interpreter ends."""
    _switch_callbacks.clear()
    sw_unregister_switch_callback(
        <stackwarden_switch_callback><void *>_call_python_callbacks, PyInterpreterState_Get())


def register_switch_callback(callback, *, all_threads=False):
    """Call ``callback(old, new)``, two Stacks, after each switch on this thread, or on all threads.

    It runs on the new stack. What it raises goes to sys.unraisablehook, and the switch stands. A switch made
    while detached is delivered at the next sync, several as one (``status()["coalesced_switches"]``).
    """
    cdef stackwarden_status status
    if not callable(callback):
        raise TypeError(f"a switch callback must be callable, not {type(callback).__name__}")
    if not _switch_callbacks:
        status = sw_register_switch_callback(
            <stackwarden_switch_callback><void *>_call_python_callbacks, PyInterpreterState_Get(), 1)
        if status != STACKWARDEN_DONE:
            _refuse(status, "switch callback")
        atexit.register(_forget_callbacks)
    _switch_callbacks.append((callback, 0 if all_threads else this_thread().serial))


def unregister_switch_callback(callback):
    """Take back one registration of this callback, made for this thread or for all.

    Raises CallbackError when there is none.
    """
    for place, (registered, thread) in enumerate(_switch_callbacks):
        if registered == callback and thread in (0, this_thread().serial):
            del _switch_callbacks[place]
            break
    else:
        _refuse(STACKWARDEN_NOT_REGISTERED, repr(callback))
    if not _switch_callbacks:
        atexit.unregister(_forget_callbacks)
        _forget_callbacks()
