/* massivethreads_user.c: a program that links to MassiveThreads and calls Python on its user threads, child first, with
 * massivethreads.h alone.
 *
 *     run(function, count, yields, workers)   function(number) on `count` user threads; each calls it `yields` + 1
 *                                             times, and yields in between. Once in each process. */
#include <stackwarden/massivethreads.h>

#define STACK_SIZE (256 << 10)
#define MOST 1000

typedef struct {
    PyObject *function;
    long number, yields;
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

static void *work_run(void *argument)
{
    work *self = argument;
    stackwarden_user_thread place;
    self->status = stackwarden_massivethreads_enter(&place, STACK_SIZE, NULL);
    if (self->status != STACKWARDEN_DONE) {
        return NULL;
    }
    for (long i = 0; i < self->yields && self->status == STACKWARDEN_DONE; i++) {
        call(self);
        if (i % 2) {
            self->status = stackwarden_massivethreads_yield(&place);
        }
        else {
            PyThreadState *saved = PyEval_SaveThread();
            self->status = stackwarden_massivethreads_yield(&place);
            PyEval_RestoreThread(saved);
        }
    }
    call(self);
    stackwarden_user_thread_leave(&place);
    return NULL;
}

static void start(int workers)
{
    myth_globalattr_t attributes;
    memset(&attributes, 0, sizeof attributes);
    myth_globalattr_init(&attributes);
    myth_globalattr_set_n_workers(&attributes, (size_t)workers);
    myth_init_ex(&attributes);
}

static myth_thread_t create(work *self)
{
    myth_thread_attr_t attributes;
    myth_thread_t thread;
    memset(&attributes, 0, sizeof attributes);
    myth_thread_attr_init(&attributes);
    myth_thread_attr_setstacksize(&attributes, STACK_SIZE);
    attributes.child_first = 1;
    myth_create_ex(&thread, &attributes, work_run, self);
    return thread;
}

static void run_all(work *all, long count, int workers)
{
    static myth_thread_t threads[MOST];
    stackwarden_user_thread native;
    stackwarden_user_thread_pin(&native);
    stackwarden_user_thread_suspend(&native);
    start(workers);
    for (long i = 0; i < count; i++) {
        threads[i] = create(&all[i]);
    }
    for (long i = 0; i < count; i++) {
        myth_join(threads[i], NULL);
    }
    stackwarden_user_thread_resume(&native, stackwarden_massivethreads_pass);
}

static PyObject *run(PyObject *module, PyObject *args)
{
    static work all[MOST];
    PyObject *function;
    long count, yields;
    int workers;
    (void)module;
    if (!PyArg_ParseTuple(args, "Olli", &function, &count, &yields, &workers)) {
        return NULL;
    }
    for (long i = 0; i < count; i++) {
        all[i] = (work){function, i, yields, STACKWARDEN_DONE};
    }
    run_all(all, count, workers);
    for (long i = 0; i < count; i++) {
        if (all[i].status != STACKWARDEN_DONE) {
            return PyErr_Format(PyExc_RuntimeError, "%ld: %s", i, stackwarden_status_text(all[i].status));
        }
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"run", run, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "massivethreads_user", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_massivethreads_user(void)
{
    return stackwarden_import() < 0 ? NULL : PyModule_Create(&definition);
}
