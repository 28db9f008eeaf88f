"""Decorators bare and with parentheses, and what they refuse, all with one text."""

import functools
import inspect
import pickle
import sys

import pytest
from stackwarden.adapters import julia
from stackwarden.adapters.ucontext import Coroutine

import stackwarden
from c_recursion import Deep, depth
from stackwarden import (
    call_on_stack,
    deep_recursion,
    growing,
    maybe_grow,
    precise_recursion_errors,
    stack_budget,
    sync_on_call,
)

MIB = 1 << 20

DECORATORS = {
    "deep_recursion": deep_recursion,
    "deep_recursion()": deep_recursion(),
    "deep_recursion(...)": deep_recursion(stack_size="8M", limit=5000),
    "growing": growing,
    "growing()": growing(),
    "growing(...)": growing(stack_size="8M"),
    "precise_recursion_errors": precise_recursion_errors,
    "precise_recursion_errors()": precise_recursion_errors(),
    "stack_budget(...)": stack_budget("1M"),
    "sync_on_call": sync_on_call,
    "sync_on_call()": sync_on_call(),
    "sync_on_call(...)": sync_on_call(min_stack="128K"),
}


@pytest.fixture(params=DECORATORS)
def decorator(request):
    return DECORATORS[request.param]


def plain(number: int, *, twice: bool = False) -> int:
    """What it does."""
    return 2 * number if twice else number


def test_a_decorated_function_is_the_function(decorator):
    decorated = decorator(plain)
    assert decorated(3, twice=True) == 6
    with pytest.raises(TypeError, match="nonsense"):
        decorated(3, nonsense=True)


def test_it_stays_introspectable(decorator):
    decorated = decorator(plain)
    assert (decorated.__name__, decorated.__doc__) == ("plain", "What it does.")
    assert decorated.__module__ == __name__
    assert decorated.__wrapped__ is plain
    assert inspect.signature(decorated) == inspect.signature(plain)
    assert decorated.__annotations__ == plain.__annotations__
    decorated.mine = 1
    assert decorated.mine == 1


def test_as_a_method_it_is_bound(decorator):
    class Handler:
        @decorator
        def handle(self, value):
            return self, value

        @classmethod
        @decorator
        def of_the_class(cls, value):
            return cls, value

        @staticmethod
        @decorator
        def of_nothing(value):
            return value

    handler = Handler()
    assert handler.handle(1) == (handler, 1)
    assert Handler.of_the_class(2) == (Handler, 2)
    assert handler.of_nothing(3) == 3


def test_they_stack(decorator):
    for other in DECORATORS.values():
        assert decorator(other(plain))(4) == 4


@deep_recursion
def of_the_module():
    return 1


def test_a_function_of_a_module_can_be_pickled():
    assert pickle.loads(pickle.dumps(of_the_module)) is of_the_module


def test_an_exception_passes_through(decorator):
    def fail():
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        decorator(fail)()


# ---- a budget as a decorator ----


def test_each_call_has_the_budget(high_limit):
    with stack_budget("256K"):
        narrow = depth()
    limited = stack_budget("256K")(depth)
    assert [abs(limited() - narrow) < 0.1 * narrow for _ in range(3)] == [True] * 3
    assert depth() > 1.5 * narrow


def test_a_budget_that_is_entered_decorates_all_the_same(high_limit):
    budget = stack_budget(MIB)
    limited = budget(depth)
    with budget:
        assert limited() > 0
        assert stack_budget("512K")(limited)() > 0


def test_without_a_size_it_says_what_it_wants():
    with pytest.raises(TypeError, match=r"a budget must be bytes \(int\) or a text such as "):
        stack_budget(plain)


# ---- what does not run when it is called ----


async def an_async_function():
    pass


def a_generator_function():
    yield


async def an_async_generator_function():
    yield


class Later:
    async def method(self):
        pass

    @classmethod
    async def of_the_class(cls):
        pass

    async def __call__(self):
        pass


LATER = {
    "an async function": [
        an_async_function,
        functools.partial(an_async_function),
        functools.partial(functools.partial(an_async_function)),
        Later().method,
        Later.of_the_class,
        Later(),
        functools.partial(Later().method),
    ],
    "a generator function": [a_generator_function, functools.partial(a_generator_function)],
    "an async generator function": [an_async_generator_function],
}
TAKERS = {
    "call_on_stack": call_on_stack,
    "maybe_grow": maybe_grow,
    "growing": growing(),
    "deep_recursion": deep_recursion(),
    "precise_recursion_errors": precise_recursion_errors(),
    "stack_budget": stack_budget("1M"),
    "sync_on_call": sync_on_call(),
    "register_switch_callback": stackwarden.register_switch_callback,
    "Coroutine": Coroutine,
    "synced": julia.synced,
}


