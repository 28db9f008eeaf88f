// boost_context_probe: fibers of stackwarden/boost_context.hpp with pybind11 code inside, for tests.
//
//      Fiber(function, size=262144, allocator="fixedsize", isolation="frames")
//          done base size   resume(value=None)   resume_with(function)   destroy()
//      suspend(value=None)   suspend_detached(value=None)
//      map_stack(size) -> base   run(function, base, size, engine, teller)
//
// Knows stackwarden by its public headers alone. The teller "none" uses Boost without the adapter; with ALONE in the
// environment the adapter does not find the package. MODULE is the name of the module.

#include <pybind11/pybind11.h>

#include <stackwarden/boost_context.hpp>

#include <boost/context/pooled_fixedsize_stack.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>

#include "placed_stack.hpp"

namespace py = pybind11;
namespace context = boost::context;
namespace adapter = stackwarden::boost;

namespace {

// ---- fibers that suspend ----

class Fiber {
public:
    Fiber(py::object function, std::size_t size, const std::string &allocator, const std::string &isolation)
        : function_(std::move(function))
    {
        unsigned flags = isolation == "frames"       ? STACKWARDEN_ISOLATION_FRAMES
                       : isolation == "thread-state" ? STACKWARDEN_ISOLATION_THREAD_STATE
                                                     : 0u;
        if (allocator == "bare") {
            make(context::fixedsize_stack(size));
        }
        else if (allocator == "protected") {
            make(adapter::registered_stack(context::protected_fixedsize_stack(size), flags, "protected"));
        }
        else if (allocator == "pooled") {
            make(adapter::registered_stack(context::pooled_fixedsize_stack(size), flags, "pooled"));
        }
        else {
            make(adapter::registered_stack(context::fixedsize_stack(size), flags, "fixedsize"));
        }
    }

    ~Fiber() { destroy(); }

    py::object resume(py::object value)
    {
        if (done_ || !machine_) {
            throw std::runtime_error("the fiber cannot be resumed");
        }
        value_ = std::move(value);
        Fiber *outer = std::exchange(running, this);
        try {
            machine_ = std::move(machine_).resume();
        }
        catch (...) {
            running = outer;
            throw;
        }
        running = outer;
        if (error_) {
            std::rethrow_exception(std::exchange(error_, nullptr));
        }
        return std::move(value_);
    }

    // `function` runs first over there; what it returns is what suspend() returns, what it raises comes out of it.
    py::object resume_with(py::object function)
    {
        Fiber *outer = std::exchange(running, this);
        machine_ = std::move(machine_).resume_with([this, &function](adapter::fiber &&from) {
            back_ = std::move(from);
            value_ = function();
            return std::move(back_);
        });
        running = outer;
        return std::move(value_);
    }

    static py::object suspend(py::object value)
    {
        Fiber *self = running;
        self->value_ = std::move(value);
        self->back_ = std::move(self->back_).resume();
        return std::move(self->value_);
    }

    static py::object suspend_detached(py::object value)
    {
        Fiber *self = running;
        self->value_ = std::move(value);
        {
            py::gil_scoped_release detached;
            self->back_ = std::move(self->back_).resume();
        }
        return std::move(self->value_);
    }

    void destroy()
    {
        Fiber *outer = std::exchange(running, this);
        machine_ = adapter::fiber();
        running = outer;
    }

    bool done() const { return done_; }
    std::uintptr_t base() const { return machine_.stack().base; }
    std::size_t size() const { return machine_.stack().size; }
    py::object value() const { return value_; }

private:
    template <typename Allocator> void make(Allocator allocator)
    {
        machine_ = adapter::fiber(std::allocator_arg, std::move(allocator), [this](adapter::fiber &&from) {
            back_ = std::move(from);
            try {
                value_ = function_();
            }
            catch (py::error_already_set &) {
                error_ = std::current_exception();
            }
            done_ = true;
            return std::move(back_);
        });
    }

