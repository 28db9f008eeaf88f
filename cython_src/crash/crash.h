/* crash.h: when a stack is overrun, say which, and let the process die as it would.
 *
 * Promises: the handler only adds to the report of whoever was there before (faulthandler above all), which is called
 * next, with the same signal. It is async-signal-safe: it takes no lock and allocates nothing. Nothing here touches
 * Python. One file for each family of systems: posix.c, windows.c. */
#ifndef SW_CRASH_H
#define SW_CRASH_H

#include <stdint.h>

/* One stack, as a report names it. */
typedef struct {
    uintptr_t base, top;
    const char *bounds_from;
    char name[64], system[64]; /* UTF-8, cut short; "": none */
} sw_overrun;

/* Which stack was overrun, given the address of the fault and the stack pointer? 1, and fills *overrun; or 0.
 * Requires: async-signal-safe. */
typedef int sw_find_overrun(uintptr_t address, uintptr_t sp, sw_overrun *overrun);

/* From now on SIGSEGV and SIGBUS are reported, to standard error. The calling thread gets an alternate stack.
 * Again: goes before handlers that were installed meanwhile.
 * Fails with: -1 and errno. */
int sw_crash_start(sw_find_overrun *find);

/* No more. Handlers that were installed on top of ours stay, and ours behind them only passes the signal on. */
void sw_crash_stop(void);

/* Are faults reported? */
int sw_crash_is_on(void);

/* A stack for signal handlers for the calling thread, if it has none and faults are reported: a handler cannot run on
 * a stack that is used up. Given back when the thread ends. Makes system calls. 0, or -1 and errno. */
int sw_crash_cover_thread(void);

#endif
