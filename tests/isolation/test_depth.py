"""Recursion: each stack has the depth that it used, whatever the limit becomes meanwhile."""

import sys

import pytest
from stackwarden.adapters.ucontext import suspend

STACK = 8 << 20


@pytest.fixture(autouse=True)
def limit():
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield 1000
    sys.setrecursionlimit(before)


def depth_left():
    """How many further calls are possible here."""
    deepest = 0

    def deeper(depth):
        nonlocal deepest
        deepest = depth
        deeper(depth + 1)

    try:
        deeper(1)
    except RecursionError:
        return deepest


def at_depth(depth, function):
    return at_depth(depth - 1, function) if depth else function()


def measure_forever():
    while True:
        suspend(depth_left())


def new(coroutine, depth):
    return coroutine(at_depth, depth, measure_forever, stack_size=STACK)


def test_each_has_its_own_depth(coroutine):
    made = {depth: new(coroutine, depth) for depth in (0, 100, 300, 700)}
    first = {depth: one.resume() for depth, one in made.items()}
    assert first[0] - first[700] == 700
    assert first[0] - first[300] == 300
    for _ in range(3):
        assert {depth: one.resume() for depth, one in reversed(made.items())} == first
    for one in made.values():
        one.close()


def test_a_new_one_has_the_full_depth_however_deep_its_resumer_is(coroutine):
    first, second = new(coroutine, 0), new(coroutine, 0)
    at_top = first.resume()
    assert at_depth(500, second.resume) == at_top
    assert at_depth(500, first.resume) == at_top
    assert at_top > 900
    first.close()
    second.close()


def test_the_resumer_has_its_own_depth_again(coroutine):
    before = depth_left()
    made = new(coroutine, 700)
    made.resume()
    assert depth_left() == before
    made.close()
    assert depth_left() == before


def test_the_limit_may_be_changed_while_stacks_are_suspended(coroutine):
    made = {depth: new(coroutine, depth) for depth in (0, 100, 300)}
    at_1000 = {depth: one.resume() for depth, one in made.items()}
    for limit in (500, 2000, 1000, 800):
        sys.setrecursionlimit(limit)
        for depth, one in made.items():
            assert one.resume() == at_1000[depth] + limit - 1000
    for one in made.values():
        one.close()


def test_the_limit_may_be_changed_inside(coroutine):
    before = depth_left()

    def work():
        at_1000 = depth_left()
        sys.setrecursionlimit(600)
        suspend(at_1000 - depth_left())
        return at_1000 - depth_left()

    made = coroutine(at_depth, 50, work, stack_size=STACK)
    assert made.resume() == 400
    assert depth_left() == before - 400
    sys.setrecursionlimit(1500)
    assert made.resume() == -500
    assert depth_left() == before + 500


def test_a_limit_under_the_depth_of_a_suspended_stack_raises_there(coroutine):
    """A limit that the running stack would exceed is refused at once; this one is not seen."""
    made = new(coroutine, 500)
    made.resume()
    sys.setrecursionlimit(300)
    with pytest.raises(RecursionError):
        made.resume()
    assert made.done
    assert depth_left() < 300


def test_running_out_in_one_while_others_are_deep(coroutine):
    class Endless:
        def __add__(self, other):
            return self + other

    deep = [new(coroutine, 800) for _ in range(5)]
    left = [one.resume() for one in deep]

    def run_out():
        for _ in range(3):
            with pytest.raises(RecursionError):
                Endless() + 1
            suspend()
        return "still alive"

    made = coroutine(run_out, stack_size=STACK)
    while not made.done:
        result = made.resume()
        assert [one.resume() for one in deep] == left
    assert result == "still alive"
    for one in deep:
        one.close()


def test_one_may_be_left_and_resumed_while_it_handles_a_recursion_error(coroutine):
    def work():
        try:
            depth_forever(1)
        except RecursionError as error:
            suspend()
            assert sys.exc_info()[1] is error
            return depth_left()

    def depth_forever(depth):
        depth_forever(depth + 1)

    first, second = coroutine(work, stack_size=STACK), coroutine(work, stack_size=STACK)
    first.resume()
    second.resume()
    assert first.resume() == second.resume()
