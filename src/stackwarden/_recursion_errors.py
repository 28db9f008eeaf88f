"""PEP 651 for what CPython raised already: was it the stack that ran out, or the recursion limit?

Promises: a class only where it is known; what somebody raised by hand, or has no traceback, has none.
How it is known, after the stack has unwound:

- 3.14 and later say "Stack overflow" themselves.
- 3.12 and 3.13 count C calls apart from Python calls and say the same of both: it was the limit when as many
  Python calls were active as it allows. The traceback tells how many.
- 3.11 has one counter for both, which starts at the lower of the user's limit and what the stack has room for.

The parser's MemoryError stands for a stack that ran out (3.12 and later).
"""

import sys
from itertools import repeat

from stackwarden.errors import NotRunningError, RecursionOverflow, StackOverflow

try:
    from stackwarden._calls import _within
    from stackwarden._core import _stack_ends_first, current_stack
    from stackwarden._status import status
except ModuleNotFoundError:
    from stackwarden._no_core import (
        _stack_ends_first,
        _within,
        current_stack,
        status,
    )

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Any, ParamSpec, Self, TypeAlias, TypeVar, overload

    Overflow: TypeAlias = type[StackOverflow] | type[RecursionOverflow]
    P = ParamSpec("P")
    R = TypeVar("R")
else:

    def overload(function):
        return function


_OF_THE_STACK = "Stack overflow (used "
_OF_EITHER = "maximum recursion depth exceeded"
_OF_THE_PARSER = "Parser stack overflowed"
_GENERATORS = (
    0x20 | 0x80 | 0x200
)  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR: inspect costs import time


def classify_recursion_error(error: BaseException) -> "Overflow | None":
    """``StackOverflow`` or ``RecursionOverflow``; None for one raised by hand, not known, or of another kind.

    Where the exception itself says nothing, those that it comes from are asked: its cause, or else its context, as
    a traceback shows them. To be called on the stack that the exception was raised on, before anybody changes the
    recursion limit.
    """
    if not isinstance(error, BaseException):
        raise TypeError(f"classify_recursion_error() wants an exception, not {error!r}")
    seen: set[int] = set()
    while id(error) not in seen:
        found = _class_of(error)
        origin = error.__context__ if not error.__suppress_context__ else error.__cause__
        if found is not None or origin is None:
            return found
        seen.add(id(error))
        error = origin
    return None


def _class_of(error: BaseException) -> "Overflow | None":
    """By the exception alone."""
    if isinstance(error, (StackOverflow, RecursionOverflow)):
        return type(error)
    if type(error) not in (RecursionError, MemoryError) or _is_by_hand(error.__traceback__):
        return None
    message = str(error)
    if type(error) is MemoryError:
        return StackOverflow if message.startswith(_OF_THE_PARSER) else None
    if message.startswith(_OF_THE_STACK):
        return StackOverflow
    return _of_counters(error) if message.startswith(_OF_EITHER) else None


def _of_counters(error: BaseException) -> "Overflow | None":
    if sys.version_info >= (3, 14):
        return RecursionOverflow
    depth, crossed = _depth_of(error.__traceback__)
    if depth >= sys.getrecursionlimit():
        return RecursionOverflow
    if sys.version_info >= (3, 12):
        return StackOverflow
    if crossed:
        return None  # the counter was another stack's
    return StackOverflow if _stack_ends_first() else RecursionOverflow


def _is_by_hand(traceback: "TracebackType | None") -> bool:
    """Does the traceback begin at a ``raise`` statement, or is there none?"""
    if traceback is None:
        return True
    from opcode import opmap

    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code.co_code
    return (
        0 <= traceback.tb_lasti < len(code) and code[traceback.tb_lasti] == opmap["RAISE_VARARGS"]
    )


def _depth_of(traceback: "TracebackType | None") -> tuple[int, bool]:
    """How many Python calls were active where it was raised; and was that on a stack with other frames?"""
    depth, crossed, outer = 0, False, None
    while traceback is not None:
        frame = traceback.tb_frame
        if outer is None:
            depth = _calls_of(frame)
        elif frame is outer or _is_made_up(frame):
            pass  # raised again there; or made by a compiled function for the traceback alone
        elif frame.f_back is None and not frame.f_code.co_flags & _GENERATORS:
            depth, crossed = 1, True
        else:
            depth += 1
        outer, traceback = frame, traceback.tb_next
    return depth, crossed


def _calls_of(frame: "FrameType | None") -> int:
    calls = 0
    while frame is not None:
        calls += 1
        frame = frame.f_back
    return calls


def _is_made_up(frame: "FrameType") -> bool:
    return frame.f_back is None and frame.f_lasti <= 0


def hint_at_limit(error: RecursionError) -> None:
    """For _calls.pyx: add a note where it was the recursion limit that ended a call of ``deep_recursion``."""
    if _class_of(error) is RecursionOverflow:
        error.add_note(
            f"stackwarden: the recursion limit ({sys.getrecursionlimit()}) ended this, not the stack; "
            "deep_recursion(limit=...) raises it for the time of a call"
        )


class precise_recursion_errors:  # noqa: N801 (used like a function)
    """``with precise_recursion_errors():`` or ``@precise_recursion_errors``: RecursionError comes out as the
    class that ``classify_recursion_error()`` tells, StackOverflow or RecursionOverflow, with the original as
    its cause.

    So does the parser's MemoryError. What has no class of its own comes out as it is, whatever it comes from. The
    decorator raises TypeError for what a call does not run: async functions and generator functions.
    """

    @overload
    def __new__(cls, function: None = None, /) -> "Self": ...

    @overload
    def __new__(  # type: ignore[misc]  # noqa: F811
        cls, function: "Callable[P, R]", /
    ) -> "Callable[P, R]": ...

    def __new__(cls, function: "Any" = None, /) -> "Any":  # noqa: F811
        made = super().__new__(cls)
        return made if function is None else made(function)

    def __call__(self, function: "Callable[P, R]", /) -> "Callable[P, R]":
        begin = repeat(self).__next__  # there is no state; and no call that could be one too many
        return _within(begin, "precise_recursion_errors", function)

    def __enter__(self) -> "precise_recursion_errors":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        if isinstance(error, (RecursionError, MemoryError)):
            try:
                precise = _precise(error)
            except RecursionError:
                return  # no room for it here; a block further out has more
            if precise is not None:
                raise precise from error


def _precise(error: BaseException) -> StackOverflow | RecursionOverflow | None:
    """What is to be raised in its place; None: nothing."""
    found = _class_of(error)
    return None if found is None or isinstance(error, found) else _described(found, error)


def _described(kind: "Overflow", error: BaseException) -> StackOverflow | RecursionOverflow:
    message = str(error)
    precise = kind(message)
    if message.startswith(_OF_THE_STACK):
        precise.used = int(message[len(_OF_THE_STACK) :].split()[0]) * 1024
    if not _depth_of(error.__traceback__)[1]:
        try:
            stack = current_stack()
        except NotRunningError:
            return precise
        precise.name, precise.size, precise.margin = stack.name, stack.size, status()["reserve"]
    return precise
