/* scheduler.c: fibers of ucontext, workers of pthreads, one queue. */
#define _GNU_SOURCE
#include "scheduler.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#define GUARD ((size_t)4096)

struct fiber {
    ucontext_t context, *worker; /* where it goes on, and who runs it */
    void (*function)(void *);
    void *argument, *local;
    char *memory; /* a guard page, then the stack */
    size_t size; /* of the stack, in bytes */
    int is_over; /* nothing of it runs any more */
    int has_ended; /* its worker is through with it; under the lock */
    fiber *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static fiber *first, **last = &first; /* what is ready. Under the lock, as are the tickets */
static unsigned long tickets, served; /* an idle worker draws one */
static __thread fiber *current;

/* Not inlined: a fiber comes back on another thread, and compilers keep the address of `current`. */
static __attribute__((noinline)) fiber *calling_fiber(void)
{
    __asm__ volatile("");
    return current;
}

static void make_ready(fiber *self)
{
    pthread_mutex_lock(&lock);
    self->next = NULL;
    *last = self;
    last = &self->next;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static fiber *take(void)
{
    pthread_mutex_lock(&lock);
    unsigned long ticket = tickets++;
    while (first == NULL || served != ticket) {
        pthread_cond_wait(&changed, &lock);
    }
    served++;
    fiber *taken = first;
    first = taken->next;
    last = first != NULL ? last : &first;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return taken;
}

static void *work(void *unused)
{
    ucontext_t here;
    (void)unused;
    for (;;) {
        fiber *self = current = take();
        self->worker = &here;
        swapcontext(&here, &self->context);
        if (!self->is_over) {
            make_ready(self);
            continue;
        }
        pthread_mutex_lock(&lock);
        self->has_ended = 1;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void entry(void)
{
    fiber *self = calling_fiber();
    self->function(self->argument);
    self->is_over = 1;
    setcontext(self->worker);
}

static void make_context(fiber *self)
{
    getcontext(&self->context);
    self->context.uc_stack.ss_sp = self->memory + GUARD;
    self->context.uc_stack.ss_size = self->size;
    makecontext(&self->context, entry, 0);
}

int scheduler_start(int workers)
{
    int error = 0;
    for (pthread_t worker; workers > 0 && error == 0; workers--) {
        error = pthread_create(&worker, NULL, work, NULL);
    }
    return error;
}

fiber *fiber_spawn(void (*function)(void *), void *argument, size_t stack_size)
{
    fiber *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    void *memory = mmap(NULL, GUARD + stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        free(self);
        return NULL;
    }
    mprotect(memory, GUARD, PROT_NONE);
    self->function = function;
    self->argument = argument;
    self->memory = memory;
    self->size = stack_size;
    make_context(self);
    make_ready(self);
    return self;
}

void fiber_yield(void)
{
    fiber *self = calling_fiber();
    swapcontext(&self->context, self->worker);
}

void fiber_join(fiber *self)
{
    int is_fiber = calling_fiber() != NULL;
    pthread_mutex_lock(&lock);
    while (!self->has_ended) {
        if (is_fiber) {
            pthread_mutex_unlock(&lock);
            fiber_yield();
            pthread_mutex_lock(&lock);
        }
        else {
            pthread_cond_wait(&changed, &lock);
        }
    }
    pthread_mutex_unlock(&lock);
    munmap(self->memory, GUARD + self->size);
    free(self);
}

void *fiber_stack(size_t *size)
{
    fiber *self = calling_fiber();
    *size = self->size;
    return self->memory + GUARD;
}

void fiber_set_local(void *pointer)
{
    calling_fiber()->local = pointer;
}

void *fiber_local(void)
{
    fiber *self = calling_fiber();
    return self != NULL ? self->local : NULL;
}
