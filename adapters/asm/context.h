/* context.h: one coroutine's machine context, and a jump of our own that is compiled in place.
 *
 * Follows adapters/ucontext/context.h. A switch makes no system call and calls no function (machine.h). A processor
 * predicts a return by the last call that it has seen; a jump that is a function leaves one call too many on either
 * side, and each costs a wrong prediction (measured: 8 ns).
 *
 * For x86-64 and AArch64. The signal mask and the processor's modes are the thread's. */
#ifndef STACKWARDEN_ASM_CONTEXT_H
#define STACKWARDEN_ASM_CONTEXT_H

#include "machine.h"
#include "sanitizer.h"

#define CONTEXT_SYSTEM "asm"

typedef struct {
    void *coroutine, *resumer; /* saved stack pointers */
    sanitizer_side coroutine_side, resumer_side;
    void (*run)(void *argument);
    void *argument;
    int done;
} context;

static void context_entry(void *argument)
{
    context *self = (context *)argument;
    sanitizer_finish_switch(&self->coroutine_side, &self->resumer_side);
    self->run(self->argument);
    self->done = 1;
    sanitizer_start_switch(&self->coroutine_side, &self->resumer_side, 1);
    machine_jump(&self->coroutine, self->resumer);
}

static inline void context_make(context *self, char *base, size_t size, void (*run)(void *), void *argument)
{
    self->run = run;
    self->argument = argument;
    self->done = 0;
    sanitizer_make(&self->coroutine_side, base, size);
    self->coroutine = machine_make(base + size, context_entry, self);
}

static inline void context_free(context *self)
{
    sanitizer_free(&self->coroutine_side);
}

static inline __attribute__((always_inline)) void context_resume(context *self)
{
    sanitizer_start_switch(&self->resumer_side, &self->coroutine_side, 0);
    machine_jump(&self->resumer, self->coroutine);
    sanitizer_finish_switch(&self->resumer_side, &self->coroutine_side);
}

static inline __attribute__((always_inline)) void context_suspend(context *self)
{
    sanitizer_start_switch(&self->coroutine_side, &self->resumer_side, 0);
    machine_jump(&self->coroutine, self->resumer);
    sanitizer_finish_switch(&self->coroutine_side, &self->resumer_side);
}

#endif
