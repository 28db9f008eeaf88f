/* patch.h: calls from loaded objects to functions of the process lead to stand-ins of this library, and back again.
 *
 * Promises: allocates nothing. Every function here but sw_add_stand_ins() may be called from any thread. */
#ifndef SW_PATCH_H
#define SW_PATCH_H

/* A function of this library that stands in for one of the process with the same type. */
typedef struct {
    const char *name; /* of the function in the process */
    void *instead; /* the stand-in */
    void **real; /* where the stand-in finds the first definition in the process; NULL there while there is none */
    const char *only_with; /* the type is known only where this function is defined too; or NULL */
} sw_stand_in;

/* Make stand-ins known. Called when the library is loaded, before all other functions here, with at most
 * SW_STAND_INS_AT_MOST in all. The table stays the caller's and has to last. */
#define SW_STAND_INS_AT_MOST 64
void sw_add_stand_ins(const sw_stand_in *table, int count);

/* The stand-in for a function, or NULL. */
const sw_stand_in *sw_find_stand_in(const char *name);

/* Have the slots of all objects that are loaded now lead to the stand-ins, or back to the definitions.
 * Guarantees: the number of slots that were changed. */
long sw_patch(void);
long sw_unpatch(void);

/* How many slots the last sw_patch() could not change, because nothing may be written there; -1 after sw_unpatch(), and
 * before the first sw_patch(). */
long sw_unwritten_slots(void);

/* Has an object been loaded since sw_patch()? 0 also after sw_unpatch(). Who patches because of it does both within one
 * walk (walk.h), so that nobody turns back in between. */
int sw_has_unpatched(void);

#endif
