/* windows.c: bounds.h on Windows. Not run. */
#ifdef _WIN32
#include "bounds.h"

#include <windows.h>

int sw_native_bounds(uintptr_t *base, uintptr_t *top)
{
    ULONG_PTR low, high;
    ULONG guarantee = 0;
    GetCurrentThreadStackLimits(&low, &high);
    SetThreadStackGuarantee(&guarantee);
    /* The guard region moves down as the stack grows. CPython subtracts the guarantee and two pages. */
    *base = (uintptr_t)low + guarantee + 2 * 4096;
    *top = (uintptr_t)high;
    return 0;
}

/* sw_native_bounds() answers for the stack that the thread runs on, a fiber's too. Its pages are committed one by one as
 * it grows, so most of them are neither readable nor in one region with the stack pointer. */
int sw_mapping_of(uintptr_t address, uintptr_t *low, uintptr_t *high)
{
    MEMORY_BASIC_INFORMATION region;
    if (sw_native_bounds(low, high) == 0 && *low <= address && address < *high) {
        return 0;
    }
    if (!VirtualQuery((void *)address, &region, sizeof region) || region.State == MEM_FREE) {
        return -1;
    }
    const void *allocation = region.AllocationBase;
    *low = (uintptr_t)allocation;
    do {
        *high = (uintptr_t)region.BaseAddress + region.RegionSize;
    } while (VirtualQuery((void *)*high, &region, sizeof region) && region.State != MEM_FREE
             && region.AllocationBase == allocation);
    return 0;
}

int sw_is_resident(uintptr_t base, uintptr_t top)
{
    uintptr_t low, high;
    return sw_native_bounds(&low, &high) == 0 && low <= base && top <= high;
}

int sw_is_readable(uintptr_t address)
{
    MEMORY_BASIC_INFORMATION region;
    return VirtualQuery((void *)address, &region, sizeof region) && region.State == MEM_COMMIT
        && !(region.Protect & (PAGE_NOACCESS | PAGE_GUARD));
}

int sw_is_mapped(uintptr_t base, uintptr_t top)
{
    MEMORY_BASIC_INFORMATION region;
    while (base < top) {
        if (!VirtualQuery((void *)base, &region, sizeof region) || region.State == MEM_FREE) {
            return 0;
        }
        base = (uintptr_t)region.BaseAddress + region.RegionSize;
    }
    return 1;
}

uintptr_t sw_lowest_readable(uintptr_t base, uintptr_t top)
{
    MEMORY_BASIC_INFORMATION region;
    while (base < top && VirtualQuery((void *)base, &region, sizeof region)) {
        if (sw_is_readable(base)) {
            return base;
        }
        base = (uintptr_t)region.BaseAddress + region.RegionSize;
    }
    return top;
}

#endif
