"""Bounds for a block of code: those of a stack that is named (enter_stack), or of the one under the caller
(enter_sync).

Promises: the blocks of a chain of stacks form a set; each ends on its own, in whatever order and on whatever
thread. After the end of one the current stack is that of the newest block of this chain that is left, else the one
around it (`outer`). But a stack that became current in another way meanwhile, and holds the stack pointer, stays
current; and a block of another chain, suspended meanwhile, changes nothing.
"""

from libc.stdint cimport uint32_t, uintptr_t
from libc.string cimport memset

from records.execution cimport *
from records.guard cimport *
from records.index cimport find_overlap
from records.policy cimport use_policy
from records.protection cimport *
from records.records cimport handle_of, record_holds, record_of
from records.requests cimport make_request, remove_request, request_of
from stackwarden cimport (
    STACKWARDEN_DETACHED,
    STACKWARDEN_DONE,
    STACKWARDEN_INTERRUPTED,
    STACKWARDEN_NOT_REGISTERED,
    STACKWARDEN_NO_MEMORY,
    STACKWARDEN_TOO_SMALL,
    stackwarden_request,
    stackwarden_stack,
    stackwarden_status,
)
from switching.hook cimport enter_bounds_only, sw_notify_stack_switch, sw_switch_to
from switching.sync cimport is_right, sw_sync_stack, sync_slow
from switching.threads cimport renew_transient, running_thread, thread_with_serial, why_no_block


cdef extern from * nogil:
    """
    static SW_NOINLINE stackwarden_status sw_enter_sync_slow(uintptr_t sp, stackwarden_request *token);
    """


cdef inline sw_place place_of(const sw_record *record) noexcept nogil:
    """Where to return to, whatever becomes of the record."""
    return sw_place(handle_of(record), record.base, record.top, record.bounds_from)


cdef inline bint is_at(const sw_thread *thread, const sw_place *place) noexcept nogil:
    """Is the current stack of a thread the one at this place, under whichever handle?"""
    return thread.current.base == place.base and thread.current.top == place.top


cdef inline const sw_request *newest_block(const sw_request *newest, const sw_execution *chain) noexcept nogil:
    """The newest block of a chain, in a list of blocks; or NULL."""
    while newest != NULL and newest.chain is not chain:
        newest = newest.next
    return newest


# ---- the beginning of a block ----

cdef inline sw_request *begin_block(sw_thread *thread, stackwarden_request *token) noexcept nogil:
    """A request for the current stack, until the stack of the block is the current one. NULL: no memory, or
    refused the lock."""
    cdef sw_request *request
    cdef const sw_request *around
    if not sw_lock():
        return NULL
    request = make_request(&thread.blocks, token)
    if request != NULL:
        around = newest_block(request.next, thread.loaded)
        request.thread = thread.serial
        request.chain = thread.loaded
        request.stack = place_of(thread.current)
        request.outer = around.outer if around != NULL and is_at(thread, &around.stack) else request.stack
    sw_unlock()
    return request


cdef inline void cancel_block(sw_thread *thread, sw_request *request, stackwarden_request *token) noexcept nogil:
    """The block needs no request after all: no other stack was entered."""
    if not sw_lock():
        return
    remove_request(&thread.blocks, request)
    sw_unlock()
    memset(token, 0, sizeof(stackwarden_request))


cdef inline stackwarden_status sw_enter_stack(
        const stackwarden_stack *stack, stackwarden_request *token) noexcept nogil:
    """The request is made first: once the stack is entered nothing may fail."""
    cdef sw_thread *thread = running_thread()
    cdef sw_request *request
    cdef stackwarden_status status
    memset(token, 0, sizeof(stackwarden_request))
    if thread == NULL:
        return why_no_block()
    request = begin_block(thread, token)
    if request == NULL:
        return STACKWARDEN_INTERRUPTED if sw_holds_lock() else STACKWARDEN_NO_MEMORY
    if record_of(stack.handle) != NULL or not stack.base:
        status = sw_switch_to(stack.handle)
    else:
        status = sw_notify_stack_switch(stack.base, stack.size)
    if status == STACKWARDEN_DONE or status == STACKWARDEN_TOO_SMALL:
        request.stack = place_of(thread.current)
    else:
        cancel_block(thread, request, token)
    return status


cdef inline stackwarden_status sw_enter_sync(stackwarden_request *token) noexcept nogil:
    """Where the bounds are right already there is no request, and the token is zero."""
    cdef uintptr_t sp = sw_stack_pointer()
    memset(token, 0, sizeof(stackwarden_request))
    return STACKWARDEN_DONE if SW_LIKELY(is_right(sp)) else enter_sync_slow(sp, token)


