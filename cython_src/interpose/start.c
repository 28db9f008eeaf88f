/* start.c: what the library exports: attach, on and off; and on at once where the library was preloaded.
 *
 * Promises: each may be called from any thread, any number of times, and is one step for the others, and for a load that
 * is patched. After off a stand-in that is still running, or that is called by an address from an earlier dlsym(), does no
 * more than the function for which it stands in.
 *
 * The layers of the library. Includes and calls go down only:
 *
 *      start.c                                  on and off
 *      entries.c    jumps.c       loading.c     stand-ins for the ways into Python, for switches, for dlopen and dlsym
 *                                               (stand_ins.h)
 *                   contexts.c                  contexts of makecontext()
 *                   evidence.c                  memory that may be the top of a stack
 *      active_hooks.c                           the hooks that are called now
 *      fallback.c   nested.c    pauses.c        the hooks without a core; nested entries; pauses without the GIL
 *      patch.c                                  the slots of loaded objects
 *      objects.c                                loaded objects, their symbols, definitions of functions
 *      walk.c                                   walks over loaded objects, and forks
 *      hooks.h      machine.h                   the contract with the core; what depends on the processor
 *      other_libc.h                             what depends on the C library
 *
 * connect.h is the core's way to the library. */
#define _GNU_SOURCE
#include "active_hooks.h"
#include "fallback.h"
#include "other_libc.h"
#include "patch.h"
#include "stand_ins.h"
#include "walk.h"

#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

_Static_assert(SW_ENTRIES + SW_JUMPS + SW_LOADING <= SW_STAND_INS_AT_MOST, "patch.c has room for all stand-ins");

EXPORTED int stackwarden_interpose_attach(uint32_t version, const sw_interpose_hooks *core)
{
    if (version != SW_INTERPOSE_VERSION) {
        return -1;
    }
    sw_walking before = sw_begin_walk();
    sw_attach_hooks(core);
    sw_end_walk(&before);
    return 0;
}

EXPORTED long stackwarden_interpose_on(void)
{
    sw_walking before = sw_begin_walk();
    sw_activate_hooks();
    sw_find_python();
    long changed = sw_patch();
    sw_end_walk(&before);
    return changed;
}

EXPORTED long stackwarden_interpose_off(void)
{
    sw_walking before = sw_begin_walk();
    long changed = sw_unpatch();
    sw_deactivate_hooks();
    sw_end_walk(&before);
    return changed;
}

EXPORTED long stackwarden_interpose_unwritten(void)
{
    return sw_unwritten_slots();
}

static int is_word(const char *at, const char *word)
{
    const size_t length = strlen(word);
    return strncmp(at, word, length) == 0 && strchr(", ", at[length]) != NULL;
}

/* STACKWARDEN=off: is the last of its words about that one that says so? As _stackwarden_start/variables.py reads it. */
static int is_turned_off(const char *words)
{
    int off = 0;
    for (const char *at = words; at != NULL; at = strchr(at, ',')) {
        while (*at == ',' || *at == ' ') {
            at++;
        }
        if (is_word(at, "off") || is_word(at, "off=on")) {
            off = 1;
        }
        else if (is_word(at, "off=off")) {
            off = 0;
        }
    }
    return off;
}

__attribute__((constructor)) static void start(void)
{
    if (!sw_is_glibc() || is_turned_off(getenv("STACKWARDEN"))) {
        return;
    }
    sw_hold_forks();
    sw_patch_before_forks();
    sw_add_stand_ins(sw_entries, SW_ENTRIES);
    sw_add_stand_ins(sw_jumps, SW_JUMPS);
    sw_add_stand_ins(sw_loading, SW_LOADING);
    const char *preloaded = getenv("LD_PRELOAD");
    if (preloaded != NULL && strstr(preloaded, "libstackwarden_interpose") != NULL) {
        stackwarden_interpose_on();
    }
}
