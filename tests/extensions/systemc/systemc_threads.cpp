/* systemc_threads.cpp: Python functions in SC_THREADs of SystemC, which knows nothing of stackwarden, for tests.
 *
 *      simulate(functions, breaks=False)    one simulation with a thread for each: it calls the function, or nothing for
 *          None, with the GIL held all along, waits a nanosecond, and calls it again
 *          breaks: the thread lets the GIL go for a moment and takes it again, before each call
 *      pause()                              inside of one: wait a nanosecond
 *
 * A process can simulate once. */
#include <Python.h>
#include <list>
#include <systemc>

namespace {

PyObject *functions;
bool breaks;

void step(PyObject *function)
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
    PyObject *function;

    SC_HAS_PROCESS(steps);
    steps(const sc_core::sc_module_name &name, PyObject *called) : sc_module(name), function(called) { SC_THREAD(run); }

    void run()
    {
        step(function);
        wait(1, sc_core::SC_NS);
        step(function);
    }
};

PyObject *simulate(PyObject *, PyObject *args)
{
    int wanted = 0;
    if (!PyArg_ParseTuple(args, "O!|p", &PyTuple_Type, &functions, &wanted)) {
        return nullptr;
    }
    breaks = wanted != 0;
    static char name[] = "simulation";
    char *arguments[] = {name, nullptr};
    return PyLong_FromLong(sc_core::sc_elab_and_sim(1, arguments));
}

PyObject *pause(PyObject *, PyObject *)
{
    sc_core::wait(1, sc_core::SC_NS);
    Py_RETURN_NONE;
}

PyMethodDef methods[] = {
    {"pause", pause, METH_NOARGS, nullptr},
    {"simulate", simulate, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "systemc_threads", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

} // namespace

extern "C" __attribute__((visibility("default"))) int sc_main(int, char **)
{
    std::list<steps> all;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(functions); i++) {
        all.emplace_back(sc_core::sc_gen_unique_name("steps"), PyTuple_GET_ITEM(functions, i));
    }
    sc_core::sc_start();
    return 0;
}

PyMODINIT_FUNC PyInit_systemc_threads()
{
    return PyModule_Create(&definition);
}
