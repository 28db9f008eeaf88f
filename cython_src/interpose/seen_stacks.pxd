"""Stacks that interposition has seen: made by a function of the library's table, or switched to by one. And the
settings and counters of interposition.

Promises: a new stack on memory of a former one has nothing of it. A stack that nobody made is registered for
isolation alone, and only where the map of memory shows a guard right below: else its base is not known, and it
stays unknown.
"""

from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.string cimport strcmp, strlen

from records.execution cimport *
from records.executions cimport is_loaded, is_suspended, sw_renew_stack
from records.guard cimport *
from records.index cimport find_overlap, find_record
from records.overlaps cimport SW_ALIGNMENT
from records.records cimport handle_of
from stackwarden cimport (
    STACKWARDEN_DONE,
    STACKWARDEN_ISOLATION_FRAMES,
    STACKWARDEN_TRIM_GUARD,
    stackwarden_stack,
)
from switching.evidence cimport find_stack_of
from switching.registration cimport sw_register_stack, sw_unregister_stack
from switching.unknown cimport SW_PAGE, page_of


cdef extern from * nogil:
    """
    #define SW_INTERPOSED_SYSTEM "interposition" /* the `system` of stacks that made() has registered */
    #define SW_MAPPED_SYSTEM "interposition by the map" /* of those that nobody made */
    #define SW_GUARD_AT_MOST ((uintptr_t)64 << 10) /* bytes that registration trims as guard pages */
    #define SW_ENTRY_AT_MOST ((uintptr_t)64 << 20) /* bytes; of one stack; as much as an arena of malloc */
    #define SW_ABOVE_FIRST ((uintptr_t)512) /* bytes above the stack pointer that a stack begins with */
    #define SW_SAVED_AT_MOST ((uintptr_t)1024) /* bytes that a switch saves on the stack that it leaves */

    static struct {
        int connected; /* the library calls the core's hooks while it is on */
        int preloaded; /* it was on before the core came, and is for good */
        long begun; /* interpositions that have not ended */
        int frames; /* isolation "frames" for switches, and for stacks that are made from now on */
        uint64_t mended; /* entries that found the bounds of another stack */
        uint64_t refused; /* switches that could not be isolated */
        uint64_t interleaved; /* pauses that ended with frames of another stack */
        const void *interleaver; /* the code that came first */
        int (*warn)(void *); /* of it: a pending call of CPython's */
    } sw_interposition;
    """
    const char *SW_INTERPOSED_SYSTEM
    const char *SW_MAPPED_SYSTEM
    const uintptr_t SW_GUARD_AT_MOST
    const uintptr_t SW_ENTRY_AT_MOST
    const uintptr_t SW_ABOVE_FIRST
    const uintptr_t SW_SAVED_AT_MOST

    ctypedef struct sw_interposition_block:
        int connected
        int preloaded
        long begun
        int frames
        uint64_t mended
        uint64_t refused
        uint64_t interleaved
        const void *interleaver
        int (*warn)(void *) noexcept nogil

    sw_interposition_block sw_interposition


# ---- new stacks ----

cdef inline void interposed_made(uintptr_t base, uintptr_t top) noexcept nogil:
    register_seen(base, top, SW_INTERPOSED_SYSTEM)


cdef inline void register_seen(uintptr_t base, uintptr_t top, const char *system) noexcept nogil:
    """Use the record of a former stack with the same top again, or register a new one."""
    cdef stackwarden_stack registered
    cdef sw_record *record
    base = (base + SW_ALIGNMENT - 1) & ~(SW_ALIGNMENT - 1)
    top = top & ~(SW_ALIGNMENT - 1)
    if not sw_process.running or base >= top:
        return
    record = find_record(top - 1)
    if record != NULL and record.top == top and record.base - base <= SW_GUARD_AT_MOST and reuse_made(record):
        return
    forget_made(base, top)
    sw_register_stack(
        base, top - base, NULL, system,
        STACKWARDEN_TRIM_GUARD | (STACKWARDEN_ISOLATION_FRAMES if sw_interposition.frames else 0), &registered)


cdef inline void forget_made(uintptr_t base, uintptr_t top) noexcept nogil:
    """Unregister the stacks that were seen in this range before, so that their contexts are released."""
    cdef uint32_t generation
    cdef sw_record *record = find_overlap(base, top, &generation)
    while record != NULL and was_interposed(record):
        if sw_unregister_stack(handle_of(record)) < 0:
            return
        record = find_overlap(base, top, &generation)


