/* pauses.h: pauses without the GIL that end otherwise than others: with the bounds, or the frames, of another stack.
 *
 * A jump that nobody saw led to a stack that nobody told of, with the GIL held, and what runs there lets the GIL go for
 * a while. It jumps back as unseen as it came, so where the pause ends nothing may be mended: Python goes on with those
 * bounds on the stack that they are of (test_a_pause_on_a_fiber_leaves_the_resumers_bounds_effective).
 *
 * Once a foreign stack was found, pauses are noted with the Python frames that they began with: where others are in
 * force at the end, frames of several stacks interleave on one thread state.
 *
 * Promises: allocates nothing. What is noted is each thread's own. */
#ifndef SW_PAUSES_H
#define SW_PAUSES_H

#include <stdint.h>

typedef struct {
    int unmended; /* the bounds that are applied are those of another stack ... */
    uintptr_t effective; /* ... which holds this address */
    uint32_t frames; /* hooks.h */
} sw_pause;

/* A thread state is detached at this stack pointer. Of many pauses on one thread the oldest are forgotten. */
void sw_note_pause(const void *ts, uintptr_t sp, const sw_pause *pause);

/* The thread state is attached again, or is detached anew: does a pause end here that was noted? It is no longer. */
int sw_end_pause(const void *ts, uintptr_t sp, sw_pause *pause);

#endif
