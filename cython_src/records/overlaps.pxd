"""New ranges, and the older records that overlap them.

Promises: memory is used anew without notice, so a record that overlaps a new range gives way: it is retired. Where
an overlapping one is current on a thread the new range is refused, and nothing gives way.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t, uintptr_t

from records.execution cimport *
from records.guard cimport *
from records.index cimport find_overlap
from records.protection cimport *
from records.records cimport is_in_use, record_overlaps, retire_record, sw_generation_advance
from stackwarden cimport (
    STACKWARDEN_BAD_RANGE,
    STACKWARDEN_DONE,
    STACKWARDEN_OVERLAP,
    STACKWARDEN_UNALIGNED,
    stackwarden_status,
)


cdef extern from * nogil:
    """
    #define SW_ALIGNMENT ((uintptr_t)16)
    """
    const uintptr_t SW_ALIGNMENT


cdef inline stackwarden_status check_range(uintptr_t base, size_t size) noexcept nogil:
    """Can [base, base + size) be a stack at all? Needs no lock, and no running Python."""
    if base == 0 or size == 0 or size > SW_MOST_SIZE or base + size < base or (base + size) >> SW_ADDRESS_BITS:
        return STACKWARDEN_BAD_RANGE
    if (base | size) & (SW_ALIGNMENT - 1):
        return STACKWARDEN_UNALIGNED
    return STACKWARDEN_DONE


cdef inline bint is_range(const sw_record *record, uintptr_t base, uintptr_t top) noexcept nogil:
    """Is it the record of this very range? Another thread may retire it meanwhile: retire_transients()."""
    return sw_load_acquire(<uint64_t *>&record.base) == base and sw_load_acquire(<uint64_t *>&record.top) == top \
        and is_in_use(record)


cdef inline bint is_taken(const sw_thread *own, uintptr_t base, uintptr_t top) noexcept nogil:
    """Does a range overlap the native stack of another thread than `own`, or its current one? Needs no lock."""
    cdef sw_thread *thread = <sw_thread *>sw_load_pointer(&sw_process.threads)
    while thread != NULL:
        if thread is not own and sw_load_acquire(&thread.ident) and overlaps_thread(thread, base, top):
            return True
        thread = thread.next
    return False


cdef inline stackwarden_status supersede_overlaps(sw_thread *own, uintptr_t base, uintptr_t top) noexcept nogil:
    """Retire the registered records that overlap a new range. OVERLAP: it is taken, and nothing was changed. Needs
    no lock."""
    cdef sw_record *record
    cdef uint32_t generation
    if is_taken(own, base, top):
        return STACKWARDEN_OVERLAP
    while True:
        record = find_overlap(base, top, &generation)
        if record == NULL:
            return STACKWARDEN_DONE
        if retire_record(record, generation):
            sw_count(&sw_process.superseded)


cdef inline void retire_transients(uintptr_t base, uintptr_t top) noexcept nogil:
    """Retire the transient records, but for current ones, that overlap a new range. Under sw_lock()."""
    cdef sw_thread *thread = sw_process.threads
    while thread != NULL:
        if thread.ident:
            retire_transient(thread, thread.transient, base, top)
            retire_transient(thread, thread.spare, base, top)
        thread = thread.next


cdef inline void retire_transient(
        const sw_thread *thread, sw_record *record, uintptr_t base, uintptr_t top) noexcept nogil:
    cdef uint32_t generation = sw_load_generation(&record.generation)
    if generation & 1 and record is not sw_load_pointer(&thread.current) and record_overlaps(record, base, top):
        sw_generation_advance(record, generation)


cdef inline bint overlaps_thread(const sw_thread *thread, uintptr_t base, uintptr_t top) noexcept nogil:
    """Does a range overlap the native stack of a thread, or its current one?"""
    return overlaps_record(<sw_record *>sw_load_pointer(&thread.native), base, top) \
        or overlaps_record(<sw_record *>sw_load_pointer(&thread.current), base, top)


cdef inline bint overlaps_record(sw_record *record, uintptr_t base, uintptr_t top) noexcept nogil:
    """False for unknown stacks (their tops are odd): what is known of them is a guess."""
    cdef uint32_t generation
    cdef uintptr_t other_base, other_top
    while record != NULL:
        generation = sw_load_generation(&record.generation)
        other_base = sw_load_acquire(<uint64_t *>&record.base)
        other_top = sw_load_acquire(<uint64_t *>&record.top)
        sw_fence_acquire()
        if sw_load_generation(&record.generation) == generation:
            return generation & 1 and not other_top & 1 and other_base < top and base < other_top
    return False
