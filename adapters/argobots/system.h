/* system.h: Argobots, loaded at run time; what adapters/_user_threads needs of it.
 *
 * Declared by hand, as Argobots has promised them since 1.1: the functions and values that are used. Every function
 * returns ABT_SUCCESS or an error. */
#ifndef ARGOBOTS_SYSTEM_H
#define ARGOBOTS_SYSTEM_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "user_threads.h"

#include <dlfcn.h>

#define SYSTEM_NAME "argobots"
#define SYSTEM_LIBRARY "libabt.so.1"
#define SYSTEM_FIRST_FUNCTION "ABT_init"
#define SYSTEM_NEEDS "Argobots 1.1 or later"

typedef struct abt_thread *ABT_thread;
typedef struct abt_thread_attr *ABT_thread_attr;
typedef struct abt_xstream *ABT_xstream;
typedef struct abt_xstream_attr *ABT_xstream_attr;
typedef struct abt_pool *ABT_pool;
typedef struct abt_sched_config *ABT_sched_config;
typedef struct abt_key *ABT_key;
typedef struct abt_tool_context *ABT_tool_context;
typedef void (*ABT_tool_callback)(ABT_thread, ABT_xstream, uint64_t, ABT_tool_context, void *);

enum { ABT_SUCCESS = 0, ABT_ERR_FEATURE_NA = 51 };
enum { ABT_SCHED_BASIC = 1, ABT_POOL_FIFO = 0, ABT_POOL_ACCESS_MPMC = 4, ABT_TRUE = 1 };
enum {
    ABT_TOOL_EVENT_THREAD_RUN = 1 << 4,
    ABT_TOOL_EVENT_THREAD_FINISH = 1 << 5,
    ABT_TOOL_EVENT_THREAD_YIELD = 1 << 7,
    ABT_TOOL_EVENT_THREAD_SUSPEND = 1 << 8
};

#define ARGOBOTS_FUNCTIONS(X) \
    X(ABT_init, (int, char **)) \
    X(ABT_finalize, (void)) \
    X(ABT_initialized, (void)) \
    X(ABT_key_create, (void (*)(void *), ABT_key *)) \
    X(ABT_key_free, (ABT_key *)) \
    X(ABT_pool_create_basic, (int, int, int, ABT_pool *)) \
    X(ABT_self_get_last_pool, (ABT_pool *)) \
    X(ABT_self_get_specific, (ABT_key, void **)) \
    X(ABT_self_get_thread, (ABT_thread *)) \
    X(ABT_self_is_primary, (int *)) \
    X(ABT_self_set_specific, (ABT_key, void *)) \
    X(ABT_thread_attr_create, (ABT_thread_attr *)) \
    X(ABT_thread_attr_free, (ABT_thread_attr *)) \
    X(ABT_thread_attr_get_stack, (ABT_thread_attr, void **, size_t *)) \
    X(ABT_thread_attr_set_stack, (ABT_thread_attr, void *, size_t)) \
    X(ABT_thread_create, (ABT_pool, void (*)(void *), void *, ABT_thread_attr, ABT_thread *)) \
    X(ABT_thread_free, (ABT_thread *)) \
    X(ABT_thread_get_attr, (ABT_thread, ABT_thread_attr *)) \
    X(ABT_thread_yield, (void)) \
    X(ABT_tool_register_thread_callback, (ABT_tool_callback, uint64_t, void *)) \
    X(ABT_xstream_create_basic, (int, int, ABT_pool *, ABT_sched_config, ABT_xstream *)) \
    X(ABT_xstream_free, (ABT_xstream *)) \
    X(ABT_xstream_self, (ABT_xstream *)) \
    X(ABT_xstream_set_main_sched_basic, (ABT_xstream, int, int, ABT_pool *))

#define DECLARE(name, arguments) static int(*name) arguments;
ARGOBOTS_FUNCTIONS(DECLARE)
#undef DECLARE

#define STACKWARDEN_ARGOBOTS_DECLARED
#include <stackwarden/argobots.h>

#include "stack.h"

#define MOST_WORKERS 256
#define STACKS_CACHED 8

static ABT_key system_key;
static int system_has_key;
static ABT_pool system_pool; /* that of system_start() */
static ABT_xstream system_streams[MOST_WORKERS];
static int system_workers; /* 0: system_start() was not called */

