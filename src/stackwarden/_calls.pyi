from collections.abc import Callable
from typing import Any, ParamSpec, SupportsIndex, TypeVar

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
def growing(
    *, room: SupportsIndex | str | None = None, stack_size: SupportsIndex | str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def deep_recursion(
    *, stack_size: SupportsIndex | str | None = None, limit: SupportsIndex | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def _call_synced(
    room: int, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any: ...
