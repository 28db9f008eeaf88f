"""Work that is done for one stack on another.

In Python, because both ways must be told of at one depth of calls: where CPython counts them (3.11 to 3.13), each
block would shift the count else.
"""

from stackwarden._core import Request, Stack, _enter_stack, _leave_stack
from stackwarden.errors import StackInUseError

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from types import TracebackType


class on_stack:  # noqa: N801 (used like a function)
    """``with on_stack(stack):`` the bounds of that stack for the body.

    The body calls C code that goes to ``stack`` and comes back without telling anybody. Such blocks end in any
    order and on any thread; effective is the newest of those that are left, else the stack around them.

    Raises, on entering, StaleStackError, IsolationRequiredError for a stack with execution state of its own, and
    StackInUseError when it is entered already.
    """

    _request: Request | None = None

    def __init__(self, stack: Stack, /) -> None:
        if not isinstance(stack, Stack):
            raise TypeError(f"on_stack() wants a Stack, not {type(stack).__name__}")
        self.stack = stack

    def __enter__(self) -> Stack:
        if self._request is not None:
            raise StackInUseError(f"on_stack({self.stack!r}) is in effect already")
        self._request = request = Request()
        try:
            _enter_stack(request, self.stack)
        except BaseException:  # a signal handler's, perhaps, when the stack is entered already
            self._request = None
            _leave_stack(request)
            raise
        return self.stack

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        request, self._request = self._request, None
        assert request is not None
        _leave_stack(request)

    def __del__(self) -> None:
        """Entered, but a signal handler's exception came before the with statement could end it."""
        if self._request is not None:
            self.__exit__(None, None, None)
