"""Recursion limits of calls: each asks for one, for as long as it is under way.

Promises: the limits of the calls under way form a set in each interpreter. Effective is the highest of them and of
the user's own limit, which sys.setrecursionlimit() may set meanwhile; each ends with its own call. A beginning and
an end are one step each: neither another thread of the interpreter nor a signal handler in Python comes between.
Neither raises, and an end cannot fail.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc

from records.execution cimport *
from records.guard cimport *
from records.protection cimport *
from records.requests cimport make_request, remove_request, request_of
from stackwarden cimport (
    STACKWARDEN_DONE,
    STACKWARDEN_INTERRUPTED,
    STACKWARDEN_NO_MEMORY,
    stackwarden_request,
    stackwarden_status,
)
from switching.threads cimport running_thread, why_no_block


cdef extern from "Python.h" nogil:
    void *PyInterpreterState_Get()
    int64_t PyInterpreterState_GetID(void *interpreter)
    int Py_GetRecursionLimit()


cdef extern from * nogil:
    """
    #define SW_MOST_LIMIT 0x7FFFFFFF

    typedef struct sw_limits {
        int64_t interpreter; /* its id, which is never used again */
        int user; /* the limit without requests */
        int applied; /* what was set last: any other limit is one that the user has set since */
        sw_request *requests; /* the newest first; NULL: another interpreter may take this over */
        struct sw_limits *next;
    } sw_limits;

    static sw_limits *sw_all_limits;
    """
    enum:
        SW_MOST_LIMIT

    ctypedef struct sw_limits:
        int64_t interpreter
        int user
        int applied
        sw_request *requests
        sw_limits *next

    sw_limits *sw_all_limits


cdef inline sw_limits *find_limits(int64_t interpreter) noexcept nogil:
    """The limits of an interpreter, or NULL. Under sw_lock()."""
    cdef sw_limits *limits = sw_all_limits
    while limits != NULL and limits.interpreter != interpreter:
        limits = limits.next
    return limits


cdef inline sw_limits *new_limits(int64_t interpreter, int limit) noexcept nogil:
    """Those of an interpreter that is seen for the first time; NULL: no memory. Under sw_lock()."""
    global sw_all_limits
    cdef sw_limits *limits = sw_all_limits
    while limits != NULL and limits.requests != NULL:
        limits = limits.next
    if limits == NULL:
        limits = <sw_limits *>calloc(1, sizeof(sw_limits))
        if limits == NULL:
            return NULL
        limits.next = sw_all_limits
        sw_all_limits = limits
    limits.interpreter = interpreter
    limits.user = limits.applied = limit
    return limits


cdef inline int compute_limit(const sw_limits *limits, int most) noexcept nogil:
    """The effective limit, where none is higher than `most`: calls that nest ask for the same, and the search ends
    with the first of them. Under sw_lock()."""
    cdef int highest = limits.user
    cdef const sw_request *request = limits.requests
    while request != NULL and highest < most:
        highest = max(highest, request.limit)
        request = request.next
    return highest


cdef inline int note_users_limit(sw_limits *limits, int now) noexcept nogil:
    """`now`: the interpreter's limit. The most that is effective already. Under sw_lock()."""
    if now == limits.applied:
        return now
    limits.user = now
    return SW_MOST_LIMIT


cdef inline void apply_limit(int now, int limit) noexcept nogil:
    """Requires: attached."""
    if limit != now:
        swpy_set_recursion_limit(limit)


cdef inline stackwarden_status enter_limit(int limit, stackwarden_request *token) noexcept nogil:
    """Requires: attached."""
    cdef int64_t interpreter = PyInterpreterState_GetID(PyInterpreterState_Get())
    cdef int now = Py_GetRecursionLimit()
    cdef sw_thread *thread = running_thread()
    cdef sw_request *request = NULL
    cdef sw_limits *limits
    cdef int most
    if thread == NULL:
        return why_no_block()
    if not sw_lock():
        return STACKWARDEN_INTERRUPTED
    limits = find_limits(interpreter)
    if limits == NULL:
        limits = new_limits(interpreter, now)
    if limits != NULL:
        request = make_request(&limits.requests, token)
    if request != NULL:
        request.thread = thread.serial
        request.limit = limit
        most = note_users_limit(limits, now)
        limits.applied = max(limit, now) if most == now else compute_limit(limits, most)
        limit = limits.applied
    sw_unlock()
    if request == NULL:
        return STACKWARDEN_NO_MEMORY
    apply_limit(now, limit)
    return STACKWARDEN_DONE


cdef inline void leave_limit(const stackwarden_request *token) noexcept nogil:
    """Requires: attached, to the interpreter of enter_limit()."""
    cdef int64_t interpreter = PyInterpreterState_GetID(PyInterpreterState_Get())
    cdef int now = Py_GetRecursionLimit()
    cdef int limit = now
    cdef sw_request *request
    cdef sw_limits *limits
    if not sw_lock():
        return
    request = request_of(token)
    limits = find_limits(interpreter)
    if request != NULL and limits != NULL:
        remove_request(&limits.requests, request)
        limits.applied = compute_limit(limits, note_users_limit(limits, now))
        limit = limits.applied
    sw_unlock()
    apply_limit(now, limit)


# ---- after fork, in the child ----

cdef inline void end_limits_of_other_threads() noexcept nogil:
    """Their calls will never end. CPython is in no state to be told now: apply_limits() follows."""
    cdef const sw_thread *own = <sw_thread *>sw_thread_local_get()
    cdef uint64_t serial = own.serial if own != NULL else 0
    cdef sw_limits *limits = sw_all_limits
    cdef sw_request **place
    if not sw_lock():
        return
    while limits != NULL:
        place = &limits.requests
        while place[0] != NULL:
            if place[0].thread != serial:
                remove_request(place, place[0])
            else:
                place = &place[0].next
        limits = limits.next
    sw_unlock()


cdef inline void apply_limits() noexcept nogil:
    """Requires: attached."""
    cdef int64_t interpreter = PyInterpreterState_GetID(PyInterpreterState_Get())
    cdef int now = Py_GetRecursionLimit()
    cdef int limit = now
    cdef sw_limits *limits
    if not sw_lock():
        return
    limits = find_limits(interpreter)
    if limits != NULL:
        note_users_limit(limits, now)
        limits.applied = compute_limit(limits, SW_MOST_LIMIT)
        limit = limits.applied
    sw_unlock()
    apply_limit(now, limit)
