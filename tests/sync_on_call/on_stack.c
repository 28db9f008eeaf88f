/* on_stack.c: a library without Python that calls a function back, on a foreign stack or in a thread, and tells
 * nobody. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stddef.h>

#include "../extensions/machine.h"

typedef int callback(int);

typedef struct {
    callback *function;
    int value;
} errand;

static void run(void *argument)
{
    errand *e = argument;
    e->value = e->function(e->value);
}

__attribute__((visibility("default"))) int call_on(void *base, size_t size, callback *function, int value)
{
    errand e = {.function = function, .value = value};
    run_on_stack(base, size, run, &e);
    return e.value;
}

static void *run_in_thread(void *argument)
{
    run(argument);
    return NULL;
}

/* In a new thread whose own stack is [base, base + size). -1000: there is no such thread. */
__attribute__((visibility("default"))) int call_in_thread(void *base, size_t size, callback *function, int value)
{
    errand e = {.function = function, .value = value};
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstack(&attributes, base, size) != 0
        || pthread_create(&thread, &attributes, run_in_thread, &e) != 0) {
        return -1000;
    }
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    return e.value;
}
