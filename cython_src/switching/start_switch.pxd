"""Leaving a stack with Python on it, and arriving on another: the execution state goes with the stack.

    leaving(to) saves what the thread state holds            ... on the stack that is left
    (the jump)
    arrived()   loads what belongs to the stack under it     ... on the stack that was gone to

Promises: everything that can be refused is refused by leaving(), before anything is saved. Between the two no
Python runs. Stacks of one chain share one execution state: between them nothing is swapped, and a stack that is
resumed must find the frames that it left. Nothing is allocated, but for an unregistered stack that must be kept in
mind (keep_marked) and for an own thread state when its stack is entered for the first time (prepare).
"""

from cpython.object cimport PyObject
from libc.stdint cimport uintptr_t

from records.execution cimport *
from records.executions cimport release_execution, sw_renew_stack
from records.guard cimport *
from records.protection cimport *
from records.records cimport handle_of, record_of
from stackwarden cimport (
    STACKWARDEN_DETACHED,
    STACKWARDEN_DONE,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_NO_MEMORY,
    stackwarden_stack,
    stackwarden_status,
)
from switching.callbacks cimport note_switch
from switching.hook cimport count_switch, note_depth
from switching.target cimport check_target, execution_of, find_target, forget_kept
from switching.threads cimport this_thread


cdef extern from * nogil:
    """
    /* Kept out of line: the hot paths need no registers for them. */
    static SW_NOINLINE stackwarden_status sw_leave(const stackwarden_stack *to, uintptr_t sp, int ends);
    """


cdef inline void note_left(const sw_thread *thread, PyThreadState *ts, uintptr_t sp) noexcept nogil:
    """The loaded execution state is left: where, and in which thread state it lives."""
    cdef sw_execution *leaving = thread.loaded
    leaving.ts = ts
    leaving.ts_id = swpy_id(ts) if ts != NULL else 0
    leaving.left_at = sp
    leaving.mark = thread.current.mark
    leaving.status = SW_SAVED


cdef inline void save_frames(const sw_thread *thread, PyThreadState *ts) noexcept nogil:
    swpy_state_save(ts, &thread.loaded.state)
    thread.loaded.holds = True


cdef inline void put_away(sw_thread *thread, PyThreadState *ts, uintptr_t sp) noexcept nogil:
    """The loaded execution state is left: save it. Without a thread state to save from it still holds what was
    never loaded, or what it was loaded into is gone."""
    cdef sw_execution *leaving = thread.loaded
    if ts != NULL and leaving.isolation == SW_FRAMES:
        if not swpy_state_is_checked(ts):
            swpy_check_asyncio(ts)
        save_frames(thread, ts)
    elif not leaving.holds:
        swpy_state_clear(&leaving.state)
        if ts != NULL:
            swpy_leave_own(&leaving.state)
    note_left(thread, ts, sp)


cdef inline void end_loaded(sw_thread *thread, PyThreadState *ts) noexcept nogil:
    """What is over is released by arrived(); what still waits to be loaded, by whoever renews the stack."""
    if ts != NULL:
        thread.ended = thread.loaded
    else:
        thread.loaded.status = SW_NEW
        thread.loaded.prepared = thread.loaded.holds
        thread.loaded.left_at = 0


cdef inline void settle(sw_thread *thread, PyThreadState *ts, bint ends) noexcept nogil:
    """What may run Python comes before anything else is done. An execution state that was gone to without a thread
    state, and is left with one that was made meanwhile, goes on with what that one has."""
    if thread.loaded.holds:
        release_execution(thread.loaded)
    if ends and thread.loaded.isolation == SW_THREAD_STATE:
        swpy_stop_tracing(ts)


cdef inline bint is_settled(const sw_thread *thread, bint ends) noexcept nogil:
    return not thread.loaded.holds and not (ends and thread.loaded.isolation == SW_THREAD_STATE)


cdef inline void go(
        sw_thread *thread, PyThreadState *ts, sw_record *record, uintptr_t sp, bint ends) noexcept nogil:
    """Leave the current stack for that of a record, which check_target() let pass."""
    cdef sw_record *current = thread.current
    cdef sw_execution *to = execution_of(thread, record)
    current.mark = 0 if ends or ts == NULL else swpy_mark(ts)
    if current.isolation == SW_SHARED and current.kind != SW_NATIVE:
        current.execution = thread.loaded if not ends else NULL
    if to is not thread.loaded:
        put_away(thread, ts, sp)
        if ends and current.isolation != SW_SHARED:
            end_loaded(thread, ts)
    if to.status == SW_NEW or (to is thread.loaded and not record.mark):
        record.detached = current.detached
    record.execution = to
    record.mark = 0
    thread.arriving = to
    if sw_process.callbacks:
        note_switch(thread, current)
    count_switch(thread, record)
    if ends:
        forget_kept(thread, current)


