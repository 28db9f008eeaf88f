"""Records: their handles, their life, their description.

Promises: memory of records is never given back, so a late pointer still points at a record, and the generation
tells whether it is the same one. Writers hold sw_lock(); a record may be retired without it.

    take_record -> set_bounds -> begin_record                     a thread's
    take_record -> set_bounds -> insert_record -> begin_record    a registered one
        -> retire_record, without the lock -> sweep_retired
        -> end_record (ends.pxd), which frees it

Before begin_record and after retire_record it may be in the index of addresses, but no lookup returns it: its
generation is even.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free
from libc.string cimport memset

from records.execution cimport *
from records.guard cimport *
from records.protection cimport *
from stackwarden cimport (
    STACKWARDEN_FULL,
    STACKWARDEN_NO_MEMORY,
    stackwarden_stack,
    stackwarden_status,
)


cdef extern from * nogil:
    """
    /* Retired records, a Treiber stack. */
    static sw_record *sw_retired;

    static int sw_generation_advance(sw_record *record, uint32_t from)
    {
    #if defined(_MSC_VER)
        return _InterlockedCompareExchange((volatile long *)&record->generation, from + 1, from) == (long)from;
    #else
        return __atomic_compare_exchange_n(&record->generation, &from, from + 1, 0, __ATOMIC_ACQ_REL,
                                           __ATOMIC_RELAXED);
    #endif
    }

    static void sw_push_retired(sw_record *record)
    {
    #if defined(_MSC_VER)
        void *head;
        do {
            head = sw_cold_of(record)->next_retired = sw_retired;
        } while (_InterlockedCompareExchangePointer((void *volatile *)&sw_retired, record, head) != head);
    #else
        sw_record *head = __atomic_load_n(&sw_retired, __ATOMIC_RELAXED);
        do {
            sw_cold_of(record)->next_retired = head;
        } while (!__atomic_compare_exchange_n(&sw_retired, &head, record, 1, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    #endif
    }

    static sw_record *sw_take_retired(void)
    {
    #if defined(_MSC_VER)
        return _InterlockedExchangePointer((void *volatile *)&sw_retired, NULL);
    #else
        return __atomic_exchange_n(&sw_retired, NULL, __ATOMIC_ACQUIRE);
    #endif
    }
    """
    bint sw_generation_advance(sw_record *record, uint32_t generation)
    void sw_push_retired(sw_record *record)
    sw_record *sw_take_retired()


# ---- handles ----

cdef inline sw_record *record_at(uint64_t index) noexcept nogil:
    return sw_process.chunks[index >> SW_CHUNK_BITS] + (index & (SW_CHUNK_RECORDS - 1))


cdef inline sw_handle handle_of(const sw_record *record) noexcept nogil:
    """Of a record that another thread has retired meanwhile: a stale one."""
    return (<sw_handle>sw_load_generation(<uint32_t *>&record.generation) << 32) | record.index


cdef inline sw_record *record_of(sw_handle handle) noexcept nogil:
    """The record that a handle names; NULL: the handle is stale, or names nothing."""
    cdef uint32_t index = <uint32_t>handle
    cdef uint32_t generation = <uint32_t>(handle >> 32)
    cdef sw_record *record
    if index >= sw_process.records:
        return NULL
    record = record_at(index)
    return record if generation & 1 and sw_load_generation(&record.generation) == generation else NULL


cdef inline bint is_in_use(const sw_record *record) noexcept nogil:
    return sw_load_generation(<uint32_t *>&record.generation) & 1


cdef inline bint record_holds(sw_record *record, uintptr_t address) noexcept nogil:
    cdef uintptr_t base = sw_load_acquire(<uint64_t *>&record.base)
    return address - base < sw_load_acquire(<uint64_t *>&record.top) - base


cdef inline bint record_overlaps(sw_record *record, uintptr_t base, uintptr_t top) noexcept nogil:
    return sw_load_acquire(<uint64_t *>&record.base) < top and base < sw_load_acquire(<uint64_t *>&record.top)


cdef inline void describe_record(const sw_record *record, stackwarden_stack *stack) noexcept nogil:
    memset(stack, 0, sizeof(stackwarden_stack))
    stack.handle = handle_of(record)
    stack.base = sw_load_acquire(<uint64_t *>&record.base)
    stack.size = (sw_load_acquire(<uint64_t *>&record.top) - stack.base) & ~<size_t>1


cdef inline void note_depth(sw_record *record, uintptr_t sp) noexcept nogil:
    """The high-water mark, where the stack pointer is on the stack of a record."""
    cdef uintptr_t used = record.top - sp
    if used <= record.top - record.base and used >> 4 > record.high_water:
        record.high_water = <uint32_t>(used >> 4)


# ---- changing the table of records: under sw_lock() ----

cdef inline bint has_free_records(int wanted) noexcept nogil:
    """Or is the registry full?"""
    cdef uint32_t index = sw_process.free_record
    while wanted and index:
        index = record_at(index).index
        wanted -= 1
    return sw_process.records + wanted <= SW_MAX_RECORDS


cdef inline stackwarden_status why_no_records(int wanted) noexcept nogil:
    """The status of a call that did not get as many records, or memory for what goes with them."""
    return STACKWARDEN_NO_MEMORY if has_free_records(wanted) else STACKWARDEN_FULL


cdef inline sw_record *take_record() noexcept nogil:
    """A free record, with its index; NULL: none left, or no memory."""
    cdef uint32_t index = sw_process.free_record
    cdef uint32_t chunk
    cdef sw_record *record
    if index:
        record = record_at(index)
        sw_process.free_record = record.index
        record.index = index
        return record
    index = sw_process.records
    chunk = index >> SW_CHUNK_BITS
    if index == SW_MAX_RECORDS:
        return NULL
    if sw_process.cold[chunk] == NULL:
        sw_process.cold[chunk] = <sw_record_cold *>sw_allocate_pages(SW_CHUNK_RECORDS * sizeof(sw_record_cold))
    if sw_process.chunks[chunk] == NULL:
        sw_process.chunks[chunk] = <sw_record *>sw_allocate_pages(SW_CHUNK_RECORDS * sizeof(sw_record))
    if sw_process.cold[chunk] == NULL or sw_process.chunks[chunk] == NULL:
        return NULL
    record = record_at(index)
    record.index = index
    sw_fence_release()
    sw_process.records = index + 1
    return record


cdef inline void clear_cold(sw_record_cold *cold) noexcept nogil:
    """Written only where it is not zero: most of these pages are never touched, and take no memory."""
    if cold.own_budget or cold.budgets != NULL or cold.painted or cold.calls or cold.calls_below:
        cold.budgets = NULL
        cold.own_budget = 0
        cold.withheld_by_requests = 0
        cold.painted = 0
        cold.calls = 0
        cold.calls_below = 0


cdef inline void set_bounds(
        sw_record *record, int kind, int bounds_from, uintptr_t base, uintptr_t top) noexcept nogil:
    """Fill a free record. Requires: use_policy(), and begin_record() last."""
    record.kind = kind
    record.bounds_from = bounds_from
    record.given_policy = SW_INHERITED
    record.depth_used = 0
    record.switches = 0
    record.high_water = 0
    record.frame_tag = 0
    record.contested = False
    clear_cold(sw_cold_of(record))
    sw_store_release(<uint64_t *>&record.top, top)
    sw_store_release(<uint64_t *>&record.base, base)


cdef inline void begin_record(sw_record *record) noexcept nogil:
    """From now on it is in use."""
    sw_store_generation(&record.generation, sw_load_generation(&record.generation) + 1)
    if record.kind != SW_NATIVE:
        if not sw_process.has_foreign:
            sw_process.has_foreign = True


cdef inline void free_name(char *name) noexcept nogil:
    """Requires: the record's generation is even. A handler of a fault that reads the name all the same has counted
    itself before it looked at the generation (crash/overrun.pxd): then the name is leaked."""
    if name != NULL:
        sw_fence_full()
        if sw_load_acquire(&sw_process.name_readers) == 0:
            free(name)


cdef inline void free_record(sw_record *record) noexcept nogil:
    """Give a record back to the table, for end_record() alone. Requires: its generation is even."""
    cdef uint32_t index = record.index
    free_name(record.name)
    sw_store_release(<uint64_t *>&record.base, 0)
    sw_store_release(<uint64_t *>&record.top, 0)
    record.depth_used = 0
    record.switches = 0
    record.name = NULL
    record.execution = NULL
    record.frame_tag = 0
    record.isolation = SW_SHARED
    record.pooled = False
    record.retained = False
    record.index = sw_process.free_record
    sw_process.free_record = index


cdef inline sw_record *new_thread_record(int kind, int bounds_from, uintptr_t base, uintptr_t top) noexcept nogil:
    cdef sw_record *record = take_record()
    if record != NULL:
        set_bounds(record, kind, bounds_from, base, top)
        begin_record(record)
    return record


# ---- retiring: without a lock ----

cdef inline void stale_handles(sw_record *record) noexcept nogil:
    """All handles of a record that is in no index are stale from now on."""
    cdef uint32_t generation = sw_load_generation(&record.generation)
    if generation & 1:
        sw_store_generation(&record.generation, generation + 1)


cdef inline bint retire_record(sw_record *record, uint32_t generation) noexcept nogil:
    """Make all handles of a registered record stale. False: another thread did it first."""
    if not sw_generation_advance(record, generation):
        return False
    sw_add(&sw_process.registered, <uint64_t>-1)
    sw_push_retired(record)
    return True
