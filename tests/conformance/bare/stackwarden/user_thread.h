/* user_thread.h of the unprotected twins: what an extension does that knows of no user threads. */
#ifndef STACKWARDEN_USER_THREAD_H
#define STACKWARDEN_USER_THREAD_H

#include <Python.h>

typedef enum { STACKWARDEN_DONE = 0, STACKWARDEN_NO_MEMORY = -3 } stackwarden_status;

typedef struct {
    PyGILState_STATE ensured;
    PyThreadState *saved;
} stackwarden_user_thread;

static stackwarden_status stackwarden_user_thread_enter(stackwarden_user_thread *self, const void *base, size_t size,
                                                        const char *system, PyObject *context)
{
    (void)base;
    (void)size;
    (void)system;
    (void)context;
    self->ensured = PyGILState_Ensure();
    return STACKWARDEN_DONE;
}

static void stackwarden_user_thread_leave(stackwarden_user_thread *self)
{
    PyGILState_Release(self->ensured);
}

static stackwarden_status stackwarden_user_thread_suspend(stackwarden_user_thread *self)
{
    self->saved = PyEval_SaveThread();
    return STACKWARDEN_DONE;
}

static stackwarden_status stackwarden_user_thread_resume(stackwarden_user_thread *self, void (*yield)(void))
{
    (void)yield;
    PyEval_RestoreThread(self->saved);
    return STACKWARDEN_DONE;
}

static const char *stackwarden_status_text(stackwarden_status status)
{
    return status == STACKWARDEN_DONE ? "done" : "refused";
}

static int stackwarden_import(void)
{
    return 0;
}

#endif
