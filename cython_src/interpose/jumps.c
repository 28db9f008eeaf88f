/* jumps.c: stands in for the functions that switch stacks, where they are dynamic symbols; and the table of them.
 *
 * Promises: the function itself runs with its caller's registers and stack pointer, for every stand-in goes on by a
 * jump (SW_DEFINE_STAND_IN). So what is saved is what would be saved without us, and may be resumed once, twice or
 * never, by whomever; exceptions find no frame of ours. The hooks see every new stack, and every switch before it
 * happens. Nothing is called afterwards: the thread arrives where it would have arrived. errno stays as it is. */
#define _GNU_SOURCE
#include "active_hooks.h"
#include "contexts.h"
#include "evidence.h"
#include "fallback.h"
#include "machine.h"
#include "stand_ins.h"

#include <errno.h>
#include <stddef.h>

/* ---- the table ----
 *
 * LINE(symbol, before, argument, detail, only_with). `before` is what comes first:
 *   jump_to         a switch; that argument (from 1) is the target's saved stack pointer
 *   jump_found      the same, where other functions may have that name: if memory there looks so
 *   jump_by         the same; the argument leads to the word with the stack pointer, `detail` bytes further on
 *   jump_context    a switch; the argument is a ucontext_t
 *   make_context    the argument is a ucontext_t with a new stack
 *   make_below      a new stack; the argument is its top, the one numbered `detail` its size
 *   make_above      the same; the argument is its base, the other its size, as int
 *
 * A stack that nobody made by a function of the table is new when it is first switched to.
 *
 * Types and layouts: makecontext(3), setcontext(3); boost/context/detail/fcontext.hpp since 1.61, which brought
 * ontop_fcontext (other types before), since 1.87 with C++ names; the others by their sources. Which were run with the
 * real library: docs/interposition.md. */
#define TABLE(LINE) \
    LINE(makecontext, make_context, 1, 0, NULL) \
    LINE(swapcontext, jump_context, 2, 0, NULL) \
    LINE(setcontext, jump_context, 1, 0, NULL) \
    LINE(make_fcontext, make_below, 1, 2, "ontop_fcontext") \
    LINE(jump_fcontext, jump_to, 1, 0, "ontop_fcontext") \
    LINE(ontop_fcontext, jump_to, 1, 0, NULL) \
    LINE(_ZN5boost7context6detail13make_fcontextEPvmPFvNS1_10transfer_tEE, make_below, 1, 2, NULL) \
    LINE(_ZN5boost7context6detail13jump_fcontextEPvS2_, jump_to, 1, 0, NULL) \
    LINE(_ZN5boost7context6detail14ontop_fcontextEPvS2_PFNS1_10transfer_tES3_E, jump_to, 1, 0, NULL) \
    LINE(bthread_make_fcontext, make_below, 1, 2, "bthread_jump_fcontext") /* brpc */ \
    LINE(bthread_jump_fcontext, jump_found, 2, 0, NULL) \
    LINE(raw_makecontext, make_above, 1, 2, "raw_swapcontext") /* SimGrid */ \
    LINE(raw_swapcontext, jump_found, 2, 0, NULL) \
    LINE(coroutine_transfer, jump_by, 2, 0, NULL) /* Ruby */ \
    LINE(coro_create, make_above, 4, 5, "coro_transfer") /* libcoro: Perl's Coro */ \
    LINE(coro_transfer, jump_by, 2, 0, NULL) \
    LINE(qt_block, jump_found, 4, 0, NULL) /* QuickThreads: SystemC */ \
    LINE(qt_blocki, jump_found, 4, 0, NULL) \
    LINE(qt_abort, jump_found, 4, 0, NULL) \
    LINE(co_switch, jump_by, 1, 0, NULL) /* libco, of emulators */ \
    TABLE_OF_MACHINE(LINE)

/* Where the saved registers lie in the context itself, and so elsewhere on each processor. */
#if defined(__x86_64__)
#define TABLE_OF_MACHINE(LINE) \
    LINE(acosw, jump_by, 2, 40, NULL) /* libaco */ \
    LINE(coctx_swap, jump_by, 2, 104, NULL) /* libco, of WeChat */ \
    LINE(marl_fiber_swap, jump_by, 2, 64, NULL) /* Marl */
#else
#define TABLE_OF_MACHINE(LINE)
#endif

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

static void make_above(const line *self, const uintptr_t *arguments, uintptr_t sp)
{
    uintptr_t base = argument_of(self, arguments), size = (uint32_t)arguments[self->detail - 1];
    uintptr_t word;
    (void)sp;
    if (sw_has_python() && size <= INT32_MAX && sw_read_words(base + size - sizeof word, &word, 1) == 1) {
        sw_hooks()->made(base, base + size);
    }
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

static void jump_found(const line *self, const uintptr_t *arguments, uintptr_t sp)
{
    uintptr_t to = argument_of(self, arguments);
    if (sw_has_python() && sw_is_suspended_at(to)) {
        sw_hooks()->jump(sp, to);
    }
}

static void jump_by(const line *self, const uintptr_t *arguments, uintptr_t sp)
{
    uintptr_t to;
    uintptr_t word = argument_of(self, arguments) + (uintptr_t)self->detail;
    if (sw_has_python() && sw_read_words(word, &to, 1) == 1 && sw_is_suspended_at(to)) {
        sw_hooks()->jump(sp, to);
    }
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
