"""The index of addresses: from an address to the registered record that holds it.

Promises: lookups take no lock and may run on any thread while others register and unregister. They are wait-free,
but for a retry when the word that they read was changed meanwhile. Writers hold sw_lock().
"""

from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy

from records.execution cimport *
from records.guard cimport *
from records.protection cimport *
from records.records cimport record_at, record_holds, record_overlaps


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


cdef inline uintptr_t next_node(uintptr_t granule, int bits) noexcept nogil:
    """The first granule beyond a node that has 2**bits of them."""
    return (granule | (((<uintptr_t>1) << bits) - 1)) + 1


cdef inline uintptr_t next_granule(uintptr_t granule) noexcept nogil:
    """The next granule that may hold another record: where there is no node, or a span, that is beyond it."""
    cdef sw_middle *middle
    cdef sw_leaf *leaf
    middle = <sw_middle *>sw_load_pointer(&sw_process.root[granule >> (SW_LEAF_BITS + SW_MIDDLE_BITS)])
    if middle == NULL:
        return next_node(granule, SW_LEAF_BITS + SW_MIDDLE_BITS)
    leaf = <sw_leaf *>sw_load_pointer(&middle.leaves[(granule >> SW_LEAF_BITS) & ((1 << SW_MIDDLE_BITS) - 1)])
    return next_node(granule, SW_LEAF_BITS) if leaf == NULL or is_span(leaf) else granule + 1


cdef inline sw_record *overlap_in(
        uint64_t slots, uintptr_t base, uintptr_t top, uint32_t *generation) noexcept nogil:
    """A record in use that overlaps [base, top), among those of a granule's word, and its generation; or NULL."""
    cdef sw_record *record
    while slots:
        record = record_at(slots & SW_INDEX_MASK)
        generation[0] = sw_load_generation(&record.generation)
        if generation[0] & 1 and record_overlaps(record, base, top):
            sw_fence_acquire()
            if sw_load_generation(&record.generation) == generation[0]:
                return record
        slots >>= SW_INDEX_BITS
    return NULL


cdef inline sw_record *find_overlap(uintptr_t base, uintptr_t top, uint32_t *generation) noexcept nogil:
    """A registered stack that overlaps [base, top), and its generation at that moment; or NULL. A record that left
    the word before it was looked at may be a thread's by now, so the word is read again."""
    cdef uintptr_t granule = base >> SW_GRANULE_BITS
    cdef uint64_t *word
    cdef uint64_t slots
    cdef sw_record *record
    while granule <= (top - 1) >> SW_GRANULE_BITS:
        word = granule_of(granule << SW_GRANULE_BITS)
        slots = sw_load_acquire(word) if word != NULL else 0
        record = overlap_in(slots, base, top, generation)
        if slots and sw_load_acquire(word) != slots:
            continue
        if record != NULL:
            return record
        granule = next_granule(granule)
    return NULL


# ---- changing the index of addresses: under sw_lock() ----

cdef inline bint is_span(const sw_leaf *leaf) noexcept nogil:
    """Is it the leaf of a span? No other is inside a page."""
    return <uintptr_t>leaf & 4095


cdef inline sw_leaf **place_of_leaf(uintptr_t leaf) noexcept nogil:
    """Where the node for a leaf's granules is, or will be; NULL: no memory. `leaf`: the number of its first
    granule, over 2**SW_LEAF_BITS."""
    cdef sw_middle **middle = &sw_process.root[leaf >> SW_MIDDLE_BITS]
    if middle[0] == NULL:
        sw_store_pointer(middle, sw_allocate_pages(sizeof(sw_middle)))
    return &middle[0].leaves[leaf & ((1 << SW_MIDDLE_BITS) - 1)] if middle[0] != NULL else NULL


cdef inline sw_span *new_span(uint32_t index) noexcept nogil:
    """A span of the record with an index; NULL: no memory."""
    cdef sw_span *span = sw_process.free_spans
    cdef int i
    if span != NULL:
        sw_process.free_spans = span.next
    else:
        span = <sw_span *>sw_allocate_pages(sizeof(sw_span))
    if span != NULL:
        for i in range(1 << SW_LEAF_BITS):
            sw_store_release(&span.leaf.granules[i], index)
    return span


cdef inline void free_span(sw_span *span) noexcept nogil:
    """A lookup may still read it: it finds nothing, or the next record of the span, which does not hold the
    address that is looked for."""
    cdef int i
    for i in range(1 << SW_LEAF_BITS):
        sw_store_release(&span.leaf.granules[i], 0)
    span.next = sw_process.free_spans
    sw_process.free_spans = span


