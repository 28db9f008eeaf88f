"""Stacks of which nobody told: what can be found out of them.

Promises: an answer for every stack pointer, from the operating system's map of memory as far as that can tell; and
it is looked up anew when the memory is no more as it was. Allocates nothing and takes no lock. Makes system calls,
which the hook does not: only a sync that finds the thread on such a stack comes here.

    top      the end of the map's entry, if that is near; else half the assumed size above the stack pointer
      |
      sp     what lies above it is in use
      |
    base     the lowest readable page of the entry, if that is near; else as far down as the assumed size allows

An entry of the map is not a stack: neighbours merge, and malloc carves stacks out of arenas. So a stack is taken
for no more than the assumed size. Half of it lies below the stack pointer in any case, for the end of the entry
may be a neighbour's, and with little room left CPython puts off all deallocation. The tops of all these ranges are
odd: so sync knows from the bounds alone that it has to look again, and they overlap no stack of which somebody
told. A base in the middle of a page is nothing that was found there, and can't be verified: it was moved down,
because CPython aborts the process in the margin above it, or nobody looked, because bounds are not checked.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uintptr_t

from records.execution cimport *
from records.guard cimport *
from records.policy cimport is_unknown, policy_of
from records.protection cimport *
from switching.threads cimport renew_transient


cdef extern from * nogil:
    """
    #define SW_PAGE ((uintptr_t)4096)
    #define SW_ASSUMED_SIZE ((size_t)256 << 10) /* bytes; unless the user says otherwise */
    #define SW_ESTIMATE_RESERVE ((uintptr_t)16 << 10) /* bytes; for calls that are made before CPython raises */
    #define SW_MOVED_BASE ((uintptr_t)16) /* bytes; where in a page a base lies that was not found */
    """
    const uintptr_t SW_PAGE
    const size_t SW_ASSUMED_SIZE
    const uintptr_t SW_ESTIMATE_RESERVE
    const uintptr_t SW_MOVED_BASE


cdef inline uintptr_t page_of(uintptr_t address) noexcept nogil:
    return address & ~(SW_PAGE - 1)


cdef inline uintptr_t room_to_raise() noexcept nogil:
    """Bytes that must be left below the stack pointer, so that CPython raises and does not abort."""
    return 3 * swpy_protection.margin + SW_ESTIMATE_RESERVE


cdef inline uintptr_t room_to_free() noexcept nogil:
    """Bytes below the stack pointer with which CPython frees at once, and what it has put off: 4 margins above the
    soft limit."""
    return 6 * swpy_protection.margin + SW_ESTIMATE_RESERVE


cdef inline uintptr_t lowest_readable_below(uintptr_t page, uintptr_t least) noexcept nogil:
    """The lowest page that is reached from a page on through pages that can be read, and is not below `least`."""
    while page > least and sw_is_readable(page - SW_PAGE) == 1:
        page -= SW_PAGE
    return page


cdef struct found:
    uintptr_t base
    uintptr_t top
    uintptr_t low, high  # of the map's entry; as far as addresses go where there is none
    int bounds_from  # SW_FROM_MAP or SW_FROM_ESTIMATE


cdef inline found look_up(uintptr_t sp) noexcept nogil:
    """The range of the stack that holds `sp`."""
    cdef uintptr_t assumed = sw_process.assumed_size
    cdef uintptr_t page = page_of(sp)
    cdef uintptr_t room = page_of(assumed // 2)
    cdef uintptr_t least
    cdef found answer = found(page - min(room, page), page + SW_PAGE + room, 0, <uintptr_t>-1, SW_FROM_ESTIMATE)
    if sw_mapping_of(sp, &answer.low, &answer.high) != 0:
        return answer
    if answer.high - page <= assumed:
        answer.top = answer.high
        room = max(room, assumed - (answer.high - page))
    least = max(answer.low, page - min(room, page))
    answer.base = least if sw_is_resident(least, page) else lowest_readable_below(page, least)
    if answer.base > least or (least == answer.low and not sw_is_arena(answer.low, answer.high)):
        answer.bounds_from = SW_FROM_MAP
    return answer


cdef inline void make_room(found *answer, uintptr_t sp) noexcept nogil:
    """Move the base down where there is little room below the stack pointer. Nothing lies below zero."""
    if sp - answer.base < room_to_raise():
        answer.base = page_of(sp - min(sp, room_to_raise() + SW_PAGE)) + SW_MOVED_BASE
        answer.bounds_from = SW_FROM_ESTIMATE


cdef inline found assume(uintptr_t sp) noexcept nogil:
    """A range for those who don't check bounds: nothing is looked up."""
    cdef uintptr_t half = page_of(sw_process.assumed_size // 2)
    cdef uintptr_t page = page_of(sp)
    return found(
        page - min(half, page) + SW_MOVED_BASE, page + SW_PAGE + half, 0, <uintptr_t>-1, SW_FROM_ESTIMATE)


# ---- what was found out before ----

cdef inline bint is_recursing(const sw_thread *thread, const sw_record *record) noexcept nogil:
    """Did the thread call Python on this stack, and is now further down? It needs no more room than that CPython
    raises, down to the hard limit: the bounds are to end its recursion, not to go down with it."""
    cdef PyThreadState *ts = swpy_attached()
    return record is thread.current and ts != NULL and swpy_has_frames(ts)


cdef inline bint fits(const sw_thread *thread, const sw_record *record, uintptr_t sp) noexcept nogil:
    """Is it an unknown stack that holds the stack pointer and leaves it room?"""
    if not record.generation & 1 or not is_unknown(record) or sp - record.base >= record.top - record.base:
        return False
    return sp - record.base >= (swpy_protection.margin + SW_PAGE if is_recursing(thread, record) else room_to_raise())


cdef inline sw_record *fitting_record(sw_thread *thread, uintptr_t sp) noexcept nogil:
    """The transient record of the thread that fits(), or NULL."""
    if fits(thread, thread.transient, sp):
        return thread.transient
    if not fits(thread, thread.spare, sp):
        return NULL
    thread.transient, thread.spare = thread.spare, thread.transient
    return thread.transient


cdef inline bint is_found(uintptr_t base) noexcept nogil:
    return base == page_of(base)


cdef inline bint still_holds(const sw_record *record, uintptr_t sp) noexcept nogil:
    """Is what was found out of a stack still so, as far as that can be told without the map? All pages down to
    the base must be there: another stack, with a guard page of its own, may lie between by now."""
    if sw_map_is_quick() or not is_found(record.base):
        return False
    if lowest_readable_below(page_of(sp), record.base) != record.base:
        return False
    return record.bounds_from == SW_FROM_ESTIMATE or sw_is_readable(record.base - SW_PAGE) != 1


cdef inline bint agrees(const sw_record *record, const found *answer) noexcept nogil:
    """Does a record say what was looked up now?"""
    if record.bounds_from != answer.bounds_from:
        return False
    if answer.bounds_from == SW_FROM_MAP:
        return record.base == answer.base and record.top == answer.top | 1
    if not is_found(record.base) or not is_found(answer.base):  # of a small stack, maybe of this one
        return not is_found(record.base) and not is_found(answer.base) and record.top == answer.top | 1
    return record.base >= answer.low and record.top - 1 <= answer.high


cdef inline bint lacks_room(const sw_record *record, const found *answer, uintptr_t sp) noexcept nogil:
    """Would CPython put off deallocations with a record, and fewer or none with an answer of now?"""
    return sp - record.base < room_to_free() and answer.base < record.base and is_found(answer.base)


cdef inline bint is_as_good(
        const sw_thread *thread, const sw_record *record, const found *answer, uintptr_t sp) noexcept nogil:
    return record != NULL and agrees(record, answer) \
        and (is_recursing(thread, record) or not lacks_room(record, answer, sp))


cdef inline sw_record *unknown_record(sw_thread *thread, uintptr_t sp) noexcept nogil:
    """The transient record of the unknown stack under the thread: the one of before where that still holds."""
    cdef sw_record *record = fitting_record(thread, sp)
    cdef bint checked = policy_of(thread, SW_UNKNOWN_STACKS) < SW_COUNTED
    cdef found answer
    if record != NULL and (not checked or still_holds(record, sp)):
        return record
    answer = look_up(sp) if checked else assume(sp)
    if is_as_good(thread, record, &answer, sp):
        return record
    make_room(&answer, sp)
    if is_as_good(thread, record, &answer, sp):
        return record
    record = renew_transient(thread, answer.bounds_from, answer.base, answer.top)
    swpy_assume_used(record, sp)
    return record
