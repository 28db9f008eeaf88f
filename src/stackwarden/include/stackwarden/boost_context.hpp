/* boost_context.hpp: Python on Boost.Context's stacks.  C++17, header only; Boost 1.74 and 1.81 are tested.
 *
 *     stackwarden::boost::fiber fiber{[](stackwarden::boost::fiber &&from) {
 *         ...run Python...
 *         from = std::move(from).resume();                   // anywhere, in the middle of Python too
 *         ...run Python...
 *         return std::move(from);
 *     }};
 *     fiber = std::move(fiber).resume();
 *
 * `fiber` has the interface of boost::context::fiber. Promises: CPython's bounds and execution state are always those
 * of the stack that runs. A fiber that is destroyed ends from inside, by an exception that becomes StackExit in Python;
 * its stack is never unwound under CPython's frames.
 *
 * Works attached or detached (GIL held or not): each stack is resumed as it was suspended, and a new one inherits that
 * from the stack that enters it. A switch made detached MAY BLOCK waiting for the GIL: hold no lock that a thread with
 * the GIL may want. Where Python is not running, or stackwarden_import() was not called, only Boost's code runs, and a
 * switch costs one branch more.
 *
 * A fiber is made and resumed by one linked module. No exception may leave its function, but for stack_exit. */
#ifndef STACKWARDEN_BOOST_CONTEXT_HPP
#define STACKWARDEN_BOOST_CONTEXT_HPP

#include <stackwarden/stackwarden.h>

#include <boost/config.hpp>
#include <boost/context/detail/fcontext.hpp>
#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>
#include <boost/context/preallocated.hpp>
#include <boost/context/stack_context.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#if defined(BOOST_USE_SEGMENTED_STACKS)
#error "stackwarden: segmented stacks have no bounds"
#endif

