/* machine.h: what the compiled modules of the tests switch with: memory for stacks, and three ways to jump.
 *
 * Promises: knows neither Python nor stackwarden; C11 and C++17, with _GNU_SOURCE.
 *
 *      map_stack(size) -> base     NULL if there is none; an overrun is a SIGSEGV
 *      unmap_stack(base, size)
 *      point_make(point, base, size, entry, argument, link)
 *                                  where entry(argument) starts on a stack; when it returns, the thread goes on at link
 *      point_jump(from, to)        suspend here, go on there
 *      run_on_stack(base, size, function, argument)    a call on another stack, that comes back when it is done
 *
 * MACHINE_FCONTEXT jumps as Boost.Context does; MACHINE_STATIC by code that is compiled in, so that no dynamic symbol
 * tells of it (x86-64); else ucontext does it. A point stays where it was made. */
#ifndef TESTS_MACHINE_H
#define TESTS_MACHINE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>

/* ---- memory, from low to high: [guard][base ... base + size) ---- */

#define STACK_GUARD ((size_t)64 << 10) /* bytes: more than any C frame skips at once */

static inline char *map_stack(size_t size)
{
    void *guard =
        mmap(NULL, STACK_GUARD + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (guard == MAP_FAILED || mprotect(guard, STACK_GUARD, PROT_NONE) != 0) {
        return NULL;
    }
    return (char *)guard + STACK_GUARD;
}

static inline void unmap_stack(void *base, size_t size)
{
    munmap((char *)base - STACK_GUARD, STACK_GUARD + size);
}

/* ---- points: where something goes on ---- */

typedef struct point point;
static inline void point_jump(point *from, point *to);

struct point {
#if defined(MACHINE_FCONTEXT) || defined(MACHINE_STATIC)
    void *place; /* lowest address of what was saved */
    point *link;
#else
    ucontext_t context;
#endif
    void (*entry)(void *argument);
    void *argument;
};

#if defined(MACHINE_FCONTEXT)

typedef struct {
    void *from, *data;
} transfer;

extern transfer jump_fcontext(void *to, void *data);
extern void *make_fcontext(void *top, size_t size, void (*entry)(transfer));
extern transfer ontop_fcontext(void *to, void *data, transfer (*function)(transfer));

/* What the side that jumps hands to the other, while its frame is there. */
typedef struct {
    point *from, *to;
} crossing;

static inline point *point_finish(transfer from)
{
    crossing *made = (crossing *)from.data;
    made->from->place = from.from;
    return made->to;
}

static inline void point_start(transfer from)
{
    point *self = point_finish(from);
    self->entry(self->argument);
    point_jump(self, self->link);
}

static inline void point_place(point *self, char *base, size_t size)
{
    self->place = make_fcontext(base + size, size, point_start);
}

static inline void point_jump(point *from, point *to)
{
    crossing made = {from, to};
    point_finish(jump_fcontext(to->place, &made));
}

static inline transfer point_finish_ontop(transfer from)
{
    point_finish(from);
    return from;
}

/* The same by a function that runs on the other stack first. */
static inline void point_jump_ontop(point *from, point *to)
{
    crossing made = {from, to};
    point_finish(ontop_fcontext(to->place, &made, point_finish_ontop));
}

#elif defined(MACHINE_STATIC)

/* Leaves its arguments in their registers, where point_start finds them. MACHINE_SYMBOL: it has that name, and can be
 * seen; MACHINE_PLACE: `to` leads to the word with the stack pointer, so many bytes further on; MACHINE_FOURTH: the stack
 * pointer is the fourth argument. */
#if defined(MACHINE_PLACE)
#define MACHINE_TARGET_(place) #place "(%rsi)"
#define MACHINE_TARGET(place) MACHINE_TARGET_(place)
#define MACHINE_LOAD "movq " MACHINE_TARGET(MACHINE_PLACE) ", %rsp\n"
#define MACHINE_GO(from, point) machine_jump(from, (void *)((uintptr_t)&(point)->place - MACHINE_PLACE), point, NULL)
#elif defined(MACHINE_FOURTH)
#define MACHINE_LOAD "movq %rcx, %rsp\n"
#define MACHINE_GO(from, point) machine_jump(from, NULL, point, (point)->place)
#else
#define MACHINE_LOAD "movq %rsi, %rsp\n"
#define MACHINE_GO(from, point) machine_jump(from, (point)->place, point, NULL)
#endif

#if defined(MACHINE_SYMBOL)
#define MACHINE_NAME_(symbol) #symbol
#define MACHINE_NAME(symbol) MACHINE_NAME_(symbol)
#define MACHINE_TEXT MACHINE_NAME(MACHINE_SYMBOL)
#define MACHINE_SEEN ".globl " MACHINE_TEXT "\n"
#define machine_jump MACHINE_SYMBOL
#else
#define MACHINE_TEXT "machine_jump"
#define MACHINE_SEEN ""
#endif

void machine_jump(void **from, void *to, point *started, void *fourth);
__asm__(".text\n" MACHINE_SEEN ".type " MACHINE_TEXT ", @function\n" MACHINE_TEXT ":\n"
        "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "movq %rsp, (%rdi)\n " MACHINE_LOAD
        "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n"
        ".size " MACHINE_TEXT ", .-" MACHINE_TEXT "\n");

static inline void point_start(void **from, void *to, point *self)
{
    (void)from;
    (void)to;
    self->entry(self->argument);
    point_jump(self, self->link);
}

/* From high to low: no caller, point_start, six registers. */
static inline void point_place(point *self, char *base, size_t size)
{
    void **top = (void **)((uintptr_t)(base + size) & ~(uintptr_t)15);
    *--top = NULL;
    *--top = (void *)(uintptr_t)point_start;
    for (int i = 0; i < 6; i++) {
        *--top = NULL;
    }
    self->place = top;
}

static inline void point_jump(point *from, point *to)
{
    MACHINE_GO(&from->place, to);
}

#else

/* makecontext passes numbers of 32 bits alone. */
static inline void point_start(unsigned high, unsigned low)
{
    point *self = (point *)(((uintptr_t)high << 16 << 16) | low);
    self->entry(self->argument);
}

static inline void point_jump(point *from, point *to)
{
    swapcontext(&from->context, &to->context);
}

#endif

static inline void point_make(point *self, char *base, size_t size, void (*entry)(void *), void *argument, point *link)
{
    self->entry = entry;
    self->argument = argument;
#if defined(MACHINE_FCONTEXT) || defined(MACHINE_STATIC)
    self->link = link;
    point_place(self, base, size);
#else
    uintptr_t word = (uintptr_t)self;
    getcontext(&self->context);
    self->context.uc_stack.ss_sp = base;
    self->context.uc_stack.ss_size = size;
    self->context.uc_link = link ? &link->context : NULL;
    makecontext(&self->context, (void (*)(void))point_start, 2, (unsigned)(word >> 16 >> 16), (unsigned)word);
#endif
}

static inline void run_on_stack(void *base, size_t size, void (*function)(void *), void *argument)
{
    point here, there;
    point_make(&there, (char *)base, size, function, argument, &here);
    point_jump(&here, &there);
}

#endif
