/* machine.h: the ways to jump that foreign.c is compiled with, one of FOREIGN_UCONTEXT, FOREIGN_FCONTEXT, FOREIGN_STATIC.
 *
 *      POINT_ENTRY(function)                  defines function_starts, an entry for point_make
 *      point_make(point, base, size, entry, link)   where a function starts on a stack; only a ucontext goes on at `link`
 *                                             when it returns, others must not
 *      point_jump(from, to)                   suspend here, go on there */
#ifndef FOREIGN_MACHINE_H
#define FOREIGN_MACHINE_H

#include <stddef.h>
#include <stdint.h>

#if defined(FOREIGN_UCONTEXT)
#include <ucontext.h>

#if defined(FOREIGN_POINTERS)
/* Initialised pointers: in the data of the module, not in its tables. */
static int (*swap_pointer)(ucontext_t *, const ucontext_t *) = swapcontext;
static void (*make_pointer)(ucontext_t *, void (*)(void), int, ...) = makecontext;
#define swapcontext (*(volatile __typeof__(swap_pointer) *)&swap_pointer)
#define makecontext (*(volatile __typeof__(make_pointer) *)&make_pointer)
#endif

typedef ucontext_t point;

static void point_make(point *self, char *base, size_t size, void (*entry)(void), point *link)
{
    getcontext(self);
    self->uc_stack.ss_sp = base;
    self->uc_stack.ss_size = size;
    self->uc_link = link; /* where it goes on when entry() returns */
    makecontext(self, entry, 0);
}

static void point_jump(point *from, point *to)
{
    swapcontext(from, to);
}

#elif defined(FOREIGN_FCONTEXT)
typedef void *point;

typedef struct {
    void *from, *data;
} transfer;

extern transfer jump_fcontext(void *to, void *data);
extern void *make_fcontext(void *top, size_t size, void (*entry)(transfer));
extern transfer ontop_fcontext(void *to, void *data, transfer (*function)(transfer));

static void note_from(transfer from)
{
    *(point *)from.data = from.from;
}

#define POINT_ENTRY(function)                                                                                          \
    static void function##_starts(transfer from)                                                                       \
    {                                                                                                                  \
        note_from(from);                                                                                               \
        function();                                                                                                    \
    }

static void point_make(point *self, char *base, size_t size, void (*entry)(transfer), point *link)
{
    (void)link;
    *self = make_fcontext(base + size, size, entry);
}

static void point_jump(point *from, point *to)
{
    note_from(jump_fcontext(*to, from));
}

static transfer run_ontop(transfer from)
{
    note_from(from);
    return from;
}

static void point_jump_ontop(point *from, point *to)
{
    note_from(ontop_fcontext(*to, from, run_ontop));
}

#else /* jump code that is compiled in: no dynamic symbol */
typedef void *point;

void foreign_jump(void **from, void *to);
__asm__(".text\n.type foreign_jump, @function\nforeign_jump:\n"
        "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
        "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n"
        ".size foreign_jump, .-foreign_jump\n");

static void point_make(point *self, char *base, size_t size, void (*entry)(void), point *link)
{
    void **top = (void **)((uintptr_t)(base + size) & ~(uintptr_t)15);
    (void)link;
    *--top = NULL;
    *--top = (void *)(uintptr_t)entry;
    for (int i = 0; i < 6; i++) {
        *--top = NULL;
    }
    *self = top;
}

static void point_jump(point *from, point *to)
{
    foreign_jump(from, *to);
}
#endif

#if !defined(FOREIGN_FCONTEXT)
#define POINT_ENTRY(function)                                                                                          \
    static void function##_starts(void)                                                                                \
    {                                                                                                                  \
        function();                                                                                                    \
    }
#endif

#endif
