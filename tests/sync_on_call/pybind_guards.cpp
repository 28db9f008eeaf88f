// pybind_guards.cpp: stackwarden::sync_scope as a call guard of pybind11, and by itself.
#include <pybind11/pybind11.h>
#include <stackwarden/stackwarden.h>

namespace py = pybind11;

static unsigned long long base_here()
{
    stackwarden_stack stack{};
    stackwarden_current_stack(&stack);
    return stack.base;
}

static py::object call(const py::object &function)
{
    return function();
}

static py::object call_in_scope(const py::object &function)
{
    stackwarden::sync_scope scope;
    return function();
}

PYBIND11_MODULE(pybind_guards, module)
{
    if (stackwarden_import() < 0) {
        throw py::error_already_set();
    }
    module.def("base_here", base_here);
    module.def("base_here_guarded", base_here, py::call_guard<stackwarden::sync_scope>());
    module.def("call_guarded", call, py::call_guard<stackwarden::sync_scope>());
    module.def("call_in_scope", call_in_scope);
}
