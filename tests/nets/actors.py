"""Where the steps of a machine are done: on threads that do one thing after another, and in coroutines on them.

Promises: one thing at a time in the whole process, each at the same depth of calls; so a run is the same every
time, and what CPython counts (3.11 to 3.13) can be compared. Nothing that was handed over stays referenced.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue

from stackwarden.adapters.ucontext import Coroutine, suspend

STACK_SIZE = 4 << 20  # of the threads, in bytes
SECONDS = 60  # no thing takes so long


class Actor:
    """A thread that does what it is asked to, at the innermost of the calls that it was asked to stay in."""

    def __init__(self, name: str):
        self.name = name
        self.inside = 0  # calls that it stays in
        self._errands, self._answers = SimpleQueue(), SimpleQueue()
        before = threading.stack_size(STACK_SIZE)
        try:
            self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
            self._thread.start()
        finally:
            threading.stack_size(before)

    @property
    def ident(self):
        return self._thread.ident

    def do(self, function: Callable, *arguments):
        """Call it on this thread; return or raise what it does."""
        self._errands.put((function, arguments))
        del function, arguments
        return self._answer()

    def stay_in(self, call: Callable):
        """call(function) is to call the function: what is asked for is done inside, until come_back()."""
        self.do(call, self._serve_inside)
        self.inside += 1

    def come_back(self):
        self._errands.put(None)
        self.inside -= 1
        self._answer()

    def end(self):
        while self.inside:
            self.come_back()
        self._errands.put(None)
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def _answer(self):
        result, error = self._answers.get(timeout=SECONDS)
        if error is not None:
            raise error
        return result

    def _serve_inside(self):
        self._answers.put((None, None))
        self._serve()

    def _serve(self):
        while (errand := self._errands.get()) is not None:
            answer = attempt(errand)
            del errand
            self._answers.put(answer)


def attempt(errand):
    """Its result and None, or None and its exception."""
    function, arguments = errand
    del errand
    try:
        return function(*arguments), None
    except BaseException as error:
        return None, error


class Suspended:
    """A coroutine that is resumed for each thing, on the thread that it was made on, and suspends after it."""

    def __init__(self, actor: Actor, isolation: str):
        self.actor = actor
        self.coroutine = Coroutine(_serve_suspended, stack_size=1 << 20, isolation=isolation)
        self.base = self.coroutine.stack_base
        actor.do(self.coroutine.resume)

    def do(self, function, *arguments):
        result, error = self.actor.do(self.coroutine.resume, (function, arguments))
        if error is not None:
            raise error
        return result

    def end(self):
        self.actor.do(self.coroutine.resume, None)
        assert self.coroutine.done


def _serve_suspended():
    answer = None
    while (errand := suspend(answer)) is not None:
        answer = attempt(errand)
        del errand
