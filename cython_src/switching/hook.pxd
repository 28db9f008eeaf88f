"""The switch hook: a thread runs on another stack from now on, and CPython's bounds become those of that stack.

    system -> adapter -> sw_notify_stack_switch, sw_switch_to, sw_reset_stack
                           find the record -> enter_fast -> swpy_protect_fast     attached, 3.14 and later
                                           -> enter      -> swpy_protect          everything else

Promises: allocates nothing, takes no lock and makes no system call, attached or not, but for a thread's first
call. Does nothing once Python is finalized. Bounds alone change: what has other execution state is refused.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uintptr_t

from records.execution cimport *
from records.executions cimport join_chain
from records.guard cimport *
from records.index cimport find_record
from records.overlaps cimport check_range, is_range, overlaps_record, supersede_overlaps
from records.policy cimport use_policy
from records.protection cimport *
from records.records cimport note_depth, record_of
from stackwarden cimport (
    STACKWARDEN_DONE,
    STACKWARDEN_ISOLATION_REQUIRED,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_OVERLAP,
    STACKWARDEN_STALE_HANDLE,
    STACKWARDEN_TOO_SMALL,
    stackwarden_status,
)
from switching.callbacks cimport report_switch
from switching.threads cimport renew_transient, running_thread, this_thread, why_no_block
from switching.unknown cimport SW_PAGE, estimate_of


cdef extern from * nogil:
    """
    /* Kept out of line: the hot paths need no registers for them. */
    static SW_NOINLINE stackwarden_status sw_notify_slow(sw_record *record, uintptr_t base, size_t size);
    static SW_NOINLINE stackwarden_status sw_switch_to_slow(sw_record *record);
    """


# ---- entering a stack ----

cdef inline void count_switch(sw_thread *thread, sw_record *to) noexcept nogil:
    """`to` becomes the current stack of a thread, before the jump or after it."""
    cdef uintptr_t sp = sw_stack_pointer()
    note_depth(thread.current, sp)
    note_depth(to, sp)
    if to is not thread.current:
        sw_store_pointer(&thread.current, to)
        to.switches += 1
    to.frame_tag = 0


cdef inline void apply_bounds(PyThreadState *ts, sw_thread *thread, sw_record *to, bint adopts) noexcept nogil:
    if adopts:
        swpy_adopt(ts, thread, to)
    else:
        swpy_protect(ts, thread, to)


cdef inline void apply_bounds_detached(sw_thread *thread, sw_record *to, bint adopts) noexcept nogil:
    """To the thread state that the thread will attach next, unless CPython may be freeing it:
    stop_detached_writes()."""
    cdef PyThreadState *ts
    thread.writes_detached = True
    sw_fence_full()
    if not sw_process.finalizing:
        ts = swpy_own()
        if ts != NULL:
            apply_bounds(ts, thread, to, adopts)
    thread.writes_detached = False


cdef inline stackwarden_status enter(sw_thread *thread, sw_record *to, bint adopts=False) noexcept nogil:
    """The thread runs on the stack of a record: count the switch, apply the bounds, report to callbacks. `adopts`:
    who switched has swapped CPython's counters already (stackwarden_adopt_stack)."""
    cdef sw_record *former = thread.current
    cdef PyThreadState *ts = swpy_attached()
    count_switch(thread, to)
    if sw_process.own_policies:
        use_policy(thread, to)
    if ts != NULL:
        apply_bounds(ts, thread, to, adopts)
    else:
        apply_bounds_detached(thread, to, adopts)
    if to is not former and sw_process.callbacks:
        report_switch(thread, former)
    return STACKWARDEN_DONE


cdef inline bint enter_fast(sw_record *to) noexcept nogil:
    """enter() where sw_process.fast_path allows it, with the same execution state. False: nothing was done."""
    cdef sw_thread *thread = <sw_thread *>sw_thread_local_fast()
    cdef PyThreadState *ts = swpy_attached_fast()
    if not SW_LIKELY(thread != NULL and ts != NULL and to.execution is thread.loaded):
        return False
    count_switch(thread, to)
    swpy_protect_fast(ts, to)
    return True


