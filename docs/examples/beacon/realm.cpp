// Realm's way: user threads on ucontext, which a host thread switches to, from, and between.
//
// What is marked with "beacon" is what a runtime of this kind adds.

#include <stackwarden/beacon.h> // beacon

#include "stack.h"

#include <ucontext.h>

#include <cstddef>
#include <functional>
#include <utility>

STACKWARDEN_BEACON("realm") // beacon

namespace {

constexpr std::size_t stack_size = 256 << 10; // bytes

class user_thread {
public:
    explicit user_thread(std::function<void()> work) : work_(std::move(work)), stack_(allocate_stack(stack_size))
    {
        getcontext(&context_);
        context_.uc_stack.ss_sp = stack_;
        context_.uc_stack.ss_size = stack_size;
        context_.uc_link = nullptr;
        makecontext(&context_, entry, 0);
    }
    ~user_thread() { free_stack(stack_, stack_size); }
    user_thread(const user_thread &) = delete;
    user_thread &operator=(const user_thread &) = delete;

    // Go on with another user thread, or with the host (nullptr). Every switch goes through here.
    static void user_switch(user_thread *to)
    {
        ucontext_t host;
        ucontext_t *here = current_ != nullptr ? &current_->context_ : (host_ = &host);
        current_ = to;
        if (to != nullptr) {
            stackwarden_beacon_switch(to->stack_, stack_size); // beacon
            swapcontext(here, &to->context_);
        }
        else {
            stackwarden_beacon_reset(); // beacon
            swapcontext(here, host_);
        }
    }

private:
    static void entry()
    {
        current_->work_();
        user_switch(nullptr);
    }

    static thread_local user_thread *current_;
    static thread_local ucontext_t *host_;
    std::function<void()> work_;
    void *stack_;
    ucontext_t context_;
};

thread_local user_thread *user_thread::current_;
thread_local ucontext_t *user_thread::host_;

} // namespace

// Run a function on one user thread, which another one switched to.
extern "C" __attribute__((visibility("default"))) void run(void (*work)())
{
    user_thread second(work);
    user_thread first([&second] { user_thread::user_switch(&second); });
    user_thread::user_switch(&first);
}
