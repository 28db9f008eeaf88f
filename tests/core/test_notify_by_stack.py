"""notify_stack_switch(stack): the same as with its base and size, by the handle."""

import re

import pytest

import stackwarden

MIB = 1 << 20


def test_it_tells_of_the_stack_and_returns_it(new_stack, effective_bounds):
    stack = new_stack()
    stackwarden.notify_stack_switch(stack.base, stack.size)
    bounds = effective_bounds()
    stackwarden.reset_stack()
    before = stack.switches
    assert stackwarden.notify_stack_switch(stack) == stack
    assert stackwarden.current_stack() == stack
    assert stack.switches == before + 1
    assert effective_bounds() == bounds


def test_it_leads_back_to_the_native_stack(new_stack, effective_bounds):
    native, bounds = stackwarden.current_stack(), effective_bounds()
    stackwarden.notify_stack_switch(new_stack())
    assert stackwarden.notify_stack_switch(native) == native
    assert effective_bounds() == bounds


def test_a_stack_that_is_gone_is_refused_and_nothing_is_changed(new_stack, everything):
    here, gone = new_stack(), new_stack()
    gone.unregister()
    stackwarden.notify_stack_switch(here)
    before = everything()
    with pytest.raises(stackwarden.StaleStackError, match=re.escape(hex(gone.base))):
        stackwarden.notify_stack_switch(gone)
    assert everything() == before


def test_a_later_stack_at_the_same_addresses_is_not_taken_for_it(new_stack):
    gone = new_stack()
    gone.unregister()
    stackwarden.register_stack(gone.base, gone.size)
    with pytest.raises(stackwarden.StaleStackError):
        stackwarden.notify_stack_switch(gone)


def test_a_stack_with_execution_state_of_its_own_is_refused(new_stack, everything):
    if "frames" not in stackwarden.status()["isolation"]:
        pytest.skip(stackwarden.status()["isolation_reason"])
    stack = new_stack(isolation="frames")
    before = everything()
    with pytest.raises(stackwarden.IsolationRequiredError):
        stackwarden.notify_stack_switch(stack)
    assert everything() == before


def test_a_size_beside_a_stack_or_none_beside_a_base_is_a_type_error(new_stack, everything):
    stack = new_stack()
    before = everything()
    for arguments in [(stack, stack.size), (stack.base,), ()]:
        with pytest.raises(TypeError):
            stackwarden.notify_stack_switch(*arguments)
    assert everything() == before
