"""Importing this wraps sys.setrecursionlimit, on CPython 3.11 alone and with the first foreign stack.

There one counter serves Python and C calls, and setting the limit would wipe the budget of a small stack.
"""

import sys

from stackwarden._core import _recursion_limit_changed, _recursion_limit_changing

_setrecursionlimit = sys.setrecursionlimit


def setrecursionlimit(limit: int, /) -> None:
    """Set the maximum depth of the Python interpreter stack to limit.

    As CPython's own; the budgets of foreign stacks stay in force.
    """
    _recursion_limit_changing()
    try:
        _setrecursionlimit(limit)
    finally:
        _recursion_limit_changed()


sys.setrecursionlimit = setrecursionlimit
