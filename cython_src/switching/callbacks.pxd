"""Switch callbacks: which functions are called after a switch, and when.

Promises: a callback runs attached, on the new stack, and never inside another callback of its chain of stacks: one
that suspends its stack keeps nobody else waiting. Switches that were noted detached, before the jump, or inside a
callback are reported as one, at the next sync.
"""

from cpython.object cimport PyObject
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memset

from records.execution cimport *
from records.fast_path cimport update_fast_path
from records.guard cimport *
from records.protection cimport *
from records.records cimport describe_record, handle_of, record_holds
from stackwarden cimport (
    STACKWARDEN_DONE,
    STACKWARDEN_FULL,
    STACKWARDEN_INTERRUPTED,
    STACKWARDEN_NOT_REGISTERED,
    STACKWARDEN_NOT_RUNNING,
    stackwarden_stack,
    stackwarden_status,
    stackwarden_switch_callback,
)


cdef extern from "Python.h" nogil:
    void PyErr_Fetch(PyObject **type, PyObject **value, PyObject **traceback)
    void PyErr_Restore(PyObject *type, PyObject *value, PyObject *traceback)


cdef extern from * nogil:
    """
    #define SW_CALLBACKS 16
    typedef struct {
        stackwarden_switch_callback function;
        void *arg;
        uint64_t thread; /* serial; 0: all threads */
        uint64_t serial; /* callback_serial when it was registered */
    } sw_callback;
    static sw_callback sw_callbacks[SW_CALLBACKS];
    """
    enum:
        SW_CALLBACKS

    ctypedef struct sw_callback:
        stackwarden_switch_callback function
        void *arg
        uint64_t thread
        uint64_t serial

    sw_callback *sw_callbacks


cdef inline stackwarden_status add_callback(
        stackwarden_switch_callback function, void *arg, uint64_t thread) noexcept nogil:
    """`thread`: the serial of the thread whose switches are reported; 0: of all threads."""
    cdef stackwarden_status status = STACKWARDEN_FULL
    cdef int i
    if not sw_lock():
        return STACKWARDEN_INTERRUPTED
    for i in range(SW_CALLBACKS):
        if sw_callbacks[i].function == NULL:
            sw_count(&sw_process.callback_serial)
            sw_callbacks[i] = sw_callback(function, arg, thread, sw_process.callback_serial)
            sw_process.callbacks += 1
            update_fast_path()
            status = STACKWARDEN_DONE
            break
    sw_unlock()
    return status


cdef inline void end_callback(sw_callback *callback) noexcept nogil:
    """The end of a registration, whoever asks. Under sw_lock()."""
    callback.function = NULL
    sw_process.callbacks -= 1
    update_fast_path()


cdef inline stackwarden_status sw_unregister_switch_callback(
        stackwarden_switch_callback function, void *arg) noexcept nogil:
    cdef stackwarden_status status = STACKWARDEN_NOT_REGISTERED
    cdef int i
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    if not sw_lock():
        return STACKWARDEN_INTERRUPTED
    for i in range(SW_CALLBACKS):
        if sw_callbacks[i].function == function and sw_callbacks[i].arg == arg:
            end_callback(&sw_callbacks[i])
            status = STACKWARDEN_DONE
            break
    sw_unlock()
    return status


cdef inline void end_callbacks_of(const sw_thread *thread) noexcept nogil:
    """Those for a thread that has ended. Under sw_lock()."""
    cdef int i
    for i in range(SW_CALLBACKS):
        if sw_callbacks[i].function != NULL and sw_callbacks[i].thread == thread.serial:
            end_callback(&sw_callbacks[i])


# ---- inside a callback ----

cdef inline sw_execution *callback_of(const sw_execution *execution) noexcept nogil:
    """The execution state in which the callback runs that this one is inside of; NULL: it is inside of none."""
    if execution.callback_runs & 1:
        return <sw_execution *>execution
    if execution.callback_in != NULL and execution.callback_in.callback_runs == execution.callback_seen:
        return execution.callback_in
    return NULL


cdef inline void begin_inside(sw_execution *execution, const sw_execution *resumer) noexcept nogil:
    """What begins inside a callback is inside of it until that returns: a callback that starts a coroutine in each
    call is not called for it."""
    execution.callback_in = callback_of(resumer)
    if execution.callback_in != NULL:
        execution.callback_seen = execution.callback_in.callback_runs


# ---- calling them ----

cdef inline sw_callback callback_for(uint64_t thread, uint64_t since, int i) noexcept nogil:
    """The i-th callback, if it is to be told of switches of the thread with this serial, when callback_serial was
    `since`; else one without a function. Read anew for each call: a callback may unregister others."""
    cdef sw_callback callback
    if not sw_lock():
        return sw_callback(NULL, NULL, 0, 0)
    callback = sw_callbacks[i]
    sw_unlock()
    if (callback.thread and callback.thread != thread) or callback.serial > since:
        callback.function = NULL
    return callback


cdef inline void call_callbacks(sw_thread *thread) noexcept nogil:
    """Report the pending switches, as one. Requires: attached, and on the current stack. A callback may suspend
    that, and come back on another thread: then `thread` is no longer the caller's. In a signal handler that
    interrupted the holder of the lock they stay pending."""
    cdef stackwarden_stack former, current
    cdef sw_callback callback
    cdef sw_execution *execution = thread.loaded
    cdef uint64_t serial = thread.serial
    cdef uint64_t since = thread.pending_since
    cdef PyObject *error[3]
    cdef int i
    if sw_holds_lock():
        return
    describe_record(thread.current, &current)
    memset(&former, 0, sizeof(former))
    former.handle = thread.from_handle
    former.base = thread.from_base
    former.size = (thread.from_top - thread.from_base) & ~<size_t>1
    sw_add(&sw_process.coalesced, thread.pending_switches - 1)
    thread.pending_switches = 0
    execution.callback_runs += 1
    PyErr_Fetch(&error[0], &error[1], &error[2])
    for i in range(SW_CALLBACKS):
        callback = callback_for(serial, since, i)
        if callback.function != NULL:
            callback.function(&former, &current, callback.arg)
    PyErr_Restore(error[0], error[1], error[2])
    execution.callback_runs += 1


cdef inline void note_switch(sw_thread *thread, const sw_record *former) noexcept nogil:
    """Note a switch from the stack of `former`, to be reported by call_callbacks()."""
    if not thread.pending_switches:
        thread.from_handle = handle_of(former)
        thread.from_base = former.base
        thread.from_top = former.top
    thread.pending_switches += 1
    thread.pending_since = sw_load_acquire(&sw_process.callback_serial)


cdef inline void report_switch(sw_thread *thread, const sw_record *former) noexcept nogil:
    """Note a switch; report it at once where the thread is attached and on the new stack already."""
    note_switch(thread, former)
    if callback_of(thread.loaded) == NULL and record_holds(thread.current, sw_stack_pointer()) \
            and swpy_attached() != NULL:
        call_callbacks(thread)
