"""The data of the core as Cython sees it. The words and the layout are explained in guard.h."""

from records.execution cimport sw_counter, sw_execution
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t, uintptr_t


cdef extern from "bounds/bounds.h" nogil:
    ctypedef struct sw_seen:
        uintptr_t low
        uintptr_t high
        uintptr_t base
        uintptr_t top
        uintptr_t in_use

    int sw_native_bounds(uintptr_t *base, uintptr_t *top)
    int sw_mapping_of(uintptr_t address, uintptr_t *low, uintptr_t *high)
    bint sw_map_is_quick()
    void sw_forget_files()
    bint sw_is_arena(uintptr_t low, uintptr_t high)
    bint sw_is_resident(uintptr_t base, uintptr_t top)
    bint sw_only_stack(sw_seen *seen, uintptr_t address, uintptr_t most_above)
    bint sw_is_entry(uintptr_t address, uintptr_t low, uintptr_t high)
    bint sw_is_untouched(uintptr_t base, uintptr_t top)
    bint sw_is_as_seen(const sw_seen *seen, uintptr_t address, uintptr_t base)
    uintptr_t sw_end_of_guard(uintptr_t page, uintptr_t least)
    int sw_is_readable(uintptr_t address)
    int sw_is_mapped(uintptr_t base, uintptr_t top)
    uintptr_t sw_lowest_readable(uintptr_t base, uintptr_t top)


cdef extern from "data/guard.h" nogil:
    enum:
        SW_NATIVE
        SW_REGISTERED
        SW_TRANSIENT
        SW_FROM_NATIVE
        SW_FROM_TOLD
        SW_FROM_MAP
        SW_FROM_ESTIMATE
        SW_SHARED
        SW_FRAMES
        SW_THREAD_STATE
        SW_INHERITED
        SW_EXACT
        SW_ESTIMATE
        SW_COUNTED
        SW_DISABLED
        SW_KNOWN_STACKS
        SW_UNKNOWN_STACKS
        SW_FOREIGN_THREADS
        SW_POLICY_KINDS
        SW_CHUNK_BITS
        SW_CHUNK_RECORDS
        SW_MAX_RECORDS
        SW_GRANULE_BITS
        SW_LEAF_BITS
        SW_MIDDLE_BITS
        SW_ROOT_BITS
        SW_ADDRESS_BITS
        SW_INDEX_BITS

    const uint64_t SW_INDEX_MASK
    const size_t SW_LEAST_SIZE
    const size_t SW_MOST_SIZE

    ctypedef uint64_t sw_handle

    ctypedef struct sw_record:
        uintptr_t base
        uintptr_t top
        uint32_t generation
        uint32_t index
        uint8_t kind
        uint8_t bounds_from
        uint8_t policy
        uint8_t given_policy
        uint8_t isolation
        uint8_t detached
        uint8_t pooled
        uint8_t retained
        uint8_t contested
        uint8_t indexed
        int32_t depth_used
        uint32_t withheld
        uint64_t switches
        uint32_t high_water
        uint32_t frame_tag
        char *name
        sw_execution *execution

    ctypedef struct sw_place:
        sw_handle handle
        uintptr_t base
        uintptr_t top
        int bounds_from

    ctypedef struct sw_request:
        sw_request *next
        uint64_t id
        uint64_t thread
        sw_place stack
        sw_place outer
        const sw_execution *chain
        uintptr_t withheld
        int32_t calls
        int32_t limit
        uint8_t which
        uint8_t policy
        size_t size

    ctypedef struct sw_leaf:
        uint64_t *granules

    ctypedef struct sw_span:
        sw_span *next
        sw_leaf leaf

    ctypedef struct sw_record_cold:
        sw_record *next_retired
        sw_span *span
        sw_request *budgets
        uintptr_t own_budget
        uintptr_t withheld_by_requests
        uint32_t painted
        int32_t calls
        int32_t calls_below

    ctypedef struct sw_middle:
        sw_leaf **leaves

    const int SW_SITE

    ctypedef struct sw_telling:
        sw_handle handle
        const void *caller
        char *site

    ctypedef struct sw_sight:
        sw_handle handle
        uintptr_t sp
        sw_seen seen

    ctypedef struct sw_thread:
        sw_record *current
        sw_counter *own_counter
        sw_record *native
        sw_record *transient
        sw_record *spare
        sw_execution *loaded
        sw_execution *incoming
        sw_execution *finished
        uint64_t ident
        uint64_t serial
        uint64_t checked_version
        sw_sight[2] sights
        unsigned last_sight
        uint64_t pending_switches
        sw_handle from_handle
        uintptr_t from_base
        uintptr_t from_top
        uint64_t pending_since
        int is_foreign
        uint8_t *policies
        uint8_t *set_policies
        sw_request *policy_requests
        sw_request *blocks
        uint64_t policies_seen
        int writes_detached
        sw_telling *telling
        sw_thread *next

    ctypedef struct sw_process_block:
        int running
        int fast_path
        int finalizing
        int callbacks
        int frames
        uint8_t *policies
        uint8_t *set_policies
        sw_request *policy_requests
        int own_policies
        int unchecked
        uint64_t policy_serial
        size_t assumed_size
        size_t set_assumed_size
        sw_request *size_requests
        size_t min_stack
        size_t stack_size
        int has_foreign
        int first_foreign_done
        uint64_t version
        uint64_t thread_serial
        uint64_t ended_threads
        uint64_t callback_serial
        sw_record **chunks
        sw_record_cold **cold
        sw_middle **root
        uint32_t records
        uint32_t free_record
        sw_span *free_spans
        uint64_t registered
        sw_request *free_requests
        uint64_t request_id
        uint64_t superseded
        uint64_t leaked
        uint64_t drained
        uint64_t dropped
        uint64_t name_readers
        uint64_t coalesced
        sw_thread *threads
        size_t least_size

    sw_process_block sw_process
    sw_record_cold *sw_cold_of(const sw_record *record)


cdef extern from "platform/platform.h" nogil:
    bint SW_LIKELY(bint condition)
    uint64_t sw_load_acquire(uint64_t *place)
    void sw_store_release(uint64_t *place, uint64_t value)
    void *sw_load_pointer(void *place)
    void sw_store_pointer(void *place, void *value)
    uint32_t sw_load_generation(uint32_t *place)
    void sw_store_generation(uint32_t *place, uint32_t value)
    void sw_fence_acquire()
    void sw_fence_release()
    void sw_fence_full()
    void sw_add(uint64_t *place, uint64_t value)
    void sw_count "sw_count"(uint64_t *place)
    uintptr_t sw_stack_pointer()

    void *sw_thread_local_get()
    void *sw_thread_local_fast()
    int sw_thread_local_set(void *block)
    int sw_platform_start(void (*at_thread_exit)(void *) noexcept nogil, void (*after_fork)() noexcept nogil)
    bint sw_lock()
    bint sw_holds_lock()
    void sw_unlock()
    uint64_t sw_thread_ident()
    void sw_yield()
    void *sw_allocate_pages(size_t size)
