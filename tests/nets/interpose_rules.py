"""Interposition: begun and undone in any order, on any thread.

Nobody lies meanwhile: every module in C that lets go of the GIL and takes it again syncs then.
"""

from fiber_rules import Calls
from hypothesis import strategies as st
from machine import anywhere, error_of, pick, some, step, when

import stackwarden


class Interpositions(Calls):
    def __init__(self):
        super().__init__()
        self.interpositions = []  # all that were begun
        self.isolation = None  # of those that are on

    @step(where=anywhere, isolation=st.sampled_from(["none", "frames"]))
    def interpose(self, where, isolation):
        if self.blocks or not all(thread.is_honest for thread in self.threads):
            return
        with self.on(self.place(where)) as do:
            if self.isolation not in (None, isolation):
                assert do(error_of, begin, isolation) is stackwarden.InterpositionError
                return
            self.interpositions.append(do(begin, isolation))
            self.isolation = isolation
            self.may_lie = False

    @when("interpositions")
    @step(which=some, where=anywhere)
    def undo(self, which, where):
        """Once more does nothing."""
        with self.on(self.place(where)) as do:
            self._undo(pick(which, self.interpositions), do)

    def _undo(self, interposition, do):
        do(interposition.undo)
        if not any("undone" not in repr(each) for each in self.interpositions):
            self.isolation = None
            self.may_lie = True

    def expected_status(self, thread):
        names = {None: "off", "none": "on", "frames": "frames"}
        return super().expected_status(thread) | {"interposition": names[self.isolation]}

    def let_go(self):
        super().let_go()
        for interposition in self.interpositions:
            self._undo(interposition, self.threads[0].do)

    def teardown(self):
        try:
            super().teardown()
        finally:
            for interposition in self.interpositions:
                interposition.undo()  # of an example that failed


def begin(isolation):
    return stackwarden.interpose(isolation=isolation)
