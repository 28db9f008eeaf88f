/* state_311.h: the part of state.h for 3.11. The current frame hangs off a _PyCFrame on the machine stack of the
 * innermost evaluation loop; a new stack gets a root of its own. Each _PyCFrame says whether tracing is on. */

typedef struct {
    _PyCFrame *cframe; /* NULL: no evaluation loop runs, and `root` is the one to load */
    _PyCFrame root;
    PyObject *curexc_type, *curexc_value, *curexc_traceback;
    PyObject *running_loop;
    int tracing_what;
    int trash_delete_nesting;
} swpy_version_state;

#include "state_loop.h"

static inline void *swpy_version_current_frame(PyThreadState *ts)
{
    return ts->cframe->current_frame;
}

static inline void *swpy_version_python_frame(PyThreadState *ts)
{
    return ts->cframe->current_frame;
}

static const char *swpy_version_start(PyThreadState *ts)
{
    return ts->recursion_headroom == 0 && ts->tracing == 0 ? NULL : "the thread state is not at rest";
}

static inline void swpy_version_clear(swpy_version_state *state)
{
    (void)state;
}

static inline void swpy_version_save(PyThreadState *ts, swpy_version_state *state)
{
    state->cframe = ts->cframe != &ts->root_cframe && ts->cframe != &state->root ? ts->cframe : NULL;
    state->curexc_type = ts->curexc_type;
    state->curexc_value = ts->curexc_value;
    state->curexc_traceback = ts->curexc_traceback;
    state->tracing_what = ts->tracing_what;
    state->trash_delete_nesting = ts->trash_delete_nesting;
    state->running_loop = swpy_loop_take();
}

static inline void swpy_version_load(PyThreadState *ts, swpy_version_state *state)
{
    if (state->cframe == NULL) {
        state->root.current_frame = NULL;
        state->root.previous = &ts->root_cframe;
        state->cframe = &state->root;
    }
    ts->cframe = state->cframe;
    ts->cframe->use_tracing = ts->c_tracefunc != NULL || ts->c_profilefunc != NULL ? 255 : 0;
    ts->curexc_type = state->curexc_type;
    ts->curexc_value = state->curexc_value;
    ts->curexc_traceback = state->curexc_traceback;
    ts->tracing_what = state->tracing_what;
    ts->trash_delete_nesting = state->trash_delete_nesting;
    swpy_loop_give(state->running_loop);
    state->running_loop = NULL;
}

static inline void swpy_version_release(swpy_version_state *state)
{
    Py_CLEAR(state->running_loop);
}

static inline int swpy_version_is_idle(const swpy_version_state *state)
{
    return state->cframe == NULL || state->cframe->current_frame == NULL;
}

static inline void swpy_version_frame_swap(PyThreadState *ts, swpy_version_state *state)
{
    _PyCFrame *cframe = ts->cframe;
    ts->cframe = state->cframe;
    state->cframe = cframe;
}
