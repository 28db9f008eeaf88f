/* scheduler.h: fibers that several operating-system threads run. It knows nothing of Python.
 *
 * Stands for a system whose scheduler is not yours. The fiber that was ready first runs next, on the worker that has
 * been idle longest: so one that yields comes by all workers that are idle. */
#ifndef SCHEDULER_H
#define SCHEDULER_H

#include <stddef.h>

typedef struct fiber fiber;

int scheduler_start(int workers); /* 0, or an error number */

/* NULL: no memory. The size is in bytes. */
fiber *fiber_spawn(void (*function)(void *), void *argument, size_t stack_size);

/* Wait until it has ended, and free it. On a fiber: others run meanwhile. */
void fiber_join(fiber *self);

/* Of the fiber that calls: */
void fiber_yield(void);
void *fiber_stack(size_t *size); /* its lowest usable byte */
void fiber_set_local(void *pointer);
void *fiber_local(void); /* NULL: none was set, or no fiber calls */

#endif
