"""Budgets: a part of a stack that CPython is to use, for a block of code or for good.

      top ... stack pointer ... low end: CPython raises ... base as CPython is told of it ... base
                                       |<---- reserve ---->|

Promises: a budget never reaches below the real stack, and none is applied with which CPython might abort the
process: a margin and SW_BUDGET_RESERVE must be left between the stack pointer and the low end. The budgets of
blocks form a set, of which the narrowest is effective; each ends with its own block, on whichever thread.
"""

from libc.stdint cimport uintptr_t

from depth.checks cimport used_of
from records.execution cimport PyThreadState
from records.guard cimport *
from records.protection cimport *
from records.records cimport handle_of, record_of
from records.requests cimport make_request, remove_request, request_of
from stackwarden cimport (
    STACKWARDEN_BAD_RANGE,
    STACKWARDEN_DETACHED,
    STACKWARDEN_DONE,
    STACKWARDEN_INTERRUPTED,
    STACKWARDEN_IN_USE,
    STACKWARDEN_NOT_REGISTERED,
    STACKWARDEN_NO_MEMORY,
    STACKWARDEN_TOO_SMALL,
    stackwarden_request,
    stackwarden_status,
)
from switching.sync cimport sync_slow
from switching.threads cimport this_thread, thread_on, why_no_block


cdef extern from * nogil:
    """
    #define SW_BUDGET_RESERVE ((uintptr_t)16 << 10) /* bytes; for what runs until CPython raises */
    """
    const uintptr_t SW_BUDGET_RESERVE


# ---- for a block ----

cdef inline uintptr_t withheld_above(const sw_record *record, uintptr_t low_end) noexcept nogil:
    """Bytes above the base that a budget withholds whose lowest usable address is `low_end`."""
    cdef uintptr_t base = low_end - swpy_protection.reserve
    return base - record.base if low_end > record.base + swpy_protection.reserve else 0


cdef inline stackwarden_status sw_enter_budget(uintptr_t low_end, stackwarden_request *token) noexcept nogil:
    """Syncs first: the budget is that of the stack under the caller."""
    cdef uintptr_t sp = sw_stack_pointer()
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    cdef sw_request *request
    cdef sw_thread *thread
    cdef sw_record *record
    cdef stackwarden_status status
    if ts == NULL:
        return STACKWARDEN_DETACHED
    if low_end > sp or sp - low_end < swpy_protection.margin + SW_BUDGET_RESERVE:
        return STACKWARDEN_TOO_SMALL
    if sw_holds_lock():
        return STACKWARDEN_INTERRUPTED
    status = sync_slow(sp, False)
    if status != STACKWARDEN_DONE:
        return status
    thread = this_thread()
    record = thread.current
    if not swpy_can_withhold(withheld_above(record, low_end)):
        return STACKWARDEN_BAD_RANGE
    if not sw_lock():
        return STACKWARDEN_INTERRUPTED
    request = make_request(&sw_cold_of(record).budgets, token)
    if request != NULL:
        request.stack.handle = handle_of(record)
        request.withheld = withheld_above(record, low_end)
        swpy_fill_budget(ts, thread, sp, low_end, request)
    sw_unlock()
    if request == NULL:
        return STACKWARDEN_NO_MEMORY
    swpy_apply_budgets(ts, thread, record)
    return STACKWARDEN_DONE


cdef inline stackwarden_status sw_leave_budget(const stackwarden_request *token) noexcept nogil:
    """The stack may be gone, and its list of budgets with it: then the request alone is freed."""
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    cdef sw_thread *thread = this_thread() if ts != NULL else NULL
    cdef sw_request *gone = NULL
    cdef sw_request *request
    cdef sw_record *record
    if thread == NULL:
        return STACKWARDEN_DETACHED if ts == NULL else why_no_block()
    request = request_of(token)
    if request == NULL:
        return STACKWARDEN_NOT_REGISTERED
    record = record_of(request.stack.handle)
    if not sw_lock():
        return STACKWARDEN_INTERRUPTED
    remove_request(&sw_cold_of(record).budgets if record != NULL else &gone, request)
    sw_unlock()
    if record != NULL:
        swpy_apply_budgets(ts, thread, record)
    return STACKWARDEN_DONE


# ---- for good ----

cdef inline stackwarden_status set_budget(sw_record *record, uintptr_t budget) noexcept nogil:
    """Set a stack's own budget, in bytes; 0: all of the stack. Requires: attached."""
    cdef uintptr_t sp = sw_stack_pointer()
    cdef PyThreadState *ts = swpy_attached()
    cdef sw_thread *thread = this_thread()
    cdef const sw_thread *runs_on = thread_on(record)
    if thread == NULL:
        return why_no_block()
    if (runs_on != NULL and runs_on is not thread) or sw_cold_of(record).budgets != NULL:
        return STACKWARDEN_IN_USE
    if budget and budget < used_of(record, sp) + swpy_protection.margin + SW_BUDGET_RESERVE:
        return STACKWARDEN_TOO_SMALL
    if budget and not swpy_can_withhold(record.top - record.base - budget):
        return STACKWARDEN_BAD_RANGE
    if not swpy_set_budget(ts, thread, record, budget):
        return STACKWARDEN_TOO_SMALL
    if thread.current is record:
        swpy_protect(ts, thread, record)
    return STACKWARDEN_DONE
