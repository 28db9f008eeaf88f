/* system.h: MassiveThreads, loaded at run time; what adapters/_user_threads needs of it.
 *
 * Declared by hand: the functions that are used, and the two structures, which myth_..._init() do not fill whole. */
#ifndef MASSIVETHREADS_SYSTEM_H
#define MASSIVETHREADS_SYSTEM_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "user_threads.h"

#include <dlfcn.h>

#define SYSTEM_NAME "massivethreads"
#define SYSTEM_LIBRARY "libmyth.so.0"
#define SYSTEM_FIRST_FUNCTION "myth_init"
#define SYSTEM_NEEDS "MassiveThreads 1.0 or later"

typedef struct myth_thread *myth_thread_t;

typedef struct {
    size_t stacksize, guardsize;
    int n_workers, bind_workers, child_first, initialized;
} myth_globalattr_t;

typedef struct {
    void *stackaddr;
    size_t stacksize, guardsize;
    int detachstate, child_first;
    size_t custom_data_size;
    void *custom_data;
} myth_thread_attr_t;

#define MASSIVETHREADS_FUNCTIONS(X) \
    X(int, myth_init_ex, (myth_globalattr_t *)) \
    X(int, myth_fini, (void)) \
    X(int, myth_is_myth_worker, (void)) \
    X(int, myth_globalattr_init, (myth_globalattr_t *)) \
    X(int, myth_globalattr_set_n_workers, (myth_globalattr_t *, int)) \
    X(int, myth_thread_attr_init, (myth_thread_attr_t *)) \
    X(int, myth_thread_attr_setstacksize, (myth_thread_attr_t *, size_t)) \
    X(int, myth_create_ex, (myth_thread_t *, myth_thread_attr_t *, void *(*)(void *), void *)) \
    X(int, myth_detach, (myth_thread_t)) \
    X(int, myth_join, (myth_thread_t, void **)) \
    X(int, myth_yield, (void)) \
    X(int, myth_key_create, (int *, void (*)(void *))) \
    X(void *, myth_getspecific, (int)) \
    X(int, myth_setspecific, (int, void *))

#define DECLARE(type, name, arguments) static type(*name) arguments;
MASSIVETHREADS_FUNCTIONS(DECLARE)
#undef DECLARE

#define STACKWARDEN_MASSIVETHREADS_DECLARED
#include <stackwarden/massivethreads.h>

#define MOST_WORKERS 256

static int system_key;
static int system_has_key;
static int system_workers; /* 0: system_start() was not called */

/* The first function that the library lacks; NULL: it has all. */
static const char *system_find_functions(void *library)
{
    void *found;
#define FIND(type, name, arguments) \
    if ((found = dlsym(library, #name)) == NULL) { \
        return #name; \
    } \
    memcpy(&name, &found, sizeof found);
    MASSIVETHREADS_FUNCTIONS(FIND)
#undef FIND
    return NULL;
}

static int system_hook(void)
{
    return 0; /* there is none: user threads are told when they enter */
}

static void system_unhook(void) {}

static stackwarden_user_thread *system_self(void)
{
    return system_has_key ? myth_getspecific(system_key) : NULL;
}

static void system_set_self(stackwarden_user_thread *self)
{
    myth_setspecific(system_key, self);
}

/* Is the caller on its thread's native stack? In a user thread that has not entered the current stack does not hold it.
 * */
static int system_is_native(void)
{
    stackwarden_stack current;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    return stackwarden_current_stack(&current) == STACKWARDEN_DONE && here - current.base < current.size;
}

static user_thread_place system_place(void)
{
    if (!system_workers || !myth_is_myth_worker()) {
        return PLACE_OUTSIDE;
    }
    return system_self() != NULL ? PLACE_ENTERED : system_is_native() ? PLACE_NATIVE : PLACE_NOT_ENTERED;
}

static void system_pass(void)
{
    myth_yield();
}

static void system_go_elsewhere(void)
{
    stackwarden_massivethreads_pass();
}

static stackwarden_status system_enter(stackwarden_user_thread *self, const user_thread *thread)
{
    return stackwarden_massivethreads_enter(self, thread->size, thread->context);
}

static void *system_entry(void *thread)
{
    user_thread_body(thread);
    return NULL;
}

static int system_create(user_thread *self)
{
    myth_thread_attr_t attributes;
    myth_thread_t thread;
    if (!system_has_key) {
        system_has_key = myth_key_create(&system_key, NULL) == 0;
    }
    memset(&attributes, 0, sizeof attributes); /* myth_thread_attr_init() does not set all fields */
    if (!system_has_key || myth_thread_attr_init(&attributes) != 0) {
        return -1;
    }
    myth_thread_attr_setstacksize(&attributes, self->size);
    attributes.child_first = 0; /* the caller stays where it is */
    int status = myth_create_ex(&thread, &attributes, system_entry, self);
    self->system_thread = thread;
    return status;
}

/* Wait for the end of a user thread, and free the system's part of it. */
static void system_join(user_thread *self)
{
    myth_join(self->system_thread, NULL);
}

static int system_take_stack(user_thread *self)
{
    (void)self; /* the system allocates it */
    return 0;
}

static void system_give_stack_back(user_thread *self)
{
    (void)self;
}

static int system_start(int workers)
{
    myth_globalattr_t attributes;
    memset(&attributes, 0, sizeof attributes);
    myth_globalattr_init(&attributes);
    myth_globalattr_set_n_workers(&attributes, workers);
    int status = myth_init_ex(&attributes);
    system_workers = status < 0 ? 0 : workers;
    return status < 0 ? status : 0;
}

static void system_stop(void)
{
    system_workers = 0;
    myth_fini();
}

#endif