namespace stackwarden {
namespace boost {

namespace context = ::boost::context;

/* A stack or a switch was refused; nothing was changed. */
class refused : public std::runtime_error {
public:
    explicit refused(stackwarden_status status)
        : std::runtime_error(std::string("stackwarden: ") + stackwarden_status_text(status)), status_(status)
    {
    }
    stackwarden_status status() const noexcept { return status_; }

private:
    stackwarden_status status_;
};

/* Thrown out of resume() in a fiber that is being destroyed: let it pass. Not a std::exception, so that no handler of
 * all errors swallows it. Binding libraries turn it into StackExit: use_pybind11() does. */
class stack_exit {};

/* Raise StackExit in Python. RAISES.  Requires: attached. */
inline void raise_stack_exit()
{
    PyObject *errors = PyImport_ImportModule("stackwarden.errors");
    PyObject *kind = errors != nullptr ? PyObject_GetAttrString(errors, "StackExit") : nullptr;
    if (kind != nullptr) {
        PyErr_SetNone(kind);
    }
    Py_XDECREF(kind);
    Py_XDECREF(errors);
}

#if defined(PYBIND11_VERSION_MAJOR)
/* For a module whose pybind11 functions suspend. Call it when the module is initialised; include pybind11 before this
 * header. stack_exit becomes StackExit; and pybind11's list of the calls under way on a thread is swapped with the
 * stack (pybind11 ends the process when they return in another order).
 * Fails with: std::runtime_error: this pybind11 has another kind of list. */
inline void use_pybind11();
#endif

namespace detail {

inline bool is_running(stackwarden_status status) noexcept
{
    return status != STACKWARDEN_NOT_INSTALLED && status != STACKWARDEN_NOT_RUNNING;
}

/* Boost's range, cut to multiples of 16 bytes. */
inline stackwarden_stack range_of(const context::stack_context &made) noexcept
{
    std::uintptr_t top = reinterpret_cast<std::uintptr_t>(made.sp);
    std::uintptr_t base = (top - made.size + 15) & ~std::uintptr_t{15};
    stackwarden_stack stack{};
    stack.base = base;
    stack.size = (top & ~std::uintptr_t{15}) - base;
    return stack;
}

inline const void *last_of(const stackwarden_stack &stack) noexcept
{
    return reinterpret_cast<const void *>(stack.base + stack.size - 1);
}

/* The registered stack at that place, else its bare range. */
inline stackwarden_stack stack_of(const context::stack_context &made) noexcept
{
    stackwarden_stack stack{};
    stackwarden_stack range = range_of(made);
    return stackwarden_find_stack(last_of(range), &stack) == STACKWARDEN_DONE ? stack : range;
}

inline bool is_python_running() noexcept
{
    stackwarden_stack unused;
    return is_running(stackwarden_current_stack(&unused));
}

inline bool is_attached() noexcept
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyThreadState_GetUnchecked() != nullptr;
#else
    return _PyThreadState_UncheckedGet() != nullptr;
#endif
}

/* The execution state of a stack that ended while its thread had no thread state is released at the next switch of an
 * attached thread: a switch to the current stack does.  Requires: attached. */
inline void finish_ended() noexcept
{
    stackwarden_stack here{};
    if (stackwarden_current_stack(&here) == STACKWARDEN_DONE
        && stackwarden_start_switch(&here, 0) == STACKWARDEN_DONE) {
        stackwarden_finish_switch();
    }
}

/* Boost's fixed-size stacks have no guard pages; of other allocators nothing is known. */
template <typename Allocator> constexpr unsigned guard_flag = STACKWARDEN_TRIM_GUARD;
template <typename Traits> constexpr unsigned guard_flag<context::basic_fixedsize_stack<Traits>> = 0;

} // namespace detail

/* A stack allocator that registers the stacks of another allocator, guard pages left out, and unregisters them again.
 *
 * `flags`: those of stackwarden_register_stack; 0: the stack is never suspended in the middle of Python. A stack with
 * execution state of its own starts with a copy of the context that is current when it is allocated; allocated
 * detached, with an empty one.
 * Requires: with STACKWARDEN_ISOLATION_THREAD_STATE, attached.
 * Fails with: refused, and the stack is deallocated: it is too small for this interpreter
 *   (status()["least_stack_size"]), or the isolation is not available. Where Python is not running the stack is not
 *   registered, which is no failure. */
template <typename Allocator = context::fixedsize_stack> class registered_stack {
public:
    using traits_type = typename Allocator::traits_type;

    explicit registered_stack(Allocator allocator = Allocator(), unsigned flags = STACKWARDEN_ISOLATION_FRAMES,
                              const char *name = nullptr)
        : allocator_(std::move(allocator)), flags_(flags | detail::guard_flag<Allocator>), name_(name)
    {
    }

    context::stack_context allocate()
    {
        context::stack_context made = allocator_.allocate();
        stackwarden_stack range = detail::range_of(made);
        bool attached = detail::is_attached();
        unsigned flags = attached ? flags_ : flags_ | STACKWARDEN_EMPTY_CONTEXT;
        stackwarden_status status =
            stackwarden_register_stack(reinterpret_cast<void *>(range.base), range.size, name_, "boost", flags, &range);
        if (status < 0 && detail::is_running(status)) {
            allocator_.deallocate(made);
            throw refused(status);
        }
        if (status == STACKWARDEN_DONE && is_isolated() && attached) {
            stackwarden_renew_stack(range.handle, nullptr);
        }
        return made;
    }

    /* Boost calls this after the last jump from the stack, on the next one, before resume() returns there. A stack with
     * frames that nobody can unwind any more (LOST) is leaked: somebody may look at them. */
    void deallocate(context::stack_context &made) noexcept
    {
        stackwarden_stack stack{};
        stackwarden_finish_switch();
        if (stackwarden_find_stack(detail::last_of(detail::range_of(made)), &stack) != STACKWARDEN_DONE
            || may_be_freed(forget(stack.handle))) {
            allocator_.deallocate(made);
        }
    }

private:
    static bool may_be_freed(stackwarden_status status) noexcept
    {
        return status != STACKWARDEN_LOST && status != STACKWARDEN_IN_USE;
    }

    bool is_isolated() const noexcept
    {
        return (flags_ & (STACKWARDEN_ISOLATION_FRAMES | STACKWARDEN_ISOLATION_THREAD_STATE)) != 0;
    }

    /* Detached, the context of an isolated stack would be released by the next stackwarden_drain() only. */
    stackwarden_status forget(stackwarden_handle handle) noexcept
    {
        if (!is_isolated() || detail::is_attached()) {
            return stackwarden_unregister_stack(handle);
        }
        PyGILState_STATE former = PyGILState_Ensure();
        detail::finish_ended();
        stackwarden_status status = stackwarden_unregister_stack(handle);
        PyGILState_Release(former);
        return status;
    }

    Allocator allocator_;
    unsigned flags_;
    const char *name_;
};

namespace detail {

/* Set what a binding library has for each thread, and return the former value. Each linked module has its own. */
using binding_swap = void *(*)(void *) noexcept;
#if defined(_MSC_VER)
inline binding_swap swap_binding = nullptr;
#else
__attribute__((visibility("hidden"))) inline binding_swap swap_binding = nullptr;
#endif

inline void *exchange_binding(void *binding) noexcept
{
    return swap_binding != nullptr ? swap_binding(binding) : nullptr;
}

/* Start a switch to another stack. `ends`: the current one has ended. Without handle and bounds it is a native stack.
 * */
inline stackwarden_status start_switch(const stackwarden_stack &to, bool ends) noexcept
{
    return stackwarden_start_switch_blocking(to.handle != 0 || to.base != 0 ? &to : nullptr,
                                             ends ? STACKWARDEN_SWITCH_ENDS : 0);
}

enum class role { thread, made, started };

/* A stack that resumes and is resumed: a fiber's, or a thread's native one. */
struct side {
    stackwarden_stack stack{}; /* the one to resume */
    side *from = nullptr; /* where the last jump came from; nullptr: that one has ended */
    void *binding = nullptr; /* while it is suspended: see swap_binding */
    context::fiber exit_to; /* while it is being destroyed: by whom */
    side *exit_side = nullptr;
    detail::role role = detail::role::thread;
    bool tracked = false; /* suspended while Python ran: the core has its execution state */
    bool exits = false; /* stack_exit is thrown when it is resumed */
    int suspensions = 0; /* while it is being destroyed */
};

inline side *&running_side() noexcept
{
    static thread_local side *running = nullptr;
    return running;
}

/* Not inlined: a fiber may be resumed on another thread, and compilers cache the address of a variable. */
BOOST_NOINLINE inline side *running() noexcept
{
    return running_side();
}

BOOST_NOINLINE inline void set_running(side *self) noexcept
{
    running_side() = self;
}

/* Right after a jump to `here`. */
inline void finish_switch(side *here) noexcept
{
    stackwarden_finish_switch();
    set_running(here->role == role::thread ? nullptr : here);
    exchange_binding(std::exchange(here->binding, nullptr));
}

} // namespace detail

/* boost::context::fiber whose switches the core is told. Movable, not copyable; empty after resume(). */
class fiber {
public:
    fiber() noexcept = default;

