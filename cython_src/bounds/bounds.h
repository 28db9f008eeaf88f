/* bounds.h: where does a stack end?
 *
 * Promises: one answer for the thread's own stack on every platform, 0 or "unknown"; and what can be told of a
 * range of memory. One file for each platform. Nothing here touches Python. */
#ifndef SW_BOUNDS_H
#define SW_BOUNDS_H

#include <stddef.h>
#include <stdint.h>

/* The calling thread's native stack: lowest usable byte and one past the highest.
 * Guarantees: 0, the same bounds that CPython 3.14 records when the thread attaches.
 * Fails with: -1 where the operating system does not say. May allocate and read /proc. */
int sw_native_bounds(uintptr_t *base, uintptr_t *top);

/* The entry of the operating system's map of memory that holds an address: [*low, *high).
 * Guarantees: 0. Allocates nothing, takes no lock, and uses less than 1 KiB of the stack, which may be a small one.
 * Fails with: -1: nothing is mapped there, or there is no such map. Makes system calls, and may keep a descriptor. */
int sw_mapping_of(uintptr_t address, uintptr_t *low, uintptr_t *high);

/* After a fork, in the child: what is kept open is the parent's map. */
void sw_forget_map(void);

/* Did the last answer take microseconds, whatever the number of entries? 1 or 0. */
int sw_map_is_quick(void);

/* Does malloc keep many things in this entry of the map? 1 or 0. */
int sw_is_arena(uintptr_t low, uintptr_t high);

/* Can memory be read there? 1, 0, or -1 where that can't be told. One system call. */
int sw_is_readable(uintptr_t address);

/* Are all pages of [base, top) in memory? Where the range lies in an entry of the map from which memory can be read that
 * means that all of it can: guard pages that no map shows are not in memory. 1; 0: no, or that can't be told. */
int sw_is_resident(uintptr_t base, uintptr_t top);

/* Is all of [base, top) mapped, in whatever protection? 1, 0, or -1 where that can't be told. */
int sw_is_mapped(uintptr_t base, uintptr_t top);

/* The lowest address of [base, top) from which memory can be read: guard pages of every kind lie below it.
 * Guarantees: a multiple of the page size or base itself; top when nothing can be read. Makes system calls.
 * Fails with: 0, where that can't be told. */
uintptr_t sw_lowest_readable(uintptr_t base, uintptr_t top);

#endif
