/* context.h: one coroutine's machine context, made with makecontext and swapcontext.
 *
 * Promises: context_resume() runs `run(argument)` on the coroutine's stack until that calls context_suspend() or
 * returns. Debuggers and backtrace() see frames up to the coroutine's entry (glibc's __start_context has no caller).
 * The sanitizers are told of every switch. No C++ exception may leave `run`: there is nothing to unwind to, so
 * std::terminate is called. Knows nothing of Python, and nothing of stackwarden. Needs no lock while one thread at a
 * time uses a coroutine. */
#ifndef STACKWARDEN_UCONTEXT_CONTEXT_H
#define STACKWARDEN_UCONTEXT_CONTEXT_H

#include <stdint.h>
#include <ucontext.h>

#include "sanitizer.h"

#define CONTEXT_SYSTEM "ucontext"

typedef struct {
    ucontext_t machine;
    sanitizer_side sanitizer;
} context_side;

typedef struct {
    context_side coroutine;
    context_side resumer;
    void (*run)(void *argument);
    void *argument;
    int done;
} context;

static inline void side_switch(context_side *from, context_side *to, int ends)
{
    sanitizer_start_switch(&from->sanitizer, &to->sanitizer, ends);
    swapcontext(&from->machine, &to->machine);
    sanitizer_finish_switch(&from->sanitizer, &to->sanitizer);
}

static void context_entry(unsigned high, unsigned low)
{
    context *self = (context *)(((uintptr_t)high << 16 << 16) | low);
    sanitizer_finish_switch(&self->coroutine.sanitizer, &self->resumer.sanitizer);
    self->run(self->argument);
    self->done = 1;
    side_switch(&self->coroutine, &self->resumer, 1);
}

/* Requires: [base, base + size) stays mapped until the coroutine is done or never resumed again. */
static inline void context_make(context *self, char *base, size_t size, void (*run)(void *), void *argument)
{
    uintptr_t address = (uintptr_t)self;
    self->run = run;
    self->argument = argument;
    self->done = 0;
    sanitizer_make(&self->coroutine.sanitizer, base, size);
    getcontext(&self->coroutine.machine);
    self->coroutine.machine.uc_stack.ss_sp = base;
    self->coroutine.machine.uc_stack.ss_size = size;
    self->coroutine.machine.uc_link = NULL;
    makecontext(&self->coroutine.machine, (void (*)(void))context_entry, 2, (unsigned)(address >> 16 >> 16),
                (unsigned)address);
}

/* Requires: not called on the coroutine itself. Releases what the sanitizers hold. */
static inline void context_free(context *self)
{
    sanitizer_free(&self->coroutine.sanitizer);
}

/* Requires: not done, and not running. */
static inline void context_resume(context *self)
{
    side_switch(&self->resumer, &self->coroutine, 0);
}

/* Requires: called on the coroutine. */
static inline void context_suspend(context *self)
{
    side_switch(&self->coroutine, &self->resumer, 0);
}

#endif
