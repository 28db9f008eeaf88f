/* runtime.c: a small runtime that runs functions on a stack of its own, and knows nothing of Python.
 *
 * Promises: real switches (swapcontext), told of through beacon.h alone; C11 and C++17. NAME is the beacon's name.
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
#include <sys/mman.h>
#include <ucontext.h>

#include "runtime.h"

STACKWARDEN_BEACON(NAME)

#define PAGE ((size_t)4096)

/* ---- one stack ---- */

typedef struct {
    char *base;
    ucontext_t here, there;
    void (*work)(void);
} fiber;

static __thread fiber *running;

static void run_work(void)
{
    running->work();
}

void *make_stack(size_t size)
{
    char *memory = (char *)mmap(NULL, PAGE + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, PAGE, PROT_NONE) != 0) {
        abort();
    }
    return memory + PAGE;
}

void free_stack(void *base, size_t size)
{
    munmap((char *)base - PAGE, PAGE + size);
}

void call_on(void *base, size_t size, void (*work)(void))
{
    fiber self, *outer = running;
    self.base = (char *)base;
    self.work = work;
    getcontext(&self.there);
    self.there.uc_stack.ss_sp = base;
    self.there.uc_stack.ss_size = size;
    self.there.uc_link = &self.here;
    makecontext(&self.there, run_work, 0);
    running = &self;
    stackwarden_beacon_switch(base, size);
    swapcontext(&self.here, &self.there);
    stackwarden_beacon_reset();
    running = outer;
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
