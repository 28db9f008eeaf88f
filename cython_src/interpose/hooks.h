/* hooks.h: what libstackwarden_interpose asks of whoever knows Python's bounds, and what it offers itself.
 *
 * Promises: no type of Python's. The library sees foreign code enter Python and switch stacks; it calls the hooks
 * and knows nothing else. The core fills them once it is imported (core_hooks.pxd); before that, and where there
 * is no core, alone.c does what can be done without one; while interposition is off nothing is done. */
#ifndef SW_INTERPOSE_HOOKS_H
#define SW_INTERPOSE_HOOKS_H

#include <stdint.h>

#define SW_INTERPOSE_VERSION 2u /* of all that this file says: core and library must agree */

typedef enum {
    SW_RIGHT, /* the bounds were right */
    SW_MENDED, /* they were not, in a thread state that had been on no other stack */
    SW_CHANGED,
} sw_entry;

/* Every hook may be called from any thread, attached or not, before Python starts and after it ends; none leaves
 * an exception pending. Addresses are of bytes; a stack is [base, top). */
typedef struct {
    /* The calling thread came into Python: make the bounds those of the stack under it. `comes_back`: it left Python
     * before, and goes on there; what was found out of an unknown stack when it entered still stands.
     * Guarantees: SW_CHANGED when they were another stack's, which `former` then names for go_back(). */
    sw_entry (*entered)(uint64_t *former, int comes_back);
    void (*go_back)(uint64_t former); /* what that stack's entry into Python has ended: its bounds again */
    uint64_t (*current)(void); /* names the stack whose bounds are in force, as `former` does */
    int (*is_attached)(void);
    void (*ending)(void); /* the thread's outermost entry ends, and its thread state may be deleted */

    void (*made)(uintptr_t base, uintptr_t top); /* this range is a stack now; nothing runs on it yet */
    void (*leaving)(uintptr_t to); /* the thread is about to go on on the stack that holds the address `to` */
    void (*arrived)(void); /* it goes on on the stack under the caller */
} sw_interpose_hooks;

/* What the library exports.
 * attach: from now on these hooks are asked, as long as the process lives. 0, or -1: another version.
 * on: let calls of the functions in the tables (entries.c, switches.c) go through the library, in all that is loaded
 *     and will be. The number of places that were changed.
 * off: put back what was there. The number of places. */
typedef int (*sw_interpose_attach)(uint32_t version, const sw_interpose_hooks *hooks);
typedef long (*sw_interpose_turn)(void);

#define SW_INTERPOSE_ATTACH "stackwarden_interpose_attach"
#define SW_INTERPOSE_ON "stackwarden_interpose_on"
#define SW_INTERPOSE_OFF "stackwarden_interpose_off"

#endif
