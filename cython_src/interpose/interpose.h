/* interpose.h: what the files of libstackwarden_interpose know of each other. None knows a Python header.
 *
 *      entries.c     stands in for the functions through which foreign code enters Python
 *      switches.c    ... for those that switch stacks
 *      loading.c     ... for those that load libraries and look up functions
 *      patch.c       has the tables of loaded objects lead to what stands in, and back
 *      alone.c       the hooks where there is no core
 *      start.c       which hooks are asked; on and off */
#ifndef SW_INTERPOSE_H
#define SW_INTERPOSE_H

#include <stddef.h>

#include "hooks.h"

/* A function that stands in for another of the same type. `real` leads to the first definition of that in the process,
 * NULL while there is none; patch.c fills it. */
typedef struct {
    const char *name;
    void *instead;
    void **real;
    const char *only_with; /* it has this type only where there is this function too; or NULL */
} sw_stand_in;

extern const sw_stand_in sw_entries[], sw_switches[], sw_loading[]; /* the last has no name */

/* All of them, one after the other: 0 to SW_STAND_INS - 1. */
#define SW_ENTRIES 8
#define SW_SWITCHES 6
#define SW_LOADING 2
#define SW_STAND_INS (SW_ENTRIES + SW_SWITCHES + SW_LOADING)
const sw_stand_in *sw_stand_in_at(int index);

/* Have tables lead to what stands in, in all that is loaded now; and back. In between, again: what was loaded since.
 * Guarantees: the number of places that were changed. Allocates nothing. */
long sw_patch(void);
long sw_unpatch(void);
void sw_patch_new(void); /* where something was loaded since, and patching is on */

/* The first definition of a function in what is loaded, or NULL. */
void *sw_find_definition(const char *name);

/* The hooks to ask now; never NULL. */
extern const sw_interpose_hooks *sw_hooks_now; /* start.c writes it */
static inline const sw_interpose_hooks *sw_hooks(void)
{
    return __atomic_load_n(&sw_hooks_now, __ATOMIC_ACQUIRE);
}

extern const sw_interpose_hooks sw_alone_hooks;
void sw_alone_find(void); /* look up what alone.c needs of Python */

#endif
