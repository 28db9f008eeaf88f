"""Greenlets that begin on a stack of call_on_stack() and are still alive when the call is over.

greenlet copies what lies between two addresses and puts it back there: a stack on which one began must
not be used by others, nor be unmapped, before it is dead. Nobody but greenlet knows of them, so it is
asked while it is loaded: a tracer sees each switch of the thread for as long as the call lasts.

Promises: needs no adapter, and nothing happens where greenlet is not loaded.
"""

import sys

from stackwarden._core import _stack_pointer, current_stack
from stackwarden.errors import StackLeftInUseError

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    import weakref
    from typing import Any

GREENLETS_MODULE = "greenlet"


class GreenletWatch:
    """A tracer that notes which greenlets run on the stack, and calls the tracer that there was."""

    def __init__(self, greenlet: "Any") -> None:
        self.greenlet = greenlet
        self.stack = current_stack()
        self.caller = greenlet.getcurrent()
        self.former = greenlet.gettrace()
        self.seen: dict[int, weakref.ref[Any]] = {}
        greenlet.settrace(self)

    def __call__(self, event: str, greenlets: "tuple[Any, Any]") -> "Any":
        from weakref import ref

        target = greenlets[1]
        if target is not self.caller and self.stack.base <= _stack_pointer() < self.stack.top:
            self.seen[id(target)] = ref(target)
        return self.former(event, greenlets) if self.former is not None else None

    def remain(self) -> bool:
        """Are greenlets alive, now that the call is over? Traces no more."""
        import gc

        if self.greenlet.gettrace() is self:
            self.greenlet.settrace(self.former)
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


def watch() -> "GreenletWatch | None":
    """Watch for greenlets from now on; None while greenlet is being imported."""
    greenlet = sys.modules[GREENLETS_MODULE]
    return GreenletWatch(greenlet) if hasattr(greenlet, "settrace") else None
