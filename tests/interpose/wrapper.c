/* wrapper.c: preloaded, a swapcontext() that is on the stack when a context is saved: what no stand-in may be. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <ucontext.h>

int wrapped(ucontext_t *from, const ucontext_t *to) __asm__("swapcontext");

int wrapped(ucontext_t *from, const ucontext_t *to)
{
    int (*real)(ucontext_t *, const ucontext_t *) =
        (int (*)(ucontext_t *, const ucontext_t *))(unsigned long)dlsym(RTLD_NEXT, "swapcontext");
    volatile int failed = real(from, to);
    return failed;
}
