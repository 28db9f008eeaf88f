// native_pools: thread pools of C++ as Python sees them, each with one method that takes a callable.
//
// Promises: knows nothing of stackwarden. Each task attaches to Python and lets go again, as bindings do.

#include "task_of.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <vector>

#include <pthread.h>

namespace py = pybind11;

namespace {

// Threads of the operating system with stacks of a given size.
class pthread_pool {
public:
    pthread_pool(std::size_t threads, std::size_t stack_size) : threads_(threads)
    {
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        if (pthread_attr_setstacksize(&attributes, stack_size) != 0) {
            throw std::invalid_argument("stack_size");
        }
        for (pthread_t &thread : threads_) {
            if (pthread_create(&thread, &attributes, run, this) != 0) {
                throw std::runtime_error("pthread_create");
            }
        }
        pthread_attr_destroy(&attributes);
    }
    ~pthread_pool() { close(); }
    pthread_pool(const pthread_pool &) = delete;
    pthread_pool &operator=(const pthread_pool &) = delete;

    void enqueue(const py::object &callable)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        if (closed_) {
            throw std::runtime_error("the pool is closed");
        }
        tasks_.push_back(task_of(callable));
        changed_.notify_one();
    }

    // Run what is queued and end the threads.
    void close()
    {
        py::gil_scoped_release release;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            closed_ = true;
            changed_.notify_all();
        }
        for (pthread_t thread : threads_) {
            pthread_join(thread, nullptr);
        }
        threads_.clear();
    }

private:
    static void *run(void *pool)
    {
        static_cast<pthread_pool *>(pool)->work();
        return nullptr;
    }

    void work()
    {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            changed_.wait(lock, [this] { return closed_ || !tasks_.empty(); });
            if (tasks_.empty()) {
                return;
            }
            std::function<void()> task = std::move(tasks_.front());
            tasks_.pop_front();
            lock.unlock();
            task();
            task = nullptr;
            lock.lock();
        }
    }

    std::vector<pthread_t> threads_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> tasks_;
    bool closed_ = false;
};

class asio_pool {
public:
    explicit asio_pool(std::size_t threads) : pool_(threads) {}

    void post(const py::object &callable) { boost::asio::post(pool_, task_of(callable)); }
    void join()
    {
        py::gil_scoped_release release;
        pool_.join();
    }

private:
    boost::asio::thread_pool pool_;
};

} // namespace

PYBIND11_MODULE(native_pools, module)
{
    py::class_<pthread_pool>(module, "PthreadPool")
        .def(py::init<std::size_t, std::size_t>(), py::arg("threads"), py::arg("stack_size"))
        .def("enqueue", &pthread_pool::enqueue)
        .def("close", &pthread_pool::close);
    py::class_<asio_pool>(module, "AsioPool")
        .def(py::init<std::size_t>(), py::arg("threads"))
        .def("post", &asio_pool::post)
        .def("join", &asio_pool::join);
}
