"""Exceptions: what is being handled, raised again, chained, and what travels out of resume()."""

import sys
import traceback

import pytest
from stackwarden.adapters.ucontext import suspend

from stackwarden.errors import CoroutineError, StackExit


def handled():
    return sys.exc_info()[1]


def suspend_while_handling(error):
    try:
        raise error
    except type(error):
        suspend()
        assert handled() is error
        raise


def test_each_side_handles_its_own_exception(coroutine):
    errors = [KeyError("first"), ValueError("second")]
    made = [coroutine(suspend_while_handling, error) for error in errors]
    native = TypeError("native")
    try:
        raise native
    except TypeError:
        for one in made:
            one.resume()
            assert handled() is native
        for one, error in zip(made, errors, strict=True):
            with pytest.raises(type(error)) as raised:
                one.resume()
            assert raised.value is error
            assert handled() is native
    assert handled() is None


def test_a_new_coroutine_handles_nothing(coroutine):
    def work():
        first = handled()
        try:
            raise KeyError
        except KeyError as error:
            return first, error.__context__

    try:
        raise ValueError
    except ValueError:
        assert coroutine(work).resume() == (None, None)


def test_raising_again_raises_ones_own(coroutine):
    mine, theirs = KeyError("mine"), KeyError("theirs")
    made = coroutine(suspend_while_handling, theirs)
    with pytest.raises(KeyError) as raised:
        try:
            raise mine
        except KeyError:
            made.resume()
            raise
    assert raised.value is mine
    with pytest.raises(KeyError) as raised:
        made.resume()
    assert raised.value is theirs


def test_nothing_is_raised_again_where_nothing_is_handled(coroutine):
    def raise_again():
        suspend()
        raise

    made = coroutine(raise_again)
    made.resume()
    try:
        raise KeyError
    except KeyError:
        with pytest.raises(RuntimeError, match="No active exception"):
            made.resume()


def test_what_one_handles_is_no_context_of_what_another_raises(coroutine):
    def raise_and_catch():
        suspend()
        try:
            raise ValueError
        except ValueError as error:
            return error.__context__

    handler, other = coroutine(suspend_while_handling, KeyError()), coroutine(raise_and_catch)
    other.resume()
    handler.resume()
    assert other.resume() is None
    handler.close()


def test_an_exception_that_leaves_a_coroutine_keeps_its_context(coroutine):
    first, second = ZeroDivisionError(), KeyError()

    def work():
        try:
            raise first
        except ZeroDivisionError:
            raise second  # noqa: B904

    try:
        raise ValueError
    except ValueError:
        with pytest.raises(KeyError):
            coroutine(work).resume()
    assert second.__context__ is first


def test_an_exception_that_is_thrown_in_has_the_one_that_is_handled_there_as_its_context(coroutine):
    inside, thrown = KeyError("inside"), ValueError("thrown")

    def work():
        try:
            raise inside
        except KeyError:
            suspend()

    made = coroutine(work)
    made.resume()
    with pytest.raises(ValueError, match="thrown"):
        made.throw(thrown)
    assert thrown.__context__ is inside


def test_the_traceback_of_what_travels_out_of_resume_names_the_frames_on_both_stacks(coroutine):
    def deepest():
        suspend()
        raise KeyError

    def below():
        deepest()

    made = coroutine(below)
    made.resume()
    try:
        made.resume()
    except KeyError as error:
        names = [entry.name for entry in traceback.extract_tb(error.__traceback__)]
    here = sys._getframe().f_code.co_name
    assert names == [here, "below", "deepest"]


def test_an_exception_travels_through_nested_coroutines(coroutine):
    error = KeyError()

    def inner():
        suspend()
        raise error

    def outer(inside):
        try:
            inside.resume()
        except KeyError as seen:
            suspend(seen)
            raise

    inside = coroutine(inner)
    inside.resume()
    made = coroutine(outer, inside, stack_size=1 << 20)
    assert made.resume() is error
    with pytest.raises(KeyError) as raised:
        made.resume()
    assert raised.value is error


@pytest.mark.parametrize("exception", [KeyError, KeyError("with a value")])
def test_throw_takes_classes_and_instances(coroutine, exception):
    made = coroutine(suspend)
    made.resume()
    with pytest.raises(KeyError):
        made.throw(exception)
    assert made.done


def test_throw_takes_nothing_else(coroutine):
    made = coroutine(suspend)
    made.resume()
    for wrong in ("KeyError", int, 1):
        with pytest.raises(TypeError):
            made.throw(wrong)
    assert made.resume("as before") == "as before"


def test_what_is_thrown_may_be_caught_and_work_go_on(coroutine):
    def work():
        caught = []
        while len(caught) < 3:
            try:
                suspend(len(caught))
            except KeyError as error:
                caught.append(error)
        return caught

    made = coroutine(work)
    errors = [KeyError(number) for number in range(3)]
    assert made.resume() == 0
    assert [made.throw(error) for error in errors] == [1, 2, errors]


def test_a_coroutine_that_is_thrown_at_before_it_started_never_runs(coroutine):
    ran = []
    made = coroutine(ran.append, "ran")
    with pytest.raises(KeyError):
        made.throw(KeyError)
    assert made.done
    assert ran == []
    with pytest.raises(CoroutineError):
        made.throw(KeyError)


def test_suspending_in_except_star_and_finally_and_with_blocks(coroutine):
    class Manager:
        def __enter__(self):
            suspend("enter")

        def __exit__(self, kind, error, _):
            suspend(("exit", error, handled()))
            return True

    group = ExceptionGroup("group", [KeyError(), ValueError()])

    def work():
        try:
            raise group
        except* KeyError as caught:
            suspend(("star", caught.exceptions))
        except* ValueError as caught:
            suspend(("star", caught.exceptions))
        error = KeyError()
        with Manager():
            raise error
        try:
            return error
        finally:
            suspend("finally")

    made = coroutine(work)
    assert made.resume() == ("star", group.exceptions[:1])
    assert made.resume() == ("star", group.exceptions[1:])
    assert made.resume() == "enter"
    kind, error, seen = made.resume()
    assert kind == "exit"
    assert error is seen
    assert made.resume() == "finally"
    assert made.resume() is error


def test_stack_exit_is_no_exception_that_except_exception_catches(coroutine):
    caught = []

    def work():
        try:
            suspend()
        except Exception as error:
            caught.append(error)

    made = coroutine(work)
    made.resume()
    made.close()
    assert caught == []
    assert not issubclass(StackExit, Exception)
