"""Registration of stacks and switch callbacks; names of stacks; lookups.

Promises: a status for every call, never a pending exception. The contract is stackwarden.h.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset, strlen

from records.execution cimport *
from records.ends cimport end_record, holds_frames, sweep_retired
from records.executions cimport is_loaded, isolate, release_orphans
from records.guard cimport *
from records.index cimport find_stack, insert_record, make_nodes
from records.overlaps cimport check_range, retire_transients, supersede_overlaps
from records.policy cimport note_unchecked, use_policy
from records.protection cimport *
from records.records cimport (
    begin_record,
    describe_record,
    record_of,
    retire_record,
    set_bounds,
    take_record,
    why_no_records,
)
from stackwarden cimport (
    STACKWARDEN_BAD_POLICY,
    STACKWARDEN_DONE,
    STACKWARDEN_EMPTY_CONTEXT,
    STACKWARDEN_INTERRUPTED,
    STACKWARDEN_IN_USE,
    STACKWARDEN_ISOLATION_FRAMES,
    STACKWARDEN_ISOLATION_THREAD_STATE,
    STACKWARDEN_LOST,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_NO_ISOLATION,
    STACKWARDEN_NO_MEMORY,
    STACKWARDEN_STALE_HANDLE,
    STACKWARDEN_TOO_SMALL,
    STACKWARDEN_TRIM_GUARD,
    STACKWARDEN_UNKNOWN_STACK,
    STACKWARDEN_UNMAPPED,
    stackwarden_handle,
    stackwarden_stack,
    stackwarden_status,
    stackwarden_switch_callback,
)
from switching.callbacks cimport add_callback
from switching.hook cimport on_first_foreign_stack
from switching.threads cimport running_thread, thread_on, why_no_block


cdef inline char *join_names(const char *name, const char *system) noexcept nogil:
    """A record's `name`: both names, each with its NUL. NULL stands for an empty name. NULL: no memory."""
    cdef size_t first = strlen(name) + 1 if name != NULL else 1
    cdef size_t second = strlen(system) + 1 if system != NULL else 1
    cdef char *names = <char *>calloc(1, first + second)
    if names != NULL and name != NULL:
        memcpy(names, name, first)
    if names != NULL and system != NULL:
        memcpy(names + first, system, second)
    return names


cdef inline int isolation_of(unsigned flags) noexcept nogil:
    if flags & STACKWARDEN_ISOLATION_FRAMES:
        return SW_FRAMES
    return SW_THREAD_STATE if flags & STACKWARDEN_ISOLATION_THREAD_STATE else SW_SHARED


cdef inline bint has_isolation(unsigned flags) noexcept nogil:
    """Is the isolation that is asked for available here?"""
    if isolation_of(flags) == SW_THREAD_STATE:
        return SWPY_HAS_OWN_STATES
    return isolation_of(flags) == SW_SHARED or sw_process.frames


cdef inline int policy_in(unsigned flags) noexcept nogil:
    return (flags >> 8) & 0xFF


cdef inline sw_record *new_registered(uintptr_t base, uintptr_t top, char *names, unsigned flags) noexcept nogil:
    """A new record with all that belongs to it, not yet in use; NULL: none left, or no memory. Owns `names` if it
    is made. Under sw_lock()."""
    cdef int isolation = isolation_of(flags)
    cdef sw_record *record = take_record()
    if record == NULL:
        return NULL
    set_bounds(record, SW_REGISTERED, SW_FROM_TOLD, base, top)
    record.given_policy = policy_in(flags)
    use_policy(NULL, record)
    if not make_nodes(record) or (
            isolation != SW_SHARED and not isolate(record, isolation, flags & STACKWARDEN_EMPTY_CONTEXT)):
        end_record(record)
        return NULL
    record.name = names
    return record


