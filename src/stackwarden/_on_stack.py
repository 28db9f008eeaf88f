"""Work that is done for one stack on another.

In Python, because both ways must be told of at one depth of calls: where CPython counts them (3.11 to 3.13), each
block would shift the count else.
"""

from stackwarden._core import Stack, _go_to, current_stack
from stackwarden.errors import StackInUseError

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from types import TracebackType


class on_stack:  # noqa: N801 (used like a function)
    """``with on_stack(stack):`` the bounds of that stack for the body, the former ones after it, on every way out.

    The body calls C code that goes to ``stack`` and comes back without telling anybody. Such blocks nest. Raises,
    on entering, StaleStackError, IsolationRequiredError for a stack with execution state of its own, and
    StackInUseError when it is entered already.
    """

    def __init__(self, stack: Stack, /) -> None:
        if not isinstance(stack, Stack):
            raise TypeError(f"on_stack() wants a Stack, not {type(stack).__name__}")
        self.stack = stack
        self._former: Stack | None = None

    def __enter__(self) -> Stack:
        if self._former is not None:
            raise StackInUseError(f"on_stack({self.stack!r}) is in force already")
        former = current_stack()
        _go_to(self.stack, False)
        self._former = former
        return self.stack

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        former, self._former = self._former, None
        assert former is not None
        _go_to(former, True)
