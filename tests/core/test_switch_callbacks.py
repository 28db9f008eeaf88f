"""Switch callbacks: called after each switch, on the new stack, attached, with the old and the new stack."""

import sys

import pytest

import stackwarden

MIB = 1 << 20


class Recorder:
    """A callback that notes what it is told."""

    def __init__(self, before=None):
        self.calls, self.before = [], before

    def __call__(self, old, new):
        if self.before is not None:
            self.before()
        self.calls.append((old, new))


@pytest.fixture
def record():
    """record(**options): a registered Recorder."""
    registered = []

    def register(*, all_threads=False, before=None):
        recorder = Recorder(before)
        stackwarden.register_switch_callback(recorder, all_threads=all_threads)
        registered.append(recorder)
        return recorder

    yield register
    for recorder in registered:
        try:
            stackwarden.unregister_switch_callback(recorder)
        except stackwarden.CallbackError:
            continue


@pytest.fixture
def slot(probe):
    """slot(number, all_threads, *more): a registered C callback."""
    used = []

    def register(number, all_threads=True, *more):
        used.append((number, *more[:1]))
        return probe.register_callback(number, all_threads, *more)

    yield register
    for number in used:
        probe.unregister_callback(*number)


def there_and_back(probe, stack):
    """Really go to a stack, tell of it, and tell of going back when back."""
    probe.call_on(
        stack.base, stack.size, lambda: stackwarden.notify_stack_switch(stack.base, stack.size)
    )
    stackwarden.reset_stack()


def test_it_is_called_with_the_old_and_the_new_stack(probe, record, new_stack):
    native, stack, callback = stackwarden.current_stack(), new_stack(name="x"), record()
    there_and_back(probe, stack)
    assert callback.calls == [(native, stack), (stack, native)]
    assert callback.calls[0][1].name == "x"


def test_it_runs_on_the_new_stack(probe, record, new_stack):
    stack, seen = new_stack(), []
    record(before=lambda: seen.append(probe.stack_pointer()))
    there_and_back(probe, stack)
    there, back = seen
    assert stack.base < there < stack.top
    assert not stack.base < back < stack.top


def test_a_switch_to_the_same_stack_is_none(probe, record, new_stack):
    stack, callback = new_stack(), record()
    stackwarden.reset_stack()
    assert callback.calls == []

    def tell_twice():
        for _ in range(2):
            stackwarden.notify_stack_switch(stack.base, stack.size)

    probe.call_on(stack.base, stack.size, tell_twice)
    assert len(callback.calls) == 1


def test_sync_that_finds_another_stack_is_a_switch(probe, record, new_stack):
    native, stack, callback = stackwarden.current_stack(), new_stack(), record()
    probe.call_on(stack.base, stack.size, stackwarden.sync_stack)
    stackwarden.sync_stack()
    assert callback.calls == [(native, stack), (stack, native)]


def test_told_before_the_jump_it_is_called_at_the_next_sync(probe, record, new_stack):
    native, stack, callback = stackwarden.current_stack(), new_stack(), record()
    stackwarden.notify_stack_switch(stack.base, stack.size)
    assert callback.calls == []
    probe.call_on(stack.base, stack.size, stackwarden.sync_stack)
    assert callback.calls == [(native, stack)]


def test_told_detached_it_is_called_at_the_next_sync(probe, capi, record, new_stack):
    native, stack, callback = stackwarden.current_stack(), new_stack(), record()

    def detached():
        capi.detached.switch_to(stack.handle)
        assert callback.calls == []
        stackwarden.sync_stack()

    probe.call_on(stack.base, stack.size, detached)
    assert callback.calls == [(native, stack)]


def test_several_switches_are_told_as_one_and_counted(probe, capi, record, new_stack):
    native, stacks, callback = (
        stackwarden.current_stack(),
        [new_stack() for _ in range(4)],
        record(),
    )
    before = stackwarden.status()["coalesced_switches"]

    def detached():
        for stack in stacks:
            capi.detached.switch_to(stack.handle)
        stackwarden.sync_stack()

    probe.call_on(stacks[-1].base, stacks[-1].size, detached)
    assert callback.calls == [(native, stacks[-1])]
    assert stackwarden.status()["coalesced_switches"] == before + 3


def test_the_stack_that_was_left_may_be_gone(probe, capi, record, new_stack):
    first, second, callback = new_stack(), new_stack(), record()
    capi.attached.switch_to(first.handle)
    callback.calls.clear()

    def detached():
        capi.detached.switch_to(second.handle)
        first.unregister()
        stackwarden.sync_stack()

    probe.call_on(second.base, second.size, detached)
    (old, new) = callback.calls[-1]
    assert new == second
    assert old.base in (first.base, stackwarden.stacks()[0].base)


