/* entries.c: stands in for the functions through which foreign code enters Python, or resumes it.
 *
 * Promises: each calls the function that it stands in for, with the same arguments, and returns what that returned;
 * when the thread comes out of it attached, the bounds are those of the stack under it.
 *
 * A thread that was attached already (a nested entry) goes back to its former stack without anyone seeing it when the
 * jump is statically linked: the end of the entry puts the former bounds back. Entries may interleave, so what is to be
 * put back is a list for each thread, from which any link may go. */
#include "interpose.h"

#include <stdatomic.h>

#define PYGILSTATE_LOCKED 0 /* PyGILState_STATE: the thread was attached already */

#define ENTRIES_NESTED 16 /* on one thread; further ones put nothing back */

/* One stack that nested entries changed to, and the one that was in force before. */
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
static atomic_int met_other_stacks; /* 0: every thread came into Python on its own */

/* Not inlined: a stack may come back on another thread (DESIGN: thread-local variables). */
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
    hooks->entered(&others, 0); /* another entry may have begun since, on another stack */
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
    return __builtin_expect(atomic_load_explicit(&links_in_process, memory_order_relaxed) != 0, 0);
}

static inline void look(int was_attached, int comes_back)
{
    const sw_interpose_hooks *hooks = sw_hooks();
    uint64_t former;
    sw_entry entry = hooks->entered(&former, comes_back);
    if (__builtin_expect(entry != SW_RIGHT, 0)) {
        atomic_store_explicit(&met_other_stacks, 1, memory_order_relaxed);
    }
    if (was_attached && (__builtin_expect(entry == SW_CHANGED, 0) || are_nested())) {
        note_nested(hooks, entry, former);
    }
}

static inline void entered(int was_attached)
{
    look(was_attached, 0);
}

static inline void came_back(void)
{
    look(0, 1);
}

/* The thread state may go, and with it what CPython put off freeing on a stack with little room. */
static inline void end_outermost(void)
{
    if (__builtin_expect(atomic_load_explicit(&met_other_stacks, memory_order_relaxed), 0)) {
        sw_hooks()->ending();
    }
}

/* ---- the functions ---- */

static int (*real_gilstate_ensure)(void);
static void (*real_gilstate_release)(int state);
static void (*real_restore_thread)(void *ts), (*real_acquire_thread)(void *ts);
static void *(*real_swap)(void *ts);
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
        end_outermost();
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
    came_back();
}

static void acquire_thread(void *ts)
{
    real_acquire_thread(ts);
    came_back();
}

static void *swap(void *ts)
{
    void *former = real_swap(ts);
    if (ts != NULL) {
        came_back();
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
    end_outermost(); /* whether it is, only the token knows */
    real_release(token);
    if (are_nested() && sw_hooks()->is_attached()) {
        end_nested(sw_hooks());
    }
}

const sw_stand_in sw_entries[SW_ENTRIES] = {
    {"PyGILState_Ensure", gilstate_ensure, (void **)&real_gilstate_ensure, NULL},
    {"PyGILState_Release", gilstate_release, (void **)&real_gilstate_release, NULL},
    {"PyEval_RestoreThread", restore_thread, (void **)&real_restore_thread, NULL},
    {"PyEval_AcquireThread", acquire_thread, (void **)&real_acquire_thread, NULL},
    {"PyThreadState_Swap", swap, (void **)&real_swap, NULL},
    {"PyThreadState_Ensure", ensure, (void **)&real_ensure, NULL}, /* 3.15, as are the following */
    {"PyThreadState_EnsureFromView", ensure_from_view, (void **)&real_ensure_from_view, NULL},
    {"PyThreadState_Release", release, (void **)&real_release, NULL},
};
