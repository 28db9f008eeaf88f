/* unknown.c: bounds.h on an operating system that is not supported: every answer is "unknown". */
#if !defined(__linux__) && !defined(__APPLE__) && !defined(_WIN32)
#include "bounds.h"

int sw_native_bounds(uintptr_t *base, uintptr_t *top)
{
    (void)base;
    (void)top;
    return -1;
}

int sw_mapping_of(uintptr_t address, uintptr_t *low, uintptr_t *high)
{
    (void)address;
    (void)low;
    (void)high;
    return -1;
}

int sw_is_readable(uintptr_t address)
{
    (void)address;
    return -1;
}

#endif
