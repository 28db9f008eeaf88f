/* contexts.c: what is special about contexts of makecontext(3): they may be resumed any number of times, and libc itself
 * switches at the end of a context's function, to uc_link.
 *
 * Promises: a context is as libc made it, but for one word: the address in libc to which the function of a context
 * returns. There it returns to sw_context_ends() first, which tells the hooks and goes on in libc. With shadow stacks
 * (x86-64), which hold a copy of that word, nothing is changed, and such ends are not seen. */
#define _GNU_SOURCE
#include "contexts.h"

#include "active_hooks.h"
#include "machine.h"

#include <errno.h>
#include <stddef.h>

void sw_context_ends(void);

/* In libc, where the function of every context returns to; 0: not known yet. */
uintptr_t sw_libc_ends_context __attribute__((visibility("hidden")));

static uintptr_t find_libc_end(void)
{
    enum { room = 512 };
    char stack[room] __attribute__((aligned(16)));
    ucontext_t probe;
    if (getcontext(&probe) != 0) {
        return 0;
    }
    probe.uc_stack.ss_sp = stack;
    probe.uc_stack.ss_size = room;
    probe.uc_link = NULL;
    makecontext(&probe, sw_context_ends, 0);
    return *sw_return_of_context(&probe);
}

static uintptr_t libc_end(void)
{
    uintptr_t known = __atomic_load_n(&sw_libc_ends_context, __ATOMIC_ACQUIRE);
    if (known == 0) {
        known = find_libc_end();
        __atomic_store_n(&sw_libc_ends_context, known, __ATOMIC_RELEASE);
    }
    return known;
}

/* A context that has not begun lies at the very top of its stack; the word is in memory. One that was suspended has some
 * word of its own there, which may be anything but that address. */
static void see_its_end(const ucontext_t *context)
{
    uintptr_t *returns_to = sw_return_of_context(context);
    if (!sw_has_shadow_stack() && *returns_to == libc_end()) {
        *returns_to = (uintptr_t)sw_context_ends;
    }
}

void sw_context_made(const ucontext_t *context)
{
    uintptr_t base = (uintptr_t)context->uc_stack.ss_sp;
    sw_hooks()->made(base, base + context->uc_stack.ss_size);
}

void sw_jump_to_context(uintptr_t from, const ucontext_t *to)
{
    see_its_end(to);
    sw_hooks()->jump(from, sw_context_sp(to));
}

__attribute__((visibility("hidden"), used)) void sw_context_has_ended(const ucontext_t *link)
{
    int saved = errno;
    if (link != NULL) {
        sw_jump_to_context((uintptr_t)__builtin_frame_address(0), link);
    }
    errno = saved;
}

SW_DEFINE_CONTEXT_ENDS;
