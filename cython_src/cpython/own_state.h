/* own_state.h: a PyThreadState of its own for one stack, made and ended with documented functions.
 *
 * Promises: to Python code it looks like its creator's thread state: thread dict, hooks of async generators,
 * threading.local (the list is Pyodide's, pyodide/pyodide #6421); its context is given. It is never used for a second
 * stack: in Pyodide pooled states leaked context between tasks. Not on 3.11, where PyGILState_Ensure deadlocks in any
 * thread state but a thread's first. */
#ifndef SWPY_OWN_STATE_H
#define SWPY_OWN_STATE_H

#include "thread_state.h"
#include "trashcan.h"

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

/* Else the code that ran there stays instrumented (3.12 and later;
 * test_no_code_stays_instrumented_for_a_coroutine_that_is_done).
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

/* Requires: another thread state is attached; no Python is left on the stack. Runs destructors, which may switch
 * stacks, in the attached thread state. */
static void swpy_end_own(PyThreadState *own)
{
    swpy_drain_trashcan(own); /* PyThreadState_Clear() does not */
    PyThreadState_Clear(own);
    PyThreadState_Delete(own);
}

#endif
