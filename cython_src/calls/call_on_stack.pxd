"""Calls on other stacks: a function runs on a pooled stack, and comes back.

Promises: the call shares the execution state of its caller, so it may suspend, raise and be traced like any nested
call. CPython's bounds are those of the stack that runs, before, during and after it. Nothing is allocated where
the pool has a stack of the size. Pooled stacks are registered for as long as they are mapped; others cannot
unregister them. A free one keeps the memory of its uppermost SW_WARM_SIZE bytes and nothing else.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uintptr_t
from libc.string cimport memmove

from records.ends cimport end_retired
from records.execution cimport *
from records.guard cimport *
from records.policy cimport is_unknown
from records.protection cimport *
from records.records cimport describe_record, record_of, retire_record
from stackwarden cimport (
    STACKWARDEN_BAD_RANGE,
    STACKWARDEN_DONE,
    STACKWARDEN_INTERRUPTED,
    STACKWARDEN_LOST,
    STACKWARDEN_NOT_AVAILABLE,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_NO_MEMORY,
    STACKWARDEN_TOO_SMALL,
    STACKWARDEN_UNKNOWN_STACK,
    stackwarden_function,
    stackwarden_stack,
    stackwarden_status,
)
from switching.hook cimport sw_notify_stack_switch, sw_switch_to
from switching.registration cimport sw_register_stack
from switching.sync cimport sw_sync_stack, sync, sync_slow
from switching.threads cimport this_thread, why_no_block


cdef extern from "calls/run_on_stack.h" nogil:
    const size_t SW_GUARD_SIZE
    bint SW_CAN_RUN_ON_STACK
    void *sw_map_stack(size_t size)
    void sw_unmap_stack(void *base, size_t size)
    void sw_discard_stack(void *base, size_t size)
    void sw_run_on_stack(void *base, size_t size, stackwarden_function function, void *arg)


cdef extern from * nogil:
    """
    #define SW_POOL_SLOTS 16 /* free stacks of all sizes, at most */
    #define SW_WARM_SIZE ((size_t)256 << 10) /* bytes of memory that a free stack keeps */
    #define SW_DEFAULT_STACK_SIZE ((size_t)64 << 20) /* bytes */

    typedef struct {
        uintptr_t base;
        size_t size;
        sw_handle handle;
    } sw_pooled_stack;

    static sw_pooled_stack sw_pool[SW_POOL_SLOTS]; /* in the order of their last use. Under sw_lock() */
    static int sw_pool_free;

    typedef struct {
        sw_handle handle;
        stackwarden_function function;
        void *arg;
    } sw_stack_call;
    """
    enum:
        SW_POOL_SLOTS

    const size_t SW_WARM_SIZE
    const size_t SW_DEFAULT_STACK_SIZE

    ctypedef struct sw_pooled_stack:
        uintptr_t base
        size_t size
        sw_handle handle

    sw_pooled_stack *sw_pool
    int sw_pool_free

    ctypedef struct sw_stack_call:
        sw_handle handle
        stackwarden_function function
        void *arg


# ---- free stacks ----

cdef inline void take_from_pool(int place) noexcept nogil:
    """Close the gap that a stack leaves. Under sw_lock()."""
    global sw_pool_free
    sw_pool_free -= 1
    memmove(&sw_pool[place], &sw_pool[place + 1], (sw_pool_free - place) * sizeof(sw_pooled_stack))


cdef inline bint take_free(size_t size, sw_pooled_stack *stack) noexcept nogil:
    """The free stack of exactly this size that was used last: its memory is in the caches. False: none."""
    cdef int place
    cdef bint found = False
    if not sw_lock():
        return False
    place = sw_pool_free - 1
    while place >= 0 and sw_pool[place].size != size:
        place -= 1
    if place >= 0:
        stack[0] = sw_pool[place]
        take_from_pool(place)
        found = True
    sw_unlock()
    return found


cdef inline bint take_oldest(sw_pooled_stack *stack) noexcept nogil:
    """The free stack that was not used for the longest time. False: none."""
    cdef bint found = False
    if not sw_lock():
        return False
    if sw_pool_free:
        stack[0] = sw_pool[0]
        take_from_pool(0)
        found = True
    sw_unlock()
    return found


cdef inline bint put_free(const sw_pooled_stack *stack) noexcept nogil:
    """Put a stack into the pool. False: it is full."""
    global sw_pool_free
    cdef bint put = False
    if not sw_lock():
        return False
    if sw_pool_free < SW_POOL_SLOTS:
        sw_pool[sw_pool_free] = stack[0]
        sw_pool_free += 1
        put = True
    sw_unlock()
    return put


# ---- from the making of a stack to its end ----

cdef inline void end_stack(const sw_pooled_stack *stack) noexcept nogil:
    """Unregister and unmap a stack."""
    cdef sw_record *record = record_of(stack.handle)
    if record != NULL:
        retire_record(record, record.generation)
        end_retired()
    sw_unmap_stack(<void *>stack.base, stack.size)


cdef inline stackwarden_status make_stack(size_t size, sw_pooled_stack *stack) noexcept nogil:
    """A new stack. Where there is no address space for it, free ones of other sizes are unmapped first."""
    cdef stackwarden_status status
    cdef stackwarden_stack registered
    cdef sw_pooled_stack oldest
    stack.size = size
    stack.base = <uintptr_t>sw_map_stack(size)
    while stack.base == 0 and take_oldest(&oldest):
        end_stack(&oldest)
        stack.base = <uintptr_t>sw_map_stack(size)
    if stack.base == 0:
        return STACKWARDEN_NO_MEMORY
    status = sw_register_stack(stack.base, size, b"call_on_stack", b"stackwarden", 0, &registered)
    if status == STACKWARDEN_DONE:
        stack.handle = registered.handle
        record_of(stack.handle).pooled = True
    else:
        sw_unmap_stack(<void *>stack.base, size)
    return status


cdef inline stackwarden_status take_stack(size_t size, sw_pooled_stack *stack) noexcept nogil:
    """A stack of at least `size` bytes, from the pool or new."""
    cdef size_t wanted = max(size, swpy_size_for_limit(swpy_attached()))
    wanted = (wanted + SW_GUARD_SIZE - 1) // SW_GUARD_SIZE * SW_GUARD_SIZE
    while take_free(wanted, stack):
        if record_of(stack.handle) != NULL:
            return STACKWARDEN_DONE
        sw_count(&sw_process.leaked)  # somebody registered another stack over it: whose memory is it?
    return make_stack(wanted, stack)


cdef inline stackwarden_status give_back(const sw_pooled_stack *stack) noexcept nogil:
    """The call is over. LOST: somebody else uses the memory from now on, and it stays mapped."""
    cdef sw_pooled_stack oldest
    cdef sw_record *record = record_of(stack.handle)
    if record == NULL or record.retained:
        sw_count(&sw_process.leaked)
        return STACKWARDEN_LOST
    if sw_cold_of(record).budgets != NULL or sw_cold_of(record).own_budget:
        end_stack(stack)  # they outlive the call, and must not be the next one's
        return STACKWARDEN_DONE
    if stack.size > SW_WARM_SIZE:
        sw_discard_stack(<void *>stack.base, stack.size - SW_WARM_SIZE)
    while not put_free(stack):
        if take_oldest(&oldest):
            end_stack(&oldest)
    return STACKWARDEN_DONE


# ---- the call ----

cdef inline void run_call(void *call) noexcept nogil:
    """The outermost function on the stack."""
    sw_switch_to((<sw_stack_call *>call).handle)
    (<sw_stack_call *>call).function((<sw_stack_call *>call).arg)


cdef inline void return_to(const stackwarden_stack *caller, stackwarden_status status) noexcept nogil:
    """The thread is on the caller's stack again. `status`: DONE where that was known; else the sync finds it."""
    if status == STACKWARDEN_DONE and sw_switch_to(caller.handle) != STACKWARDEN_DONE:
        sw_notify_stack_switch(caller.base, caller.size)
    sw_sync_stack()


