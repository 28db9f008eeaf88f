"""Blocks of code that are begun in one place and ended in another, in all the ways that Python has."""

import contextlib
import types

KINDS = ("generator", "coroutine", "by hand", "exit stack")
WAYS = ("finish", "close", "throw", "drop")


class Held:
    """A block that has begun: whoever ends it decides on which thread, when and how."""

    def __init__(self, kind: str, make):
        """make() returns the context manager of the block."""
        self.kind = kind
        self.ended = False
        self._block = {"generator": _Generator, "coroutine": _Coroutine}.get(kind, _ByHand)(make)
        self._by_stack = kind == "exit stack"

    def begin(self):
        self._block.begin(self._by_stack)

    def end(self, way: str):
        """`drop` lets the last reference go."""
        self.ended = True
        block, self._block = self._block, None
        block.end(way)


class _Generator:
    """Runs on the stack of whoever goes on with it."""

    def __init__(self, make):
        self._steps = self._body(make)

    @staticmethod
    def _body(make):
        with make():
            yield

    def begin(self, _):
        self._steps.send(None)

    def end(self, way):
        if way == "finish":
            with contextlib.suppress(StopIteration):
                self._steps.send(None)
        elif way == "throw":
            with contextlib.suppress(KeyError):
                self._steps.throw(KeyError())
        elif way == "close":
            self._steps.close()
        self._steps = None


class _Coroutine(_Generator):
    """The same with an await inside, as in tasks of asyncio."""

    @staticmethod
    async def _body(make):
        with make():
            await _pause()


@types.coroutine
def _pause():
    yield


class _ByHand:
    """The context manager's own methods, or an ExitStack's. Dropping it ends nothing, so that is not done."""

    def __init__(self, make):
        self._make = make

    def begin(self, by_stack):
        if by_stack:
            self._manager = contextlib.ExitStack()
            self._manager.enter_context(self._make())
        else:
            self._manager = self._make()
            self._manager.__enter__()

    def end(self, way):
        error = KeyError() if way == "throw" else None
        self._manager.__exit__(error and KeyError, error, None)
