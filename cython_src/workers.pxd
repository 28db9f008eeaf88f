"""What thread pools of others ask of the core about the thread that runs a task (stackwarden/_pools.py).

Promises: a worker is an operating-system thread, named by the handle of its native stack, which never names
another one; thread states come and go on it.
"""

from libc.stdlib cimport free

from capi cimport join_names
from guard cimport *
from hook cimport this_thread
from registry cimport handle_of, record_of


cdef extern from "Python.h":
    ctypedef int PyGILState_STATE
    PyGILState_STATE PyGILState_Ensure()
    int PyGILState_Check()


cdef inline sw_handle begin_task() noexcept nogil:
    """The worker, or 0: no memory for its block. The task counts as a switch to the worker's native stack."""
    cdef sw_thread *thread = this_thread()
    if thread == NULL:
        return 0
    thread.native.switches += 1
    return handle_of(thread.native)


cdef inline bint name_stack(sw_handle handle, const char *name, const char *system) noexcept nogil:
    """Give a stack a name, when it has none. False: no memory."""
    cdef char *names = join_names(name, system)
    cdef sw_record *record
    if names == NULL:
        return False
    sw_lock()
    record = record_of(handle)
    if record != NULL and record.name == NULL:
        record.name = names
        names = NULL
    sw_unlock()
    free(names)
    return True


cdef inline void keep_thread_state() noexcept:
    """From now on the thread's own thread state stays when those who attached it let it go, and with it what
    threading.local holds. Requires: attached."""
    if PyGILState_Check():
        PyGILState_Ensure()
