/* context.h: one coroutine's machine context, made with Boost.Context's make_fcontext and jump_fcontext.
 *
 * Follows adapters/ucontext/context.h. A switch makes no system call: the signal mask is the thread's. Boost's
 * functions are declared here for C, as they are since 1.61 in boost/context/detail/fcontext.hpp, which is C++. */
#ifndef STACKWARDEN_FCONTEXT_CONTEXT_H
#define STACKWARDEN_FCONTEXT_CONTEXT_H

#include "sanitizer.h"

#define CONTEXT_SYSTEM "fcontext"

typedef void *fcontext_t;

typedef struct {
    fcontext_t from; /* resumes the stack that the jump came from */
    void *data;
} transfer_t;

extern transfer_t jump_fcontext(fcontext_t to, void *data);
extern fcontext_t make_fcontext(void *top, size_t size, void (*entry)(transfer_t));

typedef struct {
    fcontext_t coroutine;
    fcontext_t resumer;
    sanitizer_side coroutine_side;
    sanitizer_side resumer_side;
    void (*run)(void *argument);
    void *argument;
    int done;
} context;

static void context_entry(transfer_t first)
{
    context *self = (context *)first.data;
    self->resumer = first.from;
    sanitizer_finish_switch(&self->coroutine_side, &self->resumer_side);
    self->run(self->argument);
    self->done = 1;
    sanitizer_start_switch(&self->coroutine_side, &self->resumer_side, 1);
    jump_fcontext(self->resumer, NULL);
}

static inline void context_make(context *self, char *base, size_t size, void (*run)(void *), void *argument)
{
    self->run = run;
    self->argument = argument;
    self->done = 0;
    sanitizer_make(&self->coroutine_side, base, size);
    self->coroutine = make_fcontext(base + size, size, context_entry);
}

static inline void context_free(context *self)
{
    sanitizer_free(&self->coroutine_side);
}

static inline void context_resume(context *self)
{
    sanitizer_start_switch(&self->resumer_side, &self->coroutine_side, 0);
    self->coroutine = jump_fcontext(self->coroutine, self).from;
    sanitizer_finish_switch(&self->resumer_side, &self->coroutine_side);
}

static inline void context_suspend(context *self)
{
    sanitizer_start_switch(&self->coroutine_side, &self->resumer_side, 0);
    self->resumer = jump_fcontext(self->resumer, NULL).from;
    sanitizer_finish_switch(&self->coroutine_side, &self->resumer_side);
}

#endif
