"""Telling and asking: register, notify, reset, sync, current, stacks, status and what a Stack says."""

import pickle
import re
import sys
import threading
import warnings
from pathlib import Path

import pytest

import stackwarden

MIB = 1 << 20
COUNTS = sys.version_info < (3, 14)


def test_a_thread_starts_on_its_native_stack(probe):
    stack = stackwarden.current_stack()
    assert stack.bounds_from == "native"
    assert stack.policy == "exact"
    assert stack.thread == threading.get_ident()
    assert stack.base <= probe.stack_pointer() < stack.top
    assert stack in stackwarden.stacks()


def test_notify_of_a_registered_stack_uses_its_record(new_stack):
    stack = new_stack(name="fiber 1", system="a runtime")
    told = stackwarden.notify_stack_switch(stack.base, stack.size)
    assert told == stack == stackwarden.current_stack()
    assert (told.name, told.system, told.switches) == ("fiber 1", "a runtime", 1)


def test_notify_of_any_other_range_makes_a_transient_record(memory):
    base = memory()
    stack = stackwarden.notify_stack_switch(base, MIB)
    assert (stack.base, stack.size, stack.top) == (base, MIB, base + MIB)
    assert (stack.bounds_from, stack.policy, stack.name) == ("told", "exact", None)
    assert stack == stackwarden.current_stack()
    assert stack in stackwarden.stacks()
    assert stackwarden.status()["registered"] == 0


def test_a_transient_record_is_kept_while_the_thread_goes_to_and_fro(memory):
    base = memory()
    first = stackwarden.notify_stack_switch(base, MIB)
    switches = first.switches
    stackwarden.reset_stack()
    assert stackwarden.notify_stack_switch(base, MIB) == first
    assert first.switches == switches + 1


@pytest.mark.usefixtures("unchecked")
def test_the_handle_of_a_transient_record_goes_stale_when_others_took_its_place(memory):
    first = stackwarden.notify_stack_switch(memory(), MIB)
    for _ in range(2):
        stackwarden.notify_stack_switch(memory(), MIB)
    with pytest.raises(stackwarden.StaleStackError):
        first.switches  # noqa: B018


