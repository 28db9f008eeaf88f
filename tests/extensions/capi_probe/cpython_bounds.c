/* cpython_bounds.c: what this very interpreter checks, read from its own headers.
 *
 * Promises: an answer that owes nothing to the core. On CPython 3.14 and later it is compiled against the
 * internal headers of exactly the version that runs; a mismatch is an ImportError. */
#include <Python.h>

#if PY_VERSION_HEX >= 0x030E0000
#define Py_BUILD_CORE 1
#include "internal/pycore_tstate.h"
#undef Py_BUILD_CORE
#endif

static PyObject *read_bounds(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    PyThreadState *ts = PyThreadState_Get();
#if PY_VERSION_HEX >= 0x030E0000
    _PyThreadStateImpl *whole = (_PyThreadStateImpl *)ts;
    return Py_BuildValue("{sK sK sK}", "top", (unsigned long long)whole->c_stack_top, "soft",
                         (unsigned long long)whole->c_stack_soft_limit, "hard",
                         (unsigned long long)whole->c_stack_hard_limit);
#elif PY_VERSION_HEX >= 0x030C0000
    return Py_BuildValue("{si}", "remaining", ts->c_recursion_remaining);
#else
    return Py_BuildValue("{si si}", "limit", ts->recursion_limit, "remaining", ts->recursion_remaining);
#endif
}

static PyMethodDef methods[] = {
    {"read", read_bounds, METH_NOARGS, "What the calling thread state checks, as a dict."},
    {NULL, NULL, 0, NULL},
};

static int start(PyObject *module)
{
    (void)module;
    if (Py_Version != PY_VERSION_HEX) {
        PyErr_SetString(PyExc_ImportError, "the headers are not those of the interpreter that runs");
        return -1;
    }
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)start}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "cpython_bounds", NULL, 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_cpython_bounds(void)
{
    return PyModuleDef_Init(&definition);
}