    static thread_local Fiber *running; // fibers stay on their threads here
    py::object function_, value_ = py::none();
    std::exception_ptr error_;
    bool done_ = false;
    adapter::fiber machine_, back_;
};

thread_local Fiber *Fiber::running = nullptr;

// ---- one call on a stack, by each way to switch ----

using work = std::function<void()>;

void run_fiber(const placed_stack &stack, const work &body)
{
    adapter::fiber fiber(std::allocator_arg, adapter::registered_stack<placed_stack>(stack),
                         [&body](adapter::fiber &&back) {
                             body();
                             return std::move(back);
                         });
    std::move(fiber).resume();
}

void run_plain_fiber(const placed_stack &stack, const work &body)
{
    context::fiber fiber(std::allocator_arg, placed_stack(stack), [&body](context::fiber &&back) {
        body();
        return std::move(back);
    });
    std::move(fiber).resume();
}

struct call {
    const work *body;
    stackwarden_stack back;
};

void told_entry(adapter::transfer_t from)
{
    call *made = static_cast<call *>(from.data);
    (*made->body)();
    adapter::end_fcontext(from.fctx, nullptr, made->back);
}

void run_fcontext(const placed_stack &stack, const work &body)
{
    call made{&body, {}};
    stackwarden_stack there{};
    stackwarden_current_stack(&made.back);
    stackwarden_register_stack(reinterpret_cast<void *>(stack.base), stack.size, "fcontext", "boost",
                               STACKWARDEN_ISOLATION_FRAMES, &there);
    void *top = reinterpret_cast<void *>(stack.base + stack.size);
    adapter::jump_fcontext(adapter::make_fcontext<told_entry>(top, stack.size), &made, there);
    stackwarden_unregister_stack(there.handle);
}

void plain_entry(context::detail::transfer_t from)
{
    (*static_cast<const work *>(from.data))();
    context::detail::jump_fcontext(from.fctx, nullptr);
}

void run_plain_fcontext(const placed_stack &stack, const work &body)
{
    void *top = reinterpret_cast<void *>(stack.base + stack.size);
    context::detail::jump_fcontext(context::detail::make_fcontext(top, stack.size, plain_entry),
                                   const_cast<work *>(&body));
}

py::object run(py::object function, std::uintptr_t base, std::size_t size, const std::string &engine,
               const std::string &teller)
{
    auto go = teller == "adapter" ? (engine == "fiber" ? run_fiber : run_fcontext)
                                  : (engine == "fiber" ? run_plain_fiber : run_plain_fcontext);
    py::object result;
    std::exception_ptr error;
    go(placed_stack{base, size}, [&] {
        try {
            result = function();
        }
        catch (py::error_already_set &) {
            error = std::current_exception();
        }
    });
    if (error) {
        std::rethrow_exception(error);
    }
    return result;
}
} // namespace

PYBIND11_MODULE(MODULE, module)
{
    if (std::getenv("ALONE") == nullptr && stackwarden_import() < 0) {
        throw py::error_already_set();
    }
    adapter::use_pybind11();
    py::class_<Fiber>(module, "Fiber")
        .def(py::init<py::object, std::size_t, std::string, std::string>(), py::arg("function"),
             py::arg("size") = 256 << 10, py::arg("allocator") = "fixedsize", py::arg("isolation") = "frames")
        .def("resume", &Fiber::resume, py::arg("value") = py::none())
        .def("resume_with", &Fiber::resume_with)
        .def("destroy", &Fiber::destroy)
        .def_property_readonly("done", &Fiber::done)
        .def_property_readonly("value", &Fiber::value)
        .def_property_readonly("base", &Fiber::base)
        .def_property_readonly("size", &Fiber::size);
    module.def("suspend", &Fiber::suspend, py::arg("value") = py::none());
    module.def("suspend_detached", &Fiber::suspend_detached, py::arg("value") = py::none());
    module.def("map_stack", new_stack);
    module.def("run", run);
}
