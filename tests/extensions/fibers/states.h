/* states.h: thread states that are made and swapped by hand, with the documented calls, without stackwarden.
 *
 *      ensure_after_move(own)   PyGILState_Ensure where another thread attached the same thread state before
 *
 * Requires: detached. */
#ifndef FIBERS_STATES_H
#define FIBERS_STATES_H

#include <Python.h>

#include <pthread.h>

typedef struct {
    PyInterpreterState *interpreter;
    PyThreadState *moving;
    int reattaches; /* the first thread attaches a thread state of its own after it has detached the moving one */
    int ensures; /* the second thread calls PyGILState_Ensure in it */
    int same; /* what it attached is the moving one */
} move;

static void *visit(void *argument)
{
    move *self = argument;
    PyThreadState *own = PyThreadState_New(self->interpreter);
    PyEval_RestoreThread(own);
    PyThreadState_Swap(self->moving);
    if (self->ensures) {
        PyGILState_STATE state = PyGILState_Ensure();
        self->same = PyThreadState_Get() == self->moving;
        PyGILState_Release(state);
    }
    if (self->reattaches) {
        PyThreadState_Swap(own);
        PyThreadState_Clear(own);
        PyThreadState_DeleteCurrent();
    }
    else {
        PyEval_SaveThread();
    }
    return NULL;
}

static void in_a_thread(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    pthread_create(&thread, NULL, function, argument);
    pthread_join(thread, NULL);
}

static int ensure_after_move(PyInterpreterState *interpreter, int reattaches)
{
    move self = {.interpreter = interpreter, .moving = PyThreadState_New(interpreter), .reattaches = reattaches};
    in_a_thread(visit, &self);
    self.ensures = 1;
    in_a_thread(visit, &self);
    return self.same;
}

#endif
