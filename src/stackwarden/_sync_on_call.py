"""``sync_on_call``: Python callables that foreign code calls on whatever stack it is on."""

from stackwarden._calls import _call_synced

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, SupportsIndex


def sync_on_call(
    function: "Callable[..., Any] | None" = None,
    /,
    *,
    min_stack: "SupportsIndex | str | None" = None,
) -> "Callable[..., Any]":
    """Decorate a callable that is handed to foreign code (ctypes, cffi, an extension): for each call the bounds
    are those of the stack that it is called on, for as long as the call lasts, on every way out.

    ``min_stack``, in bytes or a text such as "128K", by default the setting ``min-stack``: a call that arrives
    where less is left, or where nobody knows how much, runs on another stack, as by ``call_on_stack()``.

    Raises TypeError for what cannot be called, StackRangeError for what is no size.
    """
    least = _least(min_stack)
    if function is None:
        return lambda function: _synced(function, least)
    return _synced(function, least)


def _least(min_stack: "SupportsIndex | str | None") -> int:
    from stackwarden._settings import settings
    from stackwarden._sizes import size_of

    if min_stack is None:
        return int(settings().get("min-stack", 0))
    return size_of(min_stack, "min_stack")


def _synced(function: "Callable[..., Any]", least: int) -> "Callable[..., Any]":
    from functools import wraps  # 2 ms of import time

    if not callable(function):
        raise TypeError(f"sync_on_call wants a callable, not {type(function).__name__}")

    @wraps(function)
    def synced(*args: "Any", **kwargs: "Any") -> "Any":
        return _call_synced(least, function, args, kwargs)

    return synced
