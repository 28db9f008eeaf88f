"""``stack_policy``: what is made of the bounds of stacks, for the process or for the calling thread.

docs/policies.md says what comes of each policy on which CPython.
"""

from _stackwarden_start.variables import OFF, is_asked_for
from stackwarden._contract import policy_number
from stackwarden._core import (
    Request,
    _check_tellings,
    _enter_assumed_size,
    _enter_policy,
    _leave_assumed_size,
    _leave_policy,
    _set_stack_sizes,
)
from stackwarden.errors import PolicyError

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Literal, NoReturn, Self, SupportsIndex

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

    _is_block = False

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
        size = None if assumed_size is None else _bytes_of(assumed_size)
        self._requests: list[tuple[Request, Callable[[Request, bool], None]]] = []
        try:
            for which, number in wanted:
                self._requests.append((Request(), _leave_policy))
                _enter_policy(self._requests[-1][0], which, number, thread_only)
            if size is not None:
                self._requests.append((Request(), _leave_assumed_size))
                _enter_assumed_size(self._requests[-1][0], size)
        except BaseException:
            self._end(for_good=False)
            raise

    def _end(self, *, for_good: bool) -> None:
        """End all requests. Once: whoever comes first, in whatever thread."""
        requests = getattr(self, "_requests", [])
        while requests:
            try:
                request, leave = requests.pop()
            except IndexError:
                break
            leave(request, for_good)

    def __call__(self, function: object) -> "NoReturn":
        """It is no decorator: what it asks for began when it was made, not when the function is called."""
        self._end(for_good=False)
        raise TypeError(
            f"stack_policy() cannot decorate {function!r}: it begins at once. Write a with block in the function"
        )

    def __enter__(self) -> "Self":
        self._is_block = True
        return self

    def __del__(self) -> None:
        """Dropped without a block it is for good. A block ends here where a handler raised before its body."""
        self._end(for_good=not self._is_block)

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: "BaseException | None",
        traceback: "TracebackType | None",
        /,
    ) -> None:
        self._end(for_good=False)


def _is_thread(scope: str) -> bool:
    if scope not in ("process", "thread"):
        raise PolicyError(f"scope {scope!r}: must be process or thread")
    return scope == "thread"


def _bytes_of(size: "SupportsIndex | str") -> int:
    from stackwarden.sizes import size_of

    return size_of(size, "assumed_size")


def apply_settings() -> None:
    """Apply what STACKWARDEN=... and -X stackwarden=... say of policies and sizes; warn of what is left out."""
    if OFF or not is_asked_for():
        return
    from stackwarden._interpose import warn_if_left_out
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
    warn_if_left_out(given)


def _check_what_is_told(mode: str) -> None:
    if mode == "off":
        return
    from stackwarden import _checking

    _checking.ERROR = mode == "error"
    _check_tellings(_checking.warn, _checking.site)
