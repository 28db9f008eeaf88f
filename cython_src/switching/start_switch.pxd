"""The start of a switch in the middle of Python, on the stack that is suspended or ends.

    start_switch(to)   target: find and check it; save the loaded execution state; the target becomes current
    the jump
    finish_switch()    on the target: load its execution state, apply its bounds (finish_switch.pxd)

Promises: a refusal comes before anything is saved. No Python runs between the two calls. Between stacks of one
chain nothing is swapped: they share their execution state (execution.h). Allocates an own thread state when its
stack is entered for the first time (begin_execution), and what target.pxd allocates.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uintptr_t

from records.execution cimport *
from records.executions cimport has_not_begun, release_execution, sw_renew_stack
from records.guard cimport *
from records.protection cimport *
from records.records cimport handle_of, note_depth, record_holds, record_of
from stackwarden cimport (
    STACKWARDEN_DETACHED,
    STACKWARDEN_DONE,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_NO_MEMORY,
    STACKWARDEN_SWITCH_ENDS,
    stackwarden_stack,
    stackwarden_status,
)
from switching.callbacks cimport begin_inside, note_switch
from switching.evidence cimport correct_current, is_current
from switching.hook cimport count_switch
from switching.target cimport check_target, drop_indexed, execution_of, find_target
from switching.threads cimport this_thread, why_no_block


cdef extern from * nogil:
    """
    /* Kept out of line: the hot paths need no registers for them. */
    static SW_NOINLINE stackwarden_status sw_start_switch_slow(
        const stackwarden_stack *to, uintptr_t sp, int ends);
    """


cdef inline void note_suspended(const sw_thread *thread, PyThreadState *ts, uintptr_t sp) noexcept nogil:
    """The loaded execution state is suspended here: in which thread state, at which stack pointer."""
    cdef sw_execution *execution = thread.loaded
    execution.ts = ts
    execution.ts_id = swpy_id(ts) if ts != NULL else 0
    execution.suspended_at = sp
    execution.frame_tag = thread.current.frame_tag
    execution.status = SW_SUSPENDED


cdef inline void save_frames(const sw_thread *thread, PyThreadState *ts) noexcept nogil:
    """Save the frames and all that goes with them, out of a thread state that other stacks use too."""
    swpy_state_save(ts, &thread.loaded.state)
    thread.loaded.holds = True


cdef inline void save_loaded(sw_thread *thread, PyThreadState *ts, uintptr_t sp) noexcept nogil:
    """Save the loaded execution state, whatever its isolation. Without a thread state there is nothing to save: it
    still holds what was never loaded, or the thread state that it was loaded into is gone."""
    cdef sw_execution *execution = thread.loaded
    if ts != NULL and execution.isolation == SW_FRAMES:
        if not swpy_state_is_checked(ts):
            swpy_check_asyncio(ts)
        save_frames(thread, ts)
    elif not execution.holds:
        swpy_state_clear(&execution.state)
        if ts != NULL:
            swpy_shared_save(&execution.state)
    note_suspended(thread, ts, sp)


cdef inline void finish_loaded(sw_thread *thread, PyThreadState *ts) noexcept nogil:
    """The loaded execution state has ended. finish_switch() releases it; without a thread state nobody can: what
    it holds was never loaded, and stays for the next coroutine on this stack."""
    if ts != NULL:
        thread.finished = thread.loaded
    else:
        thread.loaded.status = SW_READY if thread.loaded.holds else SW_IDLE


cdef inline bint has_to_release(const sw_thread *thread, bint ends) noexcept nogil:
    """Must release_unloaded() come first?"""
    return thread.loaded.holds or (ends and thread.loaded.isolation == SW_THREAD_STATE)


cdef inline void release_unloaded(sw_thread *thread, PyThreadState *ts, bint ends) noexcept nogil:
    """What may run Python before a switch. A stack that was entered on a thread without a thread state may have
    got one meanwhile: its execution state is what that one holds, and the context that it was to begin with is
    released. An own thread state that ends stops tracing (own_state.h)."""
    if thread.loaded.holds:
        release_execution(thread.loaded)
    if ends and thread.loaded.isolation == SW_THREAD_STATE:
        swpy_stop_tracing(ts)


cdef inline sw_thread *thread_to_switch(PyThreadState *ts, bint ends) noexcept nogil:
    """The calling thread, after release_unloaded(), which may come back on another one. NULL: no memory."""
    cdef sw_thread *thread = this_thread()
    if thread != NULL and ts != NULL and not SW_LIKELY(not has_to_release(thread, ends)):
        release_unloaded(thread, ts, ends)
        thread = this_thread()
    return thread


cdef inline void settle_contest(sw_record *left, uintptr_t sp) noexcept nogil:
    """Two chains told that they are on this stack. The one that is seen on it has it. Else it is nobody's: no
    frames have this tag, and check_target() refuses the stack."""
    if not left.contested:
        return
    if record_holds(left, sp):
        left.contested = False
    elif left.frame_tag:
        left.frame_tag = max(left.frame_tag ^ 1, 2)


cdef inline void commit_switch(
        sw_thread *thread, PyThreadState *ts, sw_record *record, uintptr_t sp, bint ends,
        bint detached) noexcept nogil:
    """The point of no return: the current stack is suspended, or ends; that of `record` becomes the current one.

    `sp`: where the caller of start_switch() is on the current stack. `detached`: it was, before start_switch()
    attached it; a stack that begins inherits that (test_a_new_stack_inherits_from_the_stack_that_enters_it).
    """
    cdef sw_record *current = thread.current
    cdef sw_execution *to = execution_of(thread, record)
    current.detached = detached
    current.frame_tag = 0 if ends or ts == NULL else swpy_frame_tag(ts)
    if current.isolation == SW_SHARED and current.kind != SW_NATIVE:
        current.execution = thread.loaded if not ends else NULL
    if to is not thread.loaded:
        save_loaded(thread, ts, sp)
        if ends and current.isolation != SW_SHARED:
            finish_loaded(thread, ts)
    settle_contest(current, sp)
    if has_not_begun(to) or (to is thread.loaded and not record.frame_tag):
        record.detached = current.detached
    if has_not_begun(to):
        begin_inside(to, thread.loaded)
    record.execution = to
    record.frame_tag = 0
    thread.incoming = to
    if sw_process.callbacks:
        note_switch(thread, current)
    count_switch(thread, record)
    if ends:
        drop_indexed(thread, current)


cdef inline stackwarden_status begin_execution(sw_thread *thread, sw_record *record) noexcept nogil:
    """A stack with isolation is entered for the first time: give it its context, unless somebody renewed it, and
    its own thread state. That one is not made earlier, because 3.12 ends with a SIGSEGV when it finds a thread
    state that never ran (tests/isolation/test_shutdown.py)."""
    cdef sw_execution *execution = record.execution
    cdef stackwarden_status status = STACKWARDEN_DONE
    cdef PyObject *context
    if record.isolation == SW_SHARED or not has_not_begun(execution):
        return STACKWARDEN_DONE
    if execution.status == SW_IDLE:
        status = sw_renew_stack(handle_of(record), NULL)
    if status == STACKWARDEN_DONE and execution.isolation == SW_THREAD_STATE and execution.ts == NULL:
        context = execution.state.context
        execution.state.context = NULL
        execution.holds = False
        execution.status = SW_IDLE
        execution.ts = swpy_make_own(swpy_attached(), context)
        status = STACKWARDEN_DONE if execution.ts != NULL else STACKWARDEN_NO_MEMORY
        if status == STACKWARDEN_DONE:
            # Before it is attached: for one without bounds CPython asks the system, which reads /proc/self/maps.
            swpy_protect_own(execution.ts, thread, record, &execution.counter, True)
    return status


cdef inline stackwarden_status start_switch_to(
        sw_thread *thread, PyThreadState *ts, sw_record *record, uintptr_t sp, bint ends,
        bint detached) noexcept nogil:
    """Check the target, prepare it, commit. `ts`: attached, or NULL. `detached`: the caller was."""
    cdef stackwarden_status status = check_target(thread, ts, record)
    if status == STACKWARDEN_DONE and ts != NULL:
        status = begin_execution(thread, record)
    if status == STACKWARDEN_DONE:
        commit_switch(thread, ts, record, sp, ends, detached)
    return status


cdef inline void stay_corrected(sw_thread *thread, PyThreadState *ts, const sw_record *told) noexcept nogil:
    """The switch is refused, and the thread stays where it is. What was told before (`told`) is known to be wrong:
    the bounds must not be left behind there."""
    if ts != NULL and thread.current is not told:
        swpy_protect(ts, thread, thread.current)


cdef inline stackwarden_status start_switch_slow "sw_start_switch_slow"(
        const stackwarden_stack *to, uintptr_t sp, bint ends) noexcept nogil:
    """The slow path: any stack, any isolation."""
    cdef PyThreadState *ts
    cdef sw_thread *thread
    cdef sw_record *record
    cdef const sw_record *told
    cdef stackwarden_status status
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    ts = swpy_attached()
    if ts == NULL:
        return STACKWARDEN_DETACHED
    thread = thread_to_switch(ts, ends)
    if thread == NULL:
        return why_no_block()
    told = thread.current
    correct_current(thread, sp)
    status = find_target(thread, to, &record)
    if status == STACKWARDEN_DONE:
        status = start_switch_to(thread, ts, record, sp, ends, False)
    if status != STACKWARDEN_DONE:
        stay_corrected(thread, ts, told)
    return status


cdef inline bint may_start_fast(
        sw_thread *thread, PyThreadState *ts, const sw_record *record, uintptr_t sp) noexcept nogil:
    """Does the slow path come to the same? Both stacks have isolation "frames" and live in this thread state, the
    target was suspended in the middle of Python, and the current one holds the stack pointer: nothing is refused,
    corrected, made or released."""
    cdef const sw_execution *loaded = thread.loaded
    cdef const sw_execution *to = record.execution
    return is_current(thread, sp) \
        and to != NULL and to.status == SW_SUSPENDED and to.ts is ts and to.ts_id == swpy_id(ts) \
        and record.frame_tag and record.frame_tag == to.frame_tag \
        and to.isolation == SW_FRAMES and loaded.isolation == SW_FRAMES and not loaded.holds \
        and thread.current.execution is loaded and swpy_state_is_checked(ts)


cdef inline bint start_switch_fast(const stackwarden_stack *to, uintptr_t sp) noexcept nogil:
    """The fast path: from one suspended coroutine to another. False: nothing was done."""
    cdef sw_thread *thread
    cdef PyThreadState *ts
    cdef sw_record *record
    if to == NULL or not SW_LIKELY(sw_process.fast_path):
        return False
    thread = <sw_thread *>sw_thread_local_fast()
    ts = swpy_attached_fast()
    record = record_of(to.handle)
    if not SW_LIKELY(thread != NULL and ts != NULL and record != NULL and may_start_fast(thread, ts, record, sp)):
        return False
    thread.current.frame_tag = swpy_frame_tag(ts)
    thread.current.detached = False
    note_depth(thread.current, sp)
    save_frames(thread, ts)
    note_suspended(thread, ts, sp)
    record.frame_tag = 0
    record.switches += 1
    thread.incoming = record.execution
    sw_store_pointer(&thread.current, record)
    return True


cdef inline stackwarden_status sw_start_switch(const stackwarden_stack *to, unsigned flags) noexcept nogil:
    """The stack pointer is that of the caller, as in sw_finish_switch(): is_stale() compares the two."""
    cdef uintptr_t sp = sw_callers_stack_pointer()
    if SW_LIKELY(flags == 0 and start_switch_fast(to, sp)):
        return STACKWARDEN_DONE
    return start_switch_slow(to, sp, flags & STACKWARDEN_SWITCH_ENDS)


cdef inline stackwarden_status sw_start_switch_blocking(
        const stackwarden_stack *to, unsigned flags) noexcept nogil:
    """start_switch() for detached callers too: attaches them. finish_switch() detaches again where the stack that
    is resumed was suspended detached."""
    cdef uintptr_t sp = sw_callers_stack_pointer()
    cdef PyThreadState *ts
    cdef sw_thread *thread
    cdef sw_record *record
    cdef const sw_record *told
    cdef stackwarden_status status
    cdef bint ends = flags & STACKWARDEN_SWITCH_ENDS
    cdef bint detached
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    if this_thread() == NULL:
        return why_no_block()
    ts = swpy_attached()
    detached = ts == NULL
    if detached:
        ts = swpy_own()
        if ts != NULL:
            PyEval_RestoreThread(ts)
    thread = thread_to_switch(ts, ends)
    told = thread.current
    correct_current(thread, sp)
    status = find_target(thread, to, &record)
    if status == STACKWARDEN_DONE:
        status = start_switch_to(thread, ts, record, sp, ends, detached)
    if status != STACKWARDEN_DONE:
        stay_corrected(thread, ts, told)
    if status != STACKWARDEN_DONE and detached and ts != NULL:
        PyEval_SaveThread()
    return status
