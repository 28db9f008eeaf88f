"""What can go wrong, a class for each; and the one map from the statuses of stackwarden.h to these classes.

Whatever is raised because of a malformed request changed nothing. The messages carry the numbers. Classes that
only adapters and thread pools raise stand here alone, not in the package itself.
"""


class StackwardenError(Exception):
    """Base of all errors of this package."""


class StackRangeError(StackwardenError, ValueError):
    """The range is empty, larger than 1 TiB (2**40 bytes), wraps around, or lies beyond 2**48; or a size is."""


class UnalignedStackError(StackwardenError, ValueError):
    """Base and size of a stack are not multiples of 16 bytes."""


class UnmappedStackError(StackwardenError, ValueError):
    """Part of the range is not mapped, or none of it can be read."""


class StackTooSmallError(StackwardenError, ValueError):
    """The stack is smaller than this interpreter can protect (``status()["least_stack_size"]``)."""


class StackOverlapError(StackwardenError, ValueError):
    """The range overlaps a stack that is current on some thread."""


class StackInUseError(StackwardenError, RuntimeError):
    """The stack is current on some thread."""


class StackLeftInUseError(StackwardenError, RuntimeError):
    """What ``call_on_stack`` called is over, but greenlets that began on its stack are still alive."""


class StaleStackError(StackwardenError, RuntimeError):
    """The stack was unregistered, or gave way to a later one at the same addresses."""


class RegistryFullError(StackwardenError, MemoryError):
    """2**21 - 1 records are in use, or there is no memory for one more."""


class CallbackError(StackwardenError, RuntimeError):
    """The switch callback is not registered on this thread."""


class NotRunningError(StackwardenError, RuntimeError):
    """Python is being finalised, or there is no compiled core for this interpreter."""


class MechanismError(StackwardenError, ImportError):
    """The mechanism that STACKWARDEN_MECHANISM asks for cannot work here."""


class UnknownStackError(StackwardenError, ValueError):
    """The bounds of the stack were found (``Stack.bounds_from`` is "map" or "estimate"), and are not certain."""


class CoroutineError(StackwardenError, RuntimeError):
    """The coroutine is done, or runs already, or was given what it cannot take now."""


class IsolationRequiredError(StackwardenError, RuntimeError):
    """The stack would be left with Python frames on it, and keeps no execution state of its own."""


class IsolationUnavailableError(StackwardenError, RuntimeError):
    """This isolation cannot be had here (``status()["isolation_reason"]``), or the stack has none."""


class PolicyError(StackwardenError, ValueError):
    """There is no such policy, or not for these stacks."""


class InterpositionError(StackwardenError, RuntimeError):
    """Interposition cannot be had here, is on with other options, or cannot be turned off now."""


class OtherThreadError(StackwardenError, RuntimeError):
    """A stack with isolation "frames" was to be resumed on another thread than its own."""


class AdapterError(StackwardenError):
    """Base of what goes wrong with adapters."""


class ThreadPoolError(StackwardenError, TypeError):
    """What should be a thread pool has no method that takes a callable, or runs it in another process."""


class UnknownAdapterError(AdapterError, LookupError):
    """No installed package announces an adapter of this name."""


class AdapterInstalledError(AdapterError, RuntimeError):
    """The adapter is installed already."""


class AdapterNotInstalledError(AdapterError, RuntimeError):
    """The adapter is not installed."""


class SystemMissingError(AdapterError, ImportError):
    """The library that the adapter is for cannot be found or loaded."""


class SystemTooOldError(AdapterError, ImportError):
    """The library that the adapter is for is older than the adapter needs."""


class SystemUnfitError(AdapterError, ImportError):
    """The library was built without what the adapter needs."""


class UserThreadError(StackwardenError, RuntimeError):
    """The user thread was cancelled or never started, or the caller is no user thread."""


