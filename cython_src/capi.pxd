"""The functions behind the C table that are not the hook's own, and the table.

Promises: a status for every call; never a pending exception. The contract is include/stackwarden/stackwarden.h.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset, strlen

from budgets cimport *
from callbacks cimport *
from carry cimport sw_call_on_stack, sw_call_with_stack, sw_keep_stack
from depth cimport *
from execution cimport *
from guard cimport *
from hook cimport *
from isolation cimport *
from policy cimport *
from protection cimport *
from registry cimport *
from stackwarden cimport (
    STACKWARDEN_API_MAJOR,
    STACKWARDEN_API_MINOR,
    STACKWARDEN_BAD_POLICY,
    STACKWARDEN_DONE,
    STACKWARDEN_FULL,
    STACKWARDEN_EMPTY_CONTEXT,
    STACKWARDEN_IN_USE,
    STACKWARDEN_ISOLATION_FRAMES,
    STACKWARDEN_ISOLATION_THREAD_STATE,
    STACKWARDEN_LOST,
    STACKWARDEN_NO_ISOLATION,
    STACKWARDEN_NO_MEMORY,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_STALE_HANDLE,
    STACKWARDEN_TOO_SMALL,
    STACKWARDEN_TRIM_GUARD,
    STACKWARDEN_UNKNOWN_STACK,
    STACKWARDEN_UNMAPPED,
    stackwarden_handle,
    stackwarden_policy,
    stackwarden_stack,
    stackwarden_stacks,
    stackwarden_status,
    stackwarden_synced,
    stackwarden_table,
)
from unknown cimport renew_transient


cdef inline char *join_names(const char *name, const char *system) noexcept nogil:
    """The two names one after the other, NULs included, or NULL: no memory. NULL stands for an empty name."""
    cdef size_t first = strlen(name) + 1 if name != NULL else 1
    cdef size_t second = strlen(system) + 1 if system != NULL else 1
    cdef char *names = <char *>calloc(1, first + second)
    if names != NULL and name != NULL:
        memcpy(names, name, first)
    if names != NULL and system != NULL:
        memcpy(names + first, system, second)
    return names


cdef inline sw_record *new_registered(uintptr_t base, uintptr_t top, char *names, int policy) noexcept nogil:
    """Take, fill and index a record. Under sw_lock(). NULL: none left, or no memory."""
    cdef sw_record *record = take_record()
    if record == NULL:
        return NULL
    set_bounds(record, SW_REGISTERED, SW_FROM_TOLD, base, top)
    record.name = names
    record.given_policy = policy
    note_unchecked(policy)
    use_policy(NULL, record)
    if not insert_record(record):
        record.name = NULL
        release_thread_record(record)
        return NULL
    return record


cdef inline int isolation_of(unsigned flags) noexcept nogil:
    if flags & STACKWARDEN_ISOLATION_FRAMES:
        return SW_FRAMES
    return SW_THREAD_STATE if flags & STACKWARDEN_ISOLATION_THREAD_STATE else SW_SHARED


cdef inline int policy_in(unsigned flags) noexcept nogil:
    return (flags >> 8) & 0xFF


cdef inline stackwarden_status register_names(
        uintptr_t base, uintptr_t top, char *names, unsigned flags, stackwarden_handle *handle) noexcept nogil:
    cdef stackwarden_status status
    cdef sw_record *record
    sw_lock()
    status = supersede_overlaps(NULL, base, top)
    sweep_retired()
    if status == STACKWARDEN_DONE:
        retire_transients(base, top)
        record = new_registered(base, top, names, policy_in(flags))
        if record != NULL and isolation_of(flags) != SW_SHARED \
                and not isolate(record, isolation_of(flags), flags & STACKWARDEN_EMPTY_CONTEXT):
            retire_record(record, record.generation)
            record.name = NULL
            record = NULL
        if record != NULL:
            handle[0] = handle_of(record)
        else:
            status = STACKWARDEN_FULL if sw_process.records == SW_MAX_RECORDS else STACKWARDEN_NO_MEMORY
    sw_unlock()
    return status


cdef inline stackwarden_status sw_register_stack "sw_register_stack"(
        uintptr_t base, size_t size, const char *name, const char *system, unsigned flags,
        stackwarden_handle *handle) noexcept nogil:
    cdef uintptr_t top = base + size
    cdef char *names = NULL
    cdef stackwarden_status status = check_range(base, size)
    handle[0] = 0
    if status != STACKWARDEN_DONE:
        return status
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    if policy_in(flags) > SW_DISABLED:
        return STACKWARDEN_BAD_POLICY
    if (isolation_of(flags) == SW_THREAD_STATE and not SWPY_HAS_OWN_STATES) \
            or (isolation_of(flags) == SW_FRAMES and not sw_process.frames):
        return STACKWARDEN_NO_ISOLATION
    if flags & STACKWARDEN_TRIM_GUARD:
        base = sw_lowest_readable(base, top)
        if base == 0 or base == top:
            return STACKWARDEN_UNMAPPED
    if top - base < sw_process.least_size:
        return STACKWARDEN_TOO_SMALL
    if name != NULL or system != NULL:
        names = join_names(name, system)
        if names == NULL:
            return STACKWARDEN_NO_MEMORY
    status = register_names(base, top, names, flags, handle)
    if status != STACKWARDEN_DONE:
        free(names)
    meet_first_stack()
    return status


cdef inline bint is_loaded(const sw_record *record) noexcept nogil:
    """Does it run, maybe below a nested call on another stack?"""
    return record.isolation != SW_SHARED and record.execution.status == SW_LOADED


cdef inline stackwarden_status sw_unregister_stack(stackwarden_handle handle) noexcept nogil:
    cdef stackwarden_status status
    cdef sw_record *record
    cdef sw_execution *execution = NULL
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    sw_lock()
    record = record_of(handle)
    if record == NULL:
        status = STACKWARDEN_STALE_HANDLE
    elif record.kind != SW_REGISTERED or record.carried or thread_on(record) != NULL or is_loaded(record):
        status = STACKWARDEN_IN_USE
    else:
        status = STACKWARDEN_DONE if not record.mark or record.isolation != SW_SHARED else STACKWARDEN_LOST
        execution = take_execution(record)
        retire_record(record, <uint32_t>(handle >> 32))
    sweep_retired()
    sw_unlock()
    if status == STACKWARDEN_LOST:
        sw_count(&sw_process.leaked)
    if execution != NULL and not end_execution(execution):
        status = STACKWARDEN_LOST
    return status


cdef inline stackwarden_status sw_current_stack(stackwarden_stack *stack) noexcept nogil:
    cdef sw_thread *thread
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    thread = this_thread()
    if thread == NULL:
        return STACKWARDEN_NO_MEMORY
    describe_record(thread.current, stack)
    stack.chain = <uintptr_t>thread.loaded
    stack.carried = thread.current.carried
    return STACKWARDEN_DONE


cdef inline stackwarden_handle sw_current_handle() noexcept nogil:
    cdef sw_thread *thread = this_thread() if sw_process.running else NULL
    return handle_of(thread.current) if thread != NULL else 0


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


# ---- policies ----

cdef inline int default_policy(int which) noexcept nogil:
    return SW_ESTIMATE if which == SW_UNKNOWN_STACKS else SW_EXACT


cdef inline void change_policy(uint8_t *policies, int which, int policy) noexcept nogil:
    """For the process or a thread. Under sw_lock()."""
    policies[which] = policy
    note_unchecked(policy)
    use_policies()


cdef inline stackwarden_status sw_set_policy(
        stackwarden_stacks which, stackwarden_policy policy, int thread_only,
        stackwarden_policy *former) noexcept nogil:
    cdef sw_thread *thread
    cdef PyThreadState *ts
    cdef uint8_t *policies = sw_process.policies
    if <unsigned>which >= SW_POLICY_KINDS or <unsigned>policy > SW_DISABLED \
            or (thread_only and <int>which == SW_FOREIGN_THREADS):
        return STACKWARDEN_BAD_POLICY
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    thread = this_thread()
    if thread == NULL:
        return STACKWARDEN_NO_MEMORY
    if thread_only:
        policies = thread.policies
    sw_lock()
    if former != NULL:
        former[0] = <stackwarden_policy>policies[<int>which]
    change_policy(
        policies, <int>which,
        <int>policy if thread_only or <int>policy != SW_INHERITED else default_policy(<int>which))
    sw_unlock()
    ts = swpy_attached()
    if ts != NULL:
        enter_here(thread, ts, sw_stack_pointer(), False)
    return STACKWARDEN_DONE


# ---- sync for the time of a call ----

cdef inline stackwarden_status sw_enter_sync(stackwarden_synced *former) noexcept nogil:
    cdef uintptr_t sp = sw_stack_pointer()
    memset(former, 0, sizeof(stackwarden_synced))
    return STACKWARDEN_DONE if SW_LIKELY(is_right(sp)) else enter_sync_slowly(sp, former)


cdef inline stackwarden_status enter_sync_slowly "sw_enter_sync_slowly"(
        uintptr_t sp, stackwarden_synced *former) noexcept nogil:
    cdef sw_thread *thread = this_thread() if sw_process.running else NULL
    cdef sw_record *left
    cdef stackwarden_status status
    if thread == NULL:
        return STACKWARDEN_NO_MEMORY if sw_process.running else STACKWARDEN_NOT_RUNNING
    left = thread.current
    status = sync_slowly(sp, False)
    if thread.current is not left:
        former.stack = handle_of(left)
        former.base = left.base
        former.size = left.top - left.base
        former.bounds_from = left.bounds_from
    return status


cdef inline stackwarden_status sw_leave_sync(const stackwarden_synced *former) noexcept nogil:
    cdef sw_thread *thread
    cdef sw_record *record
    if not former.stack:
        return sw_sync_stack()
    record = record_of(former.stack)
    if record != NULL or not sw_process.running:
        return sw_switch_to(former.stack)
    thread = this_thread()
    if thread == NULL:
        return STACKWARDEN_NO_MEMORY
    if former.bounds_from < SW_FROM_MAP:
        return sw_notify_stack_switch(former.base, former.size)
    return enter_told(
        thread, renew_transient(thread, <int>former.bounds_from, former.base, former.base + former.size))


cdef inline stackwarden_status sw_register_switch_callback(
        stackwarden_switch_callback function, void *arg, int all_threads) noexcept nogil:
    cdef sw_thread *thread
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    thread = this_thread()
    if thread == NULL:
        return STACKWARDEN_NO_MEMORY
    return add_callback(function, arg, 0 if all_threads else thread.serial)


cdef inline stackwarden_table make_table() noexcept nogil:
    return stackwarden_table(
        major=STACKWARDEN_API_MAJOR,
        minor=STACKWARDEN_API_MINOR,
        notify_stack_switch=sw_notify_stack_switch,
        switch_to=sw_switch_to,
        reset_stack=sw_reset_stack,
        sync_stack=sw_sync_stack,
        register_stack=sw_register_stack,
        unregister_stack=sw_unregister_stack,
        current_stack=sw_current_stack,
        find_stack=sw_find_stack,
        register_switch_callback=sw_register_switch_callback,
        unregister_switch_callback=sw_unregister_switch_callback,
        leaving=sw_leaving,
        ending=sw_ending,
        leaving_blocking=sw_leaving_blocking,
        arrived=sw_arrived,
        renew_stack=sw_renew_stack,
        drain=sw_drain,
        enter_budget=sw_enter_budget,
        leave_budget=sw_leave_budget,
        adopt_stack=sw_adopt_stack,
        call_on_stack=sw_call_on_stack,
        call_with_stack=sw_call_with_stack,
        stack_remaining=sw_stack_remaining,
        stack_used=sw_stack_used,
        check_stack_depth=sw_check_stack_depth,
        enter_recursive_call=sw_enter_recursive_call,
        leave_recursive_call=sw_leave_recursive_call,
        set_policy=sw_set_policy,
        enter_sync=sw_enter_sync,
        leave_sync=sw_leave_sync,
        keep_stack=sw_keep_stack,
        current_handle=sw_current_handle,
    )
