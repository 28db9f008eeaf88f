/* foreign.c: coroutines of a system that has never heard of stackwarden, as Python sees them, for tests.
 *
 *      make(function, size=262144, enters="straight", guard_inside=False) -> coroutine
 *          enters: "straight" calls into Python with the GIL held, "ensure" through PyGILState_Ensure, "own" through a
 *          thread state of its own; "park" parks between PyGILState_Ensure and _Release, and calls nothing; "break" lets
 *          the GIL go and takes it again, "calls in a break" calls meanwhile, through PyGILState_Ensure
 *          guard_inside: the range that makecontext or make_fcontext is told of begins with the guard
 *      resume(coroutine, detached=False, ontop=False) -> is it done?    result(coroutine)
 *      bounds(coroutine) -> (base, size)
 *      park(detached=False)                         back to the resumer, from inside a coroutine
 *      in_thread(coroutine or function, size, low=False)    resume or call it on a new thread with a stack of that size
 *          low: which lies under all others
 *      switch_in_handler()    from now on the handler of SIGUSR1 switches to another stack and back; handled() -> times
 *      eight_arguments()      what arrived of 1 to 8 (ucontext alone)
 *      pairs(count, detached=False) -> nanoseconds for each pair of PyGILState_Ensure and _Release
 *
 * Compiled as FOREIGN_NAME, with one of the ways to jump of machine.h. */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#if defined(FOREIGN_POINTERS)
/* Initialised pointers: in the data of the module, not in its tables. */
#include <ucontext.h>
static int (*swap_pointer)(ucontext_t *, const ucontext_t *) = swapcontext;
static void (*make_pointer)(ucontext_t *, void (*)(void), int, ...) = makecontext;
#define swapcontext (*(volatile __typeof__(swap_pointer) *)&swap_pointer)
#define makecontext (*(volatile __typeof__(make_pointer) *)&make_pointer)
#endif

#include "../machine.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

typedef struct {
    point here, back;
    char *base;
    size_t size;
    PyObject *function, *result;
    PyInterpreterState *interpreter;
    char enters; /* the first letter */
    int done;
} coroutine;

static __thread coroutine *running_of_thread;

/* Not inlined: a coroutine may come back on another thread. */
static __attribute__((noinline)) coroutine **running(void)
{
    return &running_of_thread;
}

/* ---- bodies ---- */

static void call(coroutine *self)
{
    self->result = PyObject_CallNoArgs(self->function);
    if (self->result == NULL) {
        PyErr_WriteUnraisable(self->function);
    }
}

static void call_in_ensured(coroutine *self)
{
    PyGILState_STATE state = PyGILState_Ensure();
    call(self);
    PyGILState_Release(state);
}

static void park_in_ensured(coroutine *self)
{
    PyGILState_STATE state = PyGILState_Ensure();
    point_jump(&self->here, &self->back);
    PyGILState_Release(state);
}

static void pause_and_enter(coroutine *self)
{
    Py_BEGIN_ALLOW_THREADS
    if (self->enters == 'c') {
        call_in_ensured(self);
    }
    sched_yield();
    Py_END_ALLOW_THREADS
}

static void call_in_own_state(coroutine *self)
{
    PyThreadState *own = PyThreadState_New(self->interpreter);
    PyEval_AcquireThread(own);
    call(self);
    PyThreadState_Clear(own);
    PyThreadState_DeleteCurrent();
}

static void body(void *argument)
{
    coroutine *self = argument;
    switch (self->enters) {
    case 'e': call_in_ensured(self); break;
    case 'p': park_in_ensured(self); break;
    case 'b':
    case 'c': pause_and_enter(self); break;
    case 'o': call_in_own_state(self); break;
    default: call(self);
    }
    self->done = 1;
}

/* ---- as Python sees them ---- */

static coroutine *of_capsule(PyObject *capsule)
{
    return PyCapsule_GetPointer(capsule, "coroutine");
}

static void forget(PyObject *capsule)
{
    coroutine *self = of_capsule(capsule);
    Py_XDECREF(self->function);
    Py_XDECREF(self->result);
    if (self->done || self->enters == 'p') { /* frames of Python hold what is on other ones */
        unmap_stack(self->base, self->size);
    }
    free(self);
}

