/* active_hooks.c: the hooks that do nothing, and the choice of those that are called. */
#include "active_hooks.h"

#include "fallback.h"

static sw_entry no_entered(uintptr_t *former, int reattached)
{
    (void)former;
    (void)reattached;
    return SW_RIGHT;
}

static void no_go_back(uintptr_t address)
{
    (void)address;
}

static void no_current(uintptr_t *base, uintptr_t *top)
{
    *base = *top = 0;
}

static int no_is_attached(void)
{
    return 0;
}

static int no_is_unmended(uintptr_t *effective)
{
    (void)effective;
    return 0;
}

static uint32_t no_frames(void)
{
    return 0;
}

static void no_interleaved(const void *caller)
{
    (void)caller;
}

static void no_outermost_exit(void) {}

static void no_made(uintptr_t base, uintptr_t top)
{
    (void)base;
    (void)top;
}

static void no_jump(uintptr_t from, uintptr_t to)
{
    (void)from;
    (void)to;
}

static const sw_interpose_hooks no_hooks = {
    .entered = no_entered,
    .go_back = no_go_back,
    .current = no_current,
    .is_attached = no_is_attached,
    .is_unmended = no_is_unmended,
    .frames = no_frames,
    .interleaved = no_interleaved,
    .outermost_exit = no_outermost_exit,
    .made = no_made,
    .jump = no_jump,
};

static const sw_interpose_hooks *attached_hooks = &sw_fallback_hooks;
const sw_interpose_hooks *sw_active_hooks = &no_hooks;

static void activate(const sw_interpose_hooks *hooks)
{
    __atomic_store_n(&sw_active_hooks, hooks, __ATOMIC_RELEASE);
}

void sw_attach_hooks(const sw_interpose_hooks *core)
{
    attached_hooks = core;
    if (sw_hooks() != &no_hooks) {
        activate(core);
    }
}

void sw_activate_hooks(void)
{
    activate(attached_hooks);
}

void sw_deactivate_hooks(void)
{
    activate(&no_hooks);
}