/* The first function that the library lacks; NULL: it has all. */
static const char *system_find_functions(void *library)
{
    void *found;
#define FIND(name, arguments) \
    if ((found = dlsym(library, #name)) == NULL) { \
        return #name; \
    } \
    memcpy(&name, &found, sizeof found);
    ARGOBOTS_FUNCTIONS(FIND)
#undef FIND
    return NULL;
}

static int system_is_running(void)
{
    return ABT_initialized() == ABT_SUCCESS;
}

/* The tool callback can only be registered while Argobots is initialised. */
static int system_hook(void)
{
    if (!system_is_running()) {
        return 0;
    }
    int status = stackwarden_argobots_tell();
    return status == ABT_SUCCESS || status == ABT_ERR_FEATURE_NA ? 0 : status;
}

static void system_unhook(void)
{
    if (system_is_running()) {
        ABT_tool_register_thread_callback(NULL, 0, NULL);
    }
}

static stackwarden_user_thread *system_self(void)
{
    void *self = NULL;
    return system_has_key && ABT_self_get_specific(system_key, &self) == ABT_SUCCESS ? self : NULL;
}

static void system_set_self(stackwarden_user_thread *self)
{
    ABT_self_set_specific(system_key, self);
}

static user_thread_place system_place(void)
{
    int primary;
    if (!system_is_running() || ABT_self_is_primary(&primary) != ABT_SUCCESS) {
        return PLACE_OUTSIDE;
    }
    return primary ? PLACE_NATIVE : system_self() != NULL ? PLACE_ENTERED : PLACE_NOT_ENTERED;
}

static void system_pass(void)
{
    ABT_thread_yield();
}

static void system_go_elsewhere(void)
{
    stackwarden_argobots_pass();
}

static stackwarden_status system_enter(stackwarden_user_thread *self, const user_thread *thread)
{
    return stackwarden_user_thread_enter(self, thread->base, thread->size, SYSTEM_NAME, thread->context);
}

static void system_entry(void *thread)
{
    user_thread_body(thread);
}

/* The stacks are ours: Argobots must not use the stack of a thread again that was cancelled inside Python. Some are
 * cached.
 * Requires, for both functions: attached; the GIL is their lock. */
static user_thread system_cached[STACKS_CACHED];
static int system_cached_count;

static int system_take_stack(user_thread *self)
{
    for (int i = 0; i < system_cached_count; i++) {
        if (system_cached[i].size == self->size) {
            self->base = system_cached[i].base;
            system_cached[i] = system_cached[--system_cached_count];
            return 0;
        }
    }
    self->base = memory_map(self->size);
    return self->base != NULL ? 0 : -1;
}

static void system_give_stack_back(user_thread *self)
{
    if (system_cached_count < STACKS_CACHED) {
        system_cached[system_cached_count++] = *self;
    }
    else {
        memory_unmap(self->base, self->size);
    }
}

static int system_create(user_thread *self)
{
    ABT_pool pool = system_pool;
    ABT_thread_attr attributes;
    ABT_thread thread;
    if (!system_has_key) {
        system_has_key = ABT_key_create(NULL, &system_key) == ABT_SUCCESS;
    }
    int status = system_workers ? ABT_SUCCESS : ABT_self_get_last_pool(&pool);
    if (!system_has_key) {
        return -1;
    }
    if (status == ABT_SUCCESS && (status = ABT_thread_attr_create(&attributes)) == ABT_SUCCESS) {
        ABT_thread_attr_set_stack(attributes, self->base, self->size);
        status = ABT_thread_create(pool, system_entry, self, attributes, &thread);
        ABT_thread_attr_free(&attributes);
    }
    if (status == ABT_SUCCESS) {
        self->system_thread = thread;
    }
    return status;
}

/* Wait for the end of a user thread, and free the system's part of it. */
static void system_join(user_thread *self)
{
    ABT_thread thread = self->system_thread;
    ABT_thread_free(&thread);
}

static int system_start(int workers)
{
    ABT_xstream primary;
    int status = ABT_init(0, NULL);
    if (status == ABT_SUCCESS) {
        status = ABT_pool_create_basic(ABT_POOL_FIFO, ABT_POOL_ACCESS_MPMC, ABT_TRUE, &system_pool);
    }
    if (status == ABT_SUCCESS && (status = ABT_xstream_self(&primary)) == ABT_SUCCESS) {
        status = ABT_xstream_set_main_sched_basic(primary, ABT_SCHED_BASIC, 1, &system_pool);
    }
    for (int i = 1; i < workers && status == ABT_SUCCESS; i++) {
        status = ABT_xstream_create_basic(ABT_SCHED_BASIC, 1, &system_pool, NULL, &system_streams[i]);
    }
    system_workers = status == ABT_SUCCESS ? workers : 0;
    return status == ABT_SUCCESS ? system_hook() : status;
}

/* No execution stream can free itself, and any of them may have resumed the caller. */
static void system_go_home(pthread_t home)
{
    while (!pthread_equal(home, stackwarden_user_thread_carrier_())) {
        ABT_thread_yield();
    }
}

/* Requires: called on the primary execution stream. */
static void system_stop(void)
{
    pthread_t home = stackwarden_user_thread_carrier_();
    for (int i = 1; i < system_workers; i++) {
        system_go_home(home);
        ABT_xstream_free(&system_streams[i]);
    }
    system_go_home(home);
    if (system_has_key) {
        ABT_key_free(&system_key);
    }
    system_has_key = 0;
    system_workers = 0;
    ABT_finalize();
}

#endif
