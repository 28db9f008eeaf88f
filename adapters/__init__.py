"""stackwarden.adapters: the systems that stackwarden can be told of, and installing what tells it.

An adapter is a module that an entry point of the group ``stackwarden.adapters`` names, in any installed package.
It imports without its system, and has three functions:

    is_loaded()             is the system in this process? Loads nothing.
    install(**options)      from now on the core is told of the system's switches; raises, or is done whole
    uninstall()             and no longer

With ``ONLY_PROTECTS = True`` it is not installed under STACKWARDEN=off: programs run without it, too.

``install`` raises SystemMissingError, SystemTooOldError or SystemUnfitError where it cannot work. It is called
from one thread at a time, and not again before ``uninstall``. What only brings stacks of its own (the coroutines
of ucontext, fcontext and asm) has nothing to install, and is imported.

There is no lock, which a signal handler or a child of a fork could find taken: one entry, made in one step, tells
who installs or uninstalls an adapter.
"""

import os
import warnings
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from _stackwarden_start.variables import OFF
from stackwarden.errors import (
    AdapterError,
    AdapterInstalledError,
    AdapterNotInstalledError,
    AdapterWarning,
    UnknownAdapterError,
)

__all__ = ["GROUP", "available", "install", "install_loaded", "installed", "uninstall"]

GROUP = "stackwarden.adapters"

_installed: dict[str, Callable[[], None]] = {}  # name: how to uninstall
_busy: dict[tuple[int, str], object] = {}  # who installs or uninstalls it now, in this process


def available() -> list[str]:
    """The names of all adapters that installed packages announce. Imports none of them."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def installed() -> list[str]:
    """The names of the adapters that are installed now."""
    return sorted(_installed)


class _OnlyOne:
    """Nobody else installs or uninstalls this adapter meanwhile, in this process. Its end needs no memory."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._place = os.getpid(), name

    def __enter__(self) -> None:
        try:
            if _busy.setdefault(self._place, self) is not self:
                raise AdapterInstalledError(
                    f"the adapter {self._name!r} is being installed or uninstalled at this moment"
                )
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if _busy.get(self._place) is self:
            del _busy[self._place]


def install(name: str, **options: Any) -> None:
    """Install an adapter: from now on the core is told of the switches of its system.

    The options are the adapter's; its README lists them. Raises UnknownAdapterError; AdapterInstalledError when it
    is installed already, or being installed; SystemMissingError, SystemTooOldError and SystemUnfitError, all of
    them AdapterErrors, when its system is not there or cannot be hooked. What is raised left nothing behind.
    """
    with _OnlyOne(name):
        if name in _installed:
            raise AdapterInstalledError(
                f"the adapter {name!r} is installed already; uninstall it first to give it other options"
            )
        adapter = _load(name)
        if OFF and getattr(adapter, "ONLY_PROTECTS", False):
            _installed[name] = _nothing
            return
        adapter.install(**options)
        try:
            _installed[name] = adapter.uninstall
        except BaseException:
            adapter.uninstall()
            raise


def _nothing() -> None:
    """How to uninstall what was not installed: STACKWARDEN=off."""


def uninstall(name: str) -> None:
    """Undo ``install(name)``. Raises UnknownAdapterError, AdapterNotInstalledError."""
    with _OnlyOne(name):
        if name not in _installed:
            _entry_point(name)
            raise AdapterNotInstalledError(
                f"the adapter {name!r} is not installed (installed: {_listed(installed())})"
            )
        _installed[name]()
        del _installed[name]


def install_loaded() -> list[str]:
    """Install every adapter whose system is in this process and that is not installed yet; return their names.

    One that cannot work, or cannot even be imported, is left out with an AdapterWarning.
    """
    done = []
    for name in available():
        if name in _installed:
            continue
        try:
            if _load(name).is_loaded():
                install(name)
                done.append(name)
        except (AdapterError, ImportError) as error:
            warnings.warn(f"adapter {name!r}: {error}", AdapterWarning, stacklevel=2)
    return done


def _load(name: str) -> ModuleType:
    adapter: ModuleType = _entry_point(name).load()
    return adapter


def _entry_point(name: str) -> EntryPoint:
    if not isinstance(name, str):
        raise TypeError(f"an adapter is named by a str, not {type(name).__name__}: {name!r}")
    found = tuple(entry_points(group=GROUP, name=name))
    if not found:
        raise UnknownAdapterError(
            _nothing_to_install(name) or f"no adapter {name!r} (available: {_listed(available())})"
        )
    return found[0]


_BRINGS_ITS_OWN = (
    "it brings stacks of its own, which are told of. Import stackwarden.adapters.{name}"
)
_IS_IN_A_HEADER = "it is told of where it is compiled, by a header of stackwarden.get_include()"
_STAYS_ON_ITS_STACK = "its coroutines are Python's own, and stay on the stack of their thread"
_NEEDS_NONE = {
    "ray": "its switches are seen, not told. Use runtime_env() of stackwarden.adapters.ray",
    **dict.fromkeys(("asm", "fcontext", "ucontext"), _BRINGS_ITS_OWN),
    **dict.fromkeys(("boost", "boost_context", "boost_fiber"), _IS_IN_A_HEADER),
    **dict.fromkeys(("asyncio", "anyio", "curio", "trio", "uvloop"), _STAYS_ON_ITS_STACK),
    "eventlet": 'it runs on greenlets. Install the adapter "greenlet"',
}


def _nothing_to_install(name: str) -> str | None:
    """What is said of a system that people look for an adapter of, and that has none."""
    why = _NEEDS_NONE.get(name.lower())
    return why and f"there is nothing to install for {name!r}: {why.format(name=name.lower())}"


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
