"""How deep a thread is on its stack: what is left, what is used, and a check before going deeper.

Promises: what is left is found by address where nobody told of the stack under the caller; the straight way takes
no lock, makes no system call and needs no GIL. A check raises by the real bounds of the stack on every version,
whatever CPython counts.

      top ... stack pointer ... lowest + kept back   from here on checks raise ... base
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t, uintptr_t

from execution cimport PyThreadState
from guard cimport *
from hook cimport *
from protection cimport *
from registry cimport *


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
    static SW_NOINLINE int sw_bounds_slowly(uintptr_t sp, uintptr_t *base, uintptr_t *top);
    static SW_NOINLINE int sw_check_slowly(const char *where);
    """


# ---- what is left ----

cdef inline bint is_known(const sw_record *record, uintptr_t sp) noexcept nogil:
    return record.bounds_from != SW_FROM_ESTIMATE and sp - record.base < record.top - record.base


cdef inline bint bounds_under(uintptr_t sp, uintptr_t *base, uintptr_t *top) noexcept nogil:
    """The real bounds of the stack that the stack pointer is on. False: they are not known."""
    cdef sw_thread *thread = <sw_thread *>sw_thread_local_get()
    if SW_LIKELY(thread != NULL) and SW_LIKELY(is_known(thread.current, sp)):
        base[0] = thread.current.base
        top[0] = thread.current.top & ~<uintptr_t>1
        return True
    return bounds_slowly(sp, base, top)


cdef inline bint bounds_slowly "sw_bounds_slowly"(uintptr_t sp, uintptr_t *base, uintptr_t *top) noexcept nogil:
    cdef sw_handle handle
    cdef sw_thread *thread = this_thread() if sw_process.running else NULL
    if thread == NULL:
        return False
    if find_stack(sp, &handle, base, top):
        return True
    base[0] = thread.native.base
    top[0] = thread.native.top
    return is_known(thread.native, sp)


cdef inline size_t sw_stack_remaining() noexcept nogil:
    cdef uintptr_t base, top
    cdef uintptr_t sp = sw_stack_pointer()
    return sp - base if bounds_under(sp, &base, &top) else 0


cdef inline size_t sw_stack_used() noexcept nogil:
    cdef uintptr_t base, top
    cdef uintptr_t sp = sw_stack_pointer()
    return top - sp if bounds_under(sp, &base, &top) else 0


# ---- checks ----

cdef inline bint has_room(sw_record *record, uintptr_t sp) noexcept nogil:
    """Is the stack pointer on the stack of a record, and above what is kept back there?"""
    cdef uintptr_t lowest = swpy_lowest(record) + swpy_protection.kept_back
    return sp - lowest < record.top - lowest


cdef inline int sw_check_stack_depth(const char *where) noexcept nogil:
    cdef sw_thread *thread = <sw_thread *>sw_thread_local_get()
    cdef uintptr_t sp = sw_stack_pointer()
    if SW_LIKELY(thread != NULL) and SW_LIKELY(has_room(thread.current, sp)):
        note_depth(thread.current, sp)
        return 0
    return check_slowly(where)


cdef inline int check_slowly "sw_check_slowly"(const char *where) noexcept nogil:
    """The stack is another one than was told, or nearly used up."""
    cdef swpy_overflow overflow
    cdef uintptr_t sp = sw_stack_pointer()
    cdef sw_thread *thread = this_thread() if sw_process.running else NULL
    if thread == NULL or (not record_holds(thread.current, sp) and sync_slowly(sp, False) < 0):
        return 0
    note_depth(thread.current, sp)
    if has_room(thread.current, sp):
        return 0
    overflow = overflow_on(thread.current, sp)
    swpy_raise_stack_overflow(&overflow, where)
    return -1


cdef inline swpy_overflow overflow_on(const sw_record *record, uintptr_t sp) noexcept nogil:
    """What an exception says of the current stack."""
    return swpy_overflow(
        name=record.name, size=(record.top - record.base) & ~<size_t>1, used=record.top - sp,
        margin=swpy_protection.kept_back)


cdef inline int sw_enter_recursive_call(const char *where) noexcept nogil:
    cdef swpy_overflow overflow
    cdef sw_thread *thread
    if sw_check_stack_depth(where) != 0:
        return -1
    if SW_LIKELY(swpy_count_call()):
        return 0
    thread = this_thread()
    overflow = overflow_on(thread.current, sw_stack_pointer())
    if swpy_budget_is_lower(thread):
        swpy_raise_stack_overflow(&overflow, where)
    else:
        swpy_raise_recursion_overflow(&overflow, where)
    return -1


cdef inline void sw_leave_recursive_call() noexcept nogil:
    swpy_uncount_call()
