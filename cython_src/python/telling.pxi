"""Telling of stacks and switches: the functions of the C table, with checks that only Python can afford."""

from libc.string cimport memset

from stackwarden cimport (
    STACKWARDEN_DONE,
    STACKWARDEN_EMPTY_CONTEXT,
    STACKWARDEN_NOT_REGISTERED,
    STACKWARDEN_TOO_SMALL,
    STACKWARDEN_TRIM_GUARD,
    STACKWARDEN_UNMAPPED,
    WITH_POLICY,
    stackwarden_policy,
    stackwarden_stack,
    stackwarden_status,
)


cdef _check_mapped(base, size):
    if check_range(base, size) == STACKWARDEN_DONE and sw_is_mapped(base, base + size) == 0:
        _check(STACKWARDEN_UNMAPPED, base, size)


cdef unsigned _isolation_flags(isolation, context) except? 0:
    from contextvars import Context

    if isolation not in _ISOLATIONS:
        raise ValueError(f"isolation {isolation!r}: must be one of {', '.join(_ISOLATIONS)}")
    if context not in ("copy", "empty") and not isinstance(context, Context):
        raise TypeError(f"context must be 'copy', 'empty' or a contextvars.Context, not {context!r}")
    return _ISOLATION_FLAGS[isolation] | (STACKWARDEN_EMPTY_CONTEXT if context == "empty" else 0)


cdef unsigned _policy_flags(policy) except? 0:
    if policy is None:
        return 0
    if policy not in _POLICIES[1:]:
        raise errors.PolicyError(f"policy {policy!r}: must be one of {', '.join(_POLICIES[1:])}")
    return WITH_POLICY(<stackwarden_policy><int>_POLICIES.index(policy))


def _warn_of_size(base, size):
    import warnings  # 5 ms of import time on 3.14 and later

    warnings.warn(
        f"stack {_range_text(base, size)}: CPython puts off all deallocation on stacks of less than 80 KiB and "
        f"near the end of larger ones; {swpy_protection.exact_size} bytes or more are practical",
        errors.StackSizeWarning, stacklevel=1)


def register_stack(
        base, size, *, name=None, system=None, trim_guard=False, isolation="none", policy=None, budget=None,
        context="copy"):
    """Make a guard record for the stack ``[base, base + size)`` and return its Stack.

    ``base``: address of the lowest usable byte, and ``size`` in bytes, both multiples of 16. With
    ``trim_guard`` the pages at the low end that can't be touched are found and left out. A record that
    overlaps and is current on no thread gives way.

    ``isolation``: "none"; or, for a stack that suspends in the middle of Python, "frames": execution state of
    its own, swapped in place in the thread's PyThreadState; or "thread-state": a PyThreadState of its own, slower,
    but such a stack may go on on another thread. Its context starts as ``context``: "copy" of the caller's,
    "empty", or a contextvars.Context.

    ``policy``: "exact", "estimate", "counted" or "disabled", for this stack whatever stack_policy() says.
    ``budget``: bytes, from the top, that CPython may use before it raises; see ``Stack.budget``.

    Raises StackRangeError, UnalignedStackError, UnmappedStackError, StackTooSmallError, StackOverlapError,
    RegistryFullError, IsolationUnavailableError, PolicyError; then nothing was changed. Warns with StackSizeWarning
    where CPython 3.14 and later would hold back memory on so small a stack (under 128 KiB).
    """
    cdef stackwarden_stack made
    cdef stackwarden_status status
    cdef unsigned flags = _isolation_flags(isolation, context) | _policy_flags(policy) \
        | (STACKWARDEN_TRIM_GUARD if trim_guard else 0)
    cdef bytes name_bytes = (name or "").encode()
    cdef bytes system_bytes = (system or "").encode()
    base, size = _integers(base, size)
    if b"\0" in name_bytes + system_bytes:
        raise ValueError(f"a stack's name and system hold no NUL: {name!r}, {system!r}")
    _check_mapped(base, size)
    status = sw_register_stack(
        base, size, <char *>name_bytes if name or system else NULL, <char *>system_bytes, flags, &made)
    if status == STACKWARDEN_TOO_SMALL:
        base, size = made.base, made.size
    _check(status, base, size)
    if isolation != "none":
        _check(
            sw_renew_stack(made.handle, NULL if context in ("copy", "empty") else <PyObject *>context), base, size)
    base, size = made.base, made.size
    if swpy_protection.mechanism in (SWPY_POINTER, SWPY_SETTER) and size < swpy_protection.exact_size:
        try:
            _warn_of_size(base, size)
        except errors.StackSizeWarning:
            sw_unregister_stack(made.handle)
            raise
    stack = _stack(&made)
    if budget is not None:
        try:
            stack.budget = budget
        except BaseException:
            stack.unregister()
            raise
    return stack


def notify_stack_switch(base, size):
    """From now on this thread runs on the stack ``[base, base + size)``; return its Stack.

    For whoever switches stacks; may be called right before or after the switch. A registered stack's record is
    used; any other range gets a transient record.

    Raises StackRangeError, UnalignedStackError, StackOverlapError, IsolationRequiredError (bounds alone are not enough
    for a stack with execution state of its own), and then changes nothing; StackTooSmallError: then the policy for
    unknown stacks is in force, not the bounds of another stack.
    """
    base, size = _integers(base, size)
    _check(sw_notify_stack_switch(base, size), base, size)
    return current_stack()


cdef class _StackRequest(_Request):
    def leave(self):
        """On whichever thread; again, or when that thread has ended, it does nothing."""
        cdef stackwarden_status status = sw_leave_stack(&self._token)
        if status != STACKWARDEN_NOT_REGISTERED:
            _check(status, 0, 0)


def _enter_stack(Stack stack):
    """The bounds of a stack until leave()."""
    cdef _StackRequest request = _StackRequest()
    cdef stackwarden_stack named
    memset(&named, 0, sizeof(named))
    named.handle = stack._handle
    _check(sw_enter_stack(&named, &request._token), stack.base, stack.size)
    return request


def reset_stack():
    """From now on this thread runs on its native stack again."""
    _check(sw_reset_stack(), 0, 0)


def sync_stack():
    """Make the bounds those of the stack under the caller; return its Stack, or None when it is unknown.

    A stack of which nobody told is looked up in the operating system's map of memory (``bounds_from`` is "map");
    where that does not tell its end, the policy for unknown stacks is put in force.
    """
    _check(sync_slow(sw_stack_pointer(), False), 0, 0)
    stack = current_stack()
    return stack if stack.bounds_from != "estimate" else None


def current_stack():
    """The Stack that was told last for this thread; its native stack when none was."""
    cdef stackwarden_stack seen
    cdef stackwarden_status status = sw_current_stack(&seen)
    if status != STACKWARDEN_DONE:
        _refuse(status, "current stack")
    return _stack(&seen)


def stacks():
    """A list of all stacks that have a record now: registered, native, and transient ones."""
    cdef stackwarden_stack seen
    cdef sw_record *record
    found = []
    for index in range(1, sw_process.records):
        record = record_at(index)
        if record.generation & 1:
            describe_record(record, &seen)
            found.append(_stack(&seen))
    return found


def _stack_pointer():
    """The stack pointer of the caller, to within the frames of this call (for the conformance kit)."""
    return sw_stack_pointer()


def drain():
    """Free what CPython put off freeing because a stack was nearly used up. Any destructor may run."""
    _check(sw_drain(), 0, 0)