cdef inline stackwarden_status register_range(
        uintptr_t base, uintptr_t top, char *names, unsigned flags, stackwarden_stack *stack) noexcept nogil:
    """The new record is made, older ones give way, all under one lock. Owns `names` if it is made."""
    cdef stackwarden_status status
    cdef sw_record *record = new_registered(base, top, names, flags)
    if record == NULL:
        free(names)
        return why_no_records(1)
    status = supersede_overlaps(NULL, base, top)
    if status == STACKWARDEN_DONE:
        retire_transients(base, top)
        insert_record(record)
        begin_record(record)
        note_unchecked(policy_in(flags))
        describe_record(record, stack)
    else:
        end_record(record)
    return status


cdef inline stackwarden_status sw_register_stack "sw_register_stack"(
        uintptr_t base, size_t size, const char *name, const char *system, unsigned flags,
        stackwarden_stack *stack) noexcept nogil:
    """Every refusal comes before the first change."""
    cdef uintptr_t top = base + size
    cdef char *names = NULL
    cdef stackwarden_status status = check_range(base, size)
    if status != STACKWARDEN_DONE:
        return status
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    if policy_in(flags) > SW_DISABLED:
        return STACKWARDEN_BAD_POLICY
    if not has_isolation(flags):
        return STACKWARDEN_NO_ISOLATION
    if flags & STACKWARDEN_TRIM_GUARD:
        base = sw_lowest_readable(base, top)
        if base == 0 or base == top:
            return STACKWARDEN_UNMAPPED
    if top - base < sw_process.least_size:
        stack.base = base
        stack.size = top - base
        return STACKWARDEN_TOO_SMALL
    if not sw_lock():
        return STACKWARDEN_INTERRUPTED
    sweep_retired()
    if name != NULL or system != NULL:
        names = join_names(name, system)
    if names != NULL or (name == NULL and system == NULL):
        status = register_range(base, top, names, flags, stack)
    else:
        status = STACKWARDEN_NO_MEMORY
    sweep_retired()
    sw_unlock()
    on_first_foreign_stack()
    return status


cdef inline stackwarden_status sw_unregister_stack(stackwarden_handle handle) noexcept nogil:
    """What the stack's execution state owned is released after the lock, because that may run Python."""
    cdef stackwarden_status status
    cdef sw_record *record
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    if not sw_lock():
        return STACKWARDEN_INTERRUPTED
    record = record_of(handle)
    if record == NULL:
        status = STACKWARDEN_STALE_HANDLE
    elif record.kind != SW_REGISTERED or record.pooled or thread_on(record) != NULL or is_loaded(record):
        status = STACKWARDEN_IN_USE
    else:
        status = STACKWARDEN_LOST if holds_frames(record) else STACKWARDEN_DONE
        retire_record(record, <uint32_t>(handle >> 32))
    sweep_retired()
    sw_unlock()
    if swpy_attached() != NULL:
        release_orphans()
    return status


cdef inline bint name_stack(sw_handle handle, const char *name, const char *system) noexcept nogil:
    """Give a stack a name, unless it has one. False: no memory. For Python alone, which no C handler calls."""
    cdef char *names
    cdef sw_record *record
    cdef bint made
    if not sw_lock():
        return False
    names = join_names(name, system)
    made = names != NULL
    record = record_of(handle)
    if made and record != NULL and record.name == NULL:
        record.name = names
    else:
        free(names)
    sw_unlock()
    return made


cdef inline stackwarden_status sw_register_switch_callback(
        stackwarden_switch_callback function, void *arg, int all_threads) noexcept nogil:
    cdef sw_thread *thread = running_thread()
    if thread == NULL:
        return why_no_block()
    return add_callback(function, arg, 0 if all_threads else thread.serial)


# ---- lookups ----

cdef inline stackwarden_status sw_find_stack(uintptr_t address, stackwarden_stack *stack) noexcept nogil:
    cdef uintptr_t top
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    memset(stack, 0, sizeof(stackwarden_stack))
    if not find_stack(address, &stack.handle, &stack.base, &top):
        memset(stack, 0, sizeof(stackwarden_stack))
        return STACKWARDEN_UNKNOWN_STACK
    stack.size = top - stack.base
    return STACKWARDEN_DONE