cdef inline stackwarden_status enter_bounds_only(sw_thread *thread, sw_record *to) noexcept nogil:
    """enter(), refused where execution state would have to be swapped with the bounds."""
    if to.execution is not thread.loaded and (to.isolation != SW_SHARED or to.kind == SW_NATIVE):
        return STACKWARDEN_ISOLATION_REQUIRED
    join_chain(thread, to)
    return enter(thread, to)


cdef inline void enter_estimate(sw_thread *thread, uintptr_t top) noexcept nogil:
    """The current stack is too small to be protected. The estimate comes from its top: whether the stack pointer
    is on it already is not known."""
    cdef uintptr_t base = top - sw_process.assumed_size if top > 2 * sw_process.assumed_size else SW_PAGE
    enter(thread, renew_transient(thread, SW_FROM_ESTIMATE, base, max(top, base + sw_process.assumed_size)))


cdef inline void on_first_foreign_stack() noexcept nogil:
    """Once in the process: see cpython/first_stack.h. May run Python, so no lock may be held."""
    if sw_process.has_foreign and not sw_process.first_foreign_done:
        sw_process.first_foreign_done = swpy_call_on_first_foreign_stack()


# ---- notifications ----

cdef inline stackwarden_status notify_transient(sw_thread *thread, uintptr_t base, uintptr_t top) noexcept nogil:
    """The thread runs on a range that is not registered: its transient record of that range, else a new one."""
    cdef stackwarden_status status
    cdef sw_record *estimate = estimate_of(thread, base, top)
    if estimate != NULL:
        return enter_bounds_only(thread, estimate)
    if thread.checked_version == sw_load_acquire(&sw_process.version):
        if is_range(thread.transient, base, top):
            return enter_bounds_only(thread, thread.transient)
        if is_range(thread.spare, base, top):
            thread.transient, thread.spare = thread.spare, thread.transient
            return enter_bounds_only(thread, thread.transient)
    if overlaps_record(thread.native, base, top):
        return STACKWARDEN_OVERLAP
    status = supersede_overlaps(thread, base, top)
    if status == STACKWARDEN_DONE:
        status = enter_bounds_only(thread, renew_transient(thread, SW_FROM_TOLD, base, top))
        on_first_foreign_stack()
    return status


cdef inline stackwarden_status sw_notify_stack_switch(uintptr_t base, size_t size) noexcept nogil:
    cdef sw_record *record = find_record(base)
    if record != NULL and record.base == base and record.top == base + size \
            and SW_LIKELY(sw_process.fast_path) and enter_fast(record):
        return STACKWARDEN_DONE
    return notify_slow(record, base, size)


cdef inline stackwarden_status notify_slow "sw_notify_slow"(
        sw_record *record, uintptr_t base, size_t size) noexcept nogil:
    """`record`: the registered stack that holds `base`, or NULL."""
    cdef sw_thread *thread
    cdef stackwarden_status status = check_range(base, size)
    if status != STACKWARDEN_DONE:
        return status
    thread = running_thread()
    if thread == NULL:
        return why_no_block()
    if record == NULL or record.base != base or record.top != base + size:
        record = thread.native
    if record.base == base and record.top == base + size:
        return enter_bounds_only(thread, record)
    if size < sw_process.least_size:
        enter_estimate(thread, base + size)
        return STACKWARDEN_TOO_SMALL
    return notify_transient(thread, base, base + size)


cdef inline stackwarden_status sw_switch_to(sw_handle handle) noexcept nogil:
    cdef sw_record *record = record_of(handle)
    if SW_LIKELY(record != NULL and sw_process.fast_path) and enter_fast(record):
        return STACKWARDEN_DONE
    return switch_to_slow(record)


cdef inline stackwarden_status switch_to_slow "sw_switch_to_slow"(sw_record *record) noexcept nogil:
    cdef sw_thread *thread
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    if record == NULL:
        return STACKWARDEN_STALE_HANDLE
    thread = this_thread()
    return enter_bounds_only(thread, record) if thread != NULL else why_no_block()


cdef inline stackwarden_status sw_reset_stack() noexcept nogil:
    cdef sw_thread *thread = running_thread()
    if thread == NULL:
        return why_no_block()
    return enter_bounds_only(thread, thread.native)
