/* walk.c: a lock that walks and forks take.
 *
 * Its holder is known by pthread_self(), which in the child of a fork is what it was in the parent, unlike the thread's
 * number by which a recursive mutex knows its owner: other handlers of the same fork may load and look up, on both
 * sides. */
#define _GNU_SOURCE
#include "walk.h"

#include <pthread.h>
#include <signal.h>
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

/* What the outermost walk puts back. */
static sigset_t former_signals;
static int former_cancelling;
static unsigned walks;

void sw_begin_walk(void)
{
    sigset_t all, signals;
    int cancelling;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &signals); /* a signal's handler may fork */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
    hold();
    if (walks++ == 0) {
        former_signals = signals;
        former_cancelling = cancelling;
    }
}

void sw_end_walk(void)
{
    sigset_t signals = former_signals;
    int cancelling = former_cancelling, is_outermost = --walks == 0;
    let_go();
    if (is_outermost) {
        pthread_setcancelstate(cancelling, NULL);
        pthread_sigmask(SIG_SETMASK, &signals, NULL);
    }
}

void sw_walk(sw_visit visit, void *context)
{
    sw_begin_walk();
    dl_iterate_phdr(visit, context);
    sw_end_walk();
}

void sw_hold_forks(void)
{
    pthread_atfork(hold, let_go, let_go);
}
