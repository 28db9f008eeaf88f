/* guard.h: the data of the core. Guard records, thread blocks, the index of addresses, the process block.
 *
 * Promises: plain data, laid out for the switch; one record is one cache line. Says nothing of CPython: what
 * a thread state looks like is known in cpython/ alone. The functions are in the .pxd files of the same names.
 *
 *      higher addresses
 *      top        one past the highest byte          the stack grows from here ...
 *        |
 *      high water, lowest stack pointer seen
 *        |
 *      base       lowest usable byte                 ... down to here
 *      (guard pages, not part of the stack)
 *      lower addresses
 */
#ifndef SW_GUARD_H
#define SW_GUARD_H

#include <stddef.h>
#include <stdint.h>

#include "platform/platform.h"

/* ---- guard records: type-stable memory, so that a stale pointer still points at a record ---- */

typedef enum { SW_NATIVE, SW_REGISTERED, SW_TRANSIENT } sw_kind;
typedef enum { SW_FROM_NATIVE, SW_FROM_TOLD, SW_FROM_MAP, SW_FROM_ESTIMATE } sw_bounds_from;
typedef enum { SW_SHARED, SW_FRAMES, SW_THREAD_STATE } sw_isolation;

/* The policies, as stackwarden_policy in stackwarden.h, and what they are chosen for. */
typedef enum { SW_INHERITED, SW_EXACT, SW_ESTIMATE, SW_COUNTED, SW_DISABLED } sw_policy;
typedef enum { SW_KNOWN_STACKS, SW_UNKNOWN_STACKS, SW_FOREIGN_THREADS, SW_POLICY_KINDS } sw_policy_kind;

typedef struct {
    uintptr_t base; /* 0: the record holds no stack */
    uintptr_t top;
    uint32_t generation; /* odd while in use; it comes back after 2**31 uses of the record */
    uint32_t index; /* its place in the table; while free, the index of the next free record */
    uint8_t kind;
    uint8_t bounds_from;
    uint8_t policy : 4; /* in force */
    uint8_t given_policy : 4; /* when it was registered; SW_INHERITED: none was */
    uint8_t isolation : 4;
    uint8_t detached : 1; /* the stack was detached when it was left */
    uint8_t pooled : 1; /* call_on_stack() made it */
    uint8_t retained : 1; /* and it is not to be used for another call */
    union {
        int32_t depth_used; /* calls counted by CPython on this stack when it was left (3.11 to 3.13) */
        uint32_t withheld; /* bytes / 16 above the base that a budget keeps back (3.14 and later) */
    };
    uint64_t switches; /* how often it was entered */
    uint32_t high_water; /* bytes / 16 in use at the lowest stack pointer seen */
    uint32_t frame_tag; /* swpy_frame_tag() when it was left with Python on it; 0: nothing to compare */
    char *name; /* "name\0system\0", or NULL */
    struct sw_execution *execution; /* its own; or of the chain that it was entered from last; or NULL */
} sw_record;

/* A handle is (generation << 32) | index; record 0 is never used, so 0 names nothing. */
typedef uint64_t sw_handle;

/* A stack by its handle; by its bounds where that is stale, for memory is told of again. */
typedef struct {
    sw_handle handle;
    uintptr_t base, top;
    int bounds_from;
} sw_place;

/* What holds for a block of code until that block ends, in whatever order and on whatever thread: a budget of a stack,
 * the bounds of a stack on a thread, a policy of a thread or of the process. What is effective is computed from those
 * that are left; no former value is put back. Type-stable memory, as records are. */
typedef struct sw_request {
    struct sw_request *next; /* of the same stack, thread or process, the one made before it; while free, the next free */
    uint64_t id; /* never used again; 0: free */
    uint64_t thread; /* its serial; 0: the request is the process's, or a stack's */
    sw_place stack;
    uint32_t withheld; /* a budget: bytes / 16 above the base that CPython is not to use ... */
    int32_t calls_withheld; /* ... and calls (3.11 to 3.13) */
    uint8_t which, policy; /* a policy */
} sw_request;

/* What a record has that no switch needs; found by the record's index. */
typedef struct {
    sw_request *budgets; /* the newest first */
    uint32_t own_budget; /* bytes / 16 that may be used, from the top; 0: all of the stack */
    uint32_t withheld_by_requests; /* bytes / 16 above the base: the most of them */
    uint32_t painted; /* bytes / 16 above the base that Stack.paint() filled; 0: none */
    int32_t calls_withheld; /* calls that budgets which were entered took away (3.11 to 3.13) */
} sw_record_cold;

#define SW_CHUNK_BITS 12
#define SW_CHUNK_RECORDS (1u << SW_CHUNK_BITS)
#define SW_MAX_RECORDS (1u << 21) /* three of its indices fit into one word of the index of addresses */
#define SW_CHUNKS (SW_MAX_RECORDS >> SW_CHUNK_BITS)

/* ---- index of addresses: a radix tree over granules of 64 KiB, nodes never freed ----
 *
 * A leaf word holds the indices of the (at most three) records that overlap its granule: two that reach into
 * it from either side and one that lies inside, because no record is smaller than SW_LEAST_SIZE. */

#define SW_GRANULE_BITS 16
#define SW_LEAF_BITS 10
#define SW_MIDDLE_BITS 10
#define SW_ROOT_BITS 12
#define SW_ADDRESS_BITS (SW_GRANULE_BITS + SW_LEAF_BITS + SW_MIDDLE_BITS + SW_ROOT_BITS)
#define SW_LEAST_SIZE ((size_t)32 << 10)
#define SW_INDEX_BITS 21
#define SW_INDEX_MASK (((uint64_t)1 << SW_INDEX_BITS) - 1)

