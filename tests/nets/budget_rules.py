"""Budgets of blocks, on the stacks of threads and of coroutines."""

import functools
import sys

from blocks import KINDS, WAYS, Held
from hypothesis import strategies as st
from machine import (
    KIB,
    POINTER,
    PROTECTION,
    Machine,
    anywhere,
    error_of,
    pick,
    some,
    step,
    synced_bounds,
    when,
)

import stackwarden
from stackwarden._core import _stack_pointer

SIZES = [size * KIB for size in (128, 192, 256, 320, 448)]
TOO_SMALL = PROTECTION["margin"] + 8 * KIB
BYTES_OF_A_CALL = (
    2600 if sys.version_info < (3, 12) else 1792
)  # protection_combined.h, protection_counter.h
MOVED = 8  # calls between where a counter was moved to another stack and where it was moved back, for each time
NEAR = (
    12 * KIB if POINTER else 12
)  # bytes, or calls, between where a budget begins and where one looks


class Budgets(Machine):
    def __init__(self):
        super().__init__()
        self.budgets = []

    @step(where=anywhere, size=st.sampled_from(SIZES), kind=st.sampled_from(KINDS))
    def begin_a_budget(self, where, size, kind):
        place = self.place(where)
        held = Held(kind, functools.partial(stackwarden.stack_budget, size))
        with self.on(place) as do:
            pointer = do(begin_and_look, held)
            self.synced(place)
        self.budgets.append(Budget(held, place, size, pointer))

    @when("budgets")
    @step(which=some, where=anywhere, way=st.sampled_from(WAYS))
    def end_a_budget(self, which, where, way):
        self._end_budget(pick(which, self.budgets), self.place(where), way)

    @step(where=anywhere)
    def what_is_no_budget_is_refused(self, where):
        place = self.place(where)
        held = Held("by hand", functools.partial(stackwarden.stack_budget, TOO_SMALL))
        with self.on(place) as do:
            assert do(error_of, held.begin) is stackwarden.StackTooSmallError
        with self.on(place) as do:
            assert do(enter_twice, SIZES[0]) is stackwarden.StackInUseError
            self.synced(place)

    def _end_budget(self, budget, place, way):
        with self.on(place) as do:
            do(budget.held.end, way)
        self.budgets.remove(budget)

    # ---- what must hold ----

    def budgets_of(self, place):
        return [budget for budget in self.budgets if budget.stack is place.here]

    def expected_bounds(self, place):
        """The address below which CPython must raise, or the calls that must remain; None: nothing can be said."""
        budgets = self.budgets_of(place)
        if POINTER:
            return max([place.free, *(budget.low_end for budget in budgets)])
        if place.free is None:
            return None
        return min([place.free, *(budget.calls for budget in budgets)])

    def compare(self):
        super().compare()
        for place in self.honest_places():
            with self.on(place) as do:
                bounds = do(synced_bounds)
                self.synced(place)
            expected = self.expected_bounds(place)
            if expected is not None:
                near = NEAR if self.budgets_of(place) else 0
                near += 0 if POINTER else MOVED * place.thread.told
                assert abs(bounds - expected) <= near, (place, bounds, expected, place.free)

    def let_go(self):
        for number, budget in enumerate(list(self.budgets)):
            self._end_budget(budget, pick(number, self.threads), "close")
        super().let_go()


class Budget:
    """One that has begun at a place."""

    def __init__(self, held, place, size, pointer):
        self.held, self.stack = held, place.here
        self.low_end = pointer - size
        self.calls = size // BYTES_OF_A_CALL


def begin_and_look(held):
    held.begin()
    return _stack_pointer()


def enter_twice(size):
    budget = stackwarden.stack_budget(size)
    with budget:
        return error_of(budget.__enter__)
