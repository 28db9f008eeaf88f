"""The C table: the functions behind stackwarden/stackwarden.h, each in its slot.

Promises: the compiler checks that each function has the type that the header gives its slot.
"""

from cpython.object cimport PyObject
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uintptr_t

from calls.call_on_stack cimport sw_call_on_stack, sw_maybe_grow, sw_retain_stack
from depth.budgets cimport sw_enter_budget, sw_leave_budget
from depth.checks cimport (
    sw_check_stack_depth,
    sw_enter_recursive_call,
    sw_leave_recursive_call,
    sw_stack_remaining,
    sw_stack_used,
)
from records.ends cimport sw_drain
from records.executions cimport sw_renew_stack
from stackwarden cimport (
    STACKWARDEN_API_MAJOR,
    STACKWARDEN_API_MINOR,
    STACKWARDEN_DONE,
    stackwarden_function,
    stackwarden_handle,
    stackwarden_policy,
    stackwarden_request,
    stackwarden_stack,
    stackwarden_stacks,
    stackwarden_status,
    stackwarden_switch_callback,
)
from switching.blocks cimport sw_enter_stack, sw_enter_sync, sw_leave_stack, sw_leave_sync
from switching.callbacks cimport sw_unregister_switch_callback
from switching.checking cimport (
    sw_enter_sync_checked,
    sw_notify_checked,
    sw_reset_checked,
    sw_start_switch_blocking_checked,
    sw_start_switch_checked,
    sw_switch_to_checked,
    sw_sync_checked,
)
from switching.evidence cimport sw_current_handle, sw_current_stack
from switching.finish_switch cimport sw_finish_switch
from switching.hook cimport sw_notify_stack_switch, sw_reset_stack, sw_switch_to
from switching.policies cimport sw_enter_policy, sw_leave_policy, sw_set_policy
from switching.registration cimport (
    sw_find_stack,
    sw_register_stack,
    sw_register_switch_callback,
    sw_unregister_stack,
)
from switching.start_switch cimport sw_start_switch, sw_start_switch_blocking
from switching.sync cimport sw_adopt_stack, sw_sync_stack


cdef extern from "Python.h" nogil:
    int Py_EnterRecursiveCall(const char *where) noexcept
    void Py_LeaveRecursiveCall() noexcept


cdef extern from "stackwarden/stackwarden.h":
    ctypedef struct stackwarden_table:
        uint32_t major
        uint32_t minor
        stackwarden_status (*notify_stack_switch)(uintptr_t, size_t) noexcept nogil
        stackwarden_status (*switch_to)(stackwarden_handle) noexcept nogil
        stackwarden_status (*reset_stack)() noexcept nogil
        stackwarden_status (*sync_stack)() noexcept nogil
        stackwarden_status (*register_stack)(
            uintptr_t, size_t, const char *, const char *, unsigned, stackwarden_stack *) noexcept nogil
        stackwarden_status (*unregister_stack)(stackwarden_handle) noexcept nogil
        stackwarden_status (*current_stack)(stackwarden_stack *) noexcept nogil
        stackwarden_status (*find_stack)(uintptr_t, stackwarden_stack *) noexcept nogil
        stackwarden_status (*register_switch_callback)(stackwarden_switch_callback, void *, int) noexcept nogil
        stackwarden_status (*unregister_switch_callback)(stackwarden_switch_callback, void *) noexcept nogil
        stackwarden_status (*start_switch)(const stackwarden_stack *, unsigned) noexcept nogil
        stackwarden_status (*start_switch_blocking)(const stackwarden_stack *, unsigned) noexcept nogil
        stackwarden_status (*finish_switch)() noexcept nogil
        stackwarden_status (*renew_stack)(stackwarden_handle, PyObject *) noexcept nogil
        stackwarden_status (*drain)() noexcept nogil
        stackwarden_status (*enter_budget)(uintptr_t, stackwarden_request *) noexcept nogil
        stackwarden_status (*leave_budget)(const stackwarden_request *) noexcept nogil
        stackwarden_status (*adopt_stack)() noexcept nogil
        stackwarden_status (*call_on_stack)(size_t, stackwarden_function, void *) noexcept nogil
        stackwarden_status (*maybe_grow)(size_t, size_t, stackwarden_function, void *) noexcept nogil
        size_t (*stack_remaining)() noexcept nogil
        size_t (*stack_used)() noexcept nogil
        int (*check_stack_depth)(const char *) noexcept nogil
        int (*enter_recursive_call)(const char *) noexcept nogil
        void (*leave_recursive_call)() noexcept nogil
        stackwarden_status (*set_policy)(stackwarden_stacks, stackwarden_policy, int) noexcept nogil
        stackwarden_status (*enter_policy)(
            stackwarden_stacks, stackwarden_policy, int, stackwarden_request *) noexcept nogil
        stackwarden_status (*leave_policy)(const stackwarden_request *) noexcept nogil
        stackwarden_status (*enter_sync)(stackwarden_request *) noexcept nogil
        stackwarden_status (*leave_sync)(const stackwarden_request *) noexcept nogil
        stackwarden_status (*enter_stack)(const stackwarden_stack *, stackwarden_request *) noexcept nogil
        stackwarden_status (*leave_stack)(const stackwarden_request *) noexcept nogil
        stackwarden_status (*retain_stack)() noexcept nogil
        stackwarden_handle (*current_handle)() noexcept nogil