def test_a_part_of_a_registered_stack_takes_the_place_of_its_record(new_stack):
    stack = new_stack()
    part = stackwarden.notify_stack_switch(stack.base, stack.size // 2)
    assert part.size == stack.size // 2
    with pytest.raises(stackwarden.StaleStackError):
        stack.unregister()


def test_reset_goes_back_to_the_native_stack(new_stack):
    native = stackwarden.current_stack()
    stack = new_stack()
    stackwarden.notify_stack_switch(stack.base, stack.size)
    assert stackwarden.reset_stack() is None
    assert stackwarden.current_stack() == native
    assert stack.thread is None


def test_notify_of_the_native_range_is_a_reset(new_stack):
    native, stack = stackwarden.current_stack(), new_stack()
    stackwarden.notify_stack_switch(stack.base, stack.size)
    assert stackwarden.notify_stack_switch(native.base, native.size) == native


def test_sync_goes_back_when_the_thread_was_never_there(new_stack):
    native, stack = stackwarden.current_stack(), new_stack()
    stackwarden.notify_stack_switch(stack.base, stack.size)
    assert stackwarden.sync_stack() == native == stackwarden.current_stack()


def test_sync_finds_a_registered_stack_that_nobody_told_of(probe, new_stack):
    stack = new_stack()
    assert probe.call_on(stack.base, stack.size, stackwarden.sync_stack) == stack
    assert stackwarden.sync_stack().bounds_from == "native"


def test_sync_finds_a_transient_stack_that_was_told(probe, memory):
    base = memory()

    def tell_and_ask():
        return stackwarden.notify_stack_switch(base, MIB) == stackwarden.sync_stack()

    assert probe.call_on(base, MIB, tell_and_ask)


def test_an_unknown_stack_gets_an_estimate_that_holds_the_stack_pointer(probe, capi, memory):
    base = memory()

    def ask():
        synced = stackwarden.sync_stack()
        return synced, capi.attached.sync(), stackwarden.current_stack(), probe.stack_pointer()

    synced, status, stack, stack_pointer = probe.call_on(base, MIB, ask)
    assert synced is None
    assert status == capi.UNKNOWN_STACK
    assert stack.base + 64 * 1024 < stack_pointer < stack.top
    assert (stack.bounds_from, stack.policy) == ("estimate", "estimate")


def test_an_estimate_gives_way_to_a_registered_stack_that_it_overlaps(probe, capi, memory):
    base = memory()
    neighbour, size = base + MIB // 2, 96 * 1024
    _, handle = capi.attached.register(neighbour, size)

    def on_the_unknown_stack():
        assert stackwarden.sync_stack() is None
        return probe.call_on(neighbour, size, stackwarden.sync_stack)

    assert probe.call_on(base, MIB // 2, on_the_unknown_stack).handle == handle


def test_c_and_python_see_the_same(probe, capi, new_stack):
    stack = new_stack(name="x", system="y")

    def switch_and_ask():
        assert capi.attached.switch_to(stack.handle) == capi.DONE
        return capi.attached.current()

    seen = probe.call_on(stack.base, stack.size, switch_and_ask)
    assert (seen.status, seen.handle, seen.base, seen.size) == (
        capi.DONE,
        stack.handle,
        stack.base,
        stack.size,
    )
    assert stackwarden.current_stack() == stack
    assert capi.attached.find(stack.top - 1)[:3] == (capi.DONE, stack.handle, stack.base)
    assert capi.attached.find(stack.top).status == capi.UNKNOWN_STACK
    assert capi.attached.find(stack.base - 1).status == capi.UNKNOWN_STACK


def test_c_names_may_each_be_missing(capi, memory):
    for names in [("a", "b"), ("a", None), (None, "b"), (None, None)]:
        status, handle = capi.attached.register(memory(), MIB, *names)
        assert status == capi.DONE
        (stack,) = [stack for stack in stackwarden.stacks() if stack.handle == handle]
        assert (stack.name, stack.system) == names


def test_reserved_bytes_are_zero(capi, new_stack):
    stack = new_stack()
    for seen in (capi.attached.current(), capi.attached.find(stack.base)):
        assert not any(seen.reserved)


def test_enter_and_leave_are_a_pair(capi, new_stack, memory):
    outer, base = new_stack(), memory()
    capi.attached.switch_to(outer.handle)
    block = capi.attached.enter(base, MIB)
    assert stackwarden.current_stack().base == base
    assert capi.attached.leave(block) == capi.DONE
    assert stackwarden.current_stack() == outer


@pytest.mark.usefixtures("unchecked")
def test_leave_finds_an_unregistered_stack_again_by_its_bounds(capi, memory):
    outer, inner = memory(), [memory() for _ in range(3)]
    stackwarden.notify_stack_switch(outer, MIB)
    block = capi.attached.enter(inner[0], MIB)
    for base in inner[1:]:
        stackwarden.notify_stack_switch(base, MIB)
    assert capi.attached.leave(block) == capi.DONE
    assert stackwarden.current_stack().base == outer


@pytest.mark.usefixtures("unchecked")
def test_switches_are_counted_when_the_stack_changes(new_stack):
    stack = new_stack()
    for _ in range(3):
        stackwarden.notify_stack_switch(stack.base, stack.size)
    assert stack.switches == 1
    stackwarden.reset_stack()
    stackwarden.notify_stack_switch(stack.base, stack.size)
    assert stack.switches == 2


def test_high_water_is_the_deepest_that_was_seen(probe, new_stack):
    stack = new_stack()
    assert stack.high_water == 0

    def use(levels):
        if levels:
            return next(map(use, [levels - 1]))
        stackwarden.notify_stack_switch(stack.base, stack.size)
        return stack.top - probe.stack_pointer()

    used = probe.call_on(stack.base, stack.size, lambda: use(0))
    seen = stack.high_water
    assert 0 < seen < used + 4096
    used = probe.call_on(stack.base, stack.size, lambda: use(30))
    assert used - 4096 < stack.high_water < used + 4096
    assert stack.high_water > seen


def test_thread_names_the_thread_on_which_a_stack_is_current(companion, new_stack):
    stack = new_stack()
    assert stack.thread is None
    companion(stackwarden.notify_stack_switch, stack.base, stack.size)
    assert stack.thread == companion.ident
    companion(stackwarden.reset_stack)
    assert stack.thread is None


def test_threads_have_stacks_of_their_own(companion, new_stack):
    stack = new_stack()
    stackwarden.notify_stack_switch(stack.base, stack.size)
    other = companion(stackwarden.current_stack)
    assert other.bounds_from == "native"
    assert other.thread == companion.ident
    assert stackwarden.current_stack() == stack


@pytest.mark.parametrize("how", ["detached", "attached", "raising"])
@pytest.mark.usefixtures("unchecked")
def test_told_attached_or_detached_it_is_the_same(capi, effective_bounds, new_stack, how):
    calls, stack = getattr(capi, how), new_stack()
    native, before = stackwarden.current_stack(), effective_bounds()
    assert calls.switch_to(stack.handle) == capi.DONE
    assert stackwarden.current_stack() == stack
    assert effective_bounds() != before
    assert calls.reset() == capi.DONE
    assert stackwarden.current_stack() == native
    assert effective_bounds() == before
    assert calls.notify(stack.base, stack.size) == capi.DONE
    assert effective_bounds() != before
    assert calls.sync() == capi.DONE
    assert effective_bounds() == before


def test_what_a_fresh_thread_told_applies_at_its_first_sync(probe, effective_bounds, new_stack):
    stack = new_stack()
    told, stacks = probe.call_in_told_thread(
        stack.base, stack.size, lambda: (stackwarden.sync_stack(), effective_bounds())
    )
    assert told == 0
    assert stacks[0] == stack
    if COUNTS:
        levels = stackwarden.status()["native_levels"]
        assert stacks[1]["remaining"] < levels
    else:
        assert stacks[1]["top"] == stack.top


def test_a_stack_is_a_view_that_outlives_its_record(new_stack):
    stack = new_stack(name="naïve", system="ünï")
    text = repr(stack)
    assert "naïve" in text
    assert hex(stack.base) in text
    stack.unregister()
    assert text.endswith(f", {stack.size} bytes, told>")
    assert (stack.name, stack.system) == ("naïve", "ünï")
    assert repr(stack) == text.replace("told", "gone")
    assert stack.top - stack.base == stack.size
    for attribute in ("bounds_from", "policy", "switches", "high_water", "thread"):
        with pytest.raises(stackwarden.StaleStackError, match=hex(stack.base)):
            getattr(stack, attribute)


def test_a_stack_unregisters_itself_at_the_end_of_a_with_block(memory):
    base = memory()
    with pytest.raises(LookupError), stackwarden.register_stack(base, MIB) as stack:
        assert stack in stackwarden.stacks()
        raise LookupError
    assert stack not in stackwarden.stacks()


def test_stacks_are_equal_when_they_are_the_same_record(new_stack):
    one, other = new_stack(), new_stack()
    assert one != other
    assert one != one.handle
    assert len({one, other, stackwarden.notify_stack_switch(one.base, one.size)}) == 2


def test_a_stack_is_not_made_by_hand():
    with pytest.raises(TypeError, match="register_stack"):
        stackwarden.Stack()


def test_a_stack_cannot_be_pickled(new_stack):
    """In another process its handle would name another stack."""
    with pytest.raises(TypeError):
        pickle.dumps(new_stack())


def test_status_counts_what_is_registered_and_what_gave_way(new_stack, memory):
    before = stackwarden.status()
    one = new_stack()
    new_stack()
    assert stackwarden.status()["registered"] == before["registered"] + 2
    one.unregister()
    assert stackwarden.status()["registered"] == before["registered"] + 1
    again = stackwarden.register_stack(one.base, MIB)
    stackwarden.register_stack(one.base, MIB)
    status = stackwarden.status()
    assert status["registered"] == before["registered"] + 2
    assert status["superseded"] == before["superseded"] + 1
    stackwarden.notify_stack_switch(again.base, MIB // 2)
    status = stackwarden.status()
    assert status["registered"] == before["registered"] + 1
    assert status["superseded"] == before["superseded"] + 2


def test_status_says_what_protects(capi):
    status = stackwarden.status()
    expected = {(3, 11): "combined-counter", (3, 12): "counter", (3, 13): "counter"}
    assert status["mechanism"] == expected.get(sys.version_info[:2], "pointer")
    assert status["reason"] is None
    assert status["python"] == ".".join(map(str, sys.version_info[:3]))
    assert status["least_stack_size"] == 48 * 1024
    assert status["exact_stack_size"] == (512 if COUNTS else 128) * 1024
    assert (status["margin"] == 0) is COUNTS
    assert (status["native_levels"] > 0) is COUNTS


def test_policy_says_from_which_size_on_protection_is_exact(memory):
    size = stackwarden.status()["exact_stack_size"]
    assert stackwarden.register_stack(memory(size), size).policy == "exact"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert stackwarden.register_stack(memory(size), size - 16).policy == "estimate"


def test_a_small_stack_warns_where_it_is_registered_when_memory_would_be_held_back(memory):
    base = memory()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        stackwarden.register_stack(base, 64 * 1024)
    if COUNTS:
        assert not seen
        return
    (warning,) = seen
    assert warning.category is stackwarden.StackSizeWarning
    assert all(text in str(warning.message) for text in (hex(base), "65536 bytes", "131072 bytes"))
    assert warning.filename == __file__


def test_a_warning_that_is_an_error_leaves_nothing_registered(memory):
    size = stackwarden.status()["exact_stack_size"] // 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            stackwarden.register_stack(memory(), size).unregister()
        except stackwarden.StackSizeWarning:
            assert not COUNTS
    assert stackwarden.status()["registered"] == 0


def test_a_stack_of_the_practical_size_does_not_warn(memory):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stackwarden.register_stack(memory(), 128 * 1024)


def test_every_status_has_a_text(probe):
    header = Path(stackwarden.get_include(), "stackwarden", "stackwarden.h").read_text()
    enum = header.partition("} stackwarden_status;")[0]
    statuses = re.findall(r"^    STACKWARDEN_\w+ = (-?\d+)\b", enum, re.MULTILINE)
    texts = {probe.status_text(int(status)) for status in statuses}
    assert len(texts) == len(statuses) >= 14
    assert "a status of a newer stackwarden" not in texts
    assert probe.status_text(-1000) == "a status of a newer stackwarden"
