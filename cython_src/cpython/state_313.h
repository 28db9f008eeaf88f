/* state_313.h: the part of state.h for 3.13. Follows state_312.h; the current frame is in the thread state itself. */

typedef struct {
    struct _PyInterpreterFrame *current_frame;
    PyObject *current_exception;
    PyObject *previous_executor;
    PyObject *running_loop;
    int python_depth_used;
    int what_event;
} swpy_version_state;

#include "state_loop.h"

static inline void *swpy_version_current_frame(PyThreadState *ts)
{
    return ts->current_frame;
}

static inline void *swpy_version_python_frame(PyThreadState *ts)
{
    return ts->current_frame;
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
    state->current_frame = ts->current_frame;
    state->current_exception = ts->current_exception;
    state->previous_executor = ts->previous_executor;
    state->python_depth_used = ts->py_recursion_limit - ts->py_recursion_remaining;
    state->what_event = ts->what_event;
    state->running_loop = swpy_loop_take();
}

static inline void swpy_version_load(PyThreadState *ts, swpy_version_state *state)
{
    ts->current_frame = state->current_frame;
    ts->current_exception = state->current_exception;
    ts->previous_executor = state->previous_executor;
    ts->py_recursion_remaining = ts->py_recursion_limit - state->python_depth_used;
    ts->what_event = state->what_event;
    swpy_loop_give(state->running_loop);
    state->running_loop = NULL;
}

static inline void swpy_version_release(swpy_version_state *state)
{
    Py_CLEAR(state->running_loop);
}

static inline int swpy_version_is_idle(const swpy_version_state *state)
{
    return state->current_frame == NULL;
}

static inline void swpy_version_frame_swap(PyThreadState *ts, swpy_version_state *state)
{
    struct _PyInterpreterFrame *frame = ts->current_frame;
    ts->current_frame = state->current_frame;
    state->current_frame = frame;
}
