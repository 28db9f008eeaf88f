"""Coroutines, in which all else is done too; and calls on other stacks, which overlap in time on several threads.

Honest callers: these tell of each switch, and go there.
"""

import functools

from callback_rules import Callbacks
from hypothesis import strategies as st
from hypothesis.stateful import precondition
from machine import MIB, POINTER, Fiber, a_thread, pick, some, step, when

import stackwarden

# Where calls are counted, those of a stack's own thread state: WAITING in model.py.
ISOLATIONS = ["frames", "thread-state"] if POINTER else ["frames"]
MOST = 3  # coroutines, at one time, and calls on a thread


class Fibers(Callbacks):
    @step(where=a_thread, isolation=st.sampled_from(ISOLATIONS))
    def make_a_coroutine(self, where, isolation):
        thread = self.threads[where]
        if thread.is_honest and len(self.fibers) < MOST:
            fiber = Fiber(thread, isolation)
            self.fibers.append(fiber)
            for _ in range(3):  # it has run to its first suspend(), and was looked at twice
                self.there_and_back(fiber)

    @when("fibers")
    @step(which=some)
    def end_a_coroutine(self, which):
        fiber = pick(which, self.fibers)
        if fiber.thread.is_honest:
            self._end_fiber(fiber)

    def there_and_back(self, fiber):
        with self.on(fiber):
            pass

    def _end_fiber(self, fiber):
        """What was begun on its stack goes on: a budget may outlive its stack."""
        self.there_and_back(fiber)
        fiber.suspended.end()
        self.fibers.remove(fiber)

    def let_go(self):
        while self.fibers:
            self._end_fiber(self.fibers[0])
        super().let_go()


class Calls(Fibers):
    """A thread stays in a call on another stack: that is the one under it then."""

    @step(where=a_thread, size=st.sampled_from([MIB, 4 * MIB]))
    def enter_a_call(self, where, size):
        thread = self.threads[where]
        if not thread.is_honest or thread.blocks or len(thread.levels) > MOST:
            return
        thread.actor.stay_in(functools.partial(stackwarden.call_on_stack, stack_size=size))
        thread.arrive()
        self.enter(thread, thread.here)

    @precondition(lambda self: self.in_calls())
    @step(which=some)
    def leave_a_call(self, which):
        self._leave(pick(which, self.in_calls()))

    def in_calls(self):
        return [thread for thread in self.threads if thread.is_honest and len(thread.levels) > 1]

    def _leave(self, thread):
        thread.actor.come_back()
        thread.levels.pop()
        self.enter(thread, thread.here)

    def let_go(self):
        super().let_go()
        for thread in self.threads:
            while len(thread.levels) > 1:
                self._leave(thread)
