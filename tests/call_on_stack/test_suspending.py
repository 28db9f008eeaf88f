"""Coroutines that suspend inside call_on_stack: the inner stack shares the coroutine's execution state."""

import contextvars
import gc
import sys
import threading

import pytest
from stackwarden.adapters import ucontext
from stackwarden.adapters.ucontext import suspend

import stackwarden
from stackwarden import call_on_stack

MIB = 1 << 20
MODES = [mode for mode in ("frames", "thread-state") if mode in stackwarden.status()["isolation"]]


@pytest.fixture(params=MODES)
def coroutine(request):
    """coroutine(function, *args): a coroutine of the isolation that is tested."""
    return lambda function, *args: ucontext.Coroutine(function, *args, isolation=request.param)


def inside():
    return stackwarden.sync_stack().name == "call_on_stack"


def test_a_coroutine_suspends_inside_and_goes_on_there(coroutine):
    def work():
        for number in range(3):
            assert suspend(number) == number
            assert inside()
        return "end"

    def outer():
        result = call_on_stack(work)
        assert not inside()
        return result, suspend("outside")

    one = coroutine(outer)
    assert [one.resume(), one.resume(0), one.resume(1), one.resume(2)] == [0, 1, 2, "outside"]
    assert not inside()
    assert one.resume("last") == ("end", "last")


def test_many_interleave_each_at_another_depth_of_stacks(coroutine):
    def work(number, depth):
        if depth:
            return number + call_on_stack(work, number, depth - 1, stack_size=MIB)
        for _ in range(10):
            assert suspend(number) is None
            assert inside() == (number % 7 > 0)
        return number

    native = stackwarden.sync_stack()
    coroutines = [coroutine(work, number, number % 7) for number in range(50)]
    for _ in range(10):
        assert [one.resume() for one in coroutines] == list(range(50))
        assert stackwarden.sync_stack() == native
    ends = [one.resume() for one in reversed(coroutines)]
    assert ends == [number * (number % 7 + 1) for number in reversed(range(50))]


def test_it_is_resumed_from_inside_another_call(coroutine):
    def work():
        seen.append((inside(), suspend("suspended")))
        return "end"

    seen = []
    one = coroutine(lambda: call_on_stack(work))
    assert call_on_stack(one.resume) == "suspended"
    assert call_on_stack(call_on_stack, one.resume, "value") == "end"
    assert seen == [(True, "value")]


def test_context_and_handled_exception_stay_the_coroutines(coroutine):
    variable = contextvars.ContextVar("variable")

    def work(name):
        variable.set(name)
        try:
            raise KeyError(name)
        except KeyError:
            suspend()
            return variable.get(), sys.exc_info()[1].args

    ones = [coroutine(call_on_stack, work, name) for name in "abc"]
    for one in ones:
        one.resume()
    assert [one.resume() for one in reversed(ones)] == [(name, (name,)) for name in "cba"]
    assert variable.get(None) is None


def test_an_exception_is_thrown_into_it_and_comes_out(coroutine):
    def work():
        try:
            suspend()
        except KeyError as error:
            raise ValueError("out") from error

    one = coroutine(call_on_stack, work)
    one.resume()
    with pytest.raises(ValueError, match="out") as caught:
        one.throw(KeyError("in"))
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("end", ["close", "drop"])
def test_one_that_ends_inside_gives_the_stack_back(coroutine, end):
    def work():
        try:
            suspend()
        finally:
            ended.append(inside())

    def stacks():
        return sum(stack.name == "call_on_stack" for stack in stackwarden.stacks())

    ended, rounds = [], 100
    call_on_stack(int)
    before, leaked = stacks(), stackwarden.status()["leaked_stacks"]
    for _ in range(rounds):
        one = coroutine(call_on_stack, work)
        one.resume()
        if end == "close":
            one.close()
        del one
        gc.collect(0)
    assert ended == [True] * rounds
    assert stacks() == before
    assert stackwarden.status()["leaked_stacks"] == leaked


@pytest.mark.skipif("thread-state" not in MODES, reason="3.11 has no isolation of this kind")
def test_with_a_thread_state_of_its_own_it_goes_on_on_another_thread():
    def work():
        threads = [threading.get_ident()]
        for _ in range(3):
            suspend(inside())
            threads.append(threading.get_ident())
        return threads

    one = ucontext.Coroutine(call_on_stack, work, isolation="thread-state")
    seen = [one.resume()]
    for _ in range(3):
        thread = threading.Thread(target=lambda: seen.append(one.resume()))
        thread.start()
        thread.join()
    assert seen[:3] == [True] * 3
    assert len(seen) == 4
    assert seen[3][0] == threading.get_ident() != seen[3][1]
    assert not inside()


def test_deep_recursion_goes_on_after_a_suspension(coroutine):
    def work(depth):
        if depth == 0:
            suspend(inside())
            return 0
        return 1 + max([depth], key=lambda _: 0) - depth + work(depth - 1)

    sys_limit = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)
    try:
        one = coroutine(lambda: call_on_stack(work, 10_000))
        assert one.resume() is True
        assert one.resume() == 10_000
    finally:
        sys.setrecursionlimit(sys_limit)
