/* execution.h: the execution state of a chain of stacks, and where it is now.
 *
 * A stack with isolation has one of its own; so has each thread's native stack. A stack without isolation (a nested
 * call on another stack) shares that of the stack it was entered from: the two are one chain.
 *
 *          new_execution                    begin_execution, load_execution
 *               |         sw_renew_stack            (finish_switch)
 *               v         -------------->          -------------->
 *   free -->  IDLE                         READY                      LOADED   the thread state holds it
 *               ^  <--------------           ^                        |    ^
 *               |   release_execution        |           save_loaded  |    |  load_execution
 *               |                            |        (start_switch)  v    |  (finish_switch)
 *               |                            |                      SUSPENDED  `state` holds it
 *               |                            |                        |
 *               |  release_finished          |  finish_loaded         |
 *               +----------------------------+------------------------+  SWITCH_ENDS: what ran is over.
 *                 (finish_switch, attached)     (no thread state)
 *
 *   end_execution: IDLE, READY, and SUSPENDED without frames become free. SUSPENDED with frames is LOST: nobody can
 *   unwind them, so they are leaked and counted, and the execution state is never used again. One that owns references
 *   and ends detached waits as an orphan (release_orphans).
 *   drop_stale: SUSPENDED, but the memory of its stack was used anew. The frames are leaked; it begins again.
 *
 * `holds` says whether `state` owns references: READY the first context, SUSPENDED all of it. LOADED and holding means
 * that the stack was resumed on a thread that had no thread state to load it into (load_held). */
#ifndef SW_EXECUTION_H
#define SW_EXECUTION_H

#include "cpython/own_state.h"
#include "cpython/state.h"
#include "data/guard.h"

typedef enum { SW_IDLE, SW_READY, SW_LOADED, SW_SUSPENDED } sw_execution_status;

typedef struct sw_execution {
    swpy_state state; /* what was saved of `ts` */
    PyThreadState *ts; /* its own (SW_THREAD_STATE), else the one it was suspended in; NULL: none yet. Free: a link */
    sw_counter counter; /* of its own thread state (SW_THREAD_STATE, 3.12 and 3.13) */
    uint64_t ts_id; /* PyThreadState_GetID: the address of a dead thread state is used again at once. Orphan: a link */
    uintptr_t entered_at; /* stack pointer when it began */
    uintptr_t suspended_at; /* stack pointer when it was suspended; 0: not known */
    uint32_t frame_tag; /* swpy_frame_tag() when it was suspended */
    uint32_t callback_runs; /* odd while a switch callback runs in it; never counted back */
    uint32_t callback_seen; /* callback_runs of `callback_in` when this one began */
    struct sw_execution *callback_in; /* it began inside a callback that ran in that one; or NULL */
    uint8_t status;
    uint8_t isolation; /* SW_FRAMES or SW_THREAD_STATE */
    uint8_t holds; /* `state` owns references */
    uint8_t empty_context; /* it begins with an empty context, not with a copy */
} sw_execution;

_Static_assert(sizeof(sw_execution) <= 256, "at most 256 bytes for each isolated stack");

/* The free ones; and the orphans, which wait for someone attached to release what they hold. Memory is never given back
 * to the system: a suspended stack of the same chain may outlive it, and points at an execution state, whose frame_tag
 * then tells that it is another one. */
static sw_execution *sw_free_executions, *sw_orphaned_executions;

/* The stack pointer of the caller of the function in which this stands, the same for all functions. */
#if defined(_MSC_VER)
#define sw_callers_stack_pointer() ((uintptr_t)_AddressOfReturnAddress())
#else
#define sw_callers_stack_pointer() ((uintptr_t)__builtin_frame_address(0))
#endif

#endif