cdef inline void call_on(const sw_pooled_stack *stack, stackwarden_function function, void *arg) noexcept nogil:
    cdef sw_stack_call call = sw_stack_call(stack.handle, function, arg)
    cdef stackwarden_status status = sync_slow(sw_stack_pointer(), False)
    cdef stackwarden_stack caller
    describe_record(this_thread().current, &caller)
    if is_unknown(this_thread().current):
        status = STACKWARDEN_UNKNOWN_STACK
    swpy_nest_calls(swpy_attached(), this_thread(), record_of(stack.handle))
    sw_run_on_stack(<void *>stack.base, stack.size, run_call, &call)
    return_to(&caller, status)


cdef inline stackwarden_status sw_call_on_stack(
        size_t size, stackwarden_function function, void *arg) noexcept nogil:
    """Every refusal comes before the call."""
    cdef sw_pooled_stack stack
    cdef stackwarden_status status
    if size == 0 or size > SW_MOST_SIZE:
        return STACKWARDEN_BAD_RANGE
    if not SW_CAN_RUN_ON_STACK:
        return STACKWARDEN_NOT_AVAILABLE
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    if size < sw_process.least_size:
        return STACKWARDEN_TOO_SMALL
    if this_thread() == NULL:
        return why_no_block()
    if sw_holds_lock():
        return STACKWARDEN_INTERRUPTED
    status = take_stack(size, &stack)
    if status == STACKWARDEN_DONE:
        call_on(&stack, function, arg)
        status = give_back(&stack)
    return status


cdef inline stackwarden_status sw_retain_stack() noexcept nogil:
    """The stack under the caller never goes back into the pool."""
    cdef stackwarden_status status = sw_sync_stack()
    cdef sw_thread *thread = this_thread() if status == STACKWARDEN_DONE else NULL
    if thread == NULL:
        return status if status != STACKWARDEN_DONE else why_no_block()
    if not thread.current.pooled:
        return STACKWARDEN_UNKNOWN_STACK
    thread.current.retained = True
    return STACKWARDEN_DONE


cdef inline bint has_room_for(size_t room) noexcept nogil:
    """Are `room` bytes left under the caller, by CPython's bounds or counter too? False on an unknown stack."""
    cdef uintptr_t sp = sw_stack_pointer()
    cdef sw_thread *thread
    if sync(sp, False) != STACKWARDEN_DONE:
        return False
    thread = this_thread()
    return thread != NULL and swpy_room(swpy_attached(), thread.current, sp) >= room


cdef inline stackwarden_status sw_maybe_grow(
        size_t room, size_t size, stackwarden_function function, void *arg) noexcept nogil:
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    if room == 0:
        room = sw_process.min_stack
    if size == 0:
        size = sw_process.stack_size
    if room > SW_MOST_SIZE or size > SW_MOST_SIZE:
        return STACKWARDEN_BAD_RANGE
    if has_room_for(room):
        function(arg)
        return STACKWARDEN_DONE
    return sw_call_on_stack(max(room, size), function, arg)
