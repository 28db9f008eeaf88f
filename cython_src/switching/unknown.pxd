"""Unknown stacks: nobody told of them. What the operating system's map of memory says of their bounds.

Promises: a range for every stack pointer. It is looked up again when memory is no longer as it was. Allocates
nothing and takes no lock. Makes system calls, which the hook does not: only a sync on an unknown stack comes here.

    top      the end of the map's entry, if that is near; else half the assumed size above the stack pointer
      |
      sp     above it the stack is in use
      |
    base     the lowest readable page of the entry, if that is near; else as far down as the assumed size allows
"""

from libc.stddef cimport size_t
from libc.stdint cimport uintptr_t

from records.execution cimport *
from records.guard cimport *
from records.overlaps cimport is_range
from records.policy cimport is_unknown, policy_of
from records.protection cimport *
from switching.threads cimport renew_transient


cdef extern from * nogil:
    """
    #define SW_PAGE ((uintptr_t)4096)
    #define SW_ASSUMED_SIZE ((size_t)256 << 10) /* bytes; unless the user says otherwise */
    #define SW_ESTIMATE_RESERVE ((uintptr_t)16 << 10) /* bytes; for calls before CPython raises or frees */
    #define SW_MOST_SEARCHED ((uintptr_t)1 << 30) /* bytes; for guard pages, below the stack pointer */
    #define SW_MOVED_BASE ((uintptr_t)16) /* bytes from the start of a page: a base that was not found there */
    """
    const uintptr_t SW_PAGE
    const size_t SW_ASSUMED_SIZE
    const uintptr_t SW_ESTIMATE_RESERVE
    const uintptr_t SW_MOST_SEARCHED
    const uintptr_t SW_MOVED_BASE


cdef inline uintptr_t page_of(uintptr_t address) noexcept nogil:
    return address & ~(SW_PAGE - 1)


cdef inline uintptr_t room_to_raise() noexcept nogil:
    """Bytes below the stack pointer with which CPython raises: in the margin above the base it aborts the
    process."""
    return 3 * swpy_protection.margin + SW_ESTIMATE_RESERVE


cdef inline uintptr_t room_to_free() noexcept nogil:
    """Bytes below the stack pointer with which CPython frees at once, and empties its trashcan: 4 margins above
    the soft limit."""
    return 6 * swpy_protection.margin + SW_ESTIMATE_RESERVE


cdef inline uintptr_t lowest_readable_below(uintptr_t page, uintptr_t least) noexcept nogil:
    """From a page downwards: the last one before a page that cannot be read, but none below `least`."""
    while page > least and sw_is_readable(page - SW_PAGE) == 1:
        page -= SW_PAGE
    return page


cdef struct found:
    uintptr_t base
    uintptr_t top
    uintptr_t low, high  # of the map's entry; as far as addresses go where there is none
    int bounds_from  # SW_FROM_MAP or SW_FROM_ESTIMATE


cdef inline found look_up(uintptr_t sp) noexcept nogil:
    """The range of the stack that holds `sp`, by the map of memory.

    An entry of the map is not a stack: neighbours merge, and malloc carves stacks out of arenas. So a stack is
    taken to be no larger than the assumed size. Half of that may lie below the stack pointer in any case: the end
    of the entry may be a neighbour's, and with little room left CPython frees nothing.
    """
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
    least = max(answer.low, page - min(min(room, SW_MOST_SEARCHED), page))
    answer.base = least if sw_is_resident(least, page) else lowest_readable_below(page, least)
    if answer.base > least or (least == answer.low and not sw_is_arena(answer.low, answer.high)):
        answer.bounds_from = SW_FROM_MAP
    return answer


cdef inline void make_room(found *answer, uintptr_t sp) noexcept nogil:
    """Move the base down where there is too little room below the stack pointer for CPython to raise."""
    if sp - answer.base < room_to_raise():
        answer.base = page_of(sp - min(sp, room_to_raise() + SW_PAGE)) + SW_MOVED_BASE
        answer.bounds_from = SW_FROM_ESTIMATE