cdef inline stackwarden_status enter_sync_slow "sw_enter_sync_slow"(
        uintptr_t sp, stackwarden_request *token) noexcept nogil:
    cdef sw_thread *thread = running_thread()
    cdef sw_request *request
    cdef stackwarden_status status
    if thread == NULL:
        return why_no_block()
    request = begin_block(thread, token)
    if request == NULL:
        return STACKWARDEN_INTERRUPTED if sw_holds_lock() else STACKWARDEN_NO_MEMORY
    status = sync_slow(sp, False)
    if is_at(thread, &request.stack):
        cancel_block(thread, request, token)
    else:
        request.stack = place_of(thread.current)
    return status


# ---- its end ----

cdef inline stackwarden_status tell_again(const sw_place *place) noexcept nogil:
    """Tell of a stack whose record is gone, unless its memory is another stack's by now: that does not give way to
    the end of a block, and which stack is under the caller is looked up."""
    cdef uint32_t generation
    cdef stackwarden_status status
    if find_overlap(place.base, place.top, &generation) == NULL:
        status = sw_notify_stack_switch(place.base, place.top - place.base)
        if status >= 0:
            return status
    return sync_slow(sw_stack_pointer(), False)


cdef inline stackwarden_status enter_place(sw_thread *thread, const sw_place *place) noexcept nogil:
    """Enter a stack again. An unknown one stays unknown: what was found of it does not become told."""
    cdef sw_record *record = record_of(place.handle)
    if record == NULL and place.bounds_from < SW_FROM_MAP:
        return tell_again(place)
    if record == NULL:
        record = renew_transient(thread, place.bounds_from, place.base, place.top)
    return enter_bounds_only(thread, record)


cdef inline void end_block_elsewhere(sw_thread *thread, const sw_place *place) noexcept nogil:
    """A block of another thread ends here: its generator is dropped on this one. This thread is attached, so that
    the other one is not, and its thread state can be written."""
    cdef sw_record *ended = thread.current
    cdef sw_record *record = record_of(place.handle)
    if record == NULL:
        record = thread.native
    if record.execution is not ended.execution:
        return  # it has switched in the middle of Python since, and its bounds are those of that switch
    sw_store_pointer(&thread.current, record)
    use_policy(thread, record)
    swpy_protect_elsewhere(thread, ended, record)


cdef inline bint decides(sw_thread *own, const sw_thread *thread, const sw_request *request) noexcept nogil:
    """Does the end of a block change the current stack of its thread? If that is the block's own, or is not under
    the caller."""
    if request.chain is not thread.loaded:
        return False
    return is_at(thread, &request.stack) \
        or (thread is own and not record_holds(own.current, sw_stack_pointer()))


cdef inline stackwarden_status remove_block(
        sw_thread *own, const stackwarden_request *token, bint attached, sw_thread **thread,
        sw_place *place) noexcept nogil:
    """Of which thread it was, and which stack is the effective one now; base 0: nothing changes. Under
    sw_lock()."""
    cdef sw_request *request = request_of(token)
    cdef const sw_request *left
    if request == NULL:
        return STACKWARDEN_NOT_REGISTERED
    thread[0] = thread_with_serial(request.thread)
    if thread[0] is not own and not attached:
        return STACKWARDEN_DETACHED
    place[0] = request.outer
    if not decides(own, thread[0], request):
        place.base = 0
    remove_request(&thread[0].blocks, request)
    left = newest_block(thread[0].blocks, thread[0].loaded)
    if left != NULL and place.base:
        place[0] = left.stack
    return STACKWARDEN_DONE


cdef inline stackwarden_status sw_leave_stack(const stackwarden_request *token) noexcept nogil:
    cdef sw_thread *own = running_thread()
    cdef bint attached = own != NULL and swpy_attached() != NULL
    cdef sw_thread *thread
    cdef sw_place place
    cdef stackwarden_status status
    if own == NULL:
        return why_no_block()
    if not sw_lock():
        return STACKWARDEN_INTERRUPTED
    status = remove_block(own, token, attached, &thread, &place)
    sw_unlock()
    if status == STACKWARDEN_DONE and place.base and thread is own:
        return enter_place(thread, &place)
    if status == STACKWARDEN_DONE and place.base:
        end_block_elsewhere(thread, &place)
    return status


cdef inline stackwarden_status sw_leave_sync(const stackwarden_request *token) noexcept nogil:
    """Without a request the bounds were right at the beginning; the thread may have switched since."""
    return sw_leave_stack(token) if token.id else sw_sync_stack()
