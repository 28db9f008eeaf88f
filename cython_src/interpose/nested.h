/* nested.h: nested entries (the thread was attached already) that changed to the bounds of another stack.
 *
 * They may come after a jump that is linked statically, and nobody sees the jump back, so the end of such an entry
 * applies other bounds again (test_the_resumers_own_stack_is_protected_after_a_nested_entry). Entries on several
 * stacks may end in any order: those of a thread that have not ended form a set, and the end of one applies the bounds
 * of the stack of the newest that began before it and is left, or of the stack before all of them.
 *
 * Promises: allocates nothing; stacks are told apart by addresses on them, not by bounds from before. */
#ifndef SW_NESTED_H
#define SW_NESTED_H

#include "hooks.h"

#include <stdatomic.h>

extern atomic_int sw_nested_entries; /* in the process; 0: no thread need look at its own */

static inline int sw_are_nested(void)
{
    return __builtin_expect(atomic_load_explicit(&sw_nested_entries, memory_order_relaxed) != 0, 0) != 0;
}

/* A nested entry has begun at the stack pointer `sp`; `entry` and `former` are what entered() said of it (hooks.h).
 * Of too many stacks with entries on one thread the oldest is forgotten. */
void sw_begin_nested(const sw_interpose_hooks *hooks, sw_entry entry, uintptr_t sp, uintptr_t former);

/* A nested entry has ended, on the stack whose bounds are applied. */
void sw_end_nested(const sw_interpose_hooks *hooks);

#endif
