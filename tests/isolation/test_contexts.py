"""Contexts: each coroutine has its own from its creation on, and gives it back at its end."""

import contextvars
import gc
import weakref

import pytest
from stackwarden.adapters.ucontext import suspend

variable = contextvars.ContextVar("variable", default="default")


class Value:
    """Something that a weak reference can refer to."""


def in_new_context(function, *arguments):
    return contextvars.copy_context().run(function, *arguments)


def test_it_starts_with_a_copy_of_its_creators_context(coroutine):
    def create():
        variable.set("when it was made")
        made = coroutine(variable.get)
        variable.set("when it was resumed")
        assert made.resume() == "when it was made"
        assert variable.get() == "when it was resumed"

    in_new_context(create)


def test_a_coroutine_that_a_coroutine_makes_starts_with_a_copy_of_its_context(coroutine):
    def outer():
        variable.set("outer")
        inner = coroutine(variable.get)
        variable.set("later")
        return inner.resume()

    assert coroutine(outer).resume() == "outer"


def test_what_is_set_on_one_side_is_not_seen_on_another(coroutine):
    def work(name):
        variable.set(name)
        while True:
            suspend(variable.get())

    def alternate():
        first, second = coroutine(work, "first"), coroutine(work, "second")
        variable.set("native")
        # A ContextVar keeps what it read last, for one thread state and one version of its context.
        for _ in range(300):
            assert first.resume() == "first"
            assert variable.get() == "native"
            assert second.resume() == "second"
            assert second.resume() == "second"
            assert variable.get() == "native"
        first.close()
        second.close()

    in_new_context(alternate)


def test_its_context_is_not_that_of_who_resumes_it(coroutine):
    def work():
        suspend(variable.get())
        return variable.get()

    made = coroutine(work)

    def resume():
        variable.set("of the resumer")
        return made.resume()

    assert in_new_context(resume) == "default"
    assert in_new_context(resume) == "default"


def test_a_context_that_one_has_entered_cannot_be_entered_by_another(coroutine):
    context = contextvars.copy_context()
    made = coroutine(context.run, suspend, "inside")
    assert made.resume() == "inside"
    with pytest.raises(RuntimeError, match="already entered"):
        context.run(variable.get)
    assert made.resume("left") == "left"
    assert context.run(variable.get) == "default"


def test_contexts_are_left_in_another_order_than_they_were_entered(coroutine):
    def work(name):
        def inside():
            variable.set(name)
            suspend()
            return variable.get()

        before = variable.get()
        assert in_new_context(inside) == name
        return variable.get() == before

    made = [coroutine(work, name) for name in range(3)]
    for one in made:
        one.resume()
    assert [one.resume() for one in made] == [True, True, True]


def test_a_token_is_refused_in_another_coroutine(coroutine):
    token = variable.set("native")
    with pytest.raises(ValueError, match="different Context"):
        coroutine(variable.reset, token).resume()
    variable.reset(token)


def set_value(values):
    value = Value()
    values.append(weakref.ref(value))
    variable.set(value)
    return suspend()


@pytest.mark.parametrize("end", ["return", "throw", "close", "drop"])
def test_a_context_goes_with_its_coroutine(coroutine, end):
    values = []
    made = coroutine(set_value, values)
    made.resume()
    gc.collect()
    assert values[0]() is not None
    if end == "return":
        made.resume()
    elif end == "throw":
        with pytest.raises(KeyError):
            made.throw(KeyError)
    elif end == "close":
        made.close()
    else:
        del made
    gc.collect()
    assert values[0]() is None


def test_a_context_goes_when_its_coroutine_ends_inside_another(coroutine, mode):
    values = []

    def outer():
        made = coroutine(set_value, values)
        made.resume()
        made.resume()
        gc.collect()
        return values[0]()

    assert coroutine(outer, stack_size=1 << 20).resume() is None


@pytest.mark.parametrize("end", ["close", "drop"])
def test_the_context_of_a_coroutine_that_was_never_started_goes_with_it(coroutine, end):
    def create():
        value = Value()
        variable.set(value)
        made = coroutine(variable.get)
        if end == "close":
            made.close()
        del made
        return weakref.ref(value)

    value = in_new_context(create)
    gc.collect()
    assert value() is None


def test_a_destructor_in_a_context_that_ends_may_suspend_the_resumer(quiet_child, mode):
    printed = quiet_child(
        """
        import contextvars

        variable = contextvars.ContextVar("variable")

        class Suspends:
            def __del__(self):
                print("destructor", suspend("from the destructor"))

        def inner():
            variable.set(Suspends())

        def outer():
            coroutine(inner).resume()
            return "went on"

        made = coroutine(outer, stack_size=1 << 20)
        print(made.resume())
        print(made.resume("resumed"))
        """,
        mode,
    )
    assert printed == "from the destructor\ndestructor resumed\nwent on\n"


def test_a_destructor_in_a_context_that_ends_may_close_another_coroutine(quiet_child, mode):
    printed = quiet_child(
        """
        import contextvars

        variable = contextvars.ContextVar("variable")

        def sleeper():
            try:
                suspend()
            finally:
                print("ended")

        def holder(held):
            variable.set(held.pop())

        made = Coroutine(sleeper)
        made.resume()
        held = [made]
        del made
        coroutine(holder, held).resume()
        print("leaked", stackwarden.status()["leaked_stacks"])
        """,
        mode,
    )
    assert printed == "ended\nleaked 0\n"