cdef inline bint reuse_made(sw_record *record) noexcept nogil:
    """A new stack on the memory of a former one: may it have that one's record? False: the record is unregistered,
    and frames of the former stack are leaked."""
    cdef int isolation = SW_FRAMES if sw_interposition.frames else SW_SHARED
    if record.isolation == isolation:
        if isolation == SW_SHARED or is_loaded(record):
            return True
        if sw_renew_stack(handle_of(record), NULL) == STACKWARDEN_DONE:
            return True
    sw_unregister_stack(handle_of(record))
    return False


cdef inline bint has_system(const sw_record *record, const char *system) noexcept nogil:
    """The system's name follows the stack's."""
    return record.name != NULL and strcmp(record.name + strlen(record.name) + 1, system) == 0


cdef inline bint was_mapped(const sw_record *record) noexcept nogil:
    return has_system(record, SW_MAPPED_SYSTEM)


cdef inline bint was_interposed(const sw_record *record) noexcept nogil:
    """Did register_seen() register it?"""
    return has_system(record, SW_INTERPOSED_SYSTEM) or was_mapped(record)


# ---- stacks that nobody made ----

cdef inline sw_record *find_target_of_jump(sw_thread *thread, uintptr_t to) noexcept nogil:
    """The record of the stack that a switch goes to; NULL: it is unknown, or has to stay without isolation."""
    cdef sw_record *record = find_stack_of(thread, to)
    if not sw_interposition.frames or record is thread.current:
        return record
    if record != NULL and record.kind == SW_REGISTERED and record.isolation == SW_FRAMES and was_mapped(record):
        if is_another(record, to):
            return NULL
        record = find_stack_of(thread, to)
    if record == NULL:
        register_by_map(to)
        record = find_stack_of(thread, to)
    return record


cdef inline bint is_another(sw_record *record, uintptr_t to) noexcept nogil:
    """Is the target another stack than the one that is suspended in this entry of the map? That goes on where it
    was suspended, but for what the switch saved. A new one on its memory begins where it began, or higher, and
    gets its record, or a new one: it is unregistered."""
    cdef const sw_execution *execution = record.execution
    if not is_suspended(execution):
        if not is_mapped_as_before(record, to):
            sw_unregister_stack(handle_of(record))
    elif to > execution.suspended_at or execution.suspended_at - to > SW_SAVED_AT_MOST:
        if to < execution.entered_at:
            return True
        reuse_made(record)
    return False


cdef inline bint is_mapped_as_before(const sw_record *record, uintptr_t sp) noexcept nogil:
    """Memory may be used anew without anyone telling us. Where the map is slow, a record without frames is
    believed."""
    cdef uintptr_t low = 0
    cdef uintptr_t high = 0
    return not sw_map_is_quick() or (sw_mapping_of(sp, &low, &high) == 0 and low == record.base)


cdef inline bint holds_arena(uintptr_t low, uintptr_t high) noexcept nogil:
    """A stack may begin where an arena of malloc would. What an arena does not use yet is reserved, up to its
    end."""
    cdef uintptr_t reserved = 0
    cdef uintptr_t end = high
    if not sw_is_arena(low, high):
        return False
    return sw_mapping_of(high, &reserved, &end) == 0 and end - low >= SW_ENTRY_AT_MOST


cdef inline void register_by_map(uintptr_t sp) noexcept nogil:
    """The entry of the map may reach into other memory at its end, so the stack is taken to end near the stack
    pointer that it begins with. What is in use beneath may be another stack's."""
    cdef sw_record *record
    cdef uintptr_t low = 0
    cdef uintptr_t high = 0
    if sw_mapping_of(sp, &low, &high) == 0 and high - low <= SW_ENTRY_AT_MOST and not holds_arena(low, high) \
            and sw_is_readable(low - SW_PAGE) == 0 and sw_is_mapped(low - SW_PAGE, low) == 1 \
            and sw_is_untouched(low, page_of(sp)):
        register_seen(low, min(high, page_of(sp + SW_ABOVE_FIRST) + SW_PAGE), SW_MAPPED_SYSTEM)
        record = find_record(sp)
        if record != NULL and was_mapped(record):
            record.bounds_from = SW_FROM_MAP
