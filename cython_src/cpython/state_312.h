/* state_312.h: the part of state.h for 3.12. Follows state_311.h. Python calls are counted apart from C calls; saved is
 * the depth used, because sys.setrecursionlimit() may be called while a stack is suspended. */

typedef struct {
    _PyCFrame *cframe; /* NULL: no evaluation loop runs, and `root` is the one to load */
    _PyCFrame root;
    PyObject *current_exception;
    PyObject *running_loop;
    int python_depth_used;
    int what_event;
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
    return ts->py_recursion_limit == Py_GetRecursionLimit() ? NULL : "the recursion limit is not where it should be";
}

static inline void swpy_version_clear(swpy_version_state *state)
{
    state->what_event = -1;
}

static inline void swpy_version_save(PyThreadState *ts, swpy_version_state *state)
{
    state->cframe = ts->cframe != &ts->root_cframe && ts->cframe != &state->root ? ts->cframe : NULL;
    state->current_exception = ts->current_exception;
    state->python_depth_used = ts->py_recursion_limit - ts->py_recursion_remaining;
    state->what_event = ts->what_event;
    state->trash_delete_nesting = ts->trash.delete_nesting;
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
    ts->current_exception = state->current_exception;
    ts->py_recursion_remaining = ts->py_recursion_limit - state->python_depth_used;
    ts->what_event = state->what_event;
    ts->trash.delete_nesting = state->trash_delete_nesting;
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
