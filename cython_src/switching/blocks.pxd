"""The bounds of a stack for a block of code: those that are named, or those of the stack under the caller.

Promises: blocks form a set on their thread; each ends on its own, in whatever order and on whatever thread. What is
effective after a block is the newest of those that are left, else the stack around the outermost one; but where
another stack was told of meanwhile, and holds the stack pointer, that stays.
"""

from libc.stdint cimport uintptr_t
from libc.string cimport memset

from records.execution cimport *
from records.guard cimport *
from records.policy cimport use_policy
from records.protection cimport *
from records.records cimport handle_of, record_holds, record_of
from records.requests cimport make_request, remove_request, request_of
from stackwarden cimport (
    STACKWARDEN_DETACHED,
    STACKWARDEN_DONE,
    STACKWARDEN_NOT_REGISTERED,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_NO_MEMORY,
    STACKWARDEN_TOO_SMALL,
    stackwarden_request,
    stackwarden_stack,
    stackwarden_status,
)
from switching.hook cimport enter_bounds_only, sw_notify_stack_switch, sw_switch_to
from switching.sync cimport is_right, sw_sync_stack, sync_slow
from switching.threads cimport renew_transient, this_thread, thread_with_serial


cdef extern from * nogil:
    """
    static SW_NOINLINE stackwarden_status sw_enter_sync_slow(uintptr_t sp, stackwarden_request *token);
    """


cdef inline sw_place place_of(const sw_record *record) noexcept nogil:
    return sw_place(handle_of(record), record.base, record.top, record.bounds_from)


cdef inline bint is_at(const sw_thread *thread, const sw_place *place) noexcept nogil:
    """Is that the stack that is current on a thread, under this handle or another?"""
    return thread.current.base == place.base and thread.current.top == place.top


# ---- the beginning of a block ----

cdef inline void begin_block(
        sw_thread *thread, sw_request *request, const sw_place *outer) noexcept nogil:
    """On the stack that is effective in the block."""
    request.thread = thread.serial
    request.stack = place_of(thread.current)
    if request.next == NULL:
        thread.outer = outer[0]


cdef inline void cancel_block(sw_thread *thread, sw_request *request, stackwarden_request *token) noexcept nogil:
    sw_lock()
    remove_request(&thread.blocks, request)
    sw_unlock()
    memset(token, 0, sizeof(stackwarden_request))


cdef inline stackwarden_status sw_enter_stack(
        const stackwarden_stack *stack, stackwarden_request *token) noexcept nogil:
    cdef sw_thread *thread = this_thread() if sw_process.running else NULL
    cdef sw_request *request
    cdef sw_place outer
    cdef stackwarden_status status
    memset(token, 0, sizeof(stackwarden_request))
    if thread == NULL:
        return STACKWARDEN_NO_MEMORY if sw_process.running else STACKWARDEN_NOT_RUNNING
    outer = place_of(thread.current)
    request = make_request(&thread.blocks, token)
    if request == NULL:
        return STACKWARDEN_NO_MEMORY
    if record_of(stack.handle) != NULL or not stack.base:
        status = sw_switch_to(stack.handle)
    else:
        status = sw_notify_stack_switch(stack.base, stack.size)
    if status == STACKWARDEN_DONE or status == STACKWARDEN_TOO_SMALL:
        begin_block(thread, request, &outer)
    else:
        cancel_block(thread, request, token)
    return status


cdef inline stackwarden_status sw_enter_sync(stackwarden_request *token) noexcept nogil:
    cdef uintptr_t sp = sw_stack_pointer()
    memset(token, 0, sizeof(stackwarden_request))
    return STACKWARDEN_DONE if SW_LIKELY(is_right(sp)) else enter_sync_slow(sp, token)


cdef inline stackwarden_status enter_sync_slow "sw_enter_sync_slow"(
        uintptr_t sp, stackwarden_request *token) noexcept nogil:
    cdef sw_thread *thread = this_thread() if sw_process.running else NULL
    cdef sw_request *request
    cdef sw_place outer
    cdef stackwarden_status status
    if thread == NULL:
        return STACKWARDEN_NO_MEMORY if sw_process.running else STACKWARDEN_NOT_RUNNING
    outer = place_of(thread.current)
    request = make_request(&thread.blocks, token)
    if request == NULL:
        return STACKWARDEN_NO_MEMORY
    status = sync_slow(sp, False)
    if not is_at(thread, &outer):
        begin_block(thread, request, &outer)
    else:
        cancel_block(thread, request, token)
    return status


# ---- its end ----

cdef inline stackwarden_status enter_place(sw_thread *thread, const sw_place *place) noexcept nogil:
    """What was found of an unknown stack stays found: it does not become told."""
    cdef sw_record *record = record_of(place.handle)
    if record == NULL and place.bounds_from < SW_FROM_MAP:
        return sw_notify_stack_switch(place.base, place.top - place.base)
    if record == NULL:
        record = renew_transient(thread, place.bounds_from, place.base, place.top)
    return enter_bounds_only(thread, record)


cdef inline sw_place *effective_place(sw_thread *thread) noexcept nogil:
    return &thread.blocks.stack if thread.blocks != NULL else &thread.outer


cdef inline void end_block_elsewhere(sw_thread *thread) noexcept nogil:
    """Another thread's block ends here, where its generator is dropped. That thread is not attached, this one is."""
    cdef sw_record *ended = thread.current
    cdef sw_record *record = record_of(effective_place(thread).handle)
    if record == NULL:
        record = thread.native
    if record.execution is not ended.execution:
        return  # it switched in the middle of Python meanwhile, and that has the last word
    sw_store_pointer(&thread.current, record)
    use_policy(thread, record)
    swpy_protect_elsewhere(thread, ended, record)


cdef inline stackwarden_status sw_leave_stack(const stackwarden_request *token) noexcept nogil:
    cdef sw_thread *own = this_thread() if sw_process.running else NULL
    cdef sw_request *request = request_of(token)
    cdef sw_thread *thread
    cdef bint over
    if own == NULL:
        return STACKWARDEN_NO_MEMORY if sw_process.running else STACKWARDEN_NOT_RUNNING
    if request == NULL:
        return STACKWARDEN_NOT_REGISTERED
    thread = thread_with_serial(request.thread)
    if thread is not own and swpy_attached() == NULL:
        return STACKWARDEN_DETACHED
    over = is_at(thread, &request.stack) or (thread is own and not record_holds(thread.current, sw_stack_pointer()))
    sw_lock()
    remove_request(&thread.blocks, request)
    sw_unlock()
    if over and thread is own:
        return enter_place(thread, effective_place(thread))
    if over:
        end_block_elsewhere(thread)
    return STACKWARDEN_DONE


cdef inline stackwarden_status sw_leave_sync(const stackwarden_request *token) noexcept nogil:
    return sw_leave_stack(token) if token.id else sw_sync_stack()