static PyObject *make(PyObject *module, PyObject *args, PyObject *options)
{
    static char *names[] = {"function", "size", "enters", "guard_inside", NULL};
    PyObject *function;
    Py_ssize_t size = 256 << 10;
    const char *enters = "straight";
    int guard_inside = 0;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, options, "O|nsp", names, &function, &size, &enters, &guard_inside)) {
        return NULL;
    }
    coroutine *self = calloc(1, sizeof *self);
    self->size = (size_t)size;
    self->base = map_stack(self->size);
    self->function = Py_NewRef(function);
    self->enters = enters[0];
    self->interpreter = PyInterpreterState_Get();
    size_t guard = guard_inside ? STACK_GUARD : 0;
    point_make(&self->here, self->base - guard, self->size + guard, body, self, &self->back);
    return PyCapsule_New(self, "coroutine", forget);
}

static void go(coroutine *self, int ontop)
{
    coroutine *resumer = *running();
    *running() = self;
#if defined(MACHINE_FCONTEXT)
    ontop ? point_jump_ontop(&self->back, &self->here) : point_jump(&self->back, &self->here);
#else
    (void)ontop;
    point_jump(&self->back, &self->here);
#endif
    *running() = resumer;
}

static PyObject *resume(PyObject *module, PyObject *args, PyObject *options)
{
    static char *names[] = {"coroutine", "detached", "ontop", NULL};
    PyObject *capsule;
    int detached = 0, ontop = 0;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, options, "O|pp", names, &capsule, &detached, &ontop)) {
        return NULL;
    }
    coroutine *self = of_capsule(capsule);
    PyThreadState *saved = detached ? PyEval_SaveThread() : NULL;
    go(self, ontop);
    if (detached) {
        PyEval_RestoreThread(saved);
    }
    return PyBool_FromLong(self->done);
}

static PyObject *park(PyObject *module, PyObject *args)
{
    int detached = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "|p", &detached)) {
        return NULL;
    }
    coroutine *self = *running();
    PyThreadState *saved = detached ? PyEval_SaveThread() : NULL;
    point_jump(&self->here, &self->back);
    if (detached) {
        PyEval_RestoreThread(saved);
    }
    Py_RETURN_NONE;
}

static PyObject *result(PyObject *module, PyObject *capsule)
{
    coroutine *self = of_capsule(capsule);
    (void)module;
    return Py_NewRef(self->result != NULL ? self->result : Py_None);
}

static PyObject *bounds(PyObject *module, PyObject *capsule)
{
    coroutine *self = of_capsule(capsule);
    (void)module;
    uintptr_t base = (uintptr_t)self->base;
    return Py_BuildValue("(KK)", (unsigned long long)base, (unsigned long long)self->size);
}

/* ---- threads ---- */

typedef struct {
    coroutine *coroutine;
    PyObject *function;
    int failed;
} errand;

static void *run(void *argument)
{
    errand *self = argument;
    if (self->coroutine != NULL) {
        go(self->coroutine, 0);
        return NULL;
    }
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *value = PyObject_CallNoArgs(self->function);
    self->failed = value == NULL;
    if (value == NULL) {
        PyErr_WriteUnraisable(self->function);
    }
    Py_XDECREF(value);
    PyGILState_Release(state);
    return NULL;
}

/* Memory that lies under all that mmap chooses by itself. */
static char *map_low(size_t size)
{
    for (uintptr_t place = (uintptr_t)1 << 32; place < (uintptr_t)1 << 40; place += (uintptr_t)1 << 32) {
        char *memory =
            mmap((void *)place, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (memory == (char *)place) {
            return memory;
        }
    }
    return NULL;
}

static void on_thread(errand *self, size_t size, int low)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    char *memory = low ? map_low(size) : NULL;
    if (memory != NULL) {
        pthread_attr_setstack(&attributes, memory, size);
    }
    else {
        pthread_attr_setstacksize(&attributes, size);
    }
    pthread_create(&thread, &attributes, run, self);
    pthread_attr_destroy(&attributes);
    Py_BEGIN_ALLOW_THREADS
    pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS
    if (memory != NULL) {
        munmap(memory, size);
    }
}

