"""Refusals of the C layer as exceptions: each its own class, with the numbers in the message."""

from stackwarden cimport (
    STACKWARDEN_BAD_POLICY,
    STACKWARDEN_BAD_RANGE,
    STACKWARDEN_DETACHED,
    STACKWARDEN_FULL,
    STACKWARDEN_IN_USE,
    STACKWARDEN_ISOLATION_REQUIRED,
    STACKWARDEN_NOT_REGISTERED,
    STACKWARDEN_NOT_RUNNING,
    STACKWARDEN_NO_ISOLATION,
    STACKWARDEN_NO_MEMORY,
    STACKWARDEN_OTHER_THREAD,
    STACKWARDEN_OVERLAP,
    STACKWARDEN_STALE_HANDLE,
    STACKWARDEN_TOO_SMALL,
    STACKWARDEN_UNALIGNED,
    STACKWARDEN_UNMAPPED,
    stackwarden_status,
    status_text,
)

_REFUSALS = {
    STACKWARDEN_NOT_RUNNING: errors.NotRunningError,
    STACKWARDEN_NO_MEMORY: errors.RegistryFullError,
    STACKWARDEN_FULL: errors.RegistryFullError,
    STACKWARDEN_BAD_RANGE: errors.StackRangeError,
    STACKWARDEN_UNALIGNED: errors.UnalignedStackError,
    STACKWARDEN_UNMAPPED: errors.UnmappedStackError,
    STACKWARDEN_TOO_SMALL: errors.StackTooSmallError,
    STACKWARDEN_OVERLAP: errors.StackOverlapError,
    STACKWARDEN_IN_USE: errors.StackInUseError,
    STACKWARDEN_STALE_HANDLE: errors.StaleStackError,
    STACKWARDEN_NOT_REGISTERED: errors.CallbackError,
    STACKWARDEN_DETACHED: errors.NotRunningError,
    STACKWARDEN_ISOLATION_REQUIRED: errors.IsolationRequiredError,
    STACKWARDEN_OTHER_THREAD: errors.OtherThreadError,
    STACKWARDEN_NO_ISOLATION: errors.IsolationUnavailableError,
    STACKWARDEN_BAD_POLICY: errors.PolicyError,
}


def _range_text(base, size):
    return f"[{base:#x}, {base + size:#x}), {size} bytes"


cdef _refuse(stackwarden_status status, str what):
    text = status_text(status).decode().removeprefix("refused: ")
    if status == STACKWARDEN_TOO_SMALL:
        text += f" (at least {sw_process.least_size} bytes)"
    if status == STACKWARDEN_NO_ISOLATION and _isolation_reason():
        text += f" ({_isolation_reason()})"
    raise _REFUSALS[status](f"{what}: {text}")


cdef _check(stackwarden_status status, base, size):
    if status < 0:
        _refuse(status, "stack " + _range_text(base, size))


cdef tuple _integers(base, size):
    """(base, size) as int. Integers that a C range cannot hold are refused here, with the numbers."""
    base = index(base)
    size = index(size)
    if not 0 <= base < 2**64 or not 0 <= size < 2**64:
        raise errors.StackRangeError(f"stack base {base}, {size} bytes: {_BAD_RANGE_TEXT}")
    return base, size


_BAD_RANGE_TEXT = status_text(STACKWARDEN_BAD_RANGE).decode().removeprefix("refused: ")
