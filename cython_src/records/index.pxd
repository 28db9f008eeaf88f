"""The index of addresses: from an address to the registered record that holds it.

Promises: lookups take no lock and may run on any thread while others register and unregister. They are wait-free,
but for a retry when the word that they read was changed meanwhile. Writers hold sw_lock().
"""

from libc.stdint cimport uint32_t, uint64_t, uintptr_t

from records.execution cimport *
from records.guard cimport *
from records.protection cimport *
from records.records cimport free_record, record_at, record_holds, sw_take_retired


# ---- addresses ----

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
    """Handle and bounds, of one moment, of the registered stack that holds an address. False: there is none."""
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
    """A registered stack that overlaps [base, top), and its generation at that moment; or NULL."""
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


# ---- changing the index of addresses: under sw_lock() ----

cdef inline bint make_granules(uintptr_t base, uintptr_t top) noexcept nogil:
    """Allocate the nodes for a range. False: no memory."""
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
    """Put an index into a granule's word. Where all three slots are taken, one belongs to a record that another
    thread is retiring at this moment: its generation is even, but sweep_retired() has not seen it yet."""
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


cdef inline void sweep_retired() noexcept nogil:
    """Remove retired records from the index, and free them. Under sw_lock()."""
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
