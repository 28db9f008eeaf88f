// boost_fiber_probe: fibers of Boost.Fiber with stackwarden/boost_fiber.hpp and pybind11 code inside, for tests.
//
//      use(algorithm="adapter" or "plain")                     on the calling thread, first
//      Fiber(function, size=262144, dispatch=False, isolation="frames", base=0)
//          join(detached=False) -> result                      base: of memory that map_stack(size) returned
//      start(function)                                         a fiber that nobody holds
//      pause(detached=False)                                   lets other fibers of the thread run
//      Gate()      wait(detached=False)   open()               a condition of Boost.Fiber's, for all threads
//      run_thread(functions, size=262144, algorithm="adapter")  fibers on a thread that Python did not make
//
// Knows stackwarden by its public headers alone.

#include <pybind11/pybind11.h>

#include <stackwarden/boost_fiber.hpp>

#include <boost/fiber/all.hpp>

#include "placed_stack.hpp"

#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace py = pybind11;
namespace fibers = boost::fibers;
namespace adapter = stackwarden::boost;
using stack = adapter::registered_stack<boost::context::fixedsize_stack>;
using plain = fibers::algo::round_robin;

namespace {

void use(const std::string &algorithm)
{
    if (algorithm == "adapter") {
        fibers::use_scheduling_algorithm<adapter::algorithm<plain>>();
    }
    else {
        fibers::use_scheduling_algorithm<plain>();
    }
}

class Fiber {
public:
    Fiber(py::object function, std::size_t size, bool dispatch, const std::string &isolation, std::uintptr_t base)
        : function_(std::move(function))
    {
        unsigned flags = isolation == "frames" ? STACKWARDEN_ISOLATION_FRAMES : 0u;
        fibers::launch launch = dispatch ? fibers::launch::dispatch : fibers::launch::post;
        if (base != 0) {
            start(launch, adapter::registered_stack<placed_stack>(placed_stack{base, size}, flags));
        }
        else {
            start(launch, stack(boost::context::fixedsize_stack(size), flags));
        }
    }

    py::object join(bool detached)
    {
        {
            std::optional<py::gil_scoped_release> released;
            if (detached) {
                released.emplace();
            }
            fiber_.join();
        }
        if (error_) {
            std::rethrow_exception(std::exchange(error_, nullptr));
        }
        return result_;
    }

private:
    template <typename Allocator> void start(fibers::launch launch, Allocator allocator)
    {
        fiber_ = fibers::fiber(launch, std::allocator_arg, std::move(allocator), [this] { run(); });
    }

    void run()
    {
        py::gil_scoped_acquire attached; // a fiber starts as the one before it was left, attached or detached
        try {
            result_ = function_();
        }
        catch (py::error_already_set &) {
            error_ = std::current_exception();
        }
    }

    py::object function_, result_;
    std::exception_ptr error_;
    fibers::fiber fiber_;
};

void start(py::function function)
{
    fibers::fiber(std::allocator_arg, stack(), [function = std::move(function)]() mutable {
        py::gil_scoped_acquire attached;
        py::function(std::move(function))();
    }).detach();
}

void yield_now(bool detached)
{
    std::optional<py::gil_scoped_release> released;
    if (detached) {
        released.emplace();
    }
    boost::this_fiber::yield();
}

class Gate {
public:
    void wait(bool detached)
    {
        std::optional<py::gil_scoped_release> released;
        if (detached) {
            released.emplace();
        }
        std::unique_lock<fibers::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return open_; });
    }

    void open()
    {
        std::unique_lock<fibers::mutex> lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }

private:
    fibers::mutex mutex_;
    fibers::condition_variable changed_;
    bool open_ = false;
};

// As Ray's async actors do it: each fiber takes the GIL for its call, and nobody has a thread state before.
void run_thread(const py::list &list, std::size_t size, const std::string &algorithm)
{
    std::vector<py::object> functions;
    for (py::handle function : list) {
        functions.push_back(py::reinterpret_borrow<py::object>(function));
    }
    py::gil_scoped_release released;
    std::thread([&] {
        use(algorithm);
        std::vector<fibers::fiber> running;
        running.reserve(functions.size());
        for (const py::object &function : functions) {
            running.emplace_back(std::allocator_arg, stack(boost::context::fixedsize_stack(size)), [&function] {
                PyGILState_STATE former = PyGILState_Ensure();
                PyObject *result = PyObject_CallNoArgs(function.ptr());
                if (result == nullptr) {
                    PyErr_WriteUnraisable(function.ptr());
                }
                Py_XDECREF(result);
                PyGILState_Release(former);
            });
        }
        for (fibers::fiber &fiber : running) {
            fiber.join();
        }
    }).join();
}

} // namespace

PYBIND11_MODULE(MODULE, module)
{
    if (std::getenv("ALONE") == nullptr && stackwarden_import() < 0) {
        throw py::error_already_set();
    }
    adapter::use_pybind11();
    module.def("use", use, py::arg("algorithm") = "adapter");
    py::class_<Fiber>(module, "Fiber")
        .def(py::init<py::object, std::size_t, bool, std::string, std::uintptr_t>(), py::arg("function"),
             py::arg("size") = 256 << 10, py::arg("dispatch") = false, py::arg("isolation") = "frames",
             py::arg("base") = 0)
        .def("join", &Fiber::join, py::arg("detached") = false);
    module.def("start", start);
    module.def("map_stack", new_stack);
    module.def("pause", yield_now, py::arg("detached") = false);
    py::class_<Gate>(module, "Gate")
        .def(py::init<>())
        .def("wait", &Gate::wait, py::arg("detached") = false)
        .def("open", &Gate::open);
    module.def("run_thread", run_thread, py::arg("functions"), py::arg("size") = 256 << 10,
               py::arg("algorithm") = "adapter");
}
