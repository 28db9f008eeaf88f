/* hooks.h: the contract between libstackwarden_interpose and the core.
 *
 * The library sees foreign code enter Python and switch stacks, and calls hooks; it knows no type of Python's, no stack
 * record and no execution state. The core attaches its hooks (interpose/core_hooks.pxd) when it is imported. */
#ifndef SW_INTERPOSE_HOOKS_H
#define SW_INTERPOSE_HOOKS_H

#include <stdint.h>

#define SW_INTERPOSE_VERSION 6u /* of all that this file says: core and library must agree */

typedef enum {
    SW_RIGHT, /* the bounds were right */
    SW_MENDED, /* they were wrong, in a thread state that had been on no other stack */
    SW_CHANGED, /* they were another stack's */
} sw_entry;

/* Every hook may be called from any thread, attached or not, before the start of Python and after its end; none leaves
 * an exception pending. Addresses are of bytes; a stack is [base, top). */
typedef struct {
    /* The thread has just entered Python: apply the bounds of the stack under it. `reattached`: an earlier entry goes
     * on after a pause without the GIL, and what was found out then about an unknown stack still holds.
     * Guarantees: after SW_CHANGED `former` is an address on the stack whose bounds those were. */
    sw_entry (*entered)(uintptr_t *former, int reattached);
    /* A nested entry has ended, or a pause: apply the bounds of the stack that holds this address, if it is known still,
     * else those of the native stack. */
    void (*go_back)(uintptr_t address);
    void (*current)(uintptr_t *base, uintptr_t *top); /* of the stack whose bounds are applied; equal: of none */
    int (*is_attached)(void);
    /* The thread is about to be detached. Has it come to a stack that nobody told of, without entering Python there?
     * Guarantees: then `effective` is an address on the stack whose bounds are applied. */
    int (*is_unmended)(uintptr_t *effective);
    uint32_t (*frames)(void); /* tells the Python frames of the attached thread state from others; 0: it has none */
    /* A pause has ended with other frames than it began with: those of another stack. `caller`: the code that paused. */
    void (*interleaved)(const void *caller);
    void (*outermost_exit)(void); /* the thread's outermost entry is about to end, maybe with its thread state */

    void (*made)(uintptr_t base, uintptr_t top); /* a new stack; nothing runs on it yet */
    /* The thread is about to switch: to where the stack pointer is `to`. It comes back, if ever, with the stack pointer
     * at `from` or a few words below. Nobody calls when it has arrived: what is to be done is done now. */
    void (*jump)(uintptr_t from, uintptr_t to);
} sw_interpose_hooks;

/* What the library exports.
 * attach: these hooks are called from now on, as long as the process lives. 0, or -1: another version.
 * on: calls of the functions in the tables (stand_ins.h) go through the library, in all objects that are loaded now or
 *     later. The number of slots that were changed.
 * off: the reverse of on. The number of slots.
 * unwritten: how many slots could not be changed, and are as they were; -1 while interposition is off. */
typedef int (*sw_interpose_attach)(uint32_t version, const sw_interpose_hooks *hooks);
typedef long (*sw_interpose_turn)(void);

#define SW_INTERPOSE_ATTACH "stackwarden_interpose_attach"
#define SW_INTERPOSE_ON "stackwarden_interpose_on"
#define SW_INTERPOSE_OFF "stackwarden_interpose_off"
#define SW_INTERPOSE_UNWRITTEN "stackwarden_interpose_unwritten"

#endif
