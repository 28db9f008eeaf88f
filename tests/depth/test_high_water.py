"""How deep a stack was used: exact once it is painted."""

import pytest
from stackwarden.adapters.ucontext import Coroutine, suspend

import stackwarden
from stackwarden import StackInUseError

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def stack(probe):
    base = probe.map_memory(MIB)
    with stackwarden.register_stack(base, MIB) as registered:
        yield registered
        stackwarden.reset_stack()
    probe.unmap_memory(base, MIB)


def dive_on(probe, diver, stack, calls):
    """In C, where nobody checks: what was used at the deepest call."""
    return probe.call_on(stack.base, stack.size, lambda: diver.recurse("none", KIB, None, calls)[1])


def test_paint_shows_what_nobody_checked(probe, diver, stack):
    assert dive_on(probe, diver, stack, 100) > 100 * KIB
    assert stack.high_water == 0
    stack.paint()
    assert stack.high_water == 0
    for calls in (50, 200, 100):
        used = dive_on(probe, diver, stack, calls)
    assert used < 200 * KIB < stack.high_water < 250 * KIB


def test_a_stack_can_be_painted_from_inside(probe, diver, stack):
    def work():
        stackwarden.notify_stack_switch(stack.base, stack.size)
        stack.paint()
        before = stack.high_water
        return before, diver.recurse("none", KIB, None, 300)[1]

    before, used = probe.call_on(stack.base, stack.size, work)
    assert before < 64 * KIB
    assert abs(stack.high_water - used) < 4 * KIB  # a frame is not written to its end


def test_a_suspended_one_can_be_painted(diver):
    def work():
        suspend(stackwarden.current_stack())
        return diver.recurse("none", KIB, None, 100)[1]

    coroutine = Coroutine(work, stack_size=MIB)
    stack = coroutine.resume()
    stack.paint()
    assert stack.high_water < 64 * KIB
    used = []
    while not coroutine.done:
        used.append(coroutine.resume())
    assert used[-1] > 100 * KIB


def test_where_it_is_not_known_what_is_in_use_it_is_refused(probe, stack):
    stackwarden.notify_stack_switch(stack.base, stack.size)
    stackwarden.reset_stack()
    with pytest.raises(StackInUseError):
        stack.paint()
    seen = []

    def work():
        stackwarden.notify_stack_switch(stack.base, stack.size)
        from stackwarden.testing.child import in_thread

        with pytest.raises(StackInUseError):
            in_thread(stack.paint)
        seen.append(True)

    probe.call_on(stack.base, stack.size, work)
    assert seen == [True]
