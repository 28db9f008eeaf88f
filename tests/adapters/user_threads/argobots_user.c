/* argobots_user.c: a program that links to Argobots and calls Python on its user threads, with argobots.h alone.
 *
 *     run(function, count, yields, enters, workers)   function(number) on `count` user threads; each calls it
 *                                                     `yields` + 1 times, and yields in between. */
#include <stackwarden/argobots.h>

typedef struct {
    PyObject *function;
    long number, yields;
    int enters;
    stackwarden_status status;
} work;

static void call(work *self)
{
    PyObject *result = PyObject_CallFunction(self->function, "l", self->number);
    if (result == NULL) {
        PyErr_Print();
    }
    Py_XDECREF(result);
}

static void work_entered(work *self)
{
    stackwarden_user_thread place;
    self->status = stackwarden_argobots_enter(&place, NULL);
    if (self->status != STACKWARDEN_DONE) {
        return;
    }
    for (long i = 0; i < self->yields && self->status == STACKWARDEN_DONE; i++) {
        call(self);
        if (i % 2) {
            self->status = stackwarden_argobots_yield(&place);
        }
        else {
            PyThreadState *saved = PyEval_SaveThread();
            self->status = stackwarden_argobots_yield(&place);
            PyEval_RestoreThread(saved);
        }
    }
    call(self);
    stackwarden_user_thread_leave(&place);
}

static void work_plainly(work *self)
{
    PyGILState_STATE state = PyGILState_Ensure();
    call(self);
    PyGILState_Release(state);
}

static void work_run(void *argument)
{
    work *self = argument;
    if (self->enters) {
        work_entered(self);
    }
    else {
        work_plainly(self);
    }
}

#define MOST 1000

static int run_all(work *all, long count, int workers)
{
    static ABT_thread threads[MOST];
    ABT_xstream streams[8];
    ABT_pool pool;
    stackwarden_user_thread native;
    stackwarden_user_thread_pin(&native);
    stackwarden_user_thread_suspend(&native);
    ABT_init(0, NULL);
    int told = stackwarden_argobots_tell();
    ABT_pool_create_basic(ABT_POOL_FIFO, ABT_POOL_ACCESS_MPMC, ABT_TRUE, &pool);
    ABT_xstream_self(&streams[0]);
    ABT_xstream_set_main_sched_basic(streams[0], ABT_SCHED_BASIC, 1, &pool);
    for (int i = 1; i < workers; i++) {
        ABT_xstream_create_basic(ABT_SCHED_BASIC, 1, &pool, NULL, &streams[i]);
    }
    for (long i = 0; i < count; i++) {
        ABT_thread_create(pool, work_run, &all[i], ABT_THREAD_ATTR_NULL, &threads[i]);
    }
    for (long i = 0; i < count; i++) {
        ABT_thread_free(&threads[i]);
    }
    stackwarden_user_thread_resume(&native, stackwarden_argobots_pass); /* no stream can free itself */
    for (int i = 1; i < workers; i++) {
        stackwarden_user_thread_suspend(&native);
        ABT_xstream_free(&streams[i]);
        stackwarden_user_thread_resume(&native, stackwarden_argobots_pass);
    }
    ABT_finalize();
    return told;
}

static PyObject *run(PyObject *module, PyObject *args)
{
    static work all[MOST];
    PyObject *function;
    long count, yields;
    int enters, workers;
    (void)module;
    if (!PyArg_ParseTuple(args, "Ollpi", &function, &count, &yields, &enters, &workers)) {
        return NULL;
    }
    for (long i = 0; i < count; i++) {
        all[i] = (work){function, i, yields, enters, STACKWARDEN_DONE};
    }
    int told = run_all(all, count, workers);
    for (long i = 0; i < count; i++) {
        if (all[i].status != STACKWARDEN_DONE) {
            return PyErr_Format(PyExc_RuntimeError, "%ld: %s", i, stackwarden_status_text(all[i].status));
        }
    }
    return PyBool_FromLong(told == ABT_SUCCESS);
}

static PyMethodDef methods[] = {{"run", run, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "argobots_user", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_argobots_user(void)
{
    return stackwarden_import() < 0 ? NULL : PyModule_Create(&definition);
}
