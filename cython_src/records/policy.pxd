"""The policy: what is made of the bounds of a stack.

Promises: every record says which policy is in force for it: the one that was given when it was registered, else
that of the thread, else that of the process, which are kept apart for known stacks, for unknown ones, and for the
native stacks of threads that Python did not create. What a policy means to CPython is known in cpython/ alone.

A change is in force at once on the calling thread, and elsewhere with the next switch or sync. Once a policy was
asked for under which bounds are not checked, the hook takes the slow path (sw_process.fast_path stays off): the short
one asks for no policy.
"""

from libc.stdint cimport uint8_t, uint32_t

from records.execution cimport *
from records.fast_path cimport update_fast_path
from records.guard cimport *
from records.protection cimport *
from records.records cimport record_at
from records.requests cimport end_requests


cdef inline bint is_unknown(const sw_record *record) noexcept nogil:
    """A stack that nobody told of: its bounds are from the map of memory, or an estimate."""
    return record.kind == SW_TRANSIENT and record.bounds_from >= SW_FROM_MAP


cdef inline int policy_of(const sw_thread *thread, int kind) noexcept nogil:
    """In force for a kind of stacks on a thread, or (NULL) where no thread has one of its own."""
    cdef int own = SW_INHERITED
    if thread != NULL:
        own = thread.policies[SW_KNOWN_STACKS if kind == SW_FOREIGN_THREADS else kind]
    return own if own != SW_INHERITED else sw_process.policies[kind]


cdef inline int kind_of(const sw_thread *thread, const sw_record *record) noexcept nogil:
    if record.kind == SW_NATIVE:
        return SW_FOREIGN_THREADS if thread.is_foreign else SW_KNOWN_STACKS
    return SW_UNKNOWN_STACKS if is_unknown(record) else SW_KNOWN_STACKS


cdef inline int effective(const sw_record *record, int wanted) noexcept nogil:
    """What can be had of it: bounds that are not certain are an estimate; an estimate is no exact one."""
    if wanted != SW_EXACT:
        return wanted
    if record.bounds_from == SW_FROM_ESTIMATE and is_unknown(record):
        return SW_DISABLED
    if record.bounds_from == SW_FROM_ESTIMATE or record.top - record.base < swpy_protection.exact_size:
        return SW_ESTIMATE
    return SW_EXACT


cdef inline void use_policy(const sw_thread *thread, sw_record *record) noexcept nogil:
    """Choose the policy of a record. `thread`: the one that it is on, or NULL."""
    cdef int wanted = record.given_policy
    if wanted == SW_INHERITED:
        wanted = policy_of(thread, kind_of(thread, record))
    record.policy = effective(record, wanted)


cdef inline void note_unchecked(int policy) noexcept nogil:
    """A policy was asked for. Under sw_lock()."""
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
    """The thread has ended: stacks that it was on go by others' policies again. Under sw_lock()."""
    end_requests(&thread.policy_requests)
    thread.set_policies[SW_KNOWN_STACKS] = thread.set_policies[SW_UNKNOWN_STACKS] = SW_INHERITED
    if has_policies(thread):
        thread.policies[SW_KNOWN_STACKS] = thread.policies[SW_UNKNOWN_STACKS] = SW_INHERITED
        use_policies()


cdef inline void sum_policies(uint8_t *effective, const uint8_t *set_for_good, const sw_request *request) noexcept nogil:
    """The newest request for each kind of stacks, else what was set for good."""
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
    """Choose again for all records. Under sw_lock()."""
    cdef uint32_t index
    cdef sw_record *record
    cdef sw_thread *thread = sw_process.threads
    cdef int own = 0
    for index in range(1, sw_process.records):
        record = record_at(index)
        if record.generation & 1 and record.kind != SW_NATIVE:
            use_policy(NULL, record)
    while thread != NULL:
        if thread.ident:
            use_policies_of(thread)
            own += has_policies(thread)
        thread = thread.next
    sw_process.own_policies = own
    sw_process.policy_serial += 1
