"""Generators and coroutine functions that are half run, or running, while their stack is left."""

import sys

import pytest
from stackwarden.adapters.ucontext import suspend


def numbers(limit):
    """A generator that suspends while it runs."""
    for number in range(limit):
        suspend(("in the generator", number))
        yield number


def test_half_run_generators_go_on_where_they_were(coroutine):
    def work(name):
        mine = ((name, number) for number in range(5))
        return [suspend(next(mine)) or number for number in range(5)], list(mine)

    made = [coroutine(work, name) for name in "abc"]
    for number in range(5):
        assert [one.resume() for one in made] == [(name, number) for name in "abc"]
    assert [one.resume() for one in made] == [([0, 1, 2, 3, 4], [])] * 3


def test_a_generator_may_be_left_while_it_runs(coroutine):
    made = [coroutine(list, numbers(limit)) for limit in (3, 5)]
    seen = []
    while not all(one.done for one in made):
        seen += [one.resume() for one in made if not one.done]
    assert [0, 1, 2] in seen
    assert [0, 1, 2, 3, 4] in seen
    assert seen.count(("in the generator", 2)) == 2


def test_a_running_generator_cannot_be_entered_from_another_stack(coroutine):
    generator = numbers(2)
    made = coroutine(list, generator)
    made.resume()
    with pytest.raises(ValueError, match="already executing"):
        next(generator)
    with pytest.raises(ValueError, match="already executing"):
        coroutine(next, generator).resume()
    made.resume()
    assert made.resume() == [0, 1]


def test_a_generator_may_go_on_on_another_stack_between_its_values(coroutine):
    generator = (sys._getframe().f_back.f_code.co_name for _ in range(3))

    def first():
        return next(generator)

    def second():
        return next(generator)

    seen = [coroutine(first).resume(), coroutine(second).resume(), next(generator)]
    assert seen == ["first", "second", sys._getframe().f_code.co_name]


def tree(depth):
    if depth:
        yield from tree(depth - 1)
        suspend(depth)
        yield depth
        yield from tree(depth - 1)


def test_nested_generators_are_left_and_resumed_in_the_middle(coroutine):
    made = [coroutine(list, tree(4)) for _ in range(4)]
    results = {}
    while len(results) < 4:
        for number, one in enumerate(made):
            if not one.done:
                result = one.resume()
                if one.done:
                    results[number] = result
    assert all(result == list(plain_tree(4)) for result in results.values())


def plain_tree(depth):
    if depth:
        yield from plain_tree(depth - 1)
        yield depth
        yield from plain_tree(depth - 1)


def test_a_generator_keeps_the_exception_that_it_handles(coroutine):
    def handling():
        try:
            raise KeyError("in the generator")
        except KeyError as error:
            yield sys.exc_info()[1] is error
            suspend()
            yield sys.exc_info()[1] is error

    def work():
        try:
            raise ValueError("around it")
        except ValueError as error:
            seen = []
            for same in handling():
                seen += [same, sys.exc_info()[1] is error]
            return seen

    made = [coroutine(work) for _ in range(3)]
    for one in made:
        one.resume()
    assert [one.resume() for one in reversed(made)] == [[True] * 4] * 3


def test_an_exception_is_thrown_through_a_generator_that_runs(coroutine):
    made = coroutine(list, numbers(3))
    made.resume()
    with pytest.raises(KeyError) as raised:
        made.throw(KeyError("thrown"))
    assert "numbers" in [entry.name for entry in raised.traceback]


def test_closing_a_coroutine_leaves_the_generators_in_it_by_their_finally(coroutine):
    ends = []

    def careful():
        try:
            yield 1
            suspend()
            yield 2
        finally:
            ends.append("generator")

    def work():
        try:
            list(careful())
        finally:
            ends.append("function")

    made = coroutine(work)
    made.resume()
    made.close()
    assert ends == ["generator", "function"]


class Step:
    """Awaitable that hands a value to whoever drives a coroutine function by hand."""

    def __init__(self, value):
        self.value = value

    def __await__(self):
        return (yield self.value)


async def asynchronous(limit):
    try:
        for number in range(limit):
            suspend(("before", number))
            await Step(("awaits", number))
            yield number
            suspend(("after", number))
    finally:
        suspend("finally")


async def collect(limit):
    return [number async for number in asynchronous(limit)]


def drive(awaitable):
    """Run a coroutine function to its end; what it hands out is of no interest."""
    try:
        while True:
            awaitable.send(None)
    except StopIteration as end:
        return end.value


def test_async_generators_are_left_while_they_run(coroutine):
    made = [coroutine(drive, collect(limit)) for limit in (2, 4)]
    seen = [[], []]
    while not all(one.done for one in made):
        for one, mine in zip(made, seen, strict=True):
            if not one.done:
                mine.append(one.resume())
    for limit, mine in zip((2, 4), seen, strict=True):
        expected = [(when, number) for number in range(limit) for when in ("before", "after")]
        assert mine == [*expected, "finally", list(range(limit))]


def test_an_async_generator_that_runs_cannot_be_entered_from_another_stack(coroutine):
    generator = asynchronous(1)
    made = coroutine(drive, generator.asend(None))
    made.resume()
    with pytest.raises(RuntimeError, match="already running"):
        generator.asend(None).send(None)
    assert made.resume() == 0
    made = coroutine(drive, generator.aclose())
    assert made.resume() == "finally"
    made.resume()


def test_a_coroutine_function_keeps_what_it_awaits_across_switches(coroutine):
    async def inner(number):
        suspend(number)
        return number + await Step(number)

    async def outer():
        return [await inner(number) for number in range(3)]

    def send_numbers():
        awaitable, sent = outer(), None
        try:
            while True:
                sent = awaitable.send(sent)
        except StopIteration as end:
            return end.value

    made = [coroutine(send_numbers) for _ in range(3)]
    for number in range(3):
        assert [one.resume() for one in made] == [number] * 3
    assert [one.resume() for one in made] == [[0, 2, 4]] * 3