@pytest.mark.parametrize("kind", LATER)
@pytest.mark.parametrize("name", TAKERS)
def test_what_a_call_does_not_run_is_refused_with_one_text(name, kind):
    for function in LATER[kind]:
        with pytest.raises(TypeError) as refused:
            TAKERS[name](function)
        assert str(refused.value) == (
            f"{name}() cannot be used on {function!r}: it is {kind}, and calling it does not run it"
        )


def test_what_runs_them_is_not():
    def run():
        try:
            an_async_function().send(None)
        except StopIteration:
            return "ran"

    run.__wrapped__ = an_async_function
    assert call_on_stack(run) == "ran"
    assert deep_recursion(run)() == "ran"
    assert call_on_stack(functools.partial(max, 1), 2) == 2


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize("kind", [classmethod, staticmethod])
def test_a_classmethod_object_is_refused_with_the_word(name, kind):
    with pytest.raises(TypeError, match=rf"it is a {kind.__name__}\. Write @{kind.__name__} above"):
        TAKERS[name](kind(plain))


def test_a_class_is_refused_by_decorators_and_called_by_calls(decorator):
    with pytest.raises(TypeError, match="it is a class"):
        decorator(Later)
    assert call_on_stack(list, "ab") == maybe_grow(list, "ab") == ["a", "b"]


@pytest.mark.parametrize("name", [*TAKERS])
@pytest.mark.parametrize("wrong", [3, "call", property(plain)])
def test_what_is_not_callable_is_refused(name, wrong):
    with pytest.raises(TypeError, match=r"\(\): \w+ is not callable"):
        TAKERS[name](wrong)


# ---- sizes and limits ----

SIZES = {
    "stack_size": [
        lambda size: call_on_stack(len, (), stack_size=size),
        lambda size: deep_recursion(stack_size=size),
        lambda size: growing(stack_size=size),
        lambda size: Coroutine(len, stack_size=size),
    ],
    "room": [lambda size: growing(room=size)],
    "min_stack": [
        lambda size: sync_on_call(min_stack=size),
        lambda size: stackwarden.wrap_thread_pool(lambda task: None, min_stack=size),
    ],
    "assumed_size": [lambda size: stackwarden.stack_policy(assumed_size=size)],
    "a budget": [
        stack_budget,
        lambda size: setattr(stackwarden.current_stack(), "budget", size),
    ],
    "limit": [lambda limit: deep_recursion(limit=limit)],
}


@pytest.mark.parametrize("wrong", [True, False, 1.5, b"1M", [1]])
@pytest.mark.parametrize("name", SIZES)
def test_a_size_that_is_none_is_refused_by_the_name_of_the_parameter(name, wrong):
    for take in SIZES[name]:
        with pytest.raises(TypeError, match=rf"^{name} must be .*, not {type(wrong).__name__}"):
            take(wrong)


def test_a_stack_that_is_too_small_is_refused_with_the_least():
    least = stackwarden.status()["least_stack_size"]
    with pytest.raises(stackwarden.StackTooSmallError, match=rf"at least {least} bytes"):
        call_on_stack(len, (), stack_size=1000)


# ---- the hint at limit= ----


def descend(levels):
    return 1 + descend(levels - 1) if levels else 0


def notes_of(function):
    with pytest.raises(RecursionError) as found:
        function()
    return getattr(found.value, "__notes__", [])


def test_where_the_limit_ended_it_a_note_says_what_helps():
    deep = deep_recursion(stack_size="64M")(lambda: descend(50_000))
    (note,) = notes_of(deep)
    assert f"the recursion limit ({sys.getrecursionlimit()})" in note
    assert "deep_recursion(limit=...)" in note


def test_of_nested_calls_the_outermost_says_it_once():
    inner = deep_recursion(stack_size="16M")(lambda: descend(50_000))
    outer = deep_recursion(stack_size="64M")(inner)
    assert len(notes_of(outer)) == 1


# On 3.11 a stack of call_on_stack() has room for all that the limit allows: there the limit ends it.
ENDED_OTHERWISE = [
    "a given limit",
    *(["the stack"] if sys.version_info >= (3, 12) else []),
    "by hand",
]


@pytest.mark.parametrize("work", ENDED_OTHERWISE)
def test_where_that_would_not_help_there_is_none(work, high_limit):
    def by_hand():
        raise RecursionError("mine")

    functions = {
        "a given limit": deep_recursion(stack_size="64M", limit=10)(lambda: descend(10**7)),
        "the stack": deep_recursion(stack_size="1M")(lambda: Deep() + 1),
        "by hand": deep_recursion(by_hand),
    }
    assert notes_of(functions[work]) == []
