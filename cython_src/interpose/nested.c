/* nested.c: a list for each thread of the stacks with nested entries, in the order in which their first ones began. */
#include "nested.h"

#include <stddef.h>

#define STACKS_WITH_ENTRIES 64 /* on one thread */

typedef struct {
    uintptr_t sp; /* where the first entry on this stack began */
    unsigned depth; /* entries that have not ended */
} entered_stack;

typedef struct {
    uintptr_t before; /* an address on the stack before the first */
    entered_stack stacks[STACKS_WITH_ENTRIES];
    unsigned count;
} entered_stacks;

static __thread entered_stacks stacks_of_thread;
atomic_int sw_nested_entries;

/* Not inlined: a stack may be resumed on another thread, where an address from before would be the wrong one. */
static __attribute__((noinline)) entered_stacks *these_stacks(void)
{
    return &stacks_of_thread;
}

/* The newest on the stack whose bounds are applied; `own->count`: none. */
static unsigned find_current(const sw_interpose_hooks *hooks, const entered_stacks *own)
{
    uintptr_t base, top;
    hooks->current(&base, &top);
    for (unsigned i = own->count; i-- > 0;) {
        if (own->stacks[i].sp - base < top - base) {
            return i;
        }
    }
    return own->count;
}

static void forget(entered_stacks *own, unsigned which)
{
    own->count--;
    for (unsigned i = which; i < own->count; i++) {
        own->stacks[i] = own->stacks[i + 1];
    }
    atomic_fetch_sub(&sw_nested_entries, 1);
}

static void append(entered_stacks *own, uintptr_t sp, uintptr_t former)
{
    if (own->count == STACKS_WITH_ENTRIES) {
        forget(own, 0);
    }
    if (own->count == 0) {
        own->before = former;
    }
    own->stacks[own->count++] = (entered_stack){sp, 1};
    atomic_fetch_add(&sw_nested_entries, 1);
}

void sw_begin_nested(const sw_interpose_hooks *hooks, sw_entry entry, uintptr_t sp, uintptr_t former)
{
    entered_stacks *own = these_stacks();
    unsigned which = find_current(hooks, own);
    if (entry == SW_CHANGED && which < own->count && sp >= own->stacks[which].sp) {
        forget(own, which); /* its frame has gone: a coroutine ended inside it, and another has the memory */
        which = own->count;
    }
    if (which < own->count) {
        own->stacks[which].depth++;
    }
    else if (entry == SW_CHANGED) {
        append(own, sp, former);
    }
}

void sw_end_nested(const sw_interpose_hooks *hooks)
{
    entered_stacks *own = these_stacks();
    unsigned which = find_current(hooks, own);
    if (which < own->count && --own->stacks[which].depth == 0) {
        uintptr_t effective = which > 0 ? own->stacks[which - 1].sp : own->before;
        forget(own, which);
        hooks->go_back(effective);
    }
}
