"""``register_stack()``: its checks, and what is done with a stack as soon as it is registered."""

from stackwarden._contract import (
    EMPTY_CONTEXT,
    ISOLATION_FLAGS,
    ISOLATIONS,
    TRIM_GUARD,
    policy_number,
    range_text,
)
from stackwarden._core import Stack, _register
from stackwarden._status import COMPARES_ADDRESSES, PROTECTION
from stackwarden.errors import StackSizeWarning

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from contextvars import Context
    from typing import Literal, SupportsIndex

    from stackwarden._types import Isolation, Policy

_PRACTICAL_SIZE = PROTECTION["exact_stack_size"] if COMPARES_ADDRESSES else 0


def register_stack(
    base: "SupportsIndex",
    size: "SupportsIndex",
    *,
    name: str | None = None,
    system: str | None = None,
    trim_guard: bool = False,
    isolation: "Isolation" = "none",
    policy: "Policy | None" = None,
    budget: "SupportsIndex | str | None" = None,
    context: "Context | Literal['copy', 'empty']" = "copy",
) -> Stack:
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
    RegistryFullError, IsolationUnavailableError, PolicyError; then nothing was changed. Warns with
    StackSizeWarning where CPython 3.14 and later would hold back memory on so small a stack (under 128 KiB).
    """
    flags = _isolation_flags(isolation, context)
    if policy is not None:
        flags |= policy_number(policy) << 8
    if trim_guard:
        flags |= TRIM_GUARD
    names = _encoded(name), _encoded(system)
    if b"\0" in names[0] + names[1]:
        raise ValueError(f"a stack's name and system hold no NUL: {name!r}, {system!r}")
    stack = _register(base, size, *names, flags, None if isinstance(context, str) else context)
    try:
        if stack.size < _PRACTICAL_SIZE:
            _warn_of_size(stack)
        if budget is not None:
            stack.budget = budget
    except BaseException:
        stack.unregister()
        raise
    return stack


def _encoded(name: str | None) -> bytes:
    return (name or "").encode()


def _isolation_flags(isolation: "Isolation", context: "Context | str") -> int:
    if isolation not in ISOLATIONS:
        raise ValueError(f"isolation {isolation!r}: must be one of {', '.join(ISOLATIONS)}")
    flags = ISOLATION_FLAGS[ISOLATIONS.index(isolation)]
    if context == "empty":
        return flags | EMPTY_CONTEXT
    if context != "copy":
        from contextvars import Context

        if not isinstance(context, Context):
            raise TypeError(
                f"context must be 'copy', 'empty' or a contextvars.Context, not {context!r}"
            )
    return flags


def _warn_of_size(stack: Stack) -> None:
    import warnings  # 5 ms of import time on 3.14 and later

    warnings.warn(
        f"stack {range_text(stack.base, stack.size)}: CPython puts off all deallocation on stacks of less than "
        f"80 KiB and near the end of larger ones; {_PRACTICAL_SIZE} bytes or more are practical",
        StackSizeWarning,
        stacklevel=3,
    )
