"""Setting policies, and the assumed size: for good or for a block of code, in the process or on a thread.

Promises: the requests of blocks form a set, of which the newest is effective; each ends with its own block, on
whichever thread. A change is effective at once on the calling thread if that is attached, elsewhere with the next
switch or sync.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy

from records.execution cimport *
from records.guard cimport *
from records.policy cimport note_unchecked, sum_policies, use_policies
from records.protection cimport *
from records.requests cimport make_request, remove_request, request_of
from stackwarden cimport (
    STACKWARDEN_BAD_POLICY,
    STACKWARDEN_DONE,
    STACKWARDEN_INTERRUPTED,
    STACKWARDEN_NOT_REGISTERED,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_NO_MEMORY,
    stackwarden_policy,
    stackwarden_request,
    stackwarden_stacks,
    stackwarden_status,
)
from switching.sync cimport enter_here
from switching.threads cimport this_thread, thread_with_serial, why_no_block


cdef inline int default_policy(int which) noexcept nogil:
    return SW_ESTIMATE if which == SW_UNKNOWN_STACKS else SW_EXACT


cdef inline stackwarden_status check_policy(
        stackwarden_stacks which, stackwarden_policy policy, bint thread_only) noexcept nogil:
    if <unsigned>which >= SW_POLICY_KINDS or <unsigned>policy > SW_DISABLED \
            or (thread_only and <int>which == SW_FOREIGN_THREADS):
        return STACKWARDEN_BAD_POLICY
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    return STACKWARDEN_DONE if this_thread() != NULL else why_no_block()


cdef inline int wanted_policy(int which, int policy, bint thread_only) noexcept nogil:
    """INHERITED stands for the default in the process, where a thread inherits from the process."""
    return policy if thread_only or policy != SW_INHERITED else default_policy(which)


cdef inline bint compute_policies(sw_thread *thread) noexcept nogil:
    """The effective policies of a thread; NULL: of the process. Is one of them another now? Under sw_lock()."""
    cdef uint8_t *policies = thread.policies if thread != NULL else sw_process.policies
    cdef uint8_t before[SW_POLICY_KINDS]
    memcpy(before, policies, SW_POLICY_KINDS)
    if thread != NULL:
        sum_policies(policies, thread.set_policies, thread.policy_requests)
    else:
        sum_policies(policies, sw_process.set_policies, sw_process.policy_requests)
    if memcmp(before, policies, SW_POLICY_KINDS) == 0:
        return False
    use_policies()
    return True


cdef inline void apply_policies() noexcept nogil:
    """Apply the effective policy to the stack under the caller, if the thread is attached."""
    cdef PyThreadState *ts = swpy_attached()
    if ts != NULL:
        enter_here(this_thread(), ts, sw_stack_pointer(), False)


cdef inline stackwarden_status sw_set_policy(
        stackwarden_stacks which, stackwarden_policy policy, int thread_only) noexcept nogil:
    cdef sw_thread *thread = NULL
    cdef uint8_t *set_for_good = sw_process.set_policies
    cdef stackwarden_status status = check_policy(which, policy, thread_only)
    if status != STACKWARDEN_DONE:
        return status
    if thread_only:
        thread = this_thread()
        set_for_good = thread.set_policies
    if not sw_lock():
        return STACKWARDEN_INTERRUPTED
    set_for_good[<int>which] = wanted_policy(<int>which, <int>policy, thread_only)
    note_unchecked(<int>policy)
    compute_policies(thread)
    sw_unlock()
    apply_policies()
    return STACKWARDEN_DONE


cdef inline stackwarden_status sw_enter_policy(
        stackwarden_stacks which, stackwarden_policy policy, int thread_only,
        stackwarden_request *token) noexcept nogil:
    cdef sw_thread *thread = NULL
    cdef sw_request *request
    cdef stackwarden_status status = check_policy(which, policy, thread_only)
    if status != STACKWARDEN_DONE:
        return status
    if thread_only:
        thread = this_thread()
    if not sw_lock():
        return STACKWARDEN_INTERRUPTED
    request = make_request(&thread.policy_requests if thread != NULL else &sw_process.policy_requests, token)
    if request != NULL:
        request.thread = thread.serial if thread != NULL else 0
        request.which = <int>which
        request.policy = wanted_policy(<int>which, <int>policy, thread_only)
        note_unchecked(<int>policy)
        compute_policies(thread)
    sw_unlock()
    if request == NULL:
        return STACKWARDEN_NO_MEMORY
    apply_policies()
    return STACKWARDEN_DONE


cdef inline stackwarden_status end_policy(const stackwarden_request *token, bint for_good) noexcept nogil:
    """`for_good`: the policy of the request stays, behind those of the blocks that are left."""
    cdef sw_request *request
    cdef sw_thread *thread
    cdef bint changed = False
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    if this_thread() == NULL:
        return why_no_block()
    if not sw_lock():
        return STACKWARDEN_INTERRUPTED
    request = request_of(token)
    if request != NULL:
        thread = thread_with_serial(request.thread)
        if for_good:
            (thread.set_policies if thread != NULL else sw_process.set_policies)[request.which] = request.policy
        remove_request(&thread.policy_requests if thread != NULL else &sw_process.policy_requests, request)
        changed = compute_policies(thread)
    sw_unlock()
    if request == NULL:
        return STACKWARDEN_NOT_REGISTERED
    if changed:
        apply_policies()
    return STACKWARDEN_DONE


cdef inline stackwarden_status sw_leave_policy(const stackwarden_request *token) noexcept nogil:
    return end_policy(token, False)


cdef inline void set_policy_for_good(const stackwarden_request *token) noexcept nogil:
    """End a request; its policy is set for good."""
    end_policy(token, True)


# ---- what an unknown stack is taken for ----

cdef inline void compute_assumed_size() noexcept nogil:
    """Under sw_lock()."""
    cdef sw_request *newest = sw_process.size_requests
    sw_process.assumed_size = newest.size if newest != NULL else sw_process.set_assumed_size


cdef inline stackwarden_status enter_assumed_size(size_t size, stackwarden_request *token) noexcept nogil:
    """Until end_assumed_size(): the newest of those that are left is effective."""
    cdef sw_request *request
    if not sw_lock():
        return STACKWARDEN_INTERRUPTED
    request = make_request(&sw_process.size_requests, token)
    if request != NULL:
        request.size = size
        compute_assumed_size()
    sw_unlock()
    return STACKWARDEN_DONE if request != NULL else STACKWARDEN_NO_MEMORY


cdef inline void end_assumed_size(const stackwarden_request *token, bint for_good) noexcept nogil:
    """Again it does nothing. `for_good`: the size stays, behind those of the blocks that are left."""
    cdef sw_request *request
    if not sw_lock():
        return
    request = request_of(token)
    if request != NULL:
        if for_good:
            sw_process.set_assumed_size = request.size
        remove_request(&sw_process.size_requests, request)
        compute_assumed_size()
    sw_unlock()
