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

/* A page above `guard` that can be read, in steps that double; 0: there is none. */
static uintptr_t above_guard(uintptr_t guard, uintptr_t last, uintptr_t step)
{
    uintptr_t place = guard;
    while (place < last) {
        place = last - place > step ? place + step : last;
        step *= 2;
        if (sw_is_readable(place)) {
            return place;
        }
    }
    return 0;
}

/* Steps that double and then halve, so that a guard of 64 GiB costs 50 system calls. */
uintptr_t sw_lowest_readable(uintptr_t base, uintptr_t top)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t last = (top - 1) & ~(page - 1);
    uintptr_t guard = base & ~(page - 1);
    int readable = sw_is_readable(base);
    if (readable != 0) {
        return readable < 0 ? 0 : base;
    }
    uintptr_t found = above_guard(guard, last, page);
    if (found == 0) {
        return top;
    }
    while (found - guard > page) {
        uintptr_t middle = (guard + (found - guard) / 2) & ~(page - 1);
        *(sw_is_readable(middle) ? &found : &guard) = middle;
    }
    return found;
}

#endif
