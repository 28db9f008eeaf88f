/* walk.c: a lock that walks and forks take. Other handlers of a fork may load and look up, on both sides, and so may
 * handlers of signals that interrupt it. */
#define _GNU_SOURCE
#include "walk.h"

#include "../platform/owned_lock.h"
#include "other_libc.h"

static sw_owned_lock lock;

sw_walking sw_begin_walk(void)
{
    sw_walking before;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before.signals); /* a signal's handler may fork */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before.cancelling);
    sw_hold(&lock);
    return before;
}

void sw_end_walk(const sw_walking *before)
{
    sw_let_go(&lock);
    pthread_setcancelstate(before->cancelling, NULL);
    pthread_sigmask(SIG_SETMASK, &before->signals, NULL);
}

void sw_walk(sw_visit visit, void *context)
{
    sw_walking before = sw_begin_walk();
    dl_iterate_phdr(visit, context);
    sw_end_walk(&before);
}

static void hold(void)
{
    sw_hold(&lock);
}

static void let_go(void)
{
    sw_let_go(&lock);
}

void sw_hold_forks(void)
{
    sw_at_fork(hold, let_go, let_go);
}
