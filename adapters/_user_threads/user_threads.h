/* user_threads.h: one user thread that runs Python, whatever the system; included first by each system.h.
 *
 * Promises: the system's functions that may switch are called between stackwarden_user_thread_suspend() and
 * stackwarden_user_thread_resume(), and nowhere else. A system.h defines what is declared here. */
#ifndef USER_THREADS_H
#define USER_THREADS_H

#include <Python.h>

#include <stackwarden/user_thread.h>

typedef struct {
    void *system_thread;
    char *base; /* lowest usable byte; where the system allocates stacks, unknown */
    size_t size; /* bytes */
    PyObject *task, *context; /* owned; released by _free_thread() */
    stackwarden_status entered; /* refused: it ran no Python */
    stackwarden_handle handle;
    int started, finished; /* the last is read by other threads */
} user_thread;

typedef enum {
    PLACE_OUTSIDE, /* no user thread: the system does not run, or does not know this operating-system thread */
    PLACE_NATIVE, /* the main program's stack */
    PLACE_ENTERED,
    PLACE_NOT_ENTERED /* a user thread in which Python runs, but not through stackwarden_user_thread_enter() */
} user_thread_place;

static void user_thread_body(user_thread *self);
static stackwarden_user_thread *system_self(void);
static void system_set_self(stackwarden_user_thread *self);
static stackwarden_status system_enter(stackwarden_user_thread *self, const user_thread *thread);
static void system_pass(void);
static void system_go_elsewhere(void); /* a yield that can change the carrier: see stackwarden_user_thread_resume() */
static int system_create(user_thread *self);
static void system_join(user_thread *self);
static int system_start(int workers);
static void system_stop(void);

static void (*user_thread_work)(PyObject *task); /* attached; leaves no exception pending */

/* What a user thread does. Not inlined: it stands for one frame near the top of the stack. */
static __attribute__((noinline)) void user_thread_body(user_thread *self)
{
    stackwarden_user_thread place;
    self->started = 1;
    self->entered = system_enter(&place, self);
    if (self->entered == STACKWARDEN_DONE) {
        self->handle = place.stack.handle;
        system_set_self(&place);
        user_thread_work(self->task);
        system_set_self(NULL);
        stackwarden_user_thread_leave(&place);
    }
    __atomic_store_n(&self->finished, 1, __ATOMIC_RELEASE);
}

/* ---- calls that may switch ---- */

typedef struct {
    enum { CREATE, JOIN, PASS, START, STOP } what;
    user_thread *thread;
    int workers;
    int result;
} switching_call;

static void switching_call_run(switching_call *self)
{
    switch (self->what) {
    case CREATE: self->result = system_create(self->thread); break;
    case JOIN: system_join(self->thread); break;
    case PASS: system_pass(); break;
    case START: self->result = system_start(self->workers); break;
    case STOP: system_stop();
    }
}

/* Requires: attached; not on a user thread that has not entered. Comes back on the same stack, attached, perhaps on
 * another operating-system thread. Fails with: what suspend and resume fail with. */
static stackwarden_status switching_call_make(switching_call *self)
{
    stackwarden_user_thread native, *place = system_self();
    if (place == NULL) {
        stackwarden_user_thread_pin(&native);
        place = &native;
    }
    stackwarden_status status = stackwarden_user_thread_suspend(place);
    if (status == STACKWARDEN_DONE) {
        switching_call_run(self);
        status = stackwarden_user_thread_resume(place, system_go_elsewhere);
    }
    return status;
}

#endif
