/* linux.c: bounds.h on Linux. The reference: the other platforms comment only what differs. */
#ifdef __linux__
#define _GNU_SOURCE
#include "bounds.h"

#include <pthread.h>

int sw_native_bounds(uintptr_t *base, uintptr_t *top)
{
    pthread_attr_t attributes;
    void *low;
    size_t size, guard;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) {
        return -1;
    }
    int failed =
        pthread_attr_getstack(&attributes, &low, &size) != 0 || pthread_attr_getguardsize(&attributes, &guard) != 0;
    pthread_attr_destroy(&attributes);
    if (failed || size <= guard) {
        return -1;
    }
    /* The guard is no part of glibc's range. CPython subtracts it all the same (python/cpython Python/ceval.c, 3.14):
     * doing that too keeps the bounds equal to its own, and costs one page. */
    *base = (uintptr_t)low + guard;
    *top = (uintptr_t)low + size;
    return 0;
}

#endif
