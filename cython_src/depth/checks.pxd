"""Depth: how much of a stack is left, how much is used, and checks before going deeper.

Promises: the stack is found by its address where it is not the current one. The fast path takes no lock, makes no
system call and needs no GIL. A check looks at the real stack on every version, whatever CPython counts.

      top ... stack pointer ... low end + reserve: below it checks raise ... base
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.string cimport memset

from records.execution cimport *
from records.executions cimport has_not_begun
from records.guard cimport *
from records.index cimport find_stack
from records.protection cimport *
from records.records cimport note_depth, record_holds
from switching.sync cimport sync_slow
from switching.threads cimport running_thread, this_thread, thread_on


cdef extern from "cpython/overflow.h" nogil:
    ctypedef struct swpy_overflow:
        const char *name
        size_t size
        size_t used
        size_t margin

    void swpy_raise_stack_overflow(const swpy_overflow *overflow, const char *where)
    void swpy_raise_recursion_overflow(const swpy_overflow *overflow, const char *where)
    bint swpy_count_call()
    void swpy_uncount_call()


cdef extern from * nogil:
    """
    static SW_NOINLINE int sw_bounds_slow(uintptr_t sp, uintptr_t *base, uintptr_t *top);
    static SW_NOINLINE int sw_check_slow(const char *where);

    #define SW_PAINT ((uint64_t)0x6B636174735F7773) /* "sw_stack" */
    #define SW_MOST_PAINTED ((size_t)1 << 36) /* bytes; counted by 16 in 32 bits */
    #define SW_PAINT_GAP ((uintptr_t)4 << 10) /* bytes below the stack pointer: the frames of paint() itself */
    """
    const uint64_t SW_PAINT
    const size_t SW_MOST_PAINTED
    const uintptr_t SW_PAINT_GAP


# ---- what is left ----

cdef inline bint bounds_are_known(const sw_record *record, uintptr_t sp) noexcept nogil:
    return record.bounds_from != SW_FROM_ESTIMATE and sp - record.base < record.top - record.base


cdef inline bint bounds_under(uintptr_t sp, uintptr_t *base, uintptr_t *top) noexcept nogil:
    """The real bounds of the stack that the stack pointer is on. False: they are not known."""
    cdef sw_thread *thread = <sw_thread *>sw_thread_local_get()
    if SW_LIKELY(thread != NULL) and SW_LIKELY(bounds_are_known(thread.current, sp)):
        base[0] = thread.current.base
        top[0] = thread.current.top & ~<uintptr_t>1
        return True
    return bounds_slow(sp, base, top)


cdef inline bint bounds_slow "sw_bounds_slow"(uintptr_t sp, uintptr_t *base, uintptr_t *top) noexcept nogil:
    """The current stack does not hold the stack pointer: a registered one, or the native one?"""
    cdef sw_handle handle
    cdef sw_thread *thread = running_thread()
    if thread == NULL:
        return False
    if find_stack(sp, &handle, base, top):
        return True
    base[0] = thread.native.base
    top[0] = thread.native.top
    return bounds_are_known(thread.native, sp)


cdef inline size_t sw_stack_remaining() noexcept nogil:
    cdef uintptr_t base, top
    cdef uintptr_t sp = sw_stack_pointer()
    return sp - base if bounds_under(sp, &base, &top) else 0


cdef inline size_t sw_stack_used() noexcept nogil:
    cdef uintptr_t base, top
    cdef uintptr_t sp = sw_stack_pointer()
    return (top & ~<uintptr_t>1) - sp if bounds_under(sp, &base, &top) else 0


# ---- checks ----

cdef inline bint has_room(sw_record *record, uintptr_t sp) noexcept nogil:
    """Is the stack pointer on the stack of a record, and above its reserve?"""
    cdef uintptr_t reserve_end = swpy_low_end(record) + swpy_protection.reserve
    return sp - reserve_end < record.top - reserve_end


cdef inline int sw_check_stack_depth(const char *where) noexcept nogil:
    cdef sw_thread *thread = <sw_thread *>sw_thread_local_get()
    cdef uintptr_t sp = sw_stack_pointer()
    if SW_LIKELY(thread != NULL) and SW_LIKELY(has_room(thread.current, sp)):
        note_depth(thread.current, sp)
        return 0
    return check_slow(where)


cdef inline int check_slow "sw_check_slow"(const char *where) noexcept nogil:
    """The stack pointer is on another stack than the current one, or that is nearly used up."""
    cdef swpy_overflow overflow
    cdef uintptr_t sp = sw_stack_pointer()
    cdef sw_thread *thread = running_thread()
    if thread == NULL or (not record_holds(thread.current, sp) and sync_slow(sp, False) < 0):
        return 0
    note_depth(thread.current, sp)
    if has_room(thread.current, sp):
        return 0
    overflow = overflow_on(thread.current, sp)
    swpy_raise_stack_overflow(&overflow, where)
    return -1


cdef inline swpy_overflow overflow_on(const sw_record *record, uintptr_t sp) noexcept nogil:
    """What StackOverflow and RecursionOverflow say of the stack."""
    return swpy_overflow(
        name=record.name, size=(record.top - record.base) & ~<size_t>1, used=record.top - sp,
        margin=swpy_protection.reserve)


cdef inline int sw_enter_recursive_call(const char *where) noexcept nogil:
    """A check of the stack, and one call more against the user's recursion limit."""
    cdef swpy_overflow overflow
    cdef sw_thread *thread
    if sw_check_stack_depth(where) != 0:
        return -1
    if SW_LIKELY(swpy_count_call()):
        return 0
    thread = this_thread()
    if thread != NULL:
        overflow = overflow_on(thread.current, sw_stack_pointer())
    else:
        memset(&overflow, 0, sizeof(overflow))
    if thread != NULL and swpy_stack_ends_first(thread):
        swpy_raise_stack_overflow(&overflow, where)
    else:
        swpy_raise_recursion_overflow(&overflow, where)
    return -1


