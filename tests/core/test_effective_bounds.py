"""What CPython checks is what was told: read from CPython's own structures, not from ours."""

import sys
import threading
from functools import partial

import pytest

import stackwarden

KIB = 1024
MIB = 1024 * KIB
SIZES = [48 * KIB, 64 * KIB, 128 * KIB, 256 * KIB, MIB, 8 * MIB]
SLACK = 8  # calls between the switch and the reading, on either side


def expected(base, size):
    """What must be checked for a stack that was never used before."""
    if sys.version_info >= (3, 14):
        margin = stackwarden.status()["margin"]
        return {"top": base + size, "soft": base + 2 * margin, "hard": base + margin}
    bytes_per_level = 2600 if sys.version_info < (3, 12) else 1792
    most = sys.getrecursionlimit() if sys.version_info < (3, 12) else None
    most = most or stackwarden.status()["native_levels"]
    return {"remaining": min(most, max(120, (size - 16 * KIB) // bytes_per_level))}


def assert_effective(seen, base, size):
    wanted = expected(base, size)
    if "remaining" in wanted:
        assert abs(seen["remaining"] - wanted["remaining"]) <= SLACK
    else:
        assert seen == wanted


@pytest.fixture
def restored(effective_bounds):
    """After the test the thread has back what it had: to within the calls that pytest is in."""
    before = effective_bounds()
    yield
    after = effective_bounds()
    remaining = [counts.pop("remaining", 0) for counts in (before, after)]
    assert before == after
    assert abs(remaining[0] - remaining[1]) <= SLACK


@pytest.mark.parametrize("size", SIZES)
def test_notify_applies_the_bounds(restored, effective_bounds, memory, size):
    base = memory(size)
    stackwarden.notify_stack_switch(base, size)
    assert_effective(effective_bounds(), base, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("how", ["attached", "detached"])
def test_switch_to_applies_the_bounds(restored, capi, effective_bounds, new_stack, size, how):
    stack = new_stack(size)
    getattr(capi, how).switch_to(stack.handle)
    assert_effective(effective_bounds(), stack.base, size)


@pytest.mark.parametrize("size", SIZES)
def test_sync_applies_the_bounds(restored, probe, effective_bounds, new_stack, size):
    stack = new_stack(size)

    def sync_and_read():
        stackwarden.sync_stack()
        return effective_bounds()

    assert_effective(probe.call_on(stack.base, size, sync_and_read), stack.base, size)


@pytest.mark.usefixtures("unchecked")
def test_going_from_stack_to_stack_leaves_the_bounds_of_the_last(
    restored, effective_bounds, new_stack
):
    stacks = [new_stack(size) for size in SIZES]
    for stack in [*stacks, *reversed(stacks)]:
        stackwarden.notify_stack_switch(stack.base, stack.size)
        assert_effective(effective_bounds(), stack.base, stack.size)


@pytest.mark.parametrize("way_back", ["reset_stack", "sync_stack"])
def test_going_back_restores_exactly_what_cpython_had(effective_bounds, new_stack, way_back):
    stack, before = new_stack(), effective_bounds()
    for _ in range(3):
        stackwarden.notify_stack_switch(stack.base, stack.size)
        assert effective_bounds() != before
        getattr(stackwarden, way_back)()
        assert effective_bounds() == before


def test_going_back_restores_what_cpython_had_on_other_threads(
    companion, effective_bounds, new_stack
):
    stack, before = new_stack(), companion(effective_bounds)
    companion(stackwarden.notify_stack_switch, stack.base, stack.size)
    assert companion(effective_bounds) != before
    companion(stackwarden.reset_stack)
    assert companion(effective_bounds) == before


def test_going_back_restores_the_bounds_of_a_stack_that_a_thread_was_given(
    probe, effective_bounds, memory, new_stack
):
    """Python did not create the thread: where calls are counted, they follow from its stack."""
    stack = new_stack()

    def there_and_back():
        stackwarden.reset_stack()
        before = effective_bounds()
        stackwarden.notify_stack_switch(stack.base, stack.size)
        stackwarden.reset_stack()
        return before, effective_bounds()

    before, after = probe.call_in_thread(there_and_back, memory(), MIB)
    assert before == after


@pytest.mark.parametrize("mib", [2, 64])
def test_going_back_restores_what_cpython_had_before_the_stack_limit_was_changed(child, mib):
    """CPython read its bounds when it started; `ulimit -s` may have been changed since."""
    done = child(f"""
        import resource
        resource.setrlimit(resource.RLIMIT_STACK, ({mib} << 20, resource.RLIM_INFINITY))
        import stackwarden, cpython_bounds, capi_probe as probe

        before = cpython_bounds.read()
        stackwarden.notify_stack_switch(probe.map_memory(1 << 20), 1 << 20)
        stackwarden.reset_stack()
        print(cpython_bounds.read() == before)
    """)
    assert done.stdout == "True\n"


def test_it_does_not_matter_what_kind_of_call_tells(effective_bounds, new_stack):
    """CPython 3.11 to 3.13 count a call of a built-in function, but some not where they were specialised."""
    stack = new_stack()
    never_specialised = partial(stackwarden.notify_stack_switch, stack)
    before = effective_bounds()
    for _ in range(100):
        never_specialised()
        stackwarden.reset_stack()
    for _ in range(100):
        stackwarden.notify_stack_switch(stack)
        stackwarden.reset_stack()
    assert effective_bounds() == before


def test_one_thread_does_not_change_the_bounds_of_another(companion, effective_bounds, new_stack):
    stack, before = new_stack(), effective_bounds()
    companion(stackwarden.notify_stack_switch, stack.base, stack.size)
    assert effective_bounds() == before


def test_a_thread_state_made_on_a_foreign_stack_gets_its_bounds_and_the_other_keeps_its_own(
    probe, effective_bounds, new_stack
):
    stack = new_stack(256 * KIB)

    def sync_and_read():
        stackwarden.sync_stack()
        return effective_bounds()

    def on_the_stack():
        stackwarden.notify_stack_switch(stack.base, stack.size)
        return probe.call_in_new_thread_state(sync_and_read), effective_bounds()

    before = effective_bounds()
    inner, outer = probe.call_on(stack.base, stack.size, on_the_stack)
    assert_effective(inner, stack.base, stack.size)
    assert_effective(outer, stack.base, stack.size)
    stackwarden.reset_stack()
    assert effective_bounds() == before


@pytest.mark.usefixtures("unchecked")
def test_threads_that_switch_at_once_each_have_the_bounds_they_told(effective_bounds, new_stack):
    failures = []

    def work(stacks):
        for _ in range(200):
            for stack in stacks:
                stackwarden.notify_stack_switch(stack.base, stack.size)
                try:
                    assert_effective(effective_bounds(), stack.base, stack.size)
                except AssertionError as error:
                    failures.append(error)
        stackwarden.reset_stack()

    threads = [
        threading.Thread(target=work, args=([new_stack(size) for size in SIZES],)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


if sys.version_info >= (3, 14):

    def test_sync_reads_the_thread_state_and_not_a_cache(
        restored, probe, effective_bounds, new_stack
    ):
        """Others call the public setter too."""
        before, stack = effective_bounds(), new_stack()
        probe.set_protection(stack.base, stack.size)
        assert_effective(effective_bounds(), stack.base, stack.size)
        assert stackwarden.sync_stack().bounds_from == "native"
        assert effective_bounds() == before

    def test_sync_on_a_foreign_stack_mends_what_others_reset(
        restored, probe, effective_bounds, new_stack
    ):
        stack = new_stack()

        def told_reset_synced():
            stackwarden.notify_stack_switch(stack.base, stack.size)
            probe.reset_protection()
            stackwarden.sync_stack()
            return effective_bounds()

        seen = probe.call_on(stack.base, stack.size, told_reset_synced)
        assert_effective(seen, stack.base, stack.size)

    def test_sync_says_which_stack_is_under_the_caller_after_others_reset(probe, new_stack):
        native, stack = stackwarden.current_stack(), new_stack()
        stackwarden.notify_stack_switch(stack.base, stack.size)
        probe.reset_protection()
        assert stackwarden.sync_stack() == native

    def test_the_official_functions_agree_with_what_we_write(probe, effective_bounds, new_stack):
        before, stack = effective_bounds(), new_stack()
        stackwarden.notify_stack_switch(stack.base, stack.size)
        ours = effective_bounds()
        probe.set_protection(stack.base, stack.size)
        assert effective_bounds() == ours
        probe.reset_protection()
        assert effective_bounds() == before

else:

    def test_depth_is_saved_as_used_and_not_as_what_is_left(effective_bounds, new_stack):
        small, large = new_stack(64 * KIB), new_stack()
        before = effective_bounds()

        def deeper(levels):
            if levels:
                return next(map(deeper, [levels - 1]))
            stackwarden.notify_stack_switch(large.base, large.size)
            seen = effective_bounds()
            stackwarden.reset_stack()
            return effective_bounds(), seen

        here, there = deeper(20)
        assert before["remaining"] - here["remaining"] >= 20
        assert abs(there["remaining"] - expected(large.base, large.size)["remaining"]) <= SLACK
        assert effective_bounds() == before
        stackwarden.notify_stack_switch(small.base, small.size)
        assert abs(effective_bounds()["remaining"] - 120) <= SLACK

    def test_a_stack_that_was_left_deep_is_found_deep_again(effective_bounds, probe, new_stack):
        """Left 40 calls deep, it has 40 calls less to give when the thread comes back."""
        stack, other = new_stack(), new_stack()

        def deeper(levels):
            if levels:
                return next(map(deeper, [levels - 1]))
            before = effective_bounds()
            stackwarden.notify_stack_switch(other.base, other.size)
            stackwarden.notify_stack_switch(stack.base, stack.size)
            return before, effective_bounds()

        stackwarden.notify_stack_switch(stack.base, stack.size)
        before, after = deeper(40)
        assert before == after

    def test_two_unregistered_stacks_keep_their_depth_side_by_side(effective_bounds, memory):
        bases = memory(), memory()

        def deeper(levels):
            if levels:
                return next(map(deeper, [levels - 1]))
            before = effective_bounds()
            stackwarden.notify_stack_switch(bases[1], MIB)
            stackwarden.notify_stack_switch(bases[0], MIB)
            return before, effective_bounds()

        stackwarden.notify_stack_switch(bases[0], MIB)
        before, after = deeper(40)
        assert before == after
