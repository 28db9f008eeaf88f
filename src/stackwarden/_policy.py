"""``stack_policy``: what is made of the bounds of stacks, for the process or for the calling thread.

docs/policies.md says what comes of each policy on which CPython.
"""

import os
import sys

from stackwarden._contract import policy_number
from stackwarden._core import (
    Request,
    _check_tellings,
    _enter_policy,
    _leave_policy,
    _set_assumed_size,
    _set_stack_sizes,
)
from stackwarden._status import status
from stackwarden.errors import PolicyError

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from types import TracebackType
    from typing import ClassVar, Literal, Self, SupportsIndex

    from stackwarden._types import Policy

_KINDS = ("policy", "unknown", "foreign_threads")  # in the order of stackwarden_stacks


class stack_policy:  # noqa: N801 (used like a function)
    """Say what is to be made of the bounds of stacks: "exact", "estimate", "counted" or "disabled".

    ``policy`` is for stacks that are known: told of, or the native ones of threads that Python created.
    ``unknown`` (at first "estimate") is for those of which nobody told; ``assumed_size``, in bytes or a text such
    as "256K", is the most that such a stack is taken for. ``foreign_threads`` is for the native stacks of threads
    that Python did not create. With ``scope="thread"`` all is for the calling thread alone, and ``policy`` for its
    native stack too, whoever created it.

    Effective at once on the calling thread, elsewhere with the next switch or sync; a stack that was registered
    with a policy keeps it. As a context manager it ends with the block, in whatever order and on whatever thread
    blocks end; of those that are left the newest is effective. It begins with the call, and an object that is
    kept is a block, too; without a block it is for good, and stands behind those of blocks. Round an ``await`` it
    holds for the other tasks of the process, or of the thread, meanwhile.

    Raises PolicyError, and StackRangeError for ``assumed_size``; then nothing was changed.
    """

    def __init__(
        self,
        policy: "Policy | None" = None,
        *,
        unknown: "Policy | None" = None,
        foreign_threads: "Policy | None" = None,
        assumed_size: "SupportsIndex | str | None" = None,
        scope: 'Literal["process", "thread"]' = "process",
    ) -> None:
        wanted = [
            (which, policy_number(word, kind))
            for which, (kind, word) in enumerate(
                zip(_KINDS, (policy, unknown, foreign_threads), strict=True)
            )
            if word is not None
        ]
        thread_only = _is_thread(scope)
        if thread_only and (foreign_threads, assumed_size) != (None, None):
            raise PolicyError(
                "foreign_threads and assumed_size are of the process, not of a thread"
            )
        self._size = None if assumed_size is None else _AssumedSize(assumed_size)
        self._requests = [Request() for _ in wanted]
        try:
            for request, (which, number) in zip(self._requests, wanted, strict=True):
                _enter_policy(request, which, number, thread_only)
        except BaseException:
            self._leave()
            raise

    def __enter__(self) -> "Self":
        return self

    def __del__(self) -> None:
        """Dropped without the end of a block: it is for good."""
        for request in getattr(self, "_requests", ()):
            _leave_policy(request, True)
        size = getattr(self, "_size", None)
        if size is not None:
            size.leave(for_good=True)

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: "BaseException | None",
        traceback: "TracebackType | None",
        /,
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        for request in self._requests:
            _leave_policy(request, False)
        if self._size is not None:
            self._size.leave()


def _is_thread(scope: str) -> bool:
    if scope not in ("process", "thread"):
        raise PolicyError(f"scope {scope!r}: must be process or thread")
    return scope == "thread"


class _AssumedSize:
    """What an unknown stack is taken for, until leave(): the newest of those that are left is effective."""

    requests: "ClassVar[list[_AssumedSize]]" = []  # noqa: RUF012 (it is not seen in the text)
    set_for_good = 0  # bytes; as it was when the first of them was made

    def __init__(self, size: "SupportsIndex | str") -> None:
        from stackwarden._sizes import size_of

        self.size = size_of(size, "assumed_size")
        if not self.requests:
            _AssumedSize.set_for_good = status()["assumed_size"]
        self.requests.append(self)
        self._apply()

    def leave(self, *, for_good: bool = False) -> None:
        if self in self.requests:
            self.requests.remove(self)
            if for_good:
                _AssumedSize.set_for_good = self.size
        self._apply()

    def _apply(self) -> None:
        _set_assumed_size(self.requests[-1].size if self.requests else self.set_for_good)


def apply_settings() -> None:
    """Apply what STACKWARDEN=... and -X stackwarden=... say of policies and sizes."""
    if not os.environ.get("STACKWARDEN") and "stackwarden" not in sys._xoptions:
        return
    from stackwarden._settings import settings

    given = settings()
    stack_policy(
        given.get("policy"),
        unknown=given.get("unknown"),
        foreign_threads=given.get("foreign-threads"),
        assumed_size=given.get("assumed-size"),
    )
    _check_what_is_told(given.get("check", "off"))
    _set_stack_sizes(given.get("min-stack", 0), given.get("stack-size", 0))


def _check_what_is_told(mode: str) -> None:
    if mode == "off":
        return
    from stackwarden import _checking

    _checking.ERROR = mode == "error"
    _check_tellings(_checking.warn, _checking.site)
