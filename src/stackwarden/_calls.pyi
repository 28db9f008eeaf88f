from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, SupportsIndex, TypeVar, overload

P = ParamSpec("P")
R = TypeVar("R")

def call_on_stack(
    func: Callable[..., R],
    /,
    *args: object,
    stack_size: SupportsIndex | str | None = None,
    **kwargs: object,
) -> R: ...
def maybe_grow(func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
@overload
def growing(
    *, room: SupportsIndex | str | None = None, stack_size: SupportsIndex | str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
@overload
def growing(
    function: Callable[P, R],
    /,
    *,
    room: SupportsIndex | str | None = None,
    stack_size: SupportsIndex | str | None = None,
) -> Callable[P, R]: ...
@overload
def deep_recursion(
    *, stack_size: SupportsIndex | str | None = None, limit: SupportsIndex | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
@overload
def deep_recursion(
    function: Callable[P, R],
    /,
    *,
    stack_size: SupportsIndex | str | None = None,
    limit: SupportsIndex | None = None,
) -> Callable[P, R]: ...

# For the modules beside this one.
def _call_synced(
    room: int, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any: ...
def _synced(func: Callable[P, R], room: int) -> Callable[P, R]: ...
def _within(
    begin: Callable[[], AbstractContextManager[Any]], user: str, func: Callable[P, R]
) -> Callable[P, R]: ...
