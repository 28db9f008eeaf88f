/* posix_memory.c: the part of bounds.h that looks at memory, on all POSIX systems. */
#ifndef _WIN32
#include "bounds.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

int sw_is_mapped(uintptr_t base, uintptr_t top)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = base & ~(page - 1);
    /* msync(2) looks at mappings, not at pages: the cheapest way to ask, whatever the size. */
    return msync((void *)first, top - first, MS_ASYNC) == 0 ? 1 : errno == ENOMEM ? 0 : -1;
}

uintptr_t sw_lowest_readable(uintptr_t base, uintptr_t top)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (sw_is_readable(base) < 0) {
        return 0;
    }
    while (base < top && !sw_is_readable(base)) {
        base = (base & ~(page - 1)) + page;
    }
    return base < top ? base : top;
}

#endif
