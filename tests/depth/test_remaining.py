"""What is left of a stack, and what is used, is known wherever the stack is."""

import stackwarden
from stackwarden import stack_remaining, stack_used

KIB = 1024
MIB = 1024 * KIB


def test_used_and_remaining_make_up_the_stack(somewhere, diver):
    def work():
        size = stackwarden.current_stack().size
        return size, stack_used() + stack_remaining(), *diver.look()

    size, both, used, remaining = somewhere(work)
    assert 0 <= both - size < KIB  # the two calls have frames of different sizes
    assert 0 < used < size
    assert used + remaining == size


def test_a_deeper_call_leaves_less(somewhere, diver):
    def work():
        return [diver.recurse("none", KIB, None, calls) for calls in (0, 10, 20)]

    (_, used0, left0), (_, used10, left10), (_, used20, left20) = somewhere(work)
    assert used10 - used0 == left0 - left10 >= 10 * KIB
    assert used20 - used10 == left10 - left20 >= 10 * KIB


def test_a_stack_that_nobody_told_of_is_found_by_its_address(probe, diver):
    base = probe.map_memory(MIB)
    with stackwarden.register_stack(base, MIB):
        used, remaining = probe.call_on(base, MIB, diver.look)
        assert used + remaining == MIB
        assert used < 64 * KIB
        assert probe.call_on(base, MIB, stack_remaining) > MIB - 64 * KIB
        assert stackwarden.current_stack().bounds_from == "native"  # asking changes nothing
    probe.unmap_memory(base, MIB)


def test_of_an_unknown_stack_nothing_is_known(probe, diver):
    base = probe.map_memory(MIB)
    assert probe.call_on(base, MIB, diver.look) == (0, 0)
    assert probe.call_on(base, MIB, stack_used) == 0
    probe.call_on(base, MIB, stackwarden.sync_stack)  # from now on there is an estimate
    assert probe.call_on(base, MIB, diver.look) == (0, 0)
    stackwarden.sync_stack()
    probe.unmap_memory(base, MIB)


def test_a_budget_is_not_subtracted(somewhere):
    def work():
        before = stack_remaining()
        with stackwarden.stack_budget(64 * KIB):
            return before, stack_remaining()

    before, inside = somewhere(work)
    assert abs(before - inside) < 4 * KIB
