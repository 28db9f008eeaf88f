/* loading.c: stands in for dlopen and dlsym: objects that are loaded later are patched too, and the lookup of a
 * function by name finds its stand-in.
 *
 * Promises: both functions see their real caller, for they search in its RUNPATH (dlopen(3)) and, with RTLD_NEXT, after
 * it (dlsym(3)). An object that is opened by its path is patched at once. A bare name or a token such as $ORIGIN has
 * another meaning for each caller: such a call goes on to dlopen itself, and the next dlsym patches. */
#define _GNU_SOURCE
#include "fallback.h"
#include "machine.h"
#include "patch.h"
#include "stand_ins.h"

#include <dlfcn.h>
#include <string.h>

static void *(*real_dlopen)(const char *file, int mode);
static void *(*real_dlsym)(void *handle, const char *name);

static void patch_new_objects(void)
{
    if (sw_has_unpatched()) {
        sw_find_python();
        sw_patch();
    }
}

/* See SW_DEFINE_DECIDED. */
typedef struct {
    void *value;
    void *tail_call;
} decision;

__attribute__((visibility("hidden"))) decision sw_decide_dlopen(const char *file, int mode)
{
    if (file == NULL || strchr(file, '/') == NULL || strchr(file, '$') != NULL) {
        return (decision){NULL, real_dlopen};
    }
    void *handle = real_dlopen(file, mode);
    if (handle != NULL) {
        patch_new_objects();
    }
    return (decision){handle, NULL};
}

__attribute__((visibility("hidden"))) decision sw_decide_dlsym(void *handle, const char *name)
{
    patch_new_objects();
    const sw_stand_in *found = handle != RTLD_NEXT ? sw_find_stand_in(name) : NULL;
    if (found != NULL && *found->real != NULL && real_dlsym(handle, name) == *found->real) {
        return (decision){found->instead, NULL};
    }
    return (decision){NULL, real_dlsym};
}

void sw_dlopen(void);
void sw_dlsym(void);
SW_DEFINE_DECIDED("sw_dlopen", "sw_decide_dlopen");
SW_DEFINE_DECIDED("sw_dlsym", "sw_decide_dlsym");

const sw_stand_in sw_loading[SW_LOADING] = {
    {"dlopen", sw_dlopen, (void **)&real_dlopen, NULL},
    {"dlsym", sw_dlsym, (void **)&real_dlsym, NULL},
};
