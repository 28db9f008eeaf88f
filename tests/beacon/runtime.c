/* runtime.c: a small runtime that runs functions on a stack of its own, and knows nothing of Python.
 *
 * Promises: real switches, told of through beacon.h alone; C11 and C++17. NAME is the beacon's name.
 * With MUTE the beacon cannot announce itself. With the header of silent/ there is none. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifdef MUTE
#define stackwarden_beacon_announce no_such_function
#endif
#include <stackwarden/beacon.h>

#include <pthread.h>
#include <stdlib.h>

#include "../extensions/machine.h"
#include "runtime.h"

STACKWARDEN_BEACON(NAME)

/* ---- one stack ---- */

static void run_work(void *work)
{
    (*(void (**)(void))work)();
}

void *make_stack(size_t size)
{
    void *base = map_stack(size);
    if (base == NULL) {
        abort();
    }
    return base;
}

void free_stack(void *base, size_t size)
{
    unmap_stack(base, size);
}

void call_on(void *base, size_t size, void (*work)(void))
{
    stackwarden_beacon_switch(base, size);
    run_on_stack(base, size, run_work, &work);
    stackwarden_beacon_reset();
}

void call_on_new_stack(void (*work)(void))
{
    void *base = make_stack(RUNTIME_STACK);
    call_on(base, RUNTIME_STACK, work);
    free_stack(base, RUNTIME_STACK);
}

/* ---- telling without switching ---- */

void tell(void *base, size_t size)
{
    stackwarden_beacon_switch(base, size);
}

void tell_native(void)
{
    stackwarden_beacon_reset();
}

void add_stack(void *base, size_t size, const char *name)
{
    stackwarden_beacon_register(base, size, name);
}

void remove_stack(void *base)
{
    stackwarden_beacon_unregister(base);
}

int is_heard(void)
{
    return __atomic_load_n(&STACKWARDEN_BEACON_SLOT.listener, __ATOMIC_ACQUIRE) != NULL;
}

/* ---- threads that switch all the time ---- */

#define THREADS 3
static pthread_t threads[THREADS];
static int stopped;

static void nothing(void) {}

static void *keep_switching(void *unused)
{
    void *base = make_stack(RUNTIME_STACK);
    while (!__atomic_load_n(&stopped, __ATOMIC_ACQUIRE)) {
        call_on(base, RUNTIME_STACK, nothing);
    }
    free_stack(base, RUNTIME_STACK);
    return unused;
}

void start_threads(void)
{
    stopped = 0;
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, keep_switching, NULL) != 0) {
            abort();
        }
    }
}

void stop_threads(void)
{
    __atomic_store_n(&stopped, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}
