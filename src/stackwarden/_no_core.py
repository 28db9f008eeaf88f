"""What the package is where there is no compiled core for the interpreter (Pyodide, PyPy).

Promises: the import works, the mechanism is ``none``, and every call that would have to protect something says
that it cannot.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, NoReturn, ParamSpec, TypeVar

from stackwarden._contract import KnownKeys
from stackwarden._types import Status
from stackwarden.callables import refuse_undecorated
from stackwarden.errors import NotRunningError

P = ParamSpec("P")
R = TypeVar("R")

_REASON = (
    f"stackwarden has no compiled core for {sys.implementation.name} "
    f"{sys.version_info[0]}.{sys.version_info[1]} on {sys.platform}: the mechanism is 'none'"
)


def _refuse(*_arguments: object, **_options: object) -> NoReturn:
    raise NotRunningError(_REASON)


class Stack:
    """What is known of one stack. There is none without a compiled core."""

    def __init__(self) -> None:
        _refuse()


register_stack = _refuse
notify_stack_switch = _refuse
reset_stack = _refuse
sync_stack = _refuse
current_stack = _refuse
find_stack = _refuse
drain = _refuse
on_stack = _refuse
enable_crash_reports = _refuse
disable_crash_reports = _refuse
stack_budget = _refuse
stack_policy = _refuse
register_switch_callback = _refuse
unregister_switch_callback = _refuse
call_on_stack = _refuse
growing = _refuse
maybe_grow = _refuse
deep_recursion = _refuse
wrap_thread_pool = _refuse


def stack_remaining() -> int:
    """0: it is not known."""
    return 0


def stack_used() -> int:
    """0: it is not known."""
    return 0


def check_stack_depth(where: str = "") -> None:
    """Nothing is known that could be checked."""


def sync_on_call(
    function: Callable[..., Any] | None = None, /, **_options: object
) -> Callable[..., Any]:
    """The function as it is: there is nothing to sync."""
    return sync_on_call if function is None else function


def _within(
    begin: Callable[[], AbstractContextManager[Any]], user: str, func: Callable[P, R]
) -> Callable[P, R]:
    """A function each call of which is made within a block of its own: ``begin()`` is the block."""
    refuse_undecorated(user, func)

    @wraps(func)
    def within(*args: P.args, **kwargs: P.kwargs) -> R:
        with begin():
            return func(*args, **kwargs)

    return within


def _stack_ends_first() -> bool:
    return False


def stacks() -> list[Stack]:
    """No stack has a record."""
    return []


def status() -> Status:
    """What protects this interpreter: nothing, and why."""
    found: Status = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "mechanism": "none",
        "reason": _REASON,
        "margin": 0,
        "least_stack_size": 0,
        "exact_stack_size": 0,
        "reserve": 0,
        "native_levels": 0,
        "isolation": ("none",),
        "isolation_reason": _REASON,
        "leaked_stacks": 0,
        "dropped_states": 0,
        "drains": 0,
        "policy": "disabled",
        "policy_unknown": "disabled",
        "policy_foreign_threads": "disabled",
        "assumed_size": 0,
        "min_stack": 0,
        "stack_size": 0,
        "unprotected": (_REASON,),
        "registered": 0,
        "superseded": 0,
        "crash_reports": False,
        "switch_callbacks": 0,
        "coalesced_switches": 0,
        "beacons": (),
        "beacon_faults": None,
        "interposition": "off",
        "interposition_reason": None,
        "mended_entries": 0,
        "refused_switches": 0,
        "interleaved_frames": 0,
    }
    return KnownKeys(found)  # type: ignore[return-value]
