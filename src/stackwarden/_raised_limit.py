"""A recursion limit for as long as a call is under way, whoever else needs another one at the time.

Importing this has a child of a fork forget the calls of threads that it does not have.
"""

import os

from stackwarden._core import _call_with_limit, _limits_after_fork

__all__ = ["call_with_limit"]

call_with_limit = _call_with_limit

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_limits_after_fork)
