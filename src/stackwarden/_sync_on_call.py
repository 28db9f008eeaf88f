"""``sync_on_call``: Python callables that foreign code calls on whatever stack it is on."""

from stackwarden._calls import _synced

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, SupportsIndex, TypeVar, overload

    P = ParamSpec("P")
    R = TypeVar("R")
else:

    def overload(function):
        return function


@overload
def sync_on_call(
    function: None = None, /, *, min_stack: "SupportsIndex | str | None" = None
) -> "Callable[[Callable[P, R]], Callable[P, R]]": ...


@overload
def sync_on_call(  # noqa: F811
    function: "Callable[P, R]", /, *, min_stack: "SupportsIndex | str | None" = None
) -> "Callable[P, R]": ...


def sync_on_call(  # noqa: F811
    function: "Any" = None, /, *, min_stack: "SupportsIndex | str | None" = None
) -> "Any":
    """Decorate a callable that is handed to foreign code (ctypes, cffi, an extension): for each call the bounds
    are those of the stack that it is called on, for as long as the call lasts, on every way out.

    ``min_stack``, in bytes or a text such as "128K", by default the setting ``min-stack``: a call that arrives
    where less is left, or where nobody knows how much, runs on another stack, as by ``call_on_stack()``.

    Raises TypeError for what cannot be called, and for what a call does not run: async functions and generator
    functions; StackRangeError for what is no size.
    """
    least = _least(min_stack)
    if function is None:
        return lambda function: _synced(function, least)
    return _synced(function, least)


def _least(min_stack: "SupportsIndex | str | None") -> int:
    from stackwarden._settings import settings
    from stackwarden.sizes import size_of

    if min_stack is None:
        return int(settings().get("min-stack", 0))
    return size_of(min_stack, "min_stack")
