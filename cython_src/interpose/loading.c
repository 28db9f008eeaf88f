/* loading.c: stands in for dlopen and dlsym: objects that are loaded later are patched too, and the lookup of a
 * function by name finds its stand-in.
 *
 * Promises: both functions see their real caller, for they search in its RUNPATH (dlopen(3)) and, with RTLD_NEXT, after
 * it (dlsym(3)). An object that is opened by its path is patched at once. A bare name or a token such as $ORIGIN has
 * another meaning for each caller: such a call goes on to dlopen itself, and the next dlsym patches. A dlsym
 * with nothing opened since the one before it walks over no objects (walk.h). */
#define _GNU_SOURCE
#include "fallback.h"
#include "machine.h"
#include "other_libc.h"
#include "patch.h"
#include "stand_ins.h"
#include "walk.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

static void *(*real_dlopen)(const char *file, int mode);
static void *(*real_dlsym)(void *handle, const char *name);

static atomic_ulong opens_begun; /* calls of dlopen that may load something */
static atomic_ulong opens_patched; /* of these, those whose objects were patched */
static __thread int opened_here; /* this thread has begun one that nobody saw end */

static void patch_new_objects(void)
{
    sw_walking before = sw_begin_walk();
    if (sw_has_unpatched()) {
        sw_find_python();
        sw_patch();
    }
    sw_end_walk(&before);
}

static int any_unpatched(unsigned long opens)
{
    return opened_here || opens != atomic_load(&opens_patched);
}

/* dlsym waits for a dlopen that runs on another thread: both hold the loader's lock (glibc's dl_load_lock). One that
 * has begun and does not hold it yet is found by its own thread's next look-up. */
static void patch_what_was_opened(void)
{
    unsigned long opens = atomic_load(&opens_begun);
    if (any_unpatched(opens)) {
        opened_here = 0;
        real_dlsym(RTLD_DEFAULT, "dlsym");
        patch_new_objects();
        atomic_store(&opens_patched, opens);
    }
}

/* In the child of a fork a walk may wait for ever for a thread that was in dlopen or dlclose and is not there any more:
 * a look-up there finds nothing left to patch. */
static void patch_before_fork(void)
{
    if (any_unpatched(atomic_load(&opens_begun))) {
        patch_new_objects();
    }
}

static void forget_opens(void)
{
    opened_here = 0;
    atomic_store(&opens_patched, atomic_load(&opens_begun));
}

void sw_patch_before_forks(void)
{
    sw_at_fork(patch_before_fork, NULL, forget_opens);
}

/* See SW_DEFINE_DECIDED. */
typedef struct {
    void *value;
    void *tail_call;
} decision;

__attribute__((visibility("hidden"))) decision sw_decide_dlopen(const char *file, int mode)
{
    if (file == NULL || (mode & RTLD_NOLOAD) != 0) {
        return (decision){NULL, real_dlopen};
    }
    unsigned long opens = atomic_fetch_add(&opens_begun, 1) + 1;
    if (strchr(file, '/') == NULL || strchr(file, '$') != NULL) {
        opened_here = 1;
        return (decision){NULL, real_dlopen};
    }
    void *handle = real_dlopen(file, mode);
    patch_new_objects();
    atomic_store(&opens_patched, opens);
    return (decision){handle, NULL};
}

__attribute__((visibility("hidden"))) decision sw_decide_dlsym(void *handle, const char *name)
{
    patch_what_was_opened();
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
