/* depth_probe.c: recursion in C that is kept in check by nothing, by CPython, or by stackwarden.h.
 *
 * Promises: knows the public header alone. Says how deep it came; where nothing checks, it goes on until the process
 * dies. */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <stackwarden/stackwarden.h>

#include <signal.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const char *how, *where;
    size_t frame; /* bytes of stack that each call takes, and more */
    unsigned long calls, most;
    size_t used, remaining; /* at the deepest call */
} dive;

static int enter(const dive *d)
{
    return strcmp(d->how, "check") == 0 ? stackwarden_check_stack_depth(d->where)
         : strcmp(d->how, "count") == 0 ? stackwarden_enter_recursive_call(d->where)
                                        : 0;
}

static void leave(const dive *d)
{
    if (strcmp(d->how, "count") == 0) {
        stackwarden_leave_recursive_call();
    }
}

__attribute__((noinline)) static int go_deeper(dive *d)
{
    volatile char frame[d->frame];
    frame[0] = 1;
    d->used = stackwarden_stack_used();
    d->remaining = stackwarden_stack_remaining();
    if (d->calls == d->most || enter(d) != 0) {
        return d->calls == d->most ? 0 : -1;
    }
    d->calls++;
    int result = go_deeper(d);
    leave(d);
    return result + 0 * frame[0];
}

/* recurse(how, frame, where=None, most=2**62): (calls, bytes used, bytes remaining) once there are `most` */
static PyObject *recurse(PyObject *module, PyObject *args)
{
    (void)module;
    dive d = {.most = 1ul << 62};
    Py_ssize_t frame;
    if (!PyArg_ParseTuple(args, "sn|zk", &d.how, &frame, &d.where, &d.most)) {
        return NULL;
    }
    d.frame = (size_t)frame;
    return go_deeper(&d) == 0 ? Py_BuildValue("knn", d.calls, (Py_ssize_t)d.used, (Py_ssize_t)d.remaining) : NULL;
}

/* look(): (bytes used, bytes remaining), without the GIL */
static PyObject *look(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    size_t used, remaining;
    Py_BEGIN_ALLOW_THREADS
    used = stackwarden_stack_used();
    remaining = stackwarden_stack_remaining();
    Py_END_ALLOW_THREADS
    return Py_BuildValue("nn", (Py_ssize_t)used, (Py_ssize_t)remaining);
}

/* ---- faults ---- */

static void exit_42(int number)
{
    (void)number;
    _exit(42);
}

/* exit_on_faults(): somebody else's handler, on the alternate stack as it should be */
static PyObject *exit_on_faults(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    struct sigaction action = {.sa_handler = exit_42, .sa_flags = SA_ONSTACK};
    sigaction(SIGSEGV, &action, NULL);
    Py_RETURN_NONE;
}

/* write_to(address) */
static PyObject *write_to(PyObject *module, PyObject *address)
{
    (void)module;
    *(volatile char *)PyLong_AsVoidPtr(address) = 1;
    Py_RETURN_NONE;
}

static PyObject *import_table(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    if (stackwarden_import() < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"recurse", recurse, METH_VARARGS, "Recurse in C until something stops it."},
    {"look", look, METH_NOARGS, "What is used and what remains, asked detached."},
    {"exit_on_faults", exit_on_faults, METH_NOARGS, "Have a handler of faults that ends the process with 42."},
    {"write_to", write_to, METH_O, "Write a byte to an address."},
    {"import_table", import_table, METH_NOARGS, "Find the package; without it the header does without."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "depth_probe", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_depth_probe(void)
{
    return PyModule_Create(&definition);
}
