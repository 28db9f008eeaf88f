/* stack.h: memory for a coroutine's stack, and which coroutine runs on this thread.
 *
 *     [guard page][base ... base + size)
 *
 * Knows nothing of Python, of stackwarden, or of the machine context. */
#ifndef STACKWARDEN_COROUTINE_STACK_H
#define STACKWARDEN_COROUTINE_STACK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_STACK
#define MAP_STACK 0
#endif
#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

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

/* In static TLS, where glibc has a surplus for libraries that are loaded late: reading it is a load, not a call. */
#if defined(__GLIBC__)
static __thread void *running_coroutine __attribute__((tls_model("initial-exec")));
#else
static __thread void *running_coroutine;
#endif

/* Not inlined: a coroutine may be resumed on another thread, and compilers cache the address of a variable. */
static __attribute__((noinline)) void *current_coroutine(void)
{
    return running_coroutine;
}

static __attribute__((noinline)) void set_current_coroutine(void *coroutine)
{
    running_coroutine = coroutine;
}

#endif
