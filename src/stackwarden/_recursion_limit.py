"""Importing this wraps sys.setrecursionlimit, on CPython 3.11 alone and with the first foreign stack.

There one counter serves Python and C calls, and setting the limit would wipe the budget of a small stack.
"""

import sys

from stackwarden._core import _set_recursion_limit

_setrecursionlimit = sys.setrecursionlimit


def setrecursionlimit(limit: int, /) -> None:
    """Set the maximum depth of the Python interpreter stack to limit.

    As CPython's own; the counters of foreign stacks stay as they are.
    """
    _set_recursion_limit(_setrecursionlimit, limit)


sys.setrecursionlimit = setrecursionlimit
