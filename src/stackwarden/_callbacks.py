"""Switch callbacks in Python: the list. What calls them on a switch is compiled (switch_callbacks.pxi).

Promises: every change of the list is one step that no other thread can divide. A lock would be found held by a
callback, or by a child process after a fork.
"""

import atexit

from stackwarden._core import (
    _forget_callback,
    _forget_callbacks_of_ended_threads,
    _listen,
    _switch_callbacks,
    _thread_serial,
)
from stackwarden.callables import refuse_unless_run
from stackwarden.errors import CallbackError

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackwarden._core import Stack


def register_switch_callback(
    callback: "Callable[[Stack, Stack], object]", *, all_threads: bool = False
) -> None:
    """Call ``callback(old, new)``, two Stacks, after each switch on this thread, or on all threads.

    It runs on the new stack. What it raises goes to sys.unraisablehook, and the switch stands. A switch made
    while detached is delivered at the next sync, several as one (``status()["coalesced_switches"]``).

    Raises TypeError for what a call does not run: async functions and generator functions; RegistryFullError when
    16 C callbacks are registered already: then it is not called.
    """
    refuse_unless_run("register_switch_callback", callback)
    entry = (callback, 0 if all_threads else _thread_serial())
    _forget_callbacks_of_ended_threads()
    if not _switch_callbacks:
        atexit.unregister(_forget_callbacks)
        atexit.register(_forget_callbacks)
    _switch_callbacks.append(entry)
    try:
        _listen()
    except BaseException:
        _forget_callback(entry)
        raise


def unregister_switch_callback(callback: "Callable[[Stack, Stack], object]") -> None:
    """Take back one registration of this callback, made for this thread or for all.

    Raises CallbackError when there is none.
    """
    serial = _thread_serial()
    for entry in _switch_callbacks[:]:
        if entry[0] == callback and entry[1] in (0, serial) and _forget_callback(entry):
            break
    else:
        raise CallbackError(f"{callback!r}: no such callback is registered")
    _listen()


def living_callbacks() -> "list[tuple[Callable[[Stack, Stack], object], int]]":
    """Those of threads that have not ended."""
    _forget_callbacks_of_ended_threads()
    return _switch_callbacks


def _forget_callbacks() -> None:
    """This interpreter ends."""
    _switch_callbacks.clear()
    _listen()
