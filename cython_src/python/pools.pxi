"""What _pools.py needs of the threads that run its tasks.

Promises: a worker is an operating-system thread, named by the handle of its native stack, which never names
another one; thread states come and go on it.
"""

from stackwarden cimport stackwarden_handle


cdef extern from "Python.h":
    ctypedef int PyGILState_STATE
    PyGILState_STATE PyGILState_Ensure()
    int PyGILState_Check()


cdef inline sw_handle begin_task() noexcept nogil:
    """The worker, or 0: it got no block. The task counts as a switch to the worker's native stack."""
    cdef sw_thread *thread = this_thread()
    if thread == NULL:
        return 0
    thread.native.switches += 1
    return handle_of(thread.native)


cdef inline void retain_thread_state() noexcept:
    """From now on the thread's own thread state stays when those who attached it let it go, and with it what
    threading.local holds. Requires: attached."""
    if PyGILState_Check():
        PyGILState_Ensure()


def _begin_task():
    """For _pools.py: an int that names the calling thread, and no other one later."""
    cdef sw_handle worker = begin_task()
    if worker == 0:
        _refuse(why_no_block(), "a worker of a thread pool")
    return worker


def _adopt_worker(stackwarden_handle worker, const char *name, /):
    """For _pools.py, in the worker: its stack gets a name, and its thread state stays. False: no memory."""
    if not name_stack(worker, name, "thread pool"):
        return False
    retain_thread_state()
    return True


def _is_alive(stackwarden_handle worker, /):
    """For _pools.py: has the thread not ended yet?"""
    return record_of(worker) != NULL