cdef inline void fill_table(stackwarden_table *table) noexcept nogil:
    """Field by field: for a literal Cython 3.3 makes a Python wrapper of each function, which nobody calls."""
    table.major = STACKWARDEN_API_MAJOR
    table.minor = STACKWARDEN_API_MINOR
    table.notify_stack_switch = sw_notify_stack_switch
    table.switch_to = sw_switch_to
    table.reset_stack = sw_reset_stack
    table.sync_stack = sw_sync_stack
    table.register_stack = sw_register_stack
    table.unregister_stack = sw_unregister_stack
    table.current_stack = sw_current_stack
    table.find_stack = sw_find_stack
    table.register_switch_callback = sw_register_switch_callback
    table.unregister_switch_callback = sw_unregister_switch_callback
    table.start_switch = sw_start_switch
    table.start_switch_blocking = sw_start_switch_blocking
    table.finish_switch = sw_finish_switch
    table.renew_stack = sw_renew_stack
    table.drain = sw_drain
    table.enter_budget = sw_enter_budget
    table.leave_budget = sw_leave_budget
    table.adopt_stack = sw_adopt_stack
    table.call_on_stack = sw_call_on_stack
    table.maybe_grow = sw_maybe_grow
    table.stack_remaining = sw_stack_remaining
    table.stack_used = sw_stack_used
    table.check_stack_depth = sw_check_stack_depth
    table.enter_recursive_call = sw_enter_recursive_call
    table.leave_recursive_call = sw_leave_recursive_call
    table.set_policy = sw_set_policy
    table.enter_policy = sw_enter_policy
    table.leave_policy = sw_leave_policy
    table.enter_stack = sw_enter_stack
    table.leave_stack = sw_leave_stack
    table.enter_sync = sw_enter_sync
    table.leave_sync = sw_leave_sync
    table.retain_stack = sw_retain_stack
    table.current_handle = sw_current_handle


cdef inline void check_tellings(stackwarden_table *table) noexcept nogil:
    """Turn the checking mode on."""
    table.notify_stack_switch = sw_notify_checked
    table.switch_to = sw_switch_to_checked
    table.reset_stack = sw_reset_checked
    table.sync_stack = sw_sync_checked
    table.start_switch = sw_start_switch_checked
    table.start_switch_blocking = sw_start_switch_blocking_checked
    table.enter_sync = sw_enter_sync_checked


# ---- STACKWARDEN=off: calls are made in place, and nothing is checked. The mechanism is "none" ----

cdef inline stackwarden_status call_in_place(
        size_t size, stackwarden_function function, void *arg) noexcept nogil:
    function(arg)
    return STACKWARDEN_DONE


cdef inline stackwarden_status grow_in_place(
        size_t room, size_t size, stackwarden_function function, void *arg) noexcept nogil:
    function(arg)
    return STACKWARDEN_DONE


cdef inline int check_nothing(const char *where) noexcept nogil:
    return 0


cdef inline stackwarden_status enter_no_budget(uintptr_t low_end, stackwarden_request *token) noexcept nogil:
    token.id = 0
    return STACKWARDEN_DONE


cdef inline stackwarden_status leave_no_budget(const stackwarden_request *token) noexcept nogil:
    return STACKWARDEN_DONE


cdef inline void turn_off(stackwarden_table *table) noexcept nogil:
    """What is left keeps records, and swaps the execution state of stacks that suspend in the middle of Python."""
    table.call_on_stack = call_in_place
    table.maybe_grow = grow_in_place
    table.check_stack_depth = check_nothing
    table.enter_recursive_call = Py_EnterRecursiveCall
    table.leave_recursive_call = Py_LeaveRecursiveCall
    table.enter_budget = enter_no_budget
    table.leave_budget = leave_no_budget
