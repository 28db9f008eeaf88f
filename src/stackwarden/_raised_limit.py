"""A recursion limit for as long as it is needed, whoever else needs another one at the time.

Promises: the limit is the highest of those that are wanted and of the one that was there; the last to
leave puts that back, unless somebody else has set another meanwhile.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_wanted: list[int] = []
_former = 0  # what there was before the first of them
_set = 0  # what was set last


def _apply(limit: int) -> None:
    global _set
    if sys.getrecursionlimit() != limit:
        sys.setrecursionlimit(limit)
    _set = limit


@contextmanager
def raised_limit(limit: int) -> Iterator[None]:
    """The recursion limit is `limit` or more for the body."""
    global _former
    with _lock:
        if not _wanted:
            _former = sys.getrecursionlimit()
        _wanted.append(limit)
        _apply(max(_former, *_wanted))
    try:
        yield
    finally:
        with _lock:
            _wanted.remove(limit)
            if sys.getrecursionlimit() == _set:
                _apply(max([_former, *_wanted]))
