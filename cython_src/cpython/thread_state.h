/* thread_state.h: the thread state of the calling thread.
 *
 * Promises: right answers, attached or detached; for an attached thread at the cost of a load, or of one call. */
#ifndef SWPY_THREAD_STATE_H
#define SWPY_THREAD_STATE_H

#include "../platform/platform.h"
#include "versions.h"

/* Since 3.12 the attached thread state is in a thread-local variable that is not exported (_Py_tss_tstate). This is its
 * place in static TLS; 0: not known. Reading it there costs a third of the public function. */
static ptrdiff_t swpy_attached_place;

static inline PyThreadState *swpy_attached_call(void)
{
#if SWPY_311
    /* One variable for all threads, before 3.12: NULL unless its thread state is the caller's. */
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

/* Find swpy_attached_place: the one variable that holds the attached thread state, and NULL while the thread is
 * detached. Other variables hold it always (3.15 has one for PyGILState_Ensure).
 * Requires: attached. Detaches, and attaches again. */
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

/* On each new thread: where the variable is not at its place after all, call the public function from now on. */
static inline void swpy_check_attached_place(void)
{
    if (swpy_attached_place != 0 && swpy_attached() != swpy_attached_call()) {
        swpy_attached_place = 0;
    }
}

/* PyThreadState_GetID() without a call. The address of a dead thread state is used again at once; an id never is. */
static inline uint64_t swpy_id(PyThreadState *ts)
{
    return ts->id;
}

/* Was the calling thread created by something else than Python? `ts`: its thread state, or NULL. 3.11 and 3.12 do not
 * record who made a thread state: there a thread of `_thread.start_new_thread` counts as foreign. */
static inline int swpy_is_foreign(PyThreadState *ts)
{
#if PY_VERSION_HEX < 0x030D0000
    /* `threading` has a lock released with the thread state; an interpreter's first thread state has id 1. */
    return ts == NULL || (ts->on_delete == NULL && ts->id != 1);
#else
    /* Made by: 0: unknown; 4: PyGILState_Ensure (3.13, 3.14), any function of the C API (3.15) */
    return ts == NULL || ts->_whence == 0 || ts->_whence == 4;
#endif
}

/* During its finalization Python frees the thread states of other threads, which do not learn of it. */
static inline int swpy_is_finalizing(void)
{
#if PY_VERSION_HEX < 0x030D0000
    return _Py_IsFinalizing();
#else
    return Py_IsFinalizing();
#endif
}

/* The thread state whose bounds the calling thread may set: the attached one, else the one that PyGILState_Ensure will
 * attach; NULL: the thread has none yet. */
static inline PyThreadState *swpy_own(void)
{
    PyThreadState *ts = swpy_attached();
    return SW_LIKELY(ts != NULL) ? ts : swpy_is_finalizing() ? NULL : PyGILState_GetThisThreadState();
}

#endif
