"""Switch callbacks: who is told of a switch, and when.

Promises: a callback runs attached, on the new stack, and never inside another callback of its thread. Switches
that were made detached, before the jump, or inside a callback are told as one at the next sync.
"""

from libc.stdint cimport uint64_t

from guard cimport *
from process cimport update_straight
from registry cimport handle_of
from stackwarden cimport (
    STACKWARDEN_DONE,
    STACKWARDEN_FULL,
    STACKWARDEN_NOT_REGISTERED,
    stackwarden_stack,
    stackwarden_status,
    stackwarden_switch_callback,
)


cdef extern from "Python.h" nogil:
    ctypedef struct PyObject
    void PyErr_Fetch(PyObject **type, PyObject **value, PyObject **traceback)
    void PyErr_Restore(PyObject *type, PyObject *value, PyObject *traceback)


cdef extern from * nogil:
    """
    #define SW_CALLBACKS 16
    typedef struct {
        stackwarden_switch_callback function;
        void *arg;
        uint64_t thread; /* 0: all threads */
    } sw_callback;
    static sw_callback sw_callbacks[SW_CALLBACKS];
    """
    enum:
        SW_CALLBACKS

    ctypedef struct sw_callback:
        stackwarden_switch_callback function
        void *arg
        uint64_t thread

    sw_callback *sw_callbacks


cdef inline void describe_record(const sw_record *record, stackwarden_stack *stack) noexcept nogil:
    stack[0] = stackwarden_stack(handle=handle_of(record), base=record.base, size=record.top - record.base)


cdef inline stackwarden_status sw_register_switch_callback(
        stackwarden_switch_callback function, void *arg, int all_threads) noexcept nogil:
    cdef stackwarden_status status = STACKWARDEN_FULL
    cdef int i
    sw_lock()
    for i in range(SW_CALLBACKS):
        if sw_callbacks[i].function == NULL:
            sw_callbacks[i] = sw_callback(function, arg, 0 if all_threads else sw_thread_ident())
            sw_process.callbacks += 1
            update_straight()
            status = STACKWARDEN_DONE
            break
    sw_unlock()
    return status


cdef inline stackwarden_status sw_unregister_switch_callback(
        stackwarden_switch_callback function, void *arg) noexcept nogil:
    cdef stackwarden_status status = STACKWARDEN_NOT_REGISTERED
    cdef int i
    sw_lock()
    for i in range(SW_CALLBACKS):
        if sw_callbacks[i].function == function and sw_callbacks[i].arg == arg:
            sw_callbacks[i].function = NULL
            sw_process.callbacks -= 1
            update_straight()
            status = STACKWARDEN_DONE
            break
    sw_unlock()
    return status


cdef inline sw_callback callback_for(const sw_thread *thread, int i) noexcept nogil:
    cdef sw_callback callback
    sw_lock()
    callback = sw_callbacks[i]
    sw_unlock()
    if callback.thread and callback.thread != thread.ident:
        callback.function = NULL
    return callback


cdef inline void call_callbacks(sw_thread *thread) noexcept nogil:
    """Tell of all switches since the last time. Requires: attached, on the current stack."""
    cdef stackwarden_stack left = stackwarden_stack(
        handle=thread.left_handle, base=thread.left_base, size=thread.left_top - thread.left_base)
    cdef stackwarden_stack entered
    cdef sw_callback callback
    cdef PyObject *error[3]
    cdef int i
    describe_record(thread.current, &entered)
    sw_add(&sw_process.coalesced, thread.unannounced - 1)
    thread.unannounced = 0
    thread.in_callback = 1
    PyErr_Fetch(&error[0], &error[1], &error[2])
    for i in range(SW_CALLBACKS):
        callback = callback_for(thread, i)
        if callback.function != NULL:
            callback.function(&left, &entered, callback.arg)
    PyErr_Restore(error[0], error[1], error[2])
    thread.in_callback = 0