cdef inline bint fills(const sw_record *record, uintptr_t leaf) noexcept nogil:
    """Does a record hold all addresses of a leaf?"""
    return record.base <= leaf << (SW_GRANULE_BITS + SW_LEAF_BITS) \
        and (record.top - 1) >> (SW_GRANULE_BITS + SW_LEAF_BITS) > leaf


cdef inline bint make_leaf(sw_leaf **place) noexcept nogil:
    """A leaf of its own, where there is none or that of a span: what gives way is found in it, too. False: no
    memory."""
    cdef sw_leaf *fresh
    if place[0] != NULL and not is_span(place[0]):
        return True
    fresh = <sw_leaf *>sw_allocate_pages(sizeof(sw_leaf))
    if fresh == NULL:
        return False
    if place[0] != NULL:
        memcpy(fresh, place[0], sizeof(sw_leaf))
    sw_store_pointer(place, fresh)
    return True


cdef inline bint make_nodes(sw_record *record) noexcept nogil:
    """Allocate what indexing a record needs. False: no memory. Other records are found as before."""
    cdef uintptr_t leaf = record.base >> (SW_GRANULE_BITS + SW_LEAF_BITS)
    cdef sw_record_cold *cold = sw_cold_of(record)
    cdef sw_leaf **place
    while leaf <= (record.top - 1) >> (SW_GRANULE_BITS + SW_LEAF_BITS):
        place = place_of_leaf(leaf)
        if place == NULL:
            return False
        if not fills(record, leaf):
            if not make_leaf(place):
                return False
        elif cold.span == NULL:
            cold.span = new_span(record.index)
            if cold.span == NULL:
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
    """Put an index into a granule's word. Where all three slots are taken, one belongs to a record that was
    retired: its generation is even, but sweep_retired() has not seen it yet."""
    cdef uint64_t rest
    if replace_slot(word, 0, index):
        return
    rest = word[0]
    while sw_load_generation(&record_at(rest & SW_INDEX_MASK).generation) & 1:
        rest >>= SW_INDEX_BITS
    replace_slot(word, rest & SW_INDEX_MASK, index)


cdef inline void change_leaf(sw_record *record, uintptr_t leaf, bint inserts) noexcept nogil:
    """Put the index of a record into its granules of a leaf, or take it out."""
    cdef sw_leaf **place = place_of_leaf(leaf)
    cdef uintptr_t granule = leaf << SW_LEAF_BITS
    cdef uintptr_t end = granule + (1 << SW_LEAF_BITS)
    cdef sw_leaf *own = &sw_cold_of(record).span.leaf if sw_cold_of(record).span != NULL else NULL
    if inserts and fills(record, leaf) and (place[0] == NULL or is_span(place[0])):
        sw_store_pointer(place, own)
    elif own != NULL and place[0] is own:
        sw_store_pointer(place, NULL)
    elif place[0] != NULL and not is_span(place[0]):
        granule = max(granule, record.base >> SW_GRANULE_BITS)
        end = min(end, ((record.top - 1) >> SW_GRANULE_BITS) + 1)
        while granule < end:
            if inserts:
                fill_slot(&place[0].granules[granule & ((1 << SW_LEAF_BITS) - 1)], record.index)
            else:
                replace_slot(&place[0].granules[granule & ((1 << SW_LEAF_BITS) - 1)], record.index, 0)
            granule += 1


cdef inline void change_index(sw_record *record, bint inserts) noexcept nogil:
    cdef uintptr_t leaf = record.base >> (SW_GRANULE_BITS + SW_LEAF_BITS)
    while leaf <= (record.top - 1) >> (SW_GRANULE_BITS + SW_LEAF_BITS):
        change_leaf(record, leaf, inserts)
        leaf += 1


cdef inline void insert_record(sw_record *record) noexcept nogil:
    """Index a record that overlaps no other, but for retired ones. Requires: make_nodes()."""
    change_index(record, True)
    record.indexed = True
    sw_count(&sw_process.registered)
    sw_count(&sw_process.version)


cdef inline void drop_span(sw_record *record) noexcept nogil:
    cdef sw_record_cold *cold = sw_cold_of(record)
    if cold.span != NULL:
        free_span(cold.span)
        cold.span = NULL


cdef inline void remove_record(sw_record *record) noexcept nogil:
    """Undo make_nodes() and insert_record(), for end_record() alone."""
    if record.indexed:
        change_index(record, False)
        record.indexed = False
    drop_span(record)
