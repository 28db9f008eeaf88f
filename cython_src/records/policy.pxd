"""Policies: what CPython does with the bounds of a stack.

Promises: every record has its effective policy: that of its registration, else that of its thread, else that of
the process. Thread and process have one for known stacks and one for unknown ones; the process has a third one for
the native stacks of threads that Python did not create. What a policy means to CPython only cpython/ knows.

A change is effective at once on the calling thread, elsewhere with the next switch or sync. The fast path reads no
policy: it is off for good once a policy without checks of bounds was requested (sw_process.unchecked).
"""

from libc.stdint cimport uint8_t, uint32_t

from records.execution cimport *
from records.fast_path cimport update_fast_path
from records.guard cimport *
from records.protection cimport *
from records.records cimport is_in_use, record_at
from records.requests cimport end_requests


cdef inline bint is_unknown(const sw_record *record) noexcept nogil:
    """Was the stack found, not told? Its bounds are from the map of memory, or an estimate."""
    return record.kind == SW_TRANSIENT and record.bounds_from >= SW_FROM_MAP


cdef inline int policy_of(const sw_thread *thread, int kind) noexcept nogil:
    """The policy for a kind of stacks on a thread; NULL: in the process."""
    cdef int own = SW_INHERITED
    if thread != NULL:
        own = thread.policies[SW_KNOWN_STACKS if kind == SW_FOREIGN_THREADS else kind]
    return own if own != SW_INHERITED else sw_process.policies[kind]


cdef inline int kind_of(const sw_thread *thread, const sw_record *record) noexcept nogil:
    if record.kind == SW_NATIVE:
        return SW_FOREIGN_THREADS if thread.is_foreign else SW_KNOWN_STACKS
    return SW_UNKNOWN_STACKS if is_unknown(record) else SW_KNOWN_STACKS


cdef inline int effective(const sw_record *record, int wanted) noexcept nogil:
    """The policy that a record can have: `exact` needs known bounds and a size that is large enough for it."""
    if wanted != SW_EXACT:
        return wanted
    if record.bounds_from == SW_FROM_ESTIMATE and is_unknown(record):
        return SW_DISABLED
    if record.bounds_from == SW_FROM_ESTIMATE or record.top - record.base < swpy_protection.exact_size:
        return SW_ESTIMATE
    return SW_EXACT


cdef inline int effective_policy(const sw_thread *thread, const sw_record *record) noexcept nogil:
    """`thread`: the one that the record is current on, or NULL."""
    cdef int wanted = record.given_policy
    if wanted == SW_INHERITED:
        wanted = policy_of(thread, kind_of(thread, record))
    return effective(record, wanted)


cdef inline void use_policy(const sw_thread *thread, sw_record *record) noexcept nogil:
    """Set the effective policy of a record."""
    record.policy = effective_policy(thread, record)


cdef inline void note_unchecked(int policy) noexcept nogil:
    """A policy was requested: does it end the fast path? Under sw_lock()."""
    if policy >= SW_COUNTED and not sw_process.unchecked:
        sw_process.unchecked = True
        update_fast_path()


cdef inline void use_policies_of(const sw_thread *thread) noexcept nogil:
    use_policy(thread, thread.native)
    use_policy(thread, thread.current)
    use_policy(thread, thread.transient)
    use_policy(thread, thread.spare)


cdef inline bint has_policies(const sw_thread *thread) noexcept nogil:
    return thread.policies[SW_KNOWN_STACKS] or thread.policies[SW_UNKNOWN_STACKS]


cdef inline void forget_policies(sw_thread *thread) noexcept nogil:
    """The thread has ended, and its policies with it. Under sw_lock()."""
    end_requests(&thread.policy_requests)
    thread.set_policies[SW_KNOWN_STACKS] = thread.set_policies[SW_UNKNOWN_STACKS] = SW_INHERITED
    if has_policies(thread):
        thread.policies[SW_KNOWN_STACKS] = thread.policies[SW_UNKNOWN_STACKS] = SW_INHERITED
        use_policies()


cdef inline void sum_policies(
        uint8_t *effective, const uint8_t *set_for_good, const sw_request *request) noexcept nogil:
    """Effective for each kind of stacks: the policy of the newest request, else the one that was set for good."""
    cdef int which
    cdef bint requested[SW_POLICY_KINDS]
    for which in range(SW_POLICY_KINDS):
        effective[which] = set_for_good[which]
        requested[which] = False
    while request != NULL:
        if not requested[request.which]:
            requested[request.which] = True
            effective[request.which] = request.policy
        request = request.next


cdef inline void use_policies() noexcept nogil:
    """Set the effective policies of all records again. Under sw_lock()."""
    cdef uint32_t index
    cdef sw_record *record
    cdef sw_thread *thread = sw_process.threads
    cdef int own = 0
    for index in range(1, sw_process.records):
        record = record_at(index)
        if is_in_use(record) and record.kind != SW_NATIVE:
            use_policy(NULL, record)
    while thread != NULL:
        if thread.ident:
            use_policies_of(thread)
            own += has_policies(thread)
        thread = thread.next
    sw_process.own_policies = own
    sw_process.policy_serial += 1