cdef inline found assume(uintptr_t sp) noexcept nogil:
    """The range of the stack that holds `sp`, where the policy has no bounds checked: nothing is looked up."""
    cdef uintptr_t half = page_of(sw_process.assumed_size // 2)
    cdef uintptr_t page = page_of(sp)
    return found(
        page - min(half, page) + SW_MOVED_BASE, page + SW_PAGE + half, 0, <uintptr_t>-1, SW_FROM_ESTIMATE)


# ---- is what was found before still right? ----

cdef inline bint is_recursing(const sw_thread *thread, const sw_record *record) noexcept nogil:
    """Does the thread run Python on this stack already, maybe deeper down? Then the bounds stay, to end its
    recursion, and do not move down with it
    (test_a_thread_that_goes_deeper_keeps_the_bounds_that_end_its_recursion)."""
    cdef PyThreadState *ts = swpy_attached()
    return record is thread.current and ts != NULL and swpy_has_frames(ts)


cdef inline bint fits(const sw_thread *thread, const sw_record *record, uintptr_t sp) noexcept nogil:
    """Is it an unknown stack that holds the stack pointer, and leaves it room?"""
    if not record.generation & 1 or not is_unknown(record) or sp - record.base >= record.top - record.base:
        return False
    return sp - record.base >= (
        swpy_protection.margin + SW_PAGE if is_recursing(thread, record) else room_to_raise())


cdef inline sw_record *fitting_record(sw_thread *thread, uintptr_t sp) noexcept nogil:
    """The transient record of the thread that fits, or NULL."""
    if fits(thread, thread.transient, sp):
        return thread.transient
    if not fits(thread, thread.spare, sp):
        return NULL
    thread.transient, thread.spare = thread.spare, thread.transient
    return thread.transient


cdef inline bint is_found(uintptr_t base) noexcept nogil:
    """Was a base found there? One inside a page was moved down or assumed, and nothing at it can be verified."""
    return base == page_of(base)


cdef inline bint still_holds(const sw_record *record, uintptr_t sp) noexcept nogil:
    """Where the map is slow: is a record still right, as far as can be told without it? All pages down to the base
    must be readable: another stack, with a guard page of its own, may lie between by now."""
    if sw_map_is_quick() or not is_found(record.base):
        return False
    if lowest_readable_below(page_of(sp), record.base) != record.base:
        return False
    return record.bounds_from == SW_FROM_ESTIMATE or sw_is_readable(record.base - SW_PAGE) != 1


cdef inline bint agrees(const sw_record *record, const found *answer) noexcept nogil:
    """Does a record say the same as a new answer?"""
    if record.bounds_from != answer.bounds_from:
        return False
    if answer.bounds_from == SW_FROM_MAP:
        return record.base == answer.base and record.top == answer.top | 1
    if not is_found(record.base) or not is_found(answer.base):  # a small stack's, maybe this one's
        return not is_found(record.base) and not is_found(answer.base) and record.top == answer.top | 1
    return record.base >= answer.low and record.top - 1 <= answer.high


cdef inline bint lacks_room(const sw_record *record, const found *answer, uintptr_t sp) noexcept nogil:
    """Would CPython's trashcan fill with the bounds of a record, and less so with those of a new answer?"""
    return sp - record.base < room_to_free() and answer.base < record.base and is_found(answer.base)


cdef inline bint is_as_good(
        const sw_thread *thread, const sw_record *record, const found *answer, uintptr_t sp) noexcept nogil:
    """May a record stay, given a new answer?"""
    return record != NULL and agrees(record, answer) \
        and (is_recursing(thread, record) or not lacks_room(record, answer, sp))


cdef inline sw_record *unknown_record(sw_thread *thread, uintptr_t sp) noexcept nogil:
    """The transient record of the unknown stack that holds `sp`: the former one while that is right. Its top is
    odd (renew_transient): sync sees from the bounds alone that they are to be checked again, and they overlap
    nothing that was told."""
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


# ---- passed on ----

cdef inline bint is_estimate(const sw_record *record, uintptr_t base, uintptr_t top) noexcept nogil:
    return record.bounds_from == SW_FROM_ESTIMATE and is_range(record, base, top | 1)


cdef inline sw_record *estimate_of(const sw_thread *thread, uintptr_t base, uintptr_t top) noexcept nogil:
    """The estimate that is told here, after somebody asked for the current stack: it stays one. Or NULL."""
    if is_estimate(thread.transient, base, top):
        return thread.transient
    return thread.spare if is_estimate(thread.spare, base, top) else NULL
