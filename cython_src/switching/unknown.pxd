"""Unknown stacks: nobody told of them. What the operating system's map of memory says of their bounds.

Promises: a range for every stack pointer. It is looked up again when memory is no longer as it was. Allocates
nothing and takes no lock. Makes system calls, which the hook does not: only a sync on an unknown stack comes here.

    top      the end of the map's entry, if that is near; else half the assumed size above the stack pointer
      |
      sp     above it the stack is in use
      |
    base     the lowest readable page of the entry, if that is near, or if all signs say that it is one stack;
             else as far down as the assumed size allows
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uintptr_t

from records.execution cimport *
from records.guard cimport *
from records.index cimport find_overlap
from records.overlaps cimport is_range, is_taken, overlaps_record
from records.policy cimport is_unknown, policy_of
from records.protection cimport *
from records.records cimport handle_of, is_in_use
from switching.threads cimport renew_transient


cdef extern from * nogil:
    """
    #define SW_PAGE ((uintptr_t)4096)
    #define SW_ASSUMED_SIZE ((size_t)256 << 10) /* bytes; unless the user says otherwise */
    #define SW_ESTIMATE_RESERVE ((uintptr_t)16 << 10) /* bytes; for calls before CPython raises or frees */
    #define SW_MOST_SEARCHED ((uintptr_t)1 << 30) /* bytes; for guard pages, below the stack pointer */
    #define SW_MOST_BELIEVED ((uintptr_t)64 << 20) /* bytes; of an entry that may be one stack */
    #define SW_MOVED_BASE ((uintptr_t)16) /* bytes from the start of a page: a base that was not found there */
    """
    const uintptr_t SW_PAGE
    const size_t SW_ASSUMED_SIZE
    const uintptr_t SW_ESTIMATE_RESERVE
    const uintptr_t SW_MOST_SEARCHED
    const uintptr_t SW_MOST_BELIEVED
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


cdef struct found:
    uintptr_t base
    uintptr_t top
    sw_seen seen
    int bounds_from  # SW_FROM_MAP or SW_FROM_ESTIMATE


cdef inline found estimated(uintptr_t base, uintptr_t top) noexcept nogil:
    """Nothing was seen: the map's entry may be as large as addresses go."""
    return found(base, top, sw_seen(0, <uintptr_t>-1, 0, 0, 0), SW_FROM_ESTIMATE)


# ---- what was seen of a record's stack before ----

cdef inline sw_sight *sight_of(sw_thread *thread, const sw_record *record) noexcept nogil:
    """NULL: nothing is known."""
    cdef int i
    for i in range(2):
        if record != NULL and thread.sights[i].handle == handle_of(record):
            return &thread.sights[i]
    return NULL


cdef inline void note_sight(
        sw_thread *thread, const sw_record *record, const found *answer, uintptr_t sp) noexcept nogil:
    cdef sw_sight *sight = sight_of(thread, record)
    if sight == NULL:
        sight = &thread.sights[1 - thread.last_sight]
    thread.last_sight = 0 if sight is &thread.sights[0] else 1
    sight[0] = sw_sight(handle_of(record), sp, answer.seen)


cdef inline bint is_where_it_was(const sw_seen *seen, uintptr_t sp) noexcept nogil:
    """Where the map is slow the guard alone is asked, and of one stack alone: a look at its lowest page would
    bring that into memory."""
    if sw_map_is_quick():
        return sw_is_entry(sp, seen.low, seen.high)
    return seen.in_use and sw_is_readable(seen.base - SW_PAGE) == 0


# ---- looking it up ----

cdef inline bint is_free(const sw_thread *thread, uintptr_t base, uintptr_t top) noexcept nogil:
    """Is no known stack in a range?"""
    cdef uint32_t generation
    return find_overlap(base, top, &generation) == NULL and not is_taken(thread, base, top) \
        and not overlaps_record(thread.native, base, top)


