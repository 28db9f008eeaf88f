// tbb_pool: an arena of oneTBB as Python sees it.
//
// Promises: knows nothing of stackwarden.

#include "task_of.hpp"

#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

namespace py = pybind11;

namespace {

class arena_pool {
public:
    // One more than asked for: a place that is kept for the thread that waits.
    explicit arena_pool(int threads)
        : parallelism_(tbb::global_control::max_allowed_parallelism, threads + 1), arena_(threads + 1, 1)
    {
    }

    void execute(const py::object &callable)
    {
        std::function<void()> task = task_of(callable);
        py::gil_scoped_release release;
        arena_.execute([&] { group_.run(task); });
    }
    void wait()
    {
        py::gil_scoped_release release;
        arena_.execute([this] { group_.wait(); });
    }

private:
    tbb::global_control parallelism_; // also where there are fewer processors
    tbb::task_arena arena_;
    tbb::task_group group_;
};

} // namespace

PYBIND11_MODULE(tbb_pool, module)
{
    py::class_<arena_pool>(module, "ArenaPool")
        .def(py::init<int>(), py::arg("threads"))
        .def("execute", &arena_pool::execute)
        .def("wait", &arena_pool::wait);
}
