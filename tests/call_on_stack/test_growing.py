"""growing(): the decorator form of maybe_grow(), with sizes of its own."""

import asyncio

import pytest

import stackwarden
from stackwarden import growing


def test_the_sizes_are_attributes_and_the_users_keywords_are_their_own():
    @growing(room="256K", stack_size=1 << 20)
    def work(*, room, stack_size):
        return room, stack_size

    assert (work.room, work.stack_size) == (256 << 10, 1 << 20)
    assert work(room="mine", stack_size="too") == ("mine", "too")


def test_in_place_while_there_is_room_and_elsewhere_where_there_is_not():
    here = stackwarden.current_stack()

    @growing(room="64K", stack_size="1M")
    def with_room():
        return stackwarden.current_stack()

    @growing(room=here.size + 1, stack_size="1M")
    def without_room():
        return stackwarden.current_stack()

    assert with_room() == here
    assert without_room().size >= here.size + 1


def test_recursion_goes_deeper_than_the_stack():
    @growing(room="128K", stack_size="1M")
    def depth_of(nested):
        return 1 + depth_of(nested[0]) if nested else 0

    nested = []
    for _ in range(700):
        nested = [nested]
    assert depth_of(nested) == 700


def test_by_default_the_sizes_are_those_of_maybe_grow():
    @growing()
    def work():
        return 1

    assert work.room == 192 << 10
    assert work.stack_size == stackwarden.status()["stack_size"]
    assert work() == 1


@pytest.mark.parametrize("sizes", [{"room": 0}, {"room": -1}, {"stack_size": 2**41}])
def test_sizes_are_refused_by_the_name_of_the_parameter(sizes):
    (name,) = sizes
    with pytest.raises(stackwarden.StackRangeError, match=f"^{name} of "):
        growing(**sizes)


def test_what_a_call_does_not_run_is_refused():
    async def later():
        await asyncio.sleep(0)

    with pytest.raises(TypeError, match=r"growing\(\) cannot be used on .*later"):
        growing()(later)
