"""The C contract as Cython sees it: what include/stackwarden/stackwarden.h promises, under Cython's names.

    cimport stackwarden
    stackwarden.import_stackwarden()          # once, with the GIL
    with nogil:
        stackwarden.switch_to(handle)

Requirements, guarantees and failures of each function are in the header.
"""

from cpython.object cimport PyObject
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t, uintptr_t


cdef extern from "stackwarden/stackwarden.h" nogil:
    ctypedef enum stackwarden_status:
        STACKWARDEN_DONE
        STACKWARDEN_UNKNOWN_STACK
        STACKWARDEN_LOST
        STACKWARDEN_NOT_INSTALLED
        STACKWARDEN_NOT_RUNNING
        STACKWARDEN_NO_MEMORY
        STACKWARDEN_FULL
        STACKWARDEN_BAD_RANGE
        STACKWARDEN_UNALIGNED
        STACKWARDEN_UNMAPPED
        STACKWARDEN_TOO_SMALL
        STACKWARDEN_OVERLAP
        STACKWARDEN_IN_USE
        STACKWARDEN_STALE_HANDLE
        STACKWARDEN_NOT_REGISTERED
        STACKWARDEN_DETACHED
        STACKWARDEN_ISOLATION_REQUIRED
        STACKWARDEN_OTHER_THREAD
        STACKWARDEN_NO_ISOLATION
        STACKWARDEN_NOT_AVAILABLE
        STACKWARDEN_BAD_POLICY
        STACKWARDEN_INTERRUPTED

    enum:
        STACKWARDEN_API_MAJOR
        STACKWARDEN_API_MINOR
        STACKWARDEN_TRIM_GUARD
        STACKWARDEN_ISOLATION_FRAMES
        STACKWARDEN_ISOLATION_THREAD_STATE
        STACKWARDEN_EMPTY_CONTEXT
        STACKWARDEN_SWITCH_ENDS

    const char *STACKWARDEN_VERSION
    const char *STACKWARDEN_CAPSULE

    ctypedef uint64_t stackwarden_handle

    ctypedef enum stackwarden_bounds_from:
        STACKWARDEN_BOUNDS_TOLD
        STACKWARDEN_BOUNDS_MAP
        STACKWARDEN_BOUNDS_ESTIMATE

    ctypedef struct stackwarden_stack:
        stackwarden_handle handle
        uintptr_t base
        size_t size
        uint64_t chain
        uint64_t pooled
        uint64_t bounds_from

    ctypedef struct stackwarden_request:
        uint64_t id
        void *place

    ctypedef enum stackwarden_policy:
        STACKWARDEN_POLICY_INHERITED
        STACKWARDEN_POLICY_EXACT
        STACKWARDEN_POLICY_ESTIMATE
        STACKWARDEN_POLICY_COUNTED
        STACKWARDEN_POLICY_DISABLED

    ctypedef enum stackwarden_stacks:
        STACKWARDEN_KNOWN_STACKS
        STACKWARDEN_UNKNOWN_STACKS
        STACKWARDEN_FOREIGN_THREADS

    ctypedef void (*stackwarden_switch_callback)(
        const stackwarden_stack *, const stackwarden_stack *, void *) noexcept nogil

    ctypedef void (*stackwarden_function)(void *) noexcept nogil

    stackwarden_status notify_stack_switch "stackwarden_notify_stack_switch"(const void *base, size_t size)
    stackwarden_status switch_to "stackwarden_switch_to"(stackwarden_handle handle)
    stackwarden_status reset_stack "stackwarden_reset_stack"()
    stackwarden_status sync_stack "stackwarden_sync_stack"()
    stackwarden_status adopt_stack "stackwarden_adopt_stack"()
    stackwarden_status enter_sync "stackwarden_enter_sync"(stackwarden_request *request)
    stackwarden_status leave_sync "stackwarden_leave_sync"(const stackwarden_request *request)
    stackwarden_status set_policy "stackwarden_set_policy"(
        stackwarden_stacks which, stackwarden_policy policy, int thread_only)
    stackwarden_status enter_policy "stackwarden_enter_policy"(
        stackwarden_stacks which, stackwarden_policy policy, int thread_only, stackwarden_request *request)
    stackwarden_status leave_policy "stackwarden_leave_policy"(const stackwarden_request *request)
    unsigned WITH_POLICY "STACKWARDEN_WITH_POLICY"(stackwarden_policy policy)
    stackwarden_status register_stack "stackwarden_register_stack"(
        const void *base, size_t size, const char *name, const char *system, unsigned flags,
        stackwarden_stack *stack)
    stackwarden_status unregister_stack "stackwarden_unregister_stack"(stackwarden_handle handle)
    stackwarden_status current_stack "stackwarden_current_stack"(stackwarden_stack *stack)
    stackwarden_handle current_handle "stackwarden_current_handle"()
    stackwarden_status find_stack "stackwarden_find_stack"(const void *address, stackwarden_stack *stack)
    stackwarden_status register_switch_callback "stackwarden_register_switch_callback"(
        stackwarden_switch_callback callback, void *arg, int all_threads)
    stackwarden_status unregister_switch_callback "stackwarden_unregister_switch_callback"(
        stackwarden_switch_callback callback, void *arg)
    stackwarden_status start_switch "stackwarden_start_switch"(const stackwarden_stack *to, unsigned flags)
    stackwarden_status start_switch_blocking "stackwarden_start_switch_blocking"(
        const stackwarden_stack *to, unsigned flags)
    stackwarden_status finish_switch "stackwarden_finish_switch"()
    stackwarden_status renew_stack "stackwarden_renew_stack"(stackwarden_handle handle, PyObject *context)
    stackwarden_status drain "stackwarden_drain"()
    stackwarden_status enter_budget "stackwarden_enter_budget"(const void *low_end, stackwarden_request *request)
    stackwarden_status leave_budget "stackwarden_leave_budget"(const stackwarden_request *request)
    stackwarden_status call_on_stack "stackwarden_call_on_stack"(
        size_t size, stackwarden_function function, void *arg)
    stackwarden_status maybe_grow "stackwarden_maybe_grow"(
        size_t room, size_t size, stackwarden_function function, void *arg)
    size_t stack_remaining "stackwarden_stack_remaining"()
    size_t stack_used "stackwarden_stack_used"()
    void leave_recursive_call "stackwarden_leave_recursive_call"()
    stackwarden_status retain_stack "stackwarden_retain_stack"()
    stackwarden_status enter_stack "stackwarden_enter_stack"(
        const void *base, size_t size, stackwarden_request *request)
    stackwarden_status enter_this_stack "stackwarden_enter_this_stack"(
        const stackwarden_stack *stack, stackwarden_request *request)
    stackwarden_status leave_stack "stackwarden_leave_stack"(const stackwarden_request *request)
    const char *status_text "stackwarden_status_text"(stackwarden_status status)


cdef extern from "stackwarden/stackwarden.h":
    int import_stackwarden "stackwarden_import"() except -1
    int check_stack_depth "stackwarden_check_stack_depth"(const char *where) except -1
    int enter_recursive_call "stackwarden_enter_recursive_call"(const char *where) except -1
