"""Evidence: which stack the stack pointer is on, whatever was told.

Promises: asks records and the index alone: no lock, no system call. What was told is believed where nothing known
contradicts it: the stack pointer may be on a stack that nobody told of.
"""

from libc.stdint cimport uintptr_t

from records.execution cimport *
from records.executions cimport join_chain
from records.guard cimport *
from records.index cimport find_record
from records.policy cimport is_unknown, use_policy
from records.records cimport describe_record, handle_of, record_holds
from stackwarden cimport (
    STACKWARDEN_BOUNDS_ESTIMATE,
    STACKWARDEN_BOUNDS_MAP,
    STACKWARDEN_DONE,
    stackwarden_handle,
    stackwarden_stack,
    stackwarden_status,
)
from switching.callbacks cimport note_switch
from switching.hook cimport count_switch
from switching.threads cimport running_thread, why_no_block


cdef inline bint is_told_and_holds(sw_record *record, uintptr_t sp) noexcept nogil:
    return record.generation & 1 and not is_unknown(record) and record_holds(record, sp)


cdef inline sw_record *find_stack_of(sw_thread *thread, uintptr_t sp) noexcept nogil:
    """The record of the stack that holds an address: current, registered or native; NULL: nobody told of it."""
    cdef sw_record *record = thread.current
    if is_told_and_holds(record, sp):
        return record
    record = find_record(sp)
    if record == NULL and record_holds(thread.native, sp):
        record = thread.native
    return record


cdef inline sw_record *told_before(sw_thread *thread, uintptr_t sp) noexcept nogil:
    """The unregistered stack that was told before the current one, and holds an address; or NULL."""
    if is_told_and_holds(thread.transient, sp):
        return thread.transient
    return thread.spare if is_told_and_holds(thread.spare, sp) else NULL


cdef inline bint is_current(sw_thread *thread, uintptr_t sp) noexcept nogil:
    """Is the stack pointer on the stack that was told?"""
    return SW_LIKELY(record_holds(thread.current, sp))


cdef inline bint runs_loaded(const sw_thread *thread, const sw_record *record) noexcept nogil:
    """Can the loaded execution state be that of a stack? A stack of its own state has it, another one joins."""
    return record.execution is thread.loaded or (record.isolation == SW_SHARED and record.kind != SW_NATIVE)


cdef inline sw_record *stack_under(sw_thread *thread, uintptr_t sp) noexcept nogil:
    """The stack that is suspended when the thread switches now: the one that holds the stack pointer, where that
    is known, else the one that was told."""
    cdef sw_record *record
    if is_current(thread, sp) and not is_unknown(thread.current):
        return thread.current
    record = find_stack_of(thread, sp)
    if record == NULL:
        record = told_before(thread, sp)
    return record if record != NULL and runs_loaded(thread, record) else thread.current


cdef inline void correct_current(sw_thread *thread, uintptr_t sp) noexcept nogil:
    """Where something else was told, the stack that holds the stack pointer becomes the current one. For the two
    sides of a switch in the middle of Python: bounds are theirs, and no callback runs."""
    cdef sw_record *told = thread.current
    cdef sw_record *record = stack_under(thread, sp)
    if record is told:
        return
    join_chain(thread, record)
    if sw_process.callbacks:
        note_switch(thread, told)
    count_switch(thread, record)
    if sw_process.own_policies:
        use_policy(thread, record)


# ---- asking ----

cdef inline void describe_stack(
        const sw_thread *thread, const sw_record *record, stackwarden_stack *stack) noexcept nogil:
    """A stack that the thread is on, or was told to be on."""
    describe_record(record, stack)
    stack.chain = <uintptr_t>thread.loaded
    stack.pooled = record.pooled
    if record.bounds_from == SW_FROM_MAP:
        stack.bounds_from = STACKWARDEN_BOUNDS_MAP
    elif record.bounds_from == SW_FROM_ESTIMATE:
        stack.bounds_from = STACKWARDEN_BOUNDS_ESTIMATE


cdef inline stackwarden_status sw_current_stack(stackwarden_stack *stack) noexcept nogil:
    cdef sw_thread *thread = running_thread()
    if thread == NULL:
        return why_no_block()
    describe_stack(thread, stack_under(thread, sw_stack_pointer()), stack)
    return STACKWARDEN_DONE


cdef inline stackwarden_handle sw_current_handle() noexcept nogil:
    cdef sw_thread *thread = running_thread()
    return handle_of(stack_under(thread, sw_stack_pointer())) if thread != NULL else 0
