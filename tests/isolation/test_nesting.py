"""Coroutines that resume coroutines, in chains that change while they last."""

import pytest
from conftest import MODES
from stackwarden.adapters.ucontext import Coroutine, suspend

from stackwarden.errors import CoroutineError

BIG = 1 << 20


def test_a_chain_of_three_is_left_and_resumed_from_the_middle(coroutine):
    def c():
        suspend("c1")
        suspend("c2")
        return "c end"

    def b(inner):
        suspend(("b", inner.resume()))
        suspend(("b", inner.resume()))
        return inner.resume()

    def a(inner):
        first = inner.resume()
        suspend(("a", first))
        second = inner.resume()
        suspend(("a", second))
        return inner.resume()

    inmost = coroutine(c, stack_size=BIG)
    middle = coroutine(b, inmost, stack_size=BIG)
    outer = coroutine(a, middle, stack_size=BIG)
    assert outer.resume() == ("a", ("b", "c1"))
    assert outer.resume() == ("a", ("b", "c2"))
    assert outer.resume() == "c end"
    assert inmost.done
    assert middle.done
    assert outer.done


def test_one_is_resumed_by_another_than_the_one_that_started_it(coroutine):
    def shared():
        number = 0
        while True:
            number = suspend(number) + 1

    one = coroutine(shared)

    def resume(value):
        return one.resume(value)

    assert one.resume() == 0
    assert coroutine(resume, 10).resume() == 11
    assert resume(20) == 21
    starter = coroutine(lambda: suspend(one.resume(30)) or one.resume(40))
    assert starter.resume() == 31
    assert coroutine(resume, 35).resume() == 36
    assert starter.resume() == 41
    one.close()


def test_the_resumer_of_a_coroutine_may_end_before_it(coroutine):
    made = []

    def inner():
        suspend("first")
        suspend("second")
        return "end"

    def outer():
        made.append(coroutine(inner))
        return made[0].resume()

    assert coroutine(outer, stack_size=BIG).resume() == "first"
    assert made[0].resume() == "second"
    assert made[0].resume() == "end"


def test_a_coroutine_started_from_a_function_that_has_returned_goes_on(coroutine):
    def start(depth):
        if depth:
            return start(depth - 1)
        made = coroutine(lambda: suspend("left") or "end")
        assert made.resume() == "left"
        return made

    made = [start(depth) for depth in (0, 50, 10, 30)]
    assert [one.resume() for one in reversed(made)] == ["end"] * 4


def test_a_deep_nest_is_unwound_from_inside_out_and_from_outside_in(coroutine):
    def nest(depth, log):
        try:
            if depth:
                inner = coroutine(nest, depth - 1, log)
                value = inner.resume()
                kept.append(inner)
                suspend(value)
                inner.resume()
            else:
                suspend("inmost")
        finally:
            log.append(depth)

    for way in ("resume", "close"):
        kept, log = [], []
        made = coroutine(nest, 20, log)
        assert made.resume() == "inmost"
        if way == "resume":
            made.resume()
            assert log == list(range(21))
        else:
            made.close()
            assert log == [20]
            for one in reversed(kept):
                one.close()
            assert log == list(range(20, -1, -1))


def test_values_go_both_ways_at_every_level(coroutine):
    def echo(depth):
        sent = None
        inner = coroutine(echo, depth - 1) if depth else None
        if inner:
            inner.resume()
        while True:
            sent = suspend((depth, inner.resume(sent) if inner and sent else sent))

    made = coroutine(echo, 4)
    made.resume()
    for value in ("one", "two"):
        expected = value
        for depth in range(5):
            expected = (depth, expected)
        assert made.resume(value) == expected
    made.close()


def test_coroutines_interleave_inside_generators_of_the_resumer(coroutine):
    def numbers(start):
        for number in range(start, start + 3):
            suspend(number)

    def values(start):
        yield from coroutine(numbers, start)

    merged = [pair for pairs in zip(values(0), values(10), strict=True) for pair in pairs]
    assert merged == [0, 10, 1, 11, 2, 12]


def test_a_coroutine_may_be_iterated_over_inside_another(coroutine):
    def numbers(limit):
        for number in range(limit):
            suspend(number)
        return "result"

    def squares(limit):
        for number in coroutine(numbers, limit):
            suspend(number * number)

    assert list(coroutine(squares, 5)) == [0, 1, 4, 9, 16]
    made = coroutine(numbers, 1)
    assert next(made) == 0
    with pytest.raises(StopIteration) as end:
        next(made)
    assert end.value.value == "result"


def test_a_coroutine_of_one_isolation_resumes_one_of_the_other(coroutine, mode):
    def inner(name):
        return suspend(name) or name

    def outer(inside):
        seen = [one.resume() for one in inside]
        suspend(seen)
        return [one.resume() for one in inside]

    inside = [Coroutine(inner, name, isolation=name) for name in MODES]
    made = coroutine(outer, inside, stack_size=BIG)
    assert made.resume() == list(MODES)
    assert made.resume() == list(MODES)


def test_a_recursive_walk_by_coroutines(coroutine):
    def walk(tree):
        for branch in tree:
            if isinstance(branch, list):
                for leaf in coroutine(walk, branch):
                    suspend(leaf)
            else:
                suspend(branch)

    tree = [1, [2, [3, [4], 5]], [], [[[6]]], 7]
    first, second = coroutine(walk, tree), coroutine(walk, tree)
    assert list(zip(first, second, strict=True)) == [(leaf, leaf) for leaf in range(1, 8)]


def test_suspending_outside_of_any_coroutine_is_refused():
    with pytest.raises(CoroutineError, match="outside of any coroutine"):
        suspend()


def test_after_a_nested_coroutine_suspend_goes_back_to_the_outer_ones_resumer(coroutine):
    def outer():
        coroutine(int).resume()
        other = coroutine(suspend, "other")
        assert other.resume() == "other"
        value = suspend("outer")
        other.close()
        return value

    made = coroutine(outer)
    assert made.resume() == "outer"
    assert made.resume("sent") == "sent"
