/* guard.h: the data of the core: guard records, requests, thread blocks, the index of addresses, the process block.
 *
 * Promises: plain data, laid out for the switch: a record is one cache line. Memory of records, requests, thread blocks
 * and index nodes is never given back: a late pointer still points at a record, a request, a block. Knows no field of
 * CPython's (cpython/ does). A stack is [base, top) and grows down from top; its guard pages lie below base.
 *
 *      sw_process
 *        root ------> sw_middle ---> sw_leaf                    from an address to the indices of records
 *        chunks ----> [ sw_record, 4096 of them ]               from an index to the record ...
 *        cold ------> [ sw_record_cold, 4096 of them ]          ... and to what no switch needs of it
 *                         budgets ------------> sw_request ---> sw_request ...
 *        threads ---> sw_thread ---> sw_thread ...              one for each operating-system thread
 *                         current, native, transient, spare --> sw_record
 *                                                                 execution ---> sw_execution (execution.h)
 *                         loaded, incoming, finished ---------> sw_execution
 *                         blocks, policy_requests ------------> sw_request ---> sw_request ...
 *        policy_requests, size_requests --> sw_request ---> sw_request ...
 */
#ifndef SW_GUARD_H
#define SW_GUARD_H

#include <stddef.h>
#include <stdint.h>

#include "data/seen.h"
#include "platform/platform.h"

/* ---- guard records: what is known of one stack ---- */

typedef enum { SW_NATIVE, SW_REGISTERED, SW_TRANSIENT } sw_kind;
typedef enum { SW_FROM_NATIVE, SW_FROM_TOLD, SW_FROM_MAP, SW_FROM_ESTIMATE } sw_bounds_from;
typedef enum { SW_SHARED, SW_FRAMES, SW_THREAD_STATE } sw_isolation;

/* The policies, and the kinds of stacks that have one: stackwarden_policy and stackwarden_stacks in stackwarden.h. */
typedef enum { SW_INHERITED, SW_EXACT, SW_ESTIMATE, SW_COUNTED, SW_DISABLED } sw_policy;
typedef enum { SW_KNOWN_STACKS, SW_UNKNOWN_STACKS, SW_FOREIGN_THREADS, SW_POLICY_KINDS } sw_policy_kind;

typedef struct sw_record {
    uintptr_t base; /* lowest usable byte; 0: the record holds no stack */
    uintptr_t top; /* one past the highest byte; odd: an unknown stack's (switching/unknown.pxd) */
    uint32_t generation; /* odd while in use; comes back after 2**31 uses of the record */
    uint32_t index; /* its place in the table; while free: the index of the next free record */
    uint8_t kind;
    uint8_t bounds_from : 4;
    uint8_t indexed : 4; /* is it found by its addresses? */
    uint8_t policy : 4; /* effective */
    uint8_t given_policy : 4; /* at registration; SW_INHERITED: none */
    uint8_t isolation : 4;
    uint8_t detached : 1; /* the thread was detached when the stack was suspended */
    uint8_t pooled : 1; /* made by call_on_stack() */
    uint8_t retained : 1; /* and never used for another call: stackwarden_retain_stack() */
    uint8_t contested : 1; /* told again while another chain was suspended on it: evidence.pxd */
    union {
        int32_t depth_used; /* calls in use here, while those of another stack are counted down (3.11 to 3.13) */
        uint32_t withheld; /* bytes >> SW_WITHHELD_SHIFT above the base that budgets withhold (3.14 and later) */
    };
    uint64_t switches; /* how often it became current */
    uint32_t high_water; /* bytes / 16 in use at the lowest stack pointer seen */
    uint32_t frame_tag; /* swpy_frame_tag() when it was suspended in the middle of Python; 0: it was not */
    char *name; /* "name\0system\0", or NULL */
    struct sw_execution *execution; /* its own; without isolation: that of the stack it was entered from; or NULL */
} sw_record;

#if UINTPTR_MAX > 0xFFFFFFFF
_Static_assert(sizeof(sw_record) == 64, "a record is one cache line");
#endif

#define SW_WITHHELD_SHIFT 8 /* 32 bits hold all of the largest stack that is told: SW_MOST_SIZE */

/* A handle is (generation << 32) | index; record 0 is never used, so 0 names nothing. */
typedef uint64_t sw_handle;

/* A stack to return to: by its handle, or by its bounds where the handle is stale. */
typedef struct {
    sw_handle handle;
    uintptr_t base, top;
    int bounds_from;
} sw_place;

/* A request of a block of code: a budget of a stack, the bounds of a stack on a thread, a policy of a thread or of the
 * process, a recursion limit of an interpreter, the assumed size of unknown stacks. Each ends with its own block, in
 * whatever order and on whatever thread. What is effective is computed from
 * those that are left; no former value is restored. */
