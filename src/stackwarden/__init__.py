"""stackwarden: keeps CPython safe on stacks that the operating system did not make.

CPython 3.14 and later compare the stack pointer with bounds that they read once per thread; 3.11 to 3.13 count
calls. A runtime that switches stacks breaks both. Tell this package of the switch, and protection is right again::

    import stackwarden

    stackwarden.notify_stack_switch(base, size)  # this thread runs on that stack now
    ...
    stackwarden.reset_stack()  # and on its own again

All sizes are in bytes; the base of a stack is its lowest usable byte.
"""

from stackwarden._interpose import Interposition, interpose, interposed_environment
from stackwarden._paths import get_cmake_dir, get_include, get_pkgconfig_dir
from stackwarden._tracebacks import format_stack, print_stacks
from stackwarden.errors import (
    CallbackError,
    InterleavedFramesWarning,
    InterpositionError,
    IsolationRequiredError,
    IsolationUnavailableError,
    MechanismError,
    NotRunningError,
    OtherThreadError,
    PolicyError,
    RecursionOverflow,
    RegistryFullError,
    SettingWarning,
    StackInUseError,
    StackLeftInUseError,
    StackMismatchWarning,
    StackOverflow,
    StackOverlapError,
    StackRangeError,
    StackSizeWarning,
    StackTooSmallError,
    StackwardenError,
    StaleStackError,
    UnalignedStackError,
    UnknownStackError,
    UnmappedStackError,
)

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from stackwarden._pools import wrap_thread_pool

try:
    from stackwarden._callbacks import register_switch_callback, unregister_switch_callback
    from stackwarden._calls import call_on_stack, deep_recursion, growing, maybe_grow
    from stackwarden._core import (
        Stack,
        check_stack_depth,
        current_stack,
        drain,
        find_stack,
        notify_stack_switch,
        reset_stack,
        stack_budget,
        stack_remaining,
        stack_used,
        stacks,
        sync_stack,
    )
    from stackwarden._crash_reports import disable_crash_reports, enable_crash_reports
    from stackwarden._policy import apply_settings as _apply_settings
    from stackwarden._policy import stack_policy
    from stackwarden._registration import register_stack
    from stackwarden._status import status
    from stackwarden._sync_on_call import sync_on_call

    _apply_settings()
    from stackwarden._on_stack import on_stack
except ModuleNotFoundError as missing:
    if missing.name != "stackwarden._core":
        raise
    from stackwarden._no_core import (  # type: ignore[assignment,no-redef]
        Stack,
        call_on_stack,
        check_stack_depth,
        current_stack,
        deep_recursion,
        disable_crash_reports,
        drain,
        enable_crash_reports,
        find_stack,
        growing,
        maybe_grow,
        notify_stack_switch,
        on_stack,
        register_stack,
        register_switch_callback,
        reset_stack,
        stack_budget,
        stack_policy,
        stack_remaining,
        stack_used,
        stacks,
        status,
        sync_on_call,
        sync_stack,
        unregister_switch_callback,
        wrap_thread_pool,
    )
except ImportError as refused:
    if "Re-importing it is not supported" in str(refused):  # Cython's words
        raise ImportError(
            "stackwarden was removed from sys.modules and imported again, or Python was started again: its core "
            "can be loaded once in a process. Put the former modules back into sys.modules, or leave them there.",
            name=refused.name,
            path=refused.path,
        ) from refused
    if "does not support loading in subinterpreters" not in str(refused):
        raise
    raise ImportError(
        "stackwarden cannot be imported into a subinterpreter that has its own GIL: the core shares its records "
        "between all interpreters of the process, and two GILs would corrupt the heap. Subinterpreters that "
        "share the GIL work.",
        name=refused.name,
        path=refused.path,
    ) from refused

from stackwarden._recursion_errors import (  # noqa: E402 (it needs the core, or what stands for it)
    classify_recursion_error,
    precise_recursion_errors,
)

__version__ = "0.1.0"  # as in pyproject.toml; tests/packaging compares all places

__all__ = [
    "CallbackError",
    "InterleavedFramesWarning",
    "Interposition",
    "InterpositionError",
    "IsolationRequiredError",
    "IsolationUnavailableError",
    "MechanismError",
    "NotRunningError",
    "OtherThreadError",
    "PolicyError",
    "RecursionOverflow",
    "RegistryFullError",
    "SettingWarning",
    "Stack",
    "StackInUseError",
    "StackLeftInUseError",
    "StackMismatchWarning",
    "StackOverflow",
    "StackOverlapError",
    "StackRangeError",
    "StackSizeWarning",
    "StackTooSmallError",
    "StackwardenError",
    "StaleStackError",
    "UnalignedStackError",
    "UnknownStackError",
    "UnmappedStackError",
    "call_on_stack",
    "check_stack_depth",
    "classify_recursion_error",
    "current_stack",
    "deep_recursion",
    "disable_crash_reports",
    "drain",
    "enable_crash_reports",
    "find_stack",
    "format_stack",
    "get_cmake_dir",
    "get_include",
    "get_pkgconfig_dir",
    "growing",
    "interpose",
    "interposed_environment",
    "maybe_grow",
    "notify_stack_switch",
    "on_stack",
    "precise_recursion_errors",
    "print_stacks",
    "register_stack",
    "register_switch_callback",
    "reset_stack",
    "stack_budget",
    "stack_policy",
    "stack_remaining",
    "stack_used",
    "stacks",
    "status",
    "sync_on_call",
    "sync_stack",
    "unregister_switch_callback",
    "wrap_thread_pool",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """What needs much of the standard library is imported when it is asked for."""
        if name != "wrap_thread_pool":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from stackwarden._pools import wrap_thread_pool

        globals()[name] = wrap_thread_pool
        return wrap_thread_pool

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__} - {"TYPE_CHECKING"})
