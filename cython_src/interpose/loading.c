/* loading.c: stands in for dlopen and dlsym: what is loaded later is patched too, and what is looked up by name leads
 * to what stands in.
 *
 * Promises: both see the caller that they would have seen (they search in its RUNPATH, and after it). dlopen of a path
 * patches at once; dlopen of a bare name cannot, because it must see its own caller, so the dlsym that follows does. */
#define _GNU_SOURCE
#include "interpose.h"
#include "machine.h"

#include <dlfcn.h>
#include <string.h>

static void *(*real_dlopen)(const char *file, int mode);
static void *(*real_dlsym)(void *handle, const char *name);

/* See SW_DEFINE_DECIDED. */
typedef struct {
    void *value;
    void *go_on;
} decision;

__attribute__((visibility("hidden"))) decision sw_decide_dlopen(const char *file, int mode)
{
    if (file == NULL || strchr(file, '/') == NULL || strchr(file, '$') != NULL) {
        return (decision){NULL, real_dlopen};
    }
    void *handle = real_dlopen(file, mode);
    if (handle != NULL) {
        sw_patch_new();
    }
    return (decision){handle, NULL};
}

static const sw_stand_in *find_stand_in(const char *name)
{
    for (int i = 0; i < SW_STAND_INS; i++) {
        const sw_stand_in *found = sw_stand_in_at(i);
        if (strcmp(found->name, name) == 0) {
            return found;
        }
    }
    return NULL;
}

__attribute__((visibility("hidden"))) decision sw_decide_dlsym(void *handle, const char *name)
{
    sw_patch_new();
    const sw_stand_in *found = handle != RTLD_NEXT ? find_stand_in(name) : NULL;
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
