"""What the core knows of itself, for _status.py, which says it in words; and the settings that are shown there."""

from stackwarden cimport (
    STACKWARDEN_DONE,
    stackwarden_policy,
    stackwarden_request,
    stackwarden_stacks,
    stackwarden_status,
)


cdef extern from "Python.h":
    object Py_BuildValue(const char *format, ...)


cdef class Request:
    """What Python holds of a request. It is made before it: once there is a request nothing may fail."""

    cdef stackwarden_request token  # zero names no request


@cython.binding(True)
def _enter_policy(Request request, int which, int policy, bint thread_only, /):
    """Say what is to be made of known stacks (0), unknown ones (1), foreign threads (2)."""
    cdef stackwarden_status status = sw_table.enter_policy(
        <stackwarden_stacks>which, <stackwarden_policy>policy, thread_only, &request.token)
    if status != STACKWARDEN_DONE:
        _refuse(status, "stack_policy()")


@cython.binding(True)
def _leave_policy(Request request, bint for_good, /):
    """On whichever thread; again, or when that thread has ended, it does nothing."""
    if for_good:
        set_policy_for_good(&request.token)
    else:
        sw_table.leave_policy(&request.token)


def _enter_assumed_size(Request request, size_t size, /):
    """Say what an unknown stack is taken for (bytes, rounded up to pages)."""
    cdef stackwarden_status status = enter_assumed_size((size + SW_PAGE - 1) & ~(SW_PAGE - 1), &request.token)
    if status != STACKWARDEN_DONE:
        _refuse(status, "stack_policy()")


def _leave_assumed_size(Request request, bint for_good, /):
    """On whichever thread; again it does nothing."""
    end_assumed_size(&request.token, for_good)


def _set_stack_sizes(size_t min_stack, size_t stack_size, /):
    """For calls that may go to another stack, where the caller does not say (bytes; 0: as it was)."""
    if min_stack:
        sw_process.min_stack = min_stack
    if stack_size:
        sw_process.stack_size = stack_size


cdef int _policy_of(int kind):
    """In force on the calling thread."""
    return policy_of(running_thread(), kind)


def _protection():
    """What was found out when the core started."""
    return Py_BuildValue(
        "{ss ss sK sK sK sK si sz si}",
        b"mechanism", swpy_mechanism_name(),
        b"reason", swpy_protection.reason,
        b"margin", <unsigned long long>swpy_protection.margin,
        b"least_stack_size", <unsigned long long>sw_process.least_size,
        b"exact_stack_size", <unsigned long long>swpy_protection.exact_size,
        b"reserve", <unsigned long long>swpy_protection.reserve,
        b"native_levels", swpy_protection.native_levels,
        b"frames_reason", sw_frames_reason,
        b"has_own_states", <int>SWPY_HAS_OWN_STATES)


def _counters():
    """What changes."""
    end_retired()
    return Py_BuildValue(
        "{sK sK sK s(iii) sK sK sK sK sK si sK sl si sK sK sK}",
        b"leaked_stacks", <unsigned long long>sw_process.leaked,
        b"dropped_states", <unsigned long long>sw_process.dropped,
        b"drains", <unsigned long long>sw_process.drained,
        b"policies", _policy_of(SW_KNOWN_STACKS), _policy_of(SW_UNKNOWN_STACKS),
        <int>sw_process.policies[SW_FOREIGN_THREADS],
        b"assumed_size", <unsigned long long>sw_process.assumed_size,
        b"min_stack", <unsigned long long>sw_process.min_stack,
        b"stack_size", <unsigned long long>sw_process.stack_size,
        b"registered", <unsigned long long>sw_process.registered,
        b"superseded", <unsigned long long>sw_process.superseded,
        b"crash_reports", <int>sw_crash_is_on(),
        b"coalesced_switches", <unsigned long long>sw_process.coalesced,
        b"unwritten_slots", unwritten_slots(),
        b"interposed_frames", sw_interposition.frames,
        b"mended_entries", <unsigned long long>sw_interposition.mended,
        b"refused_switches", <unsigned long long>sw_interposition.refused,
        b"interleaved_frames", <unsigned long long>sw_interposition.interleaved)


def _beacons():
    return see_beacons()