def test_this_thread_or_all(probe, companion, record, new_stack):
    stack, mine, everybodys = new_stack(), record(), record(all_threads=True)
    companion(there_and_back, probe, stack)
    assert (len(mine.calls), len(everybodys.calls)) == (0, 2)
    there_and_back(probe, stack)
    assert (len(mine.calls), len(everybodys.calls)) == (2, 4)


@pytest.mark.parametrize("kind", ["python", "c"])
def test_a_callback_for_one_thread_ends_with_it(child, kind):
    """A later thread may get the same identifier."""
    done = child(
        """
        import sys, threading, stackwarden, capi_probe as probe

        probe.import_table()
        base, calls, idents = probe.map_memory(1 << 20), [], []

        def register():
            idents.append(threading.get_ident())
            if sys.argv[1] == "c":
                probe.register_callback(0, False)
            else:
                stackwarden.register_switch_callback(lambda old, new: calls.append(new))

        def switch():
            idents.append(threading.get_ident())
            stackwarden.notify_stack_switch(base, 1 << 20)
            stackwarden.reset_stack()
            stackwarden.drain()  # what CPython put off freeing there is lost with the thread

        probe.call_in_thread(register)
        probe.call_in_thread(switch)
        assert idents[0] == idents[1], "another identifier: nothing is proved"
        print(calls or probe.take_notes(0), stackwarden.status()["switch_callbacks"])
        """,
        arguments=[kind],
    )
    assert done.stdout == "[] 0\n"


@pytest.mark.usefixtures("unchecked")
def test_callbacks_are_not_called_inside_a_callback(probe, capi, record, new_stack):
    native, first, second = stackwarden.current_stack(), new_stack(), new_stack()
    inside, nested = [], []

    def switch():
        nested.extend(inside)
        inside.append(True)
        there_and_back(probe, second)
        capi.attached.switch_to(first.handle)
        inside.pop()

    callback = record(before=switch)
    probe.call_on(first.base, first.size, lambda: capi.attached.switch_to(first.handle))
    assert nested == []
    assert callback.calls == [(native, first)]


def test_what_it_raises_goes_to_the_hook_and_the_switch_stands(
    probe, record, new_stack, monkeypatch
):
    stack, seen = new_stack(), []

    def fail():
        raise LookupError("from the callback")

    callback, after = record(before=fail), record()
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    probe.call_on(
        stack.base, stack.size, lambda: stackwarden.notify_stack_switch(stack.base, stack.size)
    )
    assert stackwarden.current_stack() == stack
    assert len(after.calls) == 1
    (unraisable,) = seen
    assert unraisable.exc_type is LookupError
    assert str(unraisable.exc_value) == "from the callback"
    assert unraisable.exc_traceback is not None
    assert unraisable.object is callback


@pytest.mark.parametrize(
    "error", ["ZeroDivisionError('mine')", "KeyboardInterrupt", "SystemExit(3)"]
)
def test_the_default_hook_prints_what_it_raises(child, error):
    done = child(f"""
        import stackwarden, capi_probe

        def callback(old, new):
            raise {error}

        stackwarden.register_switch_callback(callback)
        stack = stackwarden.register_stack(capi_probe.map_memory(1 << 20), 1 << 20)
        capi_probe.call_on(stack.base, stack.size, stackwarden.sync_stack)
        print(stackwarden.current_stack() == stack)
    """)
    assert done.stdout == "True\n"
    assert error.partition("(")[0] in done.stderr
    assert "UnraisableHookArgs" not in done.stderr
    assert done.stderr.count("Traceback") == 1


def test_an_exception_that_is_pending_in_the_caller_survives(probe, capi, record, slot, new_stack):
    """capi.raising complains when it does not."""
    stack, callback = new_stack(), record()
    slot(0)

    def switch():
        assert capi.raising.switch_to(stack.handle) == capi.DONE

    probe.call_on(stack.base, stack.size, switch)
    assert len(callback.calls) == 1
    assert len(probe.take_notes(0)) == 1


def test_unregistering_what_is_not_registered_is_refused(companion, record):
    with pytest.raises(stackwarden.CallbackError, match="print"):
        stackwarden.unregister_switch_callback(print)
    callback = record()
    with pytest.raises(stackwarden.CallbackError):
        companion(stackwarden.unregister_switch_callback, callback)
    stackwarden.unregister_switch_callback(callback)
    with pytest.raises(stackwarden.CallbackError):
        stackwarden.unregister_switch_callback(callback)


