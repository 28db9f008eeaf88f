/* switches.c: stands in for the functions that switch stacks, where they are dynamic symbols.
 *
 * Promises: whoever switches sees what it saw before: same arguments, same values, exceptions pass through. The hooks
 * are told of every stack that is made, of every switch before it, and, on the other side, when it has come about;
 * of that also where the stack runs for the first time. Which stack a switch goes to is where the target's saved stack
 * pointer lies.
 *
 * Not seen: a switch back through uc_link (libc does it inside), and the point to which setcontext() goes after a plain
 * getcontext(); the next entry into Python or switch finds out. */
#define _GNU_SOURCE
#include "interpose.h"
#include "machine.h"

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
    SW_KEPT_REGISTER(context) = (__typeof__(SW_KEPT_REGISTER(context)))(uintptr_t)function;
    return sw_context_starts;
}

__attribute__((visibility("hidden"))) void sw_arrive_first(void)
{
    sw_hooks()->arrived();
}

SW_DEFINE_MAKECONTEXT;
SW_DEFINE_CONTEXT_STARTS;

static int interposed_swapcontext(ucontext_t *from, const ucontext_t *to)
{
    sw_hooks()->leaving(sw_context_sp(to));
    int failed = real_swapcontext(from, to);
    sw_hooks()->arrived();
    return failed;
}

static int interposed_setcontext(const ucontext_t *to)
{
    sw_hooks()->leaving(sw_context_sp(to));
    int failed = real_setcontext(to);
    sw_hooks()->arrived();
    return failed;
}

/* ---- Boost.Context 1.61 and later: an fcontext_t is the saved stack pointer ---- */

typedef struct {
    void *from, *data;
} transfer;

static void *(*real_make)(void *top, size_t size, void (*function)(transfer));
static transfer (*real_jump)(void *to, void *data);
static transfer (*real_ontop)(void *to, void *data, transfer (*function)(transfer));

/* What a new stack is to run, at its very top, under the context that Boost puts there; so it needs no table. */
typedef struct {
    uintptr_t self; /* its own address, changed by SELF: nothing else on the stack looks so */
    void (*function)(transfer);
} start;

#define SELF ((uintptr_t)0x5377537461727400)
#define CONTEXT_WORDS 64 /* the context and what Boost aligns it by are smaller than that */

static const start *find_start(const uintptr_t *word)
{
    for (int i = 0; i < CONTEXT_WORDS; i++, word++) {
        if (*word == ((uintptr_t)word ^ SELF)) {
            return (const start *)word;
        }
    }
    __builtin_trap(); /* make() put it there */
}

static void started(transfer from)
{
    const start *what = find_start(__builtin_frame_address(0));
    sw_hooks()->arrived();
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
    sw_hooks()->leaving((uintptr_t)to);
    transfer from = real_jump(to, data);
    sw_hooks()->arrived();
    return from;
}

/* What is to run on top of the other stack, kept on the stack that is left. */
typedef struct {
    transfer (*function)(transfer);
    void *data;
} ontop;

static transfer run_ontop(transfer from)
{
    const ontop what = *(const ontop *)from.data;
    from.data = what.data;
    sw_hooks()->arrived();
    return what.function(from);
}

static transfer interposed_ontop(void *to, void *data, transfer (*function)(transfer))
{
    ontop what = {function, data};
    sw_hooks()->leaving((uintptr_t)to);
    transfer from = real_ontop(to, &what, run_ontop);
    sw_hooks()->arrived();
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
