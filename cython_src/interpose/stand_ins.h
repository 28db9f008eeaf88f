/* stand_ins.h: the tables of stand-ins, one for each kind of function.
 *
 * Promises: a stand-in calls the function that it stands in for, or goes on to it, with the caller's arguments, and its
 * value is the caller's. */
#ifndef SW_STAND_INS_H
#define SW_STAND_INS_H

#include "patch.h"

#define SW_ENTRIES 10
#if defined(__x86_64__)
#define SW_JUMPS 23
#else
#define SW_JUMPS 20
#endif
#define SW_LOADING 2

extern const sw_stand_in sw_entries[SW_ENTRIES]; /* entries.c */
extern const sw_stand_in sw_jumps[SW_JUMPS]; /* jumps.c */
extern const sw_stand_in sw_loading[SW_LOADING]; /* loading.c */

/* What was loaded is patched before a fork, not in its child. Called once, after sw_hold_forks(). */
void sw_patch_before_forks(void);

#endif