class StackOverflow(RecursionError):  # noqa: N818
    """The stack is nearly used up, or its budget is: PEP 651's class, on every version.

    Not a StackwardenError: it is what CPython raises as RecursionError, told apart.
    """

    name: str | None = None
    """The name of the stack, if it has one."""
    size: int | None = None
    """Bytes of the stack; None: not known."""
    used: int | None = None
    """Bytes of it that were used; None: not known."""
    margin: int | None = None
    """Bytes at its low end that are reserved for the handling of this; None: not known."""


class RecursionOverflow(RecursionError):  # noqa: N818
    """More calls are active than ``sys.getrecursionlimit()`` allows: PEP 651's class, on every version."""

    name: str | None = None
    """As for StackOverflow."""
    size: int | None = None
    used: int | None = None
    margin: int | None = None


class StackExit(BaseException):
    """Raised inside a suspended coroutine that is closed, as GreenletExit is. Let it pass."""


class AdapterWarning(UserWarning):
    """``install_loaded()`` left an adapter out."""


class InterleavedFramesWarning(UserWarning):
    """Interposition found the Python frames of one stack in force on another: they interleave unseen."""


class SettingWarning(UserWarning):
    """A word of ``STACKWARDEN=...`` or ``-X stackwarden=...`` is wrong, and was ignored."""


class StackMismatchWarning(UserWarning):
    """``STACKWARDEN=check``: a stack was told, and the stack pointer is on another one."""


class StackSizeWarning(UserWarning):
    """The stack is so small that CPython holds back memory for as long as it runs there."""


REFUSALS: dict[int, type[StackwardenError]] = {
    -1: NotRunningError,  # STACKWARDEN_NOT_INSTALLED
    -2: NotRunningError,  # STACKWARDEN_NOT_RUNNING
    -3: RegistryFullError,  # STACKWARDEN_NO_MEMORY
    -4: RegistryFullError,  # STACKWARDEN_FULL
    -5: StackRangeError,  # STACKWARDEN_BAD_RANGE
    -6: UnalignedStackError,  # STACKWARDEN_UNALIGNED
    -7: UnmappedStackError,  # STACKWARDEN_UNMAPPED
    -8: StackTooSmallError,  # STACKWARDEN_TOO_SMALL
    -9: StackOverlapError,  # STACKWARDEN_OVERLAP
    -10: StackInUseError,  # STACKWARDEN_IN_USE
    -11: StaleStackError,  # STACKWARDEN_STALE_HANDLE
    -12: CallbackError,  # STACKWARDEN_NOT_REGISTERED
    -13: NotRunningError,  # STACKWARDEN_DETACHED
    -14: IsolationRequiredError,  # STACKWARDEN_ISOLATION_REQUIRED
    -15: OtherThreadError,  # STACKWARDEN_OTHER_THREAD
    -16: IsolationUnavailableError,  # STACKWARDEN_NO_ISOLATION
    -17: StackwardenError,  # STACKWARDEN_NOT_AVAILABLE
    -18: PolicyError,  # STACKWARDEN_BAD_POLICY
    -19: StackwardenError,  # STACKWARDEN_INTERRUPTED
}
"""By the value of a stackwarden_status. A status that is not here is a StackwardenError."""


def refusal(status: int, text: str, what: str) -> StackwardenError:
    """The exception for a refused call, for adapters and bindings to raise.

    ``text`` is stackwarden_status_text(status), ``what`` says what was refused, with the numbers.
    """
    kind = REFUSALS.get(status, StackwardenError)
    return kind(f"{what}: {text.removeprefix('refused: ')}{_details(kind)}")


def _details(kind: type[StackwardenError]) -> str:
    """What of this interpreter explains a refusal."""
    if kind is StackTooSmallError:
        from stackwarden._status import PROTECTION  # which needs the core

        return f" (at least {PROTECTION['least_stack_size']} bytes)"
    if kind is IsolationUnavailableError:
        from stackwarden._status import ISOLATION_REASON

        return f" ({ISOLATION_REASON})" if ISOLATION_REASON else ""
    return ""
