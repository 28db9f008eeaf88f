/* boost_fiber.hpp: Python on Boost.Fiber's fibers.  C++17, header only; Boost 1.74 and 1.81 are tested.
 *
 *     boost::fibers::use_scheduling_algorithm<
 *         stackwarden::boost::algorithm<boost::fibers::algo::round_robin>>();      // on each thread, first of all
 *     boost::fibers::fiber fiber{std::allocator_arg, stackwarden::boost::registered_stack<>(), [] {
 *         ...run Python, wait for fibers, attached or detached (GIL held or not)...
 *     }};
 *
 * Promises: at each dispatch the core is told which fiber runs next, whatever made the former one wait. Where the
 * stacks are registered with isolation (registered_stack's default), each fiber has Python frames, handled exception
 * and context of its own, may wait in the middle of Python, and is resumed as it was suspended, attached or detached.
 *
 *      fiber A          dispatcher                  fiber B
 *      waits      --->  pick_next()
 *                       A suspended, B current ---> runs
 *
 * Each switch passes through the thread's dispatcher. There no lock of Boost's is held, so that waiting for the GIL
 * blocks no thread that has it; and the stack pointer is on neither of the two stacks. A thread that waits for ready
 * fibers releases the GIL. A thread without a thread state gets one, which it retains.
 *
 * A new fiber starts attached or detached, as the one before it was suspended: take the GIL in it (PyGILState_Ensure).
 *
 * Requires: every fiber that runs Python has a registered stack; those of a thread are all isolated, or none is; a
 * fiber stays on its thread (no work_stealing, no shared_work). Where Python is not running, or stackwarden_import()
 * was not called, the scheduling is the same, and nothing is told. */
#ifndef STACKWARDEN_BOOST_FIBER_HPP
#define STACKWARDEN_BOOST_FIBER_HPP

#include <stackwarden/boost_context.hpp>

#include <boost/fiber/algo/algorithm.hpp>
#include <boost/fiber/context.hpp>
#include <boost/fiber/type.hpp>

#include <chrono>
#include <unordered_map>
#include <utility>

namespace stackwarden {
namespace boost {

namespace fibers = ::boost::fibers;

namespace detail {

/* A thread state for a thread that has none, for as long as this lives. One that PyGILState_Ensure makes inside a fiber
 * would have the bounds of the thread's native stack. */
class retained_thread_state {
public:
    retained_thread_state() noexcept
    {
        if (is_python_running() && PyGILState_GetThisThreadState() == nullptr) {
            former_ = PyGILState_Ensure();
            state_ = PyEval_SaveThread();
        }
    }

    ~retained_thread_state()
    {
        if (state_ != nullptr && is_python_running()) {
            PyEval_RestoreThread(state_);
            finish_ended();
            stackwarden_drain();
            PyGILState_Release(former_);
        }
    }

