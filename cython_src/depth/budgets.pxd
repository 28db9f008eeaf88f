"""Budgets: less of a stack than there is, for a while or for good.

      top ... stack pointer ... lowest   from here on CPython raises ... base as CPython is told of it ... base

Promises: a budget never reaches below the real stack, and none is put in force that could make CPython abort: a
margin and a reserve must be left between the stack pointer and `lowest`, below which two margins follow.
"""

from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.string cimport memset

from depth.checks cimport used_of
from records.execution cimport *
from records.guard cimport *
from records.protection cimport *
from records.records cimport handle_of, record_of
from stackwarden cimport (
    STACKWARDEN_DETACHED,
    STACKWARDEN_DONE,
    STACKWARDEN_IN_USE,
    STACKWARDEN_TOO_SMALL,
    STACKWARDEN_UNKNOWN_STACK,
    stackwarden_budget,
    stackwarden_status,
)
from switching.sync cimport sync_slow
from switching.threads cimport this_thread, thread_on


cdef extern from * nogil:
    """
    #define SW_BUDGET_RESERVE ((uintptr_t)16 << 10) /* bytes; for the calls that put a budget in force, and more */
    """
    const uintptr_t SW_BUDGET_RESERVE


# ---- for a while ----

cdef inline uint32_t withheld_above(const sw_record *record, uintptr_t lowest) noexcept nogil:
    """Bytes / 16 above the base of a record that are kept back where nothing below `lowest` is to be used."""
    cdef uintptr_t base = lowest - swpy_protection.reserve
    return <uint32_t>((base - record.base) >> 4) if lowest > record.base + swpy_protection.reserve else 0


cdef inline stackwarden_status sw_enter_budget(uintptr_t lowest, stackwarden_budget *former) noexcept nogil:
    cdef uintptr_t sp = sw_stack_pointer()
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    cdef sw_record_cold *cold
    cdef sw_thread *thread
    cdef stackwarden_status status
    memset(former, 0, sizeof(stackwarden_budget))
    if ts == NULL:
        return STACKWARDEN_DETACHED
    if lowest > sp or sp - lowest < swpy_protection.margin + SW_BUDGET_RESERVE:
        return STACKWARDEN_TOO_SMALL
    status = sync_slow(sp, False)
    if status != STACKWARDEN_DONE:
        return status
    thread = this_thread()
    cold = sw_cold_of(thread.current)
    former.stack = handle_of(thread.current)
    former.former = <uint64_t>cold.withheld_for_now << 32
    cold.withheld_for_now = max(cold.withheld_for_now, withheld_above(thread.current, lowest))
    former.former |= swpy_budget_entered(ts, thread.current, sp, lowest)
    swpy_protect(ts, thread, thread.current)
    return STACKWARDEN_DONE


cdef inline stackwarden_status sw_leave_budget(const stackwarden_budget *former) noexcept nogil:
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    cdef sw_thread *thread
    if ts == NULL:
        return STACKWARDEN_DETACHED
    thread = this_thread()
    if thread == NULL or record_of(former.stack) is not thread.current:
        return STACKWARDEN_UNKNOWN_STACK
    sw_cold_of(thread.current).withheld_for_now = <uint32_t>(former.former >> 32)
    swpy_budget_left(ts, thread.current, <uint32_t>former.former)
    swpy_protect(ts, thread, thread.current)
    return STACKWARDEN_DONE


# ---- for good ----

cdef inline stackwarden_status set_budget(sw_record *record, uintptr_t budget) noexcept nogil:
    """A stack's own budget in bytes; 0: there is none. Requires: attached."""
    cdef uintptr_t sp = sw_stack_pointer()
    cdef PyThreadState *ts = swpy_attached()
    cdef sw_thread *thread = this_thread()
    cdef const sw_thread *runs_on = thread_on(record)
    if (runs_on != NULL and runs_on is not thread) or sw_cold_of(record).withheld_for_now or sw_cold_of(record).calls_withheld:
        return STACKWARDEN_IN_USE
    if budget and budget < used_of(record, sp) + swpy_protection.margin + SW_BUDGET_RESERVE:
        return STACKWARDEN_TOO_SMALL
    if not swpy_budget_set(ts, thread, record, <uint32_t>(budget >> 4)):
        return STACKWARDEN_TOO_SMALL
    if thread.current is record:
        swpy_protect(ts, thread, record)
    return STACKWARDEN_DONE
