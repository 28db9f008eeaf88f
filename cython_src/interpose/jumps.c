/* jumps.c: stands in for the functions that switch stacks, where they are dynamic symbols; and the table of them.
 *
 * Promises: the function itself runs with its caller's registers and stack pointer, for every stand-in goes on by a
 * jump (SW_DEFINE_STAND_IN). So what is saved is what would be saved without us, and may be resumed once, twice or
 * never, by whomever; exceptions find no frame of ours. The hooks see every new stack, and every switch before it
 * happens. Nothing is called afterwards: the thread arrives where it would have arrived. errno stays as it is. */
#define _GNU_SOURCE
#include "active_hooks.h"
#include "contexts.h"
#include "machine.h"
#include "stand_ins.h"

#include <errno.h>
#include <stddef.h>

/* ---- the table ----
 *
 * LINE(symbol, before, argument, detail, only_with). `before` is what comes first:
 *   jump_to         a switch; that argument (from 1) is the target's saved stack pointer
 *   jump_by         a switch; the argument leads to the word with it, `detail` bytes further on
 *   jump_context    a switch; the argument is a ucontext_t
 *   make_context    the argument is a ucontext_t with a new stack
 *   make_below      a new stack; the argument is its top, the one numbered `detail` its size
 *
 * Types and layouts: makecontext(3), setcontext(3); boost/context/detail/fcontext.hpp since 1.61, which brought
 * ontop_fcontext (other types before), since 1.87 with C++ names. */
#define TABLE(LINE) \
    LINE(makecontext, make_context, 1, 0, NULL) \
    LINE(swapcontext, jump_context, 2, 0, NULL) \
    LINE(setcontext, jump_context, 1, 0, NULL) \
    LINE(make_fcontext, make_below, 1, 2, "ontop_fcontext") \
    LINE(jump_fcontext, jump_to, 1, 0, "ontop_fcontext") \
    LINE(ontop_fcontext, jump_to, 1, 0, NULL) \
    LINE(_ZN5boost7context6detail13make_fcontextEPvmPFvNS1_10transfer_tEE, make_below, 1, 2, NULL) \
    LINE(_ZN5boost7context6detail13jump_fcontextEPvS2_, jump_to, 1, 0, NULL) \
    LINE(_ZN5boost7context6detail14ontop_fcontextEPvS2_PFNS1_10transfer_tES3_E, jump_to, 1, 0, NULL)

/* ---- a line of it ---- */

typedef struct line line;
struct line {
    void *real;
    void (*before)(const line *self, const uintptr_t *arguments, uintptr_t sp);
    int argument, detail;
};

static uintptr_t argument_of(const line *self, const uintptr_t *arguments)
{
    return arguments[self->argument - 1];
}

static void make_below(const line *self, const uintptr_t *arguments, uintptr_t sp)
{
    uintptr_t top = argument_of(self, arguments);
    (void)sp;
    sw_hooks()->made(top - arguments[self->detail - 1], top);
}

static void make_context(const line *self, const uintptr_t *arguments, uintptr_t sp)
{
    (void)sp;
    sw_context_made((const ucontext_t *)argument_of(self, arguments));
}

static void jump_to(const line *self, const uintptr_t *arguments, uintptr_t sp)
{
    sw_hooks()->jump(sp, argument_of(self, arguments));
}

static void jump_context(const line *self, const uintptr_t *arguments, uintptr_t sp)
{
    sw_jump_to_context(sp, (const ucontext_t *)argument_of(self, arguments));
}

/* Every stand-in comes here. `sp`: the caller's stack pointer once the function has returned. */
__attribute__((visibility("hidden"), used)) void *sw_before(const line *self, const uintptr_t *arguments, uintptr_t sp)
{
    int saved = errno;
    self->before(self, arguments, sp);
    errno = saved;
    return self->real;
}

SW_DEFINE_STAND_INS_GO_ON;

#define DEFINE(symbol, before, argument, detail, only_with) \
    __attribute__((visibility("hidden"), used)) line sw_line_##symbol = {NULL, before, argument, detail}; \
    void sw_at_##symbol(void); \
    SW_DEFINE_STAND_IN("sw_at_" #symbol, "sw_line_" #symbol);
TABLE(DEFINE)

#define ENTER(symbol, before, argument, detail, only_with) {#symbol, sw_at_##symbol, &sw_line_##symbol.real, only_with},
const sw_stand_in sw_jumps[SW_JUMPS] = {TABLE(ENTER)};

#define ONE(...) +1
_Static_assert(SW_JUMPS == 0 TABLE(ONE), "stand_ins.h says how many lines the table has");
