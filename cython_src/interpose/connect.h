/* connect.h: how the core finds and loads libstackwarden_interpose, which may have been preloaded.
 *
 * Promises: the library is never unloaded. Elsewhere than on Linux there is none, and nothing is found. */
#ifndef SW_INTERPOSE_CONNECT_H
#define SW_INTERPOSE_CONNECT_H

#include "hooks.h"

#include <stddef.h>

#if defined(__linux__)
#include <dlfcn.h>

static void *sw_interpose_find(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}

/* NULL, or why it cannot be loaded. */
static const char *sw_interpose_load(const char *path)
{
    return dlopen(path, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE) != NULL ? NULL : dlerror();
}
#else
static void *sw_interpose_find(const char *name)
{
    (void)name;
    return NULL;
}

static const char *sw_interpose_load(const char *path)
{
    (void)path;
    return "there is no interposition on this platform";
}
#endif

#endif
