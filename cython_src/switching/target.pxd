"""The target of a switch in the middle of Python: its record, its execution state, and whether it may be resumed.

Promises: changes no execution state, so a refusal changes nothing. Allocates nothing, but for the record of an
unregistered stack with Python frames on it (index_suspended).
"""

from libc.stdint cimport uint32_t, uint64_t, uintptr_t

from records.ends cimport end_record, sweep_retired
from records.execution cimport *
from records.guard cimport *
from records.index cimport find_record, insert_record, make_nodes
from records.overlaps cimport check_range, is_range, is_taken, overlaps_record, supersede_overlaps
from records.protection cimport *
from records.records cimport is_in_use, record_of, retire_record, take_record
from stackwarden cimport (
    STACKWARDEN_BOUNDS_ESTIMATE,
    STACKWARDEN_BOUNDS_MAP,
    STACKWARDEN_DETACHED,
    STACKWARDEN_DONE,
    STACKWARDEN_IN_USE,
    STACKWARDEN_ISOLATION_REQUIRED,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_OTHER_THREAD,
    STACKWARDEN_OVERLAP,
    STACKWARDEN_STALE_HANDLE,
    STACKWARDEN_TOO_SMALL,
    stackwarden_stack,
    stackwarden_status,
)
from switching.threads cimport renew_transient, thread_on, why_refused


cdef inline stackwarden_status find_target(
        sw_thread *thread, const stackwarden_stack *to, sw_record **record) noexcept nogil:
    """The record of the target: the native stack for NULL; by its handle; else by its bounds, as those of
    notify_stack_switch()."""
    cdef stackwarden_status status
    record[0] = thread.native if to == NULL else record_of(to.handle)
    if record[0] != NULL:
        return STACKWARDEN_DONE
    if to.handle and not to.base:
        return STACKWARDEN_STALE_HANDLE
    status = check_range(to.base, to.size)
    if status != STACKWARDEN_DONE:
        return status
    if was_found(to):
        return renew_found(thread, to, record)
    record[0] = find_range(thread, to.base, to.base + to.size)
    if record[0] != NULL:
        return STACKWARDEN_DONE
    if to.size < sw_process.least_size:
        return STACKWARDEN_TOO_SMALL
    if overlaps_record(thread.native, to.base, to.base + to.size):
        return STACKWARDEN_OVERLAP
    if is_taken(thread, to.base, to.base + to.size):
        return STACKWARDEN_OVERLAP
    if not index_suspended(thread):
        return why_refused(1)
    status = supersede_overlaps(thread, to.base, to.base + to.size)
    if status == STACKWARDEN_DONE:
        record[0] = renew_transient(thread, SW_FROM_TOLD, to.base, to.base + to.size)
    return status


cdef inline bint was_found(const stackwarden_stack *to) noexcept nogil:
    """Were the bounds found, not told? They stay what they are."""
    return to.bounds_from == STACKWARDEN_BOUNDS_MAP or to.bounds_from == STACKWARDEN_BOUNDS_ESTIMATE


cdef inline stackwarden_status renew_found(
        sw_thread *thread, const stackwarden_stack *to, sw_record **record) noexcept nogil:
    """The record of an unknown stack whose handle is stale."""
    cdef uintptr_t top = to.base + to.size
    cdef int bounds_from = SW_FROM_MAP if to.bounds_from == STACKWARDEN_BOUNDS_MAP else SW_FROM_ESTIMATE
    record[0] = find_range(thread, to.base, top | 1)
    if record[0] == NULL and not index_suspended(thread):
        return why_refused(1)
    if record[0] == NULL:
        record[0] = renew_transient(thread, bounds_from, to.base, top)
    return STACKWARDEN_DONE


