/* systemc_threads.cpp: Python functions in an SC_THREAD of SystemC, which knows nothing of stackwarden, for tests.
 *
 *      simulate(function or None, breaks=False)    one simulation with one thread: it calls the function, with the GIL
 *          held all along, waits a nanosecond, and calls it again
 *          breaks: the thread lets the GIL go for a moment and takes it again, before each call
 *
 * A process can simulate once. */
#include <Python.h>
#include <systemc>

namespace {

PyObject *function;
bool breaks;

void step()
{
    if (breaks) {
        Py_BEGIN_ALLOW_THREADS
        Py_END_ALLOW_THREADS
    }
    if (function != Py_None) {
        PyObject *value = PyObject_CallNoArgs(function);
        if (value == nullptr) {
            PyErr_WriteUnraisable(function);
        }
        Py_XDECREF(value);
    }
}

struct steps : sc_core::sc_module {
    SC_CTOR(steps) { SC_THREAD(run); }

    void run()
    {
        step();
        wait(1, sc_core::SC_NS);
        step();
    }
};

PyObject *simulate(PyObject *, PyObject *args)
{
    int wanted = 0;
    if (!PyArg_ParseTuple(args, "O|p", &function, &wanted)) {
        return nullptr;
    }
    breaks = wanted != 0;
    static char name[] = "simulation";
    char *arguments[] = {name, nullptr};
    return PyLong_FromLong(sc_core::sc_elab_and_sim(1, arguments));
}

PyMethodDef methods[] = {
    {"simulate", simulate, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "systemc_threads", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

} // namespace

extern "C" __attribute__((visibility("default"))) int sc_main(int, char **)
{
    steps all("steps");
    sc_core::sc_start();
    return 0;
}

PyMODINIT_FUNC PyInit_systemc_threads()
{
    return PyModule_Create(&definition);
}
