// fibers: a Python extension that calls Python on Boost.Context stacks and knows stackwarden by its header alone.
//
// Promises: a fiber runs from its start to its end; what the callable returns or raises comes out of run().
// How CPython is told of the stack is a choice of each call, "none" among them: then a workload may end the
// process. Memory of stacks is mapped with a guard below it, so that an overrun is a SIGSEGV and nothing else.

#include <stackwarden/stackwarden.h>

#include <boost/context/detail/fcontext.hpp>
#include <boost/context/fiber.hpp>
#include <boost/context/preallocated.hpp>

#include <cstring>
#include <functional>
#include <stdexcept>

#include "../../extensions/machine.h"

namespace {

namespace context = boost::context;

struct memory {
    void *base;
    std::size_t size;

    void *top() const { return static_cast<char *>(base) + size; }
};

class refused : public std::runtime_error {
public:
    explicit refused(stackwarden_status status) : std::runtime_error(stackwarden_status_text(status)) {}
};

void check(stackwarden_status status)
{
    if (status != STACKWARDEN_DONE) {
        throw refused(status);
    }
}

// Of the stack that was told, as Python sees it: C names the one under the stack pointer.
std::uintptr_t current_base()
{
    PyObject *module = PyImport_ImportModule("stackwarden");
    PyObject *told = module != nullptr ? PyObject_CallMethod(module, "current_stack", nullptr) : nullptr;
    PyObject *base = told != nullptr ? PyObject_GetAttrString(told, "base") : nullptr;
    std::uintptr_t address = base != nullptr ? PyLong_AsUnsignedLongLong(base) : 0;
    Py_XDECREF(base);
    Py_XDECREF(told);
    Py_XDECREF(module);
    return address;
}

// ---- two ways to get to another stack and back ----

using work = std::function<void()>;

// The memory stays ours.
struct keep {
    void deallocate(context::stack_context &) noexcept {}
};

void run_fiber(const memory &stack, const work &body)
{
    context::stack_context place;
    place.sp = stack.top();
    place.size = stack.size;
    context::fiber fiber{std::allocator_arg, context::preallocated(place.sp, place.size, place), keep{},
                         [&body](context::fiber &&back) {
                             body();
                             return std::move(back);
                         }};
    std::move(fiber).resume();
}

void fcontext_entry(context::detail::transfer_t from)
{
    (*static_cast<const work *>(from.data))();
    context::detail::jump_fcontext(from.fctx, nullptr);
}

void run_fcontext(const memory &stack, const work &body)
{
    context::detail::fcontext_t fiber = context::detail::make_fcontext(stack.top(), stack.size, fcontext_entry);
    context::detail::jump_fcontext(fiber, const_cast<work *>(&body));
}

// ---- ways to tell CPython. `go(stack, body)` runs `body` on the stack; no C++ exception leaves it there ----

using engine = void (*)(const memory &, const work &);

// The runtime has registered its stack, and tells of each switch before it is made.
void tell_by_handle(engine go, const memory &stack, const work &body)
{
    stackwarden_stack registered;
    stackwarden_request request;
    check(stackwarden_register_stack(stack.base, stack.size, "fiber", "boost", 0, &registered));
    check(stackwarden_enter_this_stack(&registered, &request));
    go(stack, body);
    check(stackwarden_leave_stack(&request));
    check(stackwarden_unregister_stack(registered.handle));
}

// The code on the fiber tells, for a scope.
void tell_by_scope(engine go, const memory &stack, const work &body)
{
    stackwarden_status status = STACKWARDEN_NOT_INSTALLED;
    go(stack, [&] {
        stackwarden::stack_scope scope(stack.base, stack.size);
        status = scope.status();
        if (status == STACKWARDEN_DONE) {
            body();
        }
    });
    check(status);
}

// The code on the fiber tells, with nothing registered and nothing remembered.
void tell_by_notify(engine go, const memory &stack, const work &body)
{
    stackwarden_status status = STACKWARDEN_NOT_INSTALLED;
    go(stack, [&] {
        status = stackwarden_notify_stack_switch(stack.base, stack.size);
        if (status == STACKWARDEN_DONE) {
            body();
        }
        stackwarden_reset_stack();
    });
    check(status);
}

// Nobody tells of switches; the binding layer asks on entering Python, and again when it is back.
void tell_by_sync(engine go, const memory &stack, const work &body)
{
    stackwarden_stack registered;
    stackwarden_status status = STACKWARDEN_NOT_INSTALLED;
    check(stackwarden_register_stack(stack.base, stack.size, "fiber", "boost", 0, &registered));
    go(stack, [&] {
        status = stackwarden_sync_stack();
        if (status == STACKWARDEN_DONE) {
            body();
        }
    });
    check(stackwarden_sync_stack());
    check(stackwarden_unregister_stack(registered.handle));
    check(status);
}

void tell_nobody(engine go, const memory &stack, const work &body)
{
    go(stack, body);
}

// ---- ways out of a stack_scope ----

struct seen {
    std::uintptr_t inside;
    std::uintptr_t after;
};

std::uintptr_t leave_by_return(const memory &stack)
{
    stackwarden::stack_scope scope(stack.base, stack.size);
    return current_base();
}

seen leave_by_throw(const memory &stack)
{
    seen bases{};
    try {
        stackwarden::stack_scope scope(stack.base, stack.size);
        bases.inside = current_base();
        throw std::runtime_error("on the way out");
    }
    catch (const std::runtime_error &) {
        bases.after = current_base();
    }
    return bases;
}

// The lower half of the stack inside the upper half, both left by one exception.
seen leave_two_by_throw(const memory &stack)
{
    seen bases{};
    std::size_t half = stack.size / 2;
    try {
        stackwarden::stack_scope outer(static_cast<char *>(stack.base) + half, half);
        stackwarden::stack_scope inner(stack.base, half);
        bases.inside = current_base();
        throw std::runtime_error("on the way out");
    }
    catch (const std::runtime_error &) {
        bases.after = current_base();
    }
    return bases;
}

seen leave_by_handle(const memory &stack)
{
    seen bases{};
    stackwarden_stack registered;
    check(stackwarden_register_stack(stack.base, stack.size, nullptr, nullptr, 0, &registered));
    {
        stackwarden::stack_scope scope(registered.handle);
        bases.inside = current_base();
    }
    bases.after = current_base();
    check(stackwarden_unregister_stack(registered.handle));
    return bases;
}

seen leave_scope(const char *way, const memory &stack)
{
    if (std::strcmp(way, "return") == 0) {
        std::uintptr_t inside = leave_by_return(stack);
        return {inside, current_base()};
    }
    if (std::strcmp(way, "throw") == 0) {
        return leave_by_throw(stack);
    }
    if (std::strcmp(way, "throw through two") == 0) {
        return leave_two_by_throw(stack);
    }
    if (std::strcmp(way, "end of block, by handle") == 0) {
        return leave_by_handle(stack);
    }
    throw std::invalid_argument(way);
}

// ---- Python ----

template <typename Function> struct choice {
    const char *name;
    Function function;
};

constexpr choice<engine> engines[] = {{"fiber", run_fiber}, {"fcontext", run_fcontext}};

using teller = void (*)(engine, const memory &, const work &);
constexpr choice<teller> tellers[] = {{"handle", tell_by_handle},
                                      {"scope", tell_by_scope},
                                      {"notify", tell_by_notify},
                                      {"sync", tell_by_sync},
                                      {"none", tell_nobody}};

template <typename Function, std::size_t count>
Function choose(const choice<Function> (&choices)[count], const char *name)
{
    for (const auto &one : choices) {
        if (std::strcmp(one.name, name) == 0) {
            return one.function;
        }
    }
    throw std::invalid_argument(name);
}

PyObject *new_stack(PyObject *, PyObject *size_object)
{
    std::size_t size = PyLong_AsSize_t(size_object);
    if (PyErr_Occurred()) {
        return nullptr;
    }
    char *base = map_stack(size);
    return base == nullptr ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromVoidPtr(base);
}

PyObject *run(PyObject *, PyObject *arguments)
{
    PyObject *callable;
    PyObject *result = nullptr;
    unsigned long long base, size;
    const char *engine_name, *teller_name;
    if (!PyArg_ParseTuple(arguments, "OKKss", &callable, &base, &size, &engine_name, &teller_name)) {
        return nullptr;
    }
    try {
        memory stack{reinterpret_cast<void *>(base), static_cast<std::size_t>(size)};
        choose(tellers, teller_name)(choose(engines, engine_name), stack,
                                     [&] { result = PyObject_CallNoArgs(callable); });
    }
    catch (const std::exception &error) {
        Py_CLEAR(result);
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return result;
}

PyObject *scope_left_by(PyObject *, PyObject *arguments)
{
    const char *way;
    unsigned long long base, size;
    if (!PyArg_ParseTuple(arguments, "sKK", &way, &base, &size)) {
        return nullptr;
    }
    try {
        seen bases = leave_scope(way, memory{reinterpret_cast<void *>(base), static_cast<std::size_t>(size)});
        return Py_BuildValue("KK", static_cast<unsigned long long>(bases.inside),
                             static_cast<unsigned long long>(bases.after));
    }
    catch (const std::exception &error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
        return nullptr;
    }
}

PyMethodDef methods[] = {
    {"map_stack", new_stack, METH_O, "Map a stack of that many bytes, a guard below it; return its base."},
    {"run", run, METH_VARARGS, "run(callable, base, size, engine, teller): call it on a stack."},
    {"scope_left_by", scope_left_by, METH_VARARGS,
     "scope_left_by(way, base, size): the current base inside a stack_scope, and after it."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef definition = {PyModuleDef_HEAD_INIT, "fibers", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

} // namespace

PyMODINIT_FUNC PyInit_fibers()
{
    return stackwarden_import() < 0 ? nullptr : PyModule_Create(&definition);
}
