"""Handles never name another stack, and memory may be freed and reused without anybody being told."""

import pytest

import stackwarden

MIB = 1 << 20


def test_a_stale_handle_stays_stale_when_its_record_is_used_again(capi, memory):
    base, others = memory(), memory(64 * MIB)
    _, gone = capi.attached.register(base, MIB)
    capi.attached.unregister(gone)
    handles = [capi.attached.register(others + i * MIB, MIB)[1] for i in range(64)]
    assert any(handle & 0xFFFFFFFF == gone & 0xFFFFFFFF for handle in handles)
    assert gone not in handles
    for calls in (capi.attached, capi.detached, capi.thread):
        assert calls.switch_to(gone) == capi.STALE_HANDLE
        assert calls.unregister(gone) == capi.STALE_HANDLE
    assert stackwarden.current_stack().bounds_from == "native"


def test_registering_the_same_memory_again_makes_another_handle(new_stack):
    stack = new_stack()
    again = stackwarden.register_stack(stack.base, stack.size)
    assert again != stack
    with pytest.raises(stackwarden.StaleStackError):
        stack.unregister()
    again.unregister()


@pytest.mark.parametrize(
    ("offset", "size"), [(-MIB // 2, MIB), (MIB // 2, MIB), (-MIB, 3 * MIB), (0, MIB // 2)]
)
@pytest.mark.parametrize("way", ["register", "notify"])
def test_a_record_that_is_current_nowhere_gives_way(capi, memory, way, offset, size):
    base = memory(3 * MIB) + MIB
    _, gone = capi.attached.register(base, MIB)
    getattr(capi.attached, way)(base + offset, size)
    assert capi.attached.switch_to(gone) == capi.STALE_HANDLE
    assert gone not in {stack.handle for stack in stackwarden.stacks()}
    assert {capi.attached.find(base + i).handle for i in range(0, MIB, 4096)}.isdisjoint({gone})


def test_all_records_that_overlap_give_way(capi, memory):
    base = memory(8 * MIB)
    gone = [capi.attached.register(base + i * MIB, MIB)[1] for i in range(8)]
    status, handle = capi.attached.register(base + MIB // 2, 7 * MIB)
    assert status == capi.DONE
    for stale in gone:
        assert capi.attached.switch_to(stale) == capi.STALE_HANDLE
    assert capi.attached.find(base).status == capi.UNKNOWN_STACK
    assert capi.attached.find(base + 4 * MIB).handle == handle


@pytest.mark.usefixtures("unchecked")
def test_nothing_gives_way_when_one_of_them_is_current(companion, capi, memory):
    base = memory(8 * MIB)
    kept = [capi.attached.register(base + i * MIB, MIB)[1] for i in range(8)]
    companion(capi.attached.switch_to, kept[5])
    assert capi.attached.register(base, 8 * MIB) == (capi.OVERLAP, capi.UNTOUCHED)
    assert capi.attached.notify(base, 8 * MIB) == capi.OVERLAP
    for handle in kept:
        assert capi.attached.switch_to(handle) == capi.DONE


def test_memory_of_an_unregistered_stack_that_was_left_may_be_registered(capi, memory):
    base = memory()
    told = stackwarden.notify_stack_switch(base, MIB)
    stackwarden.reset_stack()
    with stackwarden.register_stack(base, MIB // 2) as stack:
        assert capi.attached.switch_to(told.handle) == capi.STALE_HANDLE
        assert told not in stackwarden.stacks()
        assert stack in stackwarden.stacks()


def test_memory_of_a_registered_stack_may_become_a_threads_own(probe, capi, memory, new_stack):
    """The runtime gave the memory back, and a new thread got it: nobody tells."""
    base, elsewhere = memory(), new_stack()
    _, gone = capi.attached.register(base, MIB)

    def in_the_thread():
        native = stackwarden.current_stack()
        stackwarden.notify_stack_switch(elsewhere.base, elsewhere.size)
        found = stackwarden.sync_stack()
        return native.bounds_from, native == found, capi.attached.switch_to(gone)

    assert probe.call_in_thread(in_the_thread, base, MIB) == ("native", True, capi.STALE_HANDLE)


def test_a_thread_that_ended_has_left_its_stack(probe, capi, new_stack):
    stack = new_stack()
    probe.call_in_thread(lambda: stackwarden.notify_stack_switch(stack.base, stack.size))
    assert stack.thread is None
    stack.unregister()


def test_stacks_of_threads_that_ended_are_gone(probe, capi, memory):
    base = memory()
    before = {stack.handle for stack in stackwarden.stacks()}

    def tell():
        return stackwarden.current_stack().handle, stackwarden.notify_stack_switch(base, MIB).handle

    handles = probe.call_in_thread(tell)
    assert {stack.handle for stack in stackwarden.stacks()} == before
    for handle in handles:
        assert capi.attached.switch_to(handle) == capi.STALE_HANDLE
    stackwarden.register_stack(base, MIB).unregister()


def test_a_native_stack_belongs_to_its_thread(companion, capi):
    """A user thread that comes back on another thread must not get the former one's bounds."""
    native = companion(stackwarden.current_stack)
    assert capi.attached.switch_to(native.handle) != capi.DONE
    assert stackwarden.current_stack() != native
