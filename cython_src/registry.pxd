"""From address, or handle, to guard record.

Promises: lookups take no lock, are wait-free but for a retry when the very word they read is being changed, and
may run in any thread while others register and unregister; records and nodes are never given back to the
operating system, so whatever a late reader still holds is a record, and its generation tells if it is the right
one. Writers hold sw_lock(); a record may be retired without it.

The life of a record: take_record -> insert_record -> ... -> retire_record -> sweep_retired. Between the last two
it stands in the index of addresses, but its generation is even, so no lookup returns it.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free

from guard cimport *


cdef extern from * nogil:
    """
    /* Treiber stack of retired records; `execution` is the link. */
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
            head = *(void **)&record->execution = sw_retired;
        } while (_InterlockedCompareExchangePointer((void *volatile *)&sw_retired, record, head) != head);
    #else
        sw_record *head = __atomic_load_n(&sw_retired, __ATOMIC_RELAXED);
        do {
            *(void **)&record->execution = head;
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
    return (<sw_handle>record.generation << 32) | record.index


cdef inline sw_record *record_of(sw_handle handle) noexcept nogil:
    """The record that a handle names, or NULL when it is stale or was never given out."""
    cdef uint32_t index = <uint32_t>handle
    cdef uint32_t generation = <uint32_t>(handle >> 32)
    cdef sw_record *record
    if index >= sw_process.records:
        return NULL
    record = record_at(index)
    return record if generation & 1 and sw_load_generation(&record.generation) == generation else NULL


# ---- addresses ----

cdef inline bint record_holds(sw_record *record, uintptr_t address) noexcept nogil:
    cdef uintptr_t base = sw_load_acquire(<uint64_t *>&record.base)
    return address - base < sw_load_acquire(<uint64_t *>&record.top) - base


cdef inline uint64_t *granule_of(uintptr_t address) noexcept nogil:
    """The word for the granule of an address, or NULL where nothing was ever registered."""
    cdef sw_middle *middle
    cdef sw_leaf *leaf
    cdef uintptr_t granule = address >> SW_GRANULE_BITS
    if address >> SW_ADDRESS_BITS:
        return NULL
    middle = <sw_middle *>sw_load_pointer(&sw_process.root[granule >> (SW_LEAF_BITS + SW_MIDDLE_BITS)])
    if middle == NULL:
        return NULL
    leaf = <sw_leaf *>sw_load_pointer(&middle.leaves[(granule >> SW_LEAF_BITS) & ((1 << SW_MIDDLE_BITS) - 1)])
    if leaf == NULL:
        return NULL
    return &leaf.granules[granule & ((1 << SW_LEAF_BITS) - 1)]


cdef inline sw_record *find_record(uintptr_t address) noexcept nogil:
    """The registered stack that holds an address, or NULL."""
    cdef uint64_t *word = granule_of(address)
    cdef uint64_t slots, rest
    cdef uint32_t generation
    cdef sw_record *record
    if word == NULL:
        return NULL
    while True:
        slots = sw_load_acquire(word)
        rest = slots
        while rest:
            record = record_at(rest & SW_INDEX_MASK)
            generation = sw_load_generation(&record.generation)
            if generation & 1 and record_holds(record, address):
                sw_fence_acquire()
                if sw_load_generation(&record.generation) == generation:
                    return record
            rest >>= SW_INDEX_BITS
        if sw_load_acquire(word) == slots:
            return NULL


cdef inline bint find_stack(uintptr_t address, sw_handle *handle, uintptr_t *base, uintptr_t *top) noexcept nogil:
    """The registered stack that holds an address, as it is at one moment. False: there is none."""
    cdef uint64_t *word = granule_of(address)
    cdef uint64_t slots, rest
    cdef uint32_t generation
    cdef sw_record *record
    while word != NULL:
        slots = sw_load_acquire(word)
        rest = slots
        while rest:
            record = record_at(rest & SW_INDEX_MASK)
            generation = sw_load_generation(&record.generation)
            base[0] = sw_load_acquire(<uint64_t *>&record.base)
            top[0] = sw_load_acquire(<uint64_t *>&record.top)
            if generation & 1 and address - base[0] < top[0] - base[0]:
                handle[0] = (<sw_handle>generation << 32) | (rest & SW_INDEX_MASK)
                sw_fence_acquire()
                if sw_load_generation(&record.generation) == generation:
                    return True
            rest >>= SW_INDEX_BITS
        if sw_load_acquire(word) == slots:
            break
    return False


cdef inline sw_record *find_overlap(uintptr_t base, uintptr_t top, uint32_t *generation) noexcept nogil:
    """A registered stack that has a byte of [base, top), and its generation then; or NULL."""
    cdef uintptr_t granule = base >> SW_GRANULE_BITS
    cdef uint64_t *word
    cdef uint64_t rest
    cdef sw_record *record
    while granule <= (top - 1) >> SW_GRANULE_BITS:
        word = granule_of(granule << SW_GRANULE_BITS)
        rest = sw_load_acquire(word) if word != NULL else 0
        while rest:
            record = record_at(rest & SW_INDEX_MASK)
            generation[0] = sw_load_generation(&record.generation)
            if generation[0] & 1 and record.base < top and base < record.top:
                sw_fence_acquire()
                if sw_load_generation(&record.generation) == generation[0]:
                    return record
            rest >>= SW_INDEX_BITS
        granule += 1
    return NULL


# ---- changing the table of records: under sw_lock() ----

cdef inline sw_record *take_record() noexcept nogil:
    """A record that is not in use, all fields but generation and index zero; NULL: none left, or no memory."""
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
    if sw_process.chunks[chunk] == NULL:
        sw_process.details[chunk] = <sw_details *>sw_allocate_pages(SW_CHUNK_RECORDS * sizeof(sw_details))
        if sw_process.details[chunk] == NULL:
            return NULL
        sw_process.chunks[chunk] = <sw_record *>sw_allocate_pages(SW_CHUNK_RECORDS * sizeof(sw_record))
        if sw_process.chunks[chunk] == NULL:
            return NULL
    record = record_at(index)
    record.index = index
    sw_fence_release()
    sw_process.records = index + 1
    return record


cdef inline void forget_details(sw_details *details) noexcept nogil:
    """Reads first: most details are never written, and take no memory."""
    if details.budget or details.entered or details.painted or details.taken:
        details.budget = 0
        details.entered = 0
        details.painted = 0
        details.taken = 0


cdef inline void set_bounds(
        sw_record *record, int kind, int bounds_from, uintptr_t base, uintptr_t top) noexcept nogil:
    """Fill a record that is not in use and put it in use. Its policy must be chosen next."""
    record.kind = kind
    record.bounds_from = bounds_from
    record.given_policy = SW_INHERITED
    record.depth_used = 0
    record.switches = 0
    record.high_water = 0
    record.mark = 0
    forget_details(sw_details_of(record))
    sw_store_release(<uint64_t *>&record.top, top)
    sw_store_release(<uint64_t *>&record.base, base)
    sw_store_generation(&record.generation, record.generation + 1)
    if kind != SW_NATIVE:
        if not sw_process.foreign_seen:
            sw_process.foreign_seen = True


cdef inline void free_name(char *name) noexcept nogil:
    """The record's generation is even already. A handler of a fault that reads it all the same has said so before
    it looked at the generation: then the name is leaked."""
    if name != NULL:
        sw_fence_full()
        if sw_load_acquire(&sw_process.name_readers) == 0:
            free(name)


cdef inline void free_record(sw_record *record) noexcept nogil:
    """Put a record whose generation is even back into the table."""
    cdef uint32_t index = record.index
    free_name(record.name)
    sw_store_release(<uint64_t *>&record.base, 0)
    sw_store_release(<uint64_t *>&record.top, 0)
    record.depth_used = 0
    record.switches = 0
    record.name = NULL
    record.execution = NULL
    record.mark = 0
    record.isolation = SW_SHARED
    record.carried = False
    record.kept = False
    record.index = sw_process.free_record
    sw_process.free_record = index


# ---- changing the index of addresses: under sw_lock() ----

cdef inline bint make_granules(uintptr_t base, uintptr_t top) noexcept nogil:
    """Make the nodes for a range. False: no memory."""
    cdef uintptr_t leaf = base >> (SW_GRANULE_BITS + SW_LEAF_BITS)
    cdef sw_middle **middle
    cdef sw_leaf **place
    while leaf <= (top - 1) >> (SW_GRANULE_BITS + SW_LEAF_BITS):
        middle = &sw_process.root[leaf >> SW_MIDDLE_BITS]
        if middle[0] == NULL:
            sw_store_pointer(middle, sw_allocate_pages(sizeof(sw_middle)))
            if middle[0] == NULL:
                return False
        place = &middle[0].leaves[leaf & ((1 << SW_MIDDLE_BITS) - 1)]
        if place[0] == NULL:
            sw_store_pointer(place, sw_allocate_pages(sizeof(sw_leaf)))
            if place[0] == NULL:
                return False
        leaf += 1
    return True


cdef inline bint replace_slot(uint64_t *word, uint64_t old, uint64_t new) noexcept nogil:
    """Replace one of a granule's three indices; 0 stands for an empty slot. False: it is not there."""
    cdef int shift = 0
    while shift < 3 * SW_INDEX_BITS:
        if (word[0] >> shift) & SW_INDEX_MASK == old:
            sw_store_release(word, (word[0] & ~(SW_INDEX_MASK << shift)) | (new << shift))
            return True
        shift += SW_INDEX_BITS
    return False


cdef inline void fill_slot(uint64_t *word, uint64_t index) noexcept nogil:
    """Put an index into a granule. Where all slots are taken, one is of a record that another thread is retiring
    and has not handed to sweep_retired() yet."""
    cdef uint64_t rest
    if replace_slot(word, 0, index):
        return
    rest = word[0]
    while sw_load_generation(&record_at(rest & SW_INDEX_MASK).generation) & 1:
        rest >>= SW_INDEX_BITS
    replace_slot(word, rest & SW_INDEX_MASK, index)


cdef inline bint insert_record(sw_record *record) noexcept nogil:
    """Index a record of kind SW_REGISTERED that overlaps no other. False: no memory, and nothing was done."""
    cdef uintptr_t granule
    if not make_granules(record.base, record.top):
        return False
    granule = record.base >> SW_GRANULE_BITS
    while granule <= (record.top - 1) >> SW_GRANULE_BITS:
        fill_slot(granule_of(granule << SW_GRANULE_BITS), record.index)
        granule += 1
    sw_count(&sw_process.registered)
    sw_count(&sw_process.version)
    return True


# ---- letting go ----

cdef inline bint retire_record(sw_record *record, uint32_t generation) noexcept nogil:
    """Make all handles of a registered record stale. Needs no lock. False: another thread did it first."""
    if not sw_generation_advance(record, generation):
        return False
    sw_add(&sw_process.registered, <uint64_t>-1)
    sw_push_retired(record)
    return True


cdef inline void sweep_retired() noexcept nogil:
    """Take retired records out of the index and give them back. Under sw_lock()."""
    cdef uintptr_t granule
    cdef sw_record *record = sw_take_retired()
    cdef sw_record *next
    while record != NULL:
        next = <sw_record *><void *>record.execution
        granule = record.base >> SW_GRANULE_BITS
        while granule <= (record.top - 1) >> SW_GRANULE_BITS:
            replace_slot(granule_of(granule << SW_GRANULE_BITS), record.index, 0)
            granule += 1
        free_record(record)
        record = next
