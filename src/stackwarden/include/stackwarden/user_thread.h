/* user_thread.h: Python on user threads: stacks that operating-system threads run in turn.  C11 and C++11, POSIX.
 *
 * For systems whose scheduler is not yours. Four calls, around Python and around whatever may switch; argobots.h and
 * massivethreads.h are made of them, and docs/user-threads.md shows them whole.
 *
 *     stackwarden_user_thread self;
 *     if (stackwarden_user_thread_enter(&self, base, size, "my-system", NULL) == STACKWARDEN_DONE) {
 *         ...Python; between these two lines, attached or not, around whatever may switch:
 *         stackwarden_user_thread_suspend(&self);
 *         my_system_wait();
 *         stackwarden_user_thread_resume(&self, my_system_yield);
 *         ...Python, perhaps on another operating-system thread...
 *         stackwarden_user_thread_leave(&self);
 *     }
 *
 * Words.  The carrier of a user thread is the operating-system thread that runs it now; its home is the carrier on
 * which it entered Python. A user thread is pinned when it goes on at home and nowhere else.
 *
 * Promises: while a user thread is suspended, nothing of it is in its carrier's state: it goes formally to the native
 * stack of the carrier, then switches, and comes back the same way on whichever carrier resumes it. It needs no word
 * from the scheduler, and the GIL is free while the scheduler runs.
 *
 * Isolation: "thread-state" where it can be had (CPython 3.12 and later): a user thread goes on on any carrier. Else
 * "frames" (3.11), and every user thread is pinned: see what stackwarden_user_thread_resume() requires of `yield`. */
#ifndef STACKWARDEN_USER_THREAD_H
#define STACKWARDEN_USER_THREAD_H

#include "stackwarden.h"

#include <pthread.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One user thread inside Python. Lives on its stack; its fields are private. */
typedef struct {
    stackwarden_stack stack; /* handle 0: a native stack */
    pthread_t home;
    PyGILState_STATE ensured;
    PyThreadState *saved;
    int pinned;
} stackwarden_user_thread;

/* Lets the scheduler go on, and comes back when it runs the caller again. */
typedef void (*stackwarden_yield_function)(void);

/* Bytes. No CPython accepts a smaller stack, and a small one cannot ask: attaching alone may overrun it. */
#define STACKWARDEN_USER_THREAD_LEAST_ ((size_t)48 << 10)

/* Not inlined: to compilers pthread_self() is a constant, but a user thread changes carriers. */
static __attribute__((noinline, unused)) pthread_t stackwarden_user_thread_carrier_(void)
{
    __asm__ volatile("");
    return pthread_self();
}

/* Attach the carrier's own thread state, until detach_(). A carrier that has none gets one that ends there: no thread
 * state outlives its operating-system thread. Under a pinned stack it is kept, because frames are in it. */
static inline void stackwarden_user_thread_attach_(stackwarden_user_thread *self)
{
    if (self->pinned && self->saved != NULL) {
        PyEval_RestoreThread(self->saved);
    }
    else {
        self->ensured = PyGILState_Ensure();
    }
}

static inline void stackwarden_user_thread_detach_(stackwarden_user_thread *self)
{
    if (self->pinned) {
        self->saved = PyEval_SaveThread();
    }
    else {
        PyGILState_Release(self->ensured);
    }
}

static inline stackwarden_status stackwarden_user_thread_register_(stackwarden_user_thread *self, const char *system)
{
    const void *base = (const void *)self->stack.base;
    stackwarden_status status =
        stackwarden_register_stack(base, self->stack.size, NULL, system,
                                   STACKWARDEN_TRIM_GUARD | STACKWARDEN_ISOLATION_THREAD_STATE, &self->stack);
    self->pinned = status == STACKWARDEN_NO_ISOLATION;
    if (self->pinned) {
        status = stackwarden_register_stack(base, self->stack.size, NULL, system,
                                            STACKWARDEN_TRIM_GUARD | STACKWARDEN_ISOLATION_FRAMES, &self->stack);
    }
    return status;
}

/* The calling user thread goes into Python.
 * Requires: detached, on a carrier with or without a thread state; on the stack [base, base + size), which may include
 *   its guard pages; not entered already; Python is running. MAY BLOCK waiting for the GIL: hold no lock that a thread
 *   with the GIL may want, the scheduler's above all.
 * Guarantees: DONE: attached; the bounds are those of this stack; it has execution state of its own, with `context` (a
 *   contextvars.Context, not stolen; NULL: a copy of the carrier's). The carrier is its home.
 * Fails with: what stackwarden_register_stack() fails with; it is detached then, and has run no Python. */
