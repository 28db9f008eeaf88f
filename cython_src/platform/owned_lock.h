/* owned_lock.h: a lock that knows at each moment whether the calling thread holds it, in a signal handler too.
 *
 * The holder is one word, written in the step that takes the lock or frees it. A pthread_mutex_t is taken a moment before
 * its holder could be written down beside it, and a signal handler of that moment could neither wait for it nor know that
 * it must not. A thread is known by pthread_self(), which in the child of a fork is what it was in the parent, unlike the
 * number by which a recursive mutex knows its owner.
 *
 * Promises: a handler that interrupts a thread which waits for the lock may take it, and gives it back before the thread
 * goes on. Allocates nothing; errno stays; not a cancellation point. */
#ifndef SW_OWNED_LOCK_H
#define SW_OWNED_LOCK_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#if defined(__linux__)
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <sched.h>
#endif

typedef struct {
    atomic_uintptr_t holder; /* pthread_self() of its thread; 0: free */
    atomic_uint is_wanted; /* 1: threads sleep until it is free */
    unsigned nested; /* times that its holder holds it, but for the first */
} sw_owned_lock;

static inline int sw_is_holder(sw_owned_lock *lock)
{
    return atomic_load(&lock->holder) == (uintptr_t)pthread_self();
}

/* Until the lock may be free. Who frees it after `is_wanted` was set wakes all. */
static inline void sw_wait_for(sw_owned_lock *lock)
{
    int former_errno = errno;
    atomic_store(&lock->is_wanted, 1);
    if (atomic_load(&lock->holder) != 0) {
#if defined(__linux__)
        syscall(SYS_futex, &lock->is_wanted, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
#else
        sched_yield();
#endif
    }
    errno = former_errno;
}

/* 0: the calling thread holds it already. */
static inline int sw_take(sw_owned_lock *lock)
{
    uintptr_t self = (uintptr_t)pthread_self(), holder = 0;
    while (!atomic_compare_exchange_strong(&lock->holder, &holder, self)) {
        if (holder == self) {
            return 0;
        }
        sw_wait_for(lock);
        holder = 0;
    }
    return 1;
}

static inline void sw_give_back(sw_owned_lock *lock)
{
    atomic_store(&lock->holder, 0);
    if (atomic_load(&lock->is_wanted)) {
        int former_errno = errno;
        atomic_store(&lock->is_wanted, 0);
#if defined(__linux__)
        syscall(SYS_futex, &lock->is_wanted, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
#endif
        errno = former_errno;
    }
}

/* The same for those who may hold it already: as often let go as held. What a handler holds it lets go again before the
 * code that it interrupted goes on, in the child of a fork as well: so `nested` is always what that code left there. */
static inline void sw_hold(sw_owned_lock *lock)
{
    if (!sw_take(lock)) {
        lock->nested++;
    }
}

static inline void sw_let_go(sw_owned_lock *lock)
{
    if (lock->nested != 0) {
        lock->nested--;
    }
    else {
        sw_give_back(lock);
    }
}

#endif
