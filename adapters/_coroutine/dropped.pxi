"""Coroutines with isolation "frames" whose last reference goes on another thread: they wait for their own.

Promises: they are ended in the thread state that they were started in, with the next call of this adapter there,
or when the thread ends; or leaked and counted where it is gone. One at a time, and no more in one call than waited
when it began. Takes no lock: the GIL is held from one line to the next.
"""

from collections import deque


cdef extern from *:
    """
    #if PY_VERSION_HEX < 0x030D0000
    #define Py_IsFinalizing _Py_IsFinalizing
    #endif
    static int dropped_coroutines; /* that wait, for whichever thread */
    """
    bint Py_IsFinalizing()
    int dropped_coroutines


cdef extern from "Python.h":
    PyObject *PyThreadState_GetDict()
    unsigned long PyThread_get_thread_ident()


cdef class Home:
    """A thread on which coroutines were started, who refer to it. Not weakly: a collection that finds one clears
    the weak references that it has, before it is finalized."""

    cdef object dropped  # a deque; None: the thread has ended
    cdef bint is_ending_some

    def __cinit__(self):
        self.dropped = deque()

    cdef void leave(self) noexcept:
        """The thread ends. What cannot be ended here is leaked: in the child of a fork all that other threads
        had."""
        global dropped_coroutines
        self.end_dropped()
        lost, self.dropped = self.dropped, None
        dropped_coroutines -= len(lost)

    cdef void end_dropped(self) noexcept:
        if self.is_ending_some:
            return
        self.is_ending_some = True
        for _ in range(len(self.dropped)):
            self.end_first()
        self.is_ending_some = False

    cdef void end_first(self) noexcept:
        global dropped_coroutines
        cdef Coroutine coroutine = self.dropped.popleft()
        dropped_coroutines -= 1
        if coroutine._state == SUSPENDED:
            coroutine._end_unreferenced(may_wait=False)


cdef class Resident:
    """What the dict of a thread state owns of a Home. Ends with it."""

    cdef Home home

    def __cinit__(self):
        self.home = Home()

    def __del__(self):
        if not is_finalized():
            self.home.leave()


cdef _place():
    """The thread state's dict, and the Resident's key there. A stack with a thread state of its own has the dict
    of the thread that made it, whichever it runs on."""
    cdef PyObject *thread = PyThreadState_GetDict()
    return <object>thread if thread != NULL else {}, (__name__, PyThread_get_thread_ident())


cdef Home home():
    """The calling thread's."""
    thread, key = _place()
    found = thread.get(key)
    if found is None:
        found = thread[key] = Resident()
    return (<Resident>found).home


cdef void end_dropped() noexcept:
    """End those that wait for the calling thread."""
    thread, key = _place()
    found = thread.get(key)
    if found is not None:
        (<Resident>found).home.end_dropped()


cdef bint wait_at_home(Coroutine coroutine) except -1:
    """Have a coroutine ended by the thread that it belongs to. False: that is gone."""
    global dropped_coroutines
    cdef Home found = coroutine._home
    if found is None or found.dropped is None:
        return False
    found.dropped.append(coroutine)
    dropped_coroutines += 1
    return True


cdef bint is_finalized():
    """Is the interpreter gone? Of one that is not the main one the names of this module go first."""
    return Py_IsFinalizing() or StackExit is None
