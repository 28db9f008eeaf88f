/* other_libc.h: what lets musl's loader load this library, which does nothing there.
 *
 * LD_PRELOAD reaches programs of musl as well, and there a library that cannot be loaded ends the program: one that
 * needs glibc's loader by name, or a symbol that musl has not (test_a_program_of_musl_runs_as_before). Included by the
 * compiler in every file of the library. */
#ifndef SW_INTERPOSE_OTHER_LIBC_H
#define SW_INTERPOSE_OTHER_LIBC_H

#include <stddef.h>

/* It is defined in glibc's loader, which the linker makes a needed library for a reference that is not weak
 * (ld --as-needed); in every process of glibc it is there anyway. */
#if defined(__x86_64__)
__asm__(".weak __tls_get_addr");
#endif

/* musl has no contexts. */
__asm__(".weak getcontext\n.weak makecontext");

/* What glibc's pthread_atfork(), which is linked statically, calls; musl has not got it. */
extern int sw_register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                              void *object) __asm__("__register_atfork") __attribute__((weak));
extern void *sw_this_object __asm__("__dso_handle") __attribute__((visibility("hidden")));

static inline int sw_is_glibc(void)
{
    return sw_register_atfork != NULL;
}

static inline void sw_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
    sw_register_atfork(prepare, parent, child, sw_this_object);
}

#endif