    /* On a stack of registered_stack<>. The function is `fiber (fiber &&from)`; what it returns is resumed at its end.
     * */
    template <typename Function, typename = std::enable_if_t<!std::is_same_v<std::decay_t<Function>, fiber>>>
    explicit fiber(Function &&function)
        : fiber(std::allocator_arg, registered_stack<>(), std::forward<Function>(function))
    {
    }

    /* On a stack of any allocator. One that is not registered cannot be suspended in the middle of Python.
     * Fails with: what the allocator throws. */
    template <typename Allocator, typename Function>
    fiber(std::allocator_arg_t, Allocator &&allocator, Function &&function);

    fiber(fiber &&other) noexcept : machine_(std::move(other.machine_)), side_(std::exchange(other.side_, nullptr)) {}

    fiber &operator=(fiber &&other) noexcept
    {
        fiber former = std::move(*this);
        machine_ = std::move(other.machine_);
        side_ = std::exchange(other.side_, nullptr);
        return *this;
    }

    /* Ends it: stack_exit is thrown where it is suspended, and once more when it suspends again. If it still does not
     * end, or cannot from here (another thread, Python finalized), it is leaked with its stack and its frames, and
     * counted (status()["leaked_stacks"]). It is not ended later, as Python's coroutines are: its frames may refer to
     * what the caller destroys after it. */
    ~fiber()
    {
        if (machine_) {
            end();
        }
    }

    /* Resume it. Returns the fiber that has resumed the caller, empty if that has ended.
     * Guarantees: bounds and execution state are the caller's again.
     * Fails with: refused, and nothing was changed; stack_exit, when the caller's own fiber is destroyed meanwhile. */
    fiber resume() &&
    {
        return std::move(*this).switch_to([](context::fiber &&to, detail::side *) { return std::move(to).resume(); });
    }

