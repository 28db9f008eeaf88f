/* state_loop.h: asyncio's running loop before 3.14, which is in the thread's dict and in a cache of _asyncio. It is
 * saved and loaded with asyncio's own functions, once _asyncio was imported. Running tasks belong to their loop:
 * nothing to do. */

static PyObject *swpy_get_loop, *swpy_set_loop; /* functions of _asyncio, or NULL */

/* Called for each new stack, and before a save: has _asyncio been imported meanwhile? */
static void swpy_check_asyncio(PyThreadState *ts)
{
    (void)ts;
    PyObject *names = swpy_get_loop == NULL ? PySys_GetObject("modules") : NULL;
    PyObject *module = names != NULL ? PyDict_GetItemString(names, "_asyncio") : NULL;
    if (module != NULL) {
        swpy_set_loop = PyObject_GetAttrString(module, "_set_running_loop");
        swpy_get_loop = swpy_set_loop != NULL ? PyObject_GetAttrString(module, "_get_running_loop") : NULL;
        PyErr_Clear();
    }
}

static PyObject *swpy_loop_take_called(void)
{
    PyObject *loop = PyObject_CallNoArgs(swpy_get_loop);
    if (loop == NULL || loop == Py_None) {
        PyErr_Clear();
        Py_XDECREF(loop);
        return NULL;
    }
    PyObject *result = PyObject_CallOneArg(swpy_set_loop, Py_None);
    if (result == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(result);
    return loop;
}

/* Was a module imported since the last call? */
static inline int swpy_modules_grew(void)
{
    static PyObject *modules; /* sys.modules, which lives as long as the interpreter */
    static Py_ssize_t seen;
    if (modules == NULL) {
        modules = Py_XNewRef(PySys_GetObject("modules"));
    }
    if (modules == NULL || !PyDict_Check(modules) || PyDict_GET_SIZE(modules) == seen) {
        return 0;
    }
    seen = PyDict_GET_SIZE(modules);
    return 1;
}

/* Take the running loop, a new reference, so that none runs; or NULL. */
static inline PyObject *swpy_loop_take(void)
{
    if (swpy_get_loop == NULL && swpy_modules_grew()) {
        swpy_check_asyncio(NULL);
    }
    return swpy_get_loop != NULL ? swpy_loop_take_called() : NULL;
}

static inline void swpy_loop_give(PyObject *loop)
{
    if (loop != NULL) {
        PyObject *result = PyObject_CallOneArg(swpy_set_loop, loop);
        if (result == NULL) {
            PyErr_Clear();
        }
        Py_XDECREF(result);
        Py_DECREF(loop);
    }
}

static inline int swpy_version_is_checked(PyThreadState *ts)
{
    (void)ts;
    return 1;
}

/* A thread state of a stack's own has the dict of its thread, and so its running loop. */
static inline void swpy_version_shared_save(swpy_version_state *state)
{
    state->running_loop = swpy_loop_take();
}

static inline void swpy_version_shared_load(swpy_version_state *state)
{
    PyObject *loop = state->running_loop;
    state->running_loop = NULL;
    swpy_loop_give(loop);
}
