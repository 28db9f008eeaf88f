// nanobind_guards.cpp: stackwarden::sync_scope as a call guard of nanobind, and by itself.
#include <nanobind/nanobind.h>
#include <stackwarden/stackwarden.h>

namespace nb = nanobind;

static unsigned long long base_here()
{
    stackwarden_stack stack{};
    stackwarden_current_stack(&stack);
    return stack.base;
}

static nb::object call(const nb::object &function)
{
    return function();
}

static nb::object call_in_scope(const nb::object &function)
{
    stackwarden::sync_scope scope;
    return function();
}

NB_MODULE(nanobind_guards, module)
{
    if (stackwarden_import() < 0) {
        throw nb::python_error();
    }
    module.def("base_here", base_here);
    module.def("base_here_guarded", base_here, nb::call_guard<stackwarden::sync_scope>());
    module.def("call_guarded", call, nb::call_guard<stackwarden::sync_scope>());
    module.def("call_in_scope", call_in_scope);
}
