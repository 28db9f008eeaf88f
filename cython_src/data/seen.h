/* seen.h: what the operating system's map of memory, and its pages, showed where a stack lies. */
#ifndef SW_SEEN_H
#define SW_SEEN_H

#include <stdint.h>

typedef struct {
    uintptr_t low, high; /* the entry of the map */
    uintptr_t base, top; /* of the only stack between guards ... */
    uintptr_t in_use; /* ... all of which is in use from here up; 0: it is not known to be the only one */
} sw_seen;

#endif
