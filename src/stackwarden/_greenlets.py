"""Greenlets that begin on a stack of call_on_stack() and are still alive when the call is over.

greenlet copies what lies between two addresses and puts it back there: a stack on which one began must
not be used by others, nor be unmapped, before it is dead. Nobody but greenlet knows of them, so it is
asked while it is loaded: a tracer sees each switch of the thread for as long as a call lasts.

Promises: needs no adapter, and nothing happens where greenlet is not loaded. A thread has one tracer of ours,
however many calls are under way and in whatever order they end; without calls it is gone with the next switch at
the latest. A tracer that somebody sets before, meanwhile or afterwards is called as without ours, and stays.
"""

import sys

from stackwarden._core import _stack_pointer, _thread_serial, current_stack
from stackwarden.errors import StackLeftInUseError

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    import weakref
    from typing import Any

GREENLETS_MODULE = "greenlet"

_tracers: "weakref.WeakValueDictionary[int, Tracer] | None" = None
"""By the thread's serial, which is never used again. What neither greenlet, nor a call, nor anybody's tracer holds
is gone."""


class Tracer:
    """What greenlet calls at each switch of a thread: it tells the calls that are under way.

    Somebody may set another tracer over this one, and call it from there. Then the next call sets it over that
    one: it is called twice for each switch, and passes on to another tracer each time.
    """

    def __init__(self, greenlet: "Any") -> None:
        self.greenlet = greenlet
        self._layers: list[tuple[Any, list[GreenletWatch]]] = []
        """Each tracer that it was set over, the newest last, and the calls since that are under way."""
        self._entered = 0

    def begin(self, call: "GreenletWatch") -> None:
        """Tell this call of switches from now on."""
        current = self.greenlet.gettrace()
        if current is not self or not self._layers:
            self._layers.append((None if current is self else current, []))
        self._layers[-1][1].append(call)
        if current is not self:
            self.greenlet.settrace(self)

    def end(self, call: "GreenletWatch") -> None:
        """No more; on whichever thread."""
        for _, calls in self._layers:
            if call in calls:
                calls.remove(call)
        self._uncover()

    def _uncover(self) -> None:
        """Where nobody needs this one, and none was set over it, the thread goes back to what it was set over."""
        while self.greenlet.gettrace() is self and not (self._layers and self._layers[-1][1]):
            self.greenlet.settrace(self._layers.pop()[0] if self._layers else None)

    def __call__(self, event: str, greenlets: "tuple[Any, Any]") -> "Any":
        self._entered += 1
        try:
            layers = self._layers
            covered = layers[-self._entered][0] if self._entered <= len(layers) else None
            if self._entered == 1:
                for call in [call for _, calls in layers for call in calls]:
                    call.note(greenlets[1])
                self._uncover()
            return covered(event, greenlets) if covered is not None else None
        finally:
            self._entered -= 1


class GreenletWatch:
    """One call: which greenlets run on its stack."""

    def __init__(self, greenlet: "Any") -> None:
        from weakref import ref

        self.stack = current_stack()
        self.caller = ref(greenlet.getcurrent())  # dropped from here it would end on another stack
        self.seen: dict[int, weakref.ref[Any]] = {}
        self._tracer = _tracer_of_this_thread(greenlet)
        self._tracer.begin(self)

    def note(self, target: "Any") -> None:
        """A switch to a greenlet was seen, made at this depth."""
        from weakref import ref

        if target is not self.caller() and self.stack.base <= _stack_pointer() < self.stack.top:
            self.seen[id(target)] = ref(target)

    def remain(self) -> bool:
        """Are greenlets alive, now that the call is over? Watches no more."""
        import gc

        self._tracer.end(self)
        if self._alive():
            gc.collect()
        return bool(self._alive())

    def complaint(self, func: object) -> StackLeftInUseError:
        """What is raised when some remain."""
        alive = self._alive()
        return StackLeftInUseError(
            f"{func!r} is over, but {len(alive)} greenlets that began on its stack of {self.stack.size} "
            f"bytes are alive, {alive[0]!r} for one. The stack is kept for them, and lost: end them first"
        )

    def _alive(self) -> "list[Any]":
        return [found for ref in self.seen.values() if (found := ref())]


def _tracer_of_this_thread(greenlet: "Any") -> Tracer:
    global _tracers
    if _tracers is None:
        from weakref import WeakValueDictionary

        _tracers = WeakValueDictionary()
    current = greenlet.gettrace()
    if not isinstance(current, Tracer):
        current = _tracers.get(_thread_serial()) or Tracer(greenlet)
    _tracers[_thread_serial()] = current
    return current


def watch() -> "GreenletWatch | None":
    """Watch for greenlets from now on; None while greenlet is being imported."""
    greenlet = sys.modules[GREENLETS_MODULE]
    return GreenletWatch(greenlet) if hasattr(greenlet, "settrace") else None
