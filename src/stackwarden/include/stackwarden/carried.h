/* carried.h: Python on user threads that operating-system threads carry.  C11 and C++11.
 *
 * A user thread has a stack of its own, and whichever operating-system thread is free carries it on. What a
 * system's own header (argobots.h, massivethreads.h) builds on, and what you need for another such system:
 *
 *     stackwarden_carried self;
 *     if (stackwarden_carried_enter(&self, base, size, "my-system", NULL) == STACKWARDEN_DONE) {
 *         ...Python; between these two lines, attached or not, around whatever may switch:
 *         stackwarden_carried_leave(&self);
 *         my_system_yield();
 *         stackwarden_carried_return(&self, my_system_yield);
 *         ...Python, perhaps on another operating-system thread...
 *         stackwarden_carried_exit(&self);
 *     }
 *
 * Promises: while a user thread is away, nothing of it is in the operating-system thread's state: each goes formally
 * from its stack to the carrier's native stack, then switches, and comes back the same way wherever it is. It needs
 * no word from the scheduler, and does not hold the GIL while the scheduler runs.
 * With isolation "thread-state" (CPython 3.12 and later) a user thread may go on anywhere. Where that cannot be had
 * (3.11) it has "frames" and goes back to its first carrier before it goes on: it yields until that takes it. */
#ifndef STACKWARDEN_CARRIED_H
#define STACKWARDEN_CARRIED_H

#include "stackwarden.h"

#include <pthread.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One user thread inside Python. Not to be touched; lives on its stack. */
typedef struct {
    stackwarden_stack stack; /* handle 0: the native stack of its home */
    pthread_t home;
    PyGILState_STATE ensured;
    PyThreadState *saved;
    int stays; /* it goes on at home and nowhere else */
} stackwarden_carried;

typedef void (*stackwarden_yield_function)(void);

/* Bytes. No CPython accepts a smaller stack, and on a small one there is no asking: attaching alone may overrun it. */
#define STACKWARDEN_CARRIED_LEAST_ ((size_t)48 << 10)

/* Not inlined: pthread_self() is a constant to compilers, and a user thread is where it is not. */
static __attribute__((noinline, unused)) pthread_t stackwarden_carrier_(void)
{
    __asm__ volatile("");
    return pthread_self();
}

/* The carrier's own thread state, attached, for the time of a visit: where it had none it has one until the visit
 * ends, so that no thread state outlives its operating-system thread. A stack that stays has frames in it. */
static inline void stackwarden_carrier_attach_(stackwarden_carried *self)
{
    if (self->stays && self->saved != NULL) {
        PyEval_RestoreThread(self->saved);
    }
    else {
        self->ensured = PyGILState_Ensure();
    }
}

static inline void stackwarden_carrier_detach_(stackwarden_carried *self)
{
    if (self->stays) {
        self->saved = PyEval_SaveThread();
    }
    else {
        PyGILState_Release(self->ensured);
    }
}

static inline stackwarden_status stackwarden_carried_register_(stackwarden_carried *self, const char *system)
{
    const void *base = (const void *)self->stack.base;
    stackwarden_status status =
        stackwarden_register_stack(base, self->stack.size, NULL, system,
                                   STACKWARDEN_TRIM_GUARD | STACKWARDEN_ISOLATION_THREAD_STATE, &self->stack);
    self->stays = status == STACKWARDEN_NO_ISOLATION;
    if (self->stays) {
        status = stackwarden_register_stack(base, self->stack.size, NULL, system,
                                            STACKWARDEN_TRIM_GUARD | STACKWARDEN_ISOLATION_FRAMES,
                                            &self->stack);
    }
    return status;
}

/* The caller's stack goes into Python.
 * Requires: detached, or nothing of Python on this operating-system thread; on the stack [base, base + size), the guard
 *   pages of which may be part of it; not entered already; Python is running. MAY BLOCK waiting for the GIL: hold no
 *   lock that a thread with the GIL may want.
 * Guarantees: DONE: attached; protection is that of this stack; it has execution state of its own, with `context` (a
 *   contextvars.Context, not stolen; NULL: a copy of the carrier's).
 * Fails with: what stackwarden_register_stack() fails with; it is detached then. */
