/* crash.h: a report of which stack was overrun, before the process dies as it would without it.
 *
 * Promises: the handler writes its report, then passes the signal on to the handler that was there before (faulthandler
 * above all). Async-signal-safe: takes no lock, allocates nothing. Touches no Python. One file for each family of
 * systems: posix.c, windows.c. */
#ifndef SW_CRASH_H
#define SW_CRASH_H

#include <stdint.h>

/* One stack, as a report names it. */
typedef struct {
    uintptr_t base, top;
    const char *bounds_from;
    char name[64], system[64]; /* UTF-8, cut short; "": none */
} sw_overrun;

/* Which stack was overrun, by the address of the fault and the stack pointer (0: not known)? 1, and *overrun is filled;
 * or 0: none. Requires: async-signal-safe. */
typedef int sw_find_overrun(uintptr_t address, uintptr_t sp, sw_overrun *overrun);

/* Report SIGSEGV and SIGBUS to standard error from now on. The calling thread gets an alternate stack. Called again,
 * the handler goes before those that were installed meanwhile.
 * Guarantees: 0. Fails with: -1 and errno. */
int sw_crash_start(sw_find_overrun *find);

/* Stop. Where another handler was installed over ours it stays, and ours behind it only passes the signal on. */
void sw_crash_stop(void);

/* Are faults reported? */
int sw_crash_is_on(void);

/* An alternate stack (sigaltstack(2)) for the calling thread, if it has none and faults are reported: no handler can
 * run on a stack that is used up. Freed when the thread ends. Makes system calls. 0, or -1 and errno. */
int sw_crash_cover_thread(void);

#endif
