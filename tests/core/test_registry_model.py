"""The registry against a model: register, switch, tell, sync, unregister, reset and look up at random.

Stacks lie so close that several share a granule of 64 KiB of the index of addresses.
"""

import functools
import warnings

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

import stackwarden

KIB = 1024
REGION = 16 * 1024 * KIB
LEAST = 48 * KIB
LARGEST = 8 * 1024 * KIB


def offsets():
    """Near a granule's edge, or anywhere; always a multiple of 16."""
    granule = st.integers(0, REGION // (64 * KIB) - 1).map(lambda i: i * 64 * KIB)
    near = st.integers(-64, 64).map(lambda i: i * 16)
    anywhere = st.integers(0, REGION // 16 - 1).map(lambda i: i * 16)
    return st.one_of(st.builds(lambda a, b: max(0, a + b), granule, near), anywhere)


def sizes():
    small = st.integers(LEAST // 16, 80 * KIB // 16)
    return st.one_of(small, small, st.integers(LEAST // 16, LARGEST // 16)).map(lambda i: i * 16)


class Registry(RuleBasedStateMachine):
    """What is registered is a dict from handle to range; what is current, None for the native stack."""

    handles = Bundle("handles")

    def __init__(self, region, calls, statuses):
        super().__init__()
        self.region, self.calls, self.statuses = region, calls, statuses
        self.registered, self.ever, self.current = {}, set(), None
        self.native = stackwarden.current_stack()
        self.superseded = stackwarden.status()["superseded"]

    # ---- what happens ----

    @rule(target=handles, offset=offsets(), size=sizes())
    def register(self, offset, size):
        base, top = self._range(offset, size)
        if self.current and self._overlap((base, top), self._current_range()):
            with pytest.raises(stackwarden.StackOverlapError):
                stackwarden.register_stack(base, top - base)
            return 0
        self._supersede(base, top)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stackwarden.StackSizeWarning)
            stack = stackwarden.register_stack(base, top - base)
        assert stack.handle not in self.ever
        self.ever.add(stack.handle)
        self.registered[stack.handle] = base, top
        return stack.handle

    @rule(handle=handles)
    def switch_to(self, handle):
        status = self.calls.switch_to(handle)
        if handle in self.registered:
            assert status == self.statuses.DONE
            self.current = handle
        else:
            assert status == self.statuses.STALE_HANDLE

    @rule(handle=handles)
    def notify_registered(self, handle):
        if handle in self.registered:
            base, top = self.registered[handle]
            assert stackwarden.notify_stack_switch(base, top - base).handle == handle
            self.current = handle

    @rule(offset=offsets(), size=sizes())
    def notify_other(self, offset, size):
        base, top = self._range(offset, size)
        known = [h for h, held in self.registered.items() if held == (base, top)]
        if known:
            self.current = known[0]
        else:
            self._supersede(base, top)
            self.current = base, top
        stack = stackwarden.notify_stack_switch(base, top - base)
        assert (stack.base, stack.top) == (base, top)

    @rule(handle=handles)
    def unregister(self, handle):
        status = self.calls.unregister(handle)
        if handle not in self.registered:
            assert status == self.statuses.STALE_HANDLE
        elif handle == self.current:
            assert status == self.statuses.IN_USE
        else:
            assert status == self.statuses.DONE
            del self.registered[handle]

    @rule()
    def reset(self):
        stackwarden.reset_stack()
        self.current = None

    @rule()
    def sync(self):
        assert stackwarden.sync_stack() == self.native
        self.current = None

    @rule(offset=offsets())
    def look_up(self, offset):
        address = self.region + offset
        holding = [h for h, (base, top) in self.registered.items() if base <= address < top]
        found = self.calls.find(address)
        if holding:
            assert (found.status, [found.handle]) == (self.statuses.DONE, holding)
            assert (found.base, found.base + found.size) == self.registered[found.handle]
        else:
            assert found.status == self.statuses.UNKNOWN_STACK

    # ---- what must hold ----

    @invariant()
    def current_is_what_was_told(self):
        stack = stackwarden.current_stack()
        if self.current is None:
            assert stack == self.native
        else:
            assert (stack.base, stack.top) == self._current_range()

    @invariant()
    def the_list_has_what_is_registered(self):
        listed = {stack.handle: (stack.base, stack.top) for stack in stackwarden.stacks()}
        assert self.registered.items() <= listed.items()
        assert not (self.ever - self.registered.keys()) & listed.keys()

    @invariant()
    def status_counts(self):
        status = stackwarden.status()
        assert status["superseded"] == self.superseded
        assert status["registered"] == len(self.registered)

    @invariant()
    def both_ends_are_found(self):
        for handle, (base, top) in self.registered.items():
            assert self.calls.find(base).handle == handle
            assert self.calls.find(top - 1).handle == handle

    def teardown(self):
        stackwarden.reset_stack()
        for handle in self.registered:
            assert self.calls.unregister(handle) == self.statuses.DONE
        stackwarden.register_stack(self.region, REGION).unregister()

    # ---- the model ----

    def _range(self, offset, size):
        base = min(offset, REGION - size)
        return self.region + base, self.region + base + size

    def _current_range(self):
        return self.current if isinstance(self.current, tuple) else self.registered[self.current]

    @staticmethod
    def _overlap(one, other):
        return one[0] < other[1] and other[0] < one[1]

    def _supersede(self, base, top):
        gone = [h for h, held in self.registered.items() if self._overlap(held, (base, top))]
        for handle in gone:
            if handle == self.current:
                self.current = self.registered[handle]  # told of another, it is left
            del self.registered[handle]
        self.superseded += len(gone)


@pytest.mark.usefixtures("unchecked")
def test_the_registry_does_what_the_model_does(memory, capi):
    machine = functools.partial(Registry, memory(REGION), capi.attached, capi)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=150,
            stateful_step_count=60,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
