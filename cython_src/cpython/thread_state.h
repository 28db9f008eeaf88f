/* thread_state.h: which thread state does the calling thread have?
 *
 * Promises: answers that are right with the GIL held or not, and cost one call when attached. */
#ifndef SWPY_THREAD_STATE_H
#define SWPY_THREAD_STATE_H

#include "../platform/platform.h"
#include "versions.h"

/* Since 3.12 the attached thread state is a thread-local variable (_Py_tss_tstate), which is not exported. Its
 * place in static TLS, 0 while not known: reading it there costs a third of the public call. */
static ptrdiff_t swpy_attached_place;

static inline PyThreadState *swpy_attached_call(void)
{
#if SWPY_311
    /* One variable for all threads, until 3.12 made it thread-local: NULL unless it is ours. */
    PyThreadState *ts = _PyThreadState_UncheckedGet();
    return ts != NULL && ts->thread_id == PyThread_get_thread_ident() ? ts : NULL;
#elif PY_VERSION_HEX < 0x030D0000
    return _PyThreadState_UncheckedGet();
#else
    return PyThreadState_GetUnchecked();
#endif
}

/* The attached thread state of the calling thread, or NULL.
 * Requires: an initialised interpreter. */
static inline PyThreadState *swpy_attached(void)
{
    return swpy_attached_place != 0 ? (PyThreadState *)sw_tls_word(swpy_attached_place) : swpy_attached_call();
}

/* Find swpy_attached_place: the one variable that holds the attached thread state, and NULL while detached.
 * Others hold it always (3.15 keeps the one for PyGILState_Ensure so).
 * Requires: attached. Detaches and attaches again. */
static void swpy_find_attached_place(void)
{
#if !SWPY_311
    ptrdiff_t places[8], follows = 0;
    int candidates = sw_find_tls_words(swpy_attached_call(), places, 8), following = 0;
    if (candidates < 1 || candidates > 8) {
        return;
    }
    PyThreadState *ts = PyEval_SaveThread();
    for (int i = 0; i < candidates; i++) {
        if (sw_tls_word(places[i]) == NULL) {
            follows = places[i];
            following++;
        }
    }
    PyEval_RestoreThread(ts);
    swpy_attached_place = following == 1 && sw_tls_word(follows) == ts ? follows : 0;
#endif
}

/* On each thread that is seen for the first time: where the variable is not at its place after all, ask. */
static inline void swpy_check_attached_place(void)
{
    if (swpy_attached_place != 0 && swpy_attached() != swpy_attached_call()) {
        swpy_attached_place = 0;
    }
}

/* As PyThreadState_GetID, without a call: addresses of dead thread states come back at once, ids never. */
static inline uint64_t swpy_id(PyThreadState *ts)
{
    return ts->id;
}

/* Did something else than Python create the calling thread? `ts` is its own, NULL when it has none.
 * 3.11 and 3.12 do not say who made a thread state: there a thread that `_thread.start_new_thread` started without
 * `threading` counts as foreign. */
static inline int swpy_is_foreign(PyThreadState *ts)
{
#if PY_VERSION_HEX < 0x030D0000
    /* `threading` has a lock released with the thread state; an interpreter's first state is its own. */
    return ts == NULL || (ts->on_delete == NULL && ts->id != 1);
#else
    /* 0: nobody says; 4: PyGILState_Ensure did (3.13, 3.14), any function of the C API (3.15) */
    return ts == NULL || ts->_whence == 0 || ts->_whence == 4;
#endif
}

/* While Python is finalised it frees the thread states of other threads, which do not learn of it. */
static inline int swpy_is_finalizing(void)
{
#if PY_VERSION_HEX < 0x030D0000
    return _Py_IsFinalizing();
#else
    return Py_IsFinalizing();
#endif
}

/* The thread state whose protection the calling thread may set: the attached one, else the one that it will
 * attach next through PyGILState_Ensure, or NULL when it has none yet. */
static inline PyThreadState *swpy_own(void)
{
    PyThreadState *ts = swpy_attached();
    return SW_LIKELY(ts != NULL) ? ts : swpy_is_finalizing() ? NULL : PyGILState_GetThisThreadState();
}

#endif
