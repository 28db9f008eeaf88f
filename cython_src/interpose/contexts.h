/* contexts.h: switches between contexts of makecontext(3). */
#ifndef SW_CONTEXTS_H
#define SW_CONTEXTS_H

#include <stdint.h>
#include <ucontext.h>

/* makecontext() is about to make a context that begins on its uc_stack. */
void sw_context_made(const ucontext_t *context);

/* The thread is about to go on with a context; it comes back, if ever, with the stack pointer at `from`. */
void sw_jump_to_context(uintptr_t from, const ucontext_t *to);

#endif