cdef inline stackwarden_status prepare(sw_thread *thread, sw_record *record) noexcept nogil:
    """An isolated stack is entered for the first time: as it was registered, where nobody renewed it. Its own
    thread state is made here and not before: 3.12 ends with a SIGSEGV when it finds one that never ran."""
    cdef sw_execution *execution = record.execution
    cdef stackwarden_status status = STACKWARDEN_DONE
    cdef PyObject *context
    if record.isolation == SW_SHARED or execution.status != SW_NEW:
        return STACKWARDEN_DONE
    if not execution.prepared:
        status = sw_renew_stack(handle_of(record), NULL)
    if status == STACKWARDEN_DONE and execution.isolation == SW_THREAD_STATE and execution.ts == NULL:
        context = execution.state.context
        execution.state.context = NULL
        execution.holds = False
        execution.prepared = False
        execution.ts = swpy_make_own(swpy_attached(), context)
        status = STACKWARDEN_DONE if execution.ts != NULL else STACKWARDEN_NO_MEMORY
        if status == STACKWARDEN_DONE:
            # Before CPython attaches it, or it asks the system for bounds, which reads /proc/self/maps.
            swpy_protect_own(execution.ts, thread, record, True)
    return status


cdef inline stackwarden_status leave "sw_leave"(
        const stackwarden_stack *to, uintptr_t sp, bint ends) noexcept nogil:
    cdef PyThreadState *ts
    cdef sw_thread *thread
    cdef sw_record *record
    cdef stackwarden_status status
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    ts = swpy_attached()
    if ts == NULL:
        return STACKWARDEN_DETACHED
    thread = this_thread()
    if thread == NULL:
        return STACKWARDEN_NO_MEMORY
    if not SW_LIKELY(is_settled(thread, ends)):
        settle(thread, ts, ends)
        thread = this_thread()
    status = find_target(thread, to, &record)
    if status == STACKWARDEN_DONE:
        status = check_target(thread, ts, record)
    if status == STACKWARDEN_DONE:
        status = prepare(thread, record)
    if status == STACKWARDEN_DONE:
        thread.current.detached = False
        go(thread, ts, record, sp, ends)
    return status


cdef inline bint may_go_straight(
        const sw_thread *thread, PyThreadState *ts, const sw_record *record) noexcept nogil:
    """Two stacks that were both left in the middle of Python, and live in one thread state: leave() would refuse
    nothing, and do no more than leave_straight() does."""
    cdef const sw_execution *left = thread.loaded
    cdef const sw_execution *to = record.execution
    return to != NULL and to.status == SW_SAVED and to.ts is ts and to.ts_id == swpy_id(ts) \
        and record.mark and record.mark == to.mark \
        and to.isolation == SW_FRAMES and left.isolation == SW_FRAMES and not left.holds \
        and thread.current.execution is left and swpy_state_is_checked(ts)


cdef inline bint leave_straight(const stackwarden_stack *to, uintptr_t sp) noexcept nogil:
    """leave() where sw_process.straight allows it and nothing is new. False: nothing was done."""
    cdef sw_thread *thread
    cdef PyThreadState *ts
    cdef sw_record *record
    if to == NULL or not SW_LIKELY(sw_process.straight):
        return False
    thread = <sw_thread *>sw_thread_local_straight()
    ts = swpy_attached_straight()
    record = record_of(to.handle)
    if not SW_LIKELY(thread != NULL and ts != NULL and record != NULL and may_go_straight(thread, ts, record)):
        return False
    thread.current.mark = swpy_mark(ts)
    thread.current.detached = False
    note_depth(thread.current, sp)
    save_frames(thread, ts)
    note_left(thread, ts, sp)
    record.mark = 0
    record.switches += 1
    thread.arriving = record.execution
    sw_store_pointer(&thread.current, record)
    return True


cdef inline stackwarden_status sw_leaving(const stackwarden_stack *to) noexcept nogil:
    cdef uintptr_t sp = sw_callers_stack_pointer()
    return STACKWARDEN_DONE if SW_LIKELY(leave_straight(to, sp)) else leave(to, sp, False)


cdef inline stackwarden_status sw_ending(const stackwarden_stack *to) noexcept nogil:
    return leave(to, sw_callers_stack_pointer(), True)


cdef inline stackwarden_status sw_leaving_blocking(const stackwarden_stack *to, int ends) noexcept nogil:
    """Attached or not; arrived() detaches again where the stack that goes on was detached."""
    cdef uintptr_t sp = sw_callers_stack_pointer()
    cdef PyThreadState *ts
    cdef sw_thread *thread
    cdef sw_record *record
    cdef stackwarden_status status
    cdef bint detached
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    thread = this_thread()
    if thread == NULL:
        return STACKWARDEN_NO_MEMORY
    ts = swpy_attached()
    detached = ts == NULL
    if detached:
        ts = swpy_own()
        if ts != NULL:
            PyEval_RestoreThread(ts)
    if ts != NULL and not is_settled(thread, ends):
        settle(thread, ts, ends)
        thread = this_thread()
    status = find_target(thread, to, &record)
    if status == STACKWARDEN_DONE:
        status = check_target(thread, ts, record)
    if status == STACKWARDEN_DONE and ts != NULL:
        status = prepare(thread, record)
    if status == STACKWARDEN_DONE:
        thread.current.detached = detached
        go(thread, ts, record, sp, ends)
    elif detached and ts != NULL:
        PyEval_SaveThread()
    return status
