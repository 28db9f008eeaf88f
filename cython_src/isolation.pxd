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
from libc.stdint cimport uint32_t, uint64_t, uintptr_t

from callbacks cimport call_callbacks
from execution cimport *
from guard cimport *
from hook cimport *
from protection cimport *
from registry cimport *
from unknown cimport renew_transient
from stackwarden cimport (
    STACKWARDEN_DETACHED,
    STACKWARDEN_DONE,
    STACKWARDEN_IN_USE,
    STACKWARDEN_ISOLATION_REQUIRED,
    STACKWARDEN_NO_MEMORY,
    STACKWARDEN_NO_ISOLATION,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_OTHER_THREAD,
    STACKWARDEN_OVERLAP,
    STACKWARDEN_STALE_HANDLE,
    STACKWARDEN_TOO_SMALL,
    stackwarden_handle,
    stackwarden_stack,
    stackwarden_status,
)


cdef extern from * nogil:
    """
    /* Kept out of line: the straight way needs no registers for them. */
    static SW_NOINLINE stackwarden_status sw_leave(const stackwarden_stack *to, uintptr_t sp, int ends);
    static SW_NOINLINE stackwarden_status sw_arrive(uintptr_t sp);
    """


# ---- leaving ----

cdef inline stackwarden_status find_target(
        sw_thread *thread, const stackwarden_stack *to, sw_record **record) noexcept nogil:
    """The record to go to: the native stack for NULL; by handle; else by its bounds, as when they are told."""
    cdef stackwarden_status status
    record[0] = thread.native if to == NULL else record_of(to.handle)
    if record[0] != NULL:
        return STACKWARDEN_DONE
    if to.handle and not to.base:
        return STACKWARDEN_STALE_HANDLE
    status = check_range(to.base, to.size)
    if status != STACKWARDEN_DONE:
        return status
    record[0] = find_range(thread, to.base, to.base + to.size)
    if record[0] != NULL:
        return STACKWARDEN_DONE
    if to.size < sw_process.least_size:
        return STACKWARDEN_TOO_SMALL
    if overlaps_record(thread.native, to.base, to.base + to.size):
        return STACKWARDEN_OVERLAP
    status = supersede_overlaps(thread, to.base, to.base + to.size)
    if status == STACKWARDEN_DONE and not keep_marked(thread):
        status = STACKWARDEN_NO_MEMORY
    if status == STACKWARDEN_DONE:
        record[0] = renew_transient(thread, SW_FROM_TOLD, to.base, to.base + to.size)
    return status


cdef inline bint keep_marked(sw_thread *thread) noexcept nogil:
    """An unregistered stack that was left in the middle of Python is to be known when it is gone back to, however
    many others come between: before its record is used anew it goes into the index. False: no memory."""
    cdef sw_record **place = &thread.spare if thread.current is thread.transient else &thread.transient
    cdef sw_record *fresh
    if not place[0].mark or not place[0].generation & 1:
        return True
    sw_lock()
    fresh = take_record()
    if fresh != NULL and not insert_record(place[0]):
        free_record(fresh)
        fresh = NULL
    if fresh != NULL:
        place[0] = fresh
    sw_unlock()
    return fresh != NULL


cdef inline void forget_kept(const sw_thread *thread, sw_record *ended) noexcept nogil:
    """An unregistered stack that keep_marked() put into the index is over."""
    if ended.kind == SW_TRANSIENT and ended is not thread.transient and ended is not thread.spare:
        retire_record(ended, ended.generation)


cdef inline sw_record *find_range(sw_thread *thread, uintptr_t base, uintptr_t top) noexcept nogil:
    """The record with exactly these bounds, or NULL."""
    cdef sw_record *record = find_record(base)
    if record != NULL and is_range(record, base, top):
        return record
    if is_range(thread.native, base, top):
        return thread.native
    if is_range(thread.transient, base, top):
        return thread.transient
    return thread.spare if is_range(thread.spare, base, top) else NULL


cdef inline sw_execution *execution_of(const sw_thread *thread, const sw_record *record) noexcept nogil:
    """The execution state that goes on when the thread goes to a stack: its own; or that of the chain in which it
    was left in the middle of Python; or the one that is loaded."""
    if record.isolation != SW_SHARED or record.kind == SW_NATIVE or record.mark:
        return record.execution
    return thread.loaded


cdef inline bint may_be_loaded(const sw_thread *thread, PyThreadState *ts, sw_execution *execution) noexcept nogil:
    """In-place states belong to one thread state, unless they have no frames. Compared by id: the address of a
    dead thread state comes back at once."""
    cdef uint64_t home
    if execution.isolation == SW_THREAD_STATE or execution.ts == NULL or swpy_state_is_idle(&execution.state):
        return True
    if thread.loaded.isolation == SW_THREAD_STATE:
        home = thread.native.execution.ts_id
    else:
        home = swpy_id(ts) if ts != NULL else 0
    return execution.ts_id == home


cdef inline bint runs_elsewhere(const sw_thread *thread, const sw_record *record) noexcept nogil:
    cdef sw_thread *other = thread_on(record)
    return other != NULL and other is not thread


cdef inline stackwarden_status check_own_states(
        const sw_thread *thread, PyThreadState *ts, const sw_execution *execution) noexcept nogil:
    """May another thread state be attached? Not while Python is finalised: the thread would hang for good. After a
    fork CPython has deleted all but one."""
    cdef const sw_execution *owner = execution
    if execution.isolation != SW_THREAD_STATE:
        owner = thread.native.execution
    if ts == NULL:
        return STACKWARDEN_DETACHED
    if swpy_is_finalizing():
        return STACKWARDEN_NOT_RUNNING
    return STACKWARDEN_OTHER_THREAD if owner.ts == NULL and owner.status == SW_SAVED else STACKWARDEN_DONE


