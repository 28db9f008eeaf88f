/* boost_fiber.hpp: Python on Boost.Fiber's fibers.  C++17, header only; Boost 1.74 and 1.81 are tested.
 *
 *     boost::fibers::use_scheduling_algorithm<
 *         stackwarden::boost::algorithm<boost::fibers::algo::round_robin>>();      // on each thread, first of all
 *     boost::fibers::fiber fiber{std::allocator_arg, stackwarden::boost::registered_stack<>(), [] {
 *         ...run Python, wait for fibers, attached or detached (GIL held or not)...
 *     }};
 *
 * Promises: at each dispatch the core is told which fiber goes on, whatever made the former one wait. Where the
 * stacks are registered with isolation (registered_stack's default), each fiber has Python frames, handled exception
 * and context of its own, may wait in the middle of Python, and goes on as it was left, attached or detached.
 *
 *      fiber A          dispatcher            fiber B
 *      waits      --->  pick_next()
 *                       A is left for B  ---> goes on
 *
 * Each switch goes by way of the thread's dispatcher: there no lock of Boost's is held, so that waiting for the GIL
 * cannot block a thread that has it, and the stack pointer is on neither of the two stacks. A thread that waits for
 * fibers to be ready releases the GIL. A thread that Python does not know gets a thread state, which it keeps.
 *
 * A new fiber starts attached or detached, as the one before it was left: take the GIL in it (PyGILState_Ensure).
 *
 * Requires: every fiber that runs Python has a registered stack; those of a thread are all isolated, or none is; a
 * fiber stays on its thread (not work_stealing, shared_work). Where Python is not running, or stackwarden_import()
 * was not called, the scheduling is the same and nobody is told. */
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

/* A thread state for a thread that has none, for as long as this lives. One that PyGILState_Ensure made inside a
 * fiber would have the bounds of the thread's own stack, and nobody would be told. */
class kept_thread_state {
public:
    kept_thread_state() noexcept
    {
        if (is_python_running() && PyGILState_GetThisThreadState() == nullptr) {
            former_ = PyGILState_Ensure();
            state_ = PyEval_SaveThread();
        }
    }

    ~kept_thread_state()
    {
        if (state_ != nullptr && is_python_running()) {
            PyEval_RestoreThread(state_);
            finish_ended();
            stackwarden_drain();
            PyGILState_Release(former_);
        }
    }

    kept_thread_state(const kept_thread_state &) = delete;
    kept_thread_state &operator=(const kept_thread_state &) = delete;

private:
    PyGILState_STATE former_{};
    PyThreadState *state_ = nullptr;
};

} // namespace detail

/* A scheduling algorithm that tells of each dispatch what another one has chosen. Its constructor takes what that
 * one's takes. Belongs to one thread, like any algorithm. */
template <typename Base> class algorithm : public fibers::algo::algorithm {
public:
    template <typename... Arguments> explicit algorithm(Arguments &&...arguments)
        : base_(std::forward<Arguments>(arguments)...), told_(fibers::context::active()), ran_(told_)
    {
        note_main(told_);
    }

    void awakened(fibers::context *ready) noexcept override
    {
        if (is_dispatcher(ready)) {
            dispatcher_ = ready;
            return;
        }
        fibers::context *active = fibers::context::active();
        if (ready == told_ && active != ready && !is_dispatcher(active)) {
            tell(active); /* launch::dispatch: it was entered without being picked */
        }
        base_.awakened(ready);
    }

    /* On the dispatcher, whom it resumes next. Elsewhere the dispatcher; and when that was taken already, set_algo()
     * moves what is ready to another algorithm. */
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

    /* The scheduler has let go of it already. (terminated_is_linked() does not tell: it is false for the last one.) */
    static bool is_over(const fibers::context *fiber) noexcept
    {
        return fiber->is_context(fibers::type::worker_context) && !fiber->worker_is_linked();
    }

    /* The thread's main fiber goes back to the stack that it left. */
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

    /* A fiber is about to run, or runs. One without a registered stack is not told of: it stays as if the former one
     * had called it. */
    void tell(fibers::context *next) noexcept
    {
        stackwarden_stack stack{};
        if (next != told_ && find_stack(next, &stack) && go(stack, false)) {
            told_ = next;
        }
        take_binding_along(next);
    }

    /* What ran on a fiber is over; nobody holds a lock. Its stack may be gone before the dispatcher picks another
     * fiber, so that the main one stands in. */
    void end(fibers::context *ended) noexcept
    {
        if (ended == told_ && go(main_stack_, true)) {
            told_ = main_;
        }
        take_binding_along(main_);
    }

    /* Between stacks without isolation the bounds alone change, and that takes no GIL. */
    static bool go(const stackwarden_stack &stack, bool ends) noexcept
    {
        stackwarden_status status = stackwarden_switch_to(stack.handle);
        if (status == STACKWARDEN_ISOLATION_REQUIRED) {
            status = detail::start_switch(stack, ends);
            stackwarden_finish_switch();
        }
        return status == STACKWARDEN_DONE;
    }

    void take_binding_along(fibers::context *next) noexcept
    {
        if (detail::swap_binding == nullptr || next == ran_) {
            return;
        }
        bindings_[ran_] = detail::exchange_binding(nullptr);
        auto found = bindings_.find(next);
        if (found != bindings_.end()) {
            detail::exchange_binding(found->second);
            bindings_.erase(found);
        }
        ran_ = next;
    }

    detail::kept_thread_state kept_;
    Base base_;
    fibers::context *told_; /* whose stack the core holds for current */
    fibers::context *ran_; /* whose calls the binding library holds for current */
    fibers::context *dispatcher_ = nullptr; /* while it is ready; `base_` never sees it */
    fibers::context *main_ = nullptr;
    stackwarden_stack main_stack_{};
    std::unordered_map<const fibers::context *, void *> bindings_; /* of suspended ones: see swap_binding */
};

} // namespace boost
} // namespace stackwarden
#endif
