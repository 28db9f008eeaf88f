"""Switch callbacks: of a thread and of all, that raise, and that end with their first call."""

import sys

from hypothesis import strategies as st
from machine import anywhere, error_of, pick, some, step, when
from stack_rules import Stacks

import stackwarden
from stackwarden._callbacks import _forget_callbacks

KINDS = ("plain", "raises", "once")


class Callbacks(Stacks):
    """`pending` of a thread: the switches that no callback was told of yet, and where the first of them began."""

    def __init__(self):
        super().__init__()
        self.callbacks = []
        self.coalesced = self.start["coalesced_switches"]
        self.registrations = 0  # in C, where one stands for all that are in Python
        self.listens = False
        self.hook, sys.unraisablehook = sys.unraisablehook, lambda _: None

    @step(where=anywhere, kind=st.sampled_from(KINDS), all_threads=st.booleans())
    def register_a_callback(self, where, kind, all_threads):
        place = self.place(where)
        callback = Callback(kind)
        with self.on(place) as do:
            do(register, callback, all_threads)
            self.callbacks.append((callback, None if all_threads else place.thread))
            self._listen()

    @when("callbacks")
    @step(which=some, where=anywhere)
    def unregister_a_callback(self, which, where):
        place = self.place(where)
        callback = pick(which, self.callbacks)[0]
        with self.on(place) as do:
            error = do(error_of, stackwarden.unregister_switch_callback, callback)
            if self._forget(callback, place.thread):
                assert error is None
            else:
                assert error is stackwarden.CallbackError

    def _forget(self, callback, thread):
        for entry in self.callbacks:
            if entry[0] is callback and entry[1] in (None, thread):
                self.callbacks.remove(entry)
                self._listen()
                return True
        return False

    def _listen(self):
        if self.callbacks and not self.listens:
            self.registrations += 1
        self.listens = bool(self.callbacks)

    # ---- switches ----

    def enter(self, thread, stack):
        """Reported when the thread is on that stack, which it is not after a lie."""
        former = thread.current
        super().enter(thread, stack)
        if former is not stack and self.listens:
            thread.pending = thread.pending or [former, 0, 0]
            thread.pending[1] += 1
            thread.pending[2] = self.registrations
            if self.is_there(thread, stack):
                self._report(thread)

    def is_there(self, thread, stack):
        return stack is thread.here or any(fiber.here is stack for fiber in self.fibers)

    def synced(self, place):
        super().synced(place)
        if self.listens and place.thread.pending:
            self._report(place.thread)

    def _report(self, thread):
        (former, switches, seen), thread.pending = thread.pending, None
        self.coalesced += switches - 1
        if seen < self.registrations:
            return  # it was registered after the last of these switches
        for callback, of in list(self.callbacks):
            if of in (None, thread):
                callback.expected.append((former.handle, thread.current.handle))
                if callback.kind == "once":
                    self._forget(callback, thread)

    # ---- what must hold ----

    def expected_status(self, thread):
        return super().expected_status(thread) | {
            "switch_callbacks": len(self.callbacks),
            "coalesced_switches": self.coalesced,
        }

    def compare(self):
        super().compare()
        for callback, _ in self.callbacks:
            assert callback.told == callback.expected, callback

    def let_go(self):
        super().let_go()
        for callback, thread in list(self.callbacks):
            place = thread or self.threads[0]
            place.do(stackwarden.unregister_switch_callback, callback)
            self._forget(callback, place)

    def teardown(self):
        try:
            super().teardown()
        finally:
            sys.unraisablehook = self.hook
            _forget_callbacks()  # of an example that failed


class Callback:
    def __init__(self, kind):
        self.kind, self.told, self.expected = kind, [], []

    def __call__(self, former, current):
        self.told.append((former.handle, current.handle))
        if self.kind == "raises":
            raise KeyError
        if self.kind == "once":
            stackwarden.unregister_switch_callback(self)

    def __repr__(self):
        return f"{self.kind}: told {self.told}, expected {self.expected}"


def register(callback, all_threads):
    stackwarden.register_switch_callback(callback, all_threads=all_threads)
