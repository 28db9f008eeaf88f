"""classify_recursion_error() and precise_recursion_errors(): what they know, and what they leave alone."""

import sys

import pytest
from stackwarden.adapters.ucontext import Coroutine

import stackwarden
from stackwarden import (
    RecursionOverflow,
    StackOverflow,
    classify_recursion_error,
    precise_recursion_errors,
)


def endless():
    return endless() + 1


def caught(function):
    with pytest.raises((RecursionError, MemoryError)) as found:
        function()
    return found.value


def raise_(error):
    raise error


@pytest.mark.parametrize(
    "error",
    [
        RecursionError("maximum recursion depth exceeded"),
        RecursionError("Stack overflow (used 224 kB)"),
        RecursionError(),
        MemoryError("Parser stack overflowed - Python source too complex to parse"),
        MemoryError(),
        KeyError("maximum recursion depth exceeded"),
    ],
)
def test_what_is_raised_by_hand_has_no_class(error):
    assert classify_recursion_error(error) is None  # not raised at all
    with pytest.raises(type(error)) as found, precise_recursion_errors():
        raise_(error)
    assert found.value is error
    assert classify_recursion_error(error) is None


class DeepError(Exception):
    pass


class DeepRecursionError(RecursionError):
    pass


def from_its_cause(kind):
    try:
        endless()
    except RecursionError as error:
        raise kind("too deep") from error


def from_its_context(kind):
    try:
        endless()
    except RecursionError:
        raise kind("too deep")  # noqa: B904


def from_nothing(kind):
    try:
        endless()
    except RecursionError:
        raise kind("too deep") from None


def caught_any(function, kind):
    with pytest.raises(kind) as found:
        function(kind)
    return found.value


@pytest.mark.parametrize("kind", [DeepError, DeepRecursionError, RecursionError])
@pytest.mark.parametrize("convert", [from_its_cause, from_its_context])
def test_what_somebody_made_of_it_has_the_class_of_what_it_comes_from(convert, kind):
    assert classify_recursion_error(caught_any(convert, kind)) is RecursionOverflow


def test_what_somebody_says_comes_from_nothing_has_none():
    assert classify_recursion_error(caught_any(from_nothing, DeepError)) is None


def test_it_may_come_from_far_and_in_a_circle():
    last = first = DeepError()
    for _ in range(10_000):
        last.__cause__ = DeepError()
        last = last.__cause__
    last.__cause__ = first
    assert classify_recursion_error(first) is None
    last.__cause__ = caught(endless)
    assert classify_recursion_error(first) is RecursionOverflow
    last.__cause__ = None


@pytest.mark.parametrize("kind", [DeepError, DeepRecursionError, RecursionError])
def test_what_somebody_made_of_it_comes_out_as_it_is(kind):
    @precise_recursion_errors
    def convert():
        from_its_cause(kind)

    with pytest.raises(kind) as found:
        convert()
    assert type(found.value) is kind


@pytest.mark.parametrize("wrong", [None, RecursionError, "maximum recursion depth exceeded"])
def test_what_is_no_exception_is_refused(wrong):
    with pytest.raises(TypeError, match="wants an exception, not "):
        classify_recursion_error(wrong)


def test_the_classes_are_their_own():
    assert classify_recursion_error(StackOverflow("")) is StackOverflow
    assert classify_recursion_error(RecursionOverflow("")) is RecursionOverflow
    with pytest.raises(StackOverflow) as found, precise_recursion_errors():
        raise_(StackOverflow("mine"))
    assert str(found.value) == "mine"
    assert found.value.__cause__ is None


def test_the_original_is_the_cause():
    with pytest.raises(RecursionOverflow) as found, precise_recursion_errors():
        endless()
    cause = found.value.__cause__
    assert type(cause) is RecursionError
    assert str(found.value) == str(cause)


@pytest.mark.parametrize("decorator", [precise_recursion_errors, precise_recursion_errors()])
def test_as_a_decorator_it_does_the_same(decorator):
    @decorator
    def decorated(*, number):
        """A docstring."""
        return number if number else endless()

    assert decorated(number=3) == 3
    assert decorated.__doc__ == "A docstring."
    for _ in range(2):
        with pytest.raises(RecursionOverflow):
            decorated(number=0)


def test_a_handler_may_be_deep_itself():
    def descend(levels):
        return descend(levels - 1) if levels else classify_recursion_error(caught(endless))

    assert descend(sys.getrecursionlimit() // 2) is RecursionOverflow


def test_an_exception_that_was_raised_again_counts_each_call_once():
    def again(levels):
        try:
            return endless() if levels == 0 else again(levels - 1)
        except RecursionError as error:
            raise error from None

    assert classify_recursion_error(caught(lambda: again(200))) is RecursionOverflow


def test_generators_count_too():
    def endless_generator():
        yield from endless_generator()

    expected = RecursionOverflow
    assert classify_recursion_error(caught(lambda: list(endless_generator()))) in (
        expected,
        StackOverflow,
    )


def overflow_of(size):
    class Adder:
        def __add__(self, other):
            return self + other

    def work():
        with precise_recursion_errors():
            Adder() + 1

    def run():
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(10**6)
        try:
            return caught(work)
        finally:
            sys.setrecursionlimit(before)

    return Coroutine(run, stack_size=size).resume()


def test_the_exception_says_which_stack_and_how_much():
    size = 1 << 20
    error = overflow_of(size)
    assert type(error) is StackOverflow
    assert error.size == size
    assert error.margin == stackwarden.status()["reserve"] >= 32 * 1024
    if sys.version_info >= (3, 14):
        assert 0 <= error.used - (size - error.margin) < 4096
    else:
        assert error.used is None  # calls are counted


def test_of_an_exception_from_another_stack_the_stack_is_not_known():
    def work():
        endless()

    with pytest.raises(RecursionError) as found, precise_recursion_errors():
        Coroutine(work, stack_size=1 << 20).resume()
    if sys.version_info < (3, 12):
        assert type(found.value) is RecursionError  # nor is the counter
    else:
        assert type(found.value) is RecursionOverflow
        assert found.value.size is None
