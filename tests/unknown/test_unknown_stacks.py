"""Stacks of which nobody told: a sync on entry finds their bounds in the map of memory, or estimates them."""

import ctypes
import gc
import sys

import pytest

import stackwarden
from availability import unavailable

KIB = 1024
MIB = 1024 * KIB
PAGE = 4 * KIB
ASSUMED = 256 * KIB
RESERVE = 16 * KIB
COUNTS = sys.version_info < (3, 14)


def seen(probe):
    """What a sync on entry makes of the stack under the caller."""
    found = stackwarden.sync_stack()
    return found, stackwarden.current_stack(), probe.stack_pointer()


def seen_on(probe, base, size):
    return probe.call_on(base, size, lambda: seen(probe))


def room_to_raise():
    return 3 * stackwarden.status()["margin"] + RESERVE


def room_to_free():
    return 6 * stackwarden.status()["margin"] + RESERVE


def test_a_mapping_whose_ends_are_near_is_the_stack(probe, area):
    base, size = area(192 * KIB), 192 * KIB
    found, stack, _ = seen_on(probe, base, size)
    assert found == stack
    assert (stack.base, stack.size, stack.bounds_from) == (base, size, "map")


def test_the_status_in_c_says_that_the_bounds_are_known(probe, capi, area, several):
    small, large = area(192 * KIB), several(4 * MIB)
    assert probe.call_on(small, 192 * KIB, capi.attached.sync) == capi.DONE
    assert probe.call_on(large, 4 * MIB, capi.attached.sync) == capi.UNKNOWN_STACK


def test_a_guard_page_is_not_part_of_the_stack(probe, area):
    base, size = area(192 * KIB), 192 * KIB
    probe.forbid(base, 3 * PAGE)
    _, stack, _ = seen_on(probe, base + 3 * PAGE, size - 3 * PAGE)
    assert (stack.base, stack.bounds_from) == (base + 3 * PAGE, "map")


def test_a_guard_that_the_map_does_not_show_is_found(probe, area):
    base, size = area(4 * MIB), 128 * KIB
    middle = base + 2 * MIB
    try:
        probe.install_guard(middle - PAGE, PAGE)
    except OSError as error:
        unavailable("MADV_GUARD_INSTALL", str(error))
    _, stack, _ = seen_on(probe, middle, size)
    assert (stack.base, stack.bounds_from) == (middle, "map")


def test_a_mapping_is_taken_for_no_more_than_the_assumed_size(probe, several):
    base, size = several(4 * MIB), 4 * MIB
    found, stack, stack_pointer = seen_on(probe, base, size)
    assert found is None
    assert stack.top == base + size
    assert (stack.size, stack.bounds_from, stack.policy) == (ASSUMED, "estimate", "estimate")
    assert stack.base < stack_pointer


@pytest.mark.parametrize("above", [130, 170, 210, 250])
def test_an_end_that_may_be_a_neighbours_leaves_room_to_free(probe, several, above):
    base = several(4 * MIB)
    _, stack, stack_pointer = seen_on(probe, base, 4 * MIB - above * KIB)
    assert room_to_free() <= stack_pointer - stack.base < ASSUMED


def test_one_that_begins_inside_the_range_of_another_gets_room_to_free(probe, several):
    base, size = several(4 * MIB), 2 * MIB
    found = probe.call_on_neighbours(base + size, size, lambda: seen(probe))
    assert len(found) == size // (64 * KIB)
    assert min(stack_pointer - stack.base for _, stack, stack_pointer in found) >= room_to_free()


def test_neighbours_that_merged_are_not_one_stack(probe, area):
    stacks, size = area(8 * 128 * KIB), 128 * KIB
    base = stacks + 4 * size
    _, stack, stack_pointer = seen_on(probe, base, size)
    assert stack.bounds_from == "estimate"
    assert stack_pointer - ASSUMED // 2 - PAGE <= stack.base
    assert stack_pointer < stack.top <= stacks + 8 * size


def test_the_lowest_of_merged_neighbours_ends_where_the_map_says(probe, area):
    base = area(8 * 128 * KIB)
    _, stack, _ = seen_on(probe, base, 128 * KIB)
    assert (stack.base, stack.bounds_from) == (base, "map")


def test_a_stack_inside_an_arena_of_malloc_is_an_estimate(probe):
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    size = 96 * KIB  # less than what malloc maps by itself
    memory = libc.malloc(size)
    base = memory + -memory % 16
    try:
        found, stack, stack_pointer = seen_on(probe, base, (memory + size - base) & -16)
        assert found is None
        assert stack.bounds_from == "estimate"
        assert stack.base <= stack_pointer - room_to_raise()
        stackwarden.sync_stack()
    finally:
        libc.free(memory)


@pytest.mark.parametrize("size", [16 * KIB, 32 * KIB, 64 * KIB])
def test_the_base_of_a_tiny_stack_leaves_room_below_the_stack_pointer(probe, area, size):
    base = area(size)
    _, stack, stack_pointer = seen_on(probe, base, size)
    assert stack.bounds_from == ("map" if COUNTS and size > RESERVE + 8 * KIB else "estimate")
    assert stack.base <= stack_pointer - room_to_raise() or stack.bounds_from == "map"
    assert stack_pointer < stack.top == base + size


def bases_at(probe, base, size, depth):
    """What a sync takes for the base, and what one takes that is made so many bytes deeper."""

    gc.collect()  # a finalizer that switches or syncs in between would be seen, too

    def work():
        stackwarden.sync_stack()
        first = stackwarden.current_stack().base
        probe.sync_below(depth)
        return first, stackwarden.current_stack().base

    return probe.call_on(base, size, work)