typedef struct sw_request {
    struct sw_request *next; /* the one made before it in the same list; while free: the next free one */
    uint64_t id; /* never used again; 0: free */
    uint64_t thread; /* serial of its thread; 0: it is the process's or a stack's */
    sw_place stack; /* whose bounds are requested; of a budget the handle alone */
    sw_place outer; /* of bounds: the stack around the block, and around those that it is nested in */
    const struct sw_execution *chain; /* of bounds: loaded when the block began */
    uintptr_t withheld; /* by a budget: bytes above the base ... */
    int32_t calls; /* ... and the calls that its stack may have in all (3.11 to 3.13) */
    int32_t limit; /* a recursion limit: depth/limits.pxd */
    uint8_t which, policy; /* of a policy: sw_policy_kind, sw_policy */
    size_t size; /* assumed, of an unknown stack */
} sw_request;

/* What no switch needs of a record. Found by the record's index. */
typedef struct sw_record_cold {
    struct sw_record *next_retired; /* retired before it, and not yet ended: records/ends.pxd */
    struct sw_span *span; /* of a record that fills granules of a whole leaf; or NULL */
    sw_request *budgets; /* of blocks; the newest first */
    uintptr_t own_budget; /* Stack.budget: bytes from the top that may be used; 0: all of the stack */
    uintptr_t withheld_by_requests; /* bytes: the most that one of `budgets` withholds */
    uint32_t painted; /* bytes / 16 above the base that Stack.paint() filled; 0: none */
    int32_t calls; /* the fewest that one of `budgets` allows in all (3.11 to 3.13); 0: there is none */
    int32_t calls_below; /* of the stacks that it was entered from by nested calls, which count here too (3.11) */
} sw_record_cold;

#define SW_CHUNK_BITS 12
#define SW_CHUNK_RECORDS (1u << SW_CHUNK_BITS)
#define SW_MAX_RECORDS (1u << 21) /* three indices fit into one word of a leaf */
#define SW_CHUNKS (SW_MAX_RECORDS >> SW_CHUNK_BITS)

/* ---- index of addresses: a radix tree over granules of 64 KiB ----
 *
 * The word of a granule holds the indices of the records that overlap it. Three at most: two that reach into it from
 * either side and one inside, because no record is smaller than SW_LEAST_SIZE.
 *
 *      middle:   leaf   span   span   span   leaf         a large record: leaves at its edges ...
 *                          \    |    /
 *                        the record's sw_span             ... and one for all that it fills, whatever its length */

#define SW_GRANULE_BITS 16
#define SW_LEAF_BITS 10
#define SW_MIDDLE_BITS 10
#define SW_ROOT_BITS 12
#define SW_ADDRESS_BITS (SW_GRANULE_BITS + SW_LEAF_BITS + SW_MIDDLE_BITS + SW_ROOT_BITS)
#define SW_LEAST_SIZE ((size_t)32 << 10)
#define SW_MOST_SIZE ((size_t)1 << 40) /* bytes; of what is told or asked for. Native stacks are as the system says */
#define SW_INDEX_BITS 21
#define SW_INDEX_MASK (((uint64_t)1 << SW_INDEX_BITS) - 1)

typedef struct {
    uint64_t granules[1 << SW_LEAF_BITS];
} sw_leaf;

typedef struct {
    sw_leaf *leaves[1 << SW_MIDDLE_BITS];
} sw_middle;

/* Pages begin with one, so its leaf is told from the others: it is not aligned to a page. */
typedef struct sw_span {
    struct sw_span *next; /* while free: the next free one */
    uint64_t reserved[7];
    sw_leaf leaf; /* the index of one record in each of its granules */
} sw_span;

/* ---- thread blocks ---- */

/* Which stack's calls one thread state counts down (3.11 to 3.13: cpython/protection_counted.h). */
typedef struct {
    const void *interpreter; /* NULL: unused. Ids of thread states are unique in one interpreter alone */
    uint64_t ts_id;
    sw_record *record;
    int native_depth_used; /* what depth_used is for other stacks: the native one's belongs to the thread state */
    int limit; /* the user's recursion limit when the counter was set; 0 where that counts no C calls */
    int levels; /* the calls that the stack was allowed then */
} sw_counter;

#define SW_SITE 256 /* bytes of "file:line" */

/* What a thread was told last, and where: in the checking mode alone (switching/checking.pxd). */
typedef struct {
    sw_handle handle;
    const void *caller; /* return address */
    char site[SW_SITE]; /* of Python; or empty */
} sw_telling;

/* What the map and the pages showed of an unknown stack. */
typedef struct {
    sw_handle handle;
    uintptr_t sp; /* of the outermost entry there that was seen */
    sw_seen seen;
} sw_sight;

#define SW_COUNTERS 4 /* thread states that one thread alternates between */

