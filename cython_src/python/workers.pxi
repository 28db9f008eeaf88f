"""What _pools.py needs of the threads that run its tasks."""

from stackwarden cimport stackwarden_handle
from workers cimport begin_task, keep_thread_state, name_stack


def _begin_task():
    """For _pools.py: an int that names the calling thread, and no other one later."""
    worker = begin_task()
    if worker == 0:
        raise MemoryError("stackwarden: no memory for a thread's block")
    return worker


def _adopt_worker(stackwarden_handle worker, str name):
    """For _pools.py, in the worker: its stack has a name from now on, and its thread state stays."""
    cdef bytes name_bytes = name.encode()
    if not name_stack(worker, name_bytes, "thread pool"):
        raise MemoryError("stackwarden: no memory for a stack's name")
    keep_thread_state()


def _is_alive(stackwarden_handle worker):
    """For _pools.py: has the thread not ended yet?"""
    return record_of(worker) != NULL