cdef inline bint index_suspended(sw_thread *thread) noexcept nogil:
    """A transient record is about to be used for another stack. If its own was suspended in the middle of Python
    that must be found again, however many others come between: the record goes into the index, and the thread gets
    a fresh one. False: none is left, or no memory."""
    cdef sw_record **place = &thread.spare if thread.current is thread.transient else &thread.transient
    cdef sw_record *fresh
    if not place[0].frame_tag or not is_in_use(place[0]):
        return True
    if not sw_lock():
        return False
    sweep_retired()
    fresh = take_record()
    if fresh != NULL and not make_nodes(place[0]):
        end_record(fresh)
        fresh = NULL
    if fresh != NULL:
        insert_record(place[0])
        place[0] = fresh
    sw_unlock()
    return fresh != NULL


cdef inline void drop_indexed(const sw_thread *thread, sw_record *ended) noexcept nogil:
    """The stack of a record has ended: retire the record if index_suspended() has put it into the index."""
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
    """The execution state that a switch to a stack loads: the stack's own; that of the chain in which the stack
    was suspended in the middle of Python; else the loaded one, whose chain the stack joins."""
    if record.isolation != SW_SHARED or record.kind == SW_NATIVE or record.frame_tag:
        return record.execution
    return thread.loaded


cdef inline bint may_be_loaded(const sw_thread *thread, PyThreadState *ts, sw_execution *execution) noexcept nogil:
    """Can it be loaded on this thread? Frames belong to the thread state that they began in. Compared by id: the
    address of a dead thread state is used again at once (test_frames_in_the_state_of_a_thread_that_has_ended)."""
    cdef uint64_t home
    if execution.isolation == SW_THREAD_STATE or execution.ts == NULL or swpy_state_is_idle(&execution.state):
        return True
    if thread.loaded.isolation == SW_THREAD_STATE:
        home = thread.native.execution.ts_id
    else:
        home = swpy_id(ts) if ts != NULL else 0
    return execution.ts_id == home


cdef inline bint runs_elsewhere(const sw_thread *thread, const sw_record *record) noexcept nogil:
    """Is the stack current on another thread?"""
    cdef sw_thread *other = thread_on(record)
    return other != NULL and other is not thread


cdef inline stackwarden_status check_own_states(
        const sw_thread *thread, PyThreadState *ts, const sw_execution *execution) noexcept nogil:
    """May the thread attach another thread state? Not during finalization: CPython would hang the thread for good.
    After a fork CPython has deleted all thread states but one: the others' `ts` is NULL (forget_own_states)."""
    cdef const sw_execution *owner = execution
    if execution.isolation != SW_THREAD_STATE:
        owner = thread.native.execution
    if ts == NULL:
        return STACKWARDEN_DETACHED
    if swpy_is_finalizing():
        return STACKWARDEN_NOT_RUNNING
    return STACKWARDEN_OTHER_THREAD if owner.ts == NULL and owner.status == SW_SUSPENDED else STACKWARDEN_DONE


cdef inline stackwarden_status check_target(
        const sw_thread *thread, PyThreadState *ts, const sw_record *record) noexcept nogil:
    """May the thread switch to the stack of a record? DONE, or the refusal.

    A stack without isolation that was suspended in the middle of Python is resumed only while its chain has the
    frames that it had then (frame_tag). With other ones frames would end in another order than they began, and the
    process would die (test_unguarded_resuming_below_other_frames_crashes). One that two chains left is nobody's.
    """
    cdef sw_execution *execution = execution_of(thread, record)
    cdef stackwarden_status status = STACKWARDEN_DONE
    cdef uint32_t frame_tag = execution.frame_tag
    if execution is thread.loaded:
        if record.execution is not execution and runs_elsewhere(thread, record):
            return STACKWARDEN_IN_USE
        frame_tag = swpy_frame_tag(ts) if ts != NULL else 0
    elif execution.status == SW_LOADED:
        return STACKWARDEN_IN_USE
    elif not may_be_loaded(thread, ts, execution):
        return STACKWARDEN_OTHER_THREAD
    elif execution.isolation == SW_THREAD_STATE or thread.loaded.isolation == SW_THREAD_STATE:
        status = check_own_states(thread, ts, execution)
    if status == STACKWARDEN_DONE and record.frame_tag and record.frame_tag != frame_tag:
        status = STACKWARDEN_ISOLATION_REQUIRED
    return status