static inline stackwarden_status stackwarden_user_thread_enter(stackwarden_user_thread *self, const void *base,
                                                               size_t size, const char *system, PyObject *context)
{
    uintptr_t low = ((uintptr_t)base + 15) & ~(uintptr_t)15;
    if (size < STACKWARDEN_USER_THREAD_LEAST_) {
        return STACKWARDEN_TOO_SMALL;
    }
    memset(self, 0, sizeof *self);
    self->home = stackwarden_user_thread_carrier_();
    self->stack.base = low;
    self->stack.size = ((uintptr_t)base + size - low) & ~(size_t)15;
    stackwarden_reset_stack(); /* its bounds may have been told: they belong to the record now */
    stackwarden_user_thread_attach_(self);
    stackwarden_status status = stackwarden_user_thread_register_(self, system);
    if (status == STACKWARDEN_DONE && context != NULL) {
        status = stackwarden_renew_stack(self->stack.handle, context);
    }
    if (status == STACKWARDEN_DONE) {
        status = stackwarden_start_switch_blocking(&self->stack, 0);
    }
    if (status == STACKWARDEN_DONE) {
        stackwarden_finish_switch();
        return status;
    }
    if (self->stack.handle != 0) {
        stackwarden_unregister_stack(self->stack.handle);
    }
    PyGILState_Release(self->ensured);
    return status;
}

/* Undo of enter: the calling user thread is done with Python. It may enter again.
 * Requires: entered, attached; no frame of Python is left on its stack.
 * Guarantees: DONE: detached; its record is gone. Runs destructors.
 * Fails with: what stackwarden_start_switch_blocking() fails with; it is attached still. */
static inline stackwarden_status stackwarden_user_thread_leave(stackwarden_user_thread *self)
{
    stackwarden_status status = stackwarden_start_switch_blocking(NULL, STACKWARDEN_SWITCH_ENDS);
    if (status == STACKWARDEN_DONE) {
        stackwarden_finish_switch();
        stackwarden_unregister_stack(self->stack.handle);
        /* The carrier's thread state may end here, still on this stack: with other bounds CPython's trashcan keeps
         * what is freed then, for ever. */
        stackwarden_notify_stack_switch((const void *)self->stack.base, self->stack.size);
        stackwarden_drain();
        PyGILState_Release(self->ensured);
        stackwarden_reset_stack();
    }
    return status;
}

/* Right before whatever may switch; attached or detached.
 * Requires: entered, or pinned with stackwarden_user_thread_pin(). MAY BLOCK waiting for the GIL, when detached.
 * Guarantees: DONE: detached, and the carrier may run whatever it likes. No Python until resume().
 * Fails with: what stackwarden_start_switch_blocking() fails with; nothing was changed: do not switch. */
static inline stackwarden_status stackwarden_user_thread_suspend(stackwarden_user_thread *self)
{
    if (self->stack.handle == 0) {
        self->saved = PyGILState_Check() ? PyEval_SaveThread() : NULL;
        return STACKWARDEN_DONE;
    }
    stackwarden_status status = stackwarden_start_switch_blocking(NULL, 0);
    if (status == STACKWARDEN_DONE) {
        stackwarden_finish_switch();
        stackwarden_user_thread_detach_(self);
    }
    return status;
}

/* Right after it, on the same stack, on whichever carrier. One that is pinned calls `yield` until it is at home.
 * Requires: suspend() was DONE. MAY BLOCK waiting for the GIL. For a pinned user thread (every one on 3.11, and what
 *   stackwarden_user_thread_pin() pinned on every version) `yield` MUST BE ABLE TO CHANGE THE CARRIER: called over and
 *   over on another carrier, it comes back at home in the end. So home must still run user threads, and `yield` must
 *   put the caller where home takes it from, even when nothing else is ready. A yield that returns at once then, or
 *   hands over on its own carrier alone, makes resume() SPIN FOR EVER: myth_yield() of MassiveThreads 1.02 queues the
 *   caller, for others to steal, only when it found another user thread to run (massivethreads.h has one that does).
 * Guarantees: DONE: attached or detached as it was suspended.
 * Fails with: NO_MEMORY, NOT_RUNNING: detached, and its Python can't go on. */
static inline stackwarden_status stackwarden_user_thread_resume(stackwarden_user_thread *self,
                                                                stackwarden_yield_function yield)
{
    while (self->pinned && !pthread_equal(self->home, stackwarden_user_thread_carrier_())) {
        yield();
    }
    if (self->stack.handle == 0) {
        if (self->saved != NULL) {
            PyEval_RestoreThread(self->saved);
        }
        return STACKWARDEN_DONE;
    }
    stackwarden_reset_stack();
    stackwarden_user_thread_attach_(self);
    stackwarden_status status = stackwarden_start_switch_blocking(&self->stack, 0);
    if (status == STACKWARDEN_DONE) {
        stackwarden_finish_switch();
    }
    else {
        stackwarden_user_thread_detach_(self);
    }
    return status;
}

/* In place of enter() and leave(), for a native stack that the scheduler takes for a user thread, as it does with the
 * main program's: Python runs there already, and goes on at home alone.
 * Requires: on its own operating-system thread, which becomes its home.
 * Guarantees: for suspend() and resume(). Nothing is to be undone. */
static inline void stackwarden_user_thread_pin(stackwarden_user_thread *self)
{
    memset(self, 0, sizeof *self);
    self->home = stackwarden_user_thread_carrier_();
    self->pinned = 1;
}

#ifdef __cplusplus
}
#endif
#endif