cdef inline void sw_leave_recursive_call() noexcept nogil:
    swpy_uncount_call()


# ---- how much was used ----

cdef inline uintptr_t used_of(sw_record *record, uintptr_t sp) noexcept nogil:
    """Bytes that are in use of a stack. Without isolation its high-water mark: it may be suspended by a nested
    call."""
    if record_holds(record, sp):
        return record.top - sp
    if record.isolation != SW_SHARED and has_not_begun(record.execution):
        return 0
    if record.isolation != SW_SHARED and record.execution.status == SW_SUSPENDED and record.execution.suspended_at:
        return record.top - record.execution.suspended_at
    return <uintptr_t>record.high_water << 4


cdef inline bint may_paint(sw_record *record, uintptr_t sp) noexcept nogil:
    """Is it known how much of a stack is in use, and does no other thread run on it?"""
    cdef const sw_thread *runs_on = thread_on(record)
    cdef bint is_here = record_holds(record, sp)
    if runs_on != NULL:
        return is_here and runs_on is sw_thread_local_get()
    return is_here or record.switches == 0 or (
        record.isolation != SW_SHARED and record.execution.status != SW_LOADED)


cdef inline bint paint(sw_record *record) noexcept nogil:
    """Fill what is not in use with SW_PAINT, but for SW_PAINT_GAP bytes. False: what is in use is not known."""
    cdef uintptr_t sp = sw_stack_pointer()
    cdef uintptr_t used, place = record.base
    if not may_paint(record, sp):
        return False
    used = used_of(record, sp) + SW_PAINT_GAP
    if used < record.top - record.base:
        while place < record.top - used:
            (<uint64_t *>place)[0] = SW_PAINT
            (<uint64_t *>place)[1] = SW_PAINT
            place += 16
        sw_cold_of(record).painted = <uint32_t>((place - record.base) >> 4)
    return True


cdef inline uint64_t deepest(const sw_record *record) noexcept nogil:
    """The most bytes that were in use: by the paint that is gone, else by the deepest switch or check."""
    cdef uintptr_t place = record.base
    cdef uintptr_t end = record.base + (<uintptr_t>sw_cold_of(record).painted << 4)
    if end == place:
        return <uint64_t>record.high_water << 4
    while place < end and (<uint64_t *>place)[0] == SW_PAINT and (<uint64_t *>place)[1] == SW_PAINT:
        place += 16
    return max(record.top - place if place < end else 0, <uint64_t>record.high_water << 4)