cdef inline stackwarden_status check_target(
        const sw_thread *thread, PyThreadState *ts, const sw_record *record) noexcept nogil:
    """May the thread go to that stack? DONE, or the refusal."""
    cdef sw_execution *execution = execution_of(thread, record)
    cdef stackwarden_status status = STACKWARDEN_DONE
    cdef uint32_t mark = execution.mark
    if execution is thread.loaded:
        if record.execution is not execution and runs_elsewhere(thread, record):
            return STACKWARDEN_IN_USE
        mark = swpy_mark(ts) if ts != NULL else 0
    elif execution.status == SW_LOADED:
        return STACKWARDEN_IN_USE
    elif not may_be_loaded(thread, ts, execution):
        return STACKWARDEN_OTHER_THREAD
    elif execution.isolation == SW_THREAD_STATE or thread.loaded.isolation == SW_THREAD_STATE:
        status = check_own_states(thread, ts, execution)
    if status == STACKWARDEN_DONE and record.mark and record.mark != mark:
        status = STACKWARDEN_ISOLATION_REQUIRED
    return status


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


# ---- arriving ----

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


cdef inline void forget_ended(const sw_execution *execution) noexcept nogil:
    """Unregistered or renewed between ending() and arrived(): arrived() has nothing to release any more."""
    cdef sw_thread *thread = <sw_thread *>sw_thread_local_get()
    if thread != NULL and thread.ended is execution:
        thread.ended = NULL


cdef inline void release_execution(sw_execution *execution) noexcept nogil:
    """Give back what an execution state without frames holds. Attached; destructors may use it anew."""
    cdef swpy_state state = execution.state
    cdef bint holds = execution.holds
    cdef PyThreadState *own = execution.ts if execution.isolation == SW_THREAD_STATE \
        and execution.status != SW_LOADED else NULL
    forget_ended(execution)
    execution.ts = NULL
    execution.holds = False
    swpy_state_clear(&execution.state)
    if own != NULL:
        swpy_end_own(own)
    if holds:
        swpy_state_release(&state)


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


# ---- a stack's own execution state, from its making to its loss ----

cdef inline bint isolate(sw_record *record, int isolation, bint empty_context) noexcept nogil:
    """Give a new record execution state of its own. False: no memory."""
    record.execution = new_execution(isolation)
    if record.execution == NULL:
        return False
    record.isolation = isolation
    record.execution.empty_context = empty_context
    return True


cdef inline bint is_suspended(const sw_execution *execution) noexcept nogil:
    return execution.status == SW_SAVED and (
        execution.isolation == SW_THREAD_STATE or not swpy_state_is_idle(&execution.state))


cdef inline stackwarden_status sw_renew_stack(stackwarden_handle handle, PyObject *context) noexcept nogil:
    cdef sw_record *record = record_of(handle)
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    if ts == NULL:
        return STACKWARDEN_DETACHED
    if record == NULL:
        return STACKWARDEN_STALE_HANDLE
    if record.isolation == SW_SHARED:
        return STACKWARDEN_NO_ISOLATION
    if record.execution.status == SW_LOADED or is_suspended(record.execution):
        return STACKWARDEN_IN_USE
    if sw_orphaned_executions != NULL:
        release_orphans()
    release_execution(record.execution)
    if context != NULL:
        Py_XINCREF(context)
    else:
        context = PyContext_New() if record.execution.empty_context else PyContext_CopyCurrent()
    if context == NULL:
        PyErr_Clear()
        return STACKWARDEN_NO_MEMORY
    swpy_check_asyncio(ts)
    record.execution.status = SW_NEW
    record.execution.prepared = True
    record.mark = 0
    record.execution.left_at = 0
    record.execution.state.context = context
    record.execution.holds = True
    return STACKWARDEN_DONE


cdef inline sw_execution *take_execution(sw_record *record) noexcept nogil:
    """A record's own execution state, which it does not have any more; NULL: it had none."""
    cdef sw_execution *execution = record.execution if record.isolation != SW_SHARED else NULL
    record.execution = NULL
    record.isolation = SW_SHARED
    return execution


cdef inline bint end_execution(sw_execution *execution) noexcept nogil:
    """Give an execution state back. False: it holds frames that nobody can unwind any more, and is leaked."""
    if is_suspended(execution):
        sw_count(&sw_process.leaked)
        return False
    if swpy_attached() != NULL:
        release_execution(execution)
    else:
        forget_ended(execution)
    sw_lock()
    give_back_execution(execution)
    sw_unlock()
    return True


cdef inline void release_orphans() noexcept nogil:
    """What was given back while nobody could release what it held. Attached; runs destructors."""
    cdef sw_execution *execution
    while True:
        sw_lock()
        execution = sw_orphaned_executions
        if execution != NULL:
            take_orphan()
        sw_unlock()
        if execution == NULL:
            return
        release_execution(execution)
        sw_lock()
        free_execution(execution)
        sw_unlock()


cdef inline stackwarden_status sw_drain() noexcept nogil:
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    if ts == NULL:
        return STACKWARDEN_DETACHED
    if swpy_has_deferred(ts):
        sw_count(&sw_process.drained)
        swpy_drain(ts)
    release_orphans()
    return STACKWARDEN_DONE
