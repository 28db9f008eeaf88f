"""Arriving on another stack: the execution state that belongs to it is loaded.

Promises: nothing is refused here, start_switch.pxd has let it pass. What may run Python comes last.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uintptr_t

from records.execution cimport *
from records.executions cimport release_execution
from records.guard cimport *
from records.protection cimport *
from records.records cimport record_holds
from stackwarden cimport STACKWARDEN_DONE, STACKWARDEN_NOT_RUNNING, stackwarden_status
from switching.callbacks cimport call_callbacks
from switching.threads cimport this_thread


cdef extern from * nogil:
    """
    /* Kept out of line: the hot paths need no registers for them. */
    static SW_NOINLINE stackwarden_status sw_arrive(uintptr_t sp);
    """


cdef inline bint is_stale(const sw_thread *thread, const sw_execution *execution, uintptr_t sp) noexcept nogil:
    """Was this memory handed out again? A coroutine goes on where it was left, give or take a few calls; one that
    begins does so where the former one began."""
    return execution.status == SW_SAVED and thread.current.kind != SW_NATIVE and sp > execution.left_at \
        and record_holds(thread.current, execution.left_at) \
        and record_holds(thread.current, execution.entered_at) \
        and (sp >= execution.entered_at or execution.entered_at - sp < sp - execution.left_at)


cdef inline void drop_stale(sw_execution *execution, PyThreadState *ts) noexcept nogil:
    """What a coroutine that is gone had on its stack is leaked: nobody can unwind it."""
    cdef PyObject *context
    sw_count(&sw_process.dropped)
    swpy_state_clear(&execution.state)
    execution.holds = False
    execution.left_at = 0
    if ts == NULL:
        return
    context = PyContext_New() if execution.empty_context else PyContext_CopyCurrent()
    if execution.isolation == SW_THREAD_STATE and context != NULL:
        execution.ts = swpy_make_own(ts, context)
    else:
        execution.state.context = context
        execution.holds = True
    PyErr_Clear()


cdef inline PyThreadState *take_up(
        sw_thread *thread, PyThreadState *ts, sw_execution *execution, uintptr_t sp) noexcept nogil:
    """Load an execution state; the thread state that is attached afterwards."""
    cdef PyThreadState *home = ts
    if is_stale(thread, execution, sp):
        drop_stale(execution, ts)
        thread.current.depth_used = 0
    if execution.left_at == 0:
        execution.entered_at = sp
    if execution.isolation == SW_THREAD_STATE:
        home = execution.ts
    elif thread.loaded.isolation == SW_THREAD_STATE:
        home = thread.native.execution.ts
    if home is not ts:
        PyThreadState_Swap(home)
    if execution.isolation == SW_FRAMES and home != NULL:
        swpy_state_load(home, &execution.state)
        execution.holds = False
    elif execution.isolation == SW_THREAD_STATE:
        swpy_enter_own(&execution.state)
    execution.status = SW_LOADED
    thread.loaded = execution
    return home


cdef inline void release_ended(sw_thread *thread) noexcept nogil:
    cdef sw_execution *ended = thread.ended
    thread.ended = NULL
    ended.status = SW_NEW
    ended.prepared = False
    ended.mark = 0
    release_execution(ended)


cdef inline void arrive_slowly(sw_thread *thread) noexcept nogil:
    """What may run Python, and what detaches, once everything is in its place. Python may switch, and this stack
    may come back on another thread."""
    cdef bint detached = thread.current.detached
    if thread.ended != NULL:
        release_ended(thread)
        thread = this_thread()
    if sw_process.callbacks and thread.unannounced and not thread.in_callback \
            and record_holds(thread.current, sw_stack_pointer()):
        call_callbacks(thread)
    if detached:
        PyEval_SaveThread()


cdef inline bint arrive_straight(uintptr_t sp) noexcept nogil:
    """sw_arrived() on the other side of leave_straight(), where the stack goes on as it was left. False: nothing
    was done."""
    cdef sw_thread *thread
    cdef PyThreadState *ts
    cdef sw_execution *execution
    if not SW_LIKELY(sw_process.straight):
        return False
    thread = <sw_thread *>sw_thread_local_straight()
    ts = swpy_attached_straight()
    if thread == NULL or ts == NULL or thread.arriving == NULL:
        return False
    execution = thread.arriving
    if not SW_LIKELY(
            execution.status == SW_SAVED and execution.isolation == SW_FRAMES and sp <= execution.left_at
            and thread.loaded.isolation == SW_FRAMES and thread.ended == NULL and not thread.current.detached):
        return False
    thread.arriving = NULL
    thread.loaded = execution
    swpy_state_load(ts, &execution.state)
    execution.holds = False
    execution.status = SW_LOADED
    swpy_protect_straight(ts, thread.current)
    return True


cdef inline stackwarden_status sw_arrived() noexcept nogil:
    cdef uintptr_t sp = sw_callers_stack_pointer()
    return STACKWARDEN_DONE if SW_LIKELY(arrive_straight(sp)) else arrive(sp)


cdef inline stackwarden_status arrive "sw_arrive"(uintptr_t sp) noexcept nogil:
    cdef PyThreadState *ts
    cdef sw_thread *thread
    cdef sw_execution *execution
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    thread = <sw_thread *>sw_thread_local_get()
    if thread == NULL or thread.arriving == NULL:
        return STACKWARDEN_DONE
    ts = swpy_attached()
    execution = thread.arriving
    thread.arriving = NULL
    if execution is not thread.loaded:
        ts = take_up(thread, ts, execution, sp)
    if ts != NULL:
        if SW_LIKELY(execution.isolation == SW_FRAMES):
            swpy_protect(ts, thread, thread.current)
        else:
            swpy_protect_own(ts, thread, thread.current, execution.left_at == 0)
        if not SW_LIKELY(thread.ended == NULL and sw_process.callbacks == 0 and not thread.current.detached):
            arrive_slowly(thread)
    return STACKWARDEN_DONE
