/* execution.h: the execution state of a chain of stacks, and where it is now.
 *
 * A stack with isolation of its own has one; so has each thread's native stack. Stacks without (nested calls on
 * other stacks) share that of the stack they were entered from.
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
 *   end_execution: IDLE, READY, and SUSPENDED without frames go back to the free ones. SUSPENDED with frames is LOST:
 *   nobody can unwind them, so they are leaked and counted, and the execution state is never used again. What a thread
 *   leaves behind that cannot be released detached waits as an orphan (release_orphans).
 *   drop_stale: SUSPENDED, but its memory was handed out anew; the frames are leaked, and it is loaded as a new one.
 *
 * `holds` says whether `state` owns references: READY the context to begin with, SUSPENDED all of it. LOADED and holding
 * means that the stack went on on a thread without a thread state: there was nothing to load it into (load_held). */
#ifndef SW_EXECUTION_H
#define SW_EXECUTION_H

#include "cpython/own_state.h"
#include "cpython/state.h"

typedef enum { SW_IDLE, SW_READY, SW_LOADED, SW_SUSPENDED } sw_execution_status;

typedef struct sw_execution {
    swpy_state state; /* of the thread state below, while it is saved */
    PyThreadState *ts; /* its own (SW_THREAD_STATE), else the one it lives in; NULL: not entered yet */
    uint64_t ts_id; /* PyThreadState_GetID: addresses of dead ones come back at once */
    uintptr_t entered_at; /* stack pointer when it began */
    uintptr_t suspended_at; /* and when it was suspended; 0: nobody saw where */
    uint32_t frame_tag; /* swpy_frame_tag() then */
    uint8_t status;
    uint8_t isolation; /* SW_FRAMES or SW_THREAD_STATE */
    uint8_t holds; /* `state` owns references */
    uint8_t empty_context; /* a new state starts with an empty context, not with a copy */
} sw_execution;

_Static_assert(sizeof(sw_execution) <= 256, "at most 256 bytes for each isolated stack");

/* Free ones, linked through `ts`; and those of threads that have ended, which wait for someone attached to release
 * what they hold. Never given back to the system: a stack that was left inside a chain may outlive
 * it, and what it still points at must be an execution state, whose mark then tells the difference. */
static sw_execution *sw_free_executions, *sw_orphaned_executions;

/* The stack pointer of the caller of the function that says it, the same for all functions. */
#if defined(_MSC_VER)
#define sw_callers_stack_pointer() ((uintptr_t)_AddressOfReturnAddress())
#else
#define sw_callers_stack_pointer() ((uintptr_t)__builtin_frame_address(0))
#endif

#endif