    retained_thread_state(const retained_thread_state &) = delete;
    retained_thread_state &operator=(const retained_thread_state &) = delete;

private:
    PyGILState_STATE former_{};
    PyThreadState *state_ = nullptr;
};

} // namespace detail

/* A scheduling algorithm that tells the core of each dispatch; `Base` is the algorithm that chooses. The constructor
 * takes what that of `Base` takes. Belongs to one thread, like any algorithm. */
template <typename Base> class algorithm : public fibers::algo::algorithm {
public:
    template <typename... Arguments> explicit algorithm(Arguments &&...arguments)
        : base_(std::forward<Arguments>(arguments)...), current_(fibers::context::active()), bound_(current_)
    {
        note_main(current_);
    }

    void awakened(fibers::context *ready) noexcept override
    {
        if (is_dispatcher(ready)) {
            dispatcher_ = ready;
            return;
        }
        fibers::context *active = fibers::context::active();
        if (ready == current_ && active != ready && !is_dispatcher(active)) {
            tell(active); /* launch::dispatch: it was entered without pick_next() */
        }
        base_.awakened(ready);
    }

    /* Called by the dispatcher: the fiber that it resumes next. Called by a fiber: the dispatcher; if that was returned
     * already, set_algo() moves the ready fibers to another algorithm. */
    fibers::context *pick_next() noexcept override
    {
        fibers::context *active = fibers::context::active();
        if (is_dispatcher(active)) {
            fibers::context *next = base_.pick_next();
            if (next != nullptr) {
                tell(next);
            }
            return next;
        }
        note_main(active);
        if (is_over(active)) {
            end(active);
            bindings_.erase(active);
        }
        return dispatcher_ != nullptr ? std::exchange(dispatcher_, nullptr) : base_.pick_next();
    }

    bool has_ready_fibers() const noexcept override { return dispatcher_ != nullptr || base_.has_ready_fibers(); }

    void suspend_until(const std::chrono::steady_clock::time_point &time) noexcept override
    {
        PyThreadState *attached = nullptr;
        if (detail::is_python_running() && detail::is_attached()) {
            attached = PyEval_SaveThread();
        }
        base_.suspend_until(time);
        if (attached != nullptr) {
            PyEval_RestoreThread(attached);
        }
    }

    void notify() noexcept override { base_.notify(); }

private:
    static bool is_dispatcher(const fibers::context *fiber) noexcept
    {
        return fiber->is_context(fibers::type::dispatcher_context);
    }

    /* The scheduler has unlinked a fiber that has ended. (terminated_is_linked() does not tell: false for the last
     * one.) */
    static bool is_over(const fibers::context *fiber) noexcept
    {
        return fiber->is_context(fibers::type::worker_context) && !fiber->worker_is_linked();
    }

    /* The stack on which the thread's main fiber is resumed. */
    void note_main(fibers::context *active) noexcept
    {
        if (active->is_context(fibers::type::main_context)) {
            main_ = active;
            stackwarden_current_stack(&main_stack_);
        }
    }

    /* A fiber's context lies on its stack. */
    bool find_stack(const fibers::context *fiber, stackwarden_stack *stack) const noexcept
    {
        if (fiber->is_context(fibers::type::main_context)) {
            *stack = main_stack_;
            return true;
        }
        return stackwarden_find_stack(fiber, stack) == STACKWARDEN_DONE;
    }

    /* A fiber is about to run, or runs. One without a registered stack is not told: as if the former fiber had called
     * it. */
    void tell(fibers::context *next) noexcept
    {
        stackwarden_stack stack{};
        if (next != current_ && find_stack(next, &stack) && switch_to(stack, false)) {
            current_ = next;
        }
        swap_bindings(next);
    }

    /* A fiber has ended; no lock is held. Its stack may be freed before the dispatcher picks another fiber: until then
     * the main fiber's stack is current. */
    void end(fibers::context *ended) noexcept
    {
        if (ended == current_ && switch_to(main_stack_, true)) {
            current_ = main_;
        }
        swap_bindings(main_);
    }

    /* Between stacks without isolation only the bounds change, which needs no GIL. */
    static bool switch_to(const stackwarden_stack &stack, bool ends) noexcept
    {
        stackwarden_status status = stackwarden_switch_to(stack.handle);
        if (status == STACKWARDEN_ISOLATION_REQUIRED) {
            status = detail::start_switch(stack, ends);
            stackwarden_finish_switch();
        }
        return status == STACKWARDEN_DONE;
    }

    void swap_bindings(fibers::context *next) noexcept
    {
        if (detail::swap_binding == nullptr || next == bound_) {
            return;
        }
        bindings_[bound_] = detail::exchange_binding(nullptr);
        auto found = bindings_.find(next);
        if (found != bindings_.end()) {
            detail::exchange_binding(found->second);
            bindings_.erase(found);
        }
        bound_ = next;
    }

    detail::retained_thread_state retained_;
    Base base_;
    fibers::context *current_; /* whose stack is current to the core */
    fibers::context *bound_; /* whose calls are current to the binding library */
    fibers::context *dispatcher_ = nullptr; /* while it is ready; `base_` never gets it */
    fibers::context *main_ = nullptr;
    stackwarden_stack main_stack_{};
    std::unordered_map<const fibers::context *, void *> bindings_; /* of suspended fibers: see swap_binding */
};

} // namespace boost
} // namespace stackwarden
#endif
