// task_of.hpp: a callable of Python's as a task of C++, which attaches to Python and lets go again, as bindings do.

#ifndef TASK_OF_HPP
#define TASK_OF_HPP

#include <pybind11/pybind11.h>

#include <functional>
#include <memory>

// May be destroyed in any thread.
inline std::function<void()> task_of(const pybind11::object &callable)
{
    auto held = std::shared_ptr<PyObject>(callable.inc_ref().ptr(), [](PyObject *object) {
        PyGILState_STATE state = PyGILState_Ensure();
        Py_DECREF(object);
        PyGILState_Release(state);
    });
    return [held] {
        PyGILState_STATE state = PyGILState_Ensure();
        PyObject *result = PyObject_CallNoArgs(held.get());
        if (result == nullptr) {
            PyErr_WriteUnraisable(held.get());
        }
        Py_XDECREF(result);
        PyGILState_Release(state);
    };
}

#endif