typedef struct sw_thread {
    sw_record *current; /* entered last; NULL once the thread has ended, as the next three */
    sw_record *native;
    sw_record *transient; /* the unregistered stack that was current last; base 0: there was none */
    sw_record *spare; /* the one before it: a switch between two of them needs two records */
    struct sw_execution *loaded; /* what the thread state holds */
    struct sw_execution *incoming; /* what finish_switch() is to load; NULL: no switch was started */
    struct sw_execution *finished; /* what finish_switch() is to release: it ended with the switch; or NULL */
    uint64_t ident; /* as threading.get_ident(); 0: the thread has ended, and the block is free */
    uint64_t serial; /* never used again, as idents are */
    uint64_t checked_version; /* the registry's when the transient records were last compared with it */
    sw_counter *own_counter; /* of the own thread state that was loaded last; NULL: none yet */
    sw_counter counters[SW_COUNTERS];
    unsigned next_counter; /* modulo SW_COUNTERS: the one to replace next */
    uint64_t pending_switches; /* that no callback was called for: the thread was detached, say */
    sw_handle from_handle; /* the stack before the first of them */
    uintptr_t from_base, from_top;
    uint64_t pending_since; /* callback_serial at the last of them */
    int is_foreign; /* Python did not create it */
    uint8_t policies[SW_POLICY_KINDS]; /* effective on this thread; SW_INHERITED: the process's */
    uint8_t set_policies[SW_POLICY_KINDS]; /* those set for good */
    sw_request *policy_requests; /* the newest first */
    sw_request *blocks; /* requests of bounds; the newest first */
    uint64_t policies_seen; /* policy_serial when bounds were applied last */
    SW_ATOMIC(int) writes_detached; /* it may be writing to its thread state without the GIL: stop_detached_writes() */
    sw_telling *telling; /* NULL: none, or nothing is checked */
    sw_sight sights[2]; /* of `transient` and `spare`, in any order: found by their handles */
    unsigned last_sight; /* the one that was written last */
    struct sw_thread *next;
} sw_thread;

/* ---- the process block ---- */

typedef struct {
    SW_ATOMIC(int) running; /* Python is initialised and this core has started */
    SW_ATOMIC(int) fast_path; /* may the hook take it? records/fast_path.pxd */
    SW_ATOMIC(int) finalizing; /* of Python: no detached thread writes to its thread state any more */
    SW_ATOMIC(int) callbacks; /* registered switch callbacks */
    int frames; /* isolation "frames" is available */
    uint8_t policies[SW_POLICY_KINDS]; /* effective where a thread has none */
    uint8_t set_policies[SW_POLICY_KINDS]; /* those set for good */
    sw_request *policy_requests; /* the newest first */
    SW_ATOMIC(int) own_policies; /* threads that have policies of their own */
    SW_ATOMIC(int) unchecked; /* a policy under which CPython checks no bounds was requested, now or earlier */
    SW_ATOMIC(uint64_t) policy_serial; /* counts changes of policies */
    size_t assumed_size, set_assumed_size; /* bytes; of an unknown stack: effective, and set for good */
    sw_request *size_requests; /* the newest first */
    size_t min_stack, stack_size; /* bytes; maybe_grow()'s defaults: room, and size of another stack */
    SW_ATOMIC(int) has_foreign; /* a stack that is not native got a record ... */
    SW_ATOMIC(int) first_foreign_done; /* ... and what comes with the first one is done: cpython/first_stack.h */
    uint64_t version; /* of the registry: counts new ranges, registered and transient */
    uint64_t thread_serial; /* the last one given out */
    uint64_t ended_threads;
    uint64_t callback_serial; /* counts registrations of callbacks */
    sw_record *chunks[SW_CHUNKS];
    sw_record_cold *cold[SW_CHUNKS];
    sw_middle *root[1 << SW_ROOT_BITS];
    SW_ATOMIC(uint32_t) records; /* the table's size: all indices in use are smaller */
    uint32_t free_record; /* the first of the free records; 0: none */
    sw_span *free_spans;
    uint64_t registered; /* records of kind SW_REGISTERED */
    sw_request *free_requests;
    uint64_t request_id; /* the last one given out */
    uint64_t superseded; /* records that gave way to a new range */
    uint64_t leaked; /* stacks and execution states that are never used again, and what they hold */
    uint64_t drained; /* calls of drain() that found something in CPython's trashcan */
    uint64_t dropped; /* stale execution states, found when their stack's memory was used anew */
    uint64_t name_readers; /* handlers of faults that may be reading a record's name: none is freed meanwhile */
    uint64_t coalesced; /* switches that callbacks got as part of another one */
    sw_thread *threads;
    size_t least_size; /* bytes; the smallest stack that can be protected */
} sw_process_block;

/* Zero at load; the one instance. Here, because a .pxd file can't define a variable. */
static sw_process_block sw_process;

static inline sw_record_cold *sw_cold_of(const sw_record *record)
{
    return &sw_process.cold[record->index >> SW_CHUNK_BITS][record->index & (SW_CHUNK_RECORDS - 1)];
}

#endif
