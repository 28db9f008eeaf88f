"""Python on user threads, as Cython sees include/stackwarden/user_thread.h, which says what each call requires.

    cimport stackwarden
    from stackwarden cimport user_thread
    stackwarden.import_stackwarden()          # once, with the GIL

    cdef void body(void *arg) noexcept nogil:         # what the scheduler calls, detached
        cdef user_thread.stackwarden_user_thread self
        if user_thread.enter(&self, base, size, b"my-system", NULL) == stackwarden.STACKWARDEN_DONE:
            with gil:
                ...
            user_thread.leave(&self)

In a function that holds the GIL no Python may stand between suspend() and resume().
"""

from cpython.object cimport PyObject
from libc.stddef cimport size_t

from stackwarden cimport stackwarden_status


cdef extern from "stackwarden/user_thread.h" nogil:
    ctypedef struct stackwarden_user_thread:
        pass

    ctypedef void (*stackwarden_yield_function)() noexcept nogil

    stackwarden_status enter "stackwarden_user_thread_enter"(
        stackwarden_user_thread *self, const void *base, size_t size, const char *system, PyObject *context)
    stackwarden_status leave "stackwarden_user_thread_leave"(stackwarden_user_thread *self)
    stackwarden_status suspend "stackwarden_user_thread_suspend"(stackwarden_user_thread *self)
    stackwarden_status resume "stackwarden_user_thread_resume"(
        stackwarden_user_thread *self, stackwarden_yield_function yield_function)
    void pin "stackwarden_user_thread_pin"(stackwarden_user_thread *self)
