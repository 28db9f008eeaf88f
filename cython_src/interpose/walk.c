/* walk.c: a lock that walks and forks take.
 *
 * Its holder is known by pthread_self(), which in the child of a fork is what it was in the parent, unlike the thread's
 * number by which a recursive mutex knows its owner: other handlers of the same fork may load and look up, on both
 * sides. */
#define _GNU_SOURCE
#include "walk.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_uintptr_t holder; /* 0: nobody */
static unsigned depth; /* the holder's */

static void hold(void)
{
    uintptr_t self = (uintptr_t)pthread_self();
    if (atomic_load(&holder) != self) {
        pthread_mutex_lock(&lock);
        atomic_store(&holder, self);
    }
    depth++;
}

static void let_go(void)
{
    if (--depth == 0) {
        atomic_store(&holder, 0);
        pthread_mutex_unlock(&lock);
    }
}

sw_walking sw_begin_walk(void)
{
    sw_walking before;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before.signals); /* a signal's handler may fork */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before.cancelling);
    hold();
    return before;
}

void sw_end_walk(const sw_walking *before)
{
    let_go();
    pthread_setcancelstate(before->cancelling, NULL);
    pthread_sigmask(SIG_SETMASK, &before->signals, NULL);
}

void sw_walk(sw_visit visit, void *context)
{
    sw_walking before = sw_begin_walk();
    dl_iterate_phdr(visit, context);
    sw_end_walk(&before);
}

void sw_hold_forks(void)
{
    pthread_atfork(hold, let_go, let_go);
}
