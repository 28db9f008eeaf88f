"""Rules for what does not hold yet: WAITING in model.py. Try them with every change of what they ask for."""

from limit_rules import Limits
from machine import a_thread, pick, some, step, when


class Dropped(Limits):
    """Coroutines of which another thread lets go end on their own, later. The comparison at the end tells."""

    @when("fibers")
    @step(which=some, where=a_thread)
    def drop_a_coroutine(self, which, where):
        fiber, thread = pick(which, self.fibers), self.threads[where]
        if fiber.thread.is_honest and thread.is_honest:
            self.fibers.remove(fiber)
            thread.do(let_go_of, fiber.suspended)


def let_go_of(suspended):
    suspended.coroutine = None
