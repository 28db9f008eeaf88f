/* fallback.h: the hooks in a process that has no core, or has not imported it yet. */
#ifndef SW_FALLBACK_H
#define SW_FALLBACK_H

#include "hooks.h"

extern const sw_interpose_hooks sw_fallback_hooks;

/* Look up the functions of CPython that the hooks call; again whenever an object was loaded, for it may be CPython. */
void sw_find_python(void);

/* Was CPython in the process when sw_find_python() looked? */
int sw_has_python(void);

#endif
