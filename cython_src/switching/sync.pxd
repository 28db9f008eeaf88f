"""Sync: the bounds become those of the stack that holds the stack pointer, whatever was told before.

Promises: a few loads where they are that already. Only an unknown stack costs system calls (unknown.pxd).
"""

from libc.stdint cimport uintptr_t

from records.execution cimport *
from records.guard cimport *
from records.protection cimport *
from records.records cimport record_holds
from stackwarden cimport (
    STACKWARDEN_DONE,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_UNKNOWN_STACK,
    stackwarden_status,
)
from switching.callbacks cimport call_callbacks, callback_of
from switching.evidence cimport find_stack_of
from switching.hook cimport enter, on_first_foreign_stack
from switching.threads cimport this_thread, why_no_block
from switching.unknown cimport unknown_record


cdef extern from "beacon/find.h" nogil:
    void sw_find_late_beacons()


cdef extern from * nogil:
    """
    /* Kept out of line: the hot paths need no registers for them. */
    static SW_NOINLINE stackwarden_status sw_sync_slow(uintptr_t sp, int adopts);
    """


cdef inline stackwarden_status enter_unknown(sw_thread *thread, uintptr_t sp) noexcept nogil:
    """DONE where the map of memory tells where the stack ends; UNKNOWN_STACK: its bounds are an estimate."""
    cdef sw_record *record = unknown_record(thread, sp)
    enter(thread, record)
    on_first_foreign_stack()
    return STACKWARDEN_DONE if record.bounds_from == SW_FROM_MAP else STACKWARDEN_UNKNOWN_STACK


cdef inline stackwarden_status sw_sync_stack() noexcept nogil:
    return sync(sw_stack_pointer(), False)


cdef inline stackwarden_status sw_adopt_stack() noexcept nogil:
    return sync(sw_stack_pointer(), True)


cdef inline bint is_right(uintptr_t sp) noexcept nogil:
    """Attached, with the bounds of the stack that holds `sp`? False also where only the slow path can tell."""
    cdef PyThreadState *ts
    if not SW_LIKELY(sw_process.fast_path):
        return False
    ts = swpy_attached_fast()
    return SW_LIKELY(ts != NULL and swpy_covers_fast(ts, sp))


cdef inline stackwarden_status sync(uintptr_t sp, bint adopts) noexcept nogil:
    return STACKWARDEN_DONE if SW_LIKELY(is_right(sp)) else sync_slow(sp, adopts)


cdef inline void load_held(sw_execution *execution, PyThreadState *ts) noexcept nogil:
    """A stack was entered on a thread without a thread state, and has got one since: that gets the context with
    which the stack was to begin (test_a_fiber_has_its_context_in_a_thread_state_that_was_made_on_it)."""
    if execution.isolation == SW_FRAMES and swpy_is_pristine(ts):
        swpy_state_load(ts, &execution.state)
        execution.holds = False


cdef inline stackwarden_status enter_here(
        sw_thread *thread, PyThreadState *ts, uintptr_t sp, bint adopts) noexcept nogil:
    """Enter the stack that holds the stack pointer; an unknown one may be found with a beacon that came late."""
    cdef sw_record *record
    if ts != NULL and thread.loaded.holds:
        load_held(thread.loaded, ts)
    thread.policies_seen = sw_process.policy_serial
    record = find_stack_of(thread, sp)
    if record == NULL:
        sw_find_late_beacons()
        return enter_unknown(thread, sp)
    swpy_drop_passed_budget(record, sp)
    return enter(thread, record, adopts)


cdef inline stackwarden_status enter_if_elsewhere(
        sw_thread *thread, PyThreadState *ts, uintptr_t sp, bint adopts) noexcept nogil:
    """Enters a stack only where the bounds are another one's, or were applied for another policy."""
    if ts == NULL or thread.policies_seen != sw_process.policy_serial or not swpy_covers(ts, thread, sp) \
            or not record_holds(thread.current, sp):
        return enter_here(thread, ts, sp, adopts)
    return STACKWARDEN_DONE


cdef inline stackwarden_status sync_slow "sw_sync_slow"(uintptr_t sp, bint adopts) noexcept nogil:
    """enter_if_elsewhere(); reports pending switches in any case."""
    cdef PyThreadState *ts
    cdef sw_thread *thread
    cdef stackwarden_status status
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    ts = swpy_attached()
    thread = this_thread()
    if thread == NULL:
        return why_no_block()
    status = enter_if_elsewhere(thread, ts, sp, adopts)
    if thread.pending_switches and sw_process.callbacks and ts != NULL and callback_of(thread.loaded) == NULL:
        call_callbacks(thread)
    return status