cdef inline bint is_one_stack(
        const sw_thread *thread, const sw_sight *before, found *answer, uintptr_t sp) noexcept nogil:
    """Is the entry one stack, all signs taken together? Then the answer becomes its range. At first sight the
    stack pointer must be near the top; later it may be anywhere."""
    cdef uintptr_t size = answer.seen.high - answer.seen.low
    if before != NULL and before.seen.low == answer.seen.low and before.seen.high == answer.seen.high:
        answer.seen = before.seen
    if size <= sw_process.assumed_size or size > SW_MOST_BELIEVED \
            or sw_is_arena(answer.seen.low, answer.seen.high) \
            or not sw_only_stack(&answer.seen, sp, sw_process.assumed_size) \
            or not is_free(thread, answer.seen.base, answer.seen.top):
        answer.seen.in_use = 0
        return False
    answer.base = answer.seen.base
    answer.top = answer.seen.top
    answer.bounds_from = SW_FROM_MAP
    return True


cdef inline uintptr_t lowest_readable_below(uintptr_t page, uintptr_t least) noexcept nogil:
    """From a page downwards: the last one before a page that cannot be read, but none below `least`."""
    while page > least and sw_is_readable(page - SW_PAGE) == 1:
        page -= SW_PAGE
    return page


cdef inline uintptr_t end_of_guard(uintptr_t page, uintptr_t least) noexcept nogil:
    """The same in an entry that can be read, without a look at each page where the system shows its guards."""
    cdef uintptr_t end = sw_end_of_guard(page, least)
    if end:
        return end
    return least if sw_is_resident(least, page) else lowest_readable_below(page, least)


