/* macos.c: bounds.h on macOS. Not run. */
#ifdef __APPLE__
#include "bounds.h"

#include <pthread.h>

int sw_native_bounds(uintptr_t *base, uintptr_t *top)
{
    *top = (uintptr_t)pthread_get_stackaddr_np(pthread_self());
    *base = *top - pthread_get_stacksize_np(pthread_self());
    return 0;
}

#endif
