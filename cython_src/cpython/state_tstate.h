/* state_tstate.h: what 3.14 and 3.15 share. Requires SWPY_BOTTOM_FRAME and SWPY_ASYNCIO_WORD. */

typedef struct {
    struct _PyInterpreterFrame *current_frame; /* NULL: the bottom frame */
    PyObject *current_exception;
    PyObject *current_executor; /* strong while saved */
    PyObject *running_loop, *running_task; /* strong */
    int python_depth_used;
    int what_event;
} swpy_version_state;

/* The place of asyncio_running_loop and _task in the thread state; 0 until it is verified. */
static ptrdiff_t swpy_asyncio_place;

static inline PyObject **swpy_asyncio_fields(PyThreadState *ts)
{
    return (PyObject **)((char *)ts + swpy_asyncio_place);
}

static inline PyObject **swpy_asyncio_expected(PyThreadState *ts)
{
    return (PyObject **)((uintptr_t *)((char *)ts + swpy_protection.place) + SWPY_ASYNCIO_WORD);
}

/* Called for each new stack, and before a save while the fields hold something and are not verified: is there what
 * asyncio says the running loop is? */
static void swpy_check_asyncio(PyThreadState *ts)
{
    if (swpy_asyncio_place != 0 || swpy_protection.place == 0) {
        return;
    }
    PyObject **expected = swpy_asyncio_expected(ts);
    PyObject *names = PySys_GetObject("modules");
    PyObject *module = names != NULL ? PyDict_GetItemString(names, "_asyncio") : NULL;
    PyObject *loop = module != NULL ? PyObject_CallMethod(module, "_get_running_loop", NULL) : NULL;
    if (loop != NULL && loop == *expected) {
        swpy_asyncio_place = (char *)expected - (char *)ts;
    }
    Py_XDECREF(loop);
    PyErr_Clear();
}

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

static inline int swpy_version_is_checked(PyThreadState *ts)
{
    return swpy_asyncio_place != 0 || swpy_protection.place == 0 || *swpy_asyncio_expected(ts) == NULL;
}

static inline void swpy_asyncio_save(PyThreadState *ts, swpy_version_state *state)
{
    if (swpy_asyncio_place != 0) {
        PyObject **fields = swpy_asyncio_fields(ts);
        state->running_loop = fields[0];
        state->running_task = fields[1];
    }
}

static inline void swpy_version_save(PyThreadState *ts, swpy_version_state *state)
{
    state->current_frame = ts->current_frame == SWPY_BOTTOM_FRAME(ts) ? NULL : ts->current_frame;
    state->current_exception = ts->current_exception;
    state->current_executor = ts->current_executor;
    Py_XINCREF(state->current_executor);
    state->python_depth_used = ts->py_recursion_limit - ts->py_recursion_remaining;
    state->what_event = ts->what_event;
    swpy_asyncio_save(ts, state);
}

static inline void swpy_version_load(PyThreadState *ts, swpy_version_state *state)
{
    PyObject *executor = state->current_executor;
    ts->current_frame = state->current_frame != NULL ? state->current_frame : SWPY_BOTTOM_FRAME(ts);
    ts->current_exception = state->current_exception;
    ts->current_executor = executor;
    state->current_executor = NULL;
    ts->py_recursion_remaining = ts->py_recursion_limit - state->python_depth_used;
    ts->what_event = state->what_event;
    if (swpy_asyncio_place != 0) {
        PyObject **fields = swpy_asyncio_fields(ts);
        fields[0] = state->running_loop;
        fields[1] = state->running_task;
        state->running_loop = state->running_task = NULL;
    }
    Py_XDECREF(executor); /* only now that it is in the thread state, where the JIT looks for it */
}

static inline void swpy_version_release(swpy_version_state *state)
{
    Py_CLEAR(state->current_executor);
    Py_CLEAR(state->running_loop);
    Py_CLEAR(state->running_task);
}

/* The running loop is in the thread state: nothing is shared. */
static inline void swpy_version_shared_save(swpy_version_state *state)
{
    (void)state;
}

static inline void swpy_version_shared_load(swpy_version_state *state)
{
    (void)state;
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
