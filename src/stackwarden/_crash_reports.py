"""Crash reports: when a stack is overrun, its name, its bounds and by how much, before the process dies."""

import os

from _stackwarden_start.variables import OFF
from stackwarden._core import _start_crash_reports, _stop_crash_reports


def enable_crash_reports() -> None:
    """When a stack is overrun, say which: its name, bounds and by how much, then let the process die as it would.

    A handler for SIGSEGV and SIGBUS, before the ones that are there: enable faulthandler first, and its traceback
    follows. It runs on a stack of its own: this thread gets one now, others with their first call of this package
    from now on, or when they call this too. ``status()["crash_reports"]`` says whether they are on.

    Raises OSError where the operating system refuses, and on Windows.
    """
    number = 0 if OFF else _start_crash_reports()
    if number:
        raise OSError(number, "crash reports: " + os.strerror(number))


def disable_crash_reports() -> None:
    """Report no more. Handlers that others installed stay."""
    _stop_crash_reports()