    /* The same; on its stack `function(fiber &&from)` runs first, and what that returns or throws comes out of the
     * fiber's own resume(). One that throws has moved `from` elsewhere before, as in Boost: else nobody could resume
     * the caller. */
    template <typename Function> fiber resume_with(Function &&function) &&;

    explicit operator bool() const noexcept { return static_cast<bool>(machine_); }

    /* The stack on which it is resumed. Requires: not empty. */
    const stackwarden_stack &stack() const noexcept { return side_->stack; }

private:
    template <typename Function> struct entry;

    fiber(context::fiber &&machine, detail::side *side) noexcept : machine_(std::move(machine)), side_(side) {}

    template <typename Jump> fiber switch_to(Jump jump) &&;
    static void exit_or_go_on(detail::side *self, context::fiber &machine);
    void end() noexcept;
    void leak() noexcept;

    context::fiber machine_;
    detail::side *side_ = nullptr;
};

/* ---- switching ---- */

template <typename Jump> fiber fiber::switch_to(Jump jump) &&
{
    detail::side thread;
    detail::side *fiber_here = detail::running();
    detail::side *here = fiber_here != nullptr ? fiber_here : &thread;
    if (fiber_here == nullptr) {
        stackwarden_current_stack(&here->stack);
    }
    if (!machine_) {
        if (here->exit_side == nullptr) {
            throw std::logic_error("stackwarden: an empty fiber cannot be resumed");
        }
        if (++here->suspensions < 2) {
            throw stack_exit();
        }
        machine_ = std::move(here->exit_to);
        side_ = here->exit_side;
    }
    stackwarden_status status = detail::start_switch(side_->stack, false);
    if (status < 0 && detail::is_running(status)) {
        throw refused(status);
    }
    here->tracked = status == STACKWARDEN_DONE;
    detail::side *there = std::exchange(side_, nullptr);
    there->from = here;
    here->binding = detail::exchange_binding(nullptr);
    context::fiber machine = jump(std::move(machine_), there);
    detail::finish_switch(here);
    exit_or_go_on(here, machine);
    return fiber(std::move(machine), here->from);
}

inline void fiber::exit_or_go_on(detail::side *self, context::fiber &machine)
{
    if (self->exits) {
        self->exits = false;
        self->exit_to = std::move(machine);
        self->exit_side = self->from;
        throw stack_exit();
    }
}

template <typename Function> fiber fiber::resume_with(Function &&function) &&
{
    return std::move(*this).switch_to([&function](context::fiber &&to, detail::side *there) {
        return std::move(to).resume_with([&function, there](context::fiber &&machine) {
            detail::finish_switch(there);
            fiber from = function(fiber(std::move(machine), there->from));
            there->from = from.side_;
            there->binding = detail::exchange_binding(nullptr); /* for finish_switch(), once more */
            return std::move(from.machine_);
        });
    });
}

/* ---- a fiber's first and last function ---- */

template <typename Function> struct fiber::entry {
    std::unique_ptr<detail::side> self;
    Function function;

    context::fiber operator()(context::fiber &&machine)
    {
        self->role = detail::role::started;
        detail::finish_switch(self.get());
        fiber to = call(fiber(std::move(machine), self->from));
        if (self->exit_to) {
            to = fiber(std::move(self->exit_to), self->exit_side);
        }
        if (!to) {
            std::abort(); /* as in Boost: there is nothing to resume */
        }
        to.side_->from = nullptr;
        stackwarden_status status = detail::start_switch(to.side_->stack, true);
        if (status < 0 && detail::is_running(status)) {
            std::abort(); /* a stack of another thread, or frames in another order: they would be corrupted */
        }
        to.side_ = nullptr;
        return std::move(to.machine_);
    }

    /* The function object is destroyed here, while its stack is in use. */
    fiber call(fiber &&from)
    {
        Function mine = std::move(function);
        try {
            return std::invoke(std::move(mine), std::move(from));
        }
        catch (const stack_exit &) {
            return fiber();
        }
    }
};

template <typename Allocator, typename Function>
fiber::fiber(std::allocator_arg_t, Allocator &&allocator, Function &&function)
{
    auto self = std::make_unique<detail::side>();
    context::stack_context made = allocator.allocate();
    detail::side *side = self.get();
    side->role = detail::role::made;
    side->stack = detail::stack_of(made);
    machine_ = context::fiber(std::allocator_arg, context::preallocated(made.sp, made.size, made),
                              std::decay_t<Allocator>(std::forward<Allocator>(allocator)),
                              entry<std::decay_t<Function>>{std::move(self), std::forward<Function>(function)});
    side_ = side;
}

/* ---- destroying ---- */

inline void fiber::end() noexcept
{
    detail::side *ended = side_;
    if (ended->role == detail::role::made) {
        machine_ = context::fiber(); /* it never began */
        return;
    }
    if (ended->role == detail::role::thread || (ended->tracked && !detail::is_python_running())) {
        leak();
        return;
    }
    ended->exits = true;
    try {
        fiber back = std::move(*this).resume();
        if (back.side_ == ended) {
            back.leak();
        }
    }
    catch (const refused &) {
        leak();
    }
    catch (const stack_exit &) {
        /* The caller's own fiber was destroyed meanwhile, and resumes that one when it ends. */
    }
}

/* Never resumed again; its stack and its frames stay as they are. */
inline void fiber::leak() noexcept
{
    alignas(context::fiber) unsigned char never_destroyed[sizeof(context::fiber)];
    stackwarden_unregister_stack(side_->stack.handle);
    ::new (never_destroyed) context::fiber(std::move(machine_));
    side_ = nullptr;
}

/* ---- pybind11 ---- */

#if defined(PYBIND11_VERSION_MAJOR)
namespace detail {

using pybind11_call = pybind11::detail::loader_life_support;

/* pybind11 has no function to swap its list of calls. A new call comes first in it, and its first word points at the
 * next one, which comes first again when the new call ends. */
inline void *swap_pybind11(void *calls) noexcept
{
    alignas(pybind11_call) unsigned char memory[sizeof(pybind11_call)];
    pybind11_call *next = ::new (memory) pybind11_call;
    void *former;
    std::memcpy(&former, memory, sizeof former);
    std::memcpy(memory, &calls, sizeof calls);
    next->~pybind11_call();
    return former;
}

} // namespace detail

inline void use_pybind11()
{
    {
        detail::pybind11_call outer, inner;
        void *first_word;
        std::memcpy(&first_word, static_cast<void *>(&inner), sizeof first_word);
        if (first_word != &outer) {
            throw std::runtime_error("stackwarden: this pybind11 keeps its calls in a way that is not known");
        }
    }
    detail::swap_binding = detail::swap_pybind11;
    pybind11::register_exception_translator([](std::exception_ptr error) {
        try {
            std::rethrow_exception(std::move(error));
        }
        catch (const stack_exit &) {
            raise_stack_exit();
        }
    });
}
#endif

/* ---- make_fcontext and jump_fcontext ---- */

using context::detail::fcontext_t;
using context::detail::transfer_t;

/* boost::context::detail::make_fcontext for stacks that the core is told of: make_fcontext<entry>(top, size). */
template <void (*entry)(transfer_t)> fcontext_t make_fcontext(void *top, std::size_t size)
{
    return context::detail::make_fcontext(top, size, [](transfer_t from) {
        stackwarden_finish_switch();
        entry(from);
    });
}

/* boost::context::detail::jump_fcontext to a context on `stack`: its bounds, and its handle if it is registered.
 * Fails with: refused, before the jump. */
inline transfer_t jump_fcontext(fcontext_t to, void *data, const stackwarden_stack &stack)
{
    stackwarden_status status = detail::start_switch(stack, false);
    if (status < 0 && detail::is_running(status)) {
        throw refused(status);
    }
    transfer_t from = context::detail::jump_fcontext(to, data);
    stackwarden_finish_switch();
    return from;
}

/* The last jump from a stack, which may be unregistered and freed from then on. */
[[noreturn]] inline void end_fcontext(fcontext_t to, void *data, const stackwarden_stack &stack)
{
    stackwarden_status status = detail::start_switch(stack, true);
    if (status < 0 && detail::is_running(status)) {
        throw refused(status);
    }
    context::detail::jump_fcontext(to, data);
    std::abort();
}

} // namespace boost
} // namespace stackwarden
#endif
