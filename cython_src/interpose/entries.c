/* entries.c: stands in for the functions through which foreign code enters Python, or goes on in it after a pause
 * without the GIL.
 *
 * Promises: after a function that leaves the thread attached, the bounds are those of the stack under the caller; but
 * after a pause that began with those of another stack, they are that one's again (pauses.h). The end of an entry that
 * changed to another stack's bounds applies other ones again (nested.h). */
#include "active_hooks.h"
#include "nested.h"
#include "pauses.h"
#include "stand_ins.h"

#include <stdatomic.h>
#include <stddef.h>

#define PYGILSTATE_LOCKED 0 /* PyGILState_STATE: the thread was attached already */

static atomic_int any_foreign_stack; /* 0: every entry so far found the right bounds */

static inline void check(uintptr_t sp, int was_attached, int reattached)
{
    const sw_interpose_hooks *hooks = sw_hooks();
    uintptr_t former;
    sw_entry entry = hooks->entered(&former, reattached);
    if (__builtin_expect(entry != SW_RIGHT, 0)) {
        atomic_store_explicit(&any_foreign_stack, 1, memory_order_relaxed);
    }
    if (was_attached && (__builtin_expect(entry == SW_CHANGED, 0) || sw_are_nested())) {
        sw_begin_nested(hooks, entry, sp, former);
    }
}

static __attribute__((noinline)) void end_nested(void)
{
    const sw_interpose_hooks *hooks = sw_hooks();
    uintptr_t others;
    hooks->entered(&others, 0); /* an entry on another stack may have begun since */
    sw_end_nested(hooks);
}

static __attribute__((noinline)) void end_pause(const sw_pause *pause, uintptr_t sp, const void *caller)
{
    const sw_interpose_hooks *hooks = sw_hooks();
    if (pause->unmended) {
        hooks->go_back(pause->effective);
    }
    else {
        check(sp, 0, 1);
    }
    if (pause->frames != 0 && hooks->frames() != pause->frames) {
        hooks->interleaved(caller);
    }
}

static inline void reattached(const void *ts, uintptr_t sp, const void *caller)
{
    sw_pause pause;
    if (__builtin_expect(sw_end_pause(ts, sp, &pause), 0)) {
        end_pause(&pause, sp, caller);
    }
    else {
        check(sp, 0, 1);
    }
}

static inline int has_foreign_stacks(void)
{
    return __builtin_expect(atomic_load_explicit(&any_foreign_stack, memory_order_relaxed), 0) != 0;
}

/* What can be said of a pause only before it begins. */
static inline sw_pause leave(void)
{
    sw_pause pause = {0, 0, 0};
    pause.unmended = sw_hooks()->is_unmended(&pause.effective);
    pause.frames = has_foreign_stacks() ? sw_hooks()->frames() : 0;
    return pause;
}

static inline void left(const sw_pause *pause, const void *ts, uintptr_t sp)
{
    sw_pause stale;
    sw_end_pause(ts, sp, &stale); /* of a coroutine that ended inside it, on the same memory */
    if (__builtin_expect((pause->unmended || pause->frames != 0) && ts != NULL, 0)) {
        sw_note_pause(ts, sp, pause);
    }
}

/* The thread state may be deleted next, and with it CPython's trashcan: what waits there for a stack with more room
 * would never be freed (test_the_trashcan_is_emptied_before_its_thread_state_is_deleted). */
static inline void exit_outermost(void)
{
    if (has_foreign_stacks()) {
        sw_hooks()->outermost_exit();
    }
}

/* ---- the functions ---- */

#define STACK_POINTER ((uintptr_t)__builtin_frame_address(0))
#define CALLER __builtin_return_address(0)

static int (*real_gilstate_ensure)(void);
static void (*real_gilstate_release)(int state);
static void (*real_restore_thread)(void *ts), (*real_acquire_thread)(void *ts);
static void (*real_release_thread)(void *ts);
static void *(*real_save_thread)(void), *(*real_swap)(void *ts);
static void *(*real_ensure)(void *guard), *(*real_ensure_from_view)(void *view);
static void (*real_release)(void *token);

static int gilstate_ensure(void)
{
    int state = real_gilstate_ensure();
    check(STACK_POINTER, state == PYGILSTATE_LOCKED, 0);
    return state;
}

static void gilstate_release(int state)
{
    if (state != PYGILSTATE_LOCKED) {
        exit_outermost();
    }
    if (!sw_are_nested()) {
        real_gilstate_release(state);
        return;
    }
    real_gilstate_release(state);
    if (state == PYGILSTATE_LOCKED) {
        end_nested();
    }
}

static void restore_thread(void *ts)
{
    real_restore_thread(ts);
    reattached(ts, STACK_POINTER, CALLER);
}

static void acquire_thread(void *ts)
{
    real_acquire_thread(ts);
    reattached(ts, STACK_POINTER, CALLER);
}

static void *save_thread(void)
{
    sw_pause pause = leave();
    void *ts = real_save_thread();
    left(&pause, ts, STACK_POINTER);
    return ts;
}

static void release_thread(void *ts)
{
    sw_pause pause = leave();
    real_release_thread(ts);
    left(&pause, ts, STACK_POINTER);
}

static void *swap(void *ts)
{
    sw_pause pause = leave();
    void *former = real_swap(ts);
    left(&pause, former, STACK_POINTER);
    if (ts != NULL) {
        reattached(ts, STACK_POINTER, CALLER);
    }
    return former;
}

static void *ensure(void *guard)
{
    int was_attached = sw_hooks()->is_attached();
    void *token = real_ensure(guard);
    check(STACK_POINTER, was_attached, 0);
    return token;
}

static void *ensure_from_view(void *view)
{
    int was_attached = sw_hooks()->is_attached();
    void *token = real_ensure_from_view(view);
    check(STACK_POINTER, was_attached, 0);
    return token;
}

static void release(void *token)
{
    exit_outermost(); /* maybe: whether it is the outermost, only the token says */
    real_release(token);
    if (sw_are_nested() && sw_hooks()->is_attached()) {
        end_nested();
    }
}

const sw_stand_in sw_entries[SW_ENTRIES] = {
    {"PyGILState_Ensure", gilstate_ensure, (void **)&real_gilstate_ensure, NULL},
    {"PyGILState_Release", gilstate_release, (void **)&real_gilstate_release, NULL},
    {"PyEval_SaveThread", save_thread, (void **)&real_save_thread, NULL},
    {"PyEval_ReleaseThread", release_thread, (void **)&real_release_thread, NULL},
    {"PyEval_RestoreThread", restore_thread, (void **)&real_restore_thread, NULL},
    {"PyEval_AcquireThread", acquire_thread, (void **)&real_acquire_thread, NULL},
    {"PyThreadState_Swap", swap, (void **)&real_swap, NULL},
    {"PyThreadState_Ensure", ensure, (void **)&real_ensure, NULL}, /* 3.15, as are the following */
    {"PyThreadState_EnsureFromView", ensure_from_view, (void **)&real_ensure_from_view, NULL},
    {"PyThreadState_Release", release, (void **)&real_release, NULL},
};
