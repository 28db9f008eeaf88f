"""stackwarden.adapters.gevent: what each Greenlet, hub and worker thread of gevent uses of its stack.

It stands on the adapter of greenlet, which it installs where that is not installed yet: bounds follow each switch,
in all threads, hubs and workers included. It adds where a Greenlet was spawned, and puts our figures
at the end of ``gevent.util.print_run_info()``::

    import stackwarden.adapters

    stackwarden.adapters.install("gevent")
    ...
    gevent.util.print_run_info()
"""

import os
import sys
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import Any

import stackwarden
from stackwarden import adapters
from stackwarden.errors import (
    StackwardenError,
    SystemMissingError,
    SystemTooOldError,
    SystemUnfitError,
)

__all__ = [
    "LEAST_VERSION",
    "GeventRecord",
    "install",
    "is_loaded",
    "record_of",
    "records",
    "uninstall",
    "wrap",
]

LEAST_VERSION = (23, 9)
ONLY_PROTECTS = True

_brought_greenlet = False  # greenlet's adapter was installed for this one
_own_format: Any = None  # gevent's format_run_info, while ours stands in its place


class GeventRecord:
    """What greenlet's adapter knows of a greenlet, and what gevent knows of it.

    All attributes of the former (``name``, ``stack_used``, ``high_water``, ``switches``, ...) can be read here.
    """

    def __init__(self, record: Any) -> None:
        self._record = record

    @property
    def spawned_at(self) -> tuple[str, int, str] | None:
        """(file, line, function) of the call that spawned it, the innermost outside of gevent; None for one that
        was made before install, if it is not a Greenlet."""
        for frame in _frames(getattr(self._record.greenlet, "spawning_stack", None)):
            if not frame.f_code.co_filename.startswith(_gevents_folder()):
                return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname
        made_at: tuple[str, int, str] | None = self._record.made_at
        return made_at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._record, name)

    def __repr__(self) -> str:
        return f"<GeventRecord {_described(self)}>"


def is_loaded() -> bool:
    """Is gevent in this process?"""
    return "gevent" in sys.modules


def install() -> None:
    """From now on bounds follow gevent's switches, and ``print_run_info()`` shows our figures.

    Raises SystemMissingError, SystemTooOldError, SystemUnfitError, for greenlet too; nothing is changed then.
    """
    global _brought_greenlet, _own_format
    gevent = _import_gevent()
    _check_version(gevent)
    own_format = _find_format()
    _brought_greenlet = "greenlet" not in adapters.installed()
    if _brought_greenlet:
        adapters.install("greenlet")
    _own_format = own_format
    _greenlets_adapter().pass_over(_gevents_folder(), os.path.dirname(__file__))  # noqa: PTH120
    _replace(own_format, _format_with_stacks)


def uninstall() -> None:
    """Give gevent its function back, and uninstall greenlet's adapter if it was installed for this one."""
    global _brought_greenlet, _own_format
    _replace(_format_with_stacks, _own_format)
    _own_format = None
    if "greenlet" in adapters.installed():
        adapters.greenlet.pass_over()  # type: ignore[attr-defined]
        if _brought_greenlet:
            adapters.uninstall("greenlet")
    _brought_greenlet = False


def records() -> list[GeventRecord]:
    """The records of all greenlets of the process: Greenlets, hubs, workers, raw ones."""
    return [GeventRecord(record) for record in _greenlets_adapter().records()]


def record_of(greenlet: Any) -> GeventRecord:
    """The record of one greenlet. Raises LookupError where there is none, or none yet."""
    return GeventRecord(_greenlets_adapter().record_of(greenlet))


def wrap(pool: Any) -> Any:
    """Have each task that a ``gevent.threadpool.ThreadPool`` is given from now on begin with the right bounds, and
    end with what CPython put off freed (``drain()``). Returns the pool. Again is harmless.

    Raises TypeError for anything else.
    """
    from gevent.threadpool import ThreadPool

    if not isinstance(pool, ThreadPool):
        raise TypeError(f"wrap() takes a gevent.threadpool.ThreadPool, not {type(pool).__name__}")
    if not isinstance(pool, _Wrapped):
        kind = type(pool)
        pool.__class__ = type(kind.__name__, (_Wrapped, kind), {"__slots__": ()})
    return pool


class _Wrapped:
    """What comes before the class of a wrapped pool. All other ways of giving it a task lead through spawn()."""

    __slots__ = ()

    def spawn(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        return super().spawn(_task, func, *args, **kwargs)  # type: ignore[misc]


def _task(func: Any, /, *args: Any, **kwargs: Any) -> Any:
    stackwarden.sync_stack()
    try:
        return func(*args, **kwargs)
    finally:
        stackwarden.drain()


def _greenlets_adapter() -> ModuleType:
    if _own_format is None:
        raise StackwardenError(
            'the adapter "gevent" is not installed: stackwarden.adapters.install("gevent")'
        )
    from stackwarden.adapters import greenlet

    return greenlet


def _import_gevent() -> ModuleType:
    try:
        import gevent
    except ImportError as error:
        raise SystemMissingError(
            f"gevent cannot be imported ({error}): pip install gevent"
        ) from error
    return gevent


def _check_version(gevent: Any) -> None:
    version = tuple(int(part) for part in gevent.__version__.split(".")[:2])
    if version < LEAST_VERSION:
        raise SystemTooOldError(
            f"gevent {gevent.__version__} is too old: {'.'.join(map(str, LEAST_VERSION))} or "
            "later is needed (pip install --upgrade gevent)"
        )


# ---- gevent.util.print_run_info ----


def _find_format() -> Any:
    import gevent.util

    try:
        return gevent.util.format_run_info
    except AttributeError as error:
        raise SystemUnfitError(
            f"gevent {gevent.__version__} has no gevent.util.format_run_info, which the adapter needs"
        ) from error


def _replace(old: Any, new: Any) -> None:
    """Put a function in the place of another one wherever a module of gevent has it."""
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] == "gevent":
            for name in ("format_run_info", "dump_stacks"):
                if vars(module).get(name) is old:
                    setattr(module, name, new)


def _format_with_stacks(*args: Any, **kwargs: Any) -> list[str]:
    """gevent's lines, and below them what each greenlet uses of its stack."""
    lines: list[str] = _own_format(*args, **kwargs)
    lines += ["*" * 80, "* Stacks (bytes, by stackwarden)", "*" * 80]
    lines += sorted(_described(record) for record in records())
    return lines


def _described(record: GeventRecord) -> str:
    used = "?" if record.stack_used is None else format(record.stack_used, ",")
    place = record.spawned_at
    return (
        f"{record.name}: {used} in use, {record.high_water:,} at most, {record.stack_saved:,} saved, "
        f"{record.switches:,} switches" + (f", spawned at {place[0]}:{place[1]}" if place else "")
    )


def _frames(innermost: FrameType | None) -> Iterator[FrameType]:
    while innermost is not None:
        yield innermost
        innermost = innermost.f_back


def _gevents_folder() -> str:
    import gevent

    return gevent.__path__[0] + os.sep  # type: ignore[no-any-return]
