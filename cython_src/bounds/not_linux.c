/* not_linux.c: the functions of bounds.h that only Linux needs, for the other systems. */
#ifndef __linux__
#include "bounds.h"

void sw_forget_files(void) {}

int sw_is_entry(uintptr_t address, uintptr_t low, uintptr_t high)
{
    (void)address;
    (void)low;
    (void)high;
    return 0;
}

int sw_map_is_quick(void)
{
    return 1;
}

int sw_is_arena(uintptr_t low, uintptr_t high)
{
    (void)low;
    (void)high;
    return 0;
}

int sw_only_stack(sw_seen *seen, uintptr_t address, uintptr_t most_above)
{
    (void)address;
    (void)most_above;
    seen->in_use = 0;
    return 0;
}

int sw_is_untouched(uintptr_t base, uintptr_t top)
{
    (void)base;
    (void)top;
    return 0;
}

int sw_is_as_seen(const sw_seen *seen, uintptr_t address, uintptr_t base)
{
    (void)seen;
    (void)address;
    (void)base;
    return 0;
}

uintptr_t sw_end_of_guard(uintptr_t page, uintptr_t least)
{
    (void)page;
    (void)least;
    return 0;
}

#ifndef _WIN32
int sw_is_resident(uintptr_t base, uintptr_t top)
{
    (void)base;
    (void)top;
    return 0;
}
#endif

#endif
