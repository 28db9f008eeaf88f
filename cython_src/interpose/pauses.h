/* pauses.h: pauses without the GIL that began with the bounds of another stack in force.
 *
 * A jump that nobody saw led to a stack that nobody told of, with the GIL held, and what runs there lets the GIL go for
 * a while. It jumps back as unseen as it came, so where the pause ends nothing may be mended: Python goes on with those
 * bounds on the stack that they are of (test_a_pause_on_a_fiber_leaves_the_resumers_bounds_effective).
 *
 * Promises: allocates nothing. What is noted is each thread's own. */
#ifndef SW_PAUSES_H
#define SW_PAUSES_H

#include <stdint.h>

/* A thread state is detached at this stack pointer, while the bounds of the stack that holds the address `effective` are applied.
 * Of many pauses on one thread the oldest are forgotten. */
void sw_note_pause(const void *ts, uintptr_t sp, uintptr_t effective);

/* The thread state is attached again, or is detached anew: does a pause end here that was noted? It is no longer, and
 * `effective` is what was. */
int sw_end_pause(const void *ts, uintptr_t sp, uintptr_t *effective);

#endif
