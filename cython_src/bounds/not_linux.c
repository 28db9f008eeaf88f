/* not_linux.c: the functions of bounds.h that only Linux needs, for the other systems. */
#ifndef __linux__
#include "bounds.h"

void sw_forget_map(void) {}

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

#ifndef _WIN32
int sw_is_resident(uintptr_t base, uintptr_t top)
{
    (void)base;
    (void)top;
    return 0;
}
#endif

#endif
