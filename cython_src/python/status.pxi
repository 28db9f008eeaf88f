"""status(): what protects this interpreter, and why not better; and the settings that it shows."""

from stackwarden cimport (
    STACKWARDEN_DONE,
    stackwarden_policy,
    stackwarden_request,
    stackwarden_stacks,
    stackwarden_status,
)


cdef class _Request:
    """What was entered, until leave()."""

    cdef stackwarden_request _token


cdef class _PolicyRequest(_Request):
    def leave(self):
        """On whichever thread; again, or when that thread has ended, it does nothing."""
        sw_leave_policy(&self._token)

    def settle(self):
        """It is for good from now on."""
        settle_policy(&self._token)


def _enter_policy(int which, str policy, bint thread_only):
    """Say what is to be made of known stacks (0), unknown ones (1), foreign threads (2), until leave()."""
    cdef _PolicyRequest request = _PolicyRequest()
    cdef stackwarden_status status = sw_enter_policy(
        <stackwarden_stacks>which, <stackwarden_policy><int>_POLICIES.index(policy), thread_only, &request._token)
    if status != STACKWARDEN_DONE:
        _refuse(status, f"policy {policy!r}")
    return request


def _set_assumed_size(size_t size):
    """Say what an unknown stack is taken for (bytes, rounded up to pages)."""
    sw_process.assumed_size = (size + SW_PAGE - 1) & ~(SW_PAGE - 1)


def _set_stack_sizes(size_t min_stack, size_t stack_size):
    """For calls that may be carried, where the caller does not say (bytes; 0: as it was)."""
    sw_process.min_stack = min_stack or sw_process.min_stack
    sw_process.stack_size = stack_size or sw_process.stack_size


def _isolations():
    return ("none",) + ("frames",) * sw_process.frames + ("thread-state",) * SWPY_HAS_OWN_STATES


def _isolation_reason():
    reasons = [f"frames: {_frames_reason}"] if _frames_reason else []
    if not SWPY_HAS_OWN_STATES:
        reasons.append("thread-state: on 3.11 PyGILState_Ensure deadlocks in all thread states but one")
    return "; ".join(reasons) or None


def _reason():
    forced = os.environ.get("STACKWARDEN_MECHANISM")
    return f"STACKWARDEN_MECHANISM={forced}" if forced else swpy_protection.reason.decode() or None


cdef _policy_in_force(int kind):
    """On the calling thread."""
    return _POLICIES[policy_of(this_thread() if sw_process.running else NULL, kind)]


def _unprotected():
    """What the policies in force leave unprotected, in words."""
    policies = {
        "known stacks": _policy_in_force(SW_KNOWN_STACKS),
        "unknown stacks": _policy_in_force(SW_UNKNOWN_STACKS),
        "foreign threads": _POLICIES[sw_process.policies[SW_FOREIGN_THREADS]],
    }
    bounds = swpy_protection.mechanism in (SWPY_POINTER, SWPY_SETTER)
    meaning = {"disabled": "nothing is checked" if bounds else "calls are counted as on a thread's own stack"}
    if bounds:
        meaning["counted"] = "only Python frames are counted, recursion that is purely C is not stopped"
    return tuple([f"{what}: {meaning[policy]}" for what, policy in policies.items() if policy in meaning])


def status():
    """What protects this interpreter, and why not better: a dict of plain values, sizes in bytes."""
    _forget_ended_threads()
    beacons, beacon_faults = describe_beacons()
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "mechanism": swpy_mechanism_name().decode(),
        "reason": _reason(),
        "margin": swpy_protection.margin,
        "least_stack_size": sw_process.least_size,
        "exact_stack_size": swpy_protection.exact_size,
        "reserve": swpy_protection.reserve,
        "native_levels": swpy_protection.native_levels,
        "isolation": _isolations(),
        "isolation_reason": _isolation_reason(),
        "leaked_stacks": sw_process.leaked,
        "dropped_states": sw_process.dropped,
        "drains": sw_process.drained,
        "policy": _policy_in_force(SW_KNOWN_STACKS),
        "policy_unknown": _policy_in_force(SW_UNKNOWN_STACKS),
        "policy_foreign_threads": _POLICIES[sw_process.policies[SW_FOREIGN_THREADS]],
        "assumed_size": sw_process.assumed_size,
        "min_stack": sw_process.min_stack,
        "stack_size": sw_process.stack_size,
        "unprotected": _unprotected(),
        "registered": sw_process.registered,
        "superseded": sw_process.superseded,
        "crash_reports": bool(sw_crash_is_on()),
        "switch_callbacks": len(_switch_callbacks),
        "coalesced_switches": sw_process.coalesced,
        "beacons": beacons,
        "beacon_faults": beacon_faults,
        "interposition": _interposition(),
        "mended_entries": sw_interposition.mended,
        "refused_switches": sw_interposition.refused,
    }