cdef inline found look_up(const sw_thread *thread, const sw_sight *before, uintptr_t sp) noexcept nogil:
    """The range of the stack that holds `sp`, by the map of memory.

    An entry of the map is not a stack: neighbours merge, and malloc carves stacks out of arenas. So a stack is
    taken to be no larger than the assumed size, unless all signs say that the entry is one. Half of that may lie
    below the stack pointer in any case: the end of the entry may be a neighbour's, and with little room left
    CPython frees nothing.
    """
    cdef uintptr_t assumed = sw_process.assumed_size
    cdef uintptr_t page = page_of(sp)
    cdef uintptr_t room = page_of(assumed // 2)
    cdef uintptr_t least
    cdef found answer = estimated(page - min(room, page), page + SW_PAGE + room)
    if sw_mapping_of(sp, &answer.seen.low, &answer.seen.high) != 0 or is_one_stack(thread, before, &answer, sp):
        return answer
    if answer.seen.high - page <= assumed:
        answer.top = answer.seen.high
        room = max(room, assumed - (answer.seen.high - page))
    least = max(answer.seen.low, page - min(min(room, SW_MOST_SEARCHED), page))
    answer.base = end_of_guard(page, least)
    if answer.base > least or (least == answer.seen.low and not sw_is_arena(answer.seen.low, answer.seen.high)):
        answer.bounds_from = SW_FROM_MAP
    return answer


cdef inline void make_room(found *answer, uintptr_t sp) noexcept nogil:
    """Move the base down where there is too little room below the stack pointer for CPython to raise."""
    if sp - answer.base < room_to_raise():
        answer.base = page_of(sp - min(sp, room_to_raise() + SW_PAGE)) + SW_MOVED_BASE
        answer.seen.in_use = 0
        answer.bounds_from = SW_FROM_ESTIMATE


cdef inline found assume(uintptr_t sp) noexcept nogil:
    """The range of the stack that holds `sp`, where the policy has no bounds checked: nothing is looked up."""
    cdef uintptr_t half = page_of(sw_process.assumed_size // 2)
    cdef uintptr_t page = page_of(sp)
    return estimated(page - min(half, page) + SW_MOVED_BASE, page + SW_PAGE + half)


# ---- is what was found before still right? ----

cdef inline bint is_recursing(const sw_thread *thread, const sw_record *record) noexcept nogil:
    """Does the thread run Python on this stack already, maybe deeper down? Then the bounds stay, to end its
    recursion, and do not move down with it
    (test_a_thread_that_goes_deeper_keeps_the_bounds_that_end_its_recursion)."""
    cdef PyThreadState *ts = swpy_attached()
    return record is thread.current and ts != NULL and swpy_has_frames(ts)


cdef inline bint fits(const sw_thread *thread, const sw_record *record, uintptr_t sp) noexcept nogil:
    """Is it an unknown stack that holds the stack pointer, and leaves it room?"""
    if not is_in_use(record) or not is_unknown(record) or sp - record.base >= record.top - record.base:
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


cdef inline bint still_holds(const sw_record *record, const sw_sight *before, uintptr_t sp) noexcept nogil:
    """Where the map is slow: is a record still right, as far as can be told without it? All pages down to the base
    must be readable: another stack, with a guard page of its own, may lie between by now."""
    if sw_map_is_quick() or not is_found(record.base) or (before != NULL and before.seen.in_use):
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
    return record.base >= answer.seen.low and record.top - 1 <= answer.seen.high


cdef inline bint lacks_room(const sw_record *record, const found *answer, uintptr_t sp) noexcept nogil:
    """Would CPython's trashcan fill with the bounds of a record, and less so with those of a new answer?"""
    return sp - record.base < room_to_free() and answer.base < record.base and is_found(answer.base)


cdef inline bint is_as_good(
        const sw_thread *thread, const sw_record *record, const found *answer, uintptr_t sp) noexcept nogil:
    """May a record stay, given a new answer?"""
    return record != NULL and agrees(record, answer) \
        and (is_recursing(thread, record) or not lacks_room(record, answer, sp))


cdef inline uintptr_t outermost_entry(
        const sw_thread *thread, const sw_record *record, const sw_sight *before, uintptr_t sp) noexcept nogil:
    """The stack pointer of the outermost entry that was seen of those that are nested here."""
    return before.sp if before != NULL and sp < before.sp and is_recursing(thread, record) else sp


cdef inline bint may_stay(
        const sw_thread *thread, const sw_record *record, sw_sight *before, uintptr_t sp) noexcept nogil:
    """Would the same answer come of a new look? An estimate is looked up again whenever its stack is entered from
    another one, for that may show more now. Inside an entry that was seen the bounds would be in force without
    this one, too: the pages are not asked again."""
    if before == NULL or (record is not thread.current and not before.seen.in_use):
        return False
    if not is_recursing(thread, record) and sp - record.base < room_to_free():
        return False
    if not is_where_it_was(&before.seen, sp):
        return False
    before.sp = outermost_entry(thread, record, before, sp)
    if sp < before.sp and page_of(sp) >= before.seen.in_use:
        return True
    return sw_is_as_seen(&before.seen, sp, record.base)


cdef inline sw_record *unknown_record(sw_thread *thread, uintptr_t sp) noexcept nogil:
    """The transient record of the unknown stack that holds `sp`: the former one while that is right. Its top is
    odd (renew_transient): sync sees from the bounds alone that they are to be checked again, and they overlap
    nothing that was told."""
    cdef sw_record *record = fitting_record(thread, sp)
    cdef sw_sight *before = sight_of(thread, record)
    cdef bint checked = policy_of(thread, SW_UNKNOWN_STACKS) < SW_COUNTED
    cdef uintptr_t entry = outermost_entry(thread, record, before, sp)
    cdef found answer
    if record != NULL and (
            not checked or may_stay(thread, record, before, sp) or still_holds(record, before, sp)):
        return record
    answer = look_up(thread, before, sp) if checked else assume(sp)
    if not is_as_good(thread, record, &answer, sp):
        make_room(&answer, sp)
        if not is_as_good(thread, record, &answer, sp):
            record = renew_transient(thread, answer.bounds_from, answer.base, answer.top)
            swpy_assume_used(record, sp)
            entry = sp
    note_sight(thread, record, &answer, entry)
    return record


# ---- passed on ----

cdef inline bint is_estimate(const sw_record *record, uintptr_t base, uintptr_t top) noexcept nogil:
    return record.bounds_from == SW_FROM_ESTIMATE and is_range(record, base, top | 1)


cdef inline sw_record *estimate_of(const sw_thread *thread, uintptr_t base, uintptr_t top) noexcept nogil:
    """The estimate that is told here, after somebody asked for the current stack: it stays one. Or NULL."""
    if is_estimate(thread.transient, base, top):
        return thread.transient
    return thread.spare if is_estimate(thread.spare, base, top) else NULL
