/* many_stacks: registers stacks by the million, for tests.
 *
 *      register(base, size, count)     stacks that lie one after the other
 *      unregister()                    all of them, and says how many were still known */
#define PY_SSIZE_T_CLEAN
#include <stackwarden/stackwarden.h>

static stackwarden_handle *handles;
static size_t registered;

static PyObject *register_stacks(PyObject *module, PyObject *args)
{
    unsigned long long base, size, count;
    (void)module;
    if (!PyArg_ParseTuple(args, "KKK", &base, &size, &count)) {
        return NULL;
    }
    handles = PyMem_RawCalloc((size_t)count, sizeof *handles);
    for (registered = 0; handles != NULL && registered < count; registered++) {
        stackwarden_stack made = {0};
        stackwarden_status status = stackwarden_register_stack((void *)(uintptr_t)(base + registered * size),
                                                               (size_t)size, NULL, NULL, 0, &made);
        handles[registered] = made.handle;
        if (status != STACKWARDEN_DONE) {
            return PyErr_Format(PyExc_RuntimeError, "stack %zu: %s", registered, stackwarden_status_text(status));
        }
    }
    Py_RETURN_NONE;
}

static PyObject *unregister_stacks(PyObject *module, PyObject *unused)
{
    size_t known = 0;
    (void)module;
    (void)unused;
    while (registered > 0) {
        known += stackwarden_unregister_stack(handles[--registered]) == STACKWARDEN_DONE;
    }
    PyMem_RawFree(handles);
    return PyLong_FromSize_t(known);
}

static PyMethodDef methods[] = {
    {"register", register_stacks, METH_VARARGS, NULL},
    {"unregister", unregister_stacks, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "many_stacks", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_many_stacks(void)
{
    return stackwarden_import() < 0 ? NULL : PyModule_Create(&definition);
}
