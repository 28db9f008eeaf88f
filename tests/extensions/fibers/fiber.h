/* fiber.h: user threads that may stop anywhere.
 *
 * Promises: uses the public header alone, as a runtime would. A guarded fiber tells stackwarden of every switch
 * between Python's callers; a raw one switches behind its back. Nothing here runs Python, so that all of it may be
 * called detached and on threads without a thread state.
 *
 *      fiber_resume(f)   on the resumer's stack: go on with f until it parks or is done
 *      fiber_park()      on a fiber's stack, or one that it entered: go back to its resumer
 *      nested_enter(n)   run a function on another stack, as a nested call of the present one
 *
 * A fiber that parked goes on where it parked, be that its own stack or one that it entered. */
#ifndef FIBERS_FIBER_H
#define FIBERS_FIBER_H

#include <stackwarden/stackwarden.h>

#include <stdint.h>
#include <stdlib.h>

#include "../machine.h"

/* ---- one place where something stopped ---- */

extern void *__tsan_get_current_fiber(void) __attribute__((weak));
extern void *__tsan_create_fiber(unsigned flags) __attribute__((weak));
extern void __tsan_destroy_fiber(void *fiber) __attribute__((weak));
extern void __tsan_switch_to_fiber(void *fiber, unsigned flags) __attribute__((weak));

typedef struct {
    point point;
    void *tsan; /* what ThreadSanitizer keeps for the stack, where it is loaded */
} stop;

static inline void jump(stop *from, stop *to)
{
    if (__tsan_switch_to_fiber) {
        from->tsan = __tsan_get_current_fiber();
        __tsan_switch_to_fiber(to->tsan, 0);
    }
    point_jump(&from->point, &to->point);
}

/* Make a stop from which entry(argument), which does not return, starts on a stack. */
static inline void stop_make(stop *self, uintptr_t base, size_t size, void (*entry)(void *), void *argument)
{
    self->tsan = __tsan_create_fiber ? __tsan_create_fiber(0) : NULL;
    point_make(&self->point, (char *)base, size, entry, argument, NULL);
}

/* ---- fibers ---- */

/* How a fiber's resumer, or a fiber's stack, is named to stackwarden. */
typedef enum { BY_HANDLE, BY_BOUNDS, BY_STALE_HANDLE, BY_NULL } naming;

typedef struct fiber {
    stop here, back;
    stackwarden_stack place; /* the stack to go to: its own, or the one on which it parked */
    stackwarden_stack back_place;
    struct fiber *outer; /* the fiber that resumed this one */
    void (*body)(struct fiber *);
    void *own; /* the body's */
    naming to_fiber, to_back;
    int raw, blocking;
    int started, done;
} fiber;

/* Not inlined: a switch may come back on another thread, and compilers keep the address of a variable. */
static __thread fiber *running;

static __attribute__((noinline)) fiber *fiber_running(void)
{
    return running;
}

static __attribute__((noinline)) void fiber_set_running(fiber *self)
{
    running = self;
}

static inline stackwarden_status start_switch(const stackwarden_stack *to, naming name, int blocking, int ends)
{
    stackwarden_stack named = *to;
    if (name == BY_BOUNDS) {
        named.handle = 0;
    }
    else if (name == BY_STALE_HANDLE) {
        named.handle += (uint64_t)1000 << 32;
    }
    const stackwarden_stack *target = name == BY_NULL ? NULL : &named;
    unsigned flags = ends ? STACKWARDEN_SWITCH_ENDS : 0;
    return blocking ? stackwarden_start_switch_blocking(target, flags) : stackwarden_start_switch(target, flags);
}

static void fiber_entry(void *argument)
{
    fiber *self = argument;
    if (!self->raw) {
        stackwarden_finish_switch();
    }
    self->body(self);
    self->done = 1;
    if (!self->raw) {
        start_switch(&self->back_place, self->to_back, self->blocking, 1);
    }
    jump(&self->here, &self->back);
    abort(); /* a fiber that is done was resumed */
}

static inline void fiber_make(fiber *self, const stackwarden_stack *stack, void (*body)(fiber *))
{
    self->place = *stack;
    self->body = body;
    stop_make(&self->here, stack->base, stack->size, fiber_entry, self);
}

/* Requires: not done, and not running.
 * DONE: it ran, and parked or is done. Else a refusal, and it did not run. */
static inline stackwarden_status fiber_resume(fiber *self)
{
    stackwarden_status status = STACKWARDEN_DONE;
    if (!self->raw) {
        stackwarden_current_stack(&self->back_place);
        status = start_switch(&self->place, self->to_fiber, self->blocking, 0);
    }
    if (status == STACKWARDEN_DONE) {
        self->started = 1;
        self->outer = fiber_running();
        fiber_set_running(self);
        jump(&self->back, &self->here);
        fiber_set_running(self->outer);
        if (!self->raw) {
            stackwarden_finish_switch(); /* runs destructors, which may park in turn */
        }
    }
    return status;
}

/* Requires: on a fiber. DONE: it was resumed. Else a refusal, and it did not stop. */
static inline stackwarden_status fiber_park(void)
{
    fiber *self = fiber_running();
    stackwarden_status status = STACKWARDEN_DONE;
    if (!self->raw) {
        stackwarden_current_stack(&self->place);
        status = start_switch(&self->back_place, self->to_back, self->blocking, 0);
    }
    if (status == STACKWARDEN_DONE) {
        jump(&self->here, &self->back);
        if (!self->raw) {
            stackwarden_finish_switch();
        }
    }
    return status;
}

/* ---- nested calls on another stack ---- */

typedef struct {
    stop here, back;
    stackwarden_stack from;
    void (*call)(void *argument);
    void *argument;
} nested;

static void nested_entry(void *argument)
{
    nested *self = argument;
    stackwarden_finish_switch();
    self->call(self->argument);
    stackwarden_start_switch(&self->from, STACKWARDEN_SWITCH_ENDS);
    jump(&self->here, &self->back);
}

/* Requires: attached. */
static inline stackwarden_status nested_enter(nested *self, const stackwarden_stack *stack)
{
    stackwarden_current_stack(&self->from);
    stackwarden_status status = stackwarden_start_switch(stack, 0);
    if (status == STACKWARDEN_DONE) {
        stop_make(&self->here, stack->base, stack->size, nested_entry, self);
        jump(&self->back, &self->here);
        stackwarden_finish_switch();
        if (__tsan_destroy_fiber) {
            __tsan_destroy_fiber(self->here.tsan);
        }
    }
    return status;
}

#endif
