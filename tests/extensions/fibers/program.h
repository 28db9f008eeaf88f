/* program.h: what a fiber, or the stack that resumes fibers, does, as a string with one letter for each step.
 *
 *      e r   PyGILState_Ensure, PyGILState_Release; may be nested
 *      s t   PyEval_SaveThread, PyEval_RestoreThread
 *      c     call the actor's Python function with the actor's number
 *      p d   park (on a fiber); 16 KiB further down
 *      0-9   resume that fiber; nothing where it is done
 *      x     take note whether the thread is attached: the notes are a string of 0 and 1
 *
 * Promises: itself needs no thread state, so a program may run on a thread that never saw Python. */
#ifndef FIBERS_PROGRAM_H
#define FIBERS_PROGRAM_H

#include "fiber.h"

#define DEPTH 8
#define NOTES 32

typedef struct {
    const char *program;
    long number;
    PyObject *function;
    fiber **fibers; /* those that the digits name */
    int raw;
    stackwarden_status refusal; /* the first, or DONE */
    PyObject *result, *error; /* of the last call that returned, and the first that raised */
    char notes[NOTES];
    int noted;
    PyGILState_STATE held[DEPTH];
    int ensured;
    PyThreadState *saved;
} actor;

static void actor_ensure(actor *self)
{
    self->held[self->ensured++] = PyGILState_Ensure();
    if (!self->raw) {
        stackwarden_sync_stack(); /* the thread state may be a new one */
    }
}

static void actor_call(actor *self)
{
    PyObject *result = PyObject_CallFunction(self->function, "l", self->number);
    if (result != NULL) {
        Py_XSETREF(self->result, result);
        return;
    }
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(error, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    if (self->error == NULL) {
        self->error = error;
    }
    else {
        Py_DECREF(error);
    }
}

static void actor_switched(actor *self, stackwarden_status status)
{
    if (self->refusal == STACKWARDEN_DONE) {
        self->refusal = status;
    }
}

static void actor_resume(actor *self, fiber *other)
{
    if (!other->done) {
        actor_switched(self, fiber_resume(other));
    }
}

static __attribute__((noinline)) stackwarden_status park_further_down(void)
{
    volatile char room[16 << 10];
    room[0] = 0;
    stackwarden_status status = fiber_park();
    room[1] = room[0];
    return status;
}

static void actor_step(actor *self, char step)
{
    switch (step) {
    case 'e': actor_ensure(self); break;
    case 'r': PyGILState_Release(self->held[--self->ensured]); break;
    case 's': self->saved = PyEval_SaveThread(); break;
    case 't': PyEval_RestoreThread(self->saved); break;
    case 'c': actor_call(self); break;
    case 'p': actor_switched(self, fiber_park()); break;
    case 'd': actor_switched(self, park_further_down()); break;
    case 'x': self->notes[self->noted++] = PyGILState_Check() ? '1' : '0'; break;
    default: actor_resume(self, self->fibers[step - '0']);
    }
}

static void actor_run(actor *self)
{
    for (const char *step = self->program; *step != '\0'; step++) {
        actor_step(self, *step);
    }
}

static void actor_is_body(fiber *running)
{
    actor_run(running->own);
}

#endif
