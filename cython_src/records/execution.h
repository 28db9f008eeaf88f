/* execution.h: the execution state of a chain of stacks, and where it is now.
 *
 * A stack with isolation of its own has one; so has each thread's native stack. Stacks without (nested calls on
 * other stacks) share that of the stack they were entered from. */
#ifndef SW_EXECUTION_H
#define SW_EXECUTION_H

#include "cpython/own_state.h"
#include "cpython/state.h"

typedef enum { SW_NEW, SW_LOADED, SW_SAVED } sw_execution_status;

typedef struct sw_execution {
    swpy_state state; /* of the thread state below, while it is saved */
    PyThreadState *ts; /* its own (SW_THREAD_STATE), else the one it lives in; NULL: not entered yet */
    uint64_t ts_id; /* PyThreadState_GetID: addresses of dead ones come back at once */
    uintptr_t entered_at; /* stack pointer when it began */
    uintptr_t left_at; /* and when it was left */
    uint32_t mark; /* swpy_mark() then */
    uint8_t status;
    uint8_t isolation; /* SW_FRAMES or SW_THREAD_STATE */
    uint8_t prepared; /* renew_stack() made it ready for new work */
    uint8_t holds; /* `state` owns references: it was saved, or filled by renew_stack(), and not loaded since */
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