def test_one_for_all_threads_may_be_taken_back_by_any(companion, record):
    callback = record(all_threads=True)
    assert stackwarden.status()["switch_callbacks"] == 1
    companion(stackwarden.unregister_switch_callback, callback)
    assert stackwarden.status()["switch_callbacks"] == 0


def test_registered_twice_it_is_called_twice(probe, record, new_stack):
    stack, callback = new_stack(), record()
    stackwarden.register_switch_callback(callback)
    there_and_back(probe, stack)
    assert len(callback.calls) == 4
    stackwarden.unregister_switch_callback(callback)
    there_and_back(probe, stack)
    assert len(callback.calls) == 6


def test_what_is_not_callable_is_refused():
    with pytest.raises(TypeError, match="callable"):
        stackwarden.register_switch_callback("print")
    assert stackwarden.status()["switch_callbacks"] == 0


def test_a_callback_that_unregisters_itself_is_called_once(probe, new_stack):
    stack, calls = new_stack(), []

    def once(old, new):
        calls.append(new)
        stackwarden.unregister_switch_callback(once)

    stackwarden.register_switch_callback(once)
    there_and_back(probe, stack)
    assert calls == [stack]


def test_callbacks_are_called_in_the_order_of_registration(probe, new_stack):
    stack, calls = new_stack(), []
    callbacks = [lambda old, new, name=name: calls.append(name) for name in "abc"]
    for callback in callbacks:
        stackwarden.register_switch_callback(callback)
    probe.call_on(stack.base, stack.size, stackwarden.sync_stack)
    for callback in callbacks:
        stackwarden.unregister_switch_callback(callback)
    assert calls == ["a", "b", "c"]


def test_a_callback_is_not_told_of_switches_from_before_it(probe, capi, record, new_stack):
    stack, early = new_stack(), record()

    def detached():
        capi.detached.switch_to(stack.handle)
        stackwarden.unregister_switch_callback(early)
        late = record()
        stackwarden.sync_stack()
        return late

    late = probe.call_on(stack.base, stack.size, detached)
    assert (early.calls, late.calls) == ([], [])


# ---- in C ----


def test_c_callbacks_get_their_argument_and_the_stacks(probe, slot, new_stack):
    native, stack = stackwarden.current_stack(), new_stack()
    for number in range(2):
        assert slot(number) == 0
    there_and_back(probe, stack)
    here = (native.handle, native.base, native.size)
    there = (stack.handle, stack.base, stack.size)
    for number in range(2):
        assert probe.take_notes(number) == [
            (here, there, True, True),
            (there, here, True, True),
        ]


def test_c_callbacks_for_this_thread_only(probe, companion, slot, new_stack):
    stack = new_stack()
    slot(0, False)
    companion(there_and_back, probe, stack)
    assert probe.take_notes(0) == []
    there_and_back(probe, stack)
    assert len(probe.take_notes(0)) == 2


def test_a_c_callback_may_switch_itself(probe, slot, new_stack):
    """The switch stands; it is told at the next sync."""
    stack, other = new_stack(), new_stack()
    slot(0, True, False, other.base, other.size)
    probe.call_on(
        stack.base, stack.size, lambda: stackwarden.notify_stack_switch(stack.base, stack.size)
    )
    assert stackwarden.current_stack() == other
    assert len(probe.take_notes(0)) == 1


def test_c_callbacks_are_found_by_function_and_argument(probe, capi):
    assert probe.register_callback(0, True) == capi.DONE
    assert probe.unregister_callback(1) == capi.NOT_REGISTERED
    assert probe.unregister_callback(0, True) == capi.NOT_REGISTERED
    assert probe.unregister_callback(0) == capi.DONE
    assert probe.unregister_callback(0) == capi.NOT_REGISTERED


def test_there_are_places_for_sixteen_c_callbacks(probe, capi, slot):
    statuses = [slot(number) for number in range(17)]
    assert statuses == [capi.DONE] * 16 + [capi.FULL]
    with pytest.raises(stackwarden.RegistryFullError):
        stackwarden.register_switch_callback(print)
    assert stackwarden.status()["switch_callbacks"] == 0


def test_c_callbacks_wait_for_the_next_sync_when_detached(probe, capi, slot, new_stack):
    stack = new_stack()
    slot(0)

    def detached():
        capi.detached.switch_to(stack.handle)
        assert probe.take_notes(0) == []
        capi.detached.sync()
        assert probe.take_notes(0) == []
        capi.attached.sync()
        return probe.take_notes(0)

    ((_, entered, attached, on_the_new_stack),) = probe.call_on(stack.base, stack.size, detached)
    assert (entered[0], attached, on_the_new_stack) == (stack.handle, True, True)
