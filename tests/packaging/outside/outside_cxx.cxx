// The C++ class from outside: tells of a stack for a scope.
#include <stackwarden/stackwarden.h>

static PyObject *there_and_back(PyObject *, PyObject *arguments)
{
    Py_ssize_t base, size;
    if (!PyArg_ParseTuple(arguments, "nn", &base, &size)) {
        return nullptr;
    }
    stackwarden_status entered;
    stackwarden_stack there{}, after{};
    {
        stackwarden::stack_scope scope(reinterpret_cast<const void *>(base), static_cast<size_t>(size));
        entered = scope.status();
        stackwarden_current_stack(&there);
    }
    stackwarden_status left = stackwarden_current_stack(&after);
    return Py_BuildValue("iin", int(entered), int(left), static_cast<Py_ssize_t>(there.base));
}

static PyMethodDef methods[] = {{"there_and_back", there_and_back, METH_VARARGS, nullptr},
                                {nullptr, nullptr, 0, nullptr}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "outside_cxx", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

PyMODINIT_FUNC PyInit_outside_cxx()
{
    return stackwarden_import() < 0 ? nullptr : PyModule_Create(&definition);
}
