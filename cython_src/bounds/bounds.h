/* bounds.h: what the operating system knows of stacks and memory.
 *
 * Promises: the same functions on every platform; where the system does not answer they say so. Touches no Python. The
 * files: linux.c, macos.c, windows.c, unknown.c for native stacks; linux_maps.c, linux_stack.c (on linux_pages.c),
 * posix_memory.c, not_linux.c for ranges of memory. */
#ifndef SW_BOUNDS_H
#define SW_BOUNDS_H

#include "../data/seen.h"

#include <stddef.h>
#include <stdint.h>

/* The bounds of the calling thread's native stack.
 * Guarantees: 0, and the bounds that CPython 3.14 records when the thread attaches first.
 * Fails with: -1: the system does not say. May allocate and read /proc. */
int sw_native_bounds(uintptr_t *base, uintptr_t *top);

/* The entry of the system's map of memory that holds an address: [*low, *high).
 * Guarantees: 0. Allocates nothing, takes no lock, and uses less than 1 KiB of the stack, which may be a small one.
 * Fails with: -1: nothing is mapped there, or there is no map. Makes system calls, and may keep a file open. */
int sw_mapping_of(uintptr_t address, uintptr_t *low, uintptr_t *high);

/* After a fork, in the child: files that were kept open show the parent's memory. */
void sw_forget_files(void);

/* Is this, as far as one system call tells, still the entry of the map that holds an address? 1; or 0: no, or it can't
 * be told. */
int sw_is_entry(uintptr_t address, uintptr_t low, uintptr_t high);

/* Did the last answer take microseconds, whatever the number of entries? 1 or 0. */
int sw_map_is_quick(void);

/* Is this entry of the map an arena of malloc, which holds many small allocations? 1 or 0. */
int sw_is_arena(uintptr_t low, uintptr_t high);

/* Is the stack that holds an address the only one between guard pages, as far as its entry of the map and the pages
 * show? All memory in use is one piece from the top down past the address, the lowest page is not in use, and a guard
 * of whatever kind lies beneath. Stacks that share a guard are told apart by what lies unused between them.
 * Requires: `low` and `high` of `seen`; all of it, where it was found to be the only one before. Else the address must
 *   be at most `most_above` bytes below the top, or a guard must lie above, too.
 * Guarantees: 1, and all of `seen`; or 0, and `in_use` is 0: no, or it can't be told. Allocates nothing, takes no lock,
 *   and uses less than 1 KiB of the stack. Makes system calls, and may keep a file open. */
int sw_only_stack(sw_seen *seen, uintptr_t address, uintptr_t most_above);

/* Is no page of a range in use, and none a guard that no map shows? Requires: whole pages. 1; or 0: no, or it can't be
 * told. One system call, and one more where a file is to be opened. */
int sw_is_untouched(uintptr_t base, uintptr_t top);

/* Do the pages beneath an address show what they showed, down to a base? Of the only stack: nothing is in use beneath
 * what was. Else: no guard lies between. 1; or 0: no, or it can't be told at once. One system call. */
int sw_is_as_seen(const sw_seen *seen, uintptr_t address, uintptr_t base);

/* From a page downwards to `least`, in an entry of the map that can be read: where the first guard ends that no map
 * shows; `least`: there is none; 0: it can't be told. */
uintptr_t sw_end_of_guard(uintptr_t page, uintptr_t least);

/* Can memory be read there? 1, 0, or -1 where that can't be told. One system call. */
int sw_is_readable(uintptr_t address);

/* Are all pages of [base, top) in memory? In a readable entry of the map that means that all of them can be read: guard
 * pages that no map shows are not in memory. 1; or 0: no, or it can't be told. On Windows: will the system commit those
 * that are not, as the stack grows that the caller is on? */
int sw_is_resident(uintptr_t base, uintptr_t top);

/* Is all of [base, top) mapped, in whatever protection? 1, 0, or -1 where that can't be told. */
int sw_is_mapped(uintptr_t base, uintptr_t top);

/* Where the guard pages, of every kind, at the low end of [base, top) end.
 * Guarantees: it can be read, and the page below it cannot; or base itself, where that can be read; or top, where the
 *   last page cannot. At most two system calls for each doubling of the guard's length.
 * Fails with: 0 where that can't be told. */
uintptr_t sw_lowest_readable(uintptr_t base, uintptr_t top);

#endif
