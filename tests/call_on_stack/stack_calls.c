/* The C functions, called attached, detached, and in a thread that Python never saw. */
#include <stackwarden/stackwarden.h>

#include <execinfo.h>
#include <pthread.h>
#include <string.h>

typedef struct {
    size_t least, size;
    stackwarden_status status;
    stackwarden_stack inside;
    uintptr_t pointer; /* an address on the stack that the function ran on */
    int attached;
    stackwarden_stack afterwards;
} call;

static void look(void *argument)
{
    call *self = argument;
    self->pointer = (uintptr_t)__builtin_frame_address(0);
    stackwarden_current_stack(&self->inside);
    self->attached = PyGILState_Check();
}

static void *make(void *argument)
{
    call *self = argument;
    self->status = self->least ? stackwarden_maybe_grow(self->least, self->size, look, self)
                               : stackwarden_call_on_stack(self->size, look, self);
    stackwarden_current_stack(&self->afterwards);
    return NULL;
}

static void in_a_new_thread(call *self)
{
    pthread_t thread;
    Py_BEGIN_ALLOW_THREADS
    pthread_create(&thread, NULL, make, self);
    pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS
}

static PyObject *seen_by(const call *self)
{
    return Py_BuildValue("iKnKKiK", (int)self->status, (unsigned long long)self->inside.base,
                         (Py_ssize_t)self->inside.size, (unsigned long long)self->inside.pooled,
                         (unsigned long long)self->pointer, self->attached, (unsigned long long)self->afterwards.base);
}

/* make(how, least, size): (status, base, size, pooled, pointer, attached, base afterwards). least 0: always on another stack. */
static PyObject *make_call(PyObject *module, PyObject *args)
{
    call self = {0};
    const char *how;
    (void)module;
    if (!PyArg_ParseTuple(args, "snn", &how, &self.least, &self.size)) {
        return NULL;
    }
    if (how[0] == 'a') {
        make(&self);
    }
    else if (how[0] == 'd') {
        Py_BEGIN_ALLOW_THREADS
        make(&self);
        Py_END_ALLOW_THREADS
    }
    else {
        in_a_new_thread(&self);
    }
    return seen_by(&self);
}

/* by_settings(): the same, attached, where the caller says no size. */
static PyObject *by_settings(PyObject *module, PyObject *unused)
{
    call self = {0};
    (void)module;
    (void)unused;
    self.status = stackwarden_maybe_grow(0, 0, look, &self);
    return seen_by(&self);
}

/* ---- what backtrace() sees ---- */

#define FRAMES 512

typedef struct {
    void *frames[FRAMES];
    int count;
} trace;

static void take_trace(void *argument)
{
    trace *self = argument;
    self->count = backtrace(self->frames, FRAMES);
}

/* trace(): how many of the outermost C frames are seen inside a call too, and how many there are outside. */
static PyObject *compare_traces(PyObject *module, PyObject *unused)
{
    static trace outside, inside;
    int same = 0;
    (void)module;
    (void)unused;
    take_trace(&outside);
    stackwarden_call_on_stack((size_t)1 << 20, take_trace, &inside);
    while (same < outside.count && same < inside.count
           && outside.frames[outside.count - 1 - same] == inside.frames[inside.count - 1 - same]) {
        same++;
    }
    return Py_BuildValue("ii", same, outside.count);
}

/* overrun(): write below the stack of a call. Ends the process. */
static void write_below(void *unused)
{
    stackwarden_stack here = {0};
    (void)unused;
    stackwarden_current_stack(&here);
    memset((void *)(here.base - 1), 0, 1);
}

static PyObject *overrun(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromLong(stackwarden_call_on_stack((size_t)1 << 20, write_below, NULL));
}

static void keep(void *status)
{
    *(stackwarden_status *)status = stackwarden_retain_stack();
}

/* retain(size): (status of retain_stack() outside, inside, of the call) */
static PyObject *retain_stack(PyObject *module, PyObject *size)
{
    stackwarden_status outside = stackwarden_retain_stack(), inside = STACKWARDEN_NOT_INSTALLED;
    stackwarden_status status = stackwarden_call_on_stack(PyLong_AsSize_t(size), keep, &inside);
    (void)module;
    return Py_BuildValue("iii", (int)outside, (int)inside, (int)status);
}

static PyMethodDef methods[] = {
    {"make", make_call, METH_VARARGS, NULL},
    {"by_settings", by_settings, METH_NOARGS, NULL},
    {"compare_traces", compare_traces, METH_NOARGS, NULL},
    {"overrun", overrun, METH_NOARGS, NULL},
    {"retain", retain_stack, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "stack_calls", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_stack_calls(void)
{
    return stackwarden_import() < 0 ? NULL : PyModule_Create(&definition);
}
