/* The C header from outside: tells of a stack and comes back. */
#include <stackwarden/stackwarden.h>

static PyObject *there_and_back(PyObject *module, PyObject *arguments)
{
    Py_ssize_t base, size;
    stackwarden_request request;
    stackwarden_stack there = {0};
    (void)module;
    if (!PyArg_ParseTuple(arguments, "nn", &base, &size)) {
        return NULL;
    }
    stackwarden_status entered = stackwarden_enter_stack((const void *)base, (size_t)size, &request);
    stackwarden_current_stack(&there);
    stackwarden_status left = stackwarden_leave_stack(&request);
    return Py_BuildValue("iin", (int)entered, (int)left, (Py_ssize_t)there.base);
}

static PyMethodDef methods[] = {{"there_and_back", there_and_back, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "outside_c", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_outside_c(void)
{
    return stackwarden_import() < 0 ? NULL : PyModule_Create(&definition);
}
