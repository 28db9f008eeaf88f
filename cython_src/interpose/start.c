/* start.c: which hooks are asked; on and off; and at once where the library was preloaded.
 *
 * Promises: on and off may be called from any thread, often. Off, calls that are under way in the library, and
 * pointers that were looked up while it was on, go on to do what the functions do that they stand in for. */
#define _GNU_SOURCE
#include "interpose.h"

#include <stdlib.h>
#include <string.h>

static sw_entry no_entered(uint64_t *former, int comes_back)
{
    (void)former;
    (void)comes_back;
    return SW_RIGHT;
}

static void no_go_back(uint64_t former)
{
    (void)former;
}

static uint64_t no_current(void)
{
    return 0;
}

static int no_is_attached(void)
{
    return 0;
}

static void no_ending(void) {}

static void no_made(uintptr_t base, uintptr_t top)
{
    (void)base;
    (void)top;
}

static void no_leaving(uintptr_t to)
{
    (void)to;
}

static void no_arrived(void) {}

static const sw_interpose_hooks no_hooks = {
    no_entered, no_go_back, no_current, no_is_attached, no_ending, no_made, no_leaving, no_arrived,
};

static const sw_interpose_hooks *attached_hooks = &sw_alone_hooks;
const sw_interpose_hooks *sw_hooks_now = &no_hooks;

static void ask(const sw_interpose_hooks *hooks)
{
    __atomic_store_n(&sw_hooks_now, hooks, __ATOMIC_RELEASE);
}

const sw_stand_in *sw_stand_in_at(int index)
{
    return index < SW_ENTRIES               ? &sw_entries[index]
         : index < SW_ENTRIES + SW_SWITCHES ? &sw_switches[index - SW_ENTRIES]
                                            : &sw_loading[index - SW_ENTRIES - SW_SWITCHES];
}

__attribute__((visibility("default"))) int stackwarden_interpose_attach(uint32_t version, const sw_interpose_hooks *core)
{
    if (version != SW_INTERPOSE_VERSION) {
        return -1;
    }
    attached_hooks = core;
    if (sw_hooks() != &no_hooks) {
        ask(core);
    }
    return 0;
}

__attribute__((visibility("default"))) long stackwarden_interpose_on(void)
{
    ask(attached_hooks);
    return sw_patch();
}

__attribute__((visibility("default"))) long stackwarden_interpose_off(void)
{
    long changed = sw_unpatch();
    ask(&no_hooks);
    return changed;
}

__attribute__((constructor)) static void start(void)
{
    const char *preloaded = getenv("LD_PRELOAD");
    if (preloaded != NULL && strstr(preloaded, "libstackwarden_interpose") != NULL) {
        stackwarden_interpose_on();
    }
}
