"""Recursion limits of calls under @deep_recursion, which overlap on several threads."""

import functools
import sys

from hypothesis import strategies as st
from interpose_rules import Interpositions
from machine import MIB, PROTECTION, a_thread, step

import stackwarden

COUNTS_ALL = PROTECTION["mechanism"] == "combined-counter"  # 3.11: the limit counts C calls, too


class Limits(Interpositions):
    """Calls with a recursion limit of their own: the highest of those that overlap is effective."""

    def __init__(self):
        super().__init__()
        self.recursion_limit = sys.getrecursionlimit()
        self.limits = []  # (thread, how many levels it has with the call, limit)

    @step(where=a_thread, more=st.sampled_from([100, 500, 2000]))
    def enter_a_call_with_a_limit(self, where, more):
        thread = self.threads[where]
        if COUNTS_ALL:
            return  # WAITING in model.py
        if thread.is_honest and not thread.blocks and len(thread.levels) < 3:
            limit = self.recursion_limit + more
            thread.actor.stay_in(functools.partial(call_deep, limit))
            thread.arrive()
            self.limits.append((thread, len(thread.levels), limit))
            self.enter(thread, thread.here)

    def _leave(self, thread):
        self.limits = [of for of in self.limits if of[:2] != (thread, len(thread.levels))]
        super()._leave(thread)

    def compare(self):
        super().compare()
        limits = [limit for _, _, limit in self.limits]
        assert sys.getrecursionlimit() == max([self.recursion_limit, *limits])


def call_deep(limit, function):
    return stackwarden.deep_recursion(stack_size=MIB, limit=limit)(function)()