typedef struct {
    uint64_t granules[1 << SW_LEAF_BITS];
} sw_leaf;

typedef struct {
    sw_leaf *leaves[1 << SW_MIDDLE_BITS];
} sw_middle;

/* ---- one block for each operating-system thread ---- */

/* Counters: which stack's budget is counted down in a thread state. Ids are unique in one interpreter alone. */
typedef struct {
    const void *interpreter; /* NULL: unused */
    uint64_t ts_id;
    sw_record *record;
    int native_depth_used; /* calls in use on the native stack, as depth_used for others */
    int limit; /* the user's recursion limit when it was put in force */
    int levels; /* the calls that it was then */
} sw_counter;

#define SW_COUNTERS 4 /* thread states that one thread goes between */

typedef struct sw_thread {
    sw_record *current; /* the stack told last; never NULL */
    sw_record *native;
    sw_record *transient; /* the unregistered stack told last; base 0 before there was one */
    sw_record *spare; /* takes its place when the thread goes straight from one such stack to another */
    struct sw_execution *loaded; /* the execution state that the thread state holds */
    struct sw_execution *incoming; /* the one that sw_finish_switch() is to load, or NULL */
    struct sw_execution *finished; /* one that is over and to be released by sw_finish_switch(), or NULL */
    uint64_t ident; /* as threading.get_ident(); 0: the thread has ended */
    uint64_t serial; /* never used again, as idents are */
    uint64_t checked_version; /* the registry's version when the transient range was last compared with it */
    sw_counter counters[SW_COUNTERS]; /* 3.11 to 3.13; see cpython/protection_counted.h */
    unsigned next_counter;
    /* switch callbacks that wait for the thread to be attached and on its new stack */
    uint64_t pending_switches; /* switches that callbacks were not told of yet */
    sw_handle from_handle; /* the stack that the first of them left */
    uintptr_t from_base, from_top;
    uint64_t pending_since; /* callback_serial at the last of them */
    int in_callback;
    int is_foreign; /* Python did not create it */
    uint8_t policies[SW_POLICY_KINDS]; /* its own; none for its own native stack */
    uint8_t set_policies[SW_POLICY_KINDS]; /* for good */
    sw_request *policy_requests; /* the newest first */
    sw_request *blocks; /* bounds that were entered and not left; the newest first */
    sw_place outer; /* the stack around the outermost of them */
    uint64_t policies_seen; /* policy_serial when they were put in force last */
    SW_ATOMIC(int) writes_detached; /* it is at its thread state without the GIL: see stop_detached_writes() */
    struct sw_thread *next;
} sw_thread;

/* ---- one block for the process ---- */

typedef struct {
    SW_ATOMIC(int) running; /* Python is initialised and this core is imported */
    SW_ATOMIC(int) fast_path; /* running, no callbacks, bounds are checked, swpy_has_fast_path(): the hook may take the fast path */
    SW_ATOMIC(int) finalizing; /* Python ends: thread states are left alone by those who are detached */
    SW_ATOMIC(int) callbacks; /* registered switch callbacks */
    int frames; /* isolation "frames" can be had */
    uint8_t policies[SW_POLICY_KINDS]; /* effective */
    uint8_t set_policies[SW_POLICY_KINDS]; /* for good */
    sw_request *policy_requests; /* the newest first */
    SW_ATOMIC(int) own_policies; /* threads that have some of their own */
    SW_ATOMIC(int) unchecked; /* a policy was asked for, once, under which CPython does not check bounds */
    SW_ATOMIC(uint64_t) policy_serial; /* counts changes */
    size_t assumed_size; /* bytes; of an unknown stack */
    size_t min_stack, stack_size; /* bytes; of calls that may be carried, where the caller does not say */
    SW_ATOMIC(int) has_foreign; /* a record was made for a stack that is not native */
    SW_ATOMIC(int) first_foreign_done; /* and what comes with the first one is there: cpython/first_stack.h */
    uint64_t version; /* counts new ranges, registered and transient */
    uint64_t thread_serial;
    uint64_t callback_serial; /* counts registrations of callbacks */
    sw_record *chunks[SW_CHUNKS];
    sw_record_cold *cold[SW_CHUNKS];
    sw_middle *root[1 << SW_ROOT_BITS];
    SW_ATOMIC(uint32_t) records; /* high-water mark of the table */
    uint32_t free_record; /* head of the list of free records, 0: none */
    uint64_t registered; /* records of kind SW_REGISTERED */
    sw_request *free_requests;
    uint64_t request_id; /* the last one given out */
    uint64_t superseded; /* records that gave way to a later one */
    uint64_t leaked; /* execution states that can't be resumed any more, and what they hold */
    uint64_t drained; /* drains that found something to free */
    uint64_t dropped; /* stale execution states found on memory that was used anew */
    uint64_t name_readers; /* handlers of faults that read a record's name: none is freed meanwhile */
    uint64_t coalesced; /* switches that callbacks were not told of one by one */
    sw_thread *threads;
    size_t least_size; /* bytes; the smallest stack that can be protected */
} sw_process_block;

/* Zero at load; the one instance. Cython modules have no initialised globals in .pxd files, hence here. */
static sw_process_block sw_process;

static inline sw_record_cold *sw_cold_of(const sw_record *record)
{
    return &sw_process.cold[record->index >> SW_CHUNK_BITS][record->index & (SW_CHUNK_RECORDS - 1)];
}

#endif
