"""find_stack(): the registered stack that holds an address."""

import re

import pytest

import stackwarden

MIB = 1 << 20


def test_it_finds_a_registered_stack_from_its_base_to_its_top(new_stack):
    stack = new_stack(name="found")
    for address in (stack.base, stack.base + 1, stack.base + MIB // 2, stack.top - 1):
        assert stackwarden.find_stack(address) == stack
        assert stackwarden.find_stack(address).name == "found"
    assert stackwarden.find_stack(stack.base - 1) != stack
    assert stackwarden.find_stack(stack.top) != stack


def test_it_finds_no_stack_that_is_not_registered(memory, new_stack):
    native = stackwarden.current_stack()
    transient = stackwarden.notify_stack_switch(memory(), MIB)
    stackwarden.reset_stack()
    gone = new_stack()
    gone.unregister()
    for stack in (native, transient, gone):
        assert stackwarden.find_stack(stack.base + MIB // 2) is None
    for address in (0, 2**48, 2**64 - 1):
        assert stackwarden.find_stack(address) is None


@pytest.mark.parametrize("address", [-1, 2**64, -(2**70)])
def test_what_is_no_address_is_refused_with_its_number(everything, address):
    before = everything()
    with pytest.raises(stackwarden.StackRangeError, match=re.escape(str(address))):
        stackwarden.find_stack(address)
    assert everything() == before


@pytest.mark.parametrize("address", ["1", None, 1.5])
def test_what_is_no_integer_is_a_type_error(address):
    with pytest.raises(TypeError):
        stackwarden.find_stack(address)
