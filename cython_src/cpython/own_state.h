/* own_state.h: a PyThreadState of its own for one stack, made and ended with the documented calls.
 *
 * Promises: it starts as its creator's state would look to Python code: context (given), thread dict, hooks of async
 * generators, threading.local (Pyodide's list, pyodide/pyodide #6421). Never used for a second stack: pooled states
 * leaked context between tasks there. Not on 3.11, where PyGILState_Ensure deadlocks in any state but the first. */
#ifndef SWPY_OWN_STATE_H
#define SWPY_OWN_STATE_H

#include "trashcan.h"
#include "thread_state.h"

#define SWPY_HAS_OWN_STATES (!SWPY_311)

/* Steals a reference to `context`. Requires: attached. NULL: no memory, and `context` is released. */
static PyThreadState *swpy_make_own(PyThreadState *creator, PyObject *context)
{
    PyObject *dict = PyThreadState_GetDict();
    PyThreadState *own = PyThreadState_New(PyInterpreterState_Get());
    if (own == NULL) {
        PyErr_Clear();
        Py_DECREF(context);
        return NULL;
    }
    own->context = context;
    own->context_ver++;
    own->dict = Py_XNewRef(dict);
    own->async_gen_firstiter = Py_XNewRef(creator->async_gen_firstiter);
    own->async_gen_finalizer = Py_XNewRef(creator->async_gen_finalizer);
    own->coroutine_origin_tracking_depth = creator->coroutine_origin_tracking_depth;
#if PY_VERSION_HEX >= 0x030D0000
    Py_XSETREF(own->threading_local_key, Py_XNewRef(creator->threading_local_key));
    Py_XSETREF(own->threading_local_sentinel, Py_XNewRef(creator->threading_local_sentinel));
#endif
    return own;
}

/* A state that ends while a function traces it would leave the code that ran there instrumented (3.12 and later).
 * Requires: attached. May run Python. */
static void swpy_stop_tracing(PyThreadState *own)
{
    if (own->c_tracefunc != NULL) {
        PyEval_SetTrace(NULL, NULL);
    }
    if (own->c_profilefunc != NULL) {
        PyEval_SetProfile(NULL, NULL);
    }
}

/* Requires: attached to another state; no Python on the stack that it belonged to. Runs destructors, in the state
 * that is attached: they may switch stacks. */
static void swpy_end_own(PyThreadState *own)
{
    swpy_drain_trashcan(own); /* PyThreadState_Clear does not */
    PyThreadState_Clear(own);
    PyThreadState_Delete(own);
}

#endif
