"""Asking for a policy: in the process, or on a thread.

Promises: in force at once on the calling thread if it is attached, elsewhere with the next switch or sync.
"""

from libc.stdint cimport uint8_t

from records.execution cimport *
from records.guard cimport *
from records.policy cimport note_unchecked, use_policies
from records.protection cimport *
from stackwarden cimport (
    STACKWARDEN_BAD_POLICY,
    STACKWARDEN_DONE,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_NO_MEMORY,
    stackwarden_policy,
    stackwarden_stacks,
    stackwarden_status,
)
from switching.sync cimport enter_here
from switching.threads cimport this_thread


cdef inline int default_policy(int which) noexcept nogil:
    return SW_ESTIMATE if which == SW_UNKNOWN_STACKS else SW_EXACT


cdef inline void change_policy(uint8_t *policies, int which, int policy) noexcept nogil:
    """For the process or a thread. Under sw_lock()."""
    policies[which] = policy
    note_unchecked(policy)
    use_policies()


cdef inline stackwarden_status sw_set_policy(
        stackwarden_stacks which, stackwarden_policy policy, int thread_only,
        stackwarden_policy *former) noexcept nogil:
    cdef sw_thread *thread
    cdef PyThreadState *ts
    cdef uint8_t *policies = sw_process.policies
    if <unsigned>which >= SW_POLICY_KINDS or <unsigned>policy > SW_DISABLED \
            or (thread_only and <int>which == SW_FOREIGN_THREADS):
        return STACKWARDEN_BAD_POLICY
    if not sw_process.running:
        return STACKWARDEN_NOT_RUNNING
    thread = this_thread()
    if thread == NULL:
        return STACKWARDEN_NO_MEMORY
    if thread_only:
        policies = thread.policies
    sw_lock()
    if former != NULL:
        former[0] = <stackwarden_policy>policies[<int>which]
    change_policy(
        policies, <int>which,
        <int>policy if thread_only or <int>policy != SW_INHERITED else default_policy(<int>which))
    sw_unlock()
    ts = swpy_attached()
    if ts != NULL:
        enter_here(thread, ts, sw_stack_pointer(), False)
    return STACKWARDEN_DONE