static inline stackwarden_status stackwarden_carried_enter(stackwarden_carried *self, const void *base, size_t size,
                                                           const char *system, PyObject *context)
{
    uintptr_t low = ((uintptr_t)base + 15) & ~(uintptr_t)15;
    if (size < STACKWARDEN_CARRIED_LEAST_) {
        return STACKWARDEN_TOO_SMALL;
    }
    memset(self, 0, sizeof *self);
    self->home = stackwarden_carrier_();
    self->stack.base = low;
    self->stack.size = ((uintptr_t)base + size - low) & ~(size_t)15;
    stackwarden_reset_stack(); /* its bounds may have been told: they belong to the record now */
    stackwarden_carrier_attach_(self);
    stackwarden_status status = stackwarden_carried_register_(self, system);
    if (status == STACKWARDEN_DONE && context != NULL) {
        status = stackwarden_renew_stack(self->stack.handle, context);
    }
    if (status == STACKWARDEN_DONE) {
        status = stackwarden_start_switch_blocking(&self->stack, 0);
    }
    if (status == STACKWARDEN_DONE) {
        stackwarden_finish_switch();
        stackwarden_current_stack(&self->stack); /* without the guard pages */
        return status;
    }
    if (self->stack.handle != 0) {
        stackwarden_unregister_stack(self->stack.handle);
    }
    PyGILState_Release(self->ensured);
    return status;
}

/* The caller's stack leaves Python for good.
 * Requires: attached, entered; no frame of Python is left on it.
 * Guarantees: DONE: detached; its record is gone. Runs destructors. */
static inline stackwarden_status stackwarden_carried_exit(stackwarden_carried *self)
{
    stackwarden_status status = stackwarden_start_switch_blocking(NULL, STACKWARDEN_SWITCH_ENDS);
    if (status == STACKWARDEN_DONE) {
        stackwarden_finish_switch();
        stackwarden_unregister_stack(self->stack.handle);
        /* The carrier's thread state may end here, still on this stack: with other bounds CPython would put off
         * what is freed then, for ever. */
        stackwarden_notify_stack_switch((const void *)self->stack.base, self->stack.size);
        stackwarden_drain();
        PyGILState_Release(self->ensured);
        stackwarden_reset_stack();
    }
    return status;
}

/* Right before what may switch. The stack stays as it is: it may be left attached or detached.
 * Requires: entered, or stackwarden_carried_native(). MAY BLOCK waiting for the GIL, when detached.
 * Guarantees: DONE: detached, and this operating-system thread may carry on with whatever it likes.
 * Fails with: what stackwarden_leaving_blocking() fails with; nothing was changed: do not switch. */
static inline stackwarden_status stackwarden_carried_leave(stackwarden_carried *self)
{
    if (self->stack.handle == 0) {
        self->saved = PyGILState_Check() ? PyEval_SaveThread() : NULL;
        return STACKWARDEN_DONE;
    }
    stackwarden_status status = stackwarden_start_switch_blocking(NULL, 0);
    if (status == STACKWARDEN_DONE) {
        stackwarden_finish_switch();
        stackwarden_carrier_detach_(self);
    }
    return status;
}

/* Right after it, on the same stack, on whichever operating-system thread.
 * `yield` lets the scheduler carry on with others, and leads back here: a stack that goes on at home alone calls it
 * until it is there.
 * Requires: stackwarden_carried_leave() was DONE. MAY BLOCK waiting for the GIL.
 * Guarantees: DONE: attached or detached as it was left.
 * Fails with: NO_MEMORY, NOT_RUNNING: detached, and its Python can't go on. */
static inline stackwarden_status stackwarden_carried_return(stackwarden_carried *self,
                                                            stackwarden_yield_function yield)
{
    while (self->stays && !pthread_equal(self->home, stackwarden_carrier_())) {
        yield();
    }
    if (self->stack.handle == 0) {
        if (self->saved != NULL) {
            PyEval_RestoreThread(self->saved);
        }
        return STACKWARDEN_DONE;
    }
    stackwarden_reset_stack();
    stackwarden_carrier_attach_(self);
    stackwarden_status status = stackwarden_start_switch_blocking(&self->stack, 0);
    if (status == STACKWARDEN_DONE) {
        stackwarden_finish_switch();
    }
    else {
        stackwarden_carrier_detach_(self);
    }
    return status;
}

/* A native stack that a scheduler takes for a user thread, and carries elsewhere: the main program's. For leave and
 * return alone.
 * Requires: called at home. */
static inline void stackwarden_carried_native(stackwarden_carried *self)
{
    memset(self, 0, sizeof *self);
    self->home = stackwarden_carrier_();
    self->stays = 1;
}

#ifdef __cplusplus
}
#endif
#endif
