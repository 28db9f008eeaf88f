/* entries.c: stands in for the functions through which foreign code enters Python, or goes on in it after a pause
 * without the GIL.
 *
 * Promises: after a function that leaves the thread attached, the bounds are those of the stack under the caller; but
 * after a pause that began with those of another stack, they are that one's again (pauses.h).
 *
 * A nested entry (the thread was attached already) may come after a jump from another stack that is linked statically.
 * Nobody sees the jump back, so the end of the entry applies the former stack's bounds
 * (test_the_resumers_own_stack_is_protected_after_a_nested_entry). Entries on several stacks may end in any order:
 * each thread has a list of them, and any link of it may go
 * (test_entries_that_interleave_leave_the_native_bounds_behind). */
#include "active_hooks.h"
#include "pauses.h"
#include "stand_ins.h"

#include <stdatomic.h>
#include <stddef.h>

#define PYGILSTATE_LOCKED 0 /* PyGILState_STATE: the thread was attached already */

#define ENTRIES_NESTED 16 /* on one thread; further ones apply nothing at their end */

/* One stack that nested entries changed to, and the stack whose bounds were applied before. */
typedef struct {
    uint64_t stack, former;
    unsigned depth; /* entries on it that have not ended */
} nested;

typedef struct {
    nested links[ENTRIES_NESTED];
    unsigned count;
} chain;

static __thread chain chain_of_thread;
static atomic_int links_in_process; /* 0: no thread need look at its chain */
static atomic_int any_foreign_stack; /* 0: every entry so far found the right bounds */

/* Not inlined: a stack may be resumed on another thread, where an address from before would be the wrong one. */
static __attribute__((noinline)) chain *this_chain(void)
{
    return &chain_of_thread;
}

static nested *find_link(chain *own, uint64_t stack)
{
    for (unsigned i = own->count; i-- > 0;) {
        if (own->links[i].stack == stack) {
            return &own->links[i];
        }
    }
    return NULL;
}

static void remove_link(chain *own, nested *link)
{
    for (unsigned i = 0; i < own->count; i++) {
        if (own->links[i].former == link->stack) {
            own->links[i].former = link->former;
        }
    }
    *link = own->links[--own->count];
    atomic_fetch_sub(&links_in_process, 1);
}

static __attribute__((noinline)) void note_nested(const sw_interpose_hooks *hooks, sw_entry entry, uint64_t former)
{
    chain *own = this_chain();
    uint64_t stack = hooks->current();
    nested *link = find_link(own, stack);
    if (link != NULL) {
        link->depth++;
    }
    else if (entry == SW_CHANGED && own->count < ENTRIES_NESTED) {
        own->links[own->count++] = (nested){stack, former, 1};
        atomic_fetch_add(&links_in_process, 1);
    }
}

static __attribute__((noinline)) void end_nested(const sw_interpose_hooks *hooks)
{
    uint64_t others;
    hooks->entered(&others, 0); /* an entry on another stack may have begun since */
    chain *own = this_chain();
    nested *link = find_link(own, hooks->current());
    if (link != NULL && --link->depth == 0) {
        uint64_t former = link->former;
        remove_link(own, link);
        hooks->go_back(former);
    }
}

static inline int are_nested(void)
{
    return __builtin_expect(atomic_load_explicit(&links_in_process, memory_order_relaxed) != 0, 0) != 0;
}

static inline void check(int was_attached, int reattached)
{
    const sw_interpose_hooks *hooks = sw_hooks();
    uint64_t former;
    sw_entry entry = hooks->entered(&former, reattached);
    if (__builtin_expect(entry != SW_RIGHT, 0)) {
        atomic_store_explicit(&any_foreign_stack, 1, memory_order_relaxed);
    }
    if (was_attached && (__builtin_expect(entry == SW_CHANGED, 0) || are_nested())) {
        note_nested(hooks, entry, former);
    }
}

static inline void entered(int was_attached)
{
    check(was_attached, 0);
}

static __attribute__((noinline)) void go_on_unmended(const sw_interpose_hooks *hooks, uint64_t effective)
{
    if (hooks->current() != effective) {
        hooks->go_back(effective);
    }
}

static inline void reattached(const void *ts, uintptr_t sp)
{
    uint64_t effective;
    if (__builtin_expect(sw_end_pause(ts, sp, &effective), 0)) {
        go_on_unmended(sw_hooks(), effective);
    }
    else {
        check(0, 1);
    }
}

/* What is_unmended() says of a thread that is about to be detached, until it is. */
typedef struct {
    int unmended;
    uint64_t effective;
} leaving;

static inline leaving leave(void)
{
    leaving this = {0, 0};
    this.unmended = sw_hooks()->is_unmended(&this.effective);
    return this;
}

static inline void left(leaving this, const void *ts, uintptr_t sp)
{
    uint64_t stale;
    sw_end_pause(ts, sp, &stale); /* of a coroutine that ended inside it, on the same memory */
    if (__builtin_expect(this.unmended && ts != NULL, 0)) {
        sw_note_pause(ts, sp, this.effective);
    }
}

/* The thread state may be deleted next, and with it CPython's trashcan: what waits there for a stack with more room
 * would never be freed (test_the_trashcan_is_emptied_before_its_thread_state_is_deleted). */
static inline void exit_outermost(void)
{
    if (__builtin_expect(atomic_load_explicit(&any_foreign_stack, memory_order_relaxed), 0)) {
        sw_hooks()->outermost_exit();
    }
}

/* ---- the functions ---- */

#define STACK_POINTER ((uintptr_t)__builtin_frame_address(0))

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
    entered(state == PYGILSTATE_LOCKED);
    return state;
}

static void gilstate_release(int state)
{
    if (state != PYGILSTATE_LOCKED) {
        exit_outermost();
    }
    if (!are_nested()) {
        real_gilstate_release(state);
        return;
    }
    real_gilstate_release(state);
    if (state == PYGILSTATE_LOCKED) {
        end_nested(sw_hooks());
    }
}

static void restore_thread(void *ts)
{
    real_restore_thread(ts);
    reattached(ts, STACK_POINTER);
}

static void acquire_thread(void *ts)
{
    real_acquire_thread(ts);
    reattached(ts, STACK_POINTER);
}

static void *save_thread(void)
{
    leaving this = leave();
    void *ts = real_save_thread();
    left(this, ts, STACK_POINTER);
    return ts;
}

static void release_thread(void *ts)
{
    leaving this = leave();
    real_release_thread(ts);
    left(this, ts, STACK_POINTER);
}

static void *swap(void *ts)
{
    leaving this = leave();
    void *former = real_swap(ts);
    left(this, former, STACK_POINTER);
    if (ts != NULL) {
        reattached(ts, STACK_POINTER);
    }
    return former;
}

static void *ensure(void *guard)
{
    int was_attached = sw_hooks()->is_attached();
    void *token = real_ensure(guard);
    entered(was_attached);
    return token;
}

static void *ensure_from_view(void *view)
{
    int was_attached = sw_hooks()->is_attached();
    void *token = real_ensure_from_view(view);
    entered(was_attached);
    return token;
}

static void release(void *token)
{
    exit_outermost(); /* maybe: whether it is the outermost, only the token says */
    real_release(token);
    if (are_nested() && sw_hooks()->is_attached()) {
        end_nested(sw_hooks());
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
