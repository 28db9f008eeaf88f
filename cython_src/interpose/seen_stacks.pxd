"""Stacks that interposition has seen being made, and the settings and counters of interposition.

Promises: a new stack on memory of a former one has nothing of it.
"""

from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.string cimport strcmp, strlen

from records.execution cimport *
from records.executions cimport is_loaded, sw_renew_stack
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
from switching.registration cimport sw_register_stack, sw_unregister_stack


cdef extern from * nogil:
    """
    #define SW_INTERPOSED_SYSTEM "interposition" /* the `system` of stacks that made() has registered */
    #define SW_GUARD_AT_MOST ((uintptr_t)64 << 10) /* bytes that registration trims as guard pages */

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
    const uintptr_t SW_GUARD_AT_MOST

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
        base, top - base, NULL, SW_INTERPOSED_SYSTEM,
        STACKWARDEN_TRIM_GUARD | (STACKWARDEN_ISOLATION_FRAMES if sw_interposition.frames else 0), &registered)


cdef inline void forget_made(uintptr_t base, uintptr_t top) noexcept nogil:
    """Unregister the stacks that made() registered in this range before, so that their contexts are released."""
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


cdef inline bint was_interposed(const sw_record *record) noexcept nogil:
    """Did made() register it?"""
    return record.name != NULL and strcmp(record.name + strlen(record.name) + 1, SW_INTERPOSED_SYSTEM) == 0