static PyObject *in_thread(PyObject *module, PyObject *args)
{
    PyObject *what;
    Py_ssize_t size;
    int low = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "On|p", &what, &size, &low)) {
        return NULL;
    }
    errand self = {PyCapsule_CheckExact(what) ? of_capsule(what) : NULL, what, 0};
    on_thread(&self, (size_t)size, low);
    return PyBool_FromLong(!self.failed);
}

/* ---- switches in the handler of a signal: no Python there ---- */

static coroutine in_handler;
static int times_handled;

static void handler_body(void *unused)
{
    (void)unused;
    for (;;) {
        times_handled++;
        point_jump(&in_handler.here, &in_handler.back);
    }
}

static void handle(int number)
{
    (void)number;
    point_jump(&in_handler.back, &in_handler.here);
}

static PyObject *switch_in_handler(PyObject *module, PyObject *unused)
{
    static char memory[64 << 10] __attribute__((aligned(4096)));
    struct sigaction action = {.sa_handler = handle};
    (void)module;
    (void)unused;
    point_make(&in_handler.here, memory, sizeof memory, handler_body, NULL, NULL);
    sigaction(SIGUSR1, &action, NULL);
    Py_RETURN_NONE;
}

static PyObject *handled(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromLong(times_handled);
}

#if !defined(MACHINE_FCONTEXT) && !defined(MACHINE_STATIC)
/* ---- makecontext with more arguments than there are registers for them ---- */

static int arguments[8];
static ucontext_t with_arguments, without;

static void take(int a, int b, int c, int d, int e, int f, int g, int h)
{
    int taken[8] = {a, b, c, d, e, f, g, h};
    memcpy(arguments, taken, sizeof taken);
}

static PyObject *eight_arguments(PyObject *module, PyObject *unused)
{
    static char memory[64 << 10] __attribute__((aligned(4096)));
    (void)module;
    (void)unused;
    getcontext(&with_arguments);
    with_arguments.uc_stack.ss_sp = memory;
    with_arguments.uc_stack.ss_size = sizeof memory;
    with_arguments.uc_link = &without;
    makecontext(&with_arguments, (void (*)(void))(uintptr_t)take, 8, 1, 2, 3, 4, 5, 6, 7, 8);
    swapcontext(&without, &with_arguments);
    int *a = arguments;
    return Py_BuildValue("(iiiiiiii)", a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
}
#endif

/* ---- what it costs ---- */

static PyObject *pairs(PyObject *module, PyObject *args)
{
    long count;
    int detached = 0;
    struct timespec begun, ended;
    (void)module;
    if (!PyArg_ParseTuple(args, "l|p", &count, &detached)) {
        return NULL;
    }
    PyThreadState *saved = detached ? PyEval_SaveThread() : NULL;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (long i = 0; i < count; i++) {
        PyGILState_Release(PyGILState_Ensure());
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    if (detached) {
        PyEval_RestoreThread(saved);
    }
    double spent = (double)(ended.tv_sec - begun.tv_sec) * 1e9 + (double)(ended.tv_nsec - begun.tv_nsec);
    return PyFloat_FromDouble(spent / (double)count);
}

static PyMethodDef methods[] = {
    {"make", (PyCFunction)(void (*)(void))make, METH_VARARGS | METH_KEYWORDS, NULL},
    {"resume", (PyCFunction)(void (*)(void))resume, METH_VARARGS | METH_KEYWORDS, NULL},
    {"park", park, METH_VARARGS, NULL},
    {"result", result, METH_O, NULL},
    {"bounds", bounds, METH_O, NULL},
    {"in_thread", in_thread, METH_VARARGS, NULL},
    {"switch_in_handler", switch_in_handler, METH_NOARGS, NULL},
    {"handled", handled, METH_NOARGS, NULL},
#if !defined(MACHINE_FCONTEXT) && !defined(MACHINE_STATIC)
    {"eight_arguments", eight_arguments, METH_NOARGS, NULL},
#endif
    {"pairs", pairs, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "foreign", .m_size = -1, .m_methods = methods};

#define JOINED_(a, b) a##b
#define JOINED(a, b) JOINED_(a, b)

PyMODINIT_FUNC JOINED(PyInit_, FOREIGN_NAME)(void)
{
    return PyModule_Create(&module);
}
