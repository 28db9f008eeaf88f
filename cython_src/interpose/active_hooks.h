/* active_hooks.h: which hooks are called now: none while interposition is off, else the core's, or the fallback's where
 * no core was attached.
 *
 * Promises: every function may be called from any thread. */
#ifndef SW_ACTIVE_HOOKS_H
#define SW_ACTIVE_HOOKS_H

#include "hooks.h"

/* The hooks to call now; never NULL. */
extern const sw_interpose_hooks *sw_active_hooks;
static inline const sw_interpose_hooks *sw_hooks(void)
{
    return __atomic_load_n(&sw_active_hooks, __ATOMIC_ACQUIRE);
}

/* The core's hooks replace the fallback's, as long as the process lives. */
void sw_attach_hooks(const sw_interpose_hooks *core);

void sw_activate_hooks(void);
void sw_deactivate_hooks(void);

#endif
