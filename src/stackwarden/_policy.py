"""``stack_policy``: what is made of the bounds of stacks, for the process or for the calling thread.

docs/policies.md says what comes of each policy on which CPython.
"""

import os
import sys
from _thread import get_ident

from stackwarden._core import _set_assumed_size, _set_policy, _set_stack_sizes
from stackwarden.errors import OtherThreadError, PolicyError

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Literal, Self, SupportsIndex, TypeAlias

    Policy: TypeAlias = Literal["exact", "estimate", "counted", "disabled"]

_POLICIES = ("exact", "estimate", "counted", "disabled")
_KINDS = ("policy", "unknown", "foreign_threads")  # in the order of stackwarden_stacks


class stack_policy:  # noqa: N801 (used like a function)
    """Say what is to be made of the bounds of stacks: "exact", "estimate", "counted" or "disabled".

    ``policy`` is for stacks that are known: told of, or the native ones of threads that Python created.
    ``unknown`` (at first "estimate") is for those of which nobody told; ``assumed_size``, in bytes or a text such
    as "256K", is the most that such a stack is taken for. ``foreign_threads`` is for the native stacks of threads
    that Python did not create. With ``scope="thread"`` all is for the calling thread alone, and ``policy`` for its
    native stack too, whoever created it.

    In force at once on the calling thread, elsewhere with the next switch or sync; a stack that was registered
    with a policy keeps it. As a context manager it puts back what was in force when it was called.

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
        wanted = (policy, unknown, foreign_threads)
        for kind, word in zip(_KINDS, wanted, strict=True):
            if word is not None and word not in _POLICIES:
                raise PolicyError(f"{kind} {word!r}: must be one of {', '.join(_POLICIES)}")
        self._thread = _thread_of(scope)
        if self._thread is not None and (foreign_threads, assumed_size) != (None, None):
            raise PolicyError(
                "foreign_threads and assumed_size are of the process, not of a thread"
            )
        self._former_size = None if assumed_size is None else _assume(assumed_size)
        self._former = [
            (which, _set_policy(which, word, self._thread is not None))
            for which, word in enumerate(wanted)
            if word is not None
        ]

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: "BaseException | None",
        traceback: "TracebackType | None",
        /,
    ) -> None:
        if self._thread not in (None, get_ident()):
            raise OtherThreadError(
                f"policies of thread {self._thread} are put back on it, not on {get_ident()}"
            )
        if self._former_size is not None:
            _set_assumed_size(self._former_size)
        for which, word in self._former:
            _set_policy(which, word, self._thread is not None)


def _thread_of(scope: str) -> int | None:
    if scope not in ("process", "thread"):
        raise PolicyError(f"scope {scope!r}: must be process or thread")
    return get_ident() if scope == "thread" else None


def _assume(size: "SupportsIndex | str") -> int:
    from stackwarden._sizes import size_of

    return _set_assumed_size(size_of(size, "assumed_size"))


def apply_settings() -> None:
    """Put in force what STACKWARDEN=... and -X stackwarden=... say of policies and sizes."""
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
    _set_stack_sizes(given.get("min-stack", 0), given.get("stack-size", 0))