@pytest.mark.parametrize("size", [192 * KIB, 4 * MIB])
def test_a_thread_that_goes_deeper_keeps_the_bounds_that_end_its_recursion(probe, area, size):
    base = area(size)
    first, second = bases_at(probe, base, size, min(size, ASSUMED) - 48 * KIB)
    assert second == first


def test_one_that_is_below_what_was_assumed_gets_room_again(probe, several):
    """CPython aborts the process in the margin above the base."""
    base = several(4 * MIB)
    first, second = bases_at(probe, base, 4 * MIB, ASSUMED if COUNTS else ASSUMED - 16 * KIB)
    assert second <= first - 3 * stackwarden.status()["margin"]
    assert second < first


def test_the_same_stack_keeps_its_record(probe, area):
    base, size = area(192 * KIB), 192 * KIB
    first = seen_on(probe, base, size)[1]
    stackwarden.sync_stack()
    records = len(stackwarden.stacks())
    assert [seen_on(probe, base, size)[1] for _ in range(20)] == [first] * 20
    assert len(stackwarden.stacks()) == records
    assert first.switches >= 1


def test_the_record_stays_when_the_thread_leaves_and_comes_back(probe, area):
    base, size = area(4 * MIB), 4 * MIB
    first = seen_on(probe, base, size)[1]
    for _ in range(5):
        assert stackwarden.sync_stack().bounds_from == "native"
        assert seen_on(probe, base, size)[1] == first


@pytest.mark.parametrize("comes_back", [False, True])
def test_an_answer_is_dropped_when_a_guard_came_to_lie_higher(probe, area, map_anew, comes_back):
    base, size = area(192 * KIB), 192 * KIB
    assert seen_on(probe, base, size)[1].base == base
    if comes_back:
        stackwarden.sync_stack()
    map_anew(base, size)
    probe.forbid(base, 64 * KIB)
    stack = seen_on(probe, base + 64 * KIB, size - 64 * KIB)[1]
    assert (stack.base, stack.bounds_from) == (base + 64 * KIB, "map")


def test_an_answer_is_dropped_when_the_memory_reaches_lower(probe, area, map_anew):
    whole, size = area(192 * KIB), 192 * KIB
    probe.forbid(whole, 64 * KIB)
    assert seen_on(probe, whole + 64 * KIB, size - 64 * KIB)[1].base == whole + 64 * KIB
    map_anew(whole, size)
    assert seen_on(probe, whole, size)[1].base == whole


def test_an_estimate_is_dropped_when_its_memory_became_a_small_stack(probe, several, map_anew):
    whole, size = several(4 * MIB), 4 * MIB
    assert seen_on(probe, whole, size)[1].bounds_from == "estimate"
    map_anew(whole, size)
    probe.forbid(whole, size - 128 * KIB)
    stack = seen_on(probe, whole + size - 128 * KIB, 128 * KIB)[1]
    assert (stack.base, stack.bounds_from) == (whole + size - 128 * KIB, "map")


@pytest.mark.parametrize("size", [192 * KIB, 4 * MIB])
@pytest.mark.parametrize("how", ["register", "notify"])
def test_what_is_told_later_replaces_what_was_found_out(probe, area, size, how):
    base = area(size)

    def work():
        stackwarden.sync_stack()
        guessed = stackwarden.current_stack()
        if how == "register":
            told = stackwarden.register_stack(base, size)
        else:
            told = stackwarden.notify_stack_switch(base, size)
        return guessed, told, stackwarden.sync_stack()

    guessed, told, synced = probe.call_on(base, size, work)
    assert guessed.bounds_from in ("map", "estimate")
    assert synced == told
    assert (synced.base, synced.size, synced.bounds_from) == (base, size, "told")
    stackwarden.reset_stack()
    if how == "register":
        told.unregister()


def test_three_unknown_stacks_inside_one_another(probe, area):
    sizes = [192 * KIB, 160 * KIB, 128 * KIB]
    bases = [area(size) for size in sizes]

    def enter(level):
        stackwarden.sync_stack()
        mine = stackwarden.current_stack().base
        if level < 2:
            deeper = probe.call_on(bases[level + 1], sizes[level + 1], lambda: enter(level + 1))
            stackwarden.sync_stack()
            return [mine, *deeper, stackwarden.current_stack().base]
        return [mine]

    a, b, c = bases
    assert probe.call_on(a, sizes[0], lambda: enter(0)) == [a, b, c, b, a]


def test_a_foreign_thread_that_runs_on_an_unknown_stack(probe, area):
    native, base, size = area(256 * KIB), area(192 * KIB), 192 * KIB

    def work():
        found = probe.call_on(base, size, lambda: seen(probe)[1].base)
        return found, stackwarden.sync_stack().bounds_from

    assert probe.call_in_thread(work, native, 256 * KIB) == (base, "native")


def test_the_assumed_size_can_be_chosen(probe, several):
    base, size = several(4 * MIB), 4 * MIB
    with stackwarden.stack_policy(assumed_size="1M"):
        assert stackwarden.status()["assumed_size"] == MIB
        assert seen_on(probe, base, size)[1].size == MIB
    stackwarden.sync_stack()
    assert stackwarden.status()["assumed_size"] == ASSUMED


def test_a_small_budget_of_calls_goes_with_a_small_stack(probe, area, effective_bounds):
    if not COUNTS:
        pytest.skip("calls are counted before 3.14")

    def remaining():
        stackwarden.sync_stack()
        return effective_bounds()["remaining"]

    small, large = area(128 * KIB), area(MIB)
    with stackwarden.stack_policy(assumed_size="1M"):
        few = probe.call_on(small, 128 * KIB, remaining)
        many = probe.call_on(large, MIB, remaining)
    assert 100 <= few < many
