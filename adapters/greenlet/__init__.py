"""stackwarden.adapters.greenlet: greenlets that began on a foreign stack, and what each one uses of its stack.

A greenlet stays on the stack of its thread, so CPython's bounds hold, until one that began on a foreign stack is
switched to from another stack. Installed, the adapter puts the bounds right after each switch and throw, in all
threads, and keeps a record of each greenlet::

    import stackwarden.adapters

    stackwarden.adapters.install("greenlet")
    ...
    print(stackwarden.adapters.greenlet.record_of(some_greenlet))
"""

import sys
from types import ModuleType
from typing import Any, SupportsIndex

from stackwarden.errors import StackwardenError, SystemMissingError, SystemTooOldError

__all__ = [
    "LEAST_VERSION",
    "install",
    "is_loaded",
    "pass_over",
    "record_of",
    "records",
    "uninstall",
]

LEAST_VERSION = (3, 0)
ONLY_PROTECTS = True

_entries: Any = None  # the compiled part, once the adapter is installed


def is_loaded() -> bool:
    """Is greenlet in this process?"""
    return "greenlet" in sys.modules


def install(*, budget: SupportsIndex | str | None = None) -> None:
    """From now on bounds follow each switch, in all threads.

    With a budget, in bytes or a text such as "512K", each greenlet that is made from now on may use so much of its
    thread's stack, and no more; ``record_of(greenlet).budget`` sets it for one. Raises SystemMissingError,
    SystemTooOldError, SystemUnfitError; StackTooSmallError, StackRangeError, TypeError for a budget; nothing is
    changed then.
    """
    global _entries
    _check_version(_import_greenlet())
    from stackwarden.adapters.greenlet import _greenlet

    _greenlet.find_entries()
    _greenlet.put_entries(budget)
    _entries = _greenlet


def uninstall() -> None:
    """Give greenlet its entries back, and forget the records."""
    global _entries
    _installed().take_entries_out()
    _entries = None


def records() -> list[Any]:
    """The records of all greenlets of the process."""
    found: list[Any] = _installed().records()
    return found


def record_of(greenlet: Any) -> Any:
    """The record of one greenlet. Raises TypeError for anything else."""
    return _installed().record_of(greenlet)


def pass_over(*folders: str) -> None:
    """From now on code in these folders does not count as the place where a greenlet is made: a library's, say."""
    _installed().pass_over(*folders)


def _installed() -> Any:
    if _entries is None:
        raise StackwardenError(
            'the adapter "greenlet" is not installed: stackwarden.adapters.install("greenlet")'
        )
    return _entries


def _import_greenlet() -> ModuleType:
    try:
        import greenlet
    except ImportError as error:
        raise SystemMissingError(
            f"greenlet cannot be imported ({error}): pip install greenlet"
        ) from error
    return greenlet


def _check_version(greenlet: Any) -> None:
    version = tuple(int(part) for part in greenlet.__version__.split(".")[:2])
    if version < LEAST_VERSION:
        raise SystemTooOldError(
            f"greenlet {greenlet.__version__} is too old: {'.'.join(map(str, LEAST_VERSION))} or "
            "later is needed (pip install --upgrade greenlet)"
        )
