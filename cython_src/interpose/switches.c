/* switches.c: stands in for the functions that switch stacks, where they are dynamic symbols.
 *
 * Promises: the caller sees no difference: same arguments, same values, exceptions pass through. The hooks see every
 * new stack; the start of every switch, on the old stack; and its end, on the new stack, also when that stack runs for
 * the first time. The target of a switch is the stack that holds the target's saved stack pointer.
 *
 * Not seen: the switch to uc_link at the end of a context's function, which libc makes inside (makecontext(3)), and the
 * second return of a getcontext() after a setcontext() (setcontext(3)). The next entry into Python or the next switch
 * finds out. */
#define _GNU_SOURCE
#include "active_hooks.h"
#include "machine.h"
#include "stand_ins.h"

#include <stddef.h>

void sw_makecontext(void);
void sw_context_starts(void);

/* ---- ucontext ---- */

void *sw_real_makecontext __attribute__((visibility("hidden")));
static int (*real_swapcontext)(ucontext_t *from, const ucontext_t *to);
static int (*real_setcontext)(const ucontext_t *to);

__attribute__((visibility("hidden"))) void *sw_make_context(ucontext_t *context, void *function)
{
    uintptr_t base = (uintptr_t)context->uc_stack.ss_sp;
    sw_hooks()->made(base, base + context->uc_stack.ss_size);
    SW_CALLEE_SAVED_REGISTER(context) = (__typeof__(SW_CALLEE_SAVED_REGISTER(context)))(uintptr_t)function;
    return sw_context_starts;
}

__attribute__((visibility("hidden"))) void sw_finish_first_switch(void)
{
    sw_hooks()->finish_switch();
}

SW_DEFINE_MAKECONTEXT;
SW_DEFINE_CONTEXT_STARTS;

static int interposed_swapcontext(ucontext_t *from, const ucontext_t *to)
{
    sw_hooks()->start_switch(sw_context_sp(to));
    int failed = real_swapcontext(from, to);
    sw_hooks()->finish_switch();
    return failed;
}

static int interposed_setcontext(const ucontext_t *to)
{
    sw_hooks()->start_switch(sw_context_sp(to));
    int failed = real_setcontext(to);
    sw_hooks()->finish_switch();
    return failed;
}

/* ---- Boost.Context ----
 *
 * Since 1.61, which brought ontop_fcontext, an fcontext_t is the saved stack pointer and a jump returns a transfer_t;
 * the types of make_fcontext and jump_fcontext were others before (boost/context/detail/fcontext.hpp). */

typedef struct {
    void *from, *data;
} transfer;

static void *(*real_make)(void *top, size_t size, void (*function)(transfer));
static transfer (*real_jump)(void *to, void *data);
static transfer (*real_ontop)(void *to, void *data, transfer (*function)(transfer));

/* The function of a new stack. It lies at the very top of that stack, above Boost's context, so there is no table. */
typedef struct {
    uintptr_t self; /* its own address xor SELF, by which it is found: no other word of a new stack has that value */
    void (*function)(transfer);
} start;

#define SELF ((uintptr_t)0x5377537461727400)
#define CONTEXT_WORDS 64 /* Boost's context, with the space for its alignment, is smaller than that */

static const start *find_start(const uintptr_t *word)
{
    for (int i = 0; i < CONTEXT_WORDS; i++, word++) {
        if (*word == ((uintptr_t)word ^ SELF)) {
            return (const start *)word;
        }
    }
    __builtin_trap(); /* interposed_make() has put it there */
}

static void started(transfer from)
{
    const start *what = find_start(__builtin_frame_address(0));
    sw_hooks()->finish_switch();
    what->function(from);
}

static void *interposed_make(void *top, size_t size, void (*function)(transfer))
{
    start *what = (start *)((uintptr_t)top & ~(uintptr_t)15) - 1;
    sw_hooks()->made((uintptr_t)top - size, (uintptr_t)top);
    *what = (start){(uintptr_t)what ^ SELF, function};
    return real_make(what, size - ((uintptr_t)top - (uintptr_t)what), started);
}

static transfer interposed_jump(void *to, void *data)
{
    sw_hooks()->start_switch((uintptr_t)to);
    transfer from = real_jump(to, data);
    sw_hooks()->finish_switch();
    return from;
}

/* The function that is to run on top of the other stack; it lies on the stack that is suspended. */
typedef struct {
    transfer (*function)(transfer);
    void *data;
} ontop;

static transfer run_ontop(transfer from)
{
    const ontop what = *(const ontop *)from.data;
    from.data = what.data;
    sw_hooks()->finish_switch();
    return what.function(from);
}

static transfer interposed_ontop(void *to, void *data, transfer (*function)(transfer))
{
    ontop what = {function, data};
    sw_hooks()->start_switch((uintptr_t)to);
    transfer from = real_ontop(to, &what, run_ontop);
    sw_hooks()->finish_switch();
    return from;
}

const sw_stand_in sw_switches[SW_SWITCHES] = {
    {"makecontext", sw_makecontext, &sw_real_makecontext, NULL},
    {"swapcontext", interposed_swapcontext, (void **)&real_swapcontext, NULL},
    {"setcontext", interposed_setcontext, (void **)&real_setcontext, NULL},
    {"make_fcontext", interposed_make, (void **)&real_make, "ontop_fcontext"},
    {"jump_fcontext", interposed_jump, (void **)&real_jump, "ontop_fcontext"},
    {"ontop_fcontext", interposed_ontop, (void **)&real_ontop, NULL},
};
