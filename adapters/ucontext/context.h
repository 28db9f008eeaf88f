/* context.h: one coroutine's machine context, made with makecontext and swapcontext.
 *
 * Promises: context_resume() runs `run(argument)` on the coroutine's stack until it calls context_suspend() or
 * returns; a debugger's and backtrace()'s walk ends at the coroutine's entry (glibc's __start_context says so);
 * the sanitizers are told of every switch. No C++ exception may leave `run`: there is nothing to unwind to, and
 * std::terminate is called. Knows nothing of Python, and nothing of
 * stackwarden.
 *
 * The calls of one coroutine need no lock when one thread at a time makes them. */
#ifndef STACKWARDEN_UCONTEXT_CONTEXT_H
#define STACKWARDEN_UCONTEXT_CONTEXT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef MAP_STACK
#define MAP_STACK 0
#endif
#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

/* ---- memory: [guard page][base ... base + size) ---- */

static inline size_t memory_page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* The base of a new stack of `size` bytes (a multiple of the page size) above a guard page, or NULL. */
static inline char *memory_map(size_t size)
{
    size_t page = memory_page();
    char *guard = (char *)mmap(NULL, size + page, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (guard == MAP_FAILED) {
        return NULL;
    }
    if (mprotect(guard, page, PROT_NONE) != 0) {
        munmap(guard, size + page);
        return NULL;
    }
    return guard + page;
}

static inline void memory_unmap(char *base, size_t size)
{
    munmap(base - memory_page(), size + memory_page());
}

/* ---- sanitizers: weak, so that they are told where they are and cost a test where they are not ---- */

extern void __sanitizer_start_switch_fiber(void **fake_stack, const void *base, size_t size) __attribute__((weak));
extern void __sanitizer_finish_switch_fiber(void *fake_stack, const void **base, size_t *size)
    __attribute__((weak));
extern void *__tsan_get_current_fiber(void) __attribute__((weak));
extern void *__tsan_create_fiber(unsigned flags) __attribute__((weak));
extern void __tsan_destroy_fiber(void *fiber) __attribute__((weak));
extern void __tsan_switch_to_fiber(void *fiber, unsigned flags) __attribute__((weak));

/* One side of a switch: a stack, and what a sanitizer keeps for it. */
typedef struct {
    ucontext_t machine;
    const void *base;
    size_t size;
    void *fake_stack;
    void *fiber;
} context_side;

typedef struct {
    context_side coroutine;
    context_side resumer;
    void (*run)(void *argument);
    void *argument;
    int done;
} context;

static inline void side_switch(context_side *from, context_side *to, int from_ends)
{
    if (__tsan_switch_to_fiber) {
        from->fiber = __tsan_get_current_fiber();
        __tsan_switch_to_fiber(to->fiber, 0);
    }
    if (__sanitizer_start_switch_fiber) {
        __sanitizer_start_switch_fiber(from_ends ? NULL : &from->fake_stack, to->base, to->size);
    }
    swapcontext(&from->machine, &to->machine);
    if (__sanitizer_finish_switch_fiber) {
        __sanitizer_finish_switch_fiber(from->fake_stack, &to->base, &to->size);
    }
}

static void context_entry(unsigned high, unsigned low)
{
    context *self = (context *)(((uintptr_t)high << 16 << 16) | low);
    if (__sanitizer_finish_switch_fiber) {
        __sanitizer_finish_switch_fiber(NULL, &self->resumer.base, &self->resumer.size);
    }
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
    self->coroutine.base = base;
    self->coroutine.size = size;
    self->coroutine.fiber = __tsan_create_fiber ? __tsan_create_fiber(0) : NULL;
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
    if (__tsan_destroy_fiber && self->coroutine.fiber) {
        __tsan_destroy_fiber(self->coroutine.fiber);
    }
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

/* ---- which coroutine runs on this thread ---- */

static __thread void *running_coroutine;

/* Not inlined: a switch may come back on another thread, and compilers keep the address of a variable. */
static __attribute__((noinline)) void *current_coroutine(void)
{
    return running_coroutine;
}

static __attribute__((noinline)) void set_current_coroutine(void *coroutine)
{
    running_coroutine = coroutine;
}

#endif
