"""on_stack(): the bounds of another stack for a while."""

import pytest

import stackwarden
from stackwarden import on_stack

MIB = 1 << 20


@pytest.fixture
def stack(probe):
    base = probe.map_memory(MIB)
    registered = stackwarden.register_stack(base, MIB)
    yield registered
    stackwarden.reset_stack()
    if registered in stackwarden.stacks():
        registered.unregister()
    probe.unmap_memory(base, MIB)


def test_the_former_bounds_are_back_on_every_way_out(stack, effective_bounds):
    native, before = stackwarden.current_stack(), effective_bounds()
    with on_stack(stack) as entered:
        assert entered == stack == stackwarden.current_stack()
        assert effective_bounds() != before
    assert (stackwarden.current_stack(), effective_bounds()) == (native, before)
    with pytest.raises(KeyError), on_stack(stack):
        raise KeyError
    assert (stackwarden.current_stack(), effective_bounds()) == (native, before)


def test_what_runs_there_is_protected(probe, diver, stack):
    class Adder:
        def __add__(self, other):
            return self + other

    def work():
        with pytest.raises(RecursionError):
            Adder() + 1
        return stackwarden.stack_used()

    with on_stack(stack):
        assert probe.call_on(stack.base, stack.size, work) < 64 * 1024


def test_blocks_nest_and_the_stack_between_may_be_an_unregistered_one(probe, stack):
    base = probe.map_memory(MIB)
    stackwarden.notify_stack_switch(base, MIB)
    outer = on_stack(stack)
    with outer:
        with pytest.raises(stackwarden.StackInUseError), outer:
            pass
        with on_stack(stack):
            assert stackwarden.current_stack() == stack
        assert stackwarden.current_stack() == stack
    assert stackwarden.current_stack().base == base
    stackwarden.reset_stack()
    probe.unmap_memory(base, MIB)


def test_a_stale_one_is_refused_and_nothing_changes(stack):
    native = stackwarden.current_stack()
    stack.unregister()
    with pytest.raises(stackwarden.StaleStackError), on_stack(stack):
        pass
    assert stackwarden.current_stack() == native
    with pytest.raises(TypeError):
        on_stack(None)
